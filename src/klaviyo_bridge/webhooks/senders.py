"""Who sent us things we refused lately. An honest sender never comes near the bound: his deliveries verify."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

REFUSALS: Final = 100
"""Refused requests in a row before a sender has to wait."""
PER_SECOND: Final = 2.0
"""Refused requests that are forgiven in a second."""
MOST_SENDERS: Final = 10_000


class Senders:
    """A leaking bucket of refusals per address; the oldest addresses are forgotten first."""

    def __init__(
        self,
        *,
        refusals: int = REFUSALS,
        per_second: float = PER_SECOND,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._refusals = refusals
        self._per_second = per_second
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, sender: str) -> float:
        """Seconds until this sender is listened to again; 0 when he is now."""
        return max(0.0, (self._level(sender) - self._refusals) / self._per_second)

    def refused(self, sender: str) -> None:
        """Note that something of his was refused."""
        self._buckets[sender] = (self._level(sender) + 1, self._clock())
        self._buckets.move_to_end(sender)
        if len(self._buckets) > MOST_SENDERS:
            self._buckets.popitem(last=False)

    def _level(self, sender: str) -> float:
        level, at = self._buckets.get(sender, (0.0, 0.0))
        return max(0.0, level - (self._clock() - at) * self._per_second)
