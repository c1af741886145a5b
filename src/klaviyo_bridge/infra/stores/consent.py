"""Requests about consent, the ledger they are judged by, and erasure. Each method is one transaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from klaviyo_bridge.domain.consent import Consent
from klaviyo_bridge.domain.consent_request import ConsentRequest, refusal
from klaviyo_bridge.domain.outbox import Kind, Priority, RowState, WaitingRow
from klaviyo_bridge.domain.profile import Identity
from klaviyo_bridge.infra.database import Database, as_dicts
from klaviyo_bridge.infra.stores import ledger
from klaviyo_bridge.infra.stores import people as persons_store
from klaviyo_bridge.infra.stores.consent_rows import (
    ERASED,
    REASONS,
    ConsentRows,
    open_persons,
    refuse_erased,
    wipe_rows,
)
from klaviyo_bridge.infra.stores.people import Name, chunks
from klaviyo_bridge.infra.stores.tombstones import Tombstone, Tombstones, names_of
from klaviyo_bridge.infra.tables import consent_records, identifiers, inbox, outbox, people, source_rows


class ConsentStore:
    """The ledger of one database."""

    def __init__(
        self,
        database: Database,
        *,
        tombstones: Tombstones,
        notify: Callable[[], None],
        clock: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._tombstones = tombstones
        self._rows = ConsentRows(tombstones)
        self._notify = notify
        self._clock = clock

    def ask(self, account: str, requests: Sequence[ConsentRequest], *, trace: str | None = None) -> list[str | None]:
        """Write the ledger and put the requests on disk; per request why it was refused, or None.

        A refused request is kept as a row too, so that somebody can find it.
        """
        with self._database.write() as connection:
            self._lock(connection, account)
            reasons = self._ask(connection, account, requests, trace)
        self._notify()
        return reasons

    def _ask(
        self, connection: sa.Connection, account: str, requests: Sequence[ConsentRequest], trace: str | None
    ) -> list[str | None]:
        now = self._clock()
        buried = self._buried(connection, account, requests)
        living = [request for index, request in enumerate(requests) if index not in buried]
        persons = persons_store.resolve(connection, account, [request.identity for request in living], now=now)
        judged = _judged(living, persons, ledger.load(connection, account, persons))
        ledger.record(connection, account, _to_record(living, persons, judged), now=now)
        names = _names(connection, persons)
        rows = [
            _row(account, _completed(request, names.get(person, ())), person, reason, trace, now)
            for request, person, reason in zip(living, persons, judged, strict=True)
        ]
        if rows:
            connection.execute(outbox.insert(), rows)
        rest = iter(judged)
        return [buried[index] if index in buried else next(rest) for index in range(len(requests))]

    def _buried(self, connection: sa.Connection, account: str, requests: Sequence[ConsentRequest]) -> dict[int, str]:
        """By index, requests about people who were erased and have not come back, and why they are refused."""
        found = self._tombstones.find(connection, account, [request.identity for request in requests])
        running = open_persons(connection, account, [t.person_id for t in found.values()], Kind.ERASE)
        reasons = {index: _still_erased(requests[index], stone, running) for index, stone in found.items()}
        for index in [index for index in found if reasons[index] is None]:
            self._tombstones.lift(connection, account, found[index].person_id)
        refused = {index: reason for index, reason in reasons.items() if reason is not None}
        traces = [(requests[index].kind, found[index].person_id) for index in refused]
        refuse_erased(connection, account, traces, now=self._clock())
        return refused

    def erase(self, account: str, requests: Sequence[ConsentRequest], *, trace: str | None = None) -> None:
        """Everybody one of the identifiers names: buried at once, told to Klaviyo when nothing is on its way."""
        with self._database.write() as connection:
            self._lock(connection, account)
            for request in requests:
                self._erase(connection, account, request, trace)
        self._notify()

    def _erase(self, connection: sa.Connection, account: str, request: ConsentRequest, trace: str | None) -> None:
        now = self._clock()
        singles = [Identity(**{kind: value}) for kind, value in names_of(request.identity)]
        for person in sorted(set(persons_store.resolve(connection, account, singles, now=now))):
            names = _names(connection, [person]).get(person, [])
            self._tombstones.bury(connection, account, person, names, now=now)
            wipe_rows(connection, account, person, now=now)
            parts = [replace(request, identity=identity) for identity in _identities(names)]
            rows = [_row(account, part, person, None, trace, now) for part in parts]
            connection.execute(outbox.insert(), rows)

    def judge(self, account: str, rows: Sequence[WaitingRow], told: Mapping[int, Sequence[Consent]]) -> dict[int, str]:
        """Add what Klaviyo `told` (by row id) to the ledger, then say which requests it forbids, and why."""
        records = {row.person_id: list[Consent]() for row in rows}
        for row in rows:
            records[row.person_id] += told.get(row.id, ())
        with self._database.write() as connection:
            ledger.record(connection, account, records, now=self._clock())
            return self._rows.forbidden(connection, account, rows)

    def forget(self, account: str, row_id: int, person: int) -> None:
        """Empty everything we hold about the person, the row that asked for it included. Safe to repeat."""
        now = self._clock()
        with self._database.write() as connection:
            self._lock(connection, account)
            for kind, value in _names(connection, [person]).get(person, []):
                if kind == "klaviyo_id":
                    self._forget_webhooks(connection, account, value)
            wipe_rows(connection, account, person, now=now)
            connection.execute(outbox.update().where(outbox.c.id == row_id).values(payload=b""))
            connection.execute(identifiers.delete().where(identifiers.c.person_id == person))
            for table in (consent_records, source_rows):
                mine = table.c.account == account, table.c.person_id == person
                connection.execute(table.delete().where(*mine))
            emptied: dict[str, Any] = {"klaviyo_id": None, "base": {}, "written": {}, "updated_at": now}
            connection.execute(people.update().where(people.c.id == person).values(**emptied))

    def _forget_webhooks(self, connection: sa.Connection, account: str, klaviyo_id: str) -> None:
        """Webhook deliveries carry Klaviyo's id and what the person did."""
        found = _payload_holds(klaviyo_id.encode(), sqlite=self._database.is_sqlite)
        connection.execute(inbox.update().where(inbox.c.account == account, found).values(payload=b"{}"))

    def history(self, account: str, identity: Identity) -> list[Consent]:
        """Every record about the person these identifiers name, oldest first; empty for strangers."""
        with self._database.read() as connection:
            records = ledger.load(connection, account, _owners(connection, account, list(names_of(identity))))
        return sorted((entry for mine in records.values() for entry in mine), key=lambda entry: entry.at)

    def refusals(self, account: str, *, after: int, limit: int) -> list[dict[str, Any]]:
        """Refused rows after the one numbered `after`, oldest first: id, kind, reason, detail, refused_at."""
        query = (
            sa.select(outbox.c.id, outbox.c.kind, outbox.c.reason, outbox.c.detail, outbox.c.settled_at)
            .where(
                outbox.c.account == account,
                outbox.c.state == sa.literal_column("'refused'"),
                outbox.c.id > after,
            )
            .order_by(outbox.c.id)
            .limit(limit)
        )
        with self._database.read() as connection:
            return as_dicts(connection.execute(query))

    def _lock(self, connection: sa.Connection, account: str) -> None:
        """Neither a planner nor another writer of people may come between the check and the write."""
        self._database.lock(connection, f"planner:{account}")
        self._database.lock(connection, f"people:{account}")


def _still_erased(request: ConsentRequest, stone: Tombstone, running: set[int]) -> str | None:
    """Only consent given after the erasure brings an erased person back, and only once Klaviyo was told."""
    given = request.consented_at
    if request.kind is not Kind.SUBSCRIBE or given is None or given <= stone.erased_at:
        return ERASED
    return "erasure_running" if stone.person_id in running else None


def _judged(
    requests: Sequence[ConsentRequest], persons: Sequence[int], records: Mapping[int, Sequence[Consent]]
) -> list[str | None]:
    """Why each is refused, or None; what a request adds to the ledger counts for those after it."""
    known = {person: list(mine) for person, mine in records.items()}
    reasons: list[str | None] = []
    for request, person in zip(requests, persons, strict=True):
        mine = known.setdefault(person, [])
        reason = refusal(request, mine)
        if reason is None:
            mine += request.records
        reasons.append(reason)
    return reasons


def _to_record(
    requests: Sequence[ConsentRequest], persons: Sequence[int], reasons: Sequence[str | None]
) -> dict[int, list[Consent]]:
    records: dict[int, list[Consent]] = {}
    for request, person, reason in zip(requests, persons, reasons, strict=True):
        if reason is None:
            records.setdefault(person, []).extend(request.records)
    return records


def _row(
    account: str, request: ConsentRequest, person: int, reason: str | None, trace: str | None, now: datetime
) -> dict[str, Any]:
    return {
        "account": account,
        "kind": request.kind,
        "person_id": person,
        "priority": Priority.ERASURE if request.kind is Kind.ERASE else Priority.CONSENT,
        "payload": request.dump(),
        "created_at": now,
        "trace": trace,
        "state": RowState.WAITING if reason is None else RowState.REFUSED,
        "reason": reason,
        "detail": REASONS.get(reason or ""),
        "settled_at": None if reason is None else now,
    }


def _completed(request: ConsentRequest, names: Sequence[Name]) -> ConsentRequest:
    """The request with every identifier we know: Klaviyo takes consent by email and phone number only."""
    known = {**dict(names), **dict(names_of(request.identity))}
    return replace(request, identity=Identity(**known))


def _identities(names: Sequence[Name]) -> list[Identity]:
    """Identities that name everything once; a person with two emails takes two."""
    parts: list[dict[str, str]] = [{}]
    for kind, value in names:
        part = next((part for part in parts if kind not in part), None)
        if part is None:
            part = dict[str, str]()
            parts.append(part)
        part[kind] = value
    return [Identity(**part) for part in parts if part]


def _names(connection: sa.Connection, persons: Sequence[int]) -> dict[int, list[Name]]:
    """Every identifier we know of these persons."""
    names: dict[int, list[Name]] = {}
    for chunk in chunks(sorted(set(persons))):
        query = sa.select(identifiers.c.person_id, identifiers.c.kind, identifiers.c.value)
        for row in connection.execute(query.where(identifiers.c.person_id.in_(chunk))):
            names.setdefault(row.person_id, []).append((row.kind, row.value))
        theirs = sa.select(people.c.id, people.c.klaviyo_id).where(people.c.klaviyo_id.is_not(None))
        for row in connection.execute(theirs.where(people.c.id.in_(chunk))):
            names.setdefault(row.id, []).append(("klaviyo_id", row.klaviyo_id))
    return names


def _owners(connection: sa.Connection, account: str, names: Sequence[Name]) -> set[int]:
    found: set[int] = set()
    for kind, value in names:
        if kind == "klaviyo_id":
            mine = people.c.account == account, people.c.klaviyo_id == value
            found.update(connection.execute(sa.select(people.c.id).where(*mine)).scalars())
            continue
        named = identifiers.c.account == account, identifiers.c.kind == kind, identifiers.c.value == value
        found.update(connection.execute(sa.select(identifiers.c.person_id).where(*named)).scalars())
    return found


def _payload_holds(text: bytes, *, sqlite: bool) -> sa.ColumnElement[bool]:
    wanted = sa.literal(text, sa.LargeBinary)
    if sqlite:
        return sa.func.instr(inbox.c.payload, wanted) > 0
    return sa.func.position(wanted.op("IN")(inbox.c.payload)) > 0
