"""What comes back from Klaviyo, as values. Lenient on purpose: an unknown field, an unknown status or a
missing timestamp must never cost us a page, nor make an accepted import look refused.
"""

from __future__ import annotations

from klaviyo_bridge.klaviyo.types.profiles import ImportJob, RemoteProfile, RowError, SuppressionJob
from klaviyo_bridge.klaviyo.types.reading import Json, attributes_of, moment, related_id, related_ids
from klaviyo_bridge.klaviyo.types.resources import (
    Page,
    RemoteCampaign,
    RemoteEvent,
    RemoteList,
    RemoteMetric,
    RemoteResource,
    RemoteSegment,
)

__all__ = [
    "ImportJob",
    "Json",
    "Page",
    "RemoteCampaign",
    "RemoteEvent",
    "RemoteList",
    "RemoteMetric",
    "RemoteProfile",
    "RemoteResource",
    "RemoteSegment",
    "RowError",
    "SuppressionJob",
    "attributes_of",
    "moment",
    "related_id",
    "related_ids",
]
