"""Who may call now: every call waits here for the window of its operation, in the order of priority.

The rules are in `lane`, the state is in a store that all processes share; this module only waits. One
caller per lane and process asks the store, the one whose turn it is.
"""

from __future__ import annotations

import heapq
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Protocol, TypeVar

from klaviyo_bridge.errors import RateLimited
from klaviyo_bridge.klaviyo import lane as lanes
from klaviyo_bridge.klaviyo.errors import retry_after
from klaviyo_bridge.klaviyo.lane import Lane, Priority
from klaviyo_bridge.klaviyo.limits import MINUTE, Limit, limit_for

DEFAULT_DEADLINE = 20.0
"""Seconds a caller waits at most unless it says otherwise; then its work goes back to the queue."""

T = TypeVar("T")
Change = Callable[[bytes | None, int], tuple[bytes | None, T]]
Query = Sequence[tuple[str, str]]


class GateStore(Protocol):
    """Where lanes live. `infra.stores.gate_store` is one for databases, `MemoryGateStore` one for tests."""

    def update(self, account: str, lane: str, change: Change[T]) -> T:
        """Hand `change` the stored bytes and the time in ms, alone among all processes.

        Its first result is stored unless it is None, its second returned. The clock is one that all
        processes read and that does not follow the wall, where there is such a clock. Raises Unavailable
        when the state cannot be read or kept: without it nobody may call.
        """
        ...


class MemoryGateStore:
    """Lanes of this process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._states: dict[tuple[str, str], bytes] = {}

    def update(self, account: str, lane: str, change: Change[T]) -> T:
        with self._lock:
            state, result = change(self._states.get((account, lane)), round(self._clock() * 1000))
            if state is not None:
                self._states[account, lane] = state
            return result


@dataclass(slots=True)
class _Line:
    """Who waits for one lane in this process; the first of the heap asks the store for all."""

    turn: threading.Condition = field(default_factory=threading.Condition)
    waiting: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    ceiling: float = 1.0
    announced: str = ""


class Gate:
    """The gate of one account."""

    def __init__(
        self,
        account: str,
        store: GateStore,
        *,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
        default_deadline: float = DEFAULT_DEADLINE,
    ) -> None:
        self._account = account
        self._store = store
        self._clock = clock
        self._jitter = jitter
        self._default_deadline = default_deadline
        self._numbers = count()
        self._lines: dict[str, _Line] = {}
        self._lock = threading.Lock()

    def acquire(
        self,
        operation: str,
        query: Query = (),
        *,
        priority: Priority = Priority.LIVE,
        deadline: float | None = None,
    ) -> float:
        """Wait for a place in every window of the call; the seconds it took.

        Raises RateLimited as soon as it is clear that `deadline` seconds are not enough, and Unavailable
        when the state cannot be read.
        """
        started = self._clock()
        until = started + (self._default_deadline if deadline is None else deadline)
        for limit in _counted_in(operation, query):
            self._wait(limit, priority, until)
        return self._clock() - started

    def learn(self, operation: str, query: Query = (), *, status: int, headers: Mapping[str, str]) -> None:
        """A 429 pauses the lane for everybody; a lower limit in the headers is kept from now on."""
        limit = limit_for(operation, query)
        if status == 429:
            self._pause(limit, retry_after(headers))
            return
        line = self._line(limit.lane)
        announced = headers.get("RateLimit-Limit") or ""
        if announced != line.announced:
            line.announced = announced
            line.ceiling = _ceiling(announced, limit)

    def _wait(self, limit: Limit, priority: Priority, until: float) -> None:
        line = self._line(limit.lane)
        me = (int(priority), next(self._numbers))
        with line.turn:
            heapq.heappush(line.waiting, me)
        try:
            while True:
                self._my_turn(line, me, limit, until)
                wait = self._ask(limit, priority, line.ceiling)
                if wait <= 0:
                    return
                self._pass_time(line, me, limit, wait, until)
        finally:
            with line.turn:
                line.waiting.remove(me)
                heapq.heapify(line.waiting)
                line.turn.notify_all()

    def _my_turn(self, line: _Line, me: tuple[int, int], limit: Limit, until: float) -> None:
        with line.turn:
            left = until - self._clock()
            if not line.turn.wait_for(lambda: line.waiting[0] == me, timeout=max(left, 0)):
                raise RateLimited(f"{limit.lane}: others wait for its window", retry_after=1.0)

    def _pass_time(self, line: _Line, me: tuple[int, int], limit: Limit, wait: float, until: float) -> None:
        """Sleep, unless somebody more urgent comes. Without hope of making it in time, give up now."""
        if self._clock() + wait > until:
            raise RateLimited(f"{limit.lane}: its window is full for {wait:.1f} s", retry_after=wait)
        with line.turn:
            line.turn.wait_for(lambda: line.waiting[0] != me, timeout=wait)

    def _ask(self, limit: Limit, priority: Priority, ceiling: float) -> float:
        def change(stored: bytes | None, now: int) -> tuple[bytes | None, int]:
            before = lanes.decode(stored, limit)
            after, wait = lanes.admit(before, limit, priority=priority, now=now, ceiling=ceiling)
            return None if after is before else lanes.encode(after), wait

        return self._store.update(self._account, limit.lane, change) / 1000

    def _pause(self, limit: Limit, seconds: float | None) -> None:
        def change(stored: bytes | None, now: int) -> tuple[bytes, None]:
            before: Lane = lanes.decode(stored, limit)
            after = lanes.throttled(before, limit, retry_after=seconds, now=now, jitter=self._jitter())
            return lanes.encode(after), None

        self._store.update(self._account, limit.lane, change)

    def _line(self, lane: str) -> _Line:
        with self._lock:
            return self._lines.setdefault(lane, _Line())


def _counted_in(operation: str, query: Query) -> list[Limit]:
    """The lanes of a call: a stricter variant counts for the plain operation as well."""
    limit, plain = limit_for(operation, query), limit_for(operation)
    return [limit] if limit.lane == plain.lane else [limit, plain]


def _ceiling(announced: str, limit: Limit) -> float:
    """The share that `RateLimit-Limit: 75, 75;w=1, 750;w=60` leaves of the documented minute, at most 1."""
    for part in announced.split(","):
        calls, _, window = part.strip().partition(";w=")
        if window == f"{MINUTE:.0f}" and calls.isdigit() and int(calls) > 0:
            return min(1.0, max(lanes.SMALLEST_SHARE, int(calls) / limit.steady))
    return 1.0
