"""Rows from many requests in one commit: the disk is asked once for all who wait.

`take` returns when the rows are on disk, which is what a 202 promises.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Generic, TypeVar

from klaviyo_bridge.errors import Overloaded

MOST_AT_ONCE = 5_000  # rows in one commit
COUNT_EVERY = 1.0  # seconds between two looks at the backlog
Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class _Request(Generic[Row]):
    rows: Sequence[Row]
    done: Future[None]


class GroupCommit(Generic[Row]):
    """Commits the rows of concurrent callers together, in the order they came."""

    def __init__(
        self,
        commit: Callable[[Sequence[Row]], object],
        *,
        name: str,
        backlog: Callable[[], int],
        limit: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._commit = commit
        self._name = name
        self._backlog = backlog
        self._limit = limit
        self._clock = clock
        self._queue: SimpleQueue[_Request[Row] | None] = SimpleQueue()
        self._waiting = 0
        self._counted_at = float("-inf")

    def submit(self, rows: Sequence[Row]) -> Future[None]:
        """A future that is done when the rows are on disk, and fails as the commit does. Never waits itself.

        Raises `Overloaded` when more rows wait for Klaviyo than the limit allows, as last counted (the count is
        a second old at most while rows come); nothing is taken then.
        """
        if self._waiting + len(rows) > self._limit:
            self._queue.put(_Request((), Future[None]()))  # has the backlog counted again
            raise Overloaded(f"more than {self._limit} rows wait to be delivered", retry_after=5.0)
        request = _Request(rows, Future[None]())
        self._queue.put(request)
        return request.done

    @contextmanager
    def running(self) -> Generator[None]:
        """Commit in a thread until the block ends; what was submitted is committed first."""
        thread = threading.Thread(target=self._run, name=f"group-commit-{self._name}")
        thread.start()
        try:
            yield
        finally:
            self._queue.put(None)
            thread.join()

    def _run(self) -> None:
        while (request := self._queue.get()) is not None:
            group, last = self._gather(request)
            self._finish(group)
            if last:
                return

    def _gather(self, first: _Request[Row]) -> tuple[list[_Request[Row]], bool]:
        """Everything that waits by now, up to the bound; and whether the end was reached."""
        group, rows = [first], len(first.rows)
        while rows < MOST_AT_ONCE and not self._queue.empty():
            request = self._queue.get()
            if request is None:
                return group, True
            group.append(request)
            rows += len(request.rows)
        return group, False

    def _finish(self, everybody: Sequence[_Request[Row]]) -> None:
        """Commit for those who still wait; from here on nobody can leave (a closed connection cancels its future)."""
        group = [request for request in everybody if request.done.set_running_or_notify_cancel()]
        if not group:
            return
        try:
            self._count()
            self._commit([row for request in group for row in request.rows])
        except BaseException as error:  # noqa: BLE001  # every waiter has to hear of it, whatever it is
            for request in group:
                request.done.set_exception(error)
            return
        for request in group:
            request.done.set_result(None)

    def _count(self) -> None:
        if self._clock() - self._counted_at >= COUNT_EVERY:
            self._counted_at = self._clock()
            self._waiting = self._backlog()
