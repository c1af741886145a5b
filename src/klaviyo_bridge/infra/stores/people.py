"""Who is who: identifiers to persons, and the base both sides last agreed on.

These functions run inside the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

import sqlalchemy as sa

from klaviyo_bridge.domain.profile import Identity, Person
from klaviyo_bridge.infra.tables import identifiers, people

CHUNK = 500  # values in one IN list: well under every database's bound
T = TypeVar("T")
Name = tuple[str, str]  # kind and value of an identifier


def chunks(items: Sequence[T], size: int = CHUNK) -> Iterator[Sequence[T]]:
    """`items` in pieces that fit into one statement."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def resolve(connection: sa.Connection, account: str, identities: Sequence[Identity], *, now: datetime) -> list[int]:
    """The person each identity names, in order; unknown ones are created.

    The strongest identifier that is known decides (Klaviyo's id, external id, email, phone). The others are
    added to that person where nobody holds them yet; one that somebody else holds stays where it is, so that
    two persons are never mixed.
    """
    named = [_names(identity) for identity in identities]
    held = _owners(connection, account, {name for names in named for name in names})
    owners = dict(held)
    found = [_claim(names, owners, newcomer=-index - 1) for index, names in enumerate(named)]
    created = _create(connection, account, sorted({person for person in found if person < 0}), now=now)
    gained = {name: created.get(person, person) for name, person in owners.items() if name not in held}
    _add_identifiers(connection, account, gained)
    return [created.get(person, person) for person in found]


def load(connection: sa.Connection, person_ids: Iterable[int], *, to_change: bool = False) -> dict[int, Person]:
    """The persons with these ids; ids that are not there are left out.

    What is loaded `to_change` stays as it is until the transaction ends, so that no other writer's base is lost.
    """
    query = sa.select(people.c.id, people.c.klaviyo_id, people.c.base, people.c.written).order_by(people.c.id)
    query = query.with_for_update() if to_change else query
    return {
        row.id: Person(row.id, row.klaviyo_id, row.base, row.written)
        for chunk in chunks(sorted(set(person_ids)))
        for row in connection.execute(query.where(people.c.id.in_(chunk)))
    }


def save(connection: sa.Connection, persons: Sequence[Person], *, now: datetime) -> None:
    """Write `base`, `written` and `klaviyo_id` of these persons.

    A Klaviyo id that another person holds stays there: two identifiers of ours that are one profile at Klaviyo
    remain two persons.
    """
    if not persons:
        return
    held = _holders(connection, persons)
    statement = (
        people.update()
        .where(people.c.id == sa.bindparam("person"))
        .values(
            base=sa.bindparam("new_base"),
            written=sa.bindparam("new_written"),
            klaviyo_id=sa.func.coalesce(sa.bindparam("new_klaviyo_id", type_=sa.String), people.c.klaviyo_id),
            updated_at=now,
        )
    )
    values = [
        {
            "person": person.id,
            "new_base": dict(person.base),
            "new_written": dict(person.written),
            "new_klaviyo_id": _free_id(person, held),
        }
        for person in persons
    ]
    connection.execute(statement, values)


def _holders(connection: sa.Connection, persons: Sequence[Person]) -> dict[str, int]:
    """Who has the Klaviyo ids of these persons (of one account) by now."""
    wanted = sorted({person.klaviyo_id for person in persons if person.klaviyo_id})
    account = sa.select(people.c.account).where(people.c.id == persons[0].id).scalar_subquery()
    query = sa.select(people.c.klaviyo_id, people.c.id).where(people.c.account == account)
    return {
        str(row.klaviyo_id): row.id
        for chunk in chunks(wanted)
        for row in connection.execute(query.where(people.c.klaviyo_id.in_(chunk)))
    }


def _free_id(person: Person, held: dict[str, int]) -> str | None:
    """The person's Klaviyo id, unless another has it; the first of two newcomers gets it."""
    if person.klaviyo_id is None:
        return None
    return person.klaviyo_id if held.setdefault(person.klaviyo_id, person.id) == person.id else None


def _claim(names: Sequence[Name], owners: dict[Name, int], *, newcomer: int) -> int:
    person = next((owners[name] for name in names if name in owners), newcomer)
    for name in names:
        owners.setdefault(name, person)
    return person


def _names(identity: Identity) -> list[Name]:
    ours = list(identity.known().items())
    return [("klaviyo_id", identity.klaviyo_id), *ours] if identity.klaviyo_id else ours


def _owners(connection: sa.Connection, account: str, names: set[Name]) -> dict[Name, int]:
    by_kind: dict[str, list[str]] = {}
    for kind, value in sorted(names):
        by_kind.setdefault(kind, []).append(value)
    return {
        (kind, row.value): row.person
        for kind, values in by_kind.items()
        for chunk in chunks(values)
        for row in connection.execute(_lookup(account, kind, chunk))
    }


def _lookup(account: str, kind: str, values: Sequence[str]) -> sa.Select[str | None, int]:
    if kind == "klaviyo_id":
        return sa.select(people.c.klaviyo_id.label("value"), people.c.id.label("person")).where(
            people.c.account == account, people.c.klaviyo_id.in_(values)
        )
    return sa.select(identifiers.c.value, identifiers.c.person_id.label("person")).where(
        identifiers.c.account == account, identifiers.c.kind == kind, identifiers.c.value.in_(values)
    )


def _create(connection: sa.Connection, account: str, newcomers: Sequence[int], *, now: datetime) -> dict[int, int]:
    if not newcomers:
        return {}
    row: dict[str, Any] = {"account": account, "base": {}, "written": {}, "updated_at": now}
    insert = people.insert().returning(people.c.id, sort_by_parameter_order=True)
    ids = connection.execute(insert, [row] * len(newcomers)).scalars()
    return dict(zip(newcomers, ids, strict=True))


def _add_identifiers(connection: sa.Connection, account: str, gained: Mapping[Name, int]) -> None:
    rows = [
        {"account": account, "kind": kind, "value": value, "person_id": person}
        for (kind, value), person in gained.items()
        if kind != "klaviyo_id"
    ]
    if rows:
        connection.execute(identifiers.insert(), rows)
    for (kind, value), person in gained.items():
        if kind == "klaviyo_id":
            unset = people.c.klaviyo_id.is_(None)
            connection.execute(people.update().where(people.c.id == person, unset).values(klaviyo_id=value))
