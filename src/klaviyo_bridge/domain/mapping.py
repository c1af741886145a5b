"""Which column of the application's table is which field at Klaviyo, and who wins when both changed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping as Dict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

import orjson

from klaviyo_bridge.domain.consent import Channel
from klaviyo_bridge.domain.profile import ATTRIBUTES, IDENTIFIERS, LOCATION
from klaviyo_bridge.domain.values import Json


class Owner(StrEnum):
    """Who wins when both sides changed a field."""

    APP = "app"
    KLAVIYO = "klaviyo"
    NEWEST = "newest"


class Direction(StrEnum):
    PUSH = "push"
    PULL = "pull"
    BOTH = "both"


class Invalid(StrEnum):
    """What a value that Klaviyo would refuse does: the whole row waits, or only the field stays behind."""

    REFUSE = "refuse"
    OMIT = "omit"


class Deletes(StrEnum):
    """What a row that was deleted does to the profile."""

    IGNORE = "ignore"
    SUPPRESS = "suppress"


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldRule:
    """One field's column and rules."""

    column: str
    owner: Owner = Owner.NEWEST
    direction: Direction = Direction.BOTH
    invalid: Invalid = Invalid.REFUSE

    @property
    def pushes(self) -> bool:
        return self.direction is not Direction.PULL

    @property
    def pulls(self) -> bool:
        return self.direction is not Direction.PUSH


@dataclass(frozen=True, slots=True, kw_only=True)
class TableMapping:
    """A table (or query) of the application: `key`, behind `prefix`, becomes `external_id`.

    `cursor` is the column that moves on a change. `fields` are keyed by flat Klaviyo names: `email`,
    `location.city`, `properties.plan`. `consent` names the columns that are told who may be written to (True or
    False). `table` is None for a query whose rows cannot be written to.
    """

    name: str
    table: str | None
    key: str
    cursor: str | None
    fields: Dict[str, FieldRule]
    consent: Dict[Channel, str] = field(default_factory=dict[Channel, str])
    query: str | None = None
    prefix: str = ""
    country: str | None = None
    timezone: str = "UTC"
    overlap: float = 300.0
    read_only: bool = False
    deleted: str | None = None
    deletes: Deletes = Deletes.IGNORE

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column the mapping reads, the key first."""
        named = [rule.column for rule in self.fields.values()]
        extra = [column for column in (self.cursor, self.deleted) if column]
        return tuple(dict.fromkeys([self.key, *extra, *named, *self.consent.values()]))

    @property
    def place(self) -> str:
        """The table's name as messages use it."""
        return self.table or self.name

    @property
    def digest(self) -> bytes:
        """Changes when the rows have to be looked at anew, because the mapping itself did."""
        rules = [(name, rule.column, rule.direction, rule.invalid) for name, rule in sorted(self.fields.items())]
        shape = [rules, self.key, self.prefix, self.country, self.timezone, self.deleted, self.deletes]
        return hashlib.blake2b(orjson.dumps(shape), digest_size=8).digest()

    def external_id(self, key: str) -> str:
        return self.prefix + key

    def key_of(self, external_id: str) -> str | None:
        """The key behind an external id; None when the id is another mapping's."""
        return external_id.removeprefix(self.prefix) if external_id.startswith(self.prefix) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRow:
    """A row of the application's table under Klaviyo's names.

    `raw` holds the columns as the database gave them, `cursor` the position to continue after.
    """

    key: str
    fields: Dict[str, Json]
    changed_at: datetime | None
    cursor: Sequence[Json]
    fingerprint: bytes
    consent: Dict[Channel, bool | None] = field(default_factory=dict[Channel, bool | None])
    deleted: bool = False
    raw: Dict[str, Any] = field(default_factory=dict[str, Any])


def is_field(name: str) -> bool:
    """Whether `name` is a flat field name that can be mapped."""
    part, _, rest = name.partition(".")
    if rest:
        return part == "properties" or (part == "location" and rest in LOCATION)
    return name in ATTRIBUTES or (name in IDENTIFIERS and name != "external_id")
