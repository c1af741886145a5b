"""What a person did: an event of a metric, with an id and a time that stay the same across retries.

Klaviyo de-duplicates by (profile, metric, `unique_id`); without one, by the second. Ours always has both.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, Final, Self, cast

import orjson

from klaviyo_bridge.domain.profile import ProfileChange, profile_change
from klaviyo_bridge.domain.values import Json, iso, plain, problems
from klaviyo_bridge.errors import InvalidPayload, Problem

MAX_METRIC_LENGTH: Final = 127  # "less than 128 characters"
EARLIEST: Final = datetime(1990, 1, 1, tzinfo=UTC)
_CURRENCY: Final = re.compile(r"[A-Z]{3}")
_FIELDS: Final = {
    "metric", "profile", "properties", "time", "unique_id", "value", "value_currency", "backfill",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event, valid and normalised: this is what waits in the outbox."""

    metric: str
    profile: ProfileChange
    unique_id: str
    time: str
    properties: Mapping[str, Json] = field(default_factory=dict[str, Json])
    value: int | float | None = None
    value_currency: str | None = None
    backfill: bool = False

    @property
    def dedupe_key(self) -> str:
        """The same metric, person and `unique_id` are taken once (64 hex digits)."""
        text = "\x1f".join((self.metric, self.profile.identity.primary, self.unique_id))
        return hashlib.sha256(text.encode()).hexdigest()

    def dump(self) -> bytes:
        rest = [
            self.metric,
            self.unique_id,
            self.time,
            self.properties,
            self.value,
            self.value_currency,
            self.backfill,
        ]
        return orjson.dumps([*rest, orjson.Fragment(self.profile.dump())])

    @classmethod
    def load(cls, payload: bytes) -> Self:
        metric, unique_id, time, properties, value, currency, backfill, profile = orjson.loads(payload)
        return cls(
            metric=metric,
            unique_id=unique_id,
            time=time,
            properties=properties,
            value=value,
            value_currency=currency,
            backfill=backfill,
            profile=ProfileChange.load(orjson.dumps(profile)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LineItem:
    """One line of an order. `line_id` is unique within the order; prices are per piece."""

    line_id: str
    name: str
    quantity: int = 1
    price: Decimal | None = None
    sku: str | None = None
    properties: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A purchase. `order_id` makes its events once-only; `total` is in `currency` (ISO 4217)."""

    order_id: str
    total: Decimal
    currency: str
    placed_at: datetime
    lines: Sequence[LineItem] = ()
    properties: Mapping[str, Any] = field(default_factory=dict[str, Any])


def event(fields: Mapping[str, object], *, now: datetime, where: str = "") -> Event:
    """An event from what the application gives; raises `InvalidPayload` naming every field that is wrong.

    Without `time` it is `now`. Without `unique_id` one is made: from the content when a time is given, so that
    the same event sent twice counts once, else at random.
    """
    prefix = f"{where}." if where else ""
    found = [Problem(f"{prefix}{name[:64]}", "is not a field of an event") for name in fields if name not in _FIELDS]
    metric = _metric(fields.get("metric"), prefix, found)
    time = _time(fields.get("time"), now, prefix, found)
    value = _value(fields.get("value"), prefix, found)
    currency = _currency(fields.get("value_currency"), prefix, found)
    properties = _properties(fields.get("properties"), prefix, found)
    backfill = _backfill(fields.get("backfill"), prefix, found)
    unique_id = _unique_id(fields.get("unique_id"), prefix, found)
    profile = _profile(fields.get("profile"), prefix, found)
    if found or profile is None:
        raise InvalidPayload(problems=found)
    content = None if fields.get("time") is None else (metric, profile.identity.primary, time, properties, value)
    return Event(
        metric=metric,
        profile=profile,
        unique_id=unique_id or _made_id(content),
        time=time,
        properties=properties,
        value=value,
        value_currency=currency,
        backfill=backfill,
    )


def purchase(customer: Mapping[str, object], order: Order) -> list[Mapping[str, object]]:
    """The events of an order, as `event` takes them: one Placed Order, and one Ordered Product a line.

    Metric and property names are Klaviyo's e-commerce ones, so that its own flows and reports know them.
    """
    items = [_item(line) for line in order.lines]
    shared = {"profile": customer, "time": order.placed_at, "value_currency": order.currency}
    placed: Mapping[str, object] = {
        **shared,
        "metric": "Placed Order",
        "unique_id": order.order_id,
        "value": order.total,
        "properties": {
            **order.properties,
            "OrderId": order.order_id,
            "ItemNames": [line.name for line in order.lines],
            "Items": items,
        },
    }
    ordered = [
        {
            **shared,
            "metric": "Ordered Product",
            "unique_id": f"{order.order_id}:{line.line_id}",
            "value": None if line.price is None else line.price * line.quantity,
            "properties": {"OrderId": order.order_id, **item},
        }
        for line, item in zip(order.lines, items, strict=True)
    ]
    return [placed, *ordered]


def order_step(
    customer: Mapping[str, object], order: Order, metric: str, *, at: datetime, **properties: object
) -> dict[str, object]:
    """One event about an order, as `event` takes it; once for each order and metric."""
    return {
        "metric": metric,
        "profile": customer,
        "time": at,
        "unique_id": order.order_id,
        "value": order.total,
        "value_currency": order.currency,
        "properties": {
            **order.properties,
            **{name: value for name, value in properties.items() if value is not None},
            "OrderId": order.order_id,
            "ItemNames": [line.name for line in order.lines],
            "Items": [_item(line) for line in order.lines],
        },
    }


def _item(line: LineItem) -> dict[str, object]:
    known = {
        "ProductName": line.name,
        "SKU": line.sku,
        "Quantity": line.quantity,
        "ItemPrice": line.price,
        "RowTotal": None if line.price is None else line.price * line.quantity,
    }
    return {**line.properties, **{name: value for name, value in known.items() if value is not None}}


def _metric(value: object, prefix: str, found: list[Problem]) -> str:
    if not isinstance(value, str) or not value.strip():
        found.append(Problem(f"{prefix}metric", "is needed: the name of what happened, such as Placed Order"))
        return ""
    if len(value) > MAX_METRIC_LENGTH:
        found.append(Problem(f"{prefix}metric", f"is longer than {MAX_METRIC_LENGTH} characters"))
    found += problems(value, f"{prefix}metric")
    return value.strip()


def _time(value: object, now: datetime, prefix: str, found: list[Problem]) -> str:
    if value is None:
        return iso(now)
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(cast(str, value))
    except (TypeError, ValueError):
        found.append(Problem(f"{prefix}time", "is not an ISO 8601 time, such as 2026-10-20T12:00:00Z"))
        return ""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    if not EARLIEST <= aware <= now + timedelta(days=365):
        found.append(Problem(f"{prefix}time", "lies before 1990 or more than a year ahead; Klaviyo refuses both"))
    return iso(aware)


def _value(value: object, prefix: str, found: list[Problem]) -> int | float | None:
    if value is None:
        return None
    try:
        number = Decimal(value) if isinstance(value, str) else value
    except InvalidOperation:
        number = None
    result = plain(number)
    if isinstance(result, bool) or not isinstance(result, int | float):
        found.append(Problem(f"{prefix}value", "is not a number"))
        return None
    found += problems(result, f"{prefix}value")
    return result


def _currency(value: object, prefix: str, found: list[Problem]) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not _CURRENCY.fullmatch(value.upper()):
        found.append(Problem(f"{prefix}value_currency", "is not an ISO 4217 code, such as USD"))
        return None
    return value.upper()


def _properties(value: object, prefix: str, found: list[Problem]) -> dict[str, Json]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        found.append(Problem(f"{prefix}properties", "must be an object"))
        return {}
    properties = cast(dict[str, Json], plain(cast(Mapping[str, object], value)))
    found += problems(properties, f"{prefix}properties")
    return properties


def _backfill(value: object, prefix: str, found: list[Problem]) -> bool:
    if value is not None and not isinstance(value, bool):
        found.append(Problem(f"{prefix}backfill", "must be true or false"))
    return value is True


def _unique_id(value: object, prefix: str, found: list[Problem]) -> str | None:
    if value is None:
        return None
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not 1 <= len(text) <= 255:
        found.append(Problem(f"{prefix}unique_id", "must be text of 1 to 255 characters"))
        return None
    found += problems(text, f"{prefix}unique_id")
    return text


def _profile(value: object, prefix: str, found: list[Problem]) -> ProfileChange | None:
    if not isinstance(value, Mapping):
        found.append(Problem(f"{prefix}profile", "is needed: an object with email, phone_number or external_id"))
        return None
    try:
        return profile_change(cast(Mapping[str, object], value), where=f"{prefix}profile")
    except InvalidPayload as error:
        found += error.problems
        return None


def _made_id(content: object) -> str:
    if content is None:
        return uuid.uuid4().hex
    return hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()[:32]
