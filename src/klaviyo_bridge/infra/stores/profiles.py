"""What we know of persons: who they are at Klaviyo, what was agreed, and the ledger of their consent."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from klaviyo_bridge.domain.consent import Channel, Consent, ConsentState, current
from klaviyo_bridge.infra.database import Database
from klaviyo_bridge.infra.stores.people import chunks
from klaviyo_bridge.infra.tables import consent_records


class ProfileStore:
    """Each method is one transaction."""

    def __init__(self, database: Database, *, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock

    def record_consent(
        self, account: str, records: Mapping[int, Sequence[Consent]]
    ) -> dict[int, dict[Channel, Consent]]:
        """Add to the ledger (a record that is there already is not doubled); returns what counts, per person."""
        rows = [_stored(account, person, record, self._clock()) for person in records for record in records[person]]
        with self._database.write() as connection:
            if rows:
                dialect = sqlite if self._database.is_sqlite else postgresql
                connection.execute(dialect.insert(consent_records).on_conflict_do_nothing(), rows)
            return _current(connection, account, sorted(records))

    def consent(self, account: str, person_ids: Sequence[int]) -> dict[int, dict[Channel, Consent]]:
        """What counts now, per person and channel."""
        with self._database.read() as connection:
            return _current(connection, account, person_ids)


def _current(connection: sa.Connection, account: str, person_ids: Sequence[int]) -> dict[int, dict[Channel, Consent]]:
    query = sa.select(consent_records).where(consent_records.c.account == account)
    ledger: dict[int, list[Consent]] = {}
    for chunk in chunks(person_ids):
        for row in connection.execute(query.where(consent_records.c.person_id.in_(chunk))):
            ledger.setdefault(row.person_id, []).append(_record(row))
    return {person: current(records) for person, records in ledger.items()}


def _record(row: Any) -> Consent:
    return Consent(
        channel=Channel(row.channel),
        state=ConsentState(row.state),
        at=row.at,
        source=row.source,
        evidence=row.evidence,
    )


def _stored(account: str, person: int, record: Consent, now: datetime) -> dict[str, Any]:
    return {
        "account": account,
        "person_id": person,
        "channel": record.channel,
        "state": record.state,
        "at": record.at,
        "source": record.source,
        "evidence": record.evidence,
        "recorded_at": now,
    }
