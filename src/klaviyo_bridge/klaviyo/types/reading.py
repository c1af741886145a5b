"""Reading single values out of Klaviyo's resources, whatever they turn out to be."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, cast

Json = dict[str, Any]

NOTHING: Json = {}


def attributes_of(resource: Mapping[str, Any]) -> Json:
    """The attributes object, empty if Klaviyo sent none."""
    return json_object(resource.get("attributes")) or {}


def related_ids(resource: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """Ids of the relationship `name`; empty when Klaviyo sent links only."""
    relationships = json_object(resource.get("relationships")) or NOTHING
    data: object = (json_object(relationships.get(name)) or NOTHING).get("data")
    items = cast("list[object]", data) if isinstance(data, list) else [data]
    found = [json_object(item) for item in items]
    return tuple(str(item["id"]) for item in found if item and item.get("id"))


def related_id(resource: Mapping[str, Any], name: str) -> str | None:
    """The first of `related_ids`, or None."""
    return next(iter(related_ids(resource, name)), None)


def moment(value: object) -> datetime | None:
    """An aware UTC time from ISO text; None for null, for nonsense and for times of other worlds."""
    if not isinstance(value, str):
        return None
    try:
        parsed = datetime.fromisoformat(value)
        return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def from_timestamp(value: object) -> datetime | None:
    if not isinstance(value, int | float):
        return None
    try:
        return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def json_object(value: object) -> Json | None:
    return cast("Json", value) if isinstance(value, dict) else None


def text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def count(value: object) -> int:
    return value if isinstance(value, int) else 0


def maybe_count(value: object) -> int | None:
    return value if isinstance(value, int) else None
