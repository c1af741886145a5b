"""How much Klaviyo takes: calls per window for each operation, and sizes for each request.

Facts and look-ups only; who waits for a window is `gate`, who fills a request is `packing`. Windows are
fixed ones of 1 s, 60 s and sometimes a day, counted per account and operation
(https://developers.klaviyo.com/en/docs/rate_limits_and_error_handling).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from klaviyo_bridge.klaviyo.operations import OPERATIONS, TIERS

SECOND = 1.0
MINUTE = 60.0
DAY = 86_400.0

MAX_PROFILES_PER_IMPORT = 10_000
MAX_EVENTS_PER_REQUEST = 1_000
MAX_SUBSCRIBES_PER_REQUEST = 1_000
MAX_UNSUBSCRIBES_PER_REQUEST = 100
MAX_SUPPRESSIONS_PER_REQUEST = 100
MAX_LIST_MEMBERS_PER_REQUEST = 1_000
MAX_BODY_BYTES = 5_000_000
"""Klaviyo says "5 MB" and not which; the smaller reading is safe."""
MAX_ROW_BYTES = 100_000
"""One profile, and one string of an event."""
MAX_EVENT_PROPERTIES = 400
MAX_UNIQUE_ID_LENGTH = 255
MAX_METRIC_NAME_LENGTH = 127
MAX_ANY_VALUES = 100
"""Values in one `any(...)`; 100 is documented for reports and used in the field elsewhere."""

PAGE_SIZES: Mapping[str, int] = MappingProxyType(
    {
        "get_profiles": 100,
        "get_profiles_for_list": 100,
        "get_profile_ids_for_list": 100,
        "get_profiles_for_segment": 100,
        "get_profile_ids_for_segment": 100,
        "get_bulk_import_profiles_jobs": 100,
        "get_errors_for_bulk_import_profiles_job": 100,
        "get_profiles_for_bulk_import_profiles_job": 100,
        "get_lists": 10,
        "get_segments": 10,
        "get_templates": 10,
        "get_events": 1000,
        "get_campaigns": 100,
        "get_flows": 50,
        "get_actions_for_flow": 50,
        "get_tags": 50,
    }
)
"""Largest `page[size]` per operation; an operation that is not here takes no size."""


@dataclass(frozen=True, slots=True)
class Window:
    """At most `calls` calls in any `seconds` seconds."""

    calls: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Limit:
    """One operation and what Klaviyo allows of it.

    `lane` is the key under which calls are counted: the operation, or a variant of it with lower limits.
    """

    operation: str
    method: str
    path: str
    burst: int
    steady: int
    daily: int | None = None
    lane: str = ""

    @property
    def windows(self) -> tuple[Window, ...]:
        """Shortest first."""
        per_day = () if self.daily is None else (Window(self.daily, DAY),)
        return (Window(self.burst, SECOND), Window(self.steady, MINUTE), *per_day)

    @property
    def reads(self) -> bool:
        """Whether repeating the call changes nothing, whatever became of the first try."""
        return self.method == "GET" or self.operation.startswith("query_") or self.operation == "render_template"


def _limits(table: str) -> dict[str, Limit]:
    rows = (line.split() for line in table.splitlines() if line and not line.startswith("#"))
    return {operation: _limit(operation, *rest) for operation, *rest in rows}


def _limit(operation: str, method: str, path: str, tier: str, daily: str | None = None) -> Limit:
    burst, steady = TIERS[tier]
    return Limit(operation, method, path, burst, steady, int(daily) if daily else None, lane=operation)


LIMITS: Mapping[str, Limit] = MappingProxyType(_limits(OPERATIONS))


_VARIANTS: tuple[tuple[frozenset[str], str, frozenset[str], str], ...] = (
    (frozenset({"get_list"}), "additional-fields[list]", frozenset({"profile_count"}), "XS"),
    (frozenset({"get_segment"}), "additional-fields[segment]", frozenset({"profile_count"}), "XS"),
    (
        frozenset(
            {
                "get_profiles",
                "get_profiles_for_list",
                "get_profile_ids_for_list",
                # Klaviyo names no limit for members of segments; they are taken to be like those of lists.
                "get_profiles_for_segment",
                "get_profile_ids_for_segment",
            }
        ),
        "additional-fields[profile]",
        frozenset({"predictive_analytics"}),
        "M",
    ),
    # The published text says `include=list`, the parameter takes `lists`.
    (frozenset({"get_profile"}), "include", frozenset({"list", "lists", "segment", "segments"}), "XS"),
)
"""Requests that Klaviyo limits more strictly: operations, parameter, values, tier (specification)."""


def limit_for(operation: str, query: Sequence[tuple[str, str]] = ()) -> Limit:
    """The limit of this call; `additional-fields` and `include` can lower it. KeyError if unknown."""
    limit = LIMITS[operation]
    for name, value in query:
        asked = frozenset(value.split(","))
        for operations, parameter, values, tier in _VARIANTS:
            if operation in operations and name == parameter and asked & values:
                burst, steady = TIERS[tier]
                lane = f"{operation}+{min(asked & values)}"
                limit = replace(limit, burst=burst, steady=steady, lane=lane)
    return limit
