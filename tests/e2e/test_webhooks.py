"""Changes at Klaviyo reach the shop's table: by the simulator's own signed webhooks, and by polling alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from builders import a_bridge
from deliveries import a_webhook_event
from klaviyo_bridge.bridge import Bridge
from klaviyo_bridge.errors import InvalidPayload, NotAuthorized
from klaviyo_simulator.testing import RunningSimulator
from serving import app_of, serving
from waiting import until

NAMES = ["profile.updated", "list.member.*", "event:klaviyo.opened_email"]
OPTED_OUT = {"plan": "pro", "newsletter": False}


class Shop:
    """A table of customers with one row."""

    def __init__(self, folder: Path) -> None:
        self.url = f"sqlite:///{folder / 'shop.db'}"
        self._engine = sa.create_engine(self.url)
        with self._engine.begin() as connection:
            connection.exec_driver_sql(
                "CREATE TABLE customers (id TEXT PRIMARY KEY, email TEXT, plan TEXT, newsletter BOOLEAN)"
            )
            connection.exec_driver_sql("INSERT INTO customers VALUES ('7', 'ann@example.com', 'free', 1)")

    def customer(self) -> dict[str, Any]:
        with self._engine.begin() as connection:
            row = connection.exec_driver_sql("SELECT plan, newsletter FROM customers").one()
        return {"plan": row.plan, "newsletter": bool(row.newsletter)}

    def close(self) -> None:
        self._engine.dispose()

    def mapping(self) -> dict[str, Any]:
        return {
            "name": "customers",
            "url": self.url,
            "table": "customers",
            "key": "id",
            "fields": {"email": "email", "properties.plan": "plan"},
            "consent": {"email": "newsletter"},
        }


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    opened = Shop(tmp_path)
    yield opened
    opened.close()


def pushed(klaviyo: RunningSimulator, bridge: Bridge) -> str:
    """Push the shop's customer; Klaviyo's id of her."""
    bridge.profiles.push_source()
    until(lambda: klaviyo.control.effects(kind="profile.created"))
    until(lambda: bridge.health.report().batched + bridge.health.report().waiting == 0)
    return str(klaviyo.control.person(external_id="7")["id"])


def changed_at_klaviyo(klaviyo: RunningSimulator, profile_id: str) -> None:
    """Somebody edits a property in Klaviyo, and the customer unsubscribes."""
    klaviyo.control.act("edit", profile=profile_id, attributes={"properties": {"plan": "pro"}})
    klaviyo.control.act("unsubscribe", profile=profile_id)


def test_webhooks_bring_an_unsubscribe_and_a_property_change(
    klaviyo: RunningSimulator, database_url: str, shop: Shop
) -> None:
    with (
        a_bridge(klaviyo, database_url=database_url, mappings=[shop.mapping()]) as bridge,
        bridge.working(),
        serving(app_of(bridge)) as url,
    ):
        bridge.subscriptions.create(url=f"{url}/webhooks/klaviyo", patterns=NAMES)
        profile_id = pushed(klaviyo, bridge)
        changed_at_klaviyo(klaviyo, profile_id)

        until(lambda: shop.customer() == OPTED_OUT)


def test_polling_brings_the_same_end_state_with_webhooks_switched_off(
    klaviyo: RunningSimulator, database_url: str, shop: Shop
) -> None:
    with a_bridge(klaviyo, database_url=database_url, mappings=[shop.mapping()]) as bridge, bridge.working():
        profile_id = pushed(klaviyo, bridge)
        changed_at_klaviyo(klaviyo, profile_id)
        klaviyo.control.settle()

        until(lambda: bridge.profiles.pull() and shop.customer() == OPTED_OUT)


def test_a_users_handler_hears_by_webhook_or_by_polling_but_of_each_event_once(
    klaviyo: RunningSimulator, database_url: str
) -> None:
    polled = {"poll_topics": ["profile.unsubscribed", "profile.updated"]}
    heard: list[str] = []
    with a_bridge(klaviyo, database_url=database_url, **polled) as bridge:
        bridge.webhooks.add("profile.unsubscribed", lambda events: heard.extend(e.external_id for e in events))
        with bridge.working(), serving(app_of(bridge)) as url:
            bridge.subscriptions.create(url=f"{url}/webhooks/klaviyo", patterns=["profile.unsubscribed"])
            bridge.polling.poll()
            bridge.profiles.push({"email": "ann@example.com"})
            until(lambda: klaviyo.control.effects(kind="profile.created"))
            klaviyo.control.act("unsubscribe", email="ann@example.com")
            until(lambda: heard)
            klaviyo.control.settle()
            bridge.polling.poll()
            until(lambda: _all_ended(bridge))

    assert len(heard) == 1


def _all_ended(bridge: Bridge) -> bool:
    return all("stored" not in states for states in bridge.inbox.counts().values())


def test_a_webhook_is_created_rotated_disabled_and_deleted(klaviyo: RunningSimulator, database_url: str) -> None:
    secrets = ["the-new-secret-0123456789", "the-old-secret-0123456789"]
    klaviyo.control.switch(limits=False)
    with a_bridge(klaviyo, database_url=database_url, klaviyo_webhook_signing_secret=secrets) as bridge:
        made = bridge.subscriptions.create(url="https://bridge.example.com/webhooks/klaviyo", patterns=NAMES)
        rotated = bridge.subscriptions.rotate(made.id)
        disabled = bridge.subscriptions.enable(made.id, enabled=False)
        known = bridge.subscriptions.all()
        bridge.subscriptions.delete(made.id)

        assert (made.enabled, rotated.id, disabled.enabled) == (True, made.id, False)
        assert [one.id for one in known] == [made.id]
        assert bridge.subscriptions.all() == []
        with pytest.raises(InvalidPayload, match="comes from polling"):
            bridge.subscriptions.create(url="https://x.example.com/", patterns=["campaign.sent"])


def test_without_the_paid_tier_every_command_says_so(klaviyo: RunningSimulator, database_url: str) -> None:
    klaviyo.control.switch(kdp=False)
    with a_bridge(klaviyo, database_url=database_url) as bridge, pytest.raises(NotAuthorized, match="Advanced KDP"):
        bridge.subscriptions.topics()


def test_rotating_wants_the_old_secret_configured_too(klaviyo: RunningSimulator, database_url: str) -> None:
    with a_bridge(klaviyo, database_url=database_url) as bridge, pytest.raises(InvalidPayload, match="second one"):
        bridge.subscriptions.rotate("01X")


def test_stored_events_are_handled_by_jobs(klaviyo: RunningSimulator, database_url: str) -> None:
    events = [a_webhook_event(f"e{number}", **{"$message": "M"}) for number in range(1_200)]
    with a_bridge(klaviyo, database_url=database_url) as bridge, bridge.working():
        bridge.inbox_ingest.submit(events).result(timeout=30)

        until(lambda: bridge.engagement.by_message() == {"M": {"opened": 1_200}})
