"""The steps of a delivery, and the time one attempt may take."""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import StrEnum

from klaviyo_bridge.errors import Unavailable

LEASE_SECONDS = 120.0
"""An attempt sends nothing later than this after its start; `rescue` takes the batch over much later."""


class Step(StrEnum):
    """Where a delivery stands. A process may die between any two of them."""

    CLAIMED = "claimed"
    BUILT = "built"
    ANSWERED = "answered"
    WRITTEN = "written"
    POLLED = "polled"
    ERRORS_READ = "errors_read"
    SETTLED = "settled"


Checkpoint = Callable[[Step], None]
"""Called as each step is reached. The product passes `unwatched`; the crash tests one that kills the process."""


def unwatched(_step: Step) -> None:
    """Nobody looks."""


class Lease:
    """The time of one attempt: a process that was frozen and thawed must not send what another has resent."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, *, seconds: float = LEASE_SECONDS) -> None:
        self._clock = clock
        self._until = clock() + seconds

    def check(self) -> None:
        """Raise Unavailable when the time is over; the rest goes by another attempt."""
        if self._clock() >= self._until:
            raise Unavailable("this attempt took too long; what is left goes by another", retry_after=0.0)
