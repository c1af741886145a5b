"""The bridge as a process, killed at random moments: what was answered 202 arrives, each event once."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx

from builders import API_KEY
from klaviyo_simulator.testing import RunningSimulator, running_simulator
from waiting import until

EVENTS, TOGETHER, KILLS = 2_000, 40, 4
SEED = 20261124


class Service:
    """`klaviyo-bridge up`, which may die and be started again."""

    def __init__(self, klaviyo: RunningSimulator, database_url: str, folder: Path, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._log = folder / "bridge.log"
        self._folder = folder
        self._port = port
        self._environment = {
            **os.environ,
            "KLAVIYO_PRIVATE_KEY": klaviyo.key,
            "BRIDGE_KLAVIYO_HOST": klaviyo.url,
            "BRIDGE_DATABASE_URL": database_url,
            "BRIDGE_API_KEYS": API_KEY,
            "BRIDGE_PULL_EVERY": "3600",
            "BRIDGE_PUSH_EVERY": "3600",
        }

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "klaviyo_bridge", "up", "--port", str(self._port)],
                cwd=self._folder,
                env=self._environment,
                stdout=log,
                stderr=log,
            )
        until(self._answers, seconds=60)

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def post(self, events: list[dict[str, object]]) -> bool:
        """Whether the service promised to deliver them."""
        try:
            answer = httpx.post(
                f"{self.url}/v1/events", json=events, headers={"Authorization": f"Bearer {API_KEY}"}, timeout=10
            )
        except httpx.TransportError:
            return False
        assert answer.status_code in (202, 503), answer.text
        return answer.status_code == 202

    def open_rows(self) -> int:
        report = httpx.get(f"{self.url}/health", timeout=10).json()
        return report["waiting"] + report["batched"]

    def _answers(self) -> bool:
        assert self._process.poll() is None, self._log.read_text()[-2_000:]
        try:
            return httpx.get(f"{self.url}/health/live", timeout=2).status_code == 200
        except httpx.TransportError:
            return False


def test_two_thousand_events_survive_kills_and_arrive_once(database_url: str, tmp_path: Path) -> None:
    chance = random.Random(SEED)
    events = [
        {"metric": "Placed Order", "unique_id": f"order-{n}", "profile": {"email": f"p{n % 500}@example.com"}}
        for n in range(EVENTS)
    ]
    with running_simulator() as klaviyo:
        service = Service(klaviyo, database_url, tmp_path, _free_port())
        service.start()
        try:
            _post_all_between_kills(service, events, chance)
            until(lambda: service.open_rows() == 0, seconds=90)
        finally:
            service.kill()
        klaviyo.control.settle()
        stored = klaviyo.control.effects(kind="event.stored", limit=10 * EVENTS)

    ids = [effect["values"]["unique_id"] for effect in stored if effect["values"].get("unique_id")]
    orders = [unique_id for unique_id in ids if unique_id.startswith("order-")]
    assert len(orders) == EVENTS
    assert set(orders) == {str(event["unique_id"]) for event in events}


def _post_all_between_kills(service: Service, events: list[dict[str, object]], chance: random.Random) -> None:
    """Everything is promised at last; the service is killed on the way, and once more while it drains."""
    parts = [events[start : start + TOGETHER] for start in range(0, EVENTS, TOGETHER)]
    deadly = set(chance.sample(range(1, len(parts)), KILLS - 1))
    for number, part in enumerate(parts):
        if number in deadly:
            time.sleep(chance.uniform(0, 0.5))  # the moment is what varies, nothing is awaited
            service.kill()
            service.start()
        until(lambda part=part: service.post(part), seconds=60)
    time.sleep(chance.uniform(0, 0.5))
    service.kill()
    service.start()


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
