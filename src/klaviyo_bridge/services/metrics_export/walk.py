"""Walking a collection in several ranges of time at once, because one chain of cursors uses a fifth of the allowance.

A range that turns out long gives the later half of what is left of it to a worker that has nothing to do. What
comes out is pages, and after each of them the ranges that are still open, so that a walk can stop anywhere and
go on from there: nothing between is left out, and something may come twice.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Generic, TypeVar

from klaviyo_bridge.errors import BridgeError, Unavailable
from klaviyo_bridge.klaviyo.types import Page

T = TypeVar("T")

SMALLEST = timedelta(seconds=4)
PATIENCE = 30  # times in a row that one page may be unavailable
LONGEST_PAUSE = 60.0  # seconds


@dataclass(slots=True)
class Range:
    """From `start` (inclusive) to `end` (exclusive); without an end, whatever the future holds."""

    start: datetime
    end: datetime | None


@dataclass(frozen=True, slots=True)
class Walkable(Generic[T]):
    """A collection that can be read by time: ascending, from a time, to a time, at a cursor."""

    read: Callable[[datetime, datetime | None, str | None], Page[T]]
    time_of: Callable[[T], datetime | None]


@dataclass(frozen=True, slots=True)
class _Step(Generic[T]):
    """What a worker did: a page of range `number`, where it stands now (None: done), and a half it gave away."""

    number: int
    items: Sequence[T]
    position: datetime | None
    gave: tuple[int, Range] | None = None


class Walk(Generic[T]):
    """One walk over `ranges`. Iterate over it once; leaving early stops the workers."""

    def __init__(
        self,
        of: Walkable[T],
        ranges: Sequence[Range],
        *,
        workers: int,
        until: datetime,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._of = of
        self._until = until
        self._workers = workers
        self._sleep = sleep
        self._lock = threading.Condition()
        self._next = len(ranges)
        self._waiting = deque(enumerate(Range(item.start, item.end) for item in ranges))
        self._busy = 0
        self._stopped = False
        self._steps: queue.Queue[_Step[T] | BaseException | None] = queue.Queue(maxsize=workers * 2)
        self._open = {number: Range(item.start, item.end) for number, item in enumerate(ranges)}

    @property
    def open(self) -> list[Range]:
        """What is left once everything yielded so far is safe."""
        return sorted(self._open.values(), key=lambda item: item.start)

    def __iter__(self) -> Iterator[Sequence[T]]:
        """The pages, in no particular order. Raises what a worker met."""
        threads = [threading.Thread(target=self._work, name=f"walk-{n}", daemon=True) for n in range(self._workers)]
        for thread in threads:
            thread.start()
        running = len(threads)
        try:
            while running:
                step = self._steps.get()
                if step is None:
                    running -= 1
                elif isinstance(step, BaseException):
                    raise step
                else:
                    self._note(step)
                    yield step.items
        finally:
            self._stop()
            while any(thread.is_alive() for thread in threads):
                self._drain()

    def _note(self, step: _Step[T]) -> None:
        if step.gave is not None:
            number, given = step.gave
            self._open[number] = Range(given.start, given.end)
            self._open[step.number].end = given.start
        if step.position is None:
            del self._open[step.number]
        else:
            self._open[step.number].start = step.position

    def _stop(self) -> None:
        with self._lock:
            self._stopped = True
            self._lock.notify_all()

    def _drain(self) -> None:
        try:
            self._steps.get(timeout=0.05)
        except queue.Empty:
            return

    def _work(self) -> None:
        try:
            while (taken := self._take()) is not None:
                self._follow(*taken)
                self._release()
        except BridgeError as error:
            self._steps.put(error)
        except Exception as error:  # noqa: BLE001  # handed to the thread that iterates, which raises it
            self._steps.put(error)
        finally:
            self._steps.put(None)

    def _take(self) -> tuple[int, Range] | None:
        with self._lock:
            self._lock.wait_for(lambda: self._stopped or self._waiting or not self._busy)
            if self._stopped or not self._waiting:
                return None
            self._busy += 1
            return self._waiting.popleft()

    def _release(self) -> None:
        with self._lock:
            self._busy -= 1
            self._lock.notify_all()

    def _follow(self, number: int, of: Range) -> None:
        """Read the pages of one range; `of.end` moves when half of it is given away."""
        cursor: str | None = None
        asked_end = of.end
        while not self._stopped:
            page = self._read(of.start, asked_end, cursor)
            items = [item for item in page.items if self._belongs(item, of)]
            last = max(filter(None, map(self._of.time_of, page.items)), default=of.start)
            done = page.next_cursor is None or page.next_cursor == cursor or (of.end is not None and last >= of.end)
            given = None if done else self._halve(last, of)
            self._steps.put(_Step(number, items, None if done else last, given))
            if given is not None:
                self._offer(given)
            if done:
                return
            cursor = page.next_cursor

    def _belongs(self, item: T, of: Range) -> bool:
        at = self._of.time_of(item)
        return at is None or of.end is None or at < of.end

    def _halve(self, last: datetime, of: Range) -> tuple[int, Range] | None:
        with self._lock:
            idle = self._workers - self._busy - len(self._waiting)
            left = (of.end or max(self._until, last)) - last
            if idle <= 0 or left < SMALLEST:
                return None
            number, self._next = self._next, self._next + 1
        middle = (last + left / 2).replace(microsecond=0)
        given = Range(middle, of.end)
        of.end = middle
        return number, given

    def _offer(self, given: tuple[int, Range]) -> None:
        with self._lock:
            self._waiting.append(given)
            self._lock.notify()

    def _read(self, start: datetime, end: datetime | None, cursor: str | None) -> Page[T]:
        for _ in range(PATIENCE):
            try:
                return self._of.read(start, end, cursor)
            except Unavailable as error:
                if self._stopped:
                    raise
                self._sleep(min(error.retry_after or 1.0, LONGEST_PAUSE))
        return self._of.read(start, end, cursor)


def cut(start: datetime, until: datetime, parts: int) -> list[Range]:
    """`parts` ranges of one length; the last one has no end, so that dates in the future are in it."""
    edges = [(start + (until - start) * n / parts).replace(microsecond=0) for n in range(parts)]
    return [Range(edge, end) for edge, end in zip(edges, [*edges[1:], None], strict=True)]
