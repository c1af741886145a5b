"""What comes back from Klaviyo, as values. Lenient on purpose: an unknown field, an unknown status or a
missing timestamp must never cost us a page, nor make an accepted import look refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar, cast

Json = dict[str, Any]
T = TypeVar("T")

_NOTHING: Json = {}


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page; `next_cursor` is bare (no URL, no `=`) and None on the last page."""

    items: list[T]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class RemoteProfile:
    """A profile as Klaviyo holds it. `attributes` is everything it sent, known to us or not.

    `subscriptions` is None unless it was asked for; `joined_group_at` is there for members of lists and
    segments only.
    """

    id: str
    attributes: Json
    subscriptions: Json | None = None
    created: datetime | None = None
    updated: datetime | None = None
    joined_group_at: datetime | None = None

    @classmethod
    def parse(cls, resource: Mapping[str, Any]) -> RemoteProfile:
        attributes = attributes_of(resource)
        return cls(
            id=str(resource.get("id") or ""),
            attributes=attributes,
            subscriptions=_object(attributes.get("subscriptions")),
            created=moment(attributes.get("created")),
            updated=moment(attributes.get("updated")),
            joined_group_at=moment(attributes.get("joined_group_at")),
        )


@dataclass(frozen=True, slots=True)
class ImportJob:
    """A bulk import. Ends as `complete` (also with failures), `cancelled`, or by vanishing after 7 days."""

    id: str
    status: str
    total_count: int = 0
    completed_count: int = 0
    failed_count: int = 0
    created_at: datetime | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    expires_at: datetime | None = None

    @classmethod
    def parse(cls, resource: Mapping[str, Any]) -> ImportJob:
        attributes = attributes_of(resource)
        return cls(
            id=str(resource.get("id") or ""),
            status=str(attributes.get("status") or "unknown"),
            total_count=_count(attributes.get("total_count")),
            completed_count=_count(attributes.get("completed_count")),
            failed_count=_count(attributes.get("failed_count")),
            created_at=moment(attributes.get("created_at")),
            started_at=moment(attributes.get("started_at")),
            completed_at=moment(attributes.get("completed_at")),
            expires_at=moment(attributes.get("expires_at")),
        )

    @property
    def finished(self) -> bool:
        return self.status in {"complete", "cancelled"}


@dataclass(frozen=True, slots=True)
class SuppressionJob:
    """A suppress or unsuppress job; slow (hours were seen), so prove it by reading the profile."""

    id: str
    status: str
    total_count: int = 0
    completed_count: int = 0
    skipped_count: int = 0
    created_at: datetime | None = None

    @classmethod
    def parse(cls, resource: Mapping[str, Any]) -> SuppressionJob:
        attributes = attributes_of(resource)
        return cls(
            id=str(resource.get("id") or ""),
            status=str(attributes.get("status") or "unknown"),
            total_count=_count(attributes.get("total_count")),
            completed_count=_count(attributes.get("completed_count")),
            skipped_count=_count(attributes.get("skipped_count")),
            created_at=moment(attributes.get("created_at")),
        )


@dataclass(frozen=True, slots=True)
class RowError:
    """Why one row of an import failed. `original_payload` is what we sent, and may be missing."""

    code: str
    title: str
    pointer: str
    original_payload: Json | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, resource: Mapping[str, Any]) -> RowError:
        attributes = attributes_of(resource)
        source = _object(attributes.get("source")) or _NOTHING
        return cls(
            code=str(attributes.get("code") or ""),
            title=str(attributes.get("title") or ""),
            pointer=str(source.get("pointer") or ""),
            original_payload=_object(attributes.get("original_payload")),
        )


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
            properties=_object(attributes.get("event_properties")) or {},
            time=moment(attributes.get("datetime")) or _from_timestamp(attributes.get("timestamp")),
            uuid=_text(attributes.get("uuid")),
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
            relationships=_object(resource.get("relationships")) or {},
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
            opt_in_process=_text(attributes.get("opt_in_process")),
            created=moment(attributes.get("created")),
            updated=moment(attributes.get("updated")),
            profile_count=_maybe_count(attributes.get("profile_count")),
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
            definition=_object(attributes.get("definition")),
            is_active=attributes.get("is_active") is not False,
            is_processing=attributes.get("is_processing") is True,
            is_starred=attributes.get("is_starred") is True,
            created=moment(attributes.get("created")),
            updated=moment(attributes.get("updated")),
            profile_count=_maybe_count(attributes.get("profile_count")),
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
        integration = _object(attributes.get("integration")) or _NOTHING
        return cls(
            id=str(resource.get("id") or ""),
            name=str(attributes.get("name") or ""),
            integration=_text(integration.get("name")),
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


def attributes_of(resource: Mapping[str, Any]) -> Json:
    """The attributes object, empty if Klaviyo sent none."""
    return _object(resource.get("attributes")) or {}


def related_ids(resource: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """Ids of the relationship `name`; empty when Klaviyo sent links only."""
    relationships = _object(resource.get("relationships")) or _NOTHING
    data: object = (_object(relationships.get(name)) or _NOTHING).get("data")
    items = cast("list[object]", data) if isinstance(data, list) else [data]
    found = [_object(item) for item in items]
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


def _from_timestamp(value: object) -> datetime | None:
    if not isinstance(value, int | float):
        return None
    try:
        return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _object(value: object) -> Json | None:
    return cast("Json", value) if isinstance(value, dict) else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _count(value: object) -> int:
    return value if isinstance(value, int) else 0


def _maybe_count(value: object) -> int | None:
    return value if isinstance(value, int) else None
