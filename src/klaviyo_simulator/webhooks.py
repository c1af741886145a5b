"""System webhooks: which events go where, in which batches, signed how.

The HTTP request itself is in `delivery`.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson

from klaviyo_simulator.account import Account
from klaviyo_simulator.errors import JsonObject
from klaviyo_simulator.events import Event
from klaviyo_simulator.ids import event_uuid
from klaviyo_simulator.log import Cause
from klaviyo_simulator.profiles import Profile
from klaviyo_simulator.scheduler import DELIVERY
from klaviyo_simulator.times import http_date, iso, iso_micro

MOST_WEBHOOKS = 10
MOST_EVENTS = 1000
VERSION = "2024-06-28"


@dataclass(slots=True, kw_only=True)
class Webhook:
    """`public_id` is what deliveries carry; it is not the id of the API's resource."""

    id: str
    public_id: str
    name: str
    description: str | None
    endpoint_url: str
    secret: str
    topics: list[str]
    created: float
    updated: float
    enabled: bool = True
    waiting: list[JsonObject] = field(default_factory=list[JsonObject])
    flush_scheduled: bool = False


@dataclass(slots=True, kw_only=True)
class Delivery:
    """One batch on its way, or arrived. `attempts` holds (time, status or error)."""

    id: int
    webhook_id: str
    url: str
    body: bytes
    headers: dict[str, str]
    events: int
    status: str = "pending"
    attempts: list[JsonObject] = field(default_factory=list[dict[str, Any]])

    def document(self) -> JsonObject:
        return {
            "id": self.id,
            "webhook": self.webhook_id,
            "url": self.url,
            "status": self.status,
            "events": self.events,
            "attempts": self.attempts,
            "headers": self.headers,
            "body": self.body.decode(),
        }


Post = Callable[[Account, Delivery], None]


def webhooks_of(account: Account) -> dict[str, Webhook]:
    return account.areas.setdefault("webhooks", {})


def deliveries_of(account: Account) -> list[Delivery]:
    return account.areas.setdefault("deliveries", [])


def signature(secret: str, body: bytes, timestamp: str) -> str:
    """Hex HMAC-SHA256 over the raw body followed by the Klaviyo-Timestamp header."""
    return hmac.new(secret.encode(), body + timestamp.encode(), hashlib.sha256).hexdigest()


def topics_of(account: Account) -> list[str]:
    """All topics of the account: Klaviyo's own and one per metric."""
    return sorted({metric.topic for metric in account.metrics} | set(NATIVE_TOPICS))


def watch(account: Account, post: Post) -> None:
    """Let the webhooks of this account hear of stored events."""

    def event_stored(event: Event, backfill: bool, cause: Cause) -> None:  # noqa: FBT001 (announced by position)
        hooks = webhooks_of(account)
        if not hooks:
            return
        topic = account.metrics.by_id[event.metric_id].topic
        for webhook in hooks.values():
            if webhook.enabled and topic in webhook.topics:
                webhook.waiting.append(entry(account, event, topic))
                _schedule_flush(account, webhook, post)

    def flow_entered(flow_id: str, url: str | None, profile: Profile) -> None:
        if url is not None:
            post(account, build_flow_webhook(account, flow_id, url, profile))

    account.listen("event_stored", event_stored)
    account.listen("flow_entered", flow_entered)


def entry(account: Account, event: Event, topic: str) -> JsonObject:
    """One member of a delivery's `data`. No profile attributes, as recorded."""
    here = f"{account.world.public_url}/api/events/{event.id}/"
    relations = {
        name: {
            "data": {"type": name, "id": identity},
            "links": {"self": f"{here}relationships/{name}/", "related": f"{here}{name}/"},
        }
        for name, identity in (("profile", event.profile_id), ("metric", event.metric_id))
    }
    payload = {
        "type": "event",
        "id": event.id,
        "attributes": {
            "timestamp": event.timestamp,
            "event_properties": event.read_properties(),
            "datetime": iso(event.timestamp),
            "uuid": event_uuid(event.id),
        },
        "relationships": relations,
        "links": {"self": here},
    }
    return {"external_id": event.id, "topic": topic, "payload": {"data": payload}}


def _schedule_flush(account: Account, webhook: Webhook, post: Post) -> None:
    if webhook.flush_scheduled:
        return
    webhook.flush_scheduled = True

    def work() -> None:
        webhook.flush_scheduled = False
        while webhook.waiting:
            batch, webhook.waiting = webhook.waiting[:MOST_EVENTS], webhook.waiting[MOST_EVENTS:]
            post(account, build(account, webhook, batch))

    account.world.scheduler.after(account.world.switches.webhook_batch_seconds, work, kind=DELIVERY)


def build(
    account: Account,
    webhook: Webhook,
    batch: list[JsonObject],
    *,
    secret: str | None = None,
    age: float = 0.0,
) -> Delivery:
    """A signed delivery, noted among the account's deliveries. `age` makes it that many seconds old."""
    now = account.now() - age
    body = orjson.dumps(
        {
            "data": batch,
            "meta": {
                "timestamp": iso_micro(now),
                "klaviyo_webhook_id": webhook.public_id,
                "klaviyo_account_id": account.id,
                "version": VERSION,
            },
        }
    )
    timestamp = http_date(now + account.world.switches.webhook_header_offset_hours * 3600)
    headers = {
        "Content-Type": "application/json",
        "Klaviyo-Signature": signature(secret or webhook.secret, body, timestamp),
        "Klaviyo-Timestamp": timestamp,
        "Klaviyo-Webhook-Id": webhook.public_id,
    }
    return _noted(account, webhook.id, webhook.endpoint_url, body, headers, events=len(batch))


def build_flow_webhook(account: Account, flow_id: str, url: str, profile: Profile) -> Delivery:
    """The webhook action of a flow: unsigned, with the flow's id in a header."""
    body = orjson.dumps({"profile_id": profile.id, "email": profile.email, "flow_id": flow_id})
    headers = {"Content-Type": "application/json", "X-Klaviyo-Flow-ID": flow_id}
    return _noted(account, flow_id, url, body, headers, events=1)


def _noted(account: Account, sender: str, url: str, body: bytes, headers: dict[str, str], *, events: int) -> Delivery:
    known = deliveries_of(account)
    delivery = Delivery(id=len(known) + 1, webhook_id=sender, url=url, body=body, headers=headers, events=events)
    known.append(delivery)
    return delivery


_NATIVE_SLUGS = """
bounced_email bounced_push clicked_email clicked_email_to_unsubscribe clicked_sms
clicked_text_message dropped_email failed_to_deliver_sms failed_to_deliver_automated_response_sms
failed_to_deliver_text_message failed_to_deliver_automated_response_text_message
manually_suppressed_from_email_marketing manually_unsuppressed_from_email_marketing
marked_email_as_spam merged_profile opened_email opened_push opened_text ready_to_review
received_automated_response_sms received_automated_response_text_message received_email
received_push received_sms received_text_message relayed_text_message sent_sms sent_text_message
skipped_send social_comment social_dm social_ugc submitted_rating submitted_review
subscribed_to_back_in_stock subscribed_to_email_marketing subscribed_to_list
subscribed_to_sms_marketing subscribed_to_text_messaging_marketing unsubscribed_from_email_marketing
unsubscribed_from_list unsubscribed_from_sms_marketing unsubscribed_from_text_messaging_marketing
unsubscribed_from_text_messaging_transactional updated_email_preferences
"""
NATIVE_TOPICS = tuple(f"event:klaviyo.{slug}" for slug in _NATIVE_SLUGS.split())
