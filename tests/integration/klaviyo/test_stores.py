"""Gate and breaker on real databases, with several processes at once."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from klaviyo_bridge.errors import CircuitOpen, RateLimited, Unavailable
from klaviyo_bridge.infra.database import Database, open_database
from klaviyo_bridge.infra.migrate import migrate
from klaviyo_bridge.infra.stores.breaker_store import SQLBreakerStore
from klaviyo_bridge.infra.stores.gate_store import SQLGateStore
from klaviyo_bridge.infra.tables import breakers, gate_windows
from klaviyo_bridge.klaviyo.breaker import Breaker
from klaviyo_bridge.klaviyo.gate import Gate

WORKER = Path(__file__).with_name("gate_worker.py")


class TestGate:
    def test_counts_what_other_processes_took(self, database: Database) -> None:
        Gate("acc", SQLGateStore(database)).acquire("get_accounts")

        with pytest.raises(RateLimited) as error:
            Gate("acc", SQLGateStore(database)).acquire("get_accounts", deadline=0.1)

        assert 0.5 < (error.value.retry_after or 0) < 1.5

    def test_keeps_accounts_and_operations_apart(self, database: Database) -> None:
        gate = Gate("acc", SQLGateStore(database))
        gate.acquire("get_accounts")

        gate.acquire("get_webhooks", deadline=0.0)
        Gate("other", SQLGateStore(database)).acquire("get_accounts", deadline=0.0)

    def test_a_pause_holds_for_everybody(self, database: Database) -> None:
        Gate("acc", SQLGateStore(database)).learn("get_lists", status=429, headers={"Retry-After": "9"})

        with pytest.raises(RateLimited) as error:
            Gate("acc", SQLGateStore(database)).acquire("get_lists", deadline=1.0)

        assert error.value.retry_after == pytest.approx(9, abs=1)

    def test_without_its_table_nobody_may_call(self, database: Database) -> None:
        gate_windows.drop(database.engine)

        with pytest.raises(Unavailable):
            Gate("acc", SQLGateStore(database)).acquire("get_accounts")

    def test_a_failed_change_leaves_no_trace(self, database: Database) -> None:
        store = SQLGateStore(database)

        def change(_stored: bytes | None, _now: int) -> tuple[bytes, None]:
            raise RuntimeError

        with pytest.raises(RuntimeError):
            store.update("acc", "lane", change)

        assert not store.update("acc", "lane", lambda stored, _: (None, stored))

    def test_a_machine_that_was_restarted_does_not_hang(self, tmp_path: Path) -> None:
        url = f"sqlite:///{tmp_path / 'restarted.db'}"
        migrate(url)
        with open_database(url) as database:
            before = Gate("acc", SQLGateStore(database, monotonic=lambda: 9_000_000.0))
            for _ in range(3):
                before.acquire("get_flows", deadline=0.0)

            after = Gate("acc", SQLGateStore(database, monotonic=lambda: 20.0))
            with pytest.raises(RateLimited) as error:
                after.acquire("get_flows", deadline=0.0)

            assert (error.value.retry_after or 0) < 2.0


def test_processes_together_use_the_window_and_never_exceed_it(database_url: str, database: Database) -> None:
    command = [sys.executable, str(WORKER), database_url, "get_campaigns", "5"]
    workers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]

    times = sorted(float(line) for worker in workers for line in worker.communicate(timeout=60)[0].split())

    assert all(worker.returncode == 0 for worker in workers)
    assert len(times) >= 30
    assert all(later - earlier > 1.0 for earlier, later in zip(times, times[10:], strict=False))


class TestBreaker:
    def test_processes_share_it(self, database: Database) -> None:
        one = Breaker("acc", SQLBreakerStore(database), failures=2, stale_seconds=0)
        other = Breaker("acc", SQLBreakerStore(database), failures=2, stale_seconds=0)
        for breaker in (one, other):
            with pytest.raises(ZeroDivisionError):
                breaker.call(lambda: 1 / 0)

        with pytest.raises(CircuitOpen) as error:
            one.check()

        assert error.value.retry_after == pytest.approx(15, abs=1)

    def test_closes_after_a_probe(self, database: Database) -> None:
        breaker = Breaker("acc", SQLBreakerStore(database), failures=1, seconds_open=0.2, stale_seconds=0)
        with pytest.raises(ZeroDivisionError):
            breaker.call(lambda: 1 / 0)
        time.sleep(0.25)

        assert breaker.call(lambda: "back") == "back"
        assert SQLBreakerStore(database).read("acc")[0] == ("closed", 0, pytest.approx(0, abs=1e12), 0.0)

    def test_accounts_are_apart(self, database: Database) -> None:
        breaker = Breaker("acc", SQLBreakerStore(database), failures=1, stale_seconds=0)
        with pytest.raises(ZeroDivisionError):
            breaker.call(lambda: 1 / 0)

        Breaker("other", SQLBreakerStore(database)).check()

    def test_without_its_table_nobody_may_call(self, database: Database) -> None:
        breakers.drop(database.engine)

        with pytest.raises(Unavailable):
            Breaker("acc", SQLBreakerStore(database)).check()
