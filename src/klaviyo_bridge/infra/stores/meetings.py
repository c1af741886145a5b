"""Where profiles that were read meet what we know: the person is loaded, decided about and saved in one
transaction, so that a write of ours that lands meanwhile is either seen or comes after.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from klaviyo_bridge.domain.meeting import Applied, Decision, Encounter, Override, Standing
from klaviyo_bridge.domain.outbox import RowState
from klaviyo_bridge.domain.profile import Person
from klaviyo_bridge.infra.database import Database
from klaviyo_bridge.infra.stores import people as persons
from klaviyo_bridge.infra.stores.news import open_values, settled_values
from klaviyo_bridge.infra.stores.people import chunks
from klaviyo_bridge.infra.tables import conflicts, identifiers, outbox, people


class MeetingStore:
    """Each method is one transaction."""

    def __init__(self, database: Database, *, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock

    def external_ids(self, account: str, klaviyo_ids: Iterable[str]) -> dict[str, list[str]]:
        """The external ids of the persons that are these profiles at Klaviyo."""
        query = sa.select(people.c.klaviyo_id, identifiers.c.value).join_from(people, identifiers)
        query = query.where(people.c.account == account, identifiers.c.kind == "external_id")
        found: dict[str, list[str]] = {}
        with self._database.read() as connection:
            for chunk in chunks(sorted(set(klaviyo_ids))):
                for klaviyo_id, external_id in connection.execute(query.where(people.c.klaviyo_id.in_(chunk))):
                    found.setdefault(klaviyo_id, []).append(external_id)
        return found

    def klaviyo_ids(self, account: str, external_ids: Iterable[str]) -> dict[str, str]:
        """Klaviyo's ids of the persons with these external ids, where they are known."""
        query = sa.select(identifiers.c.value, people.c.klaviyo_id).join_from(people, identifiers)
        query = query.where(people.c.account == account, identifiers.c.kind == "external_id")
        query = query.where(identifiers.c.account == account, people.c.klaviyo_id.is_not(None))
        with self._database.read() as connection:
            return {
                external_id: klaviyo_id
                for chunk in chunks(sorted(set(external_ids)))
                for external_id, klaviyo_id in connection.execute(query.where(identifiers.c.value.in_(chunk)))
            }

    def meet(
        self,
        account: str,
        encounters: Sequence[Encounter],
        decide: Callable[[int, Standing], Decision],
        *,
        read_at: datetime,
    ) -> list[int | None]:
        """Decide about every encounter and save it; the person of each, None for a read older than the last one.

        A person who is another profile at Klaviyo than before starts anew: the old agreement was about that one.
        """
        with self._database.write() as connection:
            self._database.lock(connection, f"people:{account}")
            now = self._clock()
            ids = persons.resolve(connection, account, [met.identity for met in encounters], now=now)
            known = persons.load(connection, ids)
            pending = settled_values(connection, account, set(ids), since=read_at)
            for person, values in open_values(connection, account, set(ids)).items():
                pending.setdefault(person, {}).update(values)
            found: list[int | None] = []
            saved: dict[int, tuple[Person, Decision]] = {}
            for index, (person_id, met) in enumerate(zip(ids, encounters, strict=True)):
                person = _linked(connection, known[person_id], met.klaviyo_id)
                stale = person_id in saved or _is_older(met.updated, person.seen_at)
                found.append(None if stale else person_id)
                if not stale:
                    decision = decide(index, Standing(person, pending.get(person_id, {})))
                    saved[person_id] = _seen(person, met, decision), decision
            self._save(connection, account, saved, now)
        return found

    def applied(self, account: str, outcomes: Sequence[Applied]) -> None:
        """What was (or was not) written to the application; nothing is incoming any more."""
        if not outcomes:
            return
        with self._database.write() as connection:
            now = self._clock()
            self._database.lock(connection, f"people:{account}")
            known = persons.load(connection, [outcome.person_id for outcome in outcomes])
            saved = {
                outcome.person_id: (
                    _with_base(known[outcome.person_id], outcome.base),
                    Decision(overrides=outcome.overrides, recheck=outcome.recheck),
                )
                for outcome in outcomes
                if outcome.person_id in known
            }
            self._save(connection, account, saved, now, keep_recheck=True)

    def due(self, account: str, *, limit: int) -> list[str]:
        """Klaviyo's ids of profiles to read again, oldest first; those with writes on their way wait."""
        on_the_way = sa.select(outbox.c.id).where(
            outbox.c.account == account,
            outbox.c.person_id == people.c.id,
            outbox.c.state.in_([RowState.WAITING, RowState.BATCHED]),
        )
        query = (
            sa.select(people.c.klaviyo_id)
            .where(people.c.account == account, people.c.recheck_at.is_not(None), people.c.klaviyo_id.is_not(None))
            .where(~on_the_way.exists())
            .order_by(people.c.recheck_at)
            .limit(limit)
        )
        with self._database.read() as connection:
            return [str(klaviyo_id) for klaviyo_id in connection.execute(query).scalars()]

    def forget(self, account: str, klaviyo_ids: Sequence[str]) -> None:
        """These profiles are gone at Klaviyo: whoever they were is nobody's profile now, and agreed on nothing."""
        gone = people.update().where(people.c.account == account)
        values: dict[str, Any] = {"klaviyo_id": None, "base": {}, "recheck_at": None, "seen_at": None, "incoming": None}
        with self._database.write() as connection:
            for chunk in chunks(klaviyo_ids):
                connection.execute(gone.where(people.c.klaviyo_id.in_(chunk)).values(**values))

    def _save(
        self,
        connection: sa.Connection,
        account: str,
        saved: Mapping[int, tuple[Person, Decision]],
        now: datetime,
        *,
        keep_recheck: bool = False,
    ) -> None:
        persons.save(connection, [person for person, _ in saved.values()], now=now)
        recheck = sa.bindparam("recheck", type_=people.c.recheck_at.type)
        statement = (
            people.update()
            .where(people.c.id == sa.bindparam("person"))
            .values(
                incoming=sa.bindparam("coming"),
                seen_at=sa.bindparam("seen"),
                recheck_at=sa.func.coalesce(recheck, people.c.recheck_at) if keep_recheck else recheck,
            )
        )
        rows = [
            {
                "person": person.id,
                "coming": dict(decision.incoming) or None,
                "seen": person.seen_at,
                "recheck": now if decision.recheck else None,
            }
            for person, decision in saved.values()
        ]
        if rows:
            connection.execute(statement, rows)
        overrides = [override for _, decision in saved.values() for override in decision.overrides]
        if overrides:
            connection.execute(conflicts.insert(), [_override(account, override, now) for override in overrides])


def _linked(connection: sa.Connection, person: Person, klaviyo_id: str) -> Person:
    if person.klaviyo_id == klaviyo_id:
        return person
    others = people.update().where(people.c.klaviyo_id == klaviyo_id, people.c.id != person.id)
    of_account = sa.select(people.c.account).where(people.c.id == person.id).scalar_subquery()
    connection.execute(others.where(people.c.account == of_account).values(klaviyo_id=None))
    connection.execute(people.update().where(people.c.id == person.id).values(klaviyo_id=klaviyo_id))
    if person.klaviyo_id is None:
        return Person(person.id, klaviyo_id, person.base, person.written, person.incoming, person.seen_at)
    return Person(person.id, klaviyo_id, {}, {})


def _is_older(updated: datetime | None, seen_at: datetime | None) -> bool:
    return updated is not None and seen_at is not None and updated < seen_at


def _seen(person: Person, met: Encounter, decision: Decision) -> Person:
    with_base = _with_base(person, decision.base)
    return Person(
        person.id, met.klaviyo_id, with_base.base, person.written, decision.incoming, met.updated or person.seen_at
    )


def _with_base(person: Person, base: Mapping[str, Any]) -> Person:
    return Person(person.id, person.klaviyo_id, {**person.base, **base}, person.written, {}, person.seen_at)


def _override(account: str, override: Override, now: datetime) -> dict[str, Any]:
    return {
        "account": account,
        "mapping": override.mapping,
        "key": override.key,
        "field": override.field[:255],
        "winner": override.winner,
        "because": override.because,
        "ours": override.ours,
        "theirs": override.theirs,
        "ours_at": override.times.ours,
        "theirs_at": override.times.theirs,
        "at": now,
    }
