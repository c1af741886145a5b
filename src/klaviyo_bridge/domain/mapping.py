"""Which column of the application's table is which field at Klaviyo, and who wins when both changed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping as Dict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

import orjson

from klaviyo_bridge.domain.consent import Channel
from klaviyo_bridge.domain.profile import ATTRIBUTES, IDENTIFIERS, LOCATION
from klaviyo_bridge.domain.values import Json


class Owner(StrEnum):
    """Who wins when both sides changed a field."""

    APP = "app"
    KLAVIYO = "klaviyo"
    NEWEST = "newest"


class Direction(StrEnum):
    PUSH = "push"
    PULL = "pull"
    BOTH = "both"


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldRule:
    """One field's column and rules."""

    column: str
    owner: Owner = Owner.NEWEST
    direction: Direction = Direction.BOTH

    @property
    def pushes(self) -> bool:
        return self.direction is not Direction.PULL

    @property
    def pulls(self) -> bool:
        return self.direction is not Direction.PUSH


@dataclass(frozen=True, slots=True, kw_only=True)
class TableMapping:
    """A table of the application: `key` becomes `external_id`, `cursor` is the column that moves on a change.

    `fields` are keyed by flat Klaviyo names: `email`, `location.city`, `properties.plan`. `consent` names the
    columns that are told who may be written to (True or False).
    """

    name: str
    table: str
    key: str
    cursor: str | None
    fields: Dict[str, FieldRule]
    consent: Dict[Channel, str] = field(default_factory=dict[Channel, str])

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column the mapping reads, the key first."""
        named = [rule.column for rule in self.fields.values()]
        extra = [self.cursor] if self.cursor else []
        return tuple(dict.fromkeys([self.key, *extra, *named, *self.consent.values()]))


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRow:
    """A row of the application's table under Klaviyo's names; `cursor` is the raw value to continue after."""

    key: str
    fields: Dict[str, Json]
    changed_at: datetime | None
    cursor: Sequence[Json]
    consent: Dict[Channel, bool | None] = field(default_factory=dict[Channel, bool | None])

    @property
    def fingerprint(self) -> bytes:
        """16 bytes that change when a mapped field does."""
        content = orjson.dumps(dict(self.fields), option=orjson.OPT_SORT_KEYS, default=repr)
        return hashlib.blake2b(content, digest_size=16).digest()


def is_field(name: str) -> bool:
    """Whether `name` is a flat field name that can be mapped."""
    part, _, rest = name.partition(".")
    if rest:
        return part == "properties" or (part == "location" and rest in LOCATION)
    return name in ATTRIBUTES or (name in IDENTIFIERS and name != "external_id")


def nested(fields: Dict[str, Json]) -> dict[str, object]:
    """Flat names as `profile_change` takes them: `location.city` becomes `{"location": {"city": …}}`."""
    result: dict[str, object] = {}
    parts: dict[str, dict[str, Json]] = {}
    for name, value in fields.items():
        part, _, rest = name.partition(".")
        if rest:
            parts.setdefault(part, {})[rest] = value
        else:
            result[name] = value
    return result | parts
