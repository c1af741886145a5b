"""Exact sliding windows in constant space, as an algorithm of `pyrate_limiter`.

Klaviyo counts in fixed windows whose edges we do not know. A sliding window is right for every possible
edge: if no 60 s anywhere hold more than the limit, no window of Klaviyo's does. Calls are counted in slices
of time, so a call's place is known to a tenth of a second, and a window costs at most one slice extra
(0.17 % of a minute). Pure: the clock is an argument, in milliseconds.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Sequence
from dataclasses import dataclass

from pyrate_limiter import Rate
from pyrate_limiter.abstracts.algorithm import ADMITTED, Decision, State, StateAlgorithm


@dataclass(frozen=True, slots=True)
class _Ring:
    """Counts of calls by slice: `slots` slices of `slice_ms` each, the newest ones only."""

    slice_ms: int
    slots: int

    @property
    def span_ms(self) -> int:
        """The longest window this ring can hold."""
        return (self.slots - 2) * self.slice_ms


FINE = _Ring(slice_ms=100, slots=652)
"""For windows of up to 65 s."""
COARSE = _Ring(slice_ms=360_000, slots=250)
"""For a day, to six minutes."""


_NEWEST = struct.Struct("<q")


class SlidingWindows(StateAlgorithm):
    """Admits a call when no window of any rate would hold more than its limit.

    The state is one ring for the short windows and, if a rate is longer, one for the day; it does not
    depend on the limits, so they may change between two steps.
    """

    def initial(self, rates: list[Rate]) -> State:
        return (0,) * sum(ring.slots + 1 for ring in _rings(rates))

    def step(self, rates: list[Rate], state: State, now: int, weight: int) -> tuple[State, Decision]:
        counters = _counters(rates, state, now)
        failing, wait = None, 0
        for rate in rates:
            needed = counters[_ring(rate)].wait(rate, now, weight)
            if needed > wait:
                failing, wait = rate, needed
        if failing is not None:
            return state, Decision(failing_rate=failing, retry_after_ms=wait)
        for counter in counters.values():
            counter.add(weight)
        return sum((counter.state() for counter in counters.values()), ()), ADMITTED

    def consumed(self, rates: list[Rate], state: State, now: int) -> int:
        """Calls inside the longest of `rates`."""
        longest = max(rates, key=lambda rate: rate.interval)
        return _counters(rates, state, now)[_ring(longest)].within(longest.interval, now)


def pack_state(state: State) -> bytes:
    """The bytes that `unpack_state` reads: eight for a ring's place in time, two for each count."""
    rings = [FINE] if len(state) == FINE.slots + 1 else [FINE, COARSE]
    packed, start = b"", 0
    for ring in rings:
        newest, *counts = (int(number) for number in state[start : start + ring.slots + 1])
        packed += _NEWEST.pack(newest) + array("H", counts).tobytes()
        start += ring.slots + 1
    return packed


def unpack_state(packed: bytes, rates: Sequence[Rate]) -> State | None:
    """The state in `packed`; None if it belongs to other rates."""
    rings = _rings(rates)
    if len(packed) != sum(_NEWEST.size + 2 * ring.slots for ring in rings):
        return None
    state: list[float] = []
    start = 0
    for ring in rings:
        counts = array("H", packed[start + _NEWEST.size : start + _NEWEST.size + 2 * ring.slots])
        state += [*_NEWEST.unpack_from(packed, start), *counts]
        start += _NEWEST.size + 2 * ring.slots
    return tuple(state)


class _Counter:
    """One ring at the moment `now`: `counts[i]` calls in the slice `newest - len + 1 + i`."""

    def __init__(self, ring: _Ring, stored: Sequence[float], now: int) -> None:
        self._ring = ring
        self._newest = now // ring.slice_ms
        moved = self._newest - int(stored[0])
        # A clock that went back (a reboot) tells nothing about how long ago these calls were: they count
        # as just made, which delays but never exceeds.
        moved = min(max(moved, 0), ring.slots)
        self._counts = [*stored[1 + moved :], *([0] * moved)]

    def add(self, weight: int) -> None:
        self._counts[-1] += weight

    def state(self) -> State:
        return (self._newest, *self._counts)

    def within(self, interval: int, now: int) -> int:
        return int(sum(self._counts[self._oldest(interval, now) :]))

    def wait(self, rate: Rate, now: int, weight: int) -> int:
        """Milliseconds until `weight` more fit; 0 if they fit now."""
        if weight > rate.limit:
            raise ValueError("more at once than the window ever holds")
        oldest = self._oldest(rate.interval, now)
        excess = sum(self._counts[oldest:]) + weight - rate.limit
        if excess <= 0:
            return 0
        for index in range(oldest, len(self._counts)):
            excess -= self._counts[index]
            if excess <= 0:
                return (self._slice(index) + 1) * self._ring.slice_ms + rate.interval - now
        raise AssertionError("a window holds less than it counts")

    def _oldest(self, interval: int, now: int) -> int:
        """Index of the oldest slice of which a part may lie inside the window that ends now."""
        return max(0, (now - interval) // self._ring.slice_ms - self._slice(0))

    def _slice(self, index: int) -> int:
        return self._newest - len(self._counts) + 1 + index


def _ring(rate: Rate) -> _Ring:
    return FINE if rate.interval <= FINE.span_ms else COARSE


def _rings(rates: Sequence[Rate]) -> list[_Ring]:
    return [FINE, COARSE] if any(_ring(rate) is COARSE for rate in rates) else [FINE]


def _counters(rates: Sequence[Rate], state: Sequence[float], now: int) -> dict[_Ring, _Counter]:
    counters: dict[_Ring, _Counter] = {}
    start = 0
    for ring in _rings(rates):
        counters[ring] = _Counter(ring, state[start : start + ring.slots + 1], now)
        start += ring.slots + 1
    return counters
