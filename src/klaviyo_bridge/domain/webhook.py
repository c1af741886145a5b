"""One event of a webhook delivery, as Klaviyo signs and sends it. There is no profile in it, only its id."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookEvent:
    """`external_id` is Klaviyo's event id and names the event once; `topic` is `event:<integration>.<metric>`."""

    external_id: str
    topic: str
    payload: Mapping[str, Any]

    @property
    def profile_id(self) -> str | None:
        """Klaviyo's id of the person."""
        return self._related("profile")

    @property
    def metric_id(self) -> str | None:
        return self._related("metric")

    @property
    def properties(self) -> Mapping[str, Any]:
        return _object(_object(self._data.get("attributes")).get("event_properties"))

    @property
    def _data(self) -> Mapping[str, Any]:
        return _object(self.payload.get("data"))

    def _related(self, name: str) -> str | None:
        related = _object(_object(_object(self._data.get("relationships")).get(name)).get("data"))
        identifier = related.get("id")
        return identifier if isinstance(identifier, str) else None


def _object(value: object) -> Mapping[str, Any]:
    return cast(Mapping[str, Any], value) if isinstance(value, Mapping) else {}
