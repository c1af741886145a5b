"""Beats pulses: a thread each, woken early when there is news, quiet when the other side is down."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager

import structlog

from klaviyo_bridge.errors import BridgeError
from klaviyo_bridge.jobs.registry import Pulse

LONGEST_PAUSE = 30.0  # seconds between two beats that fail

log = structlog.get_logger(__name__)


class Heart:
    """Threads that beat pulses until the block ends."""

    def __init__(self, pulses: Sequence[Pulse], *, note: Callable[[str], None] = lambda _: None) -> None:
        """`note` is told of each beat that went well."""
        self._pulses = pulses
        self._note = note
        self._stopping = threading.Event()
        self._wakers = {pulse.name: threading.Event() for pulse in pulses}

    def wake(self, name: str) -> None:
        """Have the pulse beat now. A name that is not beating here is ignored: another process beats it."""
        if name in self._wakers:
            self._wakers[name].set()

    @contextmanager
    def beating(self) -> Generator[None]:
        """Beat until the block ends; a beat that is running is waited for."""
        threads = [threading.Thread(target=self._beat, args=(p,), name=f"pulse-{p.name}") for p in self._pulses]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stopping.set()
            for waker in self._wakers.values():
                waker.set()
            for thread in threads:
                thread.join()

    def _beat(self, pulse: Pulse) -> None:
        waker, failures = self._wakers[pulse.name], 0
        while not self._stopping.is_set():
            waker.clear()
            try:
                did = pulse.beat()
                self._note(pulse.name)
                failures = 0
            except BridgeError as error:
                failures += 1
                did = 0
                log.warning("pulse failed", pulse=pulse.name, error=type(error).__name__, failures=failures)
            except Exception:  # the one boundary of this thread: it must go on
                failures += 1
                did = 0
                log.exception("pulse broke", pulse=pulse.name, failures=failures)
            if not did:
                waker.wait(pulse.every if not failures else min(LONGEST_PAUSE, pulse.every * 2**failures))
