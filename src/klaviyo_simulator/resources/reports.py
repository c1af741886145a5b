"""Campaign, flow and segment reports. Their figures are counted in `figures`; forms are not simulated."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from klaviyo_simulator.account import Account
from klaviyo_simulator.bodies import (
    TEXT,
    TEXT_OR_NULL,
    Body,
    Schema,
    array,
    choice,
    data,
    fields,
    members,
    resource,
)
from klaviyo_simulator.campaigning import campaigns_of
from klaviyo_simulator.errors import JsonObject, invalid
from klaviyo_simulator.figures import STATISTICS, Tally, statistics, tally_by_message
from klaviyo_simulator.filters import Allowed, Condition, matches, parse_filter
from klaviyo_simulator.flows import flows_of
from klaviyo_simulator.limits import REPORT
from klaviyo_simulator.periods import YEAR, as_utc, following, periods, timeframe
from klaviyo_simulator.query import QuerySpec, names
from klaviyo_simulator.routing import Call, Operation, Reply
from klaviyo_simulator.segmenting import refresh_all
from klaviyo_simulator.times import parse_instant

POINTER = "/data/attributes"
CAMPAIGN_GROUPS = [
    "campaign_id",
    "campaign_message_id",
    "campaign_message_name",
    "group",
    "group_name",
    "send_channel",
    "tag_id",
    "tag_name",
    "text_message_format",
    "variation",
    "variation_name",
]
FLOW_GROUPS = [
    "flow_id",
    "flow_message_id",
    "flow_message_name",
    "flow_name",
    "send_channel",
    "tag_id",
    "tag_name",
    "text_message_format",
    "variation",
    "variation_name",
]
SEGMENT_STATISTICS = ("members_added", "members_removed", "net_members_changed", "total_members")
_KEYS = [
    "last_12_months",
    "last_30_days",
    "last_365_days",
    "last_3_months",
    "last_7_days",
    "last_90_days",
    "last_month",
    "last_week",
    "last_year",
    "this_month",
    "this_week",
    "this_year",
    "today",
    "yesterday",
]
_INTERVALS = {"hourly": ("hour", 7), "daily": ("day", 60), "weekly": ("week", 366), "monthly": ("month", 366)}


class Row(NamedTuple):
    """A message with everything it can be grouped by."""

    message_id: str
    groupings: dict[str, Any]


class Span(NamedTuple):
    start: datetime
    end: datetime


def _campaign_rows(account: Account) -> Iterator[Row]:
    for campaign in campaigns_of(account).values():
        for message in campaign.messages:
            yield Row(
                message.id,
                {
                    "campaign_id": campaign.id,
                    "campaign_message_id": message.id,
                    "campaign_message_name": message.definition.get("label") or campaign.name,
                    "send_channel": message.channel,
                },
            )


def _flow_rows(account: Account) -> Iterator[Row]:
    for flow in flows_of(account).values():
        for message in flow.messages:
            yield Row(
                message.id,
                {
                    "flow_id": flow.id,
                    "flow_name": flow.name,
                    "flow_message_id": message.id,
                    "flow_message_name": message.name,
                    "send_channel": "email",
                },
            )


def _span(call: Call) -> Span:
    """The time frame asked for; offsets are ignored and the account's zone is used, as Klaviyo says."""
    zone = ZoneInfo(call.account.timezone)
    asked: JsonObject = call.attributes["timeframe"]
    if "key" in asked:
        return Span(*timeframe(asked["key"], call.account.now(), zone))
    start, end = (_local(asked[name], zone) for name in ("start", "end"))
    if end <= start or end - start > YEAR:
        raise invalid("The timeframe must be at most one year.", pointer=f"{POINTER}/timeframe")
    return Span(start, end)


def _local(text: str, zone: ZoneInfo) -> datetime:
    try:
        parse_instant(text)
    except ValueError:
        raise invalid(f"'{text}' is not a valid datetime.", pointer=f"{POINTER}/timeframe") from None
    return datetime.fromisoformat(text).replace(tzinfo=zone)


def _conditions(call: Call, allowed: dict[str, Allowed]) -> list[Condition]:
    text = call.attributes.get("filter")
    return parse_filter(text, allowed) if text else []


def _grouping(call: Call, standard: tuple[str, ...]) -> list[str]:
    wanted: list[str] = call.attributes.get("group_by") or list(standard)
    for needed in standard[:2]:
        if needed not in wanted:
            raise invalid(f"group_by must contain {needed}.", pointer=f"{POINTER}/group_by")
    return wanted


def _message_report(
    kind: str, rows: Callable[[Account], Iterator[Row]], standard: tuple[str, ...], *, series: bool
) -> Callable[[Call], Reply]:
    allowed = {
        name: Allowed(("equals", "contains-any"))
        for name in (*standard, "flow_name", "campaign_message_name", "flow_message_name")
    }

    def report(call: Call) -> Reply:
        grouping = _grouping(call, standard)
        conditions = _conditions(call, allowed)
        span = _span(call)
        spans = _spans(call, span) if series else [span]
        tallies = [_tallies(call, one) for one in spans]
        results: list[JsonObject] = []
        for groupings, message_ids in _grouped(rows(call.account), grouping, conditions).values():
            found = [_joined(tally, message_ids) for tally in tallies]
            if any(one.counts for one in found):
                results.append({"groupings": groupings, "statistics": _figures(call, found, series=series)})
        return _answer(call, kind, results, spans if series else None)

    return report


def _tallies(call: Call, span: Span) -> dict[str, Tally]:
    return tally_by_message(
        call.account,
        start=span.start.timestamp(),
        end=span.end.timestamp(),
        conversion_metric_id=call.attributes["conversion_metric_id"],
    )


def _grouped(
    rows: Iterator[Row], grouping: list[str], conditions: list[Condition]
) -> dict[tuple[Any, ...], tuple[JsonObject, list[str]]]:
    found: dict[tuple[Any, ...], tuple[JsonObject, list[str]]] = {}
    for row in rows:
        if all(_holds(condition, row.groupings.get(condition.field)) for condition in conditions):
            values = {name: row.groupings.get(name) for name in grouping}
            found.setdefault(tuple(values.values()), (values, []))[1].append(row.message_id)
    return found


def _holds(condition: Condition, value: Any) -> bool:
    actual = [value] if condition.operator == "contains-any" else value
    return matches(condition, actual)


def _joined(tallies: dict[str, Tally], message_ids: list[str]) -> Tally:
    whole = Tally()
    for message_id in message_ids:
        if message_id in tallies:
            whole.absorb(tallies[message_id])
    return whole


def _figures(call: Call, tallies: list[Tally], *, series: bool) -> JsonObject:
    wanted: list[str] = call.attributes["statistics"]
    if not series:
        return dict(statistics(tallies[0], wanted))
    columns = [statistics(tally, wanted) for tally in tallies]
    return {name: [column[name] for column in columns] for name in wanted}


def _spans(call: Call, span: Span) -> list[Span]:
    interval, most_days = _INTERVALS[call.attributes["interval"]]
    if (span.end - span.start).days > most_days:
        detail = f"The timeframe of this interval must be at most {most_days} days."
        raise invalid(detail, pointer=f"{POINTER}/timeframe")
    starts = periods(span.start, span.end, interval)
    return [Span(start, min(following(start, interval), span.end)) for start in starts]


def _answer(call: Call, kind: str, results: list[JsonObject], spans: list[Span] | None) -> Reply:
    attributes: JsonObject = {"results": results}
    if spans is not None:
        attributes["date_times"] = [as_utc(span.start) for span in spans]
    identity = call.world.ids.uuid()
    here = f"{call.base}/api/{kind}s/{identity}/"
    document: JsonObject = {"type": kind, "id": identity, "attributes": attributes}
    relation = next((name for name in ("campaign", "flow") if kind.startswith(name)), None)
    if relation:
        ids = dict.fromkeys(row["groupings"][f"{relation}_id"] for row in results)
        document["relationships"] = {
            f"{relation}s": {
                "data": [{"type": relation, "id": one} for one in ids],
                "links": {"self": f"{here}relationships/{relation}s/", "related": f"{here}{relation}s/"},
            }
        }
    document["links"] = {"self": here}
    return Reply(200, {"data": document, "links": {"self": f"{call.base}{call.path}", "next": None, "prev": None}})


def _segment_report(kind: str, *, series: bool) -> Callable[[Call], Reply]:
    def report(call: Call) -> Reply:
        refresh_all(call.account)
        conditions = _conditions(call, {"segment_id": Allowed(("equals", "contains-any"))})
        span = _span(call)
        spans = _spans(call, span) if series else [span]
        results: list[JsonObject] = []
        for item in call.account.segments.values():
            if all(_holds(condition, item.id) for condition in conditions):
                columns = [_movement(item.history, one) for one in spans]
                wanted: list[str] = call.attributes["statistics"]
                figures = {
                    name: [column[name] for column in columns] if series else columns[0][name] for name in wanted
                }
                results.append({"groupings": {"segment_id": item.id}, "statistics": figures})
        return _answer(call, kind, results, spans if series else None)

    return report


def _movement(history: list[tuple[float, int]], span: Span) -> dict[str, int]:
    start, end = span.start.timestamp(), span.end.timestamp()
    inside = [change for at, change in history if start <= at < end]
    added = sum(change for change in inside if change > 0)
    removed = -sum(change for change in inside if change < 0)
    total = sum(change for at, change in history if at < end)
    return {
        "members_added": added,
        "members_removed": removed,
        "net_members_changed": added - removed,
        "total_members": total,
    }


_TIMEFRAME: Schema = {
    "anyOf": [fields({"key": choice(*_KEYS)}), fields({"start": TEXT, "end": TEXT})],
}


def _body(kind: str, statistics_: tuple[str, ...], groups: list[str] | None, *, series: bool) -> Body:
    needed: dict[str, Schema] = {"statistics": array(choice(*statistics_), least=1), "timeframe": _TIMEFRAME}
    allowed: dict[str, Schema] = {"filter": TEXT_OR_NULL}
    if series:
        needed["interval"] = choice(*_INTERVALS)
    if groups is not None:
        needed["conversion_metric_id"] = TEXT
        allowed["group_by"] = array(choice(*groups))
    return Body(data(resource(kind, attributes=members(needed, allowed))))


def _op(name: str, kind: str, handler: Callable[[Call], Reply], body: Body) -> Operation:
    scope = f"{kind.split('-')[0]}s:read"
    return Operation(
        id=name,
        method="POST",
        path=f"/api/{kind}s",
        handler=handler,
        limit=REPORT,
        scopes=(scope,),
        query=QuerySpec(fields={kind: names("id results date_times")}, extra=names("page_cursor")),
        body=body,
    )


_MESSAGE = tuple(STATISTICS)
_BY_CAMPAIGN = ("campaign_id", "campaign_message_id", "send_channel")
_BY_FLOW = ("flow_id", "flow_message_id", "send_channel")

OPERATIONS = [
    _op(
        "query_campaign_values",
        "campaign-values-report",
        _message_report("campaign-values-report", _campaign_rows, _BY_CAMPAIGN, series=False),
        _body("campaign-values-report", _MESSAGE, CAMPAIGN_GROUPS, series=False),
    ),
    _op(
        "query_flow_values",
        "flow-values-report",
        _message_report("flow-values-report", _flow_rows, _BY_FLOW, series=False),
        _body("flow-values-report", _MESSAGE, FLOW_GROUPS, series=False),
    ),
    _op(
        "query_flow_series",
        "flow-series-report",
        _message_report("flow-series-report", _flow_rows, _BY_FLOW, series=True),
        _body("flow-series-report", _MESSAGE, FLOW_GROUPS, series=True),
    ),
    _op(
        "query_segment_values",
        "segment-values-report",
        _segment_report("segment-values-report", series=False),
        _body("segment-values-report", SEGMENT_STATISTICS, None, series=False),
    ),
    _op(
        "query_segment_series",
        "segment-series-report",
        _segment_report("segment-series-report", series=True),
        _body("segment-series-report", SEGMENT_STATISTICS, None, series=True),
    ),
]
