"""What a person did with a message, and how often that happened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from klaviyo_bridge.domain.webhook import POLLED, WebhookEvent, slug_of

KINDS: Final[Mapping[str, str]] = {
    "campaign.sent": "sent",
    "received_email": "delivered",
    "received_sms": "delivered",
    "received_text_message": "delivered",
    "received_push": "delivered",
    "opened_email": "opened",
    "opened_text": "opened",
    "opened_push": "opened",
    "clicked_email": "clicked",
    "clicked_sms": "clicked",
    "clicked_text_message": "clicked",
    "bounced_email": "bounced",
    "bounced_push": "bounced",
    "failed_to_deliver_sms": "bounced",
    "failed_to_deliver_text_message": "bounced",
    "unsubscribed_from_email_marketing": "unsubscribed",
    "unsubscribed_from_sms_marketing": "unsubscribed",
    "unsubscribed_from_text_messaging_marketing": "unsubscribed",
    "marked_email_as_spam": "marked_as_spam",
}
"""Metric -> what it means for the message that the event names."""


@dataclass(frozen=True, slots=True)
class Interaction:
    """One event about one message."""

    event_id: str
    message_id: str
    kind: str
    campaign_id: str | None
    flow_id: str | None
    at: datetime | None


@dataclass(frozen=True, slots=True)
class Tally:
    """How often one kind of thing happened with one message. Of a flow when `flow_id` is set, else a campaign."""

    message_id: str
    kind: str
    campaign_id: str | None
    flow_id: str | None
    events: int
    first_at: datetime
    last_at: datetime

    def plus(self, one: Interaction, *, at: datetime) -> Tally:
        """This tally with one more interaction in it."""
        return replace(
            self,
            campaign_id=self.campaign_id or one.campaign_id,
            flow_id=self.flow_id or one.flow_id,
            events=self.events + 1,
            first_at=min(self.first_at, at),
            last_at=max(self.last_at, at),
        )


def interaction_of(event: WebhookEvent) -> Interaction | None:
    """What the event says about a message; None when it names none, or says nothing we count."""
    kind, message_id = KINDS.get(_metric(event)), _id(event.message_id)
    if kind is None or message_id is None:
        return None
    return Interaction(event.external_id, message_id, kind, _id(event.campaign_id), _id(event.flow_id), event.time)


def _id(value: str | None) -> str | None:
    """`value`, if it can be an identifier: event properties may hold anything."""
    return value if value is not None and len(value) <= 255 and value.isprintable() else None


def tallied(interactions: Sequence[Interaction], *, now: datetime) -> list[Tally]:
    """The interactions added up by message and kind, in that order. One without a time happened `now`."""
    found: dict[tuple[str, str], Tally] = {}
    for one in interactions:
        key, at = (one.message_id, one.kind), one.at or now
        empty = Tally(one.message_id, one.kind, one.campaign_id, one.flow_id, 0, at, at)
        found[key] = found.get(key, empty).plus(one, at=at)
    return [found[key] for key in sorted(found)]


def _metric(event: WebhookEvent) -> str:
    return slug_of(event.topic) or event.topic.removeprefix(POLLED)
