"""Which column of a query is which part of an event."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class EventMapping:
    """A `query` whose rows are events of one `metric`; the other fields name its columns.

    `cursor` grows with every new row (rows with one cursor are told apart by `unique_id`), so that a walk can be
    taken up again. `value_currency` is a currency itself, such as EUR. `profile` and `properties` go from
    Klaviyo's name to the column.
    """

    name: str
    query: str
    metric: str
    cursor: str
    unique_id: str
    time: str
    profile: Mapping[str, str]
    value: str | None = None
    value_currency: str | None = None
    properties: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column the query has to have."""
        named = [self.cursor, self.unique_id, self.time, *self.profile.values(), *self.properties.values()]
        return tuple(dict.fromkeys([*named, *([self.value] if self.value else [])]))

    def event(self, row: Mapping[str, Any], *, backfill: bool) -> dict[str, object]:
        """The row as `domain.event.event` takes it. A None among the properties is left out."""
        properties = {name: row[column] for name, column in self.properties.items() if row[column] is not None}
        return {
            "metric": self.metric,
            "profile": {name: row[column] for name, column in self.profile.items() if row[column] is not None},
            "unique_id": str(row[self.unique_id]),
            "time": row[self.time],
            "value": row[self.value] if self.value else None,
            "value_currency": self.value_currency,
            "properties": properties,
            "backfill": backfill,
        }


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """One row of the query; `cursor` continues after it."""

    values: Mapping[str, Any]
    cursor: Sequence[Any]
