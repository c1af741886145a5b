"""What becomes of stored events: handled once in effect, tried again one by one, dead, replayed, forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from deliveries import a_webhook_event
from klaviyo_bridge.domain.webhook import WebhookEvent
from klaviyo_bridge.errors import CircuitOpen, Rejected
from klaviyo_bridge.infra.database import Database
from klaviyo_bridge.infra.engine import open_engine
from klaviyo_bridge.infra.stores.engagement import EngagementStore
from klaviyo_bridge.infra.stores.inbox import InboxStore
from klaviyo_bridge.infra.telemetry import Recorder
from klaviyo_bridge.services.engagement import Engagement
from klaviyo_bridge.services.inbox import Inbox
from klaviyo_bridge.services.ingest import GroupCommit
from klaviyo_bridge.webhooks.handlers import campaign_events
from klaviyo_bridge.webhooks.router import Router

ALL = range(1, 2_001)


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 11, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(database: Database, database_url: str, clock: Clock) -> Iterator[InboxStore]:
    with open_engine(database, database_url) as engine:
        yield InboxStore(database, engine, queue="live", clock=clock)


@pytest.fixture
def inbox(store: InboxStore, clock: Clock) -> Inbox:
    return Inbox("default", store, Recorder(), clock=clock, delays=(10.0, 60.0))


class Shop:
    """A handler that notes what it got, and fails for the events it is told to."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self.poison: set[str] = set()
        self.error: Exception = Rejected("no such row")
        self.applied: list[str] = []

    def __call__(self, events: Sequence[WebhookEvent]) -> None:
        if any(event.external_id in self.poison for event in events):
            raise self.error
        self.applied += [event.external_id for event in events]

    def work(self) -> dict[str, int]:
        """Handle all that is stored; the states afterwards."""
        self._inbox.process(ALL, handlers_of=lambda _: [self])
        return next(iter(self._inbox.counts().values()))


@pytest.fixture
def shop(inbox: Inbox) -> Shop:
    return Shop(inbox)


def test_one_failing_event_leaves_its_999_siblings_done(inbox: Inbox, shop: Shop) -> None:
    inbox.receive([a_webhook_event(f"e{number}") for number in range(1_000)])
    shop.poison = {"e500"}

    assert shop.work() == {"handled": 999, "stored": 1}
    assert len(shop.applied) == 999


@pytest.mark.parametrize("error", [Rejected("no such row"), ValueError("ann@example.com")])
def test_an_event_that_keeps_failing_is_dead_and_lives_again_by_replay(
    inbox: Inbox, shop: Shop, error: Exception
) -> None:
    inbox.receive([a_webhook_event("e1"), a_webhook_event("e2")])
    shop.poison, shop.error = {"e2"}, error
    states = [shop.work() for _ in range(3)]
    reason = inbox.dead()[0]["last_error"]
    shop.poison = set()

    assert states[-1] == {"handled": 1, "dead": 1}
    assert reason in {"no such row", "ValueError"}
    assert inbox.replay() == 1
    assert shop.work() == {"handled": 2}
    assert sorted(shop.applied) == ["e1", "e2"]


def test_while_klaviyo_is_down_events_wait_and_lose_no_attempt(inbox: Inbox, shop: Shop) -> None:
    inbox.receive([a_webhook_event("e1")])
    shop.poison, shop.error = {"e1"}, CircuitOpen(retry_after=3.0)
    for _ in range(10):
        assert shop.work() == {"stored": 1}
    shop.error = Rejected("no")

    assert shop.work() == {"stored": 1}


def test_repeats_are_dropped_per_account(inbox: Inbox, store: InboxStore, clock: Clock) -> None:
    other = Inbox("other", store, Recorder(), clock=clock)
    events = [a_webhook_event("e1"), a_webhook_event("e1"), a_webhook_event("e2")]

    assert (inbox.receive(events), inbox.receive(events), other.receive(events)) == (2, 0, 2)


def test_messages_are_counted_once_however_often_their_events_are_handled(
    inbox: Inbox, database: Database, clock: Clock
) -> None:
    engagement = Engagement("default", EngagementStore(database, clock=clock))
    router = Router()
    campaign_events.register(router, engagement)
    metrics = ("received_email", "received_email", "opened_email", "clicked_email", "unsubscribed_from_email_marketing")
    inbox.receive(
        [
            a_webhook_event(f"e{number}", topic=f"event:klaviyo.{metric}", **{"$message": "M", "$campaign": "C"})
            for number, metric in enumerate(metrics)
        ]
    )
    for _ in range(3):
        inbox.process(ALL, handlers_of=router.handlers_of)
        inbox.replay(state="handled")

    assert engagement.by_message(campaign_id="C") == {
        "M": {"delivered": 2, "opened": 1, "clicked": 1, "unsubscribed": 1}
    }


@pytest.mark.parametrize("value", ["x" * 300, "a\u0000b", 5, None, {"a": 1}])
def test_a_message_id_that_is_none_is_not_counted_and_not_fatal(
    inbox: Inbox, database: Database, clock: Clock, value: object
) -> None:
    engagement = Engagement("default", EngagementStore(database, clock=clock))
    router = Router()
    campaign_events.register(router, engagement)
    inbox.receive([a_webhook_event("e1", **{"$message": value})])

    inbox.process(ALL, handlers_of=router.handlers_of)

    assert inbox.counts() == {"event:klaviyo.opened_email": {"handled": 1}}
    assert engagement.by_message() == {}


def test_retention_deletes_what_is_done_and_keeps_what_is_open(inbox: Inbox, shop: Shop, clock: Clock) -> None:
    inbox.receive([a_webhook_event("e1"), a_webhook_event("e2")])
    shop.poison = {"e2"}
    for _ in range(3):
        shop.work()
    clock.now += timedelta(days=29)
    assert inbox.tend() == 0
    clock.now += timedelta(days=2)

    assert inbox.tend() == 1
    assert inbox.counts() == {"event:klaviyo.opened_email": {"dead": 1}}


def test_an_event_that_its_job_lost_is_enqueued_again(inbox: Inbox, clock: Clock) -> None:
    inbox.receive([a_webhook_event("e1")])
    clock.now += timedelta(minutes=31)

    assert (inbox.tend(), inbox.tend()) == (1, 0)


def test_a_caller_who_leaves_does_not_end_the_group_commit() -> None:
    committed: list[int] = []
    ingest = GroupCommit[int](committed.extend, name="test", backlog=lambda: 0, limit=10)
    left = ingest.submit([1])
    left.cancel()

    async def stays() -> None:
        await asyncio.wait_for(asyncio.wrap_future(ingest.submit([2])), timeout=10)

    with ingest.running():
        asyncio.run(stays())

    assert committed == [2]
