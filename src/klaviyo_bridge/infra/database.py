"""The bridge's own database: one code path, SQLite or Postgres.

SQLite runs in WAL mode with `synchronous=FULL`, because an answer of 202 promises that the row is on disk.
Postgres must have `synchronous_commit` on for the same reason; `open_database` refuses to start otherwise.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import ArgumentError, OperationalError
from sqlalchemy.types import TypeDecorator

from klaviyo_bridge.errors import ConfigError, Problem

BUSY_TIMEOUT_MS = 30_000


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC `datetime` on every database (SQLite stores no offset)."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a datetime needs its time zone")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value if value is None or value.tzinfo else value.replace(tzinfo=UTC)


class Database:
    """Connections to the bridge's database; the caller's block is the transaction."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine
        self._writer = engine.execution_options(begin_immediate=True)

    @property
    def is_sqlite(self) -> bool:
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def read(self) -> Generator[sa.Connection]:
        """A transaction that only reads; never waits for a writer."""
        with self.engine.begin() as connection:
            yield connection

    @contextmanager
    def write(self) -> Generator[sa.Connection]:
        """A transaction that may write; on SQLite it holds the one write lock from its start."""
        with self._writer.begin() as connection:
            yield connection

    def lock(self, connection: sa.Connection, name: str) -> None:
        """Let one transaction at a time pass, across processes, until `connection` commits.

        SQLite's write transaction is such a lock already.
        """
        if not self.is_sqlite:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(name, 0))))

    def try_lock(self, connection: sa.Connection, name: str) -> bool:
        """As `lock`, but False at once when somebody else holds it."""
        if self.is_sqlite:
            return True
        key = sa.func.hashtextextended(name, 0)
        return bool(connection.execute(sa.select(sa.func.pg_try_advisory_xact_lock(key))).scalar())

    @contextmanager
    def alone(self, name: str) -> Generator[bool]:
        """Whether this process may do what `name` says until the block ends; False while another does it.

        No transaction is open meanwhile, and the right dies with the process. SQLite has one worker anyway.
        """
        if self.is_sqlite:
            yield True
            return
        key = sa.func.hashtextextended(name, 0)
        with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            mine = bool(connection.execute(sa.select(sa.func.pg_try_advisory_lock(key))).scalar())
            try:
                yield mine
            finally:
                if mine:
                    connection.execute(sa.select(sa.func.pg_advisory_unlock(key)))


@contextmanager
def open_database(url: str, *, pool_size: int = 10) -> Generator[Database]:
    """Connect to `url`, check that commits are durable, and close at the end.

    Raises `ConfigError` when the database cannot be reached or would not keep what it acknowledges.
    """
    engine = create_engine(url, pool_size=pool_size)
    try:
        _check_durability(engine)
        yield Database(engine)
    finally:
        engine.dispose()


def create_engine(url: str, *, pool_size: int = 10) -> sa.Engine:
    """An engine with our pragmas; explicit BEGIN on SQLite, so that DDL is transactional too."""
    parsed = database_url(url)
    if parsed.get_backend_name() != "sqlite":
        return sa.create_engine(parsed, pool_size=pool_size, max_overflow=pool_size, pool_pre_ping=True)
    if parsed.database and parsed.database != ":memory:":
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    engine = sa.create_engine(parsed, pool_size=pool_size, max_overflow=pool_size * 2)
    event.listen(engine, "connect", _set_pragmas)
    event.listen(engine, "begin", _begin)
    return engine


def database_url(url: str) -> sa.URL:
    """`url` with the driver we use: `postgres://` and `postgresql://` mean psycopg 3.

    Raises `ConfigError` for anything but SQLite and Postgres.
    """
    try:
        parsed = sa.make_url(url)
    except ArgumentError:
        raise _unusable("is not a database URL such as sqlite:///bridge.db or postgresql://…") from None
    backend = parsed.get_backend_name()
    if backend in {"postgres", "postgresql"}:
        return parsed.set(drivername="postgresql+psycopg")
    if backend != "sqlite":
        raise _unusable(f"names {backend}; the bridge's own database is SQLite or Postgres")
    return parsed


def _unusable(what: str) -> ConfigError:
    return ConfigError(problems=[Problem("database_url", what)])


def _set_pragmas(connection: Any, _record: Any) -> None:
    connection.isolation_level = None
    connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")


def _begin(connection: sa.Connection) -> None:
    immediate = connection.get_execution_options().get("begin_immediate", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


def _check_durability(engine: sa.Engine) -> None:
    try:
        with engine.connect() as connection:
            _assert_durable(connection)
    except OperationalError as error:
        raise _unusable(f"cannot be opened ({type(error.orig).__name__})") from None


def _assert_durable(connection: sa.Connection) -> None:
    if connection.dialect.name == "sqlite":
        if connection.exec_driver_sql("PRAGMA synchronous").scalar() not in (2, 3):
            raise _unusable("SQLite does not keep synchronous=FULL; a power cut could lose a 202")
    elif connection.exec_driver_sql("SHOW synchronous_commit").scalar() == "off":
        raise _unusable("Postgres has synchronous_commit=off; a crash could lose a 202")


def as_dicts(result: sa.CursorResult[*tuple[Any, ...]]) -> list[dict[str, Any]]:
    """Rows as dicts with plain text keys: SQLAlchemy's own keys are a kind of text that orjson refuses."""
    return [{str(name): value for name, value in row.items()} for row in result.mappings()]
