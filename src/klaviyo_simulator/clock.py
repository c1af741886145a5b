"""The simulator's time: real, faster than real, or stepped by hand. Klaviyo's own lag is in `scheduler`."""

from __future__ import annotations

from collections.abc import Callable


class Clock:
    """Seconds since the epoch as this Klaviyo sees them.

    `speed` 1 is real time, 60 an hour a minute, 0 stands still until `advance` or `set` is called.
    """

    def __init__(self, *, wall: Callable[[], float], speed: float = 1.0) -> None:
        self._wall = wall
        self._speed = speed
        self._wall_anchor = wall()
        self._anchor = self._wall_anchor

    @property
    def speed(self) -> float:
        return self._speed

    def now(self) -> float:
        return self._anchor + (self._wall() - self._wall_anchor) * self._speed

    def wall(self) -> float:
        """Real time, whatever the simulated one does."""
        return self._wall()

    def advance(self, seconds: float) -> None:
        self._move(self.now() + seconds)

    def set(self, instant: float) -> None:
        self._move(instant)

    def run(self, *, speed: float) -> None:
        """Change the pace from now on; the present instant stays."""
        self._move(self.now())
        self._speed = speed

    def _move(self, instant: float) -> None:
        self._anchor = instant
        self._wall_anchor = self._wall()
