"""Waiting in line: turns, deadlines, and who goes first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import pytest

from klaviyo_bridge.errors import RateLimited, Unavailable
from klaviyo_bridge.klaviyo.gate import Gate, MemoryGateStore

T = TypeVar("T")


class Clock:
    """A clock that tests move; no real seconds pass."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def gate(clock: Clock) -> Gate:
    return Gate("acc", MemoryGateStore(clock), clock=clock, jitter=lambda: 0.0)


def spend(gate: Gate, operation: str, calls: int, **options: Any) -> None:
    for _ in range(calls):
        gate.acquire(operation, deadline=0.0, **options)


def test_a_free_window_costs_no_time(gate: Gate) -> None:
    assert gate.acquire("get_accounts") == 0.0


def test_a_full_window_refuses_at_once_when_the_wait_is_longer_than_the_deadline(gate: Gate) -> None:
    spend(gate, "get_accounts", 1)

    with pytest.raises(RateLimited) as error:
        gate.acquire("get_accounts", deadline=0.5)

    assert error.value.retry_after == pytest.approx(1.3, abs=0.1)


def test_the_minute_counts_beside_the_second(gate: Gate, clock: Clock) -> None:
    for _ in range(15):
        gate.acquire("get_accounts", deadline=0.0)
        clock.now += 1.5

    with pytest.raises(RateLimited) as error:
        gate.acquire("get_accounts", deadline=20.0)

    assert error.value.retry_after == pytest.approx(60.3 - 22.5, abs=0.2)


def test_operations_do_not_share_a_window(gate: Gate) -> None:
    spend(gate, "get_accounts", 1)

    assert gate.acquire("get_webhooks", deadline=0.0) == 0.0


def test_accounts_do_not_share_a_window(clock: Clock) -> None:
    store = MemoryGateStore(clock)
    spend(Gate("one", store, clock=clock), "get_accounts", 1)

    assert Gate("two", store, clock=clock).acquire("get_accounts", deadline=0.0) == 0.0


def test_processes_share_a_window(clock: Clock) -> None:
    store = MemoryGateStore(clock)
    spend(Gate("acc", store, clock=clock), "get_accounts", 1)

    with pytest.raises(RateLimited):
        Gate("acc", store, clock=clock).acquire("get_accounts", deadline=0.0)


def test_a_stricter_variant_has_a_lane_and_counts_for_the_plain_one(gate: Gate) -> None:
    counted = [("additional-fields[list]", "profile_count")]
    gate.acquire("get_list", counted, deadline=0.0)

    with pytest.raises(RateLimited):
        gate.acquire("get_list", counted, deadline=0.0)
    spend(gate, "get_list", 74)
    with pytest.raises(RateLimited):
        spend(gate, "get_list", 1)


def test_an_unknown_operation_cannot_be_called(gate: Gate) -> None:
    with pytest.raises(KeyError):
        gate.acquire("launch_missiles")


def test_a_429_pauses_one_operation_in_every_process(clock: Clock) -> None:
    store = MemoryGateStore(clock)
    Gate("acc", store, clock=clock, jitter=lambda: 0.0).learn("get_profiles", status=429, headers={"Retry-After": "30"})

    with pytest.raises(RateLimited) as error:
        Gate("acc", store, clock=clock).acquire("get_profiles")

    assert error.value.retry_after == pytest.approx(30.0)


@pytest.mark.parametrize(
    ("header", "allowed"),
    [("75, 75;w=1, 75;w=60", 75), ("75, 75;w=1, 9000;w=60", 750), ("nonsense", 750), ("", 750), ("1;w=60", 75)],
)
def test_a_lower_limit_in_the_headers_is_believed(gate: Gate, clock: Clock, header: str, allowed: int) -> None:
    gate.learn("get_profiles", status=200, headers={"RateLimit-Limit": header})
    taken = 0
    end = clock.now + 59.0

    while clock.now < end:
        try:
            gate.acquire("get_profiles", deadline=0.0)
            taken += 1
        except RateLimited as error:
            clock.now += error.retry_after or 1.0

    assert taken <= allowed


class Broken:
    def update(self, account: str, lane: str, change: Callable[..., tuple[bytes | None, T]]) -> T:
        raise Unavailable("no state")


def test_without_its_state_nobody_may_call() -> None:
    with pytest.raises(Unavailable):
        Gate("acc", Broken()).acquire("get_accounts")
