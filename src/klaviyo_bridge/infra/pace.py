"""How long the job engine's queue threads wait between two looks: until there is news, or their time is over.

The engine polls. Each look costs about 3 ms of CPU, so looking often enough to be quick is dear, and looking
seldom is slow. Here a commit that enqueued a job ends the wait at once; polling stays as the fallback for jobs
of other processes, of retries, and of the dead.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from time import monotonic

THREAD_OF = "queue-worker-"  # the engine names the thread of a queue so
QUICK = 0.1
QUICK_FOR = 0.35
"""After news a few more looks, `QUICK` seconds apart: another process may have held the queue just then."""
UNWATCHED = 30.0  # seconds between two looks of threads that no job of ours concerns


class Pace:
    """Stands in for the event by which the engine stops its queue threads: has its `is_set` and `wait`."""

    def __init__(self, queues: Iterable[str]) -> None:
        self._news = threading.Condition()
        self._rung = dict.fromkeys(queues, 0)
        self._heard = dict.fromkeys(self._rung, 0)
        self._quick_until = dict.fromkeys(self._rung, 0.0)
        self._stopping = False

    @property
    def queues(self) -> list[str]:
        """The queues whose news count here."""
        return list(self._rung)

    def ring(self, queue: str) -> None:
        """There may be a job in this queue; its thread looks now. A queue nobody works on here is ignored."""
        with self._news:
            if queue in self._rung:
                self._rung[queue] += 1
                self._quick_until[queue] = monotonic() + QUICK_FOR
                self._news.notify_all()

    def stop(self) -> None:
        """End every wait, for good."""
        with self._news:
            self._stopping = True
            self._news.notify_all()

    def is_set(self) -> bool:
        return self._stopping

    def wait(self, timeout: float) -> bool:
        """Wait for news of the calling thread's queue, at most `timeout` seconds; True when it is to stop."""
        queue = threading.current_thread().name.removeprefix(THREAD_OF)
        with self._news:
            if queue not in self._rung:
                return self._news.wait_for(self.is_set, UNWATCHED)
            quick = monotonic() < self._quick_until[queue]
            self._news.wait_for(lambda: self._is_news(queue), min(timeout, QUICK) if quick else timeout)
            self._heard[queue] = self._rung[queue]
            return self._stopping

    def _is_news(self, queue: str) -> bool:
        return self._stopping or self._rung[queue] != self._heard[queue]
