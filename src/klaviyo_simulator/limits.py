"""Klaviyo's fixed windows per account and operation: burst 1 s, steady 60 s, sometimes a day."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from klaviyo_simulator.clock import Clock
from klaviyo_simulator.switches import Switches


class Limit(NamedTuple):
    """Requests allowed per second, minute and (when not None) day."""

    burst: int
    steady: int
    daily: int | None = None


XS = Limit(1, 15)
S = Limit(3, 60)
M = Limit(10, 150)
L = Limit(75, 750)
XL = Limit(350, 3500)
REPORT = Limit(1, 2, 225)


@dataclass(slots=True)
class Window:
    seconds: int
    limit: int
    start: float = -math.inf
    count: int = 0


class Verdict(NamedTuple):
    """`retry_after` None means allowed; `headers` are those of a non-429 answer."""

    retry_after: int | None
    headers: list[tuple[bytes, bytes]]


class Limiter:
    """One set of windows per (quota, operation); a quota is an account, or an OAuth app within it."""

    def __init__(self, *, switches: Switches, clock: Clock) -> None:
        self._switches = switches
        self._clock = clock
        self._windows: dict[tuple[str, str, Limit], list[Window]] = {}

    def take(self, quota: str, operation: str, limit: Limit) -> Verdict:
        """Count one request and say whether it is allowed."""
        if not self._switches.limits:
            return Verdict(None, _headers(limit, remaining=limit.burst, reset=0))
        now = self._clock.now() if self._switches.limits_simulated_clock else self._clock.wall()
        windows = self._current(quota, operation, limit, now)
        full = [window for window in windows if window.count >= window.limit]
        if not full or self._switches.limits_count_429:
            for window in windows:
                window.count += 1
        if full:
            wait = max(window.start + window.seconds - now for window in full)
            return Verdict(max(1, math.ceil(wait)), [])
        burst = windows[0]
        reset = max(0, int(burst.start + burst.seconds - now))
        return Verdict(None, _headers(limit, remaining=burst.limit - burst.count, reset=reset))

    def snapshot(self) -> list[dict[str, object]]:
        """Every window as it stands, for the page and the control API."""
        return [
            {
                "quota": quota,
                "operation": operation,
                "seconds": window.seconds,
                "limit": window.limit,
                "count": window.count,
                "start": window.start,
            }
            for (quota, operation, _), windows in self._windows.items()
            for window in windows
        ]

    def clear(self) -> None:
        self._windows.clear()

    def _current(self, quota: str, operation: str, limit: Limit, now: float) -> list[Window]:
        key = (quota, operation, limit)
        windows = self._windows.get(key)
        if windows is None:
            windows = self._windows[key] = [Window(seconds, 0) for seconds, _ in _sizes(limit)]
        for window, (_, size) in zip(windows, _sizes(limit), strict=True):
            window.limit = max(1, int(size * self._switches.limit_factor))
            if now >= window.start + window.seconds or now < window.start:
                window.start = self._start(now, window.seconds)
                window.count = 0
        return windows

    def _start(self, now: float, seconds: int) -> float:
        return now // seconds * seconds if self._switches.limits_aligned else now


def _sizes(limit: Limit) -> list[tuple[int, int]]:
    sizes = [(1, limit.burst), (60, limit.steady)]
    return sizes if limit.daily is None else [*sizes, (86400, limit.daily)]


def _headers(limit: Limit, *, remaining: int, reset: int) -> list[tuple[bytes, bytes]]:
    text = f"{limit.burst}, {limit.burst};w=1, {limit.steady};w=60"
    if limit.daily is not None:
        text += f", {limit.daily};w=86400"
    return [
        (b"RateLimit-Limit", text.encode()),
        (b"RateLimit-Remaining", str(remaining).encode()),
        (b"RateLimit-Reset", str(reset).encode()),
    ]
