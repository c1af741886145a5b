"""How much of each operation's steady window our calls have used. Reads what the gate keeps; changes nothing."""

from __future__ import annotations

from collections.abc import Mapping

from pyrate_limiter import Rate

from klaviyo_bridge.klaviyo.lane import MINUTE_MS, decode
from klaviyo_bridge.klaviyo.limits import LIMITS, Limit
from klaviyo_bridge.klaviyo.windows import SlidingWindows

_WINDOWS = SlidingWindows()


def allowance_used(lanes: Mapping[str, bytes], *, now: int) -> dict[str, float]:
    """Per operation the used part of its minute, 0 to 1; `now` in milliseconds of the gate's clock.

    Stricter variants of an operation are left out: their calls count for the plain one as well.
    """
    return {name: _used(LIMITS[name], stored, now) for name, stored in lanes.items() if name in LIMITS and stored}


def _used(limit: Limit, stored: bytes, now: int) -> float:
    minute = [Rate(limit.steady, MINUTE_MS)]
    windows = decode(stored, limit).windows[: len(_WINDOWS.initial(minute))]
    return min(1.0, _WINDOWS.consumed(minute, windows, now) / limit.steady)
