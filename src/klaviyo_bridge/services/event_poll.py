"""What webhooks would have told, and what no webhook ever tells, read from Klaviyo into the same inbox.

An event that came by webhook has the same id here, so it is stored once. Changed profiles and sent campaigns have
no webhook at all; they become events with the topics `poll:profile.updated` and `poll:campaign.sent`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from itertools import islice
from typing import Any, Protocol

from klaviyo_bridge.domain.values import iso
from klaviyo_bridge.domain.webhook import CANONICAL, POLLED, WebhookEvent, event_payload, topics_named
from klaviyo_bridge.klaviyo.api import KlaviyoAPI
from klaviyo_bridge.klaviyo.filters import all_of, equals, greater_or_equal, greater_than
from klaviyo_bridge.klaviyo.types import RemoteCampaign, RemoteEvent, RemoteMetric, RemoteProfile

OVERLAP = timedelta(minutes=10)
LATE = timedelta(hours=3)
"""Events were seen to arrive two hours after they happened: once an hour the look back is this long."""
LOOK_BACK_EVERY = timedelta(hours=1)
PAGE = 1_000  # events put on disk at once
SENT = "sent"
CHANNELS = ("email", "sms")
_NOT_SLUG = re.compile(r"[^a-z0-9]+")


class Cursors(Protocol):
    """Where a walk stands. `infra.stores.cursors.CursorStore` is one."""

    def get(self, account: str, name: str) -> Any: ...
    def put(self, account: str, name: str, value: object) -> None: ...


class EventPoll:
    """Polls the events of one account that match `patterns`: topics, or names of ours; without any, nothing.

    The first look begins with the present: history is for the export.
    """

    def __init__(
        self,
        account: str,
        klaviyo: KlaviyoAPI,
        cursors: Cursors,
        receive: Callable[[Sequence[WebhookEvent]], int],
        *,
        patterns: Sequence[str],
        clock: Callable[[], datetime],
    ) -> None:
        self._account = account
        self._klaviyo = klaviyo
        self._cursors = cursors
        self._receive = receive
        self._patterns = patterns
        self._clock = clock

    def poll(self) -> int:
        """Put what is new into the inbox; returns how many events that were."""
        new = 0
        if self._wants("profile.updated"):
            new += self._walk("profile.updated", self._changed_profiles)
        if self._wants("campaign.sent"):
            new += self._walk("campaign.sent", self._sent_campaigns)
        for metric in self._wanted_metrics():
            new += self._walk(f"metric:{metric.id}", lambda since, metric=metric: self._events(metric, since))
        return new

    def _walk(self, name: str, events_since: Callable[[datetime], Iterator[WebhookEvent]]) -> int:
        """Store what happened since the last walk, a good deal of it again; then move the mark to its beginning."""
        now, name = self._clock(), f"poll:{name}"
        stored = self._cursors.get(self._account, name) or {"at": iso(now), "looked_back": iso(now)}
        looked_back = datetime.fromisoformat(stored["looked_back"])
        deep = now - looked_back >= LOOK_BACK_EVERY
        since = datetime.fromisoformat(stored["at"]) - (LATE if deep else OVERLAP)
        events, new = events_since(since), 0
        while page := list(islice(events, PAGE)):
            new += self._receive(page)
        mark = {"at": iso(now), "looked_back": iso(now if deep else looked_back)}
        self._cursors.put(self._account, name, mark)
        return new

    def _wants(self, name: str) -> bool:
        return any(fnmatchcase(name, pattern) for pattern in self._patterns)

    def _wanted_metrics(self) -> list[RemoteMetric]:
        names = [name for name in CANONICAL if self._wants(name)]
        topics = {topic for name in names for topic in topics_named(name)}
        possible = [pattern for pattern in self._patterns if pattern not in CANONICAL]
        if not topics and not possible:
            return []
        return [m for m in self._klaviyo.metrics.all() if topic_of(m) in topics or self._wants(topic_of(m))]

    def _events(self, metric: RemoteMetric, since: datetime) -> Iterator[WebhookEvent]:
        wanted = all_of(equals("metric_id", metric.id), greater_or_equal("datetime", since))
        cursor, topic = None, topic_of(metric)
        while True:
            page = self._klaviyo.events.page(filter=wanted, cursor=cursor)
            yield from (_event(event, topic) for event in page.items)
            cursor = page.next_cursor
            if cursor is None:
                return

    def _changed_profiles(self, since: datetime) -> Iterator[WebhookEvent]:
        cursor = None
        while True:
            page = self._klaviyo.profiles.page(filter=greater_than("updated", since), sort="updated", cursor=cursor)
            yield from map(_profile_updated, page.items)
            cursor = page.next_cursor
            if cursor is None:
                return

    def _sent_campaigns(self, since: datetime) -> Iterator[WebhookEvent]:
        for channel in CHANNELS:
            for campaign in self._klaviyo.campaigns.all(channel=channel, updated_since=since):
                if campaign.status.lower() == SENT:
                    yield from _campaign_sent(campaign)


def topic_of(metric: RemoteMetric) -> str:
    """The topic a webhook would have for the metric's events."""
    integration = _NOT_SLUG.sub("", (metric.integration or "api").lower())
    return f"event:{integration}.{_NOT_SLUG.sub('_', metric.name.lower()).strip('_')}"


def _event(event: RemoteEvent, topic: str) -> WebhookEvent:
    payload = event_payload(
        event.id,
        profile_id=event.profile_id,
        metric_id=event.metric_id,
        time=event.time,
        properties=event.properties,
    )
    return WebhookEvent(external_id=event.id, topic=topic, payload=payload)


def _profile_updated(profile: RemoteProfile) -> WebhookEvent:
    moved = iso(profile.updated) if profile.updated else "unknown"
    event_id = f"profile:{profile.id}:{moved}"
    payload = event_payload(event_id, profile_id=profile.id, time=profile.updated, properties={})
    return WebhookEvent(external_id=event_id, topic=f"{POLLED}profile.updated", payload=payload)


def _campaign_sent(campaign: RemoteCampaign) -> Iterator[WebhookEvent]:
    for message_id in campaign.message_ids or (campaign.id,):
        event_id = f"campaign:{campaign.id}:{message_id}:sent"
        named = {"$message": message_id, "$campaign": campaign.id, "Campaign Name": campaign.name}
        payload = event_payload(event_id, time=campaign.send_time, properties=named)
        yield WebhookEvent(external_id=event_id, topic=f"{POLLED}campaign.sent", payload=payload)
