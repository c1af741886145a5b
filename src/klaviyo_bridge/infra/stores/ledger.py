"""The ledger's rows. These functions run inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from klaviyo_bridge.domain.consent import Channel, Consent, ConsentState
from klaviyo_bridge.infra.stores.people import chunks
from klaviyo_bridge.infra.tables import consent_records


def record(connection: sa.Connection, account: str, records: Mapping[int, Sequence[Consent]], *, now: datetime) -> None:
    """Add to the ledger, by person; a record that is there already is not doubled."""
    rows = [_stored(account, person, entry, now) for person in records for entry in records[person]]
    if rows:
        dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
        connection.execute(dialect.insert(consent_records).on_conflict_do_nothing(), rows)


def load(connection: sa.Connection, account: str, person_ids: Iterable[int]) -> dict[int, list[Consent]]:
    """Every record of these persons, oldest entry first."""
    query = sa.select(consent_records).where(consent_records.c.account == account).order_by(consent_records.c.id)
    ledger: dict[int, list[Consent]] = {}
    for chunk in chunks(sorted(set(person_ids))):
        for row in connection.execute(query.where(consent_records.c.person_id.in_(chunk))):
            ledger.setdefault(row.person_id, []).append(_record(row))
    return ledger


def _record(row: Any) -> Consent:
    return Consent(
        channel=Channel(row.channel),
        state=ConsentState(row.state),
        at=row.at,
        source=row.source,
        evidence=row.evidence,
        list_id=row.list_id or None,
    )


def _stored(account: str, person: int, entry: Consent, now: datetime) -> dict[str, Any]:
    return {
        "account": account,
        "person_id": person,
        "channel": entry.channel,
        "state": entry.state,
        "at": entry.at,
        "source": entry.source,
        "evidence": entry.evidence,
        "list_id": entry.list_id or "",
        "recorded_at": now,
    }
