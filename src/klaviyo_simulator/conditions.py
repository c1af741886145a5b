"""Segment definitions: which conditions are known, and whether a profile fulfils them. Pure reading."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from klaviyo_simulator.account import Account
from klaviyo_simulator.consent import EMAIL, NEVER_SUBSCRIBED, PUSH, SMS, SUBSCRIBED, UNSUBSCRIBED
from klaviyo_simulator.errors import JsonObject, not_implemented
from klaviyo_simulator.events import Event
from klaviyo_simulator.profiles import IDENTIFIERS, Profile
from klaviyo_simulator.reading import as_list, within
from klaviyo_simulator.times import parse_instant

_UNITS = {"hour": 3600, "day": 86400, "week": 604800}
_PROPERTY = re.compile(r"""properties\[['"](.+)['"]\]""")
_CHANNELS = {"email": EMAIL, "sms": SMS, "push": PUSH, "mobile_push": PUSH}


def check_definition(definition: JsonObject) -> None:
    """ApiError 501 names a condition that Klaviyo has and the simulator does not evaluate."""
    for condition in _conditions(definition):
        if condition.get("type") not in _TESTS:
            raise not_implemented(f"segment conditions of type '{condition.get('type')}'")


def _conditions(definition: JsonObject) -> Iterable[JsonObject]:
    for group in definition["condition_groups"]:
        yield from group["conditions"]


def fulfils(account: Account, profile: Profile, definition: JsonObject) -> bool:
    """Groups are joined by AND, the conditions of one group by OR."""
    return all(
        any(_TESTS[condition["type"]](account, profile, condition) for condition in group["conditions"])
        for group in definition["condition_groups"]
    )


def _is_member(account: Account, profile: Profile, condition: JsonObject) -> bool:
    inside = False
    for group_id in condition["group_ids"]:
        group = account.lists.get(group_id) or account.segments.get(group_id)
        if group is not None and profile.id in group.members:
            since = group.members.since(profile.id)
            inside = inside or in_timeframe(condition.get("timeframe_filter"), since, account.now())
    return inside == condition["is_member"]


def _has_events(account: Account, profile: Profile, condition: JsonObject) -> bool:
    now, timeframe = account.now(), condition.get("timeframe_filter")
    found = [
        event
        for event in account.events.of_profile(profile.id)
        if event.metric_id == condition["metric_id"]
        and in_timeframe(timeframe, event.timestamp, now)
        and _fits_filters(event, as_list(condition.get("metric_filters")), now)
    ]
    amount = len(found) if condition["measurement"] == "count" else sum(event.value or 0 for event in found)
    return compare(condition["measurement_filter"], amount, now)


def _fits_filters(event: Event, wanted: list[JsonObject], now: float) -> bool:
    if not wanted:
        return True
    properties = event.read_properties()
    return all(compare(item["filter"], properties.get(item["property"]), now) for item in wanted)


def _has_property(account: Account, profile: Profile, condition: JsonObject) -> bool:
    value = property_value(profile, condition["property"])
    return compare(condition["filter"], value, account.now())


def property_value(profile: Profile, name: str) -> Any:
    """A built-in field, `location.city`, or a custom property as `properties['x']`."""
    custom = _PROPERTY.fullmatch(name)
    if custom is not None:
        return within(profile.read_body(), "properties", custom.group(1))
    if name in IDENTIFIERS:
        return profile.identifier(name)
    if name in ("created", "updated", "last_event_date"):
        return getattr(profile, name if name != "last_event_date" else "last_event")
    return within(profile.read_body(), *name.removeprefix("$").split("."))


def _has_consent(account: Account, profile: Profile, condition: JsonObject) -> bool:
    wanted: JsonObject = condition["consent"]
    channel = _CHANNELS.get(wanted["channel"], EMAIL)
    state = profile.consent.of(channel) if profile.consent else NEVER_SUBSCRIBED
    if channel == EMAIL:
        suppressed = profile.consent is not None and not profile.consent.can_receive_email()
        able = profile.email is not None and not suppressed
    else:
        able = state == SUBSCRIBED
    return able == wanted["can_receive_marketing"] and _has_status(state, wanted.get("consent_status") or {})


def _has_status(state: str, wanted: JsonObject) -> bool:
    names = {
        "subscribed": SUBSCRIBED,
        "unsubscribed": UNSUBSCRIBED,
        "never_subscribed": NEVER_SUBSCRIBED,
    }
    subscription = wanted.get("subscription", "any")
    return subscription == "any" or names.get(subscription) == state


def in_timeframe(timeframe: JsonObject | None, at: float, now: float) -> bool:
    return timeframe is None or timeframe["operator"] == "alltime" or compare(timeframe, at, now)


def compare(wanted: JsonObject, actual: Any, now: float) -> bool:
    """Whether a value fulfils a `filter` object of a definition."""
    kind, operator = wanted.get("type"), wanted["operator"]
    if kind == "existence":
        return (actual is not None) == (operator == "is-set")
    if kind == "date":
        at = _instant(actual)
        return at is not None and _date(wanted, at, now)
    if kind == "list":
        return _list(operator, wanted.get("value"), as_list(actual))
    if kind == "numeric" and isinstance(actual, str):
        return False
    return _SIMPLE[operator](actual, wanted.get("value")) if operator in _SIMPLE else False


def _instant(actual: Any) -> float | None:
    if isinstance(actual, int | float):
        return actual
    try:
        return parse_instant(str(actual)) if actual is not None else None
    except ValueError:
        return None


def _date(wanted: JsonObject, at: float, now: float) -> bool:
    span = _UNITS.get(wanted.get("unit", "day"), 86400)
    match wanted["operator"]:
        case "in-the-last":
            return now - wanted["quantity"] * span <= at <= now
        case "at-least":
            return at <= now - wanted["quantity"] * span
        case "in-the-next":
            return now <= at <= now + wanted["quantity"] * span
        case "after":
            return at > (_instant(wanted["date"]) or 0)
        case "before":
            return at < (_instant(wanted["date"]) or 0)
        case "between-static":
            return (_instant(wanted["start"]) or 0) <= at <= (_instant(wanted["end"]) or 0)
        case "between":
            return now - float(wanted["end"]) * span <= at <= now - float(wanted["start"]) * span
        case _:
            return False


def _list(operator: str, value: Any, actual: list[Any]) -> bool:
    if operator in ("is-empty", "not-empty"):
        return (not actual) == (operator == "is-empty")
    return (value in actual) == (not operator.startswith("not-"))


def _number(actual: Any) -> float | None:
    return actual if isinstance(actual, int | float) and not isinstance(actual, bool) else None


def _ordered(test: Callable[[float, float], bool]) -> Callable[[Any, Any], bool]:
    def compare_numbers(actual: Any, wanted: Any) -> bool:
        number = _number(actual)
        return number is not None and test(number, wanted)

    return compare_numbers


def _text(actual: Any) -> str:
    return "" if actual is None else str(actual)


def _found(pattern: Any, actual: Any) -> bool:
    try:
        return re.search(_text(pattern), _text(actual)) is not None
    except re.error:
        return False


_POSITIVE: dict[str, Callable[[Any, Any], bool]] = {
    "equals": lambda actual, wanted: actual == wanted,
    "contains": lambda actual, wanted: _text(wanted) in _text(actual),
    "starts-with": lambda actual, wanted: _text(actual).startswith(_text(wanted)),
    "ends-with": lambda actual, wanted: _text(actual).endswith(_text(wanted)),
    "regex": lambda actual, wanted: _found(wanted, actual),
    "in": lambda actual, wanted: actual in wanted,
    "greater-than": _ordered(lambda actual, wanted: actual > wanted),
    "greater-than-or-equal": _ordered(lambda actual, wanted: actual >= wanted),
    "less-than": _ordered(lambda actual, wanted: actual < wanted),
    "less-than-or-equal": _ordered(lambda actual, wanted: actual <= wanted),
    "phone-country-code-in": lambda actual, wanted: _text(actual).startswith(tuple(wanted)),
}


def _negation(name: str) -> Callable[[Any, Any], bool]:
    return lambda actual, wanted: not _POSITIVE[name](actual, wanted)


_SIMPLE = _POSITIVE | {
    "not-equals": _negation("equals"),
    "not-contains": _negation("contains"),
    "not-starts-with": _negation("starts-with"),
    "not-ends-with": _negation("ends-with"),
    "nregex": _negation("regex"),
    "not-in": _negation("in"),
    "phone-country-code-not-in": _negation("phone-country-code-in"),
}
_TESTS: dict[str, Callable[[Account, Profile, JsonObject], bool]] = {
    "profile-group-membership": _is_member,
    "profile-metric": _has_events,
    "profile-property": _has_property,
    "profile-marketing-consent": _has_consent,
}
