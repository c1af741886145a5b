"""Who may call now: waits for the window of one operation, in the order of priority."""

from __future__ import annotations

from enum import IntEnum


class Priority(IntEnum):
    """Who goes first when a window is short; the smaller number."""

    CONSENT = 0
    ERASURE = 1
    LIVE = 2
    UPSERT = 3
    FULL_SYNC = 4
