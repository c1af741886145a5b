"""The gate's lanes in the database: one row each, changed by one process at a time.

The clock is one that all processes of a database share: the machine's monotonic clock for SQLite, which
lives on one machine, and the server's for Postgres.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import SQLAlchemyError

from klaviyo_bridge.errors import Unavailable
from klaviyo_bridge.infra.database import Database
from klaviyo_bridge.infra.tables import gate_windows

T = TypeVar("T")


class SQLGateStore:
    """Lanes in `gate_windows`. What cannot be read or kept raises Unavailable: then nobody calls."""

    def __init__(self, database: Database, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._monotonic = monotonic

    def update(self, account: str, lane: str, change: Callable[[bytes | None, int], tuple[bytes | None, T]]) -> T:
        """Change one lane's bytes; `change` gets them with the time in milliseconds."""
        try:
            with self._database.write() as connection:
                stored, now = self._locked(connection, account, lane)
                state, result = change(stored, now)
                if state is not None:
                    _keep(connection, account, lane, state, exists=stored is not None)
                return result
        except SQLAlchemyError as error:
            raise Unavailable(f"the gate's state cannot be read or kept ({type(error).__name__})") from error

    def read(self, account: str) -> tuple[dict[str, bytes], int]:
        """Every lane's bytes, and the time in milliseconds; keeps nobody out."""
        lanes = sa.select(gate_windows.c.lane, gate_windows.c.state).where(gate_windows.c.account == account)
        with self._database.read() as connection:
            found = {row.lane: row.state for row in connection.execute(lanes)}
            if self._database.is_sqlite:
                return found, round(self._monotonic() * 1000)
            return found, round(connection.execute(sa.select(_NOW)).scalar_one() * 1000)

    def _locked(self, connection: sa.Connection, account: str, lane: str) -> tuple[bytes | None, int]:
        if self._database.is_sqlite:
            stored = connection.execute(sa.select(gate_windows.c.state).where(_key(account, lane))).scalar()
            return stored, round(self._monotonic() * 1000)
        locked = sa.select(gate_windows.c.state, _NOW).where(_key(account, lane)).with_for_update()
        row = connection.execute(locked).one_or_none()
        if row is None:
            fresh = postgresql.insert(gate_windows).values(account=account, lane=lane, state=b"")
            connection.execute(fresh.on_conflict_do_nothing())
            row = connection.execute(locked).one()
        return row.state, round(row.now * 1000)


_NOW = sa.func.extract("epoch", sa.func.clock_timestamp()).cast(sa.Float(53)).label("now")


def _key(account: str, lane: str) -> sa.ColumnElement[bool]:
    return sa.and_(gate_windows.c.account == account, gate_windows.c.lane == lane)


def _keep(connection: sa.Connection, account: str, lane: str, state: bytes, *, exists: bool) -> None:
    if exists:
        connection.execute(gate_windows.update().where(_key(account, lane)).values(state=state))
    else:
        connection.execute(gate_windows.insert().values(account=account, lane=lane, state=state))
