"""kill -9 of the whole service while it is loaded, judged by the simulator's effect log and a client's ledger."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from pathlib import Path

import httpx

from builders import API_KEY
from klaviyo_simulator.testing import RunningSimulator
from programs import UpProcess, bridge_environment
from waiting import until

EVENTS = 2_000
CLIENTS = 4
KILLS = 4


class Clients:
    """Report events 0 to EVENTS - 1 over HTTP, each again and again until it is acknowledged."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._next = iter(range(EVENTS))
        self._lock = threading.Lock()
        self.acknowledged: set[int] = set()
        self._threads = [threading.Thread(target=self._report_all) for _ in range(CLIENTS)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join()

    def _report_all(self) -> None:
        with httpx.Client(base_url=self._url, headers={"Authorization": f"Bearer {API_KEY}"}) as http:
            while (number := self._take()) is not None:
                while not self._report(http, number):
                    time.sleep(0.05)
                with self._lock:
                    self.acknowledged.add(number)

    def _take(self) -> int | None:
        with self._lock:
            return next(self._next, None)

    @staticmethod
    def _report(http: httpx.Client, number: int) -> bool:
        body = {
            "metric": "Placed Order",
            "profile": {"email": f"customer{number % 300}@example.com"},
            "unique_id": f"order-{number}",
            "value": number,
        }
        try:
            return http.post("/v1/events", json=body).status_code == 202
        except httpx.TransportError:
            return False


def test_after_kills_every_acknowledged_event_arrived_exactly_once(
    klaviyo: RunningSimulator, database_url: str, tmp_path: Path, unused_port: int
) -> None:
    chance = random.Random(7)
    environment = bridge_environment(klaviyo, tmp_path, BRIDGE_DATABASE_URL=database_url)
    up = UpProcess(tmp_path, unused_port, environment)
    clients = Clients(up.url)
    up.start()
    clients.start()
    for _ in range(KILLS):
        time.sleep(chance.uniform(0.2, 1.5))
        up.kill()
        up.start()
    clients.join()
    try:
        until(lambda: _nothing_open(up), seconds=60)
        klaviyo.control.settle()
    finally:
        up.stop()

    effects = klaviyo.control.effects(kind="event.stored", limit=100_000)
    arrived = Counter(str(effect["values"]["unique_id"]) for effect in effects)
    orders = {key: count for key, count in arrived.items() if key.startswith("order-")}
    assert len(clients.acknowledged) == EVENTS
    assert set(orders) == {f"order-{number}" for number in range(EVENTS)}
    assert set(orders.values()) == {1}


def _nothing_open(up: UpProcess) -> bool:
    report = httpx.get(f"{up.url}/health", timeout=10).json()
    assert report["dead"] == 0, report
    return report["waiting"] == 0 and report["batched"] == 0
