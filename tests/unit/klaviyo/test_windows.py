"""No window of any phase ever holds more than its limit, and hardly less."""

from __future__ import annotations

from bisect import bisect_right

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyrate_limiter import Rate

from klaviyo_bridge.klaviyo.windows import SlidingWindows

WINDOWS = SlidingWindows()
START = 1_790_000_000_000


def most_in_any_window(times: list[int], length: int) -> int:
    """The fullest half-open window of `length` ms, wherever it begins."""
    return max((bisect_right(times, start + length - 1) - i for i, start in enumerate(times)), default=0)


def greedy(rates: list[Rate], arrivals: list[int]) -> list[int]:
    """When a caller who waits exactly as told gets through, for arrivals separated by these gaps."""
    state, now, granted = WINDOWS.initial(rates), START, []
    for gap in arrivals:
        now += gap
        while True:
            state, decision = WINDOWS.step(rates, state, now, 1)
            if decision.allowed:
                break
            assert decision.retry_after_ms
            now += decision.retry_after_ms
        granted.append(now)
    return granted


@given(
    burst=st.integers(1, 6),
    steady=st.integers(4, 25),
    gaps=st.lists(st.integers(0, 9_000), min_size=1, max_size=120),
)
def test_no_window_of_any_phase_holds_more_than_its_limit(burst: int, steady: int, gaps: list[int]) -> None:
    granted = greedy([Rate(burst, 1_000), Rate(steady, 60_000)], gaps)

    assert most_in_any_window(granted, 1_000) <= burst
    assert most_in_any_window(granted, 60_000) <= steady


@pytest.mark.parametrize(("burst", "steady"), [(10, 150), (75, 750), (3, 60), (1, 15), (350, 3500)])
def test_a_caller_who_never_rests_uses_at_least_99_percent(burst: int, steady: int) -> None:
    minutes = 4 if steady < 3500 else 2
    granted = greedy([Rate(burst, 1_000), Rate(steady, 60_000)], [0] * (steady * minutes + 1))

    assert granted[-1] - START <= minutes * 60_000 / 0.99
    assert most_in_any_window(granted, 60_000) == steady


def test_a_day_is_counted_beside_the_minute() -> None:
    rates = [Rate(1, 1_000), Rate(2, 60_000), Rate(5, 86_400_000)]

    granted = greedy(rates, [0] * 6)

    assert granted[4] - START < 3 * 60_000
    assert 86_400_000 <= granted[5] - START <= 86_400_000 + 7 * 60_000


def test_a_denied_call_spends_nothing() -> None:
    rates = [Rate(1, 1_000), Rate(5, 60_000)]
    state, _ = WINDOWS.step(rates, WINDOWS.initial(rates), START, 1)

    after, decision = WINDOWS.step(rates, state, START, 1)

    assert not decision.allowed
    assert after is state


def test_a_clock_that_goes_back_delays_and_never_hangs() -> None:
    rates = [Rate(2, 1_000), Rate(2, 60_000)]
    state, _ = WINDOWS.step(rates, WINDOWS.initial(rates), START, 1)
    state, _ = WINDOWS.step(rates, state, START, 1)

    _, decision = WINDOWS.step(rates, state, 5_000, 1)

    assert decision.retry_after_ms
    assert decision.retry_after_ms <= 60_100


def test_says_how_many_calls_a_window_holds() -> None:
    rates = [Rate(10, 1_000), Rate(10, 60_000)]
    state = WINDOWS.initial(rates)
    for now in (START, START + 1_000, START + 59_000):
        state, _ = WINDOWS.step(rates, state, now, 1)

    assert WINDOWS.consumed(rates, state, START + 59_500) == 3
    assert WINDOWS.consumed(rates, state, START + 70_000) == 1
