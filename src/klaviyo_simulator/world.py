"""What all accounts of one simulator share: time, chance, the log.

The switches and the work to be done later.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from klaviyo_simulator.clock import Clock
from klaviyo_simulator.faults import Faults
from klaviyo_simulator.ids import Ids
from klaviyo_simulator.limits import Limiter
from klaviyo_simulator.log import Log
from klaviyo_simulator.scheduler import Scheduler
from klaviyo_simulator.switches import Switches


class World:
    def __init__(
        self,
        *,
        switches: Switches | None = None,
        seed: int = 1,
        wall: Callable[[], float] = time.time,
        speed: float = 1.0,
    ) -> None:
        self.seed = seed
        self.switches = switches or Switches()
        self.clock = Clock(wall=wall, speed=speed)
        self.rng = random.Random(seed)  # noqa: S311 (reproducible chance, not secrecy)
        self.ids = Ids(random.Random(seed + 1))  # noqa: S311
        self.log = Log()
        self.scheduler = Scheduler(now=self.clock.now)
        self.limiter = Limiter(switches=self.switches, clock=self.clock)
        self.faults = Faults(random.Random(seed + 2))  # noqa: S311
        self.public_url = "http://127.0.0.1:8600"

    def now(self) -> float:
        return self.clock.now()
