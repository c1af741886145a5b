"""Consent, suppression, bounces and merges: whoever is named is read again and merged.

The event says that something changed, not what a person's state is now; so the profiles are fetched, a hundred
a call, and what Klaviyo holds now decides. Late and repeated events are harmless that way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from klaviyo_bridge.domain.webhook import WebhookEvent
from klaviyo_bridge.webhooks.router import Router

TOPICS = (
    "event:klaviyo.subscribed_to_email_marketing",
    "event:klaviyo.subscribed_to_sms_marketing",
    "event:klaviyo.unsubscribed_from_email_marketing",
    "event:klaviyo.unsubscribed_from_sms_marketing",
    "event:klaviyo.updated_email_preferences",
    "event:klaviyo.manually_suppressed_from_email_marketing",
    "event:klaviyo.manually_unsuppressed_from_email_marketing",
    "event:klaviyo.bounced_email",
    "event:klaviyo.marked_email_as_spam",
    "event:klaviyo.merged_profile",
)


class Profiles(Protocol):
    """What this handler needs. `services.profile_sync.ProfileSync` is one."""

    def pull_ids(self, profile_ids: Sequence[str]) -> object: ...


def register(router: Router, profiles: Profiles) -> None:
    """Route the topics above to a fresh read of the profiles they name."""

    def refresh(events: Sequence[WebhookEvent]) -> None:
        named = dict.fromkeys(event.profile_id for event in events if event.profile_id)
        if named:
            profiles.pull_ids(list(named))

    for topic in TOPICS:
        router.add(topic, refresh)
