"""The inbox: webhook events as they came, and what became of them.

An event is `stored` until it is `handled`, `ignored` (nobody wants it) or `dead` (it failed too often).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from klaviyo_bridge.domain.webhook import UNREADABLE, WebhookEvent
from klaviyo_bridge.infra.database import Database, as_dicts
from klaviyo_bridge.infra.engine import Engine
from klaviyo_bridge.infra.stores.people import chunks
from klaviyo_bridge.infra.tables import inbox

HANDLE = "handle_webhook"  # the job that routes events
EVENTS_PER_JOB = 500
_EVENT = (inbox.c.id, inbox.c.external_id, inbox.c.topic, inbox.c.payload)


class InboxStore:
    """Each method is one transaction; jobs are enqueued in the same one."""

    def __init__(self, database: Database, engine: Engine, *, queue: str, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._engine = engine
        self._queue = queue
        self._clock = clock

    def add(self, account: str, events: Sequence[WebhookEvent]) -> int:
        """Put new events on disk with jobs that handle them; returns how many were new."""
        dialect = sqlite if self._database.is_sqlite else postgresql
        rows = {event.external_id: _stored(account, event, self._clock()) for event in events}
        if not rows:
            return 0
        insert = dialect.insert(inbox).on_conflict_do_nothing(index_elements=["account", "external_id"])
        ordered = [rows[external_id] for external_id in sorted(rows)]  # so that two at once never wait crosswise
        with self._database.write() as connection:
            new = connection.execute(insert.returning(inbox.c.id, inbox.c.state), ordered).all()
            self._enqueue(connection, [row.id for row in new if row.state == "stored"])
        return len(new)

    def load(self, ids: Sequence[int]) -> dict[int, WebhookEvent]:
        """Those of the events that are still to be handled, by id, oldest first."""
        with self._database.read() as connection:
            return {
                row.id: _event(row)
                for chunk in chunks(sorted(ids))
                for row in connection.execute(
                    sa.select(*_EVENT).where(inbox.c.id.in_(chunk), inbox.c.state == "stored").order_by(inbox.c.id)
                )
            }

    def ended(self, ids: Sequence[int], *, state: str) -> None:
        """These events came to an end: `handled`, or `ignored` when no handler wants them."""
        if not ids:
            return
        values = {"state": state, "handled_at": self._clock(), "last_error": None}
        with self._database.write() as connection:
            for chunk in chunks(sorted(ids)):
                connection.execute(inbox.update().where(inbox.c.id.in_(chunk)).values(**values))

    def postpone(self, ids: Sequence[int], *, because: str, delay: float) -> None:
        """Try these again after `delay` seconds; nothing is held against them."""
        if ids:
            with self._database.write() as connection:
                self._again(connection, ids, delay=delay, values={"last_error": because})

    def failed(self, errors: Mapping[int, str], *, delays: Sequence[float]) -> int:
        """Note why each event failed, and try it again after the delay for that many failures; an event that used
        them all up stays as dead. Returns how many died.
        """
        if not errors:
            return 0
        due: dict[float, list[int]] = {}
        with self._database.write() as connection:
            for row_id in sorted(errors):
                failures = _note(connection, row_id, errors[row_id])
                if failures is not None and failures <= len(delays):
                    due.setdefault(delays[failures - 1], []).append(row_id)
            for delay, ids in due.items():
                self._again(connection, ids, delay=delay)
            return _bury(connection, sorted(errors), most=len(delays) + 1)

    def rescue(self, account: str, *, overdue: timedelta) -> int:
        """Enqueue stored events again that no job took care of in time: its worker died with the database, say."""
        late = sa.select(inbox.c.id).where(
            inbox.c.account == account,
            inbox.c.state == sa.literal_column("'stored'"),
            inbox.c.due_at < self._clock() - overdue,
        )
        with self._database.write() as connection:
            self._database.lock(connection, f"inbox:{account}")
            ids = list(connection.execute(late.order_by(inbox.c.due_at).limit(10_000)).scalars())
            self._again(connection, ids, delay=0.0)
        return len(ids)

    def replay(
        self, account: str, *, state: str, topic: str | None = None, since: datetime | None = None, limit: int
    ) -> int:
        """Have ended events handled once more, with a clean record; returns how many."""
        query = sa.select(inbox.c.id).where(
            inbox.c.account == account, inbox.c.state == sa.literal_column(f"'{state}'")
        )
        query = query if topic is None else query.where(inbox.c.topic == topic)
        query = query if since is None else query.where(inbox.c.received_at >= since)
        readable = query.where(inbox.c.topic != UNREADABLE).order_by(inbox.c.id).limit(limit)
        with self._database.write() as connection:
            ids = list(connection.execute(readable).scalars())
            fresh = {"state": "stored", "attempts": 0, "handled_at": None, "last_error": None}
            self._again(connection, ids, delay=0.0, values=fresh)
        return len(ids)

    def forget(self, account: str, *, before: datetime, limit: int) -> int:
        """Delete up to `limit` ended events received before then; dead ones stay until they are replayed."""
        old = (
            sa.select(inbox.c.id)
            .where(inbox.c.account == account, inbox.c.received_at < before, inbox.c.state.in_(["handled", "ignored"]))
            .order_by(inbox.c.received_at)
            .limit(limit)
        )
        with self._database.write() as connection:
            ids = list(connection.execute(old).scalars())
            for chunk in chunks(sorted(ids)):
                connection.execute(inbox.delete().where(inbox.c.id.in_(chunk)))
        return len(ids)

    def counts(self, account: str) -> dict[str, dict[str, int]]:
        """Events by topic and state."""
        query = (
            sa.select(inbox.c.topic, inbox.c.state, sa.func.count())
            .where(inbox.c.account == account)
            .group_by(inbox.c.topic, inbox.c.state)
            .order_by(inbox.c.topic)
        )
        found: dict[str, dict[str, int]] = {}
        with self._database.read() as connection:
            for topic, state, count in connection.execute(query):
                found.setdefault(topic, {})[state] = count
        return found

    def waiting(self, account: str) -> int:
        """How many events are still to be handled."""
        stored = inbox.c.state == sa.literal_column("'stored'")
        with self._database.read() as connection:
            query = sa.select(sa.func.count()).select_from(inbox).where(inbox.c.account == account, stored)
            return connection.execute(query).scalar() or 0

    def last_id(self) -> int:
        """The id of the newest event; 0 in an empty inbox."""
        with self._database.read() as connection:
            return connection.execute(sa.select(sa.func.max(inbox.c.id))).scalar() or 0

    def after(self, account: str, last: int, *, limit: int) -> Iterator[tuple[int, str, datetime, WebhookEvent]]:
        """Events with a higher id: id, state, time of receipt, and the event."""
        query = (
            sa.select(*_EVENT, inbox.c.state, inbox.c.received_at)
            .where(inbox.c.account == account, inbox.c.id > last)
            .order_by(inbox.c.id)
            .limit(limit)
        )
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        for row in rows:
            yield row.id, row.state, row.received_at, _event(row)

    def dead(self, account: str, *, limit: int) -> list[dict[str, Any]]:
        """Events that failed too often: id, topic, external_id, attempts, last_error. No payload."""
        columns = (inbox.c.id, inbox.c.topic, inbox.c.external_id, inbox.c.attempts, inbox.c.last_error)
        query = (
            sa.select(*columns)
            .where(inbox.c.account == account, inbox.c.state == sa.literal_column("'dead'"))
            .order_by(inbox.c.id)
            .limit(limit)
        )
        with self._database.read() as connection:
            return as_dicts(connection.execute(query))

    def _again(
        self,
        connection: sa.Connection,
        ids: Sequence[int],
        *,
        delay: float,
        values: Mapping[str, Any] | None = None,
    ) -> None:
        due = {"due_at": self._clock() + timedelta(seconds=delay), **(values or {})}
        for chunk in chunks(sorted(ids)):
            connection.execute(inbox.update().where(inbox.c.id.in_(chunk)).values(**due))
        self._enqueue(connection, sorted(ids), delay=delay)

    def _enqueue(self, connection: sa.Connection, ids: Sequence[int], *, delay: float = 0.0) -> None:
        for chunk in chunks(ids, EVENTS_PER_JOB):
            argument = {"ids": list(chunk)}
            self._engine.enqueue(
                connection, HANDLE, f"inbox:{uuid4()}", argument, queue=self._queue, delay=delay or None
            )


def _stored(account: str, event: WebhookEvent, now: datetime) -> dict[str, Any]:
    unreadable = event.topic == UNREADABLE
    return {
        "account": account,
        "external_id": event.external_id,
        "topic": event.topic,
        "payload": orjson.dumps(event.payload),
        "state": "dead" if unreadable else "stored",
        "received_at": now,
        "due_at": now,
        "last_error": str(event.payload.get("reason")) if unreadable else None,
    }


def _note(connection: sa.Connection, row_id: int, error: str) -> int | None:
    """How often the event failed by now; None when it came to an end meanwhile."""
    note = inbox.update().where(inbox.c.id == row_id, inbox.c.state == "stored")
    noted = note.values(attempts=inbox.c.attempts + 1, last_error=error).returning(inbox.c.attempts)
    return connection.execute(noted).scalar()


def _bury(connection: sa.Connection, ids: Sequence[int], *, most: int) -> int:
    worn = inbox.update().where(inbox.c.attempts >= most, inbox.c.state == "stored").values(state="dead")
    return sum(connection.execute(worn.where(inbox.c.id.in_(chunk))).rowcount for chunk in chunks(ids))


def _event(row: Any) -> WebhookEvent:
    return WebhookEvent(external_id=row.external_id, topic=row.topic, payload=orjson.loads(row.payload))
