"""What Klaviyo does later: 202 now, applied when its time has come.

No threads; the server's loop calls `run_due`.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Generator
from dataclasses import dataclass, field

Work = Callable[[], Generator[None] | None]

APPLY = "apply"
AUDIENCE = "audience"
DELIVERY = "delivery"


@dataclass(order=True, slots=True)
class Task:
    due: float
    order: int
    kind: str = field(compare=False)
    work: Work = field(compare=False)
    held: bool = field(default=False, compare=False)


class Scheduler:
    """A heap of tasks by simulated time. Long work is a generator that yields between chunks.

    `load` is how many rows of bulk jobs wait to be applied; the server slows down the next one by it.
    """

    def __init__(self, *, now: Callable[[], float]) -> None:
        self._now = now
        self._heap: list[Task] = []
        self._running: list[Generator[None]] = []
        self._count = itertools.count()
        self.load = 0

    def at(self, due: float, work: Work, *, kind: str = APPLY) -> Task:
        task = Task(due, next(self._count), kind, work)
        heapq.heappush(self._heap, task)
        return task

    def after(self, delay: float, work: Work, *, kind: str = APPLY) -> Task:
        return self.at(self._now() + delay, work, kind=kind)

    def pending(self, kind: str | None = None) -> int:
        waiting = sum(1 for task in self._heap if kind is None or task.kind == kind)
        return waiting + len(self._running)

    def next_due(self) -> float | None:
        return self._heap[0].due if self._heap else None

    def busy(self) -> bool:
        return bool(self._running)

    def run_due(self, *, most: int = 500) -> bool:
        """Do a slice of what is due; True when more can be done at once."""
        if self._running:
            self._step(self._running[0])
            return True
        for _ in range(most):
            if not self._heap or self._heap[0].due > self._now():
                return False
            if self._start(heapq.heappop(self._heap)):
                return True
        return True

    def settle(self, *, kinds: tuple[str, ...] = (APPLY,)) -> int:
        """Do all waiting work of `kinds` now, whatever its due time; the number of tasks done."""
        done = 0
        while chosen := [task for task in self._heap if task.kind in kinds]:
            self._heap = [task for task in self._heap if task.kind not in kinds]
            heapq.heapify(self._heap)
            for task in sorted(chosen):
                self._start(task)
                self._finish_running()
                done += 1
        self._finish_running()
        return done

    def clear(self) -> None:
        self._heap.clear()
        self._running.clear()
        self.load = 0

    def _finish_running(self) -> None:
        while self._running:
            self._step(self._running[0])

    def _start(self, task: Task) -> bool:
        generator = task.work()
        if generator is None:
            return False
        self._running.append(generator)
        return True

    def _step(self, generator: Generator[None]) -> None:
        try:
            next(generator)
        except StopIteration:
            self._running.remove(generator)
        except BaseException:
            self._running.remove(generator)
            raise
