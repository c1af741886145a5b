"""Sorted views over many records, cheap to keep and read page by page.

What the records are is not known here.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from typing import Any

Key = tuple[Any, ...]


class Ordering:
    """Keys in order; additions are collected and merged at the next read.

    A key is (value, ..., id). An entry whose record has since moved is skipped by `current`, so an
    update is one append; stale entries are dropped when they outnumber the live ones.
    """

    def __init__(self, keys: Iterable[Key] = (), *, current: Callable[[Key], bool] = lambda key: True) -> None:
        self._sorted: list[Key] = sorted(keys)
        self._added: list[Key] = []
        self._current = current
        self._stale = 0

    def __len__(self) -> int:
        return len(self._sorted) + len(self._added)

    def add(self, key: Key) -> None:
        self._added.append(key)

    def note_stale(self) -> None:
        """One entry has become outdated."""
        self._stale += 1

    def walk(self, *, after: Key | None = None, before: Key | None = None) -> Iterator[Key]:
        """Ascending, strictly between the bounds."""
        self._merge()
        start = 0 if after is None else bisect_right(self._sorted, after)
        for index in range(start, len(self._sorted)):
            key = self._sorted[index]
            if before is not None and key >= before:
                return
            if self._current(key):
                yield key

    def walk_back(self, *, after: Key | None = None, before: Key | None = None) -> Iterator[Key]:
        """Descending, strictly between the bounds."""
        self._merge()
        end = len(self._sorted) if before is None else bisect_left(self._sorted, before)
        for index in range(end - 1, -1, -1):
            key = self._sorted[index]
            if after is not None and key <= after:
                return
            if self._current(key):
                yield key

    def _merge(self) -> None:
        if self._added:
            self._added.sort()
            in_order = not self._sorted or self._sorted[-1] <= self._added[0]
            self._sorted.extend(self._added)
            self._added = []
            if not in_order:
                self._sorted.sort()
        if self._stale > 1000 and self._stale * 2 > len(self._sorted):
            self._sorted = [key for key in self._sorted if self._current(key)]
            self._stale = 0
