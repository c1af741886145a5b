"""One mapped table or query: pages of rows, single rows, and values written back."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, OperationalError, StatementError

from klaviyo_bridge.domain.consent import Channel
from klaviyo_bridge.domain.mapping import SourceRow, TableMapping
from klaviyo_bridge.domain.values import Json
from klaviyo_bridge.errors import Problem, Unavailable
from klaviyo_bridge.infra.source.columns import (
    Column,
    Kind,
    earlier,
    moment,
    position,
    restored,
    to_column,
    to_json,
)

IN_LIST = 500


class Glance(NamedTuple):
    """A row just read: enough to see whether it changed. `Source.row` makes the rest of it."""

    key: str
    fingerprint: bytes
    values: Sequence[Any]


class Order(StrEnum):
    """How a walk goes through the rows: by change, by key, or by key through those without a time of change."""

    CHANGED = "changed"
    KEY = "key"
    UNDATED = "undated"


class Wrote(StrEnum):
    """`moved`: the row changed since it was read, and nothing was written."""

    WRITTEN = "written"
    MOVED = "moved"


@dataclass(frozen=True, slots=True)
class Shape:
    """What rows are selected from, the columns of the mapping by name, and where values are written back."""

    rows: sa.FromClause
    columns: Mapping[str, Column]
    target: sa.TableClause | None
    advice: Sequence[Problem] = ()


class Source:
    """Reads pages and writes back. `advice` is what a person should know about the table."""

    def __init__(self, engine: sa.Engine, mapping: TableMapping, shape: Shape) -> None:
        self.mapping = mapping
        self.advice = shape.advice
        self._engine = engine
        self._shape = shape
        self._key = shape.columns[mapping.key]
        self._cursor = shape.columns[mapping.cursor] if mapping.cursor else self._key
        self._zone = ZoneInfo(mapping.timezone)
        compared = [rule.column for rule in mapping.fields.values()]
        compared += [mapping.deleted] if mapping.deleted else []
        self._names = [self._key.name, self._cursor.name, *compared, *mapping.consent.values()]
        self._compared = slice(2, 2 + len(compared))
        self._digest = mapping.digest
        self._select = sa.select(*(shape.columns[name].expression for name in self._names)).select_from(shape.rows)

    @property
    def writable(self) -> bool:
        return self._shape.target is not None and not self.mapping.read_only

    def page(self, after: Any | None, *, limit: int, order: str = Order.CHANGED) -> list[Glance]:
        """The next rows behind `after` (what `position` gave), from the start when None."""
        query = self._select.limit(limit)
        if order != Order.CHANGED:
            query = query.order_by(self._key.expression)
            if order == Order.UNDATED:
                query = query.where(self._cursor.expression.is_(None))
            if after is not None:
                query = query.where(self._key.expression > restored(after[1]))
            return [self._glance(row) for row in self._rows(query)]
        query = query.order_by(self._cursor.expression, self._key.expression)
        query = query.where(self._cursor.expression.is_not(None))
        if after is not None:
            query = query.where(self._behind(*map(restored, after)))
        return [self._glance(row) for row in self._rows(query)]

    def _behind(self, moved: Any, key: Any) -> sa.ColumnElement[bool]:
        cursor = self._cursor.expression
        if key is None:
            return cursor > moved
        return (cursor > moved) | ((cursor == moved) & (self._key.expression > key))

    def position(self, glance: Glance) -> Any:
        """Where a walk stands once it is done with this row; JSON."""
        return [position(glance.values[1]), position(glance.values[0])]

    def rewound(self, after: Any) -> Any:
        """A little before `after`: rows that were committed late carry an earlier time than rows read already."""
        return [position(earlier(restored(after[0]), self.mapping.overlap)), None]

    def row(self, glance: Glance) -> SourceRow:
        """The whole row."""
        raw = dict(zip(self._names, glance.values, strict=True))
        mapping, columns = self.mapping, self._shape.columns
        return SourceRow(
            key=glance.key,
            fields={
                name: to_json(raw[rule.column], columns[rule.column].kind, self._zone)
                for name, rule in mapping.fields.items()
            },
            changed_at=moment(raw[mapping.cursor], self._zone) if mapping.cursor else None,
            cursor=self.position(glance),
            fingerprint=glance.fingerprint,
            consent={channel: _truth(raw[column]) for channel, column in mapping.consent.items()},
            deleted=mapping.deleted is not None and raw[mapping.deleted] not in (None, False, 0, "", "0"),
            raw=raw,
        )

    def get(self, keys: Iterable[str]) -> dict[str, SourceRow]:
        """The rows with these keys, by key; keys that cannot be one of this table are left out."""
        wanted = [key for key in map(self._typed_key, keys) if key is not None]
        found = self._where_in(self._key.expression, wanted)
        return {glance.key: self.row(glance) for glance in found}

    def find(self, name: str, values: Iterable[str]) -> dict[str, list[SourceRow]]:
        """Rows whose field `name` (such as `email`, compared without case) has one of these values, by value."""
        column = self._shape.columns[self.mapping.fields[name].column].expression
        found: dict[str, list[SourceRow]] = {}
        for glance in self._where_in(sa.func.lower(column), sorted({value.lower() for value in values})):
            row = self.row(glance)
            found.setdefault(str(row.fields.get(name)).lower(), []).append(row)
        return found

    def count(self) -> int:
        """How many rows there are."""
        return int(self._rows(sa.select(sa.func.count()).select_from(self._shape.rows))[0][0])

    def write(self, writes: Sequence[tuple[SourceRow, Mapping[str, Json]]]) -> list[Wrote | Problem]:
        """Write the fields named to each row as it was read; a `Problem` says why a row cannot hold them.

        One transaction for all; only when the database refuses one of them each row gets its own.
        """
        try:
            with self._writing() as connection:
                return [self._write(connection, row, fields) for row, fields in writes]
        except (IntegrityError, DataError, StatementError) as error:
            _raise_if_down(error)
        return [self._write_alone(row, fields) for row, fields in writes]

    def write_consent(self, key: str, channel: Channel, *, allowed: bool) -> bool:
        """Tell the application whether the person may be written to; False when there is no such row or column."""
        column, target = self.mapping.consent.get(channel), self._shape.target
        if column is None or target is None or not self.writable:
            return False
        statement = sa.update(target).where(self._is(key)).values({column: allowed})
        with self._writing() as connection:
            return connection.execute(statement).rowcount == 1

    def _write_alone(self, row: SourceRow, fields: Mapping[str, Json]) -> Wrote | Problem:
        try:
            with self._writing() as connection:
                return self._write(connection, row, fields)
        except (IntegrityError, DataError, StatementError) as error:
            _raise_if_down(error)
            return Problem(
                f"{self.mapping.place}[{row.key}]", f"the database refuses Klaviyo's value ({_named(error)})"
            )

    def _write(self, connection: sa.Connection, row: SourceRow, fields: Mapping[str, Json]) -> Wrote | Problem:
        target, unchanged = self._shape.target, [self._is(row.key)]
        assert target is not None
        values: dict[str, Any] = {}
        for name, value in fields.items():
            column = self._shape.columns[self.mapping.fields[name].column]
            try:
                values[column.name] = to_column(value, column, self._zone)
            except ValueError as error:
                return Problem(f"{self.mapping.place}[{row.key}].{column.name}", f"Klaviyo's value {error}")
            unchanged.append(_same(column, row.raw[column.name]))
        statement = sa.update(target).where(*unchanged).values(values)
        return Wrote.WRITTEN if connection.execute(statement).rowcount == 1 else Wrote.MOVED

    def _is(self, key: str) -> sa.ColumnElement[bool]:
        return self._key.expression == self._typed_key(key)

    def _typed_key(self, key: str) -> Any:
        """The key as its column holds it; None when it cannot."""
        if self._key.kind not in (Kind.INTEGER, Kind.UUID, Kind.NUMBER):
            return key
        try:
            return to_column(key, self._key, self._zone)
        except ValueError:
            return None

    def _where_in(self, expression: sa.ColumnElement[Any], values: Sequence[Any]) -> list[Glance]:
        return [
            self._glance(row)
            for start in range(0, len(values), IN_LIST)
            for row in self._rows(self._select.where(expression.in_(values[start : start + IN_LIST])))
        ]

    def _glance(self, row: Sequence[Any]) -> Glance:
        content = self._digest + repr(tuple(row[self._compared])).encode("utf-8", "surrogatepass")
        return Glance(str(row[0]), hashlib.blake2b(content, digest_size=16).digest(), row)

    def _rows(self, query: sa.Select[Any]) -> Sequence[Sequence[Any]]:
        with _available(), self._engine.connect() as connection:
            try:
                return connection.execute(query).fetchall()
            except OperationalError as error:
                if "decode" not in str(error.orig):
                    raise
            # SQLite hands out text that is not UTF-8 only when asked to be lenient, which is slower
            driver = connection.connection.driver_connection
            assert driver is not None
            driver.text_factory = _lenient
            try:
                return connection.execute(query).fetchall()
            finally:
                driver.text_factory = str

    @contextmanager
    def _writing(self) -> Generator[sa.Connection]:
        with _available(), self._engine.begin() as connection:
            yield connection


def _same(column: Column, raw: Any) -> sa.ColumnElement[bool]:
    if raw is None:
        return column.expression.is_(None)
    if column.kind is Kind.JSON and not column.raw:  # Postgres knows no equality of `json`
        return sa.cast(column.expression, sa.Text) == sa.cast(sa.literal(raw, column.expression.type), sa.Text)
    return column.expression == raw


def _lenient(text: bytes) -> str:
    return text.decode("utf-8", "surrogateescape")


@contextmanager
def _available() -> Generator[None]:
    """A database that is down or locked is a reason to come back later, not a bug."""
    try:
        yield
    except (OperationalError, DBAPIError) as error:
        _raise_if_down(error)
        raise


def _raise_if_down(error: StatementError) -> None:
    if isinstance(error, OperationalError) or (isinstance(error, DBAPIError) and error.connection_invalidated):
        raise Unavailable(f"the application's database does not answer ({_named(error)})") from None


def _named(error: StatementError) -> str:
    return type(error.orig or error).__name__


def _truth(value: Any) -> bool | None:
    return None if value is None else bool(value)
