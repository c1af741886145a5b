"""Metrics and events as stored. What storing one sets off is in `tracking`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import orjson

from klaviyo_simulator.errors import JsonObject
from klaviyo_simulator.ordering import Ordering

_NOT_SLUG = re.compile(r"[^a-z0-9]+")


@dataclass(slots=True)
class Integration:
    id: str
    key: str
    name: str
    category: str

    def document(self) -> JsonObject:
        return {
            "object": "integration",
            "id": self.id,
            "key": self.key,
            "name": self.name,
            "category": self.category,
        }


@dataclass(slots=True)
class Metric:
    id: str
    name: str
    integration: Integration
    created: float
    updated: float

    @property
    def topic(self) -> str:
        """The webhook topic of its events."""
        return f"event:{self.integration.key}.{slug(self.name)}"


def slug(name: str) -> str:
    return _NOT_SLUG.sub("_", name.lower()).strip("_")


class Attribution(NamedTuple):
    """The message an event is credited to."""

    message_event_id: str
    campaign_id: str | None
    flow_id: str | None
    message_id: str


class Event:
    """`properties` is JSON without `$value` and friends, which are added when it is shown."""

    __slots__ = (
        "attribution",
        "currency",
        "id",
        "metric_id",
        "profile_id",
        "properties",
        "timestamp",
        "unique_id",
        "value",
    )

    def __init__(
        self,
        event_id: str,
        *,
        profile_id: str,
        metric_id: str,
        timestamp: int,
        properties: bytes,
        unique_id: str | None = None,
        value: float | None = None,
        currency: str | None = None,
        attribution: Attribution | None = None,
    ) -> None:
        self.id = event_id
        self.profile_id = profile_id
        self.metric_id = metric_id
        self.timestamp = timestamp
        self.properties = properties
        self.unique_id = unique_id
        self.value = value
        self.currency = currency
        self.attribution = attribution

    def read_properties(self) -> JsonObject:
        """As the API shows them, with `$value`, `$value_currency` and `$event_id`."""
        shown: JsonObject = orjson.loads(self.properties)
        if self.value is not None:
            shown["$value"] = self.value
        if self.currency is not None:
            shown["$value_currency"] = self.currency
        shown["$event_id"] = self.unique_id if self.unique_id is not None else str(self.timestamp)
        return shown


@dataclass(slots=True)
class MetricStore:
    by_id: dict[str, Metric] = field(default_factory=dict[str, Metric])
    by_name: dict[tuple[str, str], Metric] = field(default_factory=dict[tuple[str, str], Metric])

    def __iter__(self) -> Iterator[Metric]:
        return iter(self.by_id.values())

    def add(self, metric: Metric) -> Metric:
        self.by_id[metric.id] = metric
        self.by_name[metric.integration.key, metric.name] = metric
        return metric

    def find(self, key: str, name: str) -> Metric | None:
        return self.by_name.get((key, name))


class EventStore:
    """All events of one account, in time order by account, metric and profile."""

    def __init__(self) -> None:
        self.by_id: dict[str, Event] = {}
        self._seen: dict[str, set[tuple[str, str | int]]] = {}
        self._timeline = self._new_ordering()
        self._by_metric: dict[str, Ordering] = {}
        self._by_profile: dict[str, list[Event]] = {}

    def __len__(self) -> int:
        return len(self.by_id)

    def __iter__(self) -> Iterator[Event]:
        return iter(self.by_id.values())

    def has(self, profile_id: str, metric_id: str, key: str | int) -> bool:
        """Whether an event with this `unique_id` (or second) is stored for the profile and metric."""
        seen = self._seen.get(profile_id)
        return seen is not None and (metric_id, key) in seen

    def add(self, event: Event) -> None:
        self.by_id[event.id] = event
        key = event.unique_id if event.unique_id is not None else event.timestamp
        self._seen.setdefault(event.profile_id, set()).add((event.metric_id, key))
        self._timeline.add((event.timestamp, event.id))
        self._metric_ordering(event.metric_id).add((event.timestamp, event.id))
        self._by_profile.setdefault(event.profile_id, []).append(event)

    def of_profile(self, profile_id: str) -> list[Event]:
        return self._by_profile.get(profile_id, [])

    def ordered(self, *, metric_id: str | None = None, profile_id: str | None = None) -> Ordering:
        """Keys (timestamp, event id)."""
        if profile_id is not None:
            mine = self.of_profile(profile_id)
            return Ordering(
                (event.timestamp, event.id) for event in mine if metric_id is None or event.metric_id == metric_id
            )
        return self._timeline if metric_id is None else self._metric_ordering(metric_id)

    def of_metric(self, metric_id: str, *, start: float, end: float) -> Iterator[Event]:
        """Ascending, start included, end excluded."""
        for key in self._metric_ordering(metric_id).walk(after=(start, ""), before=(end, "")):
            yield self.by_id[key[-1]]

    def move(self, source_id: str, target_id: str) -> None:
        """Give the events of a merged profile to the other."""
        events = self._by_profile.pop(source_id, [])
        for event in events:
            event.profile_id = target_id
        self._by_profile.setdefault(target_id, []).extend(events)
        self._seen.setdefault(target_id, set()).update(self._seen.pop(source_id, set()))

    def remove_profile(self, profile_id: str) -> int:
        """Forget all events of a deleted profile; how many there were."""
        events = self._by_profile.pop(profile_id, [])
        self._seen.pop(profile_id, None)
        for event in events:
            del self.by_id[event.id]
        return len(events)

    def _metric_ordering(self, metric_id: str) -> Ordering:
        ordering = self._by_metric.get(metric_id)
        if ordering is None:
            ordering = self._by_metric[metric_id] = self._new_ordering()
        return ordering

    def _new_ordering(self) -> Ordering:
        return Ordering(current=lambda key: key[-1] in self.by_id)
