"""The application's query for events, read page by page in the order of its cursor."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from klaviyo_bridge.domain.event_mapping import EventMapping, HistoryRow
from klaviyo_bridge.errors import ConfigError, Problem


class EventSource:
    """One event mapping over one database."""

    def __init__(self, engine: sa.Engine, mapping: EventMapping) -> None:
        self.mapping = mapping
        self._engine = engine
        columns: list[sa.ColumnClause[Any]] = [sa.column(name) for name in mapping.columns]
        self._rows = sa.text(mapping.query.strip().rstrip(";")).columns(*columns).subquery("history")

    def after(self, cursor: Sequence[Any] | None, *, limit: int) -> list[HistoryRow]:
        """The next rows after `cursor` (a row's `cursor`); from the start when None."""
        moved, unique = self._rows.c[self.mapping.cursor], self._rows.c[self.mapping.unique_id]
        query = sa.select(self._rows).order_by(moved, unique).limit(limit)
        if cursor is not None:
            at, last = _unpacked(cursor[0]), _unpacked(cursor[1])
            query = query.where((moved > at) | ((moved == at) & (unique > last)))
        with self._engine.connect() as connection:
            found = connection.execute(query).mappings()
            return [HistoryRow(dict(row), self._cursor(row)) for row in found]

    def count(self) -> int:
        """How many rows the query has now."""
        with self._engine.connect() as connection:
            return connection.execute(sa.select(sa.func.count()).select_from(self._rows)).scalar() or 0

    def _cursor(self, row: Any) -> list[Any]:
        return [_packed(row[self.mapping.cursor]), _packed(row[self.mapping.unique_id])]


@contextmanager
def open_event_source(url: str, mapping: EventMapping) -> Generator[EventSource]:
    """Connect and try the query; raises `ConfigError` when it does not run or lacks a column."""
    try:
        engine = sa.create_engine(url, pool_pre_ping=True)
    except (ArgumentError, NoSuchModuleError, ImportError):
        raise _wrong(mapping, "url", "is not a database URL that can be opened here") from None
    try:
        source = EventSource(engine, mapping)
        _try(source)
        yield source
    finally:
        engine.dispose()


def _try(source: EventSource) -> None:
    try:
        source.after(None, limit=1)
    except DBAPIError as error:
        columns = ", ".join(source.mapping.columns)
        what = f"does not run, or lacks one of the columns {columns} ({type(error.orig).__name__})"
        raise _wrong(source.mapping, "query", what) from None


def _wrong(mapping: EventMapping, where: str, what: str) -> ConfigError:
    return ConfigError(problems=[Problem(f"events.{mapping.name}.{where}", what)])


def _packed(value: Any) -> list[str]:
    """A value of the cursor as JSON that keeps its type."""
    if isinstance(value, datetime):
        return ["datetime", value.isoformat()]
    if isinstance(value, date):
        return ["date", value.isoformat()]
    if isinstance(value, Decimal):
        return ["decimal", str(value)]
    return ["int", str(value)] if isinstance(value, int) else ["text", str(value)]


def _unpacked(packed: Sequence[str]) -> Any:
    kind, text = packed
    known: dict[str, Any] = {
        "datetime": datetime.fromisoformat,
        "date": date.fromisoformat,
        "decimal": Decimal,
        "int": int,
    }
    return known.get(kind, str)(text)
