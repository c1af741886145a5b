"""Whether a webhook delivery is Klaviyo's, is fresh, and can be read. Pure: bytes and text in, events out.

The signature is the hex HMAC-SHA256 of the raw body followed by the text of `Klaviyo-Timestamp`, without a
separator; so the text must be an HTTP date to the letter, else digits could slide from the body into it. Age is
judged by `meta.timestamp` inside the signed body: the header's clock was recorded five hours ahead.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, cast

import orjson

from klaviyo_bridge.domain.webhook import WebhookEvent
from klaviyo_bridge.errors import InvalidWebhook

MAX_EVENTS: Final = 1_000
"""Klaviyo puts at most so many events into one delivery."""

_HTTP_DATE: Final = re.compile(
    r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d{2} (?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) \d{4} "
    r"\d{2}:\d{2}:\d{2} GMT"
)
_SIGNATURE: Final = re.compile(r"[0-9a-f]{64}")


def verify(
    body: bytes,
    headers: Mapping[str, str],
    *,
    secrets: Sequence[str],
    now: datetime,
    tolerance: timedelta = timedelta(seconds=300),
) -> list[WebhookEvent]:
    """The events of an authentic delivery. `headers` are looked up in lower case.

    Several `secrets` are accepted while one is being rotated. Raises `InvalidWebhook` for everything else.
    """
    timestamp = headers.get("klaviyo-timestamp", "")
    _check_signature(body, timestamp, headers.get("klaviyo-signature", ""), secrets)
    document = _document(body)
    meta = _object(document.get("meta"), "meta")
    _check_webhook_id(meta, headers.get("klaviyo-webhook-id", ""))
    _check_age(meta, now, tolerance)
    return _events(document.get("data"))


def sign(body: bytes, timestamp: str, secret: str) -> str:
    """The signature Klaviyo would send."""
    return hmac.new(secret.encode(), body + timestamp.encode(), hashlib.sha256).hexdigest()


def _check_signature(body: bytes, timestamp: str, signature: str, secrets: Sequence[str]) -> None:
    if not _HTTP_DATE.fullmatch(timestamp):
        raise InvalidWebhook("Klaviyo-Timestamp is missing or not an HTTP date")
    if not _SIGNATURE.fullmatch(signature):
        raise InvalidWebhook("Klaviyo-Signature is missing or not 64 hex digits")
    matches = [hmac.compare_digest(sign(body, timestamp, secret), signature) for secret in secrets]
    if not any(matches):
        raise InvalidWebhook("the signature is not by any secret we know")


def _document(body: bytes) -> Mapping[str, Any]:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise InvalidWebhook("the body is not JSON") from None
    return _object(document, "body")


def _check_webhook_id(meta: Mapping[str, Any], header: str) -> None:
    if not header or meta.get("klaviyo_webhook_id") != header:
        raise InvalidWebhook("Klaviyo-Webhook-Id is not the one in the signed body")


def _check_age(meta: Mapping[str, Any], now: datetime, tolerance: timedelta) -> None:
    try:
        sent = datetime.fromisoformat(cast(str, meta.get("timestamp")))
        apart = abs(now - (sent if sent.tzinfo else sent.replace(tzinfo=UTC)))
    except (TypeError, ValueError, OverflowError):
        raise InvalidWebhook("meta.timestamp is missing or not a time") from None
    if apart > tolerance:
        raise InvalidWebhook(f"the delivery is {apart.total_seconds():.0f} seconds away from our clock")


def _events(data: object) -> list[WebhookEvent]:
    if not isinstance(data, list):
        raise InvalidWebhook("data is not an array")
    items = cast(list[object], data)
    if len(items) > MAX_EVENTS:
        raise InvalidWebhook(f"data holds {len(items)} events; Klaviyo sends at most {MAX_EVENTS}")
    return [_event(_object(item, "data[]")) for item in items]


def _event(item: Mapping[str, Any]) -> WebhookEvent:
    return WebhookEvent(
        external_id=_text(item, "external_id"),
        topic=_text(item, "topic"),
        payload=_object(item.get("payload"), "payload"),
    )


def _text(item: Mapping[str, Any], name: str) -> str:
    value = item.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= 255 or not value.isprintable():
        raise InvalidWebhook(f"{name} is missing or not short text")
    return value


def _object(value: object, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise InvalidWebhook(f"{where} is not an object")
    return cast(Mapping[str, Any], value)
