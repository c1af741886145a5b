"""How an account stands, in numbers that name nobody."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """How many wait, and since when the oldest does."""

    count: int = 0
    oldest: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Vitals:
    """`waiting` by kind of row, `batches` by lane and state, `beats` (when a pulse last beat) by its name.

    `allowance` is the used part of each operation's steady window, 0 to 1.
    """

    at: datetime
    waiting: Mapping[str, Line]
    batches: Mapping[tuple[str, str], Line]
    dead: int
    inbox: Line
    last_webhook: datetime | None
    beats: Mapping[str, datetime]
    stopped: str | None
    breaker: str = "closed"
    allowance: Mapping[str, float] = field(default_factory=dict[str, float])
