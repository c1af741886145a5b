"""Dead letters: rows of the outbox in the state `dead`, read, replayed and discarded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from klaviyo_bridge.domain.dead_letter import DeadLetter, Replayed, Wanted
from klaviyo_bridge.domain.event import Event
from klaviyo_bridge.domain.outbox import Kind, RowState
from klaviyo_bridge.domain.profile import Identity, ProfileChange
from klaviyo_bridge.infra.database import Database
from klaviyo_bridge.infra.stores import people
from klaviyo_bridge.infra.stores.outbox import written_by
from klaviyo_bridge.infra.stores.people import chunks
from klaviyo_bridge.infra.tables import outbox


class DeadLetterStore:
    """Each method is one transaction."""

    def __init__(self, database: Database, *, notify: Callable[[], None], clock: Callable[[], datetime]) -> None:
        self._database = database
        self._notify = notify
        self._clock = clock

    def page(self, account: str, wanted: Wanted, *, after: int, limit: int) -> list[DeadLetter]:
        """The next ones by id."""
        query = sa.select(outbox).where(*_dead(account), outbox.c.id > after, *_matching(wanted))
        with self._database.read() as connection:
            return [_letter(row) for row in connection.execute(query.order_by(outbox.c.id).limit(limit))]

    def get(self, account: str, row_id: int) -> DeadLetter | None:
        query = sa.select(outbox).where(*_dead(account), outbox.c.id == row_id)
        with self._database.read() as connection:
            row = connection.execute(query).first()
        return None if row is None else _letter(row)

    def discard(self, account: str, ids: Sequence[int]) -> int:
        """End these for good; returns how many were dead."""
        with self._database.write() as connection:
            return sum(
                connection.execute(
                    outbox.update().where(*_dead(account), outbox.c.id.in_(chunk)).values(state=RowState.DISCARDED)
                ).rowcount
                for chunk in chunks(ids)
            )

    def replay(self, account: str, ids: Sequence[int]) -> Replayed:
        """Have these sent again, less the fields that newer rows wrote or will write. Others are left alone."""
        total = Replayed()
        with self._database.write() as connection:
            self._database.lock(connection, f"people:{account}")
            for chunk in chunks(sorted(ids)):
                total += self._replay(connection, account, chunk)
        if total.waiting:
            self._notify()
        return total

    def _replay(self, connection: sa.Connection, account: str, ids: Sequence[int]) -> Replayed:
        query = sa.select(outbox).where(*_dead(account), outbox.c.id.in_(ids)).with_for_update()
        rows = connection.execute(query).all()
        # Open rows are read before what is written: one that settles in between is seen by either.
        coming = _coming(connection, account, {row.person_id for row in rows})
        persons = people.load(connection, [row.person_id for row in rows])
        waiting = 0
        for row in rows:
            written = persons[row.person_id].written if row.person_id in persons else dict[str, int]()
            newer = {name for name, by in {**written, **coming.get(row.person_id, {})}.items() if by > row.id}
            values = _again(row, newer) or self._superseded()
            connection.execute(outbox.update().where(outbox.c.id == row.id).values(**values))
            waiting += values["state"] is RowState.WAITING
        return Replayed(waiting, len(rows) - waiting)

    def _superseded(self) -> dict[str, Any]:
        return {"state": RowState.SUPERSEDED, "reason": "newer", "settled_at": self._clock()}


def _again(row: Any, newer: set[str]) -> dict[str, Any] | None:
    """The row as it waits again; None when newer rows have written all of it."""
    payload = _without(Kind(row.kind), row.payload, newer)
    if payload is None:
        return None
    ended = dict.fromkeys(("batch_id", "reason", "detail", "settled_at"))
    return {"state": RowState.WAITING, "payload": payload, **ended}


def _without(kind: Kind, payload: bytes, newer: set[str]) -> bytes | None:
    if kind is Kind.PROFILE:
        change = ProfileChange.load(payload)
        return _less(change, newer).dump() if change.fields().keys() - newer else None
    if kind is Kind.EVENT:
        event = Event.load(payload)
        return replace(event, profile=_less(event.profile, newer)).dump()
    return payload


def _less(change: ProfileChange, newer: set[str]) -> ProfileChange:
    left = change.without(newer)
    known = {name: value for name, value in left.identity.known().items() if name not in newer}
    if not known and left.identity.klaviyo_id is None:
        return left  # something has to name the person
    return replace(left, identity=Identity(klaviyo_id=left.identity.klaviyo_id, **known))


def _coming(connection: sa.Connection, account: str, persons: set[int]) -> Mapping[int, dict[str, int]]:
    """Per person and field the newest open row that will write it."""
    query = sa.select(outbox.c.id, outbox.c.person_id, outbox.c.kind, outbox.c.payload).order_by(outbox.c.id)
    found: dict[int, dict[str, int]] = {}
    for state in (RowState.WAITING, RowState.BATCHED):
        literal = sa.literal_column(f"'{state}'", sa.String)  # so that SQLite sees the partial index
        for chunk in chunks(sorted(persons)):
            mine = outbox.c.account == account, outbox.c.state == literal, outbox.c.person_id.in_(chunk)
            for row in connection.execute(query.where(*mine)):
                fields = found.setdefault(row.person_id, {})
                for name in written_by(Kind(row.kind), row.payload):
                    fields[name] = max(row.id, fields.get(name, 0))
    return found


def _dead(account: str) -> tuple[sa.ColumnElement[bool], ...]:
    return outbox.c.account == account, outbox.c.state == sa.literal_column("'dead'", sa.String)


def _matching(wanted: Wanted) -> list[sa.ColumnElement[bool]]:
    given = {outbox.c.reason: wanted.reason, outbox.c.kind: wanted.kind}
    found = [column == value for column, value in given.items() if value is not None]
    return found if wanted.since is None else [*found, outbox.c.settled_at >= wanted.since]


def _letter(row: Any) -> DeadLetter:
    return DeadLetter(
        id=row.id,
        kind=Kind(row.kind),
        reason=row.reason,
        detail=row.detail,
        created_at=row.created_at,
        died_at=row.settled_at,
        payload=row.payload,
    )
