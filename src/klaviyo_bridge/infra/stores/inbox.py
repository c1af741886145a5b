"""The inbox: webhook events as they came, and what became of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any
from uuid import uuid4

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from klaviyo_bridge.domain.webhook import WebhookEvent
from klaviyo_bridge.infra.database import Database
from klaviyo_bridge.infra.engine import Engine
from klaviyo_bridge.infra.stores.people import chunks
from klaviyo_bridge.infra.tables import inbox

HANDLE = "handle_webhook"  # the job that routes events


class InboxStore:
    """Each method is one transaction; jobs are enqueued in the same one."""

    def __init__(self, database: Database, engine: Engine, *, queue: str, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._engine = engine
        self._queue = queue
        self._clock = clock

    def add(self, account: str, events: Sequence[WebhookEvent]) -> int:
        """Put new events on disk with a job that handles them; returns how many were new."""
        dialect = sqlite if self._database.is_sqlite else postgresql
        rows = {event.external_id: _stored(account, event, self._clock()) for event in events}
        if not rows:
            return 0
        insert = dialect.insert(inbox).on_conflict_do_nothing(index_elements=["account", "external_id"])
        with self._database.write() as connection:
            new = list(connection.execute(insert.returning(inbox.c.id), list(rows.values())).scalars())
            if new:
                self._enqueue(connection, new, delay=None)
        return len(new)

    def load(self, ids: Sequence[int]) -> dict[int, WebhookEvent]:
        """Those of the events that are still to be handled, by id."""
        query = sa.select(inbox.c.id, inbox.c.external_id, inbox.c.topic, inbox.c.payload)
        with self._database.read() as connection:
            return {
                row.id: WebhookEvent(external_id=row.external_id, topic=row.topic, payload=orjson.loads(row.payload))
                for chunk in chunks(ids)
                for row in connection.execute(query.where(inbox.c.id.in_(chunk), inbox.c.state == "stored"))
            }

    def handled(self, ids: Sequence[int], *, state: str) -> None:
        """These events came to an end: `handled`, or `ignored` when no handler wants them."""
        values = {"state": state, "handled_at": self._clock(), "last_error": None}
        with self._database.write() as connection:
            for chunk in chunks(ids):
                connection.execute(inbox.update().where(inbox.c.id.in_(chunk)).values(**values))

    def failed(self, ids: Sequence[int], *, error: str, delay: float, most: int) -> None:
        """Try these again after `delay` seconds; an event that failed `most` times stays as dead."""
        with self._database.write() as connection:
            for chunk in chunks(ids):
                mine = inbox.c.id.in_(chunk)
                connection.execute(inbox.update().where(mine).values(attempts=inbox.c.attempts + 1, last_error=error))
                connection.execute(inbox.update().where(mine, inbox.c.attempts >= most).values(state="dead"))
            self._enqueue(connection, ids, delay=delay)

    def _enqueue(self, connection: sa.Connection, ids: Sequence[int], *, delay: float | None) -> None:
        key = f"inbox:{uuid4()}"
        self._engine.enqueue(connection, HANDLE, key, {"ids": list(ids)}, queue=self._queue, delay=delay)


def _stored(account: str, event: WebhookEvent, now: datetime) -> dict[str, Any]:
    return {
        "account": account,
        "external_id": event.external_id,
        "topic": event.topic,
        "payload": orjson.dumps(event.payload),
        "state": "stored",
        "received_at": now,
    }
