"""Storing events: de-duplication, time, and the announcement that flows and webhooks listen to."""

from __future__ import annotations

import orjson

from klaviyo_simulator.account import Account
from klaviyo_simulator.errors import JsonObject
from klaviyo_simulator.events import Attribution, Event, Metric
from klaviyo_simulator.faults import EVENT_KINDS
from klaviyo_simulator.log import Cause
from klaviyo_simulator.people import ensure
from klaviyo_simulator.profiles import Profile
from klaviyo_simulator.times import parse_instant

KLAVIYO = "klaviyo"
CREDIT_SECONDS = 5 * 86400


def event_time(attributes: JsonObject, received: float) -> int:
    """The event's second: its `time`, or that of the receipt."""
    text = attributes.get("time")
    return int(received if text is None else parse_instant(text))


def apply_event(
    account: Account,
    attributes: JsonObject,
    profile_data: JsonObject,
    *,
    received: float,
    backfill: bool,
    cause: Cause,
) -> Event | None:
    """Carry out one accepted event; None when it was a repeat, lost by a fault, or about nobody."""
    person = dict(profile_data.get("attributes") or {})
    if profile_data.get("meta"):
        person["meta"] = profile_data["meta"]
    profile = ensure(account, person, cause, profile_id=profile_data.get("id"))
    if profile is None:
        account.effect("event.refused", cause, values={"reason": "unknown profile id"})
        return None
    naming: JsonObject = attributes["metric"]["data"]["attributes"]
    return store(
        account,
        profile,
        account.metric(naming["name"], service=naming.get("service") or "api"),
        timestamp=event_time(attributes, received) + _shift(account),
        properties=attributes["properties"],
        value=attributes.get("value"),
        currency=attributes.get("value_currency"),
        unique_id=attributes.get("unique_id"),
        backfill=backfill,
        cause=cause,
    )


def _shift(account: Account) -> int:
    fired = account.world.faults.fire("create_event", account.id, ("event_future",))
    return int(sum(rule.number("seconds", 86400.0) for rule in fired))


def event_faults(account: Account, operation: str) -> tuple[bool, float]:
    """(lost, seconds later than usual) for an event about to be scheduled."""
    if not account.world.faults.rules:
        return False, 0.0
    kinds = [kind for kind in EVENT_KINDS if kind != "event_future"]
    fired = account.world.faults.fire(operation, account.id, kinds)
    lost = any(rule.kind == "event_lost" for rule in fired)
    return lost, sum(rule.number("seconds", 60.0) for rule in fired if rule.kind == "event_late")


def store(
    account: Account,
    profile: Profile,
    metric: Metric,
    *,
    timestamp: int,
    properties: JsonObject,
    cause: Cause,
    value: float | None = None,
    currency: str | None = None,
    unique_id: str | None = None,
    backfill: bool = False,
    attribution: Attribution | None = None,
) -> Event | None:
    """Store unless (profile, metric, unique_id or second) is there already; the first one wins."""
    key = unique_id if unique_id is not None else timestamp
    facts = {"metric": metric.name, "unique_id": unique_id, "timestamp": timestamp, "value": value}
    if account.events.has(profile.id, metric.id, key):
        account.effect("event.deduplicated", cause, profile_id=profile.id, values=facts)
        return None
    if attribution is None and metric.integration.key != KLAVIYO:
        attribution = _credited(account, profile, timestamp)
    event = Event(
        account.world.ids.event(),
        profile_id=profile.id,
        metric_id=metric.id,
        timestamp=timestamp,
        properties=bytes(memoryview(orjson.dumps(properties))),
        unique_id=unique_id,
        value=value,
        currency=currency,
        attribution=attribution,
    )
    account.events.add(event)
    if profile.last_event is None or timestamp > profile.last_event:
        profile.last_event = timestamp
    if account.world.switches.event_touches_profile:
        account.profiles.touch(profile, account.now())
    account.effect("event.stored", cause, profile_id=profile.id, values={"event": event.id} | facts)
    account.announce("event_stored", event, backfill, cause)
    return event


def credits_of(account: Account) -> dict[str, tuple[float, Attribution]]:
    """The message each person opened or clicked last, and when."""
    return account.areas.setdefault("credits", {})


def _credited(account: Account, profile: Profile, timestamp: int) -> Attribution | None:
    """The message this event is credited to: opened or clicked within the last five days."""
    at, credit = credits_of(account).get(profile.id, (0.0, None))
    return credit if credit is not None and at - 1 <= timestamp <= at + CREDIT_SECONDS else None


def record(
    account: Account,
    profile: Profile,
    name: str,
    properties: JsonObject,
    cause: Cause,
    *,
    at: float | None = None,
    attribution: Attribution | None = None,
) -> Event | None:
    """An event of Klaviyo's own, such as `Subscribed to List`."""
    return store(
        account,
        profile,
        account.metric(name, service=KLAVIYO),
        timestamp=int(account.now() if at is None else at),
        properties=properties,
        unique_id=account.world.ids.uuid(),
        cause=cause,
        attribution=attribution,
    )
