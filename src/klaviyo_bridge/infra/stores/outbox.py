"""The outbox: rows that were acknowledged and wait to be delivered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from uuid import uuid4

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from klaviyo_bridge.domain.event import Event
from klaviyo_bridge.domain.outbox import (
    WAITS_FOR,
    BatchState,
    Kind,
    Lane,
    NewRow,
    PlannedBatch,
    Priority,
    RowState,
    SourceMark,
    Taken,
    WaitingRow,
)
from klaviyo_bridge.domain.profile import ProfileChange
from klaviyo_bridge.domain.values import Json
from klaviyo_bridge.infra.database import Database
from klaviyo_bridge.infra.engine import Engine
from klaviyo_bridge.infra.stores import people
from klaviyo_bridge.infra.stores.consent_rows import ConsentRows, refuse_erased
from klaviyo_bridge.infra.stores.people import chunks
from klaviyo_bridge.infra.stores.tombstones import Tombstones
from klaviyo_bridge.infra.tables import batches, outbox, source_rows

DELIVER = "deliver"  # the job that sends a batch

_WAITING = (outbox.c.id, outbox.c.kind, outbox.c.person_id, outbox.c.payload, outbox.c.created_at)
_PAGE = 500  # rows fetched at once


class OutboxStore:
    """Rows in, batches out; each method is one transaction."""

    def __init__(
        self,
        database: Database,
        engine: Engine,
        *,
        queue_of: Callable[[Lane], str],
        notify: Callable[[], None],
        clock: Callable[[], datetime],
        tombstones: Tombstones | None = None,
    ) -> None:
        self._database = database
        self._engine = engine
        self._queue_of = queue_of
        self._notify = notify
        self._clock = clock
        self._tombstones = tombstones or Tombstones(b"")

    def add(self, account: str, rows: Sequence[NewRow]) -> Taken:
        """Put `rows` on disk; when this returns they survive a power cut. The same `dedupe_key` is taken once."""
        if not rows:
            return Taken(0, 0)
        with self._database.write() as connection:
            taken = self._add(connection, account, rows)
        self._notify()
        return taken

    def _add(self, connection: sa.Connection, account: str, rows: Sequence[NewRow]) -> Taken:
        now = self._clock()
        self._database.lock(connection, f"people:{account}")
        erased = self._tombstones.find(connection, account, [row.identity for row in rows])
        refuse_erased(connection, account, [(rows[index].kind, erased[index].person_id) for index in erased], now=now)
        living = [row for index, row in enumerate(rows) if index not in erased]
        persons = people.resolve(connection, account, [row.identity for row in living], now=now)
        values = [_stored(account, row, person, now) for row, person in zip(living, persons, strict=True)]
        taken = len(connection.execute(self._insert().returning(outbox.c.id), values).all()) if values else 0
        _hurry(connection, account, values)
        return Taken(taken, len(living) - taken, len(erased))

    def add_changes(
        self,
        account: str,
        changes: Sequence[ProfileChange],
        *,
        priority: Priority,
        marks: Sequence[SourceMark] = (),
        trace: str | None = None,
    ) -> Taken:
        """As `add` for profile writes, less what both sides agree on already; wholly agreed ones are `repeated`.

        `marks` (one per change, or none) remember the source rows the changes came from, in the same transaction.
        """
        if not changes:
            return Taken(0, 0)
        with self._database.write() as connection:
            now = self._clock()
            self._database.lock(connection, f"people:{account}")
            erased = self._tombstones.find(connection, account, [change.identity for change in changes])
            buried = [(Kind.PROFILE, tombstone.person_id) for tombstone in erased.values()]
            refuse_erased(connection, account, buried, now=now)
            changes = [change for index, change in enumerate(changes) if index not in erased]
            marks = [mark for index, mark in enumerate(marks) if index not in erased]
            persons = people.resolve(connection, account, [change.identity for change in changes], now=now)
            news = _news(connection, account, persons, changes, erases=priority is not Priority.FULL_SYNC)
            rows = [_change_row(account, change, person, priority, trace, now) for person, change in news]
            if rows:
                connection.execute(outbox.insert(), rows)
            _remember(connection, account, marks, persons)
        self._notify()
        return Taken(len(news), len(changes) - len(news), len(erased))

    def fingerprints(self, account: str, mapping: str, keys: Sequence[str]) -> dict[str, bytes]:
        """What the source rows with these keys looked like when they were last taken."""
        query = sa.select(source_rows.c.key, source_rows.c.fingerprint).where(
            source_rows.c.account == account, source_rows.c.mapping == mapping
        )
        with self._database.read() as connection:
            return {
                row.key: row.fingerprint
                for chunk in chunks(keys)
                for row in connection.execute(query.where(source_rows.c.key.in_(chunk)))
            }

    def _insert(self) -> sa.Insert:
        dialect = sqlite if self._database.is_sqlite else postgresql
        return dialect.insert(outbox).on_conflict_do_nothing(index_elements=["account", "kind", "dedupe_key"])

    def backlog(self, account: str) -> dict[RowState, int]:
        """Open rows and dead letters, counted by state."""
        states = (RowState.WAITING, RowState.BATCHED, RowState.DEAD)
        with self._database.read() as connection:
            return {state: connection.execute(_count(account, state)).scalar() or 0 for state in states}

    def oldest_waiting(self, account: str) -> datetime | None:
        """When the oldest waiting row was acknowledged; None when nothing waits."""
        with self._database.read() as connection:
            return connection.execute(
                sa.select(outbox.c.created_at)
                .where(outbox.c.account == account, outbox.c.state == sa.literal_column("'waiting'"))
                .order_by(outbox.c.priority, outbox.c.id)
                .limit(1)
            ).scalar()

    @contextmanager
    def planning(self, account: str) -> Generator[Planning | None]:
        """One planner at a time per account; None when another process is planning just now."""
        with self._database.write() as connection:
            if not self._database.try_lock(connection, f"planner:{account}"):
                yield None
                return
            yield Planning(
                connection, self._engine, account, self._queue_of, self._clock(), ConsentRows(self._tombstones)
            )


def _hurry(connection: sa.Connection, account: str, values: Sequence[Mapping[str, Any]]) -> None:
    """Older rows of the same persons go no later than the new ones, which wait for them."""
    for priority in {row["priority"] for row in values}:
        persons = sorted({row["person_id"] for row in values if row["priority"] == priority})
        for chunk in chunks(persons):
            later = (*_is_waiting(account), outbox.c.person_id.in_(chunk), outbox.c.priority > priority)
            connection.execute(outbox.update().where(*later).values(priority=priority))


class Planning:
    """The planner's transaction: what waits and is not fenced, and where to seal batches."""

    def __init__(
        self,
        connection: sa.Connection,
        engine: Engine,
        account: str,
        queue_of: Callable[[Lane], str],
        now: datetime,
        consents: ConsentRows,
    ) -> None:
        self._connection = connection
        self._engine = engine
        self._account = account
        self._queue_of = queue_of
        self._now = now
        self._consents = consents

    def waiting(self, kind: Kind, limit: int, *, size: int) -> Iterator[WaitingRow]:
        """The next rows of `kind` that the fence lets through, most urgent and oldest first.

        At most `limit` rows, and not many more than `size` bytes of payload.
        """
        query = sa.select(*_WAITING).where(*self._free(kind)).order_by(outbox.c.priority, outbox.c.id).limit(limit)
        for row in self._stream(query):
            yield row
            size -= len(row.payload)
            if size <= 0:
                return

    def waiting_of(self, persons: Sequence[int]) -> Iterator[WaitingRow]:
        """Every profile write of these persons that may go now, person by person, oldest first."""
        query = sa.select(*_WAITING).where(*self._free(Kind.PROFILE)).order_by(outbox.c.person_id, outbox.c.id)
        for chunk in chunks(persons):
            yield from self._stream(query.where(outbox.c.person_id.in_(chunk)))

    def _stream(self, query: sa.Select[Any, Any, Any, Any, Any]) -> Iterator[WaitingRow]:
        """Row by row: a backlog of large rows is never held as a whole."""
        with self._connection.execute(query.execution_options(yield_per=_PAGE)) as found:
            yield from map(_row, found)

    def _free(self, kind: Kind) -> tuple[sa.ColumnElement[bool], ...]:
        """Waits, and nothing of the same person that has to end first is open."""
        held, older = outbox.alias("held"), outbox.alias("older")
        first = WAITS_FOR[kind]
        batched = sa.select(held.c.id).where(
            held.c.account == outbox.c.account,
            held.c.person_id == outbox.c.person_id,
            held.c.state == sa.literal_column("'batched'"),
            held.c.kind.in_(first),
        )
        before = sa.select(older.c.id).where(
            older.c.account == outbox.c.account,
            older.c.person_id == outbox.c.person_id,
            older.c.state == sa.literal_column("'waiting'"),
            older.c.kind.in_(first - {kind}),
            older.c.id < outbox.c.id,
        )
        return (*_is_waiting(self._account), outbox.c.kind == kind, ~batched.exists(), ~before.exists())

    def consent_requests(self, limit: int) -> list[WaitingRow]:
        """The next requests about consent that the ledger still allows; those it forbids end here as refused."""
        return self._consents.allowed(self._connection, self._account, limit, now=self._now)

    def open_batches(self) -> Mapping[Lane, int]:
        """Batches per lane that are sealed or on their way; accepted ones only wait for Klaviyo."""
        query = (
            sa.select(batches.c.lane, sa.func.count())
            .where(
                batches.c.account == self._account,
                batches.c.state.in_([BatchState.SEALED, BatchState.SENDING]),
            )
            .group_by(batches.c.lane)
        )
        return Counter({Lane(lane): count for lane, count in self._connection.execute(query)})

    def seal(self, planned: PlannedBatch) -> str:
        """Stamp the rows into a batch and enqueue its delivery, in this transaction. Returns the batch's id."""
        batch_id = str(uuid4())
        self._connection.execute(batches.insert().values(**self._batch(batch_id, planned)))
        stamp_rows(self._connection, batch_id, planned, now=self._now)
        enqueue_delivery(self._connection, self._engine, batch_id, 0, queue=self._queue_of(planned.lane))
        return batch_id

    def _batch(self, batch_id: str, planned: PlannedBatch) -> dict[str, Any]:
        return {
            "id": batch_id,
            "account": self._account,
            "lane": planned.lane,
            "state": BatchState.SEALED,
            "rows": len(planned.carriers),
            "bytes": sum(len(carrier.payload) for carrier in planned.carriers),
            "created_at": self._now,
        }


def _is_waiting(account: str) -> tuple[sa.ColumnElement[bool], ...]:
    return outbox.c.account == account, outbox.c.state == sa.literal_column("'waiting'")


def stamp_rows(connection: sa.Connection, batch_id: str, planned: PlannedBatch, *, now: datetime) -> None:
    """Hand the rows to the batch; rows merged into a newer one end as superseded."""
    merged = [carrier for carrier in planned.carriers if carrier.absorbed]
    stamped = {"state": RowState.BATCHED, "batch_id": batch_id}
    for chunk in chunks([carrier.row_id for carrier in planned.carriers]):
        connection.execute(outbox.update().where(outbox.c.id.in_(chunk)).values(**stamped))
    for carrier in merged:
        of_carrier = outbox.c.id == carrier.row_id
        connection.execute(outbox.update().where(of_carrier).values(payload=carrier.payload))
        ended = {
            "state": RowState.SUPERSEDED,
            "settled_at": now,
            "reason": "merged",
            "detail": f"into {carrier.row_id}",
        }
        for chunk in chunks(carrier.absorbed):
            connection.execute(outbox.update().where(outbox.c.id.in_(chunk)).values(**ended))


def enqueue_delivery(
    connection: sa.Connection,
    engine: Engine,
    batch_id: str,
    attempt: int,
    *,
    queue: str,
    delay: float | None = None,
) -> None:
    """Have the batch sent once this transaction commits; attempt numbers are the fencing tokens."""
    argument = {"batch_id": batch_id, "attempt": attempt}
    engine.enqueue(connection, DELIVER, delivery_key(batch_id, attempt), argument, queue=queue, delay=delay)


def delivery_key(batch_id: str, attempt: int) -> str:
    """The name of the job that makes this attempt."""
    return f"{batch_id}:{attempt}"


def _stored(account: str, row: NewRow, person: int, now: datetime) -> dict[str, Any]:
    return {
        "account": account,
        "kind": row.kind,
        "person_id": person,
        "priority": row.priority,
        "dedupe_key": row.dedupe_key,
        "payload": row.payload,
        "state": RowState.WAITING,
        "created_at": now,
        "trace": row.trace,
    }


def _row(row: Any) -> WaitingRow:
    return WaitingRow(
        id=row.id, kind=Kind(row.kind), person_id=row.person_id, payload=row.payload, since=row.created_at
    )


def _count(account: str, state: RowState) -> sa.Select[int]:
    literal = sa.literal_column(f"'{state}'", sa.String)  # so that SQLite sees the partial index
    return sa.select(sa.func.count()).where(outbox.c.account == account, outbox.c.state == literal)


def _news(
    connection: sa.Connection, account: str, persons: Sequence[int], changes: Sequence[ProfileChange], *, erases: bool
) -> list[tuple[int, ProfileChange]]:
    """Less what both sides agree on and nothing on its way, nor an earlier change of these, will alter.

    Unless it `erases`, a None says nothing of a field that was never agreed on: the NULLs of a first sync must
    not clear what Klaviyo knows.
    """
    known = people.load(connection, persons)
    busy = open_fields(connection, account, set(persons))
    news: list[tuple[int, ProfileChange]] = []
    for person, change in zip(persons, changes, strict=True):
        altered = busy.setdefault(person, set())
        base = {name: value for name, value in known[person].base.items() if name not in altered}
        left = change.beyond(base)
        if not erases:
            left = left.without(
                {name for name in left.cleared if name not in known[person].base and name not in altered}
            )
        gained = any(base.get(name) != value for name, value in left.identity.known().items())
        if not left.empty or gained or not known[person].base:
            news.append((person, left))
            altered.update(left.fields())
    return news


def open_fields(connection: sa.Connection, account: str, persons: set[int]) -> dict[int, set[str]]:
    """Per person the profile fields that rows on their way will still write."""
    query = sa.select(outbox.c.person_id, outbox.c.kind, outbox.c.payload).where(
        outbox.c.account == account, outbox.c.kind.in_([Kind.PROFILE, Kind.EVENT])
    )
    found: dict[int, set[str]] = {}
    for state in (RowState.WAITING, RowState.BATCHED):
        in_state = query.where(outbox.c.state == sa.literal_column(f"'{state}'", sa.String))
        for chunk in chunks(sorted(persons)):
            for row in connection.execute(in_state.where(outbox.c.person_id.in_(chunk))):
                found.setdefault(row.person_id, set()).update(written_by(Kind(row.kind), row.payload))
    return found


def written_by(kind: Kind, payload: bytes) -> dict[str, Json]:
    """The profile fields a row writes: an event may bring some along."""
    if kind is Kind.EVENT:
        return Event.load(payload).profile.fields()
    return ProfileChange.load(payload).fields() if kind is Kind.PROFILE else {}


def _change_row(
    account: str, change: ProfileChange, person: int, priority: Priority, trace: str | None, now: datetime
) -> dict[str, Any]:
    row = NewRow(kind=Kind.PROFILE, identity=change.identity, payload=change.dump(), priority=priority, trace=trace)
    return _stored(account, row, person, now)


def _remember(connection: sa.Connection, account: str, marks: Sequence[SourceMark], persons: Sequence[int]) -> None:
    if not marks:
        return
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    insert = dialect.insert(source_rows)
    upsert = insert.on_conflict_do_update(
        index_elements=["account", "mapping", "key"],
        set_={"fingerprint": insert.excluded.fingerprint, "person_id": insert.excluded.person_id},
    )
    values = [
        {
            "account": account,
            "mapping": mark.mapping,
            "key": mark.key,
            "fingerprint": mark.fingerprint,
            "person_id": person,
        }
        for mark, person in zip(marks, persons, strict=True)
    ]
    connection.execute(upsert, values)
