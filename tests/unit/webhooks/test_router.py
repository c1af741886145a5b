"""Topics, our names for them, and who is called."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import EntryPoint

import pytest

from deliveries import a_webhook_event
from klaviyo_bridge.domain.webhook import CANONICAL, WebhookEvent
from klaviyo_bridge.errors import ConfigError
from klaviyo_bridge.webhooks.router import Router


def handler(_events: Sequence[WebhookEvent]) -> None: ...


def other(_events: Sequence[WebhookEvent]) -> None: ...


@pytest.mark.parametrize(
    ("topic", "pattern"),
    [
        ("event:klaviyo.unsubscribed_from_email_marketing", "event:klaviyo.*"),
        ("event:klaviyo.unsubscribed_from_email_marketing", "profile.unsubscribed"),
        ("event:klaviyo.unsubscribed_from_email_marketing", "profile.updated"),
        ("event:klaviyo.subscribed_to_list", "list.member.added"),
        ("event:klaviyo.unsubscribed_from_list", "list.member.*"),
        ("event:klaviyo.merged_profile", "profile.merged"),
        ("event:api.placed_order", "event:api.placed_order"),
        ("flow:unsubscribed_from_email_marketing", "profile.unsubscribed"),
        ("poll:profile.updated", "profile.updated"),
        ("poll:campaign.sent", "campaign.sent"),
    ],
)
def test_an_event_goes_by_its_topic_and_by_our_names(topic: str, pattern: str) -> None:
    router = Router()
    router.add(pattern, handler)

    assert router.handlers_of(a_webhook_event(topic=topic)) == [handler]


@pytest.mark.parametrize("topic", ["event:api.opened_email", "event:klaviyo.sent_sms", "unreadable", ""])
def test_what_nobody_wants_has_no_handler(topic: str) -> None:
    router = Router()
    for name in CANONICAL:
        router.add(name, handler)

    assert router.handlers_of(a_webhook_event(topic=topic)) == []


def test_campaign_names_are_for_messages_of_campaigns_only() -> None:
    of_campaign = a_webhook_event(**{"$message": "M"})
    of_flow = a_webhook_event(**{"$message": "M", "$flow": "F"})

    assert "campaign.opened" in of_campaign.names
    assert of_flow.names == ("event:klaviyo.opened_email",)


def test_a_handler_with_two_matching_patterns_is_called_once() -> None:
    router = Router()
    router.on("event:klaviyo.opened_*", "event:*")(handler)
    router.include({"*": other})

    assert router.handlers_of(a_webhook_event()) == [handler, other]


@pytest.mark.parametrize(("name", "topic"), [("HANDLERS", "event:klaviyo.subscribed_to_list"), ("register", "flow:x")])
def test_installed_packages_bring_a_mapping_or_a_function(name: str, topic: str) -> None:
    router = Router()
    router.install(_point(name))

    assert [found.__name__ for found in router.handlers_of(a_webhook_event(topic=topic))] == ["handler"]


@pytest.mark.parametrize("name", ["broken", "no_such_name"])
def test_an_installed_package_that_cannot_be_loaded_stops_the_start(name: str) -> None:
    with pytest.raises(ConfigError, match="entry point shop"):
        Router().install(_point(name))


def _point(name: str) -> EntryPoint:
    return EntryPoint("shop", f"webhook_plugin:{name}", "klaviyo_bridge.webhook_handlers")
