"""One row of a request, or one whole body, as bytes. Only keys that are given are sent.

Absent and null are different things to Klaviyo: an absent field stays, a null clears it. Bulk imports take
nulls as well, but a clear belongs to the single endpoint. What JSON or Klaviyo cannot hold is refused here
with the path of the field: NaN and Infinity (orjson would write null and so erase), NUL, broken text.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, cast

import orjson

from klaviyo_bridge.errors import InvalidPayload, Problem
from klaviyo_bridge.klaviyo import limits

_OPTIONS = orjson.OPT_PASSTHROUGH_DATETIME
_DEEPEST = 200
Attributes = Mapping[str, object]


def profile_row(attributes: Attributes, *, profile_id: str | None = None, patch: Attributes | None = None) -> bytes:
    """One profile of a bulk import. `patch` is `patch_properties`: append, unappend, unset."""
    return _row(_profile(attributes, profile_id, patch))


def profile_body(attributes: Attributes, *, profile_id: str | None = None, patch: Attributes | None = None) -> bytes:
    """The body of a single upsert or update."""
    return encode({"data": _profile(attributes, profile_id, patch)})


def event_row(
    metric: str,
    *,
    unique_id: str,
    time: datetime,
    profile: Attributes,
    properties: Attributes,
    value: float | Decimal | None = None,
    value_currency: str | None = None,
    profile_id: str | None = None,
    patch: Attributes | None = None,
    backfill: bool = False,
) -> bytes:
    """One event of a bulk request. `unique_id` and `time` are wanted always: they make a repeat harmless."""
    event = {
        "type": "event",
        "attributes": _event(metric, unique_id, time, properties, value=value, value_currency=value_currency),
    }
    attributes: dict[str, object] = {
        "profile": {"data": _profile(profile, profile_id, patch)},
        "events": {"data": [event]},
    }
    if backfill:
        attributes["backfill"] = True
    return _row({"type": "event-bulk-create", "attributes": attributes})


def event_body(
    metric: str,
    *,
    unique_id: str,
    time: datetime,
    profile: Attributes,
    properties: Attributes,
    value: float | Decimal | None = None,
    value_currency: str | None = None,
    profile_id: str | None = None,
    patch: Attributes | None = None,
    backfill: bool = False,
) -> bytes:
    """The body of a single event. Here `meta` of the profile goes inside its attributes (specification)."""
    attributes = _event(metric, unique_id, time, properties, value=value, value_currency=value_currency)
    inside = {**profile, "meta": {"patch_properties": patch}} if patch else profile
    attributes["profile"] = {"data": _profile(inside, profile_id, None)}
    if backfill:
        attributes["backfill"] = True
    return encode({"data": {"type": "event", "attributes": attributes}})


def consent_row(
    consent: str,
    *,
    channels: Sequence[str] = ("email",),
    email: str | None = None,
    phone_number: str | None = None,
    profile_id: str | None = None,
    consented_at: datetime | None = None,
) -> bytes:
    """One row of a subscribe or unsubscribe; `consent` is `SUBSCRIBED` or `UNSUBSCRIBED`, for marketing."""
    marketing: dict[str, object] = {"consent": consent}
    if consented_at is not None:
        marketing["consented_at"] = consented_at
    attributes: dict[str, object] = _present({"email": email, "phone_number": phone_number})
    attributes["subscriptions"] = {channel: {"marketing": marketing} for channel in channels}
    return _row(_profile(attributes, profile_id, None))


def suppression_row(email: str) -> bytes:
    """One row of a suppress or unsuppress."""
    return _row(_profile({"email": email}, None, None))


def member_row(profile_id: str) -> bytes:
    """One profile to add to, or remove from, a list."""
    return _row({"type": "profile", "id": profile_id})


def encode(document: object) -> bytes:
    """JSON bytes. Raises InvalidPayload with the path of each value that cannot be sent."""
    try:
        encoded = orjson.dumps(document, default=_default, option=_OPTIONS)
    except (orjson.JSONEncodeError, RecursionError):
        raise _refused(document) from None
    # A null may be a NaN that orjson has written away: only then is the document walked.
    if (b"null" in encoded or b"\\u0000" in encoded) and (problems := list(_problems(document))):
        raise InvalidPayload(problems=problems)
    return encoded


def _row(document: dict[str, Any]) -> bytes:
    row = encode(document)
    if len(row) > limits.MAX_ROW_BYTES:
        what = f"is {len(row)} bytes long, and at most {limits.MAX_ROW_BYTES} fit"
        raise InvalidPayload(problems=[Problem(str(document["type"]), what)])
    return row


def _profile(attributes: Attributes, profile_id: str | None, patch: Attributes | None) -> dict[str, Any]:
    profile: dict[str, Any] = {"type": "profile", "attributes": attributes}
    if profile_id is not None:
        profile["id"] = profile_id
    if patch:
        profile["meta"] = {"patch_properties": patch}
    return profile


def _event(
    metric: str,
    unique_id: str,
    time: datetime,
    properties: Attributes,
    *,
    value: float | Decimal | None,
    value_currency: str | None,
) -> dict[str, Any]:
    return {
        "properties": properties,
        "time": time,
        "unique_id": unique_id,
        "metric": {"data": {"type": "metric", "attributes": {"name": metric}}},
        **_present({"value": value, "value_currency": value_currency}),
    }


def _present(fields: Attributes) -> dict[str, object]:
    return {name: value for name, value in fields.items() if value is not None}


def _default(value: object) -> object:
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise TypeError("naive")
        return value.astimezone(UTC).isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal) and value.is_finite():
        return int(value) if value == value.to_integral_value() and abs(value) < 2**53 else float(value)
    if isinstance(value, Mapping):
        return dict(cast("Mapping[object, object]", value))
    raise TypeError(type(value).__name__)


def _refused(document: object) -> InvalidPayload:
    problems = list(_problems(document))
    return InvalidPayload(problems=problems or [Problem("body", "cannot be written as JSON")])


def _problems(value: object, where: str = "", depth: int = 0) -> Iterator[Problem]:
    if depth > _DEEPEST:
        yield Problem(where[:200], "is nested too deeply")
    elif isinstance(value, Mapping):
        yield from _in_mapping(cast("Mapping[object, object]", value), where, depth)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(cast("Sequence[object]", value)):
            yield from _problems(item, f"{where}[{index}]", depth + 1)
    elif what := _what_is_wrong(value):
        yield Problem(where or "body", what)


def _in_mapping(value: Mapping[object, object], where: str, depth: int) -> Iterator[Problem]:
    for key, item in value.items():
        if not isinstance(key, str):
            yield Problem(where or "body", "has a name that is no text")
            continue
        if what := _what_is_wrong(key):
            yield Problem(where or "body", f"has a name that {what}")
            continue
        yield from _problems(item, f"{where}.{key}" if where else key, depth + 1)


def _what_is_wrong(value: object) -> str:
    if isinstance(value, str):
        return _wrong_text(value)
    if isinstance(value, bool) or value is None:
        return ""
    if isinstance(value, int):
        return "" if -(2**63) <= value < 2**64 else "is a number of more than 64 bits"
    if isinstance(value, float | Decimal):
        return "" if math.isfinite(value) else "is not a finite number"
    if isinstance(value, datetime):
        return "" if value.tzinfo is not None else "is a time without a zone"
    return "" if _encodable(value) else f"is a {type(value).__name__}, which JSON does not know"


def _wrong_text(value: str) -> str:
    if "\x00" in value:
        return "holds a NUL character"
    try:
        value.encode()
    except UnicodeEncodeError:
        return "holds half a surrogate pair"
    return ""


def _encodable(value: object) -> bool:
    try:
        orjson.dumps(value, default=_default, option=_OPTIONS)
    except orjson.JSONEncodeError:
        return False
    return True
