"""The breakers in the database: one row per account, changed by one process at a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import SQLAlchemyError

from klaviyo_bridge.errors import Unavailable
from klaviyo_bridge.infra.database import Database
from klaviyo_bridge.infra.tables import breakers

T = TypeVar("T")
Row = tuple[str, int, float, float]
"""State, failures in a row, when it opened, until when a probe runs."""


class SQLBreakerStore:
    """Breakers in `breakers`. The clock is the machine's monotonic one for SQLite, the server's for Postgres."""

    def __init__(self, database: Database, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._monotonic = monotonic

    def read(self, account: str) -> tuple[Row | None, float]:
        """The row and the time in seconds."""
        try:
            with self._database.read() as connection:
                return self._row(connection, account, lock=False), self._now(connection)
        except SQLAlchemyError as error:
            raise _unreadable(error) from error

    def update(self, account: str, change: Callable[[Row | None, float], tuple[Row | None, T]]) -> T:
        """Change the row; `change` gets it with the time in seconds."""
        try:
            with self._database.write() as connection:
                self._create(connection, account)
                row, result = change(self._row(connection, account, lock=True), self._now(connection))
                if row is not None:
                    _keep(connection, account, row)
                return result
        except SQLAlchemyError as error:
            raise _unreadable(error) from error

    def _create(self, connection: sa.Connection, account: str) -> None:
        """Make sure there is a row to lock."""
        if not self._database.is_sqlite:
            fresh = postgresql.insert(breakers).values(account=account, **_values(("closed", 0, 0.0, 0.0)))
            connection.execute(fresh.on_conflict_do_nothing())

    def _row(self, connection: sa.Connection, account: str, *, lock: bool) -> Row | None:
        columns = (breakers.c.state, breakers.c.failures, breakers.c.opened_at, breakers.c.probe_until)
        query = sa.select(*columns).where(breakers.c.account == account)
        found = connection.execute(query.with_for_update() if lock else query).one_or_none()
        return found and (found.state, found.failures, found.opened_at, found.probe_until)

    def _now(self, connection: sa.Connection) -> float:
        if self._database.is_sqlite:
            return self._monotonic()
        now = connection.execute(sa.select(sa.func.extract("epoch", sa.func.clock_timestamp())))
        return float(now.scalar_one())


def _keep(connection: sa.Connection, account: str, row: Row) -> None:
    changed = connection.execute(breakers.update().where(breakers.c.account == account).values(**_values(row))).rowcount
    if not changed:
        connection.execute(breakers.insert().values(account=account, **_values(row)))


def _values(row: Row) -> dict[str, object]:
    return dict(zip(("state", "failures", "opened_at", "probe_until"), row, strict=True))


def _unreadable(error: SQLAlchemyError) -> Unavailable:
    return Unavailable(f"the breaker's state cannot be read or kept ({type(error).__name__})")
