"""Connects to the application's database and holds the mapping against the real table.

Everything that is wrong is reported at once; what merely costs time becomes advice.
"""

from __future__ import annotations

import difflib
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine.interfaces import ReflectedColumn
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, OperationalError

from klaviyo_bridge.domain.mapping import TableMapping
from klaviyo_bridge.errors import ConfigError, Problem
from klaviyo_bridge.infra.source.columns import Column, Kind, kind_of
from klaviyo_bridge.infra.source.reading import Shape, Source

NO_CURSOR = (Kind.BOOLEAN, Kind.JSON, Kind.UUID, Kind.BYTES)
NO_TEXT = (Kind.BOOLEAN, Kind.JSON, Kind.BYTES)


@contextmanager
def open_source(url: str, mapping: TableMapping) -> Generator[Source]:
    """Connect, and check the mapping against the real table. Raises `ConfigError` with everything that is wrong."""
    engine = open_engine(url, where=f"mappings.{mapping.name}.url")
    try:
        yield Source(engine, mapping, _shape(engine, mapping))
    finally:
        engine.dispose()


def open_engine(url: str, *, where: str) -> sa.Engine:
    """An engine for any SQLAlchemy URL; nothing is connected yet. Raises `ConfigError`."""
    try:
        parsed = sa.make_url(url)
        if parsed.get_backend_name() in {"postgres", "postgresql"} and "+" not in parsed.drivername:
            parsed = parsed.set(drivername="postgresql+psycopg")
        engine = sa.create_engine(parsed, pool_pre_ping=True)
    except (ArgumentError, NoSuchModuleError):
        raise ConfigError(problems=[Problem(where, "is not a database URL that can be opened here")]) from None
    except ImportError as error:
        raise ConfigError(problems=[Problem(where, f"needs the driver {error.name!r}, which is missing")]) from None
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _patient)
    return engine


def _patient(connection: Any, _record: Any) -> None:
    connection.execute("PRAGMA busy_timeout=30000")


def _shape(engine: sa.Engine, mapping: TableMapping) -> Shape:
    checks = _Checks(mapping)
    try:
        with engine.connect() as connection:
            inspector = sa.inspect(connection)
            found = _query(connection, mapping, checks) if mapping.query else _table(inspector, mapping, checks)
            checks.done()
            assert found is not None
            rows, columns = found
            checks.fields(columns)
            checks.done()
            if mapping.query is None:
                checks.table(inspector, columns)
            checks.done()
    except OperationalError as error:
        raise checks.failed("url", f"cannot be opened ({type(error.orig).__name__})") from None
    target = sa.table(mapping.table, *_plain(columns)) if mapping.table else None
    return Shape(rows, columns, target, checks.advice)


def _table(
    inspector: sa.Inspector, mapping: TableMapping, checks: _Checks
) -> tuple[sa.FromClause, dict[str, Column]] | None:
    assert mapping.table is not None
    names = [*inspector.get_table_names(), *inspector.get_view_names()]
    if mapping.table not in names:
        checks.wrong("table", f"there is no table {mapping.table!r} in that database{_meant(mapping.table, names)}")
        return None
    declared = {column["name"]: column for column in inspector.get_columns(mapping.table)}
    _check_names(mapping, list(declared), checks)
    raw = inspector.dialect.name == "sqlite"
    columns = {name: _column(column, raw=raw) for name, column in declared.items()}
    return sa.table(mapping.table, *_plain(columns)), columns


def _plain(names: Iterable[str]) -> list[sa.ColumnClause[Any]]:
    return [sa.column(name) for name in names]


def _column(declared: ReflectedColumn, *, raw: bool) -> Column:
    kind = kind_of(declared["type"])
    expression: sa.ColumnClause[Any] = sa.column(declared["name"], None if raw else declared["type"])
    computed = "computed" in declared
    return Column(declared["name"], kind, expression, raw, computed=computed, nullable=declared["nullable"])


def _query(
    connection: sa.Connection, mapping: TableMapping, checks: _Checks
) -> tuple[sa.FromClause, dict[str, Column]] | None:
    rows = sa.text(f"({(mapping.query or '').strip().rstrip(';')}) AS source_rows")
    try:
        sample = connection.execute(sa.select(sa.text("*")).select_from(rows).limit(1))
        names = list(sample.keys())
        first = sample.mappings().first()
    except DBAPIError as error:
        checks.wrong("query", f"is refused by the database ({type(error.orig).__name__})")
        return None
    _check_names(mapping, names, checks)
    raw = connection.dialect.name == "sqlite"
    columns = {name: Column(name, _sampled(first, name), sa.column(name), raw) for name in names}
    return rows, columns  # pyright: ignore[reportReturnType]  # text stands for a FROM clause


def _sampled(first: Mapping[Any, Any] | None, name: str) -> Kind:
    """A query's columns have no declared type; a whole number as key has to be recognised, though."""
    value = None if first is None else first[name]
    return Kind.INTEGER if isinstance(value, int) and not isinstance(value, bool) else Kind.OTHER


def _check_names(mapping: TableMapping, names: list[str], checks: _Checks) -> None:
    for name in mapping.columns:
        if name not in names:
            checks.wrong("fields", f"{mapping.place!r} has no column {name!r}{_meant(name, names)}")
    try:
        ZoneInfo(mapping.timezone)
    except (ZoneInfoNotFoundError, ValueError):
        checks.wrong("timezone", f"{mapping.timezone!r} is no time zone such as Europe/Berlin")


def _meant(name: str, names: list[str]) -> str:
    close = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


class _Checks:
    """Collects what is wrong with one mapping, and what is only slow."""

    def __init__(self, mapping: TableMapping) -> None:
        self._mapping = mapping
        self._problems: list[Problem] = []
        self.advice: list[Problem] = []

    def wrong(self, where: str, what: str) -> None:
        self._problems.append(self._problem(where, what))

    def failed(self, where: str, what: str) -> ConfigError:
        return ConfigError(problems=[*self._problems, self._problem(where, what)])

    def done(self) -> None:
        """Raise what was found so far."""
        if self._problems:
            raise ConfigError(problems=self._problems)

    def fields(self, columns: Mapping[str, Column]) -> None:
        """Types, and whether what shall be written can be."""
        mapping = self._mapping
        if mapping.cursor and columns[mapping.cursor].kind in NO_CURSOR:
            kind = columns[mapping.cursor].kind
            self.wrong("cursor", f"{mapping.cursor!r} is {kind}; it must be a time or a number that grows")
        for name, rule in mapping.fields.items():
            for what in _field_problems(name, columns[rule.column], writes=rule.pulls and not mapping.read_only):
                self.wrong(f"fields.{name}", what)
            if rule.column == mapping.key and rule.pulls and not mapping.read_only:
                self.wrong(f"fields.{name}", 'is the key, which is never changed; say direction = "push"')

    def table(self, inspector: sa.Inspector, columns: Mapping[str, Column]) -> None:
        """The key must name one row; a cursor without an index is slow, and one that may be empty costs reads."""
        mapping = self._mapping
        assert mapping.table is not None
        if mapping.table in inspector.get_view_names():
            return
        if [mapping.key] not in list(_unique(inspector, mapping.table)):
            what = f"{mapping.key!r} is neither the primary key nor unique: two rows could become one person"
            self.wrong("key", what)
        if mapping.cursor is None:
            self._advise(
                "cursor", "there is none, so every run reads the whole table; name a column such as updated_at"
            )
            return
        indexes = [index["column_names"][0] for index in inspector.get_indexes(mapping.table)]
        if mapping.cursor not in [*indexes, mapping.key]:
            create = f"CREATE INDEX ON {mapping.table} ({mapping.cursor}, {mapping.key})"
            self._advise("cursor", f"{mapping.cursor!r} has no index, so every run reads the whole table; {create}")
        if columns[mapping.cursor].nullable:
            self._advise("cursor", f"{mapping.cursor!r} may be NULL; rows where it is are looked at in every run")

    def _advise(self, where: str, what: str) -> None:
        self.advice.append(self._problem(where, what))

    def _problem(self, where: str, what: str) -> Problem:
        return Problem(f"mappings.{self._mapping.name}.{where}", what)


def _field_problems(name: str, column: Column, *, writes: bool) -> Iterator[str]:
    if not name.startswith("properties.") and column.kind in NO_TEXT:
        yield f"{column.name!r} is {column.kind}, which {name} cannot be; map it under properties.…"
    elif column.kind is Kind.BYTES:
        yield f"{column.name!r} is binary, which no property can be"
    if column.computed and writes:
        yield f'{column.name!r} is computed by the database and cannot be written to; say direction = "push"'


def _unique(inspector: sa.Inspector, table: str) -> Iterator[list[str | None]]:
    yield list(inspector.get_pk_constraint(table)["constrained_columns"])
    for constraint in inspector.get_unique_constraints(table):
        yield list(constraint["column_names"])
    for index in inspector.get_indexes(table):
        if index["unique"]:
            yield index["column_names"]
