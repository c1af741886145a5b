"""The query of metric aggregates: counts, sums and uniques per period and dimension, from stored events."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from klaviyo_simulator.account import Account
from klaviyo_simulator.bodies import TEXT, TEXT_OR_NULL, Body, array, choice, data, fields, resource
from klaviyo_simulator.errors import JsonObject, invalid
from klaviyo_simulator.events import Event
from klaviyo_simulator.filters import COMPARE, Allowed, Condition, matches, parse_filter
from klaviyo_simulator.limits import S
from klaviyo_simulator.periods import YEAR, as_utc, floor, periods
from klaviyo_simulator.query import QuerySpec, names
from klaviyo_simulator.resources.metrics import the_metric
from klaviyo_simulator.routing import Call, Operation, Reply

DIMENSIONS = (
    "$attributed_channel",
    "$attributed_flow",
    "$attributed_message",
    "$attributed_variation",
    "$campaign_channel",
    "$flow",
    "$flow_channel",
    "$message",
    "$message_send_cohort",
    "$usage_amount",
    "$value_currency",
    "$variation",
    "$variation_send_cohort",
    "Bot Click",
    "Bounce Type",
    "Campaign Name",
    "Client Canonical",
    "Client Name",
    "Client Type",
    "Email Domain",
    "Failure Source",
    "Failure Type",
    "From Number",
    "From Phone Region",
    "Inbox Provider",
    "List",
    "Message Format",
    "Message Name",
    "Message Type",
    "Method",
    "Segment Count",
    "Subject",
    "To Number",
    "To Phone Region",
    "URL",
    "form_id",
)
REFUSED_ZONES = ("Factory", "Europe/Kyiv", "Pacific/Kanton")
POINTER = "/data/attributes"
SMALLEST_PAGE = 500


def query_metric_aggregates(call: Call) -> Reply:
    given = call.attributes
    metric = the_metric(call.account, given["metric_id"])
    zone = _zone(given.get("timezone") or "UTC")
    if (given.get("page_size") or SMALLEST_PAGE) < SMALLEST_PAGE:
        raise invalid(f"page_size must be at least {SMALLEST_PAGE}.", pointer=f"{POINTER}/page_size")
    if given.get("sort"):
        raise invalid("Sorting is not available for this query.", pointer=f"{POINTER}/sort")
    conditions = _conditions(given["filter"])
    start, end = _range(conditions, zone)
    interval = given.get("interval") or "day"
    dates = periods(start, end, interval)
    places = {date.timestamp(): index for index, date in enumerate(dates)}
    cells: dict[tuple[str, ...], dict[int, list[Event]]] = defaultdict(lambda: defaultdict(list))
    for event in call.account.events.of_metric(metric.id, start=start.timestamp(), end=end.timestamp()):
        values = _dimensions(call.account, event, given.get("by") or [])
        if all(_holds(call.account, event, condition) for condition in conditions):
            period = floor(datetime.fromtimestamp(event.timestamp, zone), interval)
            cells[values][places[period.timestamp()]].append(event)
    rows = [
        {"dimensions": list(values), "measurements": _measure(given["measurements"], found, len(dates))}
        for values, found in sorted(cells.items())
    ]
    return _answer(call, [as_utc(date) for date in dates], rows)


def _answer(call: Call, dates: list[str], rows: list[JsonObject]) -> Reply:
    identity = call.world.ids.uuid()
    here = f"{call.base}{call.path}"
    document = {
        "type": "metric-aggregate",
        "id": identity,
        "attributes": {"dates": dates, "data": rows},
        "links": {"self": f"{here.rstrip('/')}/{identity}/"},
    }
    return Reply(200, {"data": document, "links": {"self": here, "next": None, "prev": None}})


def _zone(name: str) -> ZoneInfo:
    try:
        if name in REFUSED_ZONES:
            raise ValueError(name)
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        raise invalid(f"'{name}' is not a valid timezone.", pointer=f"{POINTER}/timezone") from None


def _conditions(expressions: list[str]) -> list[Condition]:
    allowed = {"datetime": Allowed(COMPARE, "datetime")}
    allowed |= {name: Allowed(("equals", "any")) for name in DIMENSIONS}
    return [condition for text in expressions for condition in parse_filter(text, allowed)]


def _range(conditions: list[Condition], zone: ZoneInfo) -> tuple[datetime, datetime]:
    """The pair on `datetime`. Its instants are local to the time zone asked for."""
    bounds = {item.operator: item.value.seconds for item in conditions if item.field == "datetime"}
    if set(bounds) != {"greater-or-equal", "less-than"}:
        detail = "The filter must hold greater-or-equal and less-than on datetime."
        raise invalid(detail, pointer=f"{POINTER}/filter")
    start, end = (_as_local(bounds[name], zone) for name in ("greater-or-equal", "less-than"))
    if end <= start or end - start > YEAR:
        raise invalid("The range of dates must be at most one year.", pointer=f"{POINTER}/filter")
    return start, end


def _as_local(seconds: float, zone: ZoneInfo) -> datetime:
    return datetime.fromtimestamp(seconds, ZoneInfo("UTC")).replace(tzinfo=zone)


def _dimensions(account: Account, event: Event, wanted: list[str]) -> tuple[str, ...]:
    properties = event.read_properties() if wanted else {}
    return tuple(_dimension(account, event, name, properties) for name in wanted)


def _dimension(account: Account, event: Event, name: str, properties: JsonObject) -> str:
    credit = event.attribution
    if name == "$attributed_flow":
        return (credit.flow_id or "") if credit else ""
    if name == "$attributed_message":
        return credit.message_id if credit else ""
    if name == "$attributed_channel":
        return "email" if credit else ""
    if name == "Email Domain":
        profile = account.profiles.get(event.profile_id)
        return (profile.email or "").partition("@")[2] if profile else ""
    value = properties.get(name)
    return "" if value is None else str(value)


def _holds(account: Account, event: Event, condition: Condition) -> bool:
    if condition.field == "datetime":
        return True
    return matches(condition, _dimension(account, event, condition.field, event.read_properties()))


def _measure(wanted: list[str], found: dict[int, list[Event]], length: int) -> JsonObject:
    measured: dict[str, Any] = {}
    for name in wanted:
        measured[name] = [_MEASURES[name](found.get(index, [])) for index in range(length)]
    return measured


def _sum(events: list[Event]) -> float:
    return float(sum(event.value or 0 for event in events))


_MEASURES: dict[str, Callable[[list[Event]], float]] = {
    "count": lambda events: float(len(events)),
    "sum_value": _sum,
    "unique": lambda events: float(len({event.profile_id for event in events})),
}
_ATTRIBUTES = fields(
    {
        "metric_id": TEXT,
        "measurements": array(choice(*_MEASURES), least=1),
        "filter": array(TEXT, least=1),
    },
    page_cursor=TEXT,
    interval=choice("day", "hour", "month", "week", None),
    page_size={"type": ["integer", "null"]},
    by=array(choice(*DIMENSIONS)),
    return_fields=array(TEXT),
    timezone=TEXT_OR_NULL,
    sort=TEXT,
)

OPERATIONS = [
    Operation(
        id="query_metric_aggregates",
        method="POST",
        path="/api/metric-aggregates",
        handler=query_metric_aggregates,
        limit=S,
        scopes=("metrics:read",),
        query=QuerySpec(fields={"metric-aggregate": names("data dates id")}),
        body=Body(data(resource("metric-aggregate", attributes=_ATTRIBUTES))),
    )
]
