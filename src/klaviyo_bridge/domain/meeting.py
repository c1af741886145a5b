"""A profile of Klaviyo's meets the row it belongs to: what is known about the person then, and what is decided."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from klaviyo_bridge.domain.merge import Times
from klaviyo_bridge.domain.profile import Identity, Person
from klaviyo_bridge.domain.values import Json


@dataclass(frozen=True, slots=True)
class Standing:
    """A person at the moment of the decision.

    `pending`: fields that writes of ours will still set, or have set so lately that the read may not show it.
    """

    person: Person
    pending: Mapping[str, Json]


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """A value that lost: whose won, why, and both values, masked."""

    mapping: str
    key: str
    field: str
    winner: str
    because: str
    ours: str | None
    theirs: str | None
    times: Times


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """`base`: what both sides hold now. `incoming`: what is about to be written to the application.

    `recheck`: a field could not be compared, so the profile has to be read again.
    """

    base: Mapping[str, Json] = field(default_factory=dict[str, Json])
    incoming: Mapping[str, Json] = field(default_factory=dict[str, Json])
    overrides: Sequence[Override] = ()
    recheck: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Encounter:
    """Who was read, under which Klaviyo id, as of when."""

    identity: Identity
    klaviyo_id: str
    updated: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What became of `incoming`: `base` was written to the application, the rest was not."""

    person_id: int
    base: Mapping[str, Json] = field(default_factory=dict[str, Json])
    overrides: Sequence[Override] = ()
    recheck: bool = False
