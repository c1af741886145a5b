"""What waits, what travels together, and how a row ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum, StrEnum

from klaviyo_bridge.domain.profile import Identity


class Kind(StrEnum):
    """What a row does to the person."""

    PROFILE = "profile"
    EVENT = "event"
    SUBSCRIBE = "subscribe"
    UNSUBSCRIBE = "unsubscribe"
    SUPPRESS = "suppress"
    UNSUPPRESS = "unsuppress"
    ERASE = "erase"


WAITS_FOR: Mapping[Kind, frozenset[Kind]] = {
    Kind.PROFILE: frozenset({Kind.PROFILE, Kind.EVENT}),
    Kind.EVENT: frozenset({Kind.PROFILE}),
}
"""The fence: rows of these kinds, handed in earlier for the same person, end before a row of this kind goes.

Events do not wait for each other: Klaviyo orders them by their own time.
"""


class Lane(StrEnum):
    """The Klaviyo operation a batch goes by; each has limits of its own."""

    UPSERT = "create_or_update_profile"
    IMPORT = "bulk_import_profiles"
    EVENT = "create_event"
    EVENTS = "bulk_create_events"
    SUBSCRIBE = "bulk_subscribe_profiles"
    UNSUBSCRIBE = "bulk_unsubscribe_profiles"
    SUPPRESS = "bulk_suppress_profiles"
    UNSUPPRESS = "bulk_unsuppress_profiles"
    ERASE = "request_profile_deletion"


class Priority(IntEnum):
    """Lower goes first."""

    CONSENT = 0
    ERASURE = 1
    LIVE = 2
    UPSERT = 3
    FULL_SYNC = 4


class RowState(StrEnum):
    """`waiting` and `batched` are open; the others are ends, but a `dead` row may be replayed."""

    WAITING = "waiting"
    BATCHED = "batched"
    DELIVERED = "delivered"
    SUPERSEDED = "superseded"
    DEAD = "dead"
    REFUSED = "refused"
    DISCARDED = "discarded"


class BatchState(StrEnum):
    """sealed -> sending -> (accepted ->) settled; or split into smaller ones."""

    SEALED = "sealed"
    SENDING = "sending"
    ACCEPTED = "accepted"
    SETTLED = "settled"
    SPLIT = "split"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRow:
    """A row about to be acknowledged."""

    kind: Kind
    identity: Identity
    payload: bytes
    priority: Priority
    dedupe_key: str | None = None
    trace: str | None = None


@dataclass(frozen=True, slots=True)
class SourceMark:
    """A row of the application's table as it was taken."""

    mapping: str
    key: str
    fingerprint: bytes


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of rows handed in: `taken` are new on disk, `repeated` were there already,
    `refused` are about people who were erased."""

    taken: int
    repeated: int
    refused: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingRow:
    """A row as the planner sees it; `since` is when it was acknowledged."""

    id: int
    kind: Kind
    person_id: int
    payload: bytes
    since: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Carrier:
    """A row in a batch. `payload` replaces the stored one when older rows (`absorbed`) were merged into it."""

    row_id: int
    person_id: int
    payload: bytes
    absorbed: Sequence[int] = ()
    since: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedBatch:
    """Rows that shall travel in one request (or, in a single-item lane, one job)."""

    lane: Lane
    carriers: Sequence[Carrier]


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A batch in the hands of the one job that may send it; `attempt` is the fencing token."""

    id: str
    account: str
    lane: Lane
    attempt: int
    rows: Sequence[WaitingRow]
    resumed: bool = field(default=False)
    sent_before: datetime | None = None
    accepted_at: datetime | None = None
    job_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How one row ended, why, and (for a profile) who it is at Klaviyo."""

    row_id: int
    state: RowState
    reason: str | None = None
    detail: str | None = None
    klaviyo_id: str | None = None
