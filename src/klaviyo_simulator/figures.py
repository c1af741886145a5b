"""The figures of reports, counted from stored events and nothing else. Timeframes are by event time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from klaviyo_simulator.account import Account
from klaviyo_simulator.events import Event
from klaviyo_simulator.tracking import KLAVIYO

_COUNTED = {
    "Received Email": "delivered",
    "Opened Email": "opens",
    "Clicked Email": "clicks",
    "Bounced Email": "bounced",
    "Marked Email as Spam": "spam_complaints",
    "Unsubscribed from Email Marketing": "unsubscribes",
}


@dataclass(slots=True)
class Tally:
    """Counts of one message (or group) in one span, with who they were."""

    counts: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    people: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    value: float = 0.0

    def add(self, name: str, event: Event) -> None:
        self.counts[name] += 1
        self.people[name].add(event.profile_id)
        if name == "conversions":
            self.value += event.value or 0.0

    def absorb(self, other: Tally) -> None:
        for name, count in other.counts.items():
            self.counts[name] += count
            self.people[name] |= other.people[name]
        self.value += other.value


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def _uniques(name: str) -> Callable[[Tally], float]:
    return lambda tally: len(tally.people[name])


def _count(name: str) -> Callable[[Tally], float]:
    return lambda tally: tally.counts[name]


def _recipients(tally: Tally) -> int:
    return tally.counts["delivered"] + tally.counts["bounced"]


def _rate(name: str, *, of_delivered: bool = True) -> Callable[[Tally], float]:
    def rate(tally: Tally) -> float:
        whole = tally.counts["delivered"] if of_delivered else _recipients(tally)
        return _share(len(tally.people[name]), whole)

    return rate


STATISTICS: dict[str, Callable[[Tally], float]] = {
    "average_order_value": lambda tally: _share(tally.value, tally.counts["conversions"]),
    "bounce_rate": _rate("bounced", of_delivered=False),
    "bounced": _count("bounced"),
    "bounced_or_failed": _count("bounced"),
    "bounced_or_failed_rate": _rate("bounced", of_delivered=False),
    "click_rate": _rate("clicks"),
    "click_to_open_rate": lambda tally: _share(len(tally.people["clicks"]), len(tally.people["opens"])),
    "clicks": _count("clicks"),
    "clicks_unique": _uniques("clicks"),
    "conversion_rate": _rate("conversions"),
    "conversion_uniques": _uniques("conversions"),
    "conversion_value": lambda tally: tally.value,
    "conversions": _count("conversions"),
    "delivered": _count("delivered"),
    "delivery_rate": lambda tally: _share(tally.counts["delivered"], _recipients(tally)),
    "failed": _count("failed"),
    "failed_rate": _rate("failed", of_delivered=False),
    "message_segment_count_sum": _count("sms_segments"),
    "open_rate": _rate("opens"),
    "opens": _count("opens"),
    "opens_unique": _uniques("opens"),
    "recipients": _recipients,
    "revenue_per_recipient": lambda tally: _share(tally.value, _recipients(tally)),
    "spam_complaint_rate": _rate("spam_complaints"),
    "spam_complaints": _count("spam_complaints"),
    "text_message_credit_usage_amount": _count("sms_segments"),
    "text_message_roi": _count("sms_segments"),
    "text_message_spend": _count("sms_segments"),
    "unsubscribe_rate": _rate("unsubscribes"),
    "unsubscribe_uniques": _uniques("unsubscribes"),
    "unsubscribes": _count("unsubscribes"),
}


def statistics(tally: Tally, wanted: Iterable[str]) -> dict[str, float]:
    return {name: STATISTICS[name](tally) for name in wanted}


def tally_by_message(account: Account, *, start: float, end: float, conversion_metric_id: str) -> dict[str, Tally]:
    """Message id to its counts in [start, end)."""
    found: dict[str, Tally] = defaultdict(Tally)
    for name, counted in _COUNTED.items():
        metric = account.metrics.find(KLAVIYO, name)
        if metric is None:
            continue
        for event in account.events.of_metric(metric.id, start=start, end=end):
            message_id = event.attribution.message_id if event.attribution else None
            if message_id is None and counted in ("delivered", "bounced"):
                message_id = event.read_properties().get("$message")
            if message_id is not None:
                found[message_id].add(counted, event)
    for event in account.events.of_metric(conversion_metric_id, start=start, end=end):
        if event.attribution is not None:
            found[event.attribution.message_id].add("conversions", event)
    return found
