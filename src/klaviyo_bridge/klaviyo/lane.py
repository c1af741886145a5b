"""What one lane knows, and the rules by which it lets a call through. Pure: state in, state and wait out.

A lane is one operation of one account (or a stricter variant of it). Its state is a few numbers and the
counts of `windows`, small enough for one row that all processes share. Times are milliseconds of a clock
that all of them read.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, replace
from enum import IntEnum

from pyrate_limiter import Rate
from pyrate_limiter.abstracts.algorithm import State

from klaviyo_bridge.klaviyo.limits import Limit, Window
from klaviyo_bridge.klaviyo.windows import SlidingWindows, pack_state, unpack_state

MINUTE_MS = 60_000
LONGEST_PAUSE_MS = 61_000
LONGEST_DAILY_PAUSE_MS = 3_600_000
URGENT_RESERVE_MS = 600_000
"""How long after an urgent call the full sync leaves room for the next one."""
POLL_MS = 200
SMALLEST_SHARE = 0.1
_NOBODY = 99
_HEADER = struct.Struct("<8d")
_ALGORITHM = SlidingWindows()


class Priority(IntEnum):
    """Who goes first when a window is short; the smaller number."""

    CONSENT = 0
    ERASURE = 1
    LIVE = 2
    UPSERT = 3
    FULL_SYNC = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """The state between two calls. `share` is the part of the limit that foreign traffic leaves to us."""

    windows: State
    seen: int = 0
    paused_until: int = 0
    share: float = 1.0
    throttled_at: int = 0
    strikes: int = 0
    urgent: int = _NOBODY
    urgent_until: int = 0
    urgent_at: int = -URGENT_RESERVE_MS


def admit(lane: Lane, limit: Limit, *, priority: Priority, now: int, ceiling: float = 1.0) -> tuple[Lane, int]:
    """The lane afterwards, and the milliseconds to wait; 0 means that the call may go and is counted.

    `ceiling` caps the share where Klaviyo's headers announce a lower limit than its documentation.
    """
    lane = _without_future(lane, now)
    if now < lane.paused_until:
        return _announced(lane, priority, now, lane.paused_until - now)
    if lane.urgent < priority and now < lane.urgent_until:
        return lane, min(POLL_MS, lane.urgent_until - now)
    share = min(ceiling, share_at(lane, now))
    rates = _rates(limit, share, reserved=_reserved(lane, limit, priority, now))
    state, decision = _ALGORITHM.step(rates, lane.windows, now, 1)
    if not decision.allowed:
        return _announced(lane, priority, now, decision.retry_after_ms or POLL_MS)
    urgent = _NOBODY if lane.urgent >= priority else lane.urgent
    urgent_at = now if priority < Priority.FULL_SYNC else lane.urgent_at
    return replace(lane, windows=state, seen=now, urgent=urgent, urgent_at=urgent_at), 0


def throttled(lane: Lane, limit: Limit, *, retry_after: float | None, now: int, jitter: float) -> Lane:
    """The lane after a 429: paused, and with a smaller share if others keep using the same limit.

    `jitter` (0 to 1) keeps processes from coming back in one instant. The first 429 of a while only
    pauses: it may be a passing burst of somebody else's.
    """
    lane = _without_future(lane, now)
    again = lane.strikes > 0 and now - lane.throttled_at < (3 if lane.share == 1 else 10) * MINUTE_MS
    strikes = lane.strikes + 1 if again else 1
    pause = _pause_ms(limit, retry_after, strikes) + round(500 * jitter)
    if now < lane.paused_until:
        return replace(lane, seen=now, paused_until=max(lane.paused_until, now + pause))
    share = _smaller_share(lane, limit, retry_after, now) if strikes > 1 else share_at(lane, now)
    return replace(lane, seen=now, paused_until=now + pause, share=share, throttled_at=now, strikes=strikes)


def share_at(lane: Lane, now: int) -> float:
    """The share by now: it comes back slowly at first, then faster, while no 429 comes."""
    quiet = max(0.0, (now - lane.throttled_at) / MINUTE_MS)
    return min(1.0, lane.share * (1 + 0.006 * (2.0 ** min(quiet, 20.0) - 1)))


def decode(stored: bytes | None, limit: Limit) -> Lane:
    """The lane in `stored`; a fresh one if there is none or its windows are others."""
    rates = _rates(limit, 1.0)
    windows = unpack_state((stored or b"")[_HEADER.size :], rates)
    if stored is None or windows is None:
        return Lane(windows=_ALGORITHM.initial(rates))
    header = _HEADER.unpack_from(stored)
    whole = [int(number) for number in header]
    return Lane(
        windows=windows,
        seen=whole[0],
        paused_until=whole[1],
        share=header[2],
        throttled_at=whole[3],
        strikes=whole[4],
        urgent=whole[5],
        urgent_until=whole[6],
        urgent_at=whole[7],
    )


def encode(lane: Lane) -> bytes:
    """The bytes that `decode` reads."""
    header = _HEADER.pack(
        lane.seen,
        lane.paused_until,
        lane.share,
        lane.throttled_at,
        lane.strikes,
        lane.urgent,
        lane.urgent_until,
        lane.urgent_at,
    )
    return header + pack_state(lane.windows)


def _rates(limit: Limit, share: float, *, reserved: int = 0) -> list[Rate]:
    """The windows, each longer by what a request may be early or late on its way, and evened if shared."""
    rates = [_rate(limit, window, share, reserved) for window in limit.windows]
    if share < 1:
        per_ms = limit.steady * share / MINUTE_MS
        at_once = max(1, int(per_ms * 1_000))
        rates.append(Rate(at_once, min(math.ceil(at_once / per_ms), MINUTE_MS)))
    return rates


def _rate(limit: Limit, window: Window, share: float, reserved: int) -> Rate:
    calls = window.calls if window.seconds <= 1 else max(1, int(window.calls * share) - reserved)
    return Rate(calls, round(window.seconds * 1000) + _margin_ms(limit, window))


def _margin_ms(limit: Limit, window: Window) -> int:
    """Bodies of megabytes travel long and unevenly; a second's window is doubled for them."""
    if window.seconds <= 1:
        return 1_000 if limit.operation.startswith("bulk_") else 250
    return 400 if limit.operation.startswith("bulk_") else 250


def _reserved(lane: Lane, limit: Limit, priority: Priority, now: int) -> int:
    """Calls that the full sync leaves free, where somebody more urgent uses the lane as well."""
    if priority < Priority.FULL_SYNC or now - lane.urgent_at > URGENT_RESERVE_MS:
        return 0
    return max(1, limit.steady // 50)


def _announced(lane: Lane, priority: Priority, now: int, wait: int) -> tuple[Lane, int]:
    """Leave word that somebody waits, so that less urgent callers of other processes step back."""
    stronger = lane.urgent < priority and now < lane.urgent_until
    fresh = lane.urgent == priority and lane.urgent_until - now > POLL_MS
    if priority == Priority.FULL_SYNC or stronger or fresh:
        return lane, wait
    until = now + min(wait, 10 * POLL_MS) + 2 * POLL_MS
    return replace(lane, seen=now, urgent=int(priority), urgent_until=until, urgent_at=now), wait


def _pause_ms(limit: Limit, retry_after: float | None, strikes: int) -> int:
    """What Klaviyo asks, within reason: never nothing, and never longer than its longest window."""
    longest = LONGEST_PAUSE_MS if limit.daily is None else LONGEST_DAILY_PAUSE_MS
    seconds = 2.0 ** min(strikes - 1, 6) if retry_after is None else max(retry_after, 0.5)
    return min(round(seconds * 1000), longest)


def _smaller_share(lane: Lane, limit: Limit, retry_after: float | None, now: int) -> float:
    """What we got of the window that is full now, if its edge is known; else a tenth less."""
    share = share_at(lane, now)
    left = round((retry_after or 0) * 1000)
    if not 1_000 < left <= MINUTE_MS:
        return share if lane.strikes < 2 else max(SMALLEST_SHARE, share * 0.9)
    since_edge = max(MINUTE_MS - left, 1_000)
    ours = _ALGORITHM.consumed([Rate(limit.steady, since_edge)], _fine(lane, limit), now)
    return max(SMALLEST_SHARE, min(share, ours / limit.steady) * 0.97)


def _fine(lane: Lane, limit: Limit) -> State:
    return lane.windows[: len(_ALGORITHM.initial([Rate(limit.steady, MINUTE_MS)]))]


def _without_future(lane: Lane, now: int) -> Lane:
    """The lane on a clock that went back, as after a reboot: what was ahead stays as far ahead as it was."""
    back = lane.seen - now
    if back <= 0:
        return lane
    return replace(
        lane,
        seen=now,
        paused_until=lane.paused_until - back,
        throttled_at=lane.throttled_at - back,
        urgent_until=lane.urgent_until - back,
        urgent_at=lane.urgent_at - back,
    )
