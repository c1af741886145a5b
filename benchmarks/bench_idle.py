"""What `klaviyo-bridge up` costs while nothing happens, and how fast an event arrives all the same.

Starts a simulator and a bridge as processes of their own (SQLite), measures the bridge's CPU and memory over
`SECONDS` idle seconds, then sends events one at a time and takes the time from the request to the effect at
Klaviyo. Targets: < 1 % of a core, < 120 MB, p50 <= 150 ms.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx

from klaviyo_simulator.testing import running_simulator

SECONDS = float(os.environ.get("IDLE_SECONDS", "30"))
EVENTS = int(os.environ.get("IDLE_EVENTS", "60"))
KEY = "benchmark-key-0123456789"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, running_simulator() as klaviyo:
        port = free_port()
        url = os.environ.get("IDLE_DATABASE", f"sqlite:///{folder}/bridge.db")
        environment = os.environ | {
            "KLAVIYO_PRIVATE_KEY": klaviyo.key,
            "BRIDGE_KLAVIYO_HOST": klaviyo.url,
            "BRIDGE_DATABASE_URL": url,
            "BRIDGE_API_KEYS": KEY,
            "BRIDGE_PORT": str(port),
        }
        bridge = subprocess.Popen([sys.executable, "-m", "klaviyo_bridge", "up"], env=environment, cwd=folder)
        try:
            client = httpx.Client(base_url=f"http://127.0.0.1:{port}", headers={"Authorization": f"Bearer {KEY}"})
            wait_for(client)
            time.sleep(5)
            before = cpu_seconds(bridge.pid)
            time.sleep(SECONDS)
            share = (cpu_seconds(bridge.pid) - before) / SECONDS
            print(f"idle: {share:.2%} of a core, {resident_mb(bridge.pid):.0f} MB")
            times = sorted(arrival(client, klaviyo, number) for number in range(EVENTS))
            at = lambda part: times[min(len(times) - 1, int(len(times) * part))] * 1000  # noqa: E731
            print(f"202 to arrival: p50 {at(0.5):.0f} ms, p90 {at(0.9):.0f} ms, p99 {at(0.99):.0f} ms")
            print(f"after {EVENTS} events: {resident_mb(bridge.pid):.0f} MB")
        finally:
            bridge.terminate()
            bridge.wait()


def arrival(client: httpx.Client, klaviyo: object, number: int) -> float:
    """Seconds from the request to the moment the simulator has logged the event's request."""
    time.sleep(0.5)
    klaviyo.control.clear_log()
    body = {"metric": "Viewed", "profile": {"email": f"p{number}@example.com"}, "unique_id": str(number)}
    started = time.perf_counter()
    client.post("/v1/events", json=body).raise_for_status()
    while not klaviyo.control.requests(operation="create_event"):
        time.sleep(0.002)
    return time.perf_counter() - started


def wait_for(client: httpx.Client) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            client.get("/health/live").raise_for_status()
        except httpx.HTTPError:
            time.sleep(0.1)
        else:
            return
    raise SystemExit("the bridge did not start")


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mb(pid: int) -> float:
    line = next(li for li in Path(f"/proc/{pid}/status").read_text().splitlines() if li.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


if __name__ == "__main__":
    main()
