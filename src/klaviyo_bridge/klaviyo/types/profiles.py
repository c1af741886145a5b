"""People and the jobs about them, as Klaviyo tells them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from klaviyo_bridge.klaviyo.types.reading import (
    NOTHING,
    Json,
    attributes_of,
    count,
    json_object,
    moment,
)


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
            subscriptions=json_object(attributes.get("subscriptions")),
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
            total_count=count(attributes.get("total_count")),
            completed_count=count(attributes.get("completed_count")),
            failed_count=count(attributes.get("failed_count")),
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
            total_count=count(attributes.get("total_count")),
            completed_count=count(attributes.get("completed_count")),
            skipped_count=count(attributes.get("skipped_count")),
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
        source = json_object(attributes.get("source")) or NOTHING
        return cls(
            code=str(attributes.get("code") or ""),
            title=str(attributes.get("title") or ""),
            pointer=str(source.get("pointer") or ""),
            original_payload=json_object(attributes.get("original_payload")),
        )
