"""Requests about consent in the outbox: which may go now, and which the ledger forbids.

Everything here runs inside the caller's transaction: the one that takes a row, or the one that seals a batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from klaviyo_bridge.domain.consent_request import ConsentRequest, refusal
from klaviyo_bridge.domain.outbox import Kind, Priority, RowState, WaitingRow
from klaviyo_bridge.infra.stores import ledger
from klaviyo_bridge.infra.stores.people import chunks
from klaviyo_bridge.infra.stores.tombstones import Tombstones
from klaviyo_bridge.infra.tables import outbox

CONSENT_KINDS = (Kind.SUBSCRIBE, Kind.UNSUBSCRIBE, Kind.SUPPRESS, Kind.UNSUPPRESS, Kind.ERASE)
ERASED = "erased"
REASONS: Mapping[str, str] = {
    ERASED: "the person was erased",
    "unsubscribed": "the person unsubscribed, and no newer dated consent was given",
    "suppressed": "the person is suppressed, and no newer dated consent was given",
    "suppressed_since": "the person was suppressed after this was asked for",
    "erasure_running": "the erasure of this person has not reached Klaviyo yet",
}


class ConsentRows:
    """Judges requests by the ledger and by who was erased."""

    def __init__(self, tombstones: Tombstones) -> None:
        self._tombstones = tombstones

    def allowed(self, connection: sa.Connection, account: str, limit: int, *, now: datetime) -> list[WaitingRow]:
        """The oldest waiting request of each person, as far as nothing of theirs is on its way; less the forbidden."""
        rows = _first_of_each(_waiting(connection, account, limit))
        forbidden = self.forbidden(connection, account, rows)
        end_refused(connection, forbidden, now=now)
        return [row for row in rows if row.id not in forbidden]

    def forbidden(self, connection: sa.Connection, account: str, rows: Sequence[WaitingRow]) -> dict[int, str]:
        """Row id -> why the ledger, as it is now, forbids this request."""
        persons = {row.person_id for row in rows}
        erased = self._tombstones.of_persons(connection, account, persons)
        records = ledger.load(connection, account, persons)
        found: dict[int, str] = {}
        for row in rows:
            request = ConsentRequest.load(row.payload)
            if request.kind is Kind.ERASE:
                continue
            reason = ERASED if row.person_id in erased else refusal(request, records.get(row.person_id, ()))
            if reason is not None:
                found[row.id] = reason
        return found


def _waiting(connection: sa.Connection, account: str, limit: int) -> list[WaitingRow]:
    held = outbox.alias("held")
    fence = sa.select(held.c.id).where(
        held.c.account == outbox.c.account,
        held.c.person_id == outbox.c.person_id,
        held.c.state == sa.literal_column("'batched'"),
        held.c.kind.in_(CONSENT_KINDS) | (outbox.c.kind == Kind.ERASE),
    )
    query = (
        sa.select(outbox.c.id, outbox.c.kind, outbox.c.person_id, outbox.c.payload)
        .where(
            outbox.c.account == account,
            outbox.c.state == sa.literal_column("'waiting'"),
            outbox.c.priority <= Priority.ERASURE,
            outbox.c.kind.in_(CONSENT_KINDS),
            ~fence.exists(),
        )
        .order_by(outbox.c.priority, outbox.c.id)
        .limit(limit)
    )
    return [
        WaitingRow(id=row.id, kind=Kind(row.kind), person_id=row.person_id, payload=row.payload)
        for row in connection.execute(query)
    ]


def _first_of_each(rows: Sequence[WaitingRow]) -> list[WaitingRow]:
    """Requests of one person go one after the other: sent together, Klaviyo may apply them in any order."""
    first: dict[int, WaitingRow] = {}
    for row in sorted(rows, key=lambda row: row.id):
        first.setdefault(row.person_id, row)
    return list(first.values())


def end_refused(connection: sa.Connection, reasons: Mapping[int, str], *, now: datetime) -> None:
    """End these rows as refused, visibly."""
    for row_id, reason in reasons.items():
        ended = {"state": RowState.REFUSED, "settled_at": now, "reason": reason, "detail": REASONS.get(reason)}
        connection.execute(outbox.update().where(outbox.c.id == row_id).values(**ended))


def refuse_erased(connection: sa.Connection, account: str, rows: Sequence[tuple[Kind, int]], *, now: datetime) -> None:
    """Keep a trace, without any data, of rows (kind, person) that came for people who were erased."""
    values: list[dict[str, Any]] = [
        {
            "account": account,
            "kind": kind,
            "person_id": person,
            "priority": Priority.LIVE,
            "payload": b"",
            "state": RowState.REFUSED,
            "reason": ERASED,
            "detail": REASONS[ERASED],
            "created_at": now,
            "settled_at": now,
        }
        for kind, person in rows
    ]
    if values:
        connection.execute(outbox.insert(), values)


def wipe_rows(connection: sa.Connection, account: str, person: int, *, now: datetime) -> None:
    """Empty every row of the person that is not on its way; what waited or was dead ends as refused.

    The rows that ask Klaviyo for the erasure stay: they are emptied when it was told.
    """
    mine = outbox.c.account == account, outbox.c.person_id == person, outbox.c.kind != Kind.ERASE
    ended = {"state": RowState.REFUSED, "settled_at": now, "reason": ERASED}
    closed = outbox.c.state.in_([RowState.DEAD, RowState.WAITING])
    connection.execute(outbox.update().where(*mine, closed).values(**ended))
    emptied = {"payload": b"", "dedupe_key": None, "trace": None, "detail": None}
    connection.execute(outbox.update().where(*mine, outbox.c.state != RowState.BATCHED).values(**emptied))


def open_persons(connection: sa.Connection, account: str, persons: Sequence[int], kind: Kind) -> set[int]:
    """Which of these persons have an open row of this kind."""
    query = sa.select(outbox.c.person_id).where(
        outbox.c.account == account,
        outbox.c.kind == kind,
        outbox.c.state.in_([RowState.WAITING, RowState.BATCHED]),
    )
    return {
        person
        for chunk in chunks(sorted(set(persons)))
        for person in connection.execute(query.where(outbox.c.person_id.in_(chunk))).scalars()
    }
