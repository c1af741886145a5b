"""Instants as Klaviyo writes and reads them.

Inside the simulator an instant is seconds since the epoch (UTC).
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import formatdate

_DATETIME = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?")


def iso(seconds: float) -> str:
    """Second precision with `+00:00`, as reads show it."""
    return datetime.fromtimestamp(int(seconds), UTC).isoformat()


def iso_micro(seconds: float) -> str:
    """Microseconds with `+00:00`, as answers to writes show it."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds")


def iso_or_none(seconds: float | None) -> str | None:
    return None if seconds is None else iso(seconds)


def http_date(seconds: float) -> str:
    return formatdate(seconds, usegmt=True)


def looks_like_datetime(text: str) -> bool:
    return _DATETIME.fullmatch(text) is not None


def parse_instant(text: str) -> float:
    """Seconds of an ISO 8601 instant; without an offset it is taken as UTC. ValueError when it is none."""
    if not looks_like_datetime(text):
        raise ValueError(text)
    parsed = datetime.fromisoformat(text.replace(" ", "T"))
    if parsed.tzinfo is None:
        parsed = parsed.replace(tzinfo=UTC)
    return parsed.timestamp()
