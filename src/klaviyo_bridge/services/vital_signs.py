"""An account's vital signs: read when somebody asks, and kept for as long as reading them was dear."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from threading import Lock
from typing import Protocol

from klaviyo_bridge.domain.vitals import Line, Vitals

KEPT_SECONDS = 1.0
COST_SHARE = 20
"""A reading is kept for twenty times what it cost: looking takes a twentieth of one connection's time at most."""
NOTED_EVERY = 15.0  # seconds between two notes of one pulse
_BREAKER = {"closed": 0.0, "half-open": 0.5, "open": 1.0}

Reading = tuple[float, Mapping[str, str]]


class Store(Protocol):
    """Where the signs are. `infra.stores.vitals.VitalsStore` is one."""

    def read(self, account: str) -> Vitals: ...
    def note_beat(self, account: str, pulse: str) -> None: ...


class VitalSigns:
    """Reads one account's signs; safe to call from several threads. `pulses`: name to pace in seconds."""

    def __init__(
        self,
        account: str,
        store: Store,
        allowance: Callable[[], Mapping[str, float]],
        pulses: Mapping[str, float],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.pulses = pulses
        self._account = account
        self._store = store
        self._allowance = allowance
        self._clock = clock
        self._lock = Lock()
        self._last: Vitals | None = None
        self._good_until = float("-inf")
        self._noted: dict[str, float] = {}

    def read(self) -> Vitals:
        """The signs, a second old at most unless they are dear to read."""
        with self._lock:
            started = self._clock()
            if self._last is None or started >= self._good_until:
                self._last = replace(self._store.read(self._account), allowance=self._allowance())
                cost = self._clock() - started
                self._good_until = self._clock() + max(KEPT_SECONDS, COST_SHARE * cost)
            return self._last

    def beat(self, pulse: str) -> None:
        """A pulse beat in this process; now and then that is noted where every process sees it."""
        due = self._noted.get(pulse, float("-inf")) + NOTED_EVERY
        if pulse in self.pulses and self._clock() >= due:
            self._noted[pulse] = self._clock()
            self._store.note_beat(self._account, pulse)


def lateness(vitals: Vitals, pulses: Mapping[str, float]) -> dict[str, float]:
    """Per pulse that ever beat, the seconds it is overdue; 0 while on time."""
    return {
        name: max(0.0, _age(vitals, vitals.beats[name]) - 2 * max(every, NOTED_EVERY))
        for name, every in pulses.items()
        if name in vitals.beats
    }


def readings(vitals: Vitals, pulses: Mapping[str, float]) -> dict[str, Iterable[Reading]]:
    """What the gauges show, by the names of `infra.telemetry.catalogue`."""

    def age(line: Line) -> float:
        return _age(vitals, line.oldest) if line.oldest else 0.0

    lanes: dict[str, float] = {}
    for (lane, _), line in vitals.batches.items():
        lanes[lane] = max(lanes.get(lane, 0.0), age(line))
    waiting = {"profile": Line(), "event": Line(), **vitals.waiting}
    found: dict[str, Iterable[Reading]] = {
        "klaviyo_bridge.rows.waiting": [(line.count, {"kind": kind}) for kind, line in waiting.items()],
        "klaviyo_bridge.rows.oldest": [(age(line), {"kind": kind}) for kind, line in waiting.items()],
        "klaviyo_bridge.rows.dead": [(vitals.dead, {})],
        "klaviyo_bridge.batches.open": [
            (line.count, {"lane": lane, "state": state}) for (lane, state), line in vitals.batches.items()
        ],
        "klaviyo_bridge.batches.oldest": [(seconds, {"lane": lane}) for lane, seconds in lanes.items()],
        "klaviyo_bridge.allowance.used": [(used, {"operation": name}) for name, used in vitals.allowance.items()],
        "klaviyo_bridge.breaker.open": [(_BREAKER.get(vitals.breaker, 1.0), {})],
        "klaviyo_bridge.account.stopped": [(float(vitals.stopped is not None), {})],
        "klaviyo_bridge.inbox.waiting": [(vitals.inbox.count, {})],
        "klaviyo_bridge.inbox.oldest": [(age(vitals.inbox), {})],
        "klaviyo_bridge.schedule.late": [(late, {"pulse": name}) for name, late in lateness(vitals, pulses).items()],
    }
    if vitals.last_webhook is not None:
        found["klaviyo_bridge.webhook.silence"] = [(_age(vitals, vitals.last_webhook), {})]
    return found


def _age(vitals: Vitals, since: datetime) -> float:
    return max(0.0, (vitals.at - since).total_seconds())
