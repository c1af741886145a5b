"""The everyday flow over real HTTP to a simulated Klaviyo, on both databases."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

from builders import a_bridge, a_profile
from klaviyo_bridge import LineItem, Order
from klaviyo_simulator.testing import RunningSimulator
from waiting import until


def test_a_sign_up_becomes_a_profile_and_starts_the_welcome_flow(klaviyo: RunningSimulator, database_url: str) -> None:
    with a_bridge(klaviyo, database_url=database_url) as bridge, bridge.working():
        bridge.profiles.push(a_profile())

        until(lambda: klaviyo.control.messages(recipient="ann@example.com"))

    assert len(klaviyo.control.effects(kind="profile.created")) == 1


def test_a_purchase_reported_twice_is_stored_once(klaviyo: RunningSimulator, database_url: str) -> None:
    order = Order(
        order_id="1001",
        total=Decimal("59.90"),
        currency="EUR",
        placed_at=datetime(2026, 11, 1, tzinfo=UTC),
        lines=[LineItem(line_id="1", name="Tea", price=Decimal("29.95"), quantity=2)],
    )
    with a_bridge(klaviyo, database_url=database_url) as bridge, bridge.working():
        first = bridge.events.track_purchase({"email": "ann@example.com"}, order)
        second = bridge.events.track_purchase({"email": "ann@example.com"}, order)
        until(lambda: bridge.health.report().batched + bridge.health.report().waiting == 0)
        klaviyo.control.settle()

    stored = [effect["values"]["unique_id"] for effect in klaviyo.control.effects(kind="event.stored")]
    assert (first.queued, second.queued, second.repeated) == (2, 0, 2)
    assert sorted(unique_id for unique_id in stored if unique_id.startswith("1001")) == ["1001", "1001:1"]
