"""What we know of persons: who they are at Klaviyo, what was agreed, and the ledger of their consent."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from klaviyo_bridge.domain.consent import Channel, Consent, current
from klaviyo_bridge.domain.profile import Identity, Person
from klaviyo_bridge.infra.database import Database
from klaviyo_bridge.infra.stores import ledger, people
from klaviyo_bridge.infra.stores.outbox import open_fields
from klaviyo_bridge.infra.stores.tombstones import Tombstones


class ProfileStore:
    """Each method is one transaction."""

    def __init__(
        self, database: Database, *, clock: Callable[[], datetime], tombstones: Tombstones | None = None
    ) -> None:
        self._database = database
        self._clock = clock
        self._tombstones = tombstones or Tombstones(b"")

    def match(self, account: str, identities: Sequence[Identity]) -> list[Person]:
        """The person each identity names, in order; strangers are made known."""
        with self._database.write() as connection:
            self._database.lock(connection, f"people:{account}")
            ids = people.resolve(connection, account, identities, now=self._clock())
            known = people.load(connection, ids)
        return [known[person_id] for person_id in ids]

    def open_fields(self, account: str, person_ids: set[int]) -> dict[int, set[str]]:
        """Per person the fields that rows on their way to Klaviyo will still write."""
        with self._database.read() as connection:
            return open_fields(connection, account, person_ids)

    def agree(self, agreed: Mapping[int, Mapping[str, Any]], klaviyo_ids: Mapping[int, str]) -> None:
        """Both sides now hold these values; the persons are these profiles at Klaviyo."""
        with self._database.write() as connection:
            known = people.load(connection, agreed)
            persons = [
                Person(person.id, klaviyo_ids.get(person.id), {**person.base, **agreed[person.id]}, person.written)
                for person in known.values()
            ]
            people.save(connection, persons, now=self._clock())

    def record_consent(
        self, account: str, records: Mapping[int, Sequence[Consent]]
    ) -> dict[int, dict[Channel, Consent]]:
        """Add to the ledger (a record that is there already is not doubled); returns what counts, per person."""
        with self._database.write() as connection:
            ledger.record(connection, account, records, now=self._clock())
            return _current(connection, account, records)

    def consent(self, account: str, person_ids: Sequence[int]) -> dict[int, dict[Channel, Consent]]:
        """What counts now, per person and channel."""
        with self._database.read() as connection:
            return _current(connection, account, person_ids)

    def erased(self, account: str, identities: Sequence[Identity]) -> set[int]:
        """By index, those who were erased: nothing about them may be kept."""
        with self._database.read() as connection:
            return set(self._tombstones.find(connection, account, identities))


def _current(connection: sa.Connection, account: str, person_ids: Iterable[int]) -> dict[int, dict[Channel, Consent]]:
    return {person: current(records) for person, records in ledger.load(connection, account, person_ids).items()}
