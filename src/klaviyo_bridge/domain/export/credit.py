"""Which campaign or flow an event belongs to, by its properties."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from klaviyo_bridge.domain.export.values import inner, text


@dataclass(frozen=True, slots=True, kw_only=True)
class Credit:
    """At most one of `campaign_id` and `flow_id` is there. `event_id` is the message event that is credited."""

    campaign_id: str | None = None
    flow_id: str | None = None
    message_id: str | None = None
    variation: str | None = None
    event_id: str | None = None


def credit_of(properties: Mapping[str, Any]) -> Credit:
    """From `$flow`, `$campaign` and `$message`, else from the attribution block (`$attribution`)."""
    block = inner(properties, "$attribution")
    flow = text(properties.get("$flow") or properties.get("$attributed_flow") or block.get("$attributed_flow"))
    message = text(
        properties.get("$message") or properties.get("$attributed_message") or block.get("$attributed_message")
    )
    variation = text(
        properties.get("$variation") or properties.get("$attributed_variation") or block.get("$attributed_variation")
    )
    return Credit(
        campaign_id=None if flow is not None else text(properties.get("$campaign")) or message,
        flow_id=flow,
        message_id=message if flow is not None else None,
        variation=variation,
        event_id=text(block.get("$attributed_event_id") or properties.get("$attributed_event_id")),
    )
