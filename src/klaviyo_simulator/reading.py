"""Reading parsed JSON whose shape has been checked, or does not matter."""

from __future__ import annotations

from typing import Any, cast

from klaviyo_simulator.errors import JsonObject


def within(value: Any, *path: str) -> Any:
    """The member at the end of the path; None where something on the way is missing or null."""
    for name in path:
        if not isinstance(value, dict):
            return None
        value = cast(JsonObject, value).get(name)
    return value


def object_in(value: Any, *path: str) -> JsonObject:
    """As `within`, for an object; empty when it is missing or null."""
    found = within(value, *path)
    return found if isinstance(found, dict) else {}  # pyright: ignore[reportUnknownVariableType]


def list_in(value: Any, *path: str) -> list[Any]:
    """As `within`, for an array; empty when it is missing or null."""
    found = within(value, *path)
    return found if isinstance(found, list) else []  # pyright: ignore[reportUnknownVariableType]


def as_list(value: Any) -> list[Any]:
    """A list as it is, None as an empty one, anything else as its only member."""
    if value is None:
        return []
    return list(cast("list[Any]", value)) if isinstance(value, list) else [value]
