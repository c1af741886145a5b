"""Webhook deliveries as Klaviyo signs them, and events to put into them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import orjson

from builders import WEBHOOK_SECRET
from klaviyo_bridge.domain.webhook import WebhookEvent, event_payload
from klaviyo_bridge.webhooks.verify import sign

WEBHOOK_ID = "a8b890458b4bbfaa26d961471b83c101d6de23bd826e7e5173a15310985ec3cb"
OPENED = "event:klaviyo.opened_email"


def an_item(event_id: str = "e1", *, topic: str = OPENED, profile_id: str = "01P", **properties: Any) -> dict[str, Any]:
    payload = event_payload(event_id, profile_id=profile_id, metric_id="M1", properties=properties)
    return {"external_id": event_id, "topic": topic, "payload": payload}


def a_webhook_event(event_id: str = "e1", *, topic: str = OPENED, **properties: Any) -> WebhookEvent:
    return WebhookEvent(**an_item(event_id, topic=topic, **properties))


def a_body(*items: Any, sent: datetime | None = None, account: str = "AbC123") -> bytes:
    meta = {
        "timestamp": (sent or datetime.now(UTC)).isoformat(),
        "klaviyo_webhook_id": WEBHOOK_ID,
        "klaviyo_account_id": account,
        "version": "2024-06-28",
    }
    return orjson.dumps({"data": list(items) or [an_item()], "meta": meta})


def headers_for(body: bytes, *, secret: str = WEBHOOK_SECRET, now: datetime | None = None) -> dict[str, str]:
    """The headers, with the clock five hours ahead as Klaviyo's was recorded."""
    timestamp = format_datetime((now or datetime.now(UTC)) + timedelta(hours=5), usegmt=True)
    return {
        "content-type": "application/json",
        "klaviyo-signature": sign(body, timestamp, secret),
        "klaviyo-timestamp": timestamp,
        "klaviyo-webhook-id": WEBHOOK_ID,
    }
