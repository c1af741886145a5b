"""Tells whoever beats pulses in this process that there is news. Nobody listening is fine."""

from __future__ import annotations

from collections.abc import Callable


class Bell:
    """Rung after rows were put on disk."""

    def __init__(self) -> None:
        self._listener: Callable[[], None] | None = None

    def ring(self) -> None:
        listener = self._listener
        if listener is not None:
            listener()

    def answer(self, listener: Callable[[], None] | None) -> None:
        """Have `listener` called from now on; None ends that."""
        self._listener = listener
