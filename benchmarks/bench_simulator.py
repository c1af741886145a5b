"""How much the simulator carries: single events, bulk imports, memory. Run it alone, it takes a minute.

The server runs in its own process; the client here speaks HTTP by hand, so that it costs little.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import orjson

from klaviyo_simulator.testing import PRIVATE_KEY, Control

HEADERS = {
    "Authorization": f"Klaviyo-API-Key {PRIVATE_KEY}",
    "revision": "2026-07-15",
    "Content-Type": "application/vnd.api+json",
}
PROFILES = 10_000


@contextlib.contextmanager
def server() -> Iterator[tuple[str, int]]:
    """(url, process id) of a simulator without limits."""
    command = [sys.executable, "-m", "klaviyo_simulator", "serve", "--port", "0", "--no-limits"]
    command += ["--switch", "profile_creation_triggers_flows=false"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        found = re.search(r"http://[\w.:]+", process.stdout.readline())
        assert found is not None
        wait_for(found.group())
        try:
            yield found.group(), process.pid
        finally:
            process.send_signal(signal.SIGINT)


def wait_for(url: str) -> None:
    for _ in range(200):
        with contextlib.suppress(OSError):
            Control(url).state()
            return
        time.sleep(0.05)
    raise SystemExit("the simulator did not start")


def post(connection: http.client.HTTPConnection, path: str, body: bytes) -> int:
    connection.request("POST", path, body=body, headers=HEADERS)
    answer = connection.getresponse()
    answer.read()
    return answer.status


def event(number: int) -> bytes:
    person = {"data": {"type": "profile", "attributes": {"email": f"p{number % 1000}@example.com"}}}
    metric = {"data": {"type": "metric", "attributes": {"name": "Viewed Product"}}}
    attributes = {
        "properties": {"sku": f"sku-{number}", "price": 9.99, "category": "shoes", "tags": ["a", "b"]},
        "unique_id": f"e-{number}",
        "time": "2026-10-01T12:00:00Z",
        "metric": metric,
        "profile": person,
    }
    return orjson.dumps({"data": {"type": "event", "attributes": attributes}})


def profiles(start: int, *, count: int = PROFILES) -> bytes:
    """A bulk import of 400 bytes a profile."""
    rows = [
        {
            "type": "profile",
            "attributes": {
                "email": f"person-{number}@example.com",
                "external_id": f"customer-{number}",
                "first_name": "Ada",
                "last_name": f"Lovelace {number}",
                "location": {"city": "London", "country": "United Kingdom", "zip": "NW1"},
                "properties": {"plan": "gold", "score": number, "joined": "2026-01-01", "note": "x" * 120},
            },
        }
        for number in range(start, start + count)
    ]
    job = {"type": "profile-bulk-import-job", "attributes": {"profiles": {"data": rows}}}
    return orjson.dumps({"data": job})


def raw_event(host: str, number: int) -> bytes:
    body = event(number)
    lines = [f"POST /api/events HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in HEADERS.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def single_events(url: str, *, count: int, clients: int) -> float:
    """Events per second: each client sends one at a time over a kept connection, without a client library."""
    host = url.removeprefix("http://")
    name, port = host.split(":")
    bodies = [raw_event(host, number) for number in range(count)]

    def worker(mine: list[bytes]) -> None:
        with socket.create_connection((name, int(port))) as connection:
            for body in mine:
                connection.sendall(body)
                answer = connection.recv(65536)
                assert answer.startswith(b"HTTP/1.1 202"), answer

    started = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(worker, [bodies[n::clients] for n in range(clients)]))
    return count / (time.perf_counter() - started)


def bulk_imports(url: str, *, jobs: int) -> tuple[float, float]:
    """(seconds until all jobs are applied, median seconds of one POST)."""
    bodies = [profiles(number * PROFILES) for number in range(jobs)]
    connection = http.client.HTTPConnection(url.removeprefix("http://"))
    control = Control(url)
    waits: list[float] = []
    started = time.perf_counter()
    for body in bodies:
        before = time.perf_counter()
        assert post(connection, "/api/profile-bulk-import-jobs", body) == 202
        waits.append(time.perf_counter() - before)
    while control.state()["accounts"][0]["profiles"] < jobs * PROFILES:
        time.sleep(0.2)
    return time.perf_counter() - started, sorted(waits)[len(waits) // 2]


def resident_megabytes(process_id: int) -> float:
    text = Path(f"/proc/{process_id}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+)", text)
    return int(found.group(1)) / 1024 if found else float("nan")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--jobs", type=int, default=100)
    parser.add_argument("--clients", type=int, default=8)
    wanted = parser.parse_args()
    with server() as (url, process_id):
        rate = single_events(url, count=wanted.events, clients=wanted.clients)
        print(f"single events:   {rate:,.0f}/s with {wanted.clients} clients (target 2,000/s)")
    with server() as (url, process_id):
        size = len(profiles(0)) / 1e6
        seconds, median = bulk_imports(url, jobs=wanted.jobs)
        total = wanted.jobs * PROFILES
        print(f"bulk import:     {total:,} profiles in {seconds:.1f} s (1,000,000 in 30 s)")
        print(f"one POST:        {median * 1000:.0f} ms for {size:.1f} MB (target 300 ms for 5 MB)")
        print(f"resident memory: {resident_megabytes(process_id):,.0f} MB (target below 2,000 MB)")
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
