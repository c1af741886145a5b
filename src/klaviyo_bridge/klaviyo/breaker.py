"""Stops calling while Klaviyo is down: one breaker per account, its state shared by all processes.

`pybreaker` holds the rules of counting and switching. It would hold its lock for as long as a call lasts
and so send one request at a time; hence calls run outside of it and only their outcome is handed in. Which
outcomes count is the session's business: whatever its attempt raises is a failure.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from threading import Lock
from typing import NoReturn, Protocol, TypeVar

from pybreaker import STATE_CLOSED, STATE_HALF_OPEN, STATE_OPEN, CircuitBreaker, CircuitBreakerError
from pybreaker import CircuitBreakerStorage as Storage

from klaviyo_bridge.errors import CircuitOpen, Unavailable

FAILURES_TO_OPEN = 5
SECONDS_OPEN = 15.0
PROBE_SECONDS = 60.0
"""After this long a probe counts as lost (its process died), and another may try."""
STALE_SECONDS = 0.5

T = TypeVar("T")
Row = tuple[str, int, float, float]
"""State (`closed`, `open`, `half-open`), failures in a row, when it opened, until when a probe runs."""
Change = Callable[[Row | None, float], tuple[Row | None, T]]
_CLOSED: Row = (STATE_CLOSED, 0, 0.0, 0.0)


class BreakerStore(Protocol):
    """Where breakers live. `infra.stores.breaker_store` is one for databases."""

    def update(self, account: str, change: Change[T]) -> T:
        """Hand `change` the row and the time in seconds, alone among all processes.

        Its first result is stored unless it is None, its second returned.
        """
        ...

    def read(self, account: str) -> tuple[Row | None, float]:
        """The row and the time, without keeping anybody out."""
        ...


class MemoryBreakerStore:
    """Breakers of this process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = Lock()
        self._rows: dict[str, Row] = {}

    def update(self, account: str, change: Change[T]) -> T:
        with self._lock:
            row, result = change(self._rows.get(account), self._clock())
            if row is not None:
                self._rows[account] = row
            return result

    def read(self, account: str) -> tuple[Row | None, float]:
        return self._rows.get(account), self._clock()


class Breaker:
    """The breaker of one account."""

    def __init__(
        self,
        account: str,
        store: BreakerStore,
        *,
        failures: int = FAILURES_TO_OPEN,
        seconds_open: float = SECONDS_OPEN,
        stale_seconds: float = STALE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._shared = _SharedStorage(account, store, stale_seconds=stale_seconds, clock=clock)
        self._seconds_open = seconds_open
        self._rules = CircuitBreaker(
            fail_max=failures,
            reset_timeout=seconds_open,
            state_storage=self._shared,
            throw_new_error_on_trip=False,
        )

    def check(self) -> None:
        """Raise CircuitOpen while no call has a chance; costs one read of the store every half second."""
        row, now = self._shared.row()
        self._refuse(row, now)

    def call(self, attempt: Callable[[], T]) -> T:
        """Run `attempt` and count how it ends. While half-open, one caller of all processes may run it."""
        if self._shared.state != STATE_CLOSED:
            self._shared.change(self._claim)
        try:
            result = attempt()
        except Exception as error:
            self._count(error)
            raise
        self._count(None)
        return result

    def _claim(self, row: Row | None, now: float) -> tuple[Row | None, None]:
        state, failures, opened_at, _ = row or _CLOSED
        if state == STATE_CLOSED:
            return None, None
        self._refuse(row, now)
        return (STATE_HALF_OPEN, failures, opened_at, now + PROBE_SECONDS), None

    def _refuse(self, row: Row | None, now: float) -> None:
        state, _, opened_at, probe_until = row or _CLOSED
        if state == STATE_OPEN:
            # A clock that went back must not keep the breaker open for longer than its time.
            left = min(opened_at + self._seconds_open - now, self._seconds_open)
        else:
            left = min(probe_until - now, PROBE_SECONDS) if state == STATE_HALF_OPEN else 0.0
        if left > 0:
            retry_after = left if state == STATE_OPEN else min(left, 2.0)
            raise CircuitOpen("Klaviyo failed again and again; calls stop for a while", retry_after=retry_after)

    def _count(self, error: Exception | None) -> None:
        # The call has ended as it has: a store that fails now must not turn its success into a failure.
        with suppress(CircuitBreakerError, _Failed, Unavailable):
            self._rules.call(_fail if error is not None else _succeed)


class _Failed(Exception):  # tells pybreaker of a failure, never seen outside
    pass


def _fail() -> NoReturn:
    raise _Failed


def _succeed() -> None:
    return None


class _SharedStorage(Storage):
    """What pybreaker keeps, in the store; reads are half a second old at most, writes go through."""

    def __init__(self, account: str, store: BreakerStore, *, stale_seconds: float, clock: Callable[[], float]) -> None:
        super().__init__("shared")
        self._account = account
        self._store = store
        self._stale_seconds = stale_seconds
        self._clock = clock
        self._read_at = float("-inf")
        self._row: Row = _CLOSED
        self._offset = 0.0

    def row(self) -> tuple[Row, float]:
        """The row, and the time on the store's clock."""
        if self._clock() - self._read_at >= self._stale_seconds:
            found, now = self._store.read(self._account)
            self._keep(found or _CLOSED, now)
        return self._row, self._clock() + self._offset

    def change(self, change: Change[T]) -> T:
        """Change the row, and know the result at once."""

        def noting(found: Row | None, now: float) -> tuple[Row | None, T]:
            changed, result = change(found, now)
            self._keep(changed or found or _CLOSED, now)
            return changed, result

        return self._store.update(self._account, noting)

    def _keep(self, row: Row, now: float) -> None:
        self._row, self._read_at = row, self._clock()
        self._offset = now - self._read_at

    @property
    def state(self) -> str:
        return self.row()[0][0]

    @state.setter
    def state(self, state: str) -> None:
        self.change(lambda row, now: ((state, (row or _CLOSED)[1], now, 0.0), None))

    def increment_counter(self) -> None:
        self.change(lambda row, _: (_counted(row or _CLOSED), None))

    def reset_counter(self) -> None:
        if self._row[1]:
            self.change(lambda row, _: (_forgiven(row or _CLOSED), None))

    @property
    def counter(self) -> int:
        return self._row[1]

    def increment_success_counter(self) -> None:
        return None

    def reset_success_counter(self) -> None:
        return None

    @property
    def success_counter(self) -> int:
        return 1

    @property
    def opened_at(self) -> datetime | None:
        """None: whether the time is over is decided by `Breaker`, on the store's clock."""
        return datetime(9000, 1, 1, tzinfo=UTC) if self._row[0] == STATE_OPEN else None

    @opened_at.setter
    def opened_at(self, datetime: datetime) -> None:
        return None


def _counted(row: Row) -> Row:
    state, failures, opened_at, probe_until = row
    return state, failures + 1, opened_at, probe_until


def _forgiven(row: Row) -> Row:
    state, _, opened_at, probe_until = row
    return state, 0, opened_at, probe_until
