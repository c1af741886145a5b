"""How an account stands, read in one transaction; and when its pulses last beat."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import sqlalchemy as sa

from klaviyo_bridge.domain.outbox import BatchState, RowState
from klaviyo_bridge.domain.vitals import Line, Vitals
from klaviyo_bridge.infra.database import Database
from klaviyo_bridge.infra.stores.cursors import put_cursor
from klaviyo_bridge.infra.tables import accounts, batches, breakers, cursors, inbox, outbox

BEAT = "beat:"
MOST_ORIGINS = 64
_OPEN = (BatchState.SEALED, BatchState.SENDING, BatchState.ACCEPTED)


class VitalsStore:
    """Reads; and notes beats."""

    def __init__(self, database: Database, *, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock

    def read(self, account: str) -> Vitals:
        """Counts and ages now. Costs a look at every waiting row, so do not ask for each request."""
        with self._database.read() as connection:
            return Vitals(
                at=self._clock(),
                waiting=_waiting(connection, account),
                batches=_batches(connection, account),
                dead=_dead(connection, account),
                inbox=_inbox(connection, account),
                last_webhook=connection.execute(_last_webhook(account)).scalar(),
                beats=_beats(connection, account),
                stopped=connection.execute(_stopped(account)).scalar(),
                breaker=connection.execute(_breaker(account)).scalar() or "closed",
            )

    def note_beat(self, account: str, pulse: str) -> None:
        """This pulse beat just now."""
        with self._database.write() as connection:
            put_cursor(connection, account, f"{BEAT}{pulse}", None, now=self._clock())

    def origins(self, batch_id: str) -> list[str]:
        """The traces that brought the batch's rows: the one the batch was sealed with first, then a few others."""
        of_rows = sa.select(outbox.c.trace).where(outbox.c.batch_id == batch_id, outbox.c.trace.is_not(None))
        with self._database.read() as connection:
            first = connection.execute(sa.select(batches.c.trace).where(batches.c.id == batch_id)).scalar()
            others = connection.execute(of_rows.limit(MOST_ORIGINS)).scalars().all()
        return [found for found in dict.fromkeys([first, *others]) if found]


def _waiting(connection: sa.Connection, account: str) -> dict[str, Line]:
    literal = sa.literal_column(f"'{RowState.WAITING}'", sa.String)  # so that SQLite sees the partial index
    query = (
        sa.select(outbox.c.kind, sa.func.count(), sa.func.min(outbox.c.created_at, type_=outbox.c.created_at.type))
        .where(outbox.c.account == account, outbox.c.state == literal)
        .group_by(outbox.c.kind)
    )
    return {kind: Line(count=count, oldest=oldest) for kind, count, oldest in connection.execute(query)}


def _batches(connection: sa.Connection, account: str) -> dict[tuple[str, str], Line]:
    oldest = sa.func.min(batches.c.created_at, type_=batches.c.created_at.type)
    query = (
        sa.select(batches.c.lane, batches.c.state, sa.func.count(), oldest)
        .where(batches.c.account == account, batches.c.state.in_(_OPEN))
        .group_by(batches.c.lane, batches.c.state)
    )
    return {(lane, state): Line(count=count, oldest=old) for lane, state, count, old in connection.execute(query)}


def _dead(connection: sa.Connection, account: str) -> int:
    literal = sa.literal_column(f"'{RowState.DEAD}'", sa.String)
    query = sa.select(sa.func.count()).where(outbox.c.account == account, outbox.c.state == literal)
    return connection.execute(query).scalar_one()


def _inbox(connection: sa.Connection, account: str) -> Line:
    oldest = sa.func.min(inbox.c.received_at, type_=inbox.c.received_at.type)
    query = sa.select(sa.func.count(), oldest).where(inbox.c.account == account, inbox.c.state == "stored")
    count, old = connection.execute(query).one()
    return Line(count=count, oldest=old)


def _last_webhook(account: str) -> sa.Select[datetime]:
    newest = sa.select(inbox.c.received_at).where(inbox.c.account == account)
    return newest.order_by(inbox.c.id.desc()).limit(1)


def _beats(connection: sa.Connection, account: str) -> dict[str, datetime]:
    query = sa.select(cursors.c.name, cursors.c.updated_at).where(
        cursors.c.account == account, cursors.c.name.startswith(BEAT)
    )
    return {name.removeprefix(BEAT): at for name, at in connection.execute(query)}


def _stopped(account: str) -> sa.Select[str | None]:
    return sa.select(accounts.c.stopped_because).where(
        accounts.c.account == account, accounts.c.stopped_at.is_not(None)
    )


def _breaker(account: str) -> sa.Select[str]:
    return sa.select(breakers.c.state).where(breakers.c.account == account)
