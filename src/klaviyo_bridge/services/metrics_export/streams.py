"""What is exported: the collections that are walked by time, and the small ones that are read whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from klaviyo_bridge.domain.export import fivetran, own
from klaviyo_bridge.domain.export.tables import Row, Table
from klaviyo_bridge.domain.export.values import inner
from klaviyo_bridge.errors import Rejected
from klaviyo_bridge.klaviyo import filters
from klaviyo_bridge.klaviyo.api import KlaviyoAPI
from klaviyo_bridge.klaviyo.types import Page, RemoteEvent, RemoteProfile
from klaviyo_bridge.services.metrics_export.walk import Walkable

OVERLAP = timedelta(hours=2)
"""Events arrive up to two hours late."""
_STRICT = timedelta(seconds=1)
"""Profiles know only "after", so a range begins a second early; what comes twice is merged."""
CHANNELS = ("email", "sms", "mobile_push")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """A collection walked by time. `changed` finds what changed since a time, `everything` all of it."""

    name: str
    table: Table
    everything: Walkable[Any]
    changed: Walkable[Any]
    row: Callable[[Any], Row]
    within: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A small collection that is read whole every time."""

    table: Table
    rows: Callable[[], Iterator[Row]]


def events(klaviyo: KlaviyoAPI, *, layout: str, page_size: int) -> Stream:
    """Every event, by its time; an event never changes."""
    names = {metric.id: metric.name for metric in klaviyo.metrics.all()}

    def read(start: datetime, end: datetime | None, cursor: str | None) -> Page[RemoteEvent]:
        since = filters.greater_or_equal("datetime", start)
        until = [filters.less_than("datetime", end)] if end else []
        return klaviyo.events.page(filter=filters.all_of(since, *until), cursor=cursor, size=page_size)

    shape = fivetran.event_row if layout == "fivetran" else own.event_row

    def row(event: RemoteEvent) -> Row:
        named = names.get(event.metric_id or "")
        rest: dict[str, Any] = {"time": event.time, "uuid": event.uuid, "properties": event.properties}
        return shape(event.id, event.metric_id, named, event.profile_id, **rest)

    walkable = Walkable(read, lambda event: event.time)
    table = fivetran.EVENT if layout == "fivetran" else own.EVENTS
    return Stream(name="events", table=table, everything=walkable, changed=walkable, row=row)


def profiles(klaviyo: KlaviyoAPI, *, layout: str) -> Stream:
    """Every profile: all by `created`, changes by `updated`. An unsubscribe moves neither; a full read sees it."""
    shape, table = (fivetran.person_row, fivetran.PERSON) if layout == "fivetran" else (own.profile_row, own.PROFILES)

    def reading(field: str) -> Callable[[datetime, datetime | None, str | None], Page[RemoteProfile]]:
        def read(start: datetime, end: datetime | None, cursor: str | None) -> Page[RemoteProfile]:
            since = filters.greater_than(field, start - _STRICT)
            until = [filters.less_than(field, end)] if end else []
            chosen = filters.all_of(since, *until)
            return klaviyo.profiles.page(filter=chosen, sort=field, cursor=cursor, subscriptions=True)

        return read

    return Stream(
        name="profiles",
        table=table,
        everything=Walkable(reading("created"), lambda profile: profile.created),
        changed=Walkable(reading("updated"), lambda profile: profile.updated),
        row=lambda profile: shape(profile.id, profile.attributes),
    )


def members(klaviyo: KlaviyoAPI, list_id: str) -> Stream:
    """The members of one list, by when they joined; who left is seen by a full read."""

    def read(start: datetime, end: datetime | None, cursor: str | None) -> Page[RemoteProfile]:
        since = filters.greater_or_equal("joined_group_at", start)
        until = [filters.less_than("joined_group_at", end)] if end else []
        chosen = filters.all_of(since, *until)
        return klaviyo.lists.members(list_id, filter=chosen, sort="joined_group_at", cursor=cursor)

    walkable = Walkable(read, lambda profile: profile.joined_group_at)
    return Stream(
        name=f"list_members:{list_id}",
        table=own.LIST_MEMBERS,
        everything=walkable,
        changed=walkable,
        row=lambda profile: own.member_row(list_id, profile.id, profile.joined_group_at),
        within={"list_id": list_id},
    )


def snapshots(klaviyo: KlaviyoAPI, *, layout: str) -> Sequence[Snapshot]:
    """The small collections of a layout."""
    if layout == "fivetran":
        return [
            Snapshot(table=fivetran.METRIC, rows=lambda: _metrics_as_fivetran(klaviyo)),
            Snapshot(table=fivetran.CAMPAIGN, rows=lambda: _campaigns_as_fivetran(klaviyo)),
            Snapshot(
                table=fivetran.FLOW,
                rows=lambda: (fivetran.flow_row(flow.id, flow.attributes) for flow in klaviyo.flows.all()),
            ),
        ]
    return [
        Snapshot(table=own.METRICS, rows=lambda: _dated(own.METRICS, klaviyo.metrics.all())),
        Snapshot(table=own.LISTS, rows=lambda: _dated(own.LISTS, klaviyo.lists.all())),
        Snapshot(table=own.SEGMENTS, rows=lambda: _dated(own.SEGMENTS, klaviyo.segments.all())),
        Snapshot(table=own.CAMPAIGNS, rows=lambda: _campaigns(klaviyo)),
        Snapshot(table=own.FLOWS, rows=lambda: _named(own.FLOWS, klaviyo.flows.all())),
        Snapshot(table=own.TEMPLATES, rows=lambda: _named(own.TEMPLATES, klaviyo.templates.all())),
    ]


def _dated(table: Table, found: Iterator[Any]) -> Iterator[Row]:
    for item in found:
        names = set(table.columns) & set(item.__slots__)
        known = {name: getattr(item, name) for name in names}
        yield own.resource_row(table, item.id, known, created_at=item.created, updated_at=item.updated)


def _named(table: Table, found: Iterator[Any]) -> Iterator[Row]:
    for item in found:
        yield own.resource_row(table, item.id, item.attributes)


def _campaigns(klaviyo: KlaviyoAPI) -> Iterator[Row]:
    for channel in CHANNELS:
        for found in klaviyo.campaigns.all(channel=channel):
            yield own.resource_row(
                own.CAMPAIGNS, found.id, found.attributes, channel=channel, message_ids=list(found.message_ids)
            )


def _campaigns_as_fivetran(klaviyo: KlaviyoAPI) -> Iterator[Row]:
    for channel in CHANNELS:
        for found in klaviyo.campaigns.all(channel=channel):
            message = _first_message(klaviyo, found.id)
            yield fivetran.campaign_row(found.id, found.attributes, channel=channel, message=message)


def _first_message(klaviyo: KlaviyoAPI, campaign_id: str) -> Mapping[str, Any]:
    found = next(iter(klaviyo.campaigns.messages(campaign_id)), None)
    if found is None:
        return {}
    definition = inner(found.attributes, "definition") or found.attributes
    template = inner(found.relationships, "template", "data").get("id")
    return {**inner(definition, "content"), "template": template}


def _metrics_as_fivetran(klaviyo: KlaviyoAPI) -> Iterator[Row]:
    for metric in klaviyo.metrics.all():
        known = {"name": metric.name, "integration": {"name": metric.integration}}
        row = fivetran.metric_row(metric.id, known)
        yield {**row, "created": metric.created, "updated": metric.updated}


def reports(klaviyo: KlaviyoAPI, conversion_metric_id: str) -> Iterator[Row]:
    """Campaign and flow values of the last 30 days: two calls and their pages, out of 225 a day."""
    asked = {
        "campaign": ("query_campaign_values", "recipients opens_unique clicks_unique conversions conversion_value"),
        "flow": ("query_flow_values", "recipients opens_unique clicks_unique conversions conversion_value"),
    }
    for kind, (operation, statistics) in asked.items():
        attributes = {
            "statistics": statistics.split(),
            "timeframe": {"key": "last_30_days"},
            "conversion_metric_id": conversion_metric_id,
        }
        for found in klaviyo.reporting.report(operation, attributes):
            yield _report_row(kind, found.get("groupings") or {}, found.get("statistics") or {})


def _report_row(kind: str, groupings: Mapping[str, Any], statistics: Mapping[str, Any]) -> Row:
    rest: dict[str, Any] = {
        "kind": kind,
        "timeframe": "last_30_days",
        "campaign_id": groupings.get("campaign_id"),
        "flow_id": groupings.get("flow_id"),
        "message_id": groupings.get("campaign_message_id") or groupings.get("flow_message_id"),
        "channel": groupings.get("send_channel"),
        "groupings": dict(sorted(groupings.items())),
        "statistics": dict(sorted(statistics.items())),
    }
    return own.resource_row(own.REPORTS, "", {}, **rest)


def aggregates(klaviyo: KlaviyoAPI, *, days: int, now: datetime) -> Iterator[Row]:
    """Count, people and sum of each metric by day, of the last `days` days. Custom metrics know none."""
    start = (now - timedelta(days=days)).replace(hour=0, minute=0, second=0, microsecond=0)
    for metric in klaviyo.metrics.all():
        try:
            found = klaviyo.reporting.metric_aggregates(
                metric.id, start=start, end=now, measurements=("count", "unique", "sum_value")
            )
        except Rejected:
            continue
        yield from _aggregate_rows(metric.id, metric.name, found)


def _aggregate_rows(metric_id: str, name: str, found: Mapping[str, Any]) -> Iterator[Row]:
    found_series: Sequence[Mapping[str, Any]] = found.get("data") or ()
    for series in found_series:
        measured = inner(series, "measurements")
        for index, day in enumerate(found.get("dates") or ()):
            yield own.resource_row(
                own.AGGREGATES,
                "",
                {},
                metric_id=metric_id,
                metric=name,
                day=day,
                dimensions=series.get("dimensions") or [],
                count=_at(measured.get("count"), index),
                unique_people=_at(measured.get("unique"), index),
                sum_value=_at(measured.get("sum_value"), index),
            )


def _at(values: Sequence[Any] | None, index: int) -> Any:
    return values[index] if values and index < len(values) else None
