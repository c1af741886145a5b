"""Rows that will never work as they stand: what is told of one, and which are meant."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from klaviyo_bridge.domain.outbox import Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A row that Klaviyo or a rule of ours refused; `detail` holds none of the person's data, `payload` does."""

    id: int
    kind: Kind
    reason: str | None
    detail: str | None
    created_at: datetime
    died_at: datetime | None
    payload: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which dead letters: all that fit every field given."""

    reason: str | None = None
    kind: Kind | None = None
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Replayed:
    """`waiting` go again; `superseded` had nothing left that newer rows have not written."""

    waiting: int = 0
    superseded: int = 0

    def __add__(self, other: Replayed) -> Replayed:
        return Replayed(self.waiting + other.waiting, self.superseded + other.superseded)
