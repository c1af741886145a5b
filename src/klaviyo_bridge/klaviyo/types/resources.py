"""Everything but people: pages, events, lists, segments, metrics, campaigns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar

from klaviyo_bridge.klaviyo.types.reading import (
    NOTHING,
    Json,
    attributes_of,
    from_timestamp,
    json_object,
    maybe_count,
    moment,
    related_id,
    related_ids,
    text,
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page; `next_cursor` is bare (no URL, no `=`) and None on the last page."""

    items: list[T]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class RemoteEvent:
    """Something that happened. `properties` are Klaviyo's `event_properties`, `$value` included."""

    id: str
    metric_id: str | None
    profile_id: str | None
    properties: Json
    time: datetime | None = None
    uuid: str | None = None

    @classmethod
    def parse(cls, resource: Mapping[str, Any]) -> RemoteEvent:
        attributes = attributes_of(resource)
        return cls(
            id=str(resource.get("id") or ""),
            metric_id=related_id(resource, "metric"),
            profile_id=related_id(resource, "profile"),
            properties=json_object(attributes.get("event_properties")) or {},
            time=moment(attributes.get("datetime")) or from_timestamp(attributes.get("timestamp")),
            uuid=text(attributes.get("uuid")),
        )


@dataclass(frozen=True, slots=True)
class RemoteResource:
    """Anything with an id and a name: list, segment, metric, campaign, template, flow, webhook, account."""

    id: str
    name: str
    attributes: Json
    relationships: Json = field(default_factory=dict[str, Any], repr=False)

    @classmethod
    def parse(cls, resource: Mapping[str, Any]) -> RemoteResource:
        attributes = attributes_of(resource)
        return cls(
            id=str(resource.get("id") or ""),
            name=str(attributes.get("name") or ""),
            attributes=attributes,
            relationships=json_object(resource.get("relationships")) or {},
        )


@dataclass(frozen=True, slots=True)
class RemoteList:
    """A list. `profile_count` only when it was asked for; counting has a limit of its own (15 a minute)."""

    id: str
    name: str
    opt_in_process: str | None = None
    created: datetime | None = None
    updated: datetime | None = None
    profile_count: int | None = None

    @classmethod
    def parse(cls, resource: Mapping[str, Any]) -> RemoteList:
        attributes = attributes_of(resource)
        return cls(
            id=str(resource.get("id") or ""),
            name=str(attributes.get("name") or ""),
            opt_in_process=text(attributes.get("opt_in_process")),
            created=moment(attributes.get("created")),
            updated=moment(attributes.get("updated")),
            profile_count=maybe_count(attributes.get("profile_count")),
        )


@dataclass(frozen=True, slots=True)
class RemoteSegment:
    """A segment. `is_processing` was seen both ways right after a change: no reliable sign of being done."""

    id: str
    name: str
    definition: Json | None = None
    is_active: bool = True
    is_processing: bool = False
    is_starred: bool = False
    created: datetime | None = None
    updated: datetime | None = None
    profile_count: int | None = None

    @classmethod
    def parse(cls, resource: Mapping[str, Any]) -> RemoteSegment:
        attributes = attributes_of(resource)
        return cls(
            id=str(resource.get("id") or ""),
            name=str(attributes.get("name") or ""),
            definition=json_object(attributes.get("definition")),
            is_active=attributes.get("is_active") is not False,
            is_processing=attributes.get("is_processing") is True,
            is_starred=attributes.get("is_starred") is True,
            created=moment(attributes.get("created")),
            updated=moment(attributes.get("updated")),
            profile_count=maybe_count(attributes.get("profile_count")),
        )


@dataclass(frozen=True, slots=True)
class RemoteMetric:
    """A kind of event. Two may share a name and differ by `integration`."""

    id: str
    name: str
    integration: str | None = None
    created: datetime | None = None
    updated: datetime | None = None

    @classmethod
    def parse(cls, resource: Mapping[str, Any]) -> RemoteMetric:
        attributes = attributes_of(resource)
        integration = json_object(attributes.get("integration")) or NOTHING
        return cls(
            id=str(resource.get("id") or ""),
            name=str(attributes.get("name") or ""),
            integration=text(integration.get("name")),
            created=moment(attributes.get("created")),
            updated=moment(attributes.get("updated")),
        )


@dataclass(frozen=True, slots=True)
class RemoteCampaign:
    """A campaign of the classic model. `status` is Klaviyo's own text (`Draft`, `Sent`, ...)."""

    id: str
    name: str
    status: str
    attributes: Json = field(repr=False)
    message_ids: tuple[str, ...] = ()
    scheduled_at: datetime | None = None
    send_time: datetime | None = None
    updated_at: datetime | None = None

    @classmethod
    def parse(cls, resource: Mapping[str, Any]) -> RemoteCampaign:
        attributes = attributes_of(resource)
        return cls(
            id=str(resource.get("id") or ""),
            name=str(attributes.get("name") or ""),
            status=str(attributes.get("status") or "Unknown"),
            attributes=attributes,
            message_ids=related_ids(resource, "campaign-messages"),
            scheduled_at=moment(attributes.get("scheduled_at")),
            send_time=moment(attributes.get("send_time")),
            updated_at=moment(attributes.get("updated_at")),
        )
