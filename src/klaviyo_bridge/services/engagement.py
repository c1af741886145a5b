"""What became of messages: delivered, opened, clicked, bounced, unsubscribed, counted event by event."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from klaviyo_bridge.domain.engagement import Interaction, Tally


class Tallies(Protocol):
    """Where the counts are. `infra.stores.engagement.EngagementStore` is one."""

    def count(self, account: str, interactions: Sequence[Interaction]) -> int: ...
    def tallies(self, account: str, *, campaign_id: str | None = None) -> list[Tally]: ...


class Engagement:
    """One account's counts. They come from webhooks (or polled events), so they are only as complete as those."""

    def __init__(self, account: str, rows: Tallies) -> None:
        self._account = account
        self._rows = rows

    def record(self, interactions: Sequence[Interaction]) -> int:
        """Count events of the inbox; one that was counted before is not counted again. Returns how many were new."""
        return self._rows.count(self._account, interactions) if interactions else 0

    def of_messages(self, *, campaign_id: str | None = None) -> list[Tally]:
        """The counts of every message, or of one campaign's: one tally for each kind of thing that happened."""
        return self._rows.tallies(self._account, campaign_id=campaign_id)

    def by_message(self, *, campaign_id: str | None = None) -> dict[str, dict[str, int]]:
        """As `of_messages`, only the numbers: message -> kind -> events."""
        found: dict[str, dict[str, int]] = {}
        for tally in self.of_messages(campaign_id=campaign_id):
            found.setdefault(tally.message_id, {})[tally.kind] = tally.events
        return found
