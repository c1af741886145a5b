"""Who is in a list or segment since when, readable in the order of joining."""

from __future__ import annotations

from collections.abc import Iterator

from klaviyo_simulator.ordering import Key, Ordering


class Members:
    """A dict of profile id to instant, with an ordering built at the first paged read."""

    def __init__(self) -> None:
        self._since: dict[str, float] = {}
        self._ordering: Ordering | None = None

    def __len__(self) -> int:
        return len(self._since)

    def __contains__(self, profile_id: str) -> bool:
        return profile_id in self._since

    def __iter__(self) -> Iterator[str]:
        return iter(self._since)

    def since(self, profile_id: str) -> float:
        return self._since[profile_id]

    def items(self) -> Iterator[tuple[str, float]]:
        return iter(self._since.items())

    def join(self, profile_id: str, now: float) -> bool:
        """False when already in; the first joining counts."""
        if profile_id in self._since:
            return False
        self._since[profile_id] = now
        if self._ordering is not None:
            self._ordering.add((now, profile_id))
        return True

    def leave(self, profile_id: str) -> bool:
        if self._since.pop(profile_id, None) is None:
            return False
        if self._ordering is not None:
            self._ordering.note_stale()
        return True

    def ordered(self) -> Ordering:
        if self._ordering is None:
            keys = ((since, profile_id) for profile_id, since in self._since.items())
            self._ordering = Ordering(keys, current=self._is_current)
        return self._ordering

    def _is_current(self, key: Key) -> bool:
        return self._since.get(key[1]) == key[0]
