"""Consent, suppression, bounces, merges and list joins: whoever is named is read again and merged.

The event says that something changed, not what a person's state is now; so the profiles are fetched, a hundred
a call, and what Klaviyo holds now decides. Late and repeated events are harmless that way, and property changes
come along: for those Klaviyo has no event of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from klaviyo_bridge.domain.webhook import FLOW, NATIVE, WebhookEvent
from klaviyo_bridge.webhooks.router import Router

NAMES = ("profile.updated", "list.member.*")
"""Names of ours that stand for a change of the person."""


class Profiles(Protocol):
    """What this handler needs. `services.profile_sync.ProfileSync` is one."""

    def pull_ids(self, profile_ids: Sequence[str]) -> object: ...


def register(router: Router, profiles: Profiles) -> None:
    """Route the names above to a fresh read of the profiles they name."""

    def refresh(events: Sequence[WebhookEvent]) -> None:
        named = dict.fromkeys(event.profile_id for event in events if event.profile_id and _is_news(event))
        if named:
            profiles.pull_ids(list(named))

    for name in NAMES:
        router.add(name, refresh)


def _is_news(event: WebhookEvent) -> bool:
    """What polling found was read a moment ago."""
    return event.topic.startswith((NATIVE, FLOW))
