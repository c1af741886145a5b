"""History out of a plain table, into a simulated Klaviyo."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from builders import a_bridge
from klaviyo_bridge.domain.outbox import RowState
from klaviyo_simulator.testing import RunningSimulator
from waiting import until

ROWS = 2_500


@pytest.fixture
def shop(tmp_path: Path) -> dict[str, object]:
    """A table of orders, and the mapping of it."""
    path = tmp_path / "shop.db"
    with sqlite3.connect(path) as shop:
        shop.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, email TEXT, total REAL, placed TEXT)")
        rows = [(n, f"p{n % 700}@example.com", n / 2, f"2025-01-{n % 28 + 1:02}T00:00:00Z") for n in range(ROWS)]
        shop.executemany("INSERT INTO orders VALUES (?, ?, ?, ?)", rows)
    return {
        "name": "orders",
        "url": f"sqlite:///{path}",
        "query": "SELECT id, email, total, placed FROM orders",
        "metric": "Placed Order",
        "cursor": "id",
        "unique_id": "id",
        "time": "placed",
        "profile": {"email": "email"},
        "value": "total",
        "value_currency": "EUR",
        "properties": {"OrderId": "id"},
    }


def test_history_is_handed_over_once_and_fires_no_flow(
    klaviyo: RunningSimulator, database_url: str, shop: dict[str, object]
) -> None:
    with a_bridge(klaviyo, database_url=database_url, events=[shop]) as bridge, bridge.working():
        first = bridge.history.backfill("orders")
        second = bridge.history.backfill("orders", again=True)

        until(lambda: not any(bridge.health._backlog.backlog(bridge.account)[s] for s in OPEN), seconds=60)
    klaviyo.control.settle()

    stored = klaviyo.control.effects(kind="event.stored", limit=10_000)
    orders = [effect["values"] for effect in stored if effect["values"]["metric"] == "Placed Order"]
    assert (first.queued, second.queued, second.repeated) == (ROWS, 0, ROWS)
    assert len(orders) == len({order["unique_id"] for order in orders}) == ROWS
    assert sum(order["value"] for order in orders) == sum(n / 2 for n in range(ROWS))
    assert not [m for m in klaviyo.control.messages() if m["flow"] and "order" in str(m).lower()]


def test_a_backfill_that_was_stopped_goes_on_where_it_stood(
    klaviyo: RunningSimulator, database_url: str, shop: dict[str, object]
) -> None:
    class Killed(BaseException):
        pass

    def die(_done: object) -> None:
        raise Killed

    with a_bridge(klaviyo, database_url=database_url, events=[shop]) as bridge, pytest.raises(Killed):
        bridge.history.backfill("orders", progress=die)

    with a_bridge(klaviyo, database_url=database_url, events=[shop]) as bridge:
        rest = bridge.history.backfill("orders")

    assert (rest.read, rest.queued) == (ROWS - 1_000, ROWS - 1_000)


OPEN = (RowState.WAITING, RowState.BATCHED)
