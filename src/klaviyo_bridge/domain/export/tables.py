"""Tables of an export, and the fingerprint that tells a changed row from one that is there already."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import orjson

Row = dict[str, Any]

FINGERPRINT = "_bridge_fingerprint"
"""Column of every table: changes when a value of the row does."""


class ColumnType(StrEnum):
    TEXT = "text"
    WHOLE = "bigint"
    NUMBER = "double"
    FLAG = "bool"
    MOMENT = "timestamp"


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One table: `key` columns identify a row, `day` is the time column that Parquet files are cut by.

    `deleted` and `synced` name the columns that every row has besides `columns`. A row may bring further text
    columns; they are added to the table.
    """

    name: str
    columns: Mapping[str, ColumnType]
    key: Sequence[str] = ("id",)
    day: str | None = None
    deleted: str = "deleted"
    synced: str = "synced_at"
    extra_prefix: str | None = field(default=None)

    @property
    def all_columns(self) -> dict[str, ColumnType]:
        own = {self.deleted: ColumnType.FLAG, self.synced: ColumnType.MOMENT, FINGERPRINT: ColumnType.TEXT}
        return {**self.columns, **own}


def key_of(table: Table, row: Row) -> str:
    """The row's key as one text."""
    return "\x1f".join(str(row[name]) for name in table.key)


def fingerprint(row: Row) -> str:
    """32 hex digits over the row's values."""
    content = orjson.dumps(row, option=orjson.OPT_SORT_KEYS, default=repr)
    return hashlib.blake2b(content, digest_size=16).hexdigest()
