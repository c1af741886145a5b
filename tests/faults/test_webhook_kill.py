"""kill -9 of the whole service between webhook events: each that was acknowledged is applied exactly once."""

from __future__ import annotations

import random
import threading
import time
from pathlib import Path

import httpx

from builders import API_KEY
from deliveries import a_body, an_item, headers_for
from klaviyo_simulator.testing import RunningSimulator
from programs import UpProcess, bridge_environment
from waiting import until

DELIVERIES = 100
EVENTS = 20  # in one delivery
KILLS = 2


def deliver(url: str, number: int) -> bool:
    items = [an_item(f"{number}-{event}", **{"$message": f"M{event % 3}"}) for event in range(EVENTS)]
    body = a_body(*items)
    try:
        return httpx.post(f"{url}/webhooks/klaviyo", content=body, headers=headers_for(body), timeout=10).is_success
    except httpx.TransportError:
        return False


def deliver_all(url: str) -> None:
    """As Klaviyo does: each delivery again and again until it is answered 2xx."""
    for number in range(DELIVERIES):
        while not deliver(url, number):
            time.sleep(0.05)


def counted(up: UpProcess) -> int:
    headers = {"Authorization": f"Bearer {API_KEY}"}
    return sum(tally["events"] for tally in httpx.get(f"{up.url}/v1/engagement", headers=headers, timeout=10).json())


def test_after_kills_every_webhook_event_is_counted_exactly_once(
    klaviyo: RunningSimulator, database_url: str, tmp_path: Path, unused_port: int
) -> None:
    chance = random.Random(3)
    up = UpProcess(tmp_path, unused_port, bridge_environment(klaviyo, tmp_path, BRIDGE_DATABASE_URL=database_url))
    up.start()
    sender = threading.Thread(target=deliver_all, args=(up.url,))
    sender.start()
    for _ in range(KILLS):
        time.sleep(chance.uniform(0.2, 0.8))
        up.kill()
        up.start()
    sender.join()
    try:
        until(lambda: counted(up) >= DELIVERIES * EVENTS, seconds=60)
        inbox = httpx.get(f"{up.url}/v1/inbox", headers={"Authorization": f"Bearer {API_KEY}"}, timeout=10).json()
        total = counted(up)
    finally:
        up.stop()

    assert total == DELIVERIES * EVENTS
    assert sum(inbox["counts"]["event:klaviyo.opened_email"].values()) == DELIVERIES * EVENTS
