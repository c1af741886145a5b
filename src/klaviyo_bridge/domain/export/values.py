"""Reading single values of Klaviyo's resources for a row, whatever they turn out to be."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, cast

import orjson

_UNFIT = re.compile(r"[^a-z0-9]+")


def text(value: object) -> str | None:
    """Text as it is, a number as text, anything else as JSON; None stays None."""
    if value is None or isinstance(value, str):
        return _storable(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return json(value)
    return repr(int(value)) if isinstance(value, float) and value.is_integer() else repr(value)


def json(value: object) -> str | None:
    """`value` as JSON text; None stays None."""
    return None if value is None else _storable(orjson.dumps(value, default=str).decode())


def number(value: object) -> float | None:
    """A finite number, also one written as text."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except ValueError:
        return None
    return found if math.isfinite(found) else None


def moment(value: object) -> datetime | None:
    """An aware UTC time from ISO text; None for anything else."""
    if not isinstance(value, str):
        return None
    try:
        parsed = datetime.fromisoformat(value)
        return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def inner(value: Mapping[str, Any], *path: str) -> dict[str, Any]:
    """The object at `path`, empty when there is none."""
    found: object = value
    for name in path:
        found = cast(Mapping[str, object], found).get(name) if isinstance(found, Mapping) else None
    return cast(dict[str, Any], found) if isinstance(found, dict) else {}


def column_name(prefix: str, name: str) -> str | None:
    """`name` as a column: lower case, underscores, at most 60 characters; None when nothing is left."""
    cleaned = _UNFIT.sub("_", name.lower()).strip("_")
    return f"{prefix}{cleaned}"[:60].rstrip("_") if cleaned else None


def _storable(value: str | None) -> str | None:
    """Postgres stores no NUL character, in text or in JSON."""
    return None if value is None else value.replace("\x00", "").replace("\\u0000", "")
