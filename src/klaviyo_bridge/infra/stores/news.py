"""What of a profile write is news: less what both sides agree on, what is on its way, and what is being written
to the application by us. These functions run inside the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

import sqlalchemy as sa

from klaviyo_bridge.domain.event import Event
from klaviyo_bridge.domain.outbox import Kind, RowState
from klaviyo_bridge.domain.profile import Person, ProfileChange
from klaviyo_bridge.domain.values import Json, same
from klaviyo_bridge.infra.stores import people
from klaviyo_bridge.infra.stores.people import chunks
from klaviyo_bridge.infra.tables import identifiers, outbox

_SHARED = ("email", "phone_number")  # what somebody else may claim as well
_TAKEN = "belongs to another customer's profile; Klaviyo holds one profile for each"


def find_news(
    connection: sa.Connection, account: str, persons: Sequence[int], changes: Sequence[ProfileChange], *, erases: bool
) -> dict[int, ProfileChange]:
    """By index, what of each change Klaviyo does not know yet; wholly known ones are left out.

    Unless it `erases`, a None says nothing of a field that was never agreed on with this row: the NULLs of a first
    sync must not clear what Klaviyo knows.
    """
    known = people.load(connection, persons)
    pending = open_values(connection, account, set(persons))
    news: dict[int, ProfileChange] = {}
    for index, (person_id, change) in enumerate(zip(persons, changes, strict=True)):
        person = known[person_id]
        expected = {**person.base, **pending.setdefault(person_id, {})}
        met = erases or expected.get("external_id") == change.identity.external_id
        new = _new_fields(change.fields(), expected, person.incoming, erases=erases, met=met)
        if new or not expected:
            left = _identified(change.without(change.fields().keys() - new.keys()), person, new)
            news[index] = left
            pending[person_id].update(left.fields())
    return news


def _new_fields(
    fields: Mapping[str, Json], expected: Mapping[str, Json], incoming: Mapping[str, Json], *, erases: bool, met: bool
) -> dict[str, Json]:
    return {
        name: value
        for name, value in fields.items()
        if not (name in expected and same(expected[name], value))
        and not (name in incoming and same(incoming[name], value))
        and (erases or value is not None or (met and name in expected))
    }


def _identified(change: ProfileChange, person: Person, new: Collection[str]) -> ProfileChange:
    """A write that changes an identifier names the profile by Klaviyo's id, or it might find somebody else."""
    moved = any(name in person.base for name in (*_SHARED, "external_id") if name in new)
    if not moved or person.klaviyo_id is None:
        return change
    return replace(change, identity=replace(change.identity, klaviyo_id=person.klaviyo_id))


def find_contested(
    connection: sa.Connection, account: str, persons: Sequence[int], changes: Sequence[ProfileChange]
) -> dict[int, str]:
    """By index, why the change would reach somebody else's profile.

    An address that its holder has given up, at Klaviyo too, goes over to whoever has it now.
    """
    claims = [
        (index, (kind, value))
        for index, change in enumerate(changes)
        for kind, value in change.identity.known().items()
        if kind in _SHARED
    ]
    owners = people.owners_of(connection, account, {name for _, name in claims})
    foreign = [(index, name) for index, name in claims if owners.get(name) not in (None, persons[index])]
    holders = {owners[name] for _, name in foreign}
    known = people.load(connection, holders)
    pending = open_values(connection, account, holders)
    contested: dict[int, str] = {}
    for index, (kind, value) in foreign:
        holder = owners[kind, value]
        if _holds(known[holder], pending.get(holder, {}), kind, value):
            contested[index] = f"{kind} {_TAKEN}"
        else:
            _hand_over(connection, account, kind, value, persons[index])
    return contested


def _holds(holder: Person, pending: Mapping[str, Json], kind: str, value: str) -> bool:
    if pending.get(kind) == value:
        return True
    return holder.base.get(kind) == value if kind in holder.base else kind not in pending


def _hand_over(connection: sa.Connection, account: str, kind: str, value: str, person: int) -> None:
    this = (identifiers.c.account == account, identifiers.c.kind == kind, identifiers.c.value == value)
    connection.execute(identifiers.update().where(*this).values(person_id=person))


def open_values(connection: sa.Connection, account: str, persons: Collection[int]) -> dict[int, dict[str, Json]]:
    """Per person the profile fields that rows on their way will still write, and the values they will have then."""
    query = sa.select(outbox.c.person_id, outbox.c.kind, outbox.c.payload).where(
        outbox.c.account == account, outbox.c.kind.in_([Kind.PROFILE, Kind.EVENT])
    )
    found: dict[int, dict[str, Json]] = {}
    for state in (RowState.BATCHED, RowState.WAITING):  # what is in a batch lands before what waits behind it
        in_state = query.where(outbox.c.state == sa.literal_column(f"'{state}'", sa.String)).order_by(outbox.c.id)
        for chunk in chunks(sorted(persons)):
            for row in connection.execute(in_state.where(outbox.c.person_id.in_(chunk))):
                found.setdefault(row.person_id, {}).update(written_by(Kind(row.kind), row.payload))
    return found


def settled_values(
    connection: sa.Connection, account: str, persons: Collection[int], *, since: datetime
) -> dict[int, dict[str, Json]]:
    """Per person the fields whose write was settled lately: a read begun before that may not show them."""
    query = (
        sa.select(outbox.c.person_id, outbox.c.kind, outbox.c.payload)
        .where(outbox.c.account == account, outbox.c.settled_at >= since, outbox.c.kind == Kind.PROFILE)
        .where(outbox.c.state.in_([RowState.DELIVERED, RowState.DEAD]))
        .order_by(outbox.c.id)
    )
    found: dict[int, dict[str, Json]] = {}
    for chunk in chunks(sorted(persons)):
        for row in connection.execute(query.where(outbox.c.person_id.in_(chunk))):
            found.setdefault(row.person_id, {}).update(written_by(Kind(row.kind), row.payload))
    return found


def written_by(kind: Kind, payload: bytes) -> dict[str, Json]:
    """The profile fields a row writes: an event may bring some along, a request about consent none."""
    if kind is Kind.EVENT:
        return Event.load(payload).profile.fields()
    return ProfileChange.load(payload).fields() if kind is Kind.PROFILE else {}
