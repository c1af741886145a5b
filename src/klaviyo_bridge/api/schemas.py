"""What bodies look like, for the OpenAPI page. Checking is the domain's: it names every wrong field."""

from __future__ import annotations

from typing import Any

from klaviyo_bridge.domain.profile import ATTRIBUTES, LOCATION

_TEXT_OR_NULL: dict[str, Any] = {"type": ["string", "null"]}
_ANYTHING: dict[str, Any] = {"type": "object", "additionalProperties": True}

PROFILE: dict[str, Any] = {
    "type": "object",
    "description": "A profile. An absent field stays as it is; null clears it. One identifier is needed.",
    "properties": {
        "email": {"type": ["string", "null"], "format": "email"},
        "phone_number": {"type": ["string", "null"], "description": "E.164, such as +15005550006"},
        "external_id": {"type": ["string", "null"], "maxLength": 255},
        "klaviyo_id": {"type": ["string", "null"]},
        **dict.fromkeys(ATTRIBUTES, _TEXT_OR_NULL),
        "location": {"type": "object", "properties": {name: {} for name in LOCATION}, "additionalProperties": False},
        "properties": _ANYTHING,
    },
    "additionalProperties": False,
    "example": {"email": "ann@example.com", "external_id": "7", "first_name": "Ann", "properties": {"plan": "pro"}},
}
EVENT: dict[str, Any] = {
    "type": "object",
    "description": "An event. The same metric, person and unique_id count once.",
    "required": ["metric", "profile"],
    "properties": {
        "metric": {"type": "string", "maxLength": 127},
        "profile": PROFILE,
        "properties": _ANYTHING,
        "time": {"type": "string", "format": "date-time"},
        "unique_id": {"type": "string", "minLength": 1, "maxLength": 255},
        "value": {"type": ["number", "string", "null"]},
        "value_currency": {"type": ["string", "null"], "minLength": 3, "maxLength": 3},
        "backfill": {"type": "boolean"},
    },
    "additionalProperties": False,
    "example": {
        "metric": "Placed Order",
        "profile": {"email": "ann@example.com"},
        "unique_id": "order-1001",
        "value": 59.9,
        "value_currency": "EUR",
        "properties": {"OrderId": "1001", "ItemNames": ["Tea", "Pot"]},
    },
}
PROBLEM: dict[str, Any] = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "problems"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "problems": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["where", "what"],
                "properties": {"where": {"type": "string"}, "what": {"type": "string"}},
            },
        },
    },
}


def body_of(item: dict[str, Any]) -> dict[str, Any]:
    """The OpenAPI request body of a route that takes one item or an array."""
    schema = {"oneOf": [item, {"type": "array", "items": item, "maxItems": 10_000}]}
    lines = {"schema": {"type": "string", "description": "one item a line"}}
    content = {"application/json": {"schema": schema}, "application/x-ndjson": lines}
    return {"requestBody": {"required": True, "content": content}}


def answers(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI answers that are problem documents."""
    content = {"application/problem+json": {"schema": PROBLEM}}
    return {status: {"description": _MEANING[status], "content": content} for status in statuses}


_MEANING = {
    401: "No key, or one that is not known",
    404: "There is no such thing",
    413: "The body is too large",
    422: "A field is wrong; nothing was taken",
    502: "Klaviyo does not accept our key",
    503: "Not now; nothing was taken. See Retry-After",
}
