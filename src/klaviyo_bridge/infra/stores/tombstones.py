"""Who was erased, by keyed hashes: enough to recognise an identifier, too little to learn one.

These methods run inside the caller's transaction.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from klaviyo_bridge.domain.profile import Identity
from klaviyo_bridge.infra.stores.people import Name, chunks
from klaviyo_bridge.infra.tables import tombstones


@dataclass(frozen=True, slots=True)
class Tombstone:
    """`person_id` is the number the person had in our tables."""

    person_id: int
    erased_at: datetime


class Tombstones:
    """Recognises erased people."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def find(self, connection: sa.Connection, account: str, identities: Sequence[Identity]) -> dict[int, Tombstone]:
        """By index, the identities of which any identifier belongs to somebody who was erased."""
        if not self._any(connection, account):
            return {}
        digests = [[self._digest(name) for name in names_of(identity)] for identity in identities]
        known = _load(connection, account, sorted({digest for each in digests for digest in each}))
        found = ((index, next((known[d] for d in each if d in known), None)) for index, each in enumerate(digests))
        return {index: tombstone for index, tombstone in found if tombstone is not None}

    def of_persons(self, connection: sa.Connection, account: str, persons: Iterable[int]) -> set[int]:
        """Which of these persons were erased."""
        query = sa.select(tombstones.c.person_id).where(tombstones.c.account == account)
        return {
            person
            for chunk in chunks(sorted(set(persons)))
            for person in connection.execute(query.where(tombstones.c.person_id.in_(chunk))).scalars()
        }

    def bury(
        self, connection: sa.Connection, account: str, person: int, names: Iterable[Name], *, now: datetime
    ) -> None:
        """Remember that whoever has these identifiers was erased."""
        dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
        insert = dialect.insert(tombstones)
        moved = {"erased_at": insert.excluded.erased_at, "person_id": insert.excluded.person_id}
        upsert = insert.on_conflict_do_update(index_elements=["account", "digest"], set_=moved)
        rows = [
            {"account": account, "digest": self._digest(name), "person_id": person, "erased_at": now}
            for name in sorted(set(names))
        ]
        connection.execute(upsert, rows)

    def lift(self, connection: sa.Connection, account: str, person: int) -> None:
        """The person came back and consented anew: forget that they were erased."""
        mine = tombstones.c.account == account, tombstones.c.person_id == person
        connection.execute(tombstones.delete().where(*mine))

    def _any(self, connection: sa.Connection, account: str) -> bool:
        query = sa.select(tombstones.c.digest).where(tombstones.c.account == account).limit(1)
        return connection.execute(query).first() is not None

    def _digest(self, name: Name) -> str:
        return hmac.new(self._key, "\x1f".join(name).encode(), hashlib.sha256).hexdigest()


def names_of(identity: Identity) -> Iterator[Name]:
    """Every identifier as kind and value, Klaviyo's own included."""
    yield from identity.known().items()
    if identity.klaviyo_id:
        yield "klaviyo_id", identity.klaviyo_id


def _load(connection: sa.Connection, account: str, digests: Sequence[str]) -> dict[str, Tombstone]:
    query = sa.select(tombstones).where(tombstones.c.account == account)
    return {
        row.digest: Tombstone(row.person_id, row.erased_at)
        for chunk in chunks(digests)
        for row in connection.execute(query.where(tombstones.c.digest.in_(chunk)))
    }
