"""Where a walk stands, by name; and whether an account may be spoken to."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from klaviyo_bridge.infra.database import Database
from klaviyo_bridge.infra.tables import accounts, cursors


class CursorStore:
    """Small JSON values by name."""

    def __init__(self, database: Database, *, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock

    def get(self, account: str, name: str) -> Any:
        """The value, or None when the walk has not begun."""
        with self._database.read() as connection:
            return connection.execute(sa.select(cursors.c.value).where(*_named(account, name))).scalar()

    def put(self, account: str, name: str, value: object) -> None:
        with self._database.write() as connection:
            put_cursor(connection, account, name, value, now=self._clock())


def put_cursor(connection: sa.Connection, account: str, name: str, value: object, *, now: datetime) -> None:
    """As `CursorStore.put`, inside the caller's transaction, which must be one that writes."""
    moved = cursors.update().where(*_named(account, name)).values(value=value, updated_at=now)
    if connection.execute(moved).rowcount == 0:
        connection.execute(cursors.insert().values(account=account, name=name, value=value, updated_at=now))


def _named(account: str, name: str) -> tuple[sa.ColumnElement[bool], ...]:
    return cursors.c.account == account, cursors.c.name == name


class AccountStore:
    """Whether Klaviyo accepts the account's key. A refused key stops the account until another key is given."""

    def __init__(self, database: Database, *, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock

    def open(self, account: str, key_fingerprint: str) -> None:
        """Know the account; a new key lifts the stop that the old one earned."""
        with self._database.write() as connection:
            this = accounts.c.account == account
            known = connection.execute(sa.select(accounts.c.key_fingerprint).where(this)).first()
            fresh = {"key_fingerprint": key_fingerprint, "stopped_at": None, "stopped_because": None}
            if known is None:
                connection.execute(accounts.insert().values(account=account, **fresh))
            elif known.key_fingerprint != key_fingerprint:
                connection.execute(accounts.update().where(this).values(**fresh))

    def stop(self, account: str, because: str) -> None:
        """Send nothing more for this account; what waits is kept."""
        values = {"stopped_at": self._clock(), "stopped_because": because}
        with self._database.write() as connection:
            connection.execute(accounts.update().where(accounts.c.account == account).values(**values))

    def resume(self, account: str) -> None:
        values = {"stopped_at": None, "stopped_because": None}
        with self._database.write() as connection:
            connection.execute(accounts.update().where(accounts.c.account == account).values(**values))

    def stopped(self, account: str) -> str | None:
        """Why nothing is sent; None while all is well."""
        with self._database.read() as connection:
            query = sa.select(accounts.c.stopped_because).where(
                accounts.c.account == account, accounts.c.stopped_at.is_not(None)
            )
            return connection.execute(query).scalar()
