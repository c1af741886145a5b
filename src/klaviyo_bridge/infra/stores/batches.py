"""Batches on their way: begun, accepted, settled, tried again, split.

Every write is conditional on the attempt number, so a worker that was frozen and thawed changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import sqlalchemy as sa

from klaviyo_bridge.domain.outbox import (
    Batch,
    BatchState,
    Kind,
    Lane,
    PlannedBatch,
    RowState,
    Verdict,
    WaitingRow,
)
from klaviyo_bridge.domain.profile import Person
from klaviyo_bridge.infra.database import Database
from klaviyo_bridge.infra.engine import Engine
from klaviyo_bridge.infra.stores import people
from klaviyo_bridge.infra.stores.outbox import delivery_key, enqueue_delivery, stamp_rows, written_by
from klaviyo_bridge.infra.tables import batches, outbox

_OPEN = (BatchState.SEALED, BatchState.SENDING, BatchState.ACCEPTED)


class BatchStore:
    """What delivery and settlement write; each method is one transaction."""

    def __init__(
        self, database: Database, engine: Engine, *, queue_of: Callable[[Lane], str], clock: Callable[[], datetime]
    ) -> None:
        self._database = database
        self._engine = engine
        self._queue_of = queue_of
        self._clock = clock

    def begin(self, batch_id: str, attempt: int) -> Batch | None:
        """Mark the batch as sending, before the first byte leaves. None when this attempt is not the current one.

        `resumed` says that an earlier run of this attempt got as far as here: its request may have had its effect.
        """
        with self._database.write() as connection:
            found = self._current(connection, batch_id, attempt, (BatchState.SEALED, BatchState.SENDING))
            if found is None:
                return None
            now = self._clock()
            first_sent = sa.func.coalesce(batches.c.sent_at, now)
            started = {"state": BatchState.SENDING, "sent_at": first_sent, "begun_at": now}
            connection.execute(batches.update().where(batches.c.id == batch_id).values(**started))
            rows = self._rows(connection, batch_id)
        return _batch(found, rows)

    def accept(self, batch: Batch, job_id: str) -> bool:
        """Klaviyo took the batch as a job of its own; the rows stay fenced until it is settled. False when stale."""
        values = {"state": BatchState.ACCEPTED, "job_id": job_id, "accepted_at": self._clock(), "last_error": None}
        with self._database.write() as connection:
            return connection.execute(batches.update().where(*_is_current(batch)).values(**values)).rowcount == 1

    def settling(self, account: str) -> AbstractContextManager[bool]:
        """Whether this process may follow the account's jobs; one does at a time, so that lists are read once."""
        return self._database.alone(f"settling:{account}")

    def accepted(self, account: str) -> list[Batch]:
        """Batches whose import job at Klaviyo is not settled yet, oldest first; rows are not loaded."""
        query = (
            sa.select(batches)
            .where(batches.c.account == account, batches.c.state == BatchState.ACCEPTED)
            .order_by(batches.c.created_at)
        )
        with self._database.read() as connection:
            return [_batch(row, []) for row in connection.execute(query)]

    def rows(self, batch: Batch) -> list[WaitingRow]:
        """The rows of the batch that have no verdict yet, in the order they were sent."""
        with self._database.read() as connection:
            return self._rows(connection, batch.id)

    def settle(self, batch: Batch, verdicts: Sequence[Verdict], *, final: bool = True) -> bool:
        """Write each row's outcome, and the base of every delivered profile. False when the token is stale.

        With `final` the batch itself ends too, and a row that was given no outcome waits again.
        """
        with self._database.write() as connection:
            if self._current(connection, batch.id, batch.attempt, _OPEN) is None:
                return False
            self._write_verdicts(connection, batch, verdicts)
            if final:
                ended = {"state": BatchState.SETTLED, "settled_at": self._clock()}
                connection.execute(batches.update().where(batches.c.id == batch.id).values(**ended))
                _release(connection, batch.id)
        return True

    def retry(self, batch: Batch, *, delay: float, error: str, ambiguous: bool) -> None:
        """Put the batch back for another attempt after `delay` seconds; its rows stay fenced.

        An `ambiguous` one keeps its `sent_at`: the next attempt has to reconcile first.
        """
        attempt = batch.attempt + 1
        now = self._clock()
        values: dict[str, Any] = {
            "state": BatchState.SEALED,
            "attempt": attempt,
            "retry_at": now + timedelta(seconds=delay),
            "last_error": error,
            "job_id": None,
        }
        if not ambiguous:
            values["sent_at"] = None
        with self._database.write() as connection:
            if connection.execute(batches.update().where(*_is_current(batch)).values(**values)).rowcount:
                self._enqueue(connection, batch, attempt, delay)

    def split(self, batch: Batch, parts: Sequence[PlannedBatch], verdicts: Sequence[Verdict] = ()) -> bool:
        """End the batch in favour of smaller ones, and settle the rows that have a verdict. False when stale."""
        with self._database.write() as connection:
            if self._current(connection, batch.id, batch.attempt, _OPEN) is None:
                return False
            self._write_verdicts(connection, batch, verdicts)
            ended = {"state": BatchState.SPLIT, "settled_at": self._clock()}
            connection.execute(batches.update().where(batches.c.id == batch.id).values(**ended))
            for part in parts:
                self._seal_part(connection, batch, part)
            _release(connection, batch.id)
        return True

    def stranded(self, account: str) -> list[Batch]:
        """Batches on their way whose delivery job has ended without an end for them: it broke, or was lost."""
        query = sa.select(batches).where(
            batches.c.account == account, batches.c.state.in_([BatchState.SEALED, BatchState.SENDING])
        )
        with self._database.read() as connection:
            found = [_batch(row, []) for row in connection.execute(query)]
        alive = self._engine.alive([delivery_key(batch.id, batch.attempt) for batch in found])
        return [batch for batch in found if delivery_key(batch.id, batch.attempt) not in alive]

    def overdue(self, account: str, *, before: datetime) -> list[Batch]:
        """Batches that a worker began before `before` and has not come to an end with."""
        query = sa.select(batches).where(
            batches.c.account == account, batches.c.state == BatchState.SENDING, batches.c.begun_at < before
        )
        with self._database.read() as connection:
            return [_batch(row, []) for row in connection.execute(query)]

    def job_ids(self, account: str, *, since: datetime) -> set[str]:
        """Klaviyo's job ids that batches of ours have claimed since then."""
        query = sa.select(batches.c.job_id).where(batches.c.account == account, batches.c.created_at >= since)
        with self._database.read() as connection:
            return {job_id for job_id in connection.execute(query).scalars() if job_id}

    def _seal_part(self, connection: sa.Connection, batch: Batch, part: PlannedBatch) -> None:
        part_id = str(uuid4())
        connection.execute(
            batches.insert().values(
                id=part_id,
                account=batch.account,
                lane=part.lane,
                state=BatchState.SEALED,
                rows=len(part.carriers),
                bytes=sum(len(carrier.payload) for carrier in part.carriers),
                created_at=self._clock(),
            )
        )
        stamp_rows(connection, part_id, part, now=self._clock())
        enqueue_delivery(connection, self._engine, part_id, 0, queue=self._queue_of(part.lane))

    def _enqueue(self, connection: sa.Connection, batch: Batch, attempt: int, delay: float) -> None:
        queue = self._queue_of(batch.lane)
        enqueue_delivery(connection, self._engine, batch.id, attempt, queue=queue, delay=delay)

    def _current(self, connection: sa.Connection, batch_id: str, attempt: int, states: Sequence[BatchState]) -> Any:
        query = sa.select(batches).where(
            batches.c.id == batch_id, batches.c.attempt == attempt, batches.c.state.in_(states)
        )
        return connection.execute(query.with_for_update()).first()

    def _rows(self, connection: sa.Connection, batch_id: str) -> list[WaitingRow]:
        query = (
            sa.select(outbox.c.id, outbox.c.kind, outbox.c.person_id, outbox.c.payload)
            .where(outbox.c.batch_id == batch_id, outbox.c.state == RowState.BATCHED)
            .order_by(outbox.c.id)
        )
        return [
            WaitingRow(id=row.id, kind=Kind(row.kind), person_id=row.person_id, payload=row.payload)
            for row in connection.execute(query)
        ]

    def _write_verdicts(self, connection: sa.Connection, batch: Batch, verdicts: Sequence[Verdict]) -> None:
        if not verdicts:
            return
        delivered = {v.row_id: v for v in verdicts if v.state is RowState.DELIVERED}
        self._write_bases(connection, batch, delivered)
        ended = (
            outbox.update()
            .where(outbox.c.id == sa.bindparam("row_id"), outbox.c.batch_id == batch.id)
            .values(
                state=sa.bindparam("ended_as"),
                reason=sa.bindparam("because"),
                detail=sa.bindparam("in_words"),
                settled_at=self._clock(),
            )
        )
        values = [
            {"row_id": v.row_id, "ended_as": v.state, "because": v.reason, "in_words": v.detail} for v in verdicts
        ]
        connection.execute(ended, values)

    def _write_bases(self, connection: sa.Connection, batch: Batch, delivered: Mapping[int, Verdict]) -> None:
        """What was delivered is what both sides now agree on."""
        rows = [row for row in self._rows(connection, batch.id) if row.id in delivered]
        known = people.load(connection, [row.person_id for row in rows], to_change=True)
        for row in rows:
            if row.person_id in known:
                known[row.person_id] = _agreed(known[row.person_id], row, delivered[row.id].klaviyo_id)
        people.save(connection, list(known.values()), now=self._clock())


def _agreed(person: Person, row: WaitingRow, klaviyo_id: str | None) -> Person:
    fields = written_by(row.kind, row.payload)
    base = {**person.base, **fields}
    written = {**person.written, **dict.fromkeys(fields, row.id)}
    return Person(person.id, klaviyo_id or person.klaviyo_id, base, written)


def _release(connection: sa.Connection, batch_id: str) -> None:
    """Rows that the batch leaves behind without an end wait again; none is held for ever."""
    left = outbox.c.batch_id == batch_id, outbox.c.state == RowState.BATCHED
    connection.execute(outbox.update().where(*left).values(state=RowState.WAITING, batch_id=None))


def _is_current(batch: Batch) -> tuple[sa.ColumnElement[bool], ...]:
    return batches.c.id == batch.id, batches.c.attempt == batch.attempt, batches.c.state.in_(_OPEN)


def _batch(row: Any, rows: Sequence[WaitingRow]) -> Batch:
    return Batch(
        id=row.id,
        account=row.account,
        lane=Lane(row.lane),
        attempt=row.attempt,
        rows=rows,
        resumed=row.state == BatchState.SENDING or row.sent_at is not None,
        sent_before=row.sent_at,
        accepted_at=row.accepted_at,
        job_id=row.job_id,
    )
