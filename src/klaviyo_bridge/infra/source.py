"""The application's own database: rows read by keyset, values written back without clobbering newer ones.

Any SQLAlchemy URL. Table and column names come from the database's own catalogue, never from text.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, NoSuchTableError, OperationalError

from klaviyo_bridge.domain.consent import Channel
from klaviyo_bridge.domain.mapping import SourceRow, TableMapping
from klaviyo_bridge.domain.values import Json, iso
from klaviyo_bridge.errors import ConfigError, Problem


class Source:
    """One mapped table."""

    def __init__(self, engine: sa.Engine, mapping: TableMapping, table: sa.Table) -> None:
        self.mapping = mapping
        self._engine = engine
        self._table = table
        self._columns = [table.c[name] for name in mapping.columns]
        self._key = table.c[mapping.key]
        self._cursor = table.c[mapping.cursor] if mapping.cursor else self._key

    def changed_since(self, cursor: Sequence[Any] | None, *, limit: int) -> list[SourceRow]:
        """The next rows after `cursor` (a row's `cursor`), by change and key; from the start when None."""
        query = sa.select(*self._columns).order_by(self._cursor, self._key).limit(limit)
        if cursor is not None:
            moved, key = _from_json(cursor[0], self._cursor), _from_json(cursor[1], self._key)
            later = (self._cursor > moved) | ((self._cursor == moved) & (self._key > key))
            query = query.where(later)
        with self._engine.connect() as connection:
            return [self._row(row) for row in connection.execute(query).mappings()]

    def get(self, keys: Sequence[str]) -> dict[str, SourceRow]:
        """The rows with these keys, by key."""
        wanted = [_from_json(key, self._key) for key in keys]
        with self._engine.connect() as connection:
            query = sa.select(*self._columns).where(self._key.in_(wanted))
            return {row.key: row for row in map(self._row, connection.execute(query).mappings())}

    def find(self, name: str, values: Sequence[str]) -> dict[str, SourceRow]:
        """Rows whose field `name` (such as `email`, compared without case) has one of these values, by value."""
        column = self._table.c[self.mapping.fields[name].column]
        query = sa.select(*self._columns).where(sa.func.lower(column).in_([value.lower() for value in values]))
        with self._engine.connect() as connection:
            rows = [self._row(row) for row in connection.execute(query).mappings()]
        return {str(row.fields.get(name)).lower(): row for row in rows}

    def write(self, row: SourceRow, fields: Mapping[str, Json]) -> bool:
        """Write these fields to the row as it was read. False when the row changed since: nothing is written."""
        rules = self.mapping.fields
        values = {
            rules[name].column: _to_column(value, self._table.c[rules[name].column]) for name, value in fields.items()
        }
        unchanged = [self._same(rules[name].column, row.fields.get(name)) for name in fields]
        statement = self._table.update().where(self._key == _from_json(row.key, self._key), *unchanged)
        with self._engine.begin() as connection:
            return connection.execute(statement.values(**values)).rowcount == 1

    def write_consent(self, key: str, channel: Channel, *, allowed: bool) -> bool:
        """Tell the application whether the person may be written to; False when there is no such row or column."""
        column = self.mapping.consent.get(channel)
        if column is None:
            return False
        statement = self._table.update().where(self._key == _from_json(key, self._key)).values({column: allowed})
        with self._engine.begin() as connection:
            return connection.execute(statement).rowcount == 1

    def _same(self, column: str, value: Json) -> sa.ColumnElement[bool]:
        stored = self._table.c[column]
        return stored.is_(None) if value is None else stored == _to_column(value, stored)

    def _row(self, row: Mapping[Any, Any]) -> SourceRow:
        mapping = self.mapping
        moved = row[mapping.cursor] if mapping.cursor else None
        return SourceRow(
            key=str(row[mapping.key]),
            fields={name: _to_json(row[rule.column]) for name, rule in mapping.fields.items()},
            changed_at=_moment(moved),
            cursor=[_to_json(row[self._cursor.name]), _to_json(row[mapping.key])],
            consent={channel: _truth(row[column]) for channel, column in mapping.consent.items()},
        )


@contextmanager
def open_source(url: str, mapping: TableMapping) -> Generator[Source]:
    """Connect to the application's database and check the mapping against the real table.

    Raises `ConfigError` naming every column that is not there.
    """
    engine = _engine(url, mapping)
    try:
        yield Source(engine, mapping, _table(engine, mapping))
    finally:
        engine.dispose()


def _engine(url: str, mapping: TableMapping) -> sa.Engine:
    try:
        engine = sa.create_engine(url, pool_pre_ping=True)
    except (ArgumentError, NoSuchModuleError, ImportError):
        raise _wrong(mapping, "url", "is not a database URL that can be opened here") from None
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _patient)
    return engine


def _patient(connection: Any, _record: Any) -> None:
    connection.execute("PRAGMA busy_timeout=30000")


def _table(engine: sa.Engine, mapping: TableMapping) -> sa.Table:
    try:
        table = sa.Table(mapping.table, sa.MetaData(), autoload_with=engine)
    except NoSuchTableError:
        raise _wrong(mapping, "table", f"there is no table {mapping.table!r} in that database") from None
    except OperationalError as error:
        raise _wrong(mapping, "url", f"cannot be opened ({type(error.orig).__name__})") from None
    missing = [name for name in mapping.columns if name not in table.c]
    if missing:
        problems = [_problem(mapping, "fields", f"table {mapping.table!r} has no column {name!r}") for name in missing]
        raise ConfigError(problems=problems)
    return table


def _wrong(mapping: TableMapping, where: str, what: str) -> ConfigError:
    return ConfigError(problems=[_problem(mapping, where, what)])


def _problem(mapping: TableMapping, where: str, what: str) -> Problem:
    return Problem(f"mappings.{mapping.name}.{where}", what)


def _to_json(value: Any) -> Json:
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, datetime):
        return iso(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value


def _from_json(value: Any, column: sa.Column[Any]) -> Any:
    """A key or cursor as the column's own type; what was ISO text becomes a time again."""
    kind = _python_type(column)
    if kind is int:
        return int(value)
    if kind is datetime and isinstance(value, str):
        moment = datetime.fromisoformat(value)
        return moment if getattr(column.type, "timezone", False) else moment.replace(tzinfo=None)
    if kind is date and isinstance(value, str):
        return date.fromisoformat(value)
    return value


def _to_column(value: Json, column: sa.Column[Any]) -> Any:
    kind = _python_type(column)
    if kind is Decimal and isinstance(value, int | float):
        return Decimal(str(value))
    return _from_json(value, column) if value is not None and kind is not int else value


def _python_type(column: sa.Column[Any]) -> type | None:
    try:
        return column.type.python_type
    except NotImplementedError:
        return None


def _truth(value: Any) -> bool | None:
    return None if value is None else bool(value)


def _moment(value: Any) -> datetime | None:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if not isinstance(value, datetime):
        return None
    return value if value.tzinfo else value.replace(tzinfo=UTC)


def pages(source: Source, cursor: Sequence[Any] | None, *, size: int) -> Iterator[list[SourceRow]]:
    """Every page after `cursor`, until there is none."""
    while page := source.changed_since(cursor, limit=size):
        yield page
        cursor = page[-1].cursor
