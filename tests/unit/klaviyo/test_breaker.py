"""When calls stop, and how they begin again."""

from __future__ import annotations

import threading
import time
from typing import NoReturn

import pytest

from klaviyo_bridge.errors import CircuitOpen, Unavailable
from klaviyo_bridge.klaviyo.breaker import Breaker, MemoryBreakerStore


class Clock:
    def __init__(self) -> None:
        self.now = 500.0

    def __call__(self) -> float:
        return self.now


class Boom(Exception):
    pass


def boom() -> NoReturn:
    raise Boom


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(clock: Clock) -> MemoryBreakerStore:
    return MemoryBreakerStore(clock)


def a_breaker(store: MemoryBreakerStore, clock: Clock, *, failures: int = 3, stale: float = 0.0) -> Breaker:
    return Breaker("acc", store, failures=failures, seconds_open=15.0, stale_seconds=stale, clock=clock)


def fail(breaker: Breaker, times: int) -> None:
    for _ in range(times):
        with pytest.raises(Boom):
            breaker.call(boom)


def test_opens_after_failures_in_a_row(store: MemoryBreakerStore, clock: Clock) -> None:
    breaker = a_breaker(store, clock)
    fail(breaker, 3)

    with pytest.raises(CircuitOpen) as error:
        breaker.check()
    with pytest.raises(CircuitOpen):
        breaker.call(lambda: 1)

    assert error.value.retry_after == 15.0


def test_a_success_begins_the_count_anew(store: MemoryBreakerStore, clock: Clock) -> None:
    breaker = a_breaker(store, clock)
    for _ in range(4):
        fail(breaker, 2)
        assert breaker.call(lambda: 1) == 1

    breaker.check()


def test_failures_of_all_processes_count(store: MemoryBreakerStore, clock: Clock) -> None:
    fail(a_breaker(store, clock), 2)
    fail(a_breaker(store, clock), 1)

    with pytest.raises(CircuitOpen):
        a_breaker(store, clock).check()


def test_one_probe_at_a_time_when_the_time_is_over(store: MemoryBreakerStore, clock: Clock) -> None:
    one, other = a_breaker(store, clock), a_breaker(store, clock)
    fail(one, 3)
    clock.now += 15

    def probe() -> int:
        with pytest.raises(CircuitOpen):
            other.call(lambda: 1)
        with pytest.raises(CircuitOpen):
            other.check()
        return 7

    one.check()
    assert one.call(probe) == 7
    assert other.call(lambda: 8) == 8


def test_a_probe_that_fails_opens_it_again(store: MemoryBreakerStore, clock: Clock) -> None:
    breaker = a_breaker(store, clock)
    fail(breaker, 3)
    clock.now += 15

    fail(breaker, 1)

    with pytest.raises(CircuitOpen) as error:
        breaker.check()
    assert error.value.retry_after == 15.0


def test_a_probe_whose_process_died_is_replaced(store: MemoryBreakerStore, clock: Clock) -> None:
    breaker = a_breaker(store, clock)
    fail(breaker, 3)
    clock.now += 15
    store.update("acc", lambda row, now: (("half-open", 3, now - 15, now + 60), None))

    with pytest.raises(CircuitOpen):
        breaker.call(lambda: 1)
    clock.now += 61

    assert breaker.call(lambda: 1) == 1


def test_a_clock_that_went_back_does_not_keep_it_open_for_long(store: MemoryBreakerStore, clock: Clock) -> None:
    store.update("acc", lambda row, now: (("open", 3, 9_000_000.0, 0.0), None))

    with pytest.raises(CircuitOpen) as error:
        a_breaker(store, clock).check()

    assert error.value.retry_after == 15.0


def test_a_late_failure_of_an_old_call_is_no_news(store: MemoryBreakerStore, clock: Clock) -> None:
    breaker = a_breaker(store, clock)

    def meanwhile() -> NoReturn:
        fail(a_breaker(store, clock), 3)
        raise Boom

    with pytest.raises(Boom):
        breaker.call(meanwhile)

    with pytest.raises(CircuitOpen):
        breaker.check()


def test_reads_its_state_twice_a_second_at_most(clock: Clock) -> None:
    class Counting(MemoryBreakerStore):
        reads = 0

        def read(self, account: str) -> tuple[tuple[str, int, float, float] | None, float]:
            self.reads += 1
            return super().read(account)

    store = Counting(clock)
    breaker = a_breaker(store, clock, stale=0.5)
    for _ in range(100):
        breaker.check()
        breaker.call(lambda: 1)

    assert store.reads == 1


def test_a_store_that_fails_afterwards_does_not_spoil_a_success(clock: Clock) -> None:
    class Failing(MemoryBreakerStore):
        broken = False

        def read(self, account: str) -> tuple[tuple[str, int, float, float] | None, float]:
            if self.broken:
                raise Unavailable
            return super().read(account)

    store = Failing(clock)
    breaker = a_breaker(store, clock)

    def attempt() -> str:
        store.broken = True
        return "done"

    assert breaker.call(attempt) == "done"
    with pytest.raises(Unavailable):
        breaker.check()


def test_calls_run_side_by_side() -> None:
    """pybreaker alone would hold its lock for as long as a call lasts."""
    breaker = Breaker("acc", MemoryBreakerStore())
    started = time.monotonic()

    threads = [threading.Thread(target=breaker.call, args=(lambda: time.sleep(0.2),)) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert time.monotonic() - started < 0.6
