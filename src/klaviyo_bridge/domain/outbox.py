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


class Lane(StrEnum):
    """The Klaviyo operation a batch goes by; each has limits of its own."""

    UPSERT = "create_or_update_profile"
    IMPORT = "bulk_import_profiles"
    EVENT = "create_event"
    EVENTS = "bulk_create_events"


class Priority(IntEnum):
    """Lower goes first."""

    CONSENT = 0
    ERASURE = 1
    LIVE = 2
    UPSERT = 3
    FULL_SYNC = 4


class RowState(StrEnum):
    """`waiting` and `batched` are open; the others are ends."""

    WAITING = "waiting"
    BATCHED = "batched"
    DELIVERED = "delivered"
    SUPERSEDED = "superseded"
    DEAD = "dead"
    REFUSED = "refused"


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
    """What became of rows handed in: `taken` are new on disk, `repeated` were there already.

    `contested`: by index, why an identifier of the row belongs to somebody else, so that it was not taken.
    """

    taken: int
    repeated: int
    contested: Mapping[int, str] = field(default_factory=dict[int, str])


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingRow:
    """A row as the planner sees it."""

    id: int
    kind: Kind
    person_id: int
    payload: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Carrier:
    """A row in a batch. `payload` replaces the stored one when older rows (`absorbed`) were merged into it."""

    row_id: int
    person_id: int
    payload: bytes
    absorbed: Sequence[int] = ()


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
    job_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How one row ended, why, and (for a profile) who it is at Klaviyo."""

    row_id: int
    state: RowState
    reason: str | None = None
    detail: str | None = None
    klaviyo_id: str | None = None
