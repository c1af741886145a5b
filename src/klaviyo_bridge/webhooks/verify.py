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

from klaviyo_bridge.domain.webhook import UNREADABLE, WebhookEvent
from klaviyo_bridge.errors import InvalidWebhook

MAX_EVENTS: Final = 1_000
"""Klaviyo puts at most so many events into one delivery."""

_HTTP_DATE: Final = re.compile(
    r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), [0-9]{2} (?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) [0-9]{4} "
    r"[0-9]{2}:[0-9]{2}:[0-9]{2} GMT"
)
_SIGNATURE: Final = re.compile(r"[0-9a-f]{64}")


def verify(
    body: bytes,
    headers: Mapping[str, str],
    *,
    secrets: Sequence[str],
    now: datetime,
    tolerance: timedelta = timedelta(seconds=300),
    account_id: str | None = None,
) -> list[WebhookEvent]:
    """The events of an authentic delivery. `headers` are looked up in lower case.

    Several `secrets` are accepted while one is being rotated; with `account_id`, deliveries of that Klaviyo
    account only. Raises `InvalidWebhook` for everything else. One event that cannot be read does not spoil its
    siblings: it comes with the topic `unreadable`.
    """
    timestamp = headers.get("klaviyo-timestamp", "")
    _check_signature(body, timestamp, headers.get("klaviyo-signature", ""), secrets)
    document = parsed(body)
    meta = _object(document.get("meta"), "meta")
    _check_webhook_id(meta, headers.get("klaviyo-webhook-id", ""))
    _check_account(meta, account_id)
    _check_age(meta, now, tolerance)
    return _events(document.get("data"))


def sign(body: bytes, timestamp: str, secret: str) -> str:
    """The signature Klaviyo would send."""
    return hmac.new(secret.encode(), body + timestamp.encode(), hashlib.sha256).hexdigest()


def parsed(body: bytes) -> Mapping[str, Any]:
    """The JSON object in `body`. Raises `InvalidWebhook`, also for one nested beyond a thousand levels."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise InvalidWebhook("the body is not JSON") from None
    return _object(document, "body")


def short_text(value: object, name: str) -> str:
    """`value`, if it is printable text of at most 255 characters. Raises `InvalidWebhook`."""
    if not isinstance(value, str) or not 0 < len(value) <= 255 or not value.isprintable():
        raise InvalidWebhook(f"{name} is missing or not short text")
    return value


def storable(value: object) -> bool:
    """Whether it can be written as JSON again: orjson reads a thousand levels, but writes some two hundred."""
    try:
        orjson.dumps(value)
    except orjson.JSONEncodeError:
        return False
    return True


def _check_signature(body: bytes, timestamp: str, signature: str, secrets: Sequence[str]) -> None:
    if not _HTTP_DATE.fullmatch(timestamp):
        raise InvalidWebhook("Klaviyo-Timestamp is missing or not an HTTP date")
    if not _SIGNATURE.fullmatch(signature):
        raise InvalidWebhook("Klaviyo-Signature is missing or not 64 hex digits")
    matches = [hmac.compare_digest(sign(body, timestamp, secret), signature) for secret in secrets if secret]
    if not any(matches):
        raise InvalidWebhook("the signature is not by any secret we know")


def _check_webhook_id(meta: Mapping[str, Any], header: str) -> None:
    if not header or meta.get("klaviyo_webhook_id") != header:
        raise InvalidWebhook("Klaviyo-Webhook-Id is not the one in the signed body")


def _check_account(meta: Mapping[str, Any], account_id: str | None) -> None:
    if account_id is not None and meta.get("klaviyo_account_id") != account_id:
        raise InvalidWebhook("the delivery is another Klaviyo account's")


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
    return [_readable(item) for item in items]


def _readable(item: object) -> WebhookEvent:
    """The event, or one with the topic `unreadable` that says why: Klaviyo signed it, so it is kept."""
    try:
        return _event(_object(item, "data[]"))
    except InvalidWebhook as error:
        kept = item if storable(item) else None
        digest = hashlib.sha256(orjson.dumps(kept)).hexdigest()
        return WebhookEvent(
            external_id=f"{UNREADABLE}:{digest}",
            topic=UNREADABLE,
            payload={"reason": str(error), "item": kept},
        )


def _event(item: Mapping[str, Any]) -> WebhookEvent:
    payload = _object(item.get("payload"), "payload")
    if not storable(payload):
        raise InvalidWebhook("payload is nested too deeply")
    return WebhookEvent(
        external_id=short_text(item.get("external_id"), "external_id"),
        topic=short_text(item.get("topic"), "topic"),
        payload=payload,
    )


def _object(value: object, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise InvalidWebhook(f"{where} is not an object")
    return cast(Mapping[str, Any], value)
