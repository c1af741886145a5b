"""What we know of persons: who they are at Klaviyo, what was agreed, and the ledger of their consent."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime

import sqlalchemy as sa

from klaviyo_bridge.domain.consent import Channel, Consent, current
from klaviyo_bridge.domain.profile import Identity
from klaviyo_bridge.infra.database import Database
from klaviyo_bridge.infra.stores import ledger
from klaviyo_bridge.infra.stores.tombstones import Tombstones


class ProfileStore:
    """Each method is one transaction."""

    def __init__(
        self, database: Database, *, clock: Callable[[], datetime], tombstones: Tombstones | None = None
    ) -> None:
        self._database = database
        self._clock = clock
        self._tombstones = tombstones or Tombstones(b"")

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
