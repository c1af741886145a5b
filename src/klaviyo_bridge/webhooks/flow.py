"""Webhook actions of flows: unsigned, so a secret token in a header of ours says that they are Klaviyo's.

Every account has them, also those without the paid webhooks. The body is a template written in Klaviyo's flow
editor; `docs/how-to/webhooks-from-flows.md` has the one to paste.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from klaviyo_bridge.domain.webhook import FLOW, WebhookEvent, event_payload
from klaviyo_bridge.errors import InvalidWebhook
from klaviyo_bridge.webhooks.verify import parsed, short_text, storable

TOKEN_HEADER: Final = "x-bridge-token"  # noqa: S105  # the name of a header
FLOW_ID_HEADER: Final = "x-klaviyo-flow-id"
_TOPIC: Final = re.compile(r"[a-z0-9][a-z0-9_.]{0,100}")


def flow_event(body: bytes, headers: Mapping[str, str], *, tokens: Sequence[str]) -> WebhookEvent:
    """The event of an authentic call. `headers` are looked up in lower case.

    Its topic is `flow:` and the body's `topic`. Without an `external_id` the body itself names the event, so that
    Klaviyo's retries of one call are one event. Raises `InvalidWebhook` for everything else.
    """
    _check_token(headers.get(TOKEN_HEADER, ""), tokens)
    document = parsed(body)
    topic = short_text(document.get("topic"), "topic")
    if not _TOPIC.fullmatch(topic):
        raise InvalidWebhook("topic is not of small letters, digits, _ and .")
    properties = _properties(document.get("properties"))
    flow_id = headers.get(FLOW_ID_HEADER)
    event_id = _event_id(document.get("external_id"), body, flow_id)
    profile_id = document.get("profile_id")
    return WebhookEvent(
        external_id=event_id,
        topic=FLOW + topic,
        payload=event_payload(
            event_id,
            profile_id=short_text(profile_id, "profile_id") if profile_id else None,
            properties=properties if flow_id is None else {**properties, "$flow": flow_id[:255]},
        ),
    )


def _check_token(given: str, tokens: Sequence[str]) -> None:
    digest = hashlib.sha256(given.encode()).digest()
    matches = [hmac.compare_digest(digest, hashlib.sha256(token.encode()).digest()) for token in tokens if token]
    if not any(matches):
        raise InvalidWebhook("X-Bridge-Token is missing or not one we know")


def _event_id(given: object, body: bytes, flow_id: str | None) -> str:
    if given:
        return FLOW + short_text(given, "external_id")[:250]
    return f"{FLOW}{hashlib.sha256(body + (flow_id or '').encode()).hexdigest()}"


def _properties(value: object) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict) or not storable(cast(object, value)):
        raise InvalidWebhook("properties is not an object, or nested too deeply")
    return cast(Mapping[str, Any], value)
