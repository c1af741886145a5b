"""What people did with campaigns (and with flows' messages): added to the counts the application can read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from klaviyo_bridge.domain.engagement import KINDS, Interaction, interaction_of
from klaviyo_bridge.domain.webhook import FLOW, NATIVE, POLLED, WebhookEvent
from klaviyo_bridge.webhooks.router import Router


class Counter(Protocol):
    """What this handler needs. `services.engagement.Engagement` is one."""

    def record(self, interactions: Sequence[Interaction]) -> object: ...


def register(router: Router, engagement: Counter) -> None:
    """Route every metric that says something about a message to its count."""

    def count(events: Sequence[WebhookEvent]) -> None:
        found = [interaction for event in events if (interaction := interaction_of(event)) is not None]
        if found:
            engagement.record(found)

    for metric in KINDS:
        for prefix in (NATIVE, FLOW, POLLED):
            router.add(prefix + metric, count)
