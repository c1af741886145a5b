"""The gate in real seconds, few of them."""

from __future__ import annotations

import threading
import time

import pytest

from klaviyo_bridge.errors import RateLimited
from klaviyo_bridge.klaviyo.gate import Gate, MemoryGateStore
from klaviyo_bridge.klaviyo.lane import Priority


class TestWaiting:
    def test_waits_for_the_window_and_says_how_long(self) -> None:
        gate = Gate("acc", MemoryGateStore())
        gate.acquire("get_accounts")
        started = time.monotonic()

        waited = gate.acquire("get_accounts")

        assert 1.2 <= time.monotonic() - started < 1.8
        assert waited == pytest.approx(time.monotonic() - started, abs=0.05)

    def test_the_urgent_go_first(self) -> None:
        gate = Gate("acc", MemoryGateStore())
        gate.acquire("get_accounts")
        order: list[Priority] = []

        def wait(priority: Priority) -> None:
            gate.acquire("get_accounts", priority=priority)
            order.append(priority)

        threads = [threading.Thread(target=wait, args=(p,)) for p in (Priority.FULL_SYNC, Priority.CONSENT)]
        for thread in threads:
            thread.start()
            time.sleep(0.1)
        for thread in threads:
            thread.join()

        assert order == [Priority.CONSENT, Priority.FULL_SYNC]

    def test_the_urgent_of_another_process_go_first(self) -> None:
        store = MemoryGateStore()
        one, other = Gate("acc", store), Gate("acc", store)
        one.acquire("get_accounts")
        order: list[Priority] = []

        def wait(gate: Gate, priority: Priority) -> None:
            gate.acquire("get_accounts", priority=priority)
            order.append(priority)

        sync = threading.Thread(target=wait, args=(one, Priority.FULL_SYNC))
        consent = threading.Thread(target=wait, args=(other, Priority.CONSENT))
        sync.start()
        time.sleep(0.1)
        consent.start()
        sync.join()
        consent.join()

        assert order == [Priority.CONSENT, Priority.FULL_SYNC]

    def test_one_who_gives_up_leaves_the_line(self) -> None:
        gate = Gate("acc", MemoryGateStore())
        gate.acquire("get_accounts")
        with pytest.raises(RateLimited):
            gate.acquire("get_accounts", priority=Priority.CONSENT, deadline=0.1)

        assert gate.acquire("get_accounts", priority=Priority.FULL_SYNC) < 2.5

    def test_many_threads_never_exceed_the_second(self) -> None:
        gate = Gate("acc", MemoryGateStore())
        granted: list[float] = []

        def caller() -> None:
            gate.acquire("get_flows")
            granted.append(time.monotonic())

        threads = [threading.Thread(target=caller) for _ in range(9)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        granted.sort()
        assert all(later - earlier > 0.99 for earlier, later in zip(granted, granted[3:], strict=False))
