"""The error that stands for an answer of Klaviyo's. Pure: plain values in, one of our errors out.

Klaviyo's `detail` may quote what was sent, so it is kept only with its values masked: no message made
here holds personal data. Whether an answer means "the write may have happened" depends on the call and
is decided in `session`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, cast

import orjson

from klaviyo_bridge.errors import (
    BridgeError,
    DuplicateProfile,
    InvalidPayload,
    NotAuthorized,
    NotFound,
    Problem,
    RateLimited,
    Rejected,
    Unavailable,
)

LONGEST_RETRY_AFTER = 86_400.0
"""Seconds; a daily window is the longest wait Klaviyo can mean."""

_KEY_CODES = frozenset({"authentication_failed", "not_authenticated", "permission_denied"})
_ROW = re.compile(r"/data/(?:attributes/(?:profiles|events-bulk-create)/data/)?(\d+)(?:/(.*))?")

_QUOTED = re.compile(r"""(['"])(.*?)\1""")
_ADDRESS = re.compile(r"\S*@\S*")
_DIGITS = re.compile(r"\+?\d[\d\s().\-]{3,}\d")
_AFTER_COLON = re.compile(r":\s.*", re.DOTALL)
_VOCABULARY = frozenset(
    {
        *("email", "phone_number", "external_id", "anonymous_id", "first_name", "last_name", "organization"),
        *("locale", "title", "image", "location", "address1", "address2", "city", "country", "region", "zip"),
        *("latitude", "longitude", "timezone", "ip", "properties", "subscriptions", "profile", "profiles"),
        *("event", "events", "metric", "list", "lists", "segment", "segments", "campaign", "template"),
        *("webhook", "filter", "sort", "include", "equals", "any", "contains", "greater-than", "less-than"),
        *("name", "id", "type", "data", "attributes", "relationships", "consented_at", "historical_import"),
        *("sms", "unique_id", "time", "value", "value_currency", "created", "updated", "page[size]"),
    }
)
"""What may stay in quotes: names of Klaviyo's, never values of ours."""


def error_from(status: int, headers: Mapping[str, str], body: bytes, *, now: datetime | None = None) -> BridgeError:
    """The error for this answer. `headers` are looked up by lower-case or canonical name."""
    document = _document(body)
    errors = _errors(document)
    summary = _summary(status, errors)
    codes = {str(error.get("code")) for error in errors}
    wait = retry_after(headers, now=now)
    if status == 429:
        return RateLimited(summary, retry_after=wait)
    if status == 413:
        return InvalidPayload(summary, problems=[Problem("body", "is larger than Klaviyo takes")])
    if status == 401 or codes & _KEY_CODES:
        return NotAuthorized(summary)
    if _not_from_klaviyo(status, document, body) or _revision_retired(status, errors):
        return Unavailable(summary, retry_after=wait)
    return _refusal(status, summary, errors)


def _refusal(status: int, summary: str, errors: Sequence[Mapping[str, Any]]) -> BridgeError:
    match status:
        case 403:
            return NotAuthorized(summary)
        case 404:
            return NotFound(summary)
        case 409 if any(error.get("code") == "duplicate_profile" for error in errors):
            return DuplicateProfile(summary, profile_id=_duplicate_profile_id(errors))
        case 400 | 422:
            return InvalidPayload(summary, problems=[_problem(error) for error in errors])
        case _:
            return Rejected(summary)


def retry_after(headers: Mapping[str, str], *, now: datetime | None = None) -> float | None:
    """Seconds that `Retry-After` asks for: a number or an HTTP date, never negative, at most a day."""
    raw = headers.get("Retry-After") or headers.get("retry-after")
    if raw is None:
        return None
    seconds = _seconds(raw.strip(), now or datetime.now(UTC))
    if seconds is None or not math.isfinite(seconds):
        return None
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER)


def _seconds(raw: str, now: datetime) -> float | None:
    try:
        return float(raw)
    except ValueError:
        pass
    try:
        moment = parsedate_to_datetime(raw)
    except ValueError:
        return None
    return (moment.replace(tzinfo=moment.tzinfo or UTC) - now).total_seconds()


def row_problems(body: bytes) -> Mapping[int, str]:
    """Which rows of a bulk request the answer names, and why; empty if it names none.

    Klaviyo refuses the whole request and points at `/data/attributes/profiles/data/<i>/...` (events:
    `events-bulk-create`, list members: `/data/<i>`). Several problems of one row become one text.
    """
    return rows_named([_problem(error) for error in _errors(_document(body))])


def rows_named(problems: Sequence[Problem]) -> Mapping[int, str]:
    """The same as `row_problems`, read from the problems of an `InvalidPayload`."""
    found: dict[int, list[str]] = {}
    for problem in problems:
        match = _ROW.fullmatch(problem.where)
        if match:
            where = (match[2] or "").removeprefix("attributes/").replace("/", ".")
            found.setdefault(int(match[1]), []).append(f"{where}: {problem.what}" if where else problem.what)
    return {row: "; ".join(texts) for row, texts in found.items()}


def masked(detail: str) -> str:
    """`detail` without the values it quotes: only words of Klaviyo's own vocabulary stay in quotes."""
    text = _QUOTED.sub(lambda quoted: quoted[0] if quoted[2] in _VOCABULARY else "'…'", detail)
    text = _DIGITS.sub("…", _ADDRESS.sub("…", text))
    return _AFTER_COLON.sub(": …", text)[:200]


def _document(body: bytes) -> Mapping[str, Any] | None:
    """The JSON object in `body`; None for HTML, emptiness and everything else."""
    try:
        parsed: object = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return cast("Mapping[str, Any]", parsed) if isinstance(parsed, dict) else None


def _errors(document: Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
    listed: object = (document or {}).get("errors")
    if not isinstance(listed, list):
        return []
    items = cast("list[object]", listed)
    return [cast("Mapping[str, Any]", item) for item in items if isinstance(item, dict)]


def _not_from_klaviyo(status: int, document: Mapping[str, Any] | None, body: bytes) -> bool:
    """5xx, redirects, and pages of something in front of Klaviyo, such as Cloudflare's challenge with 403."""
    return status < 400 or status >= 500 or status in (408, 410, 425) or (document is None and bool(body.strip()))


def _revision_retired(status: int, errors: Sequence[Mapping[str, Any]]) -> bool:
    """Our revision is refused: no row is at fault, so nothing may become a dead letter for it."""
    return status == 400 and any("revision" in f"{error.get('code')} {error.get('source')}".lower() for error in errors)


def _summary(status: int, errors: Sequence[Mapping[str, Any]]) -> str:
    texts = list(dict.fromkeys(str(_problem(error)) for error in errors))
    more = f" and {len(texts) - 3} more" if len(texts) > 3 else ""
    return f"Klaviyo answered {status}" + (f": {'; '.join(texts[:3])}{more}" if texts else "")


def _problem(error: Mapping[str, Any]) -> Problem:
    return Problem(_pointer(error) or str(error.get("code") or "request"), _what(error))


def _what(error: Mapping[str, Any]) -> str:
    title = masked(str(error.get("title") or error.get("code") or "refused"))
    detail = masked(str(error.get("detail") or ""))
    return title if not detail or detail == title else f"{title} {detail}"


def _pointer(error: Mapping[str, Any]) -> str:
    source: object = error.get("source")
    if not isinstance(source, dict):
        return ""
    fields = cast("Mapping[str, object]", source)
    return str(fields.get("pointer") or fields.get("parameter") or "")[:300]


def _duplicate_profile_id(errors: Sequence[Mapping[str, Any]]) -> str | None:
    """Klaviyo usually says whose identifier it is, but not always (rudder-transformer#2466)."""
    for error in errors:
        meta: object = error.get("meta")
        if isinstance(meta, dict):
            found = cast("Mapping[str, object]", meta).get("duplicate_profile_id")
            if isinstance(found, str) and found:
                return found
    return None
