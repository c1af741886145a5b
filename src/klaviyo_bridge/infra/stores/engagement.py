"""What people did with messages, counted: each event of the inbox once, whatever happens in between."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from klaviyo_bridge.domain.engagement import Interaction, Tally, tallied
from klaviyo_bridge.infra.database import Database
from klaviyo_bridge.infra.stores.people import chunks
from klaviyo_bridge.infra.tables import engagement, inbox


class EngagementStore:
    """Counts by message and kind."""

    def __init__(self, database: Database, *, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock

    def count(self, account: str, interactions: Sequence[Interaction]) -> int:
        """Count those whose event was not counted before; returns how many that were.

        The mark on the event and the count are one transaction, so a crash loses neither and doubles neither.
        """
        by_event = {interaction.event_id: interaction for interaction in interactions}
        with self._database.write() as connection:
            fresh = self._mark(connection, account, sorted(by_event))
            self._add(connection, account, [by_event[event_id] for event_id in fresh])
        return len(fresh)

    def tallies(self, account: str, *, campaign_id: str | None = None) -> list[Tally]:
        """The counts of every message, or of one campaign's."""
        query = sa.select(engagement).where(engagement.c.account == account)
        query = query if campaign_id is None else query.where(engagement.c.campaign_id == campaign_id)
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(engagement.c.message_id, engagement.c.kind)).all()
        return [
            Tally(row.message_id, row.kind, row.campaign_id, row.flow_id, row.events, row.first_at, row.last_at)
            for row in rows
        ]

    def _mark(self, connection: sa.Connection, account: str, event_ids: Sequence[str]) -> list[str]:
        uncounted = inbox.update().where(inbox.c.account == account, inbox.c.counted.is_(False)).values(counted=True)
        return [
            event_id
            for chunk in chunks(event_ids)
            for event_id in connection.execute(
                uncounted.where(inbox.c.external_id.in_(chunk)).returning(inbox.c.external_id)
            ).scalars()
        ]

    def _add(self, connection: sa.Connection, account: str, interactions: Sequence[Interaction]) -> None:
        dialect = sqlite if self._database.is_sqlite else postgresql
        insert = dialect.insert(engagement)
        later, earlier = (sa.func.max, sa.func.min) if self._database.is_sqlite else (sa.func.greatest, sa.func.least)
        upsert = insert.on_conflict_do_update(
            index_elements=["account", "message_id", "kind"],
            set_={
                "events": engagement.c.events + insert.excluded.events,
                "campaign_id": sa.func.coalesce(engagement.c.campaign_id, insert.excluded.campaign_id),
                "flow_id": sa.func.coalesce(engagement.c.flow_id, insert.excluded.flow_id),
                "first_at": earlier(engagement.c.first_at, insert.excluded.first_at),
                "last_at": later(engagement.c.last_at, insert.excluded.last_at),
            },
        )
        for tally in tallied(interactions, now=self._clock()):
            connection.execute(upsert.values(account=account, **asdict(tally)))
