"""What a segment is made of: groups that must all hold, of conditions of which one must hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

Condition: TypeAlias = Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A segment to be made. `groups` are joined by "and", the conditions of one group by "or"."""

    name: str
    groups: Sequence[Sequence[Condition]]

    @property
    def definition(self) -> Mapping[str, object]:
        """As Klaviyo takes it."""
        return {"condition_groups": [{"conditions": [dict(c) for c in group]} for group in self.groups]}


def on_list(list_id: str, *, member: bool = True) -> Condition:
    """Whether the person is on the list (or in the segment)."""
    return {"type": "profile-group-membership", "is_member": member, "group_ids": [list_id]}


def has_property(name: str, value: str) -> Condition:
    """A property of the profile equals the text."""
    wanted = {"type": "string", "operator": "equals", "value": value}
    return {"type": "profile-property", "property": f"properties['{_quoted(name)}']", "filter": wanted}


def did(metric_id: str, *, times: int = 1, within_days: int | None = None) -> Condition:
    """The person did it at least so many times: ever, or within the last days."""
    ever: Mapping[str, object] = {"type": "date", "operator": "alltime"}
    lately: Mapping[str, object] = {"type": "date", "operator": "in-the-last", "unit": "day", "quantity": within_days}
    return _metric(metric_id, "count", times, ever if within_days is None else lately)


def _metric(
    metric_id: str, measurement: Literal["count", "sum"], least: float, timeframe: Mapping[str, object]
) -> Condition:
    return {
        "type": "profile-metric",
        "metric_id": metric_id,
        "measurement": measurement,
        "measurement_filter": {"type": "numeric", "operator": "greater-than-or-equal", "value": least},
        "timeframe_filter": timeframe,
        "metric_filters": None,
    }


def _quoted(name: str) -> str:
    return name.replace("\\", "\\\\").replace("'", "\\'")
