"""Our own layout: one table for each resource, Klaviyo's words, the properties as JSON text."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from klaviyo_bridge.domain.export.credit import credit_of
from klaviyo_bridge.domain.export.tables import ColumnType, Row, Table
from klaviyo_bridge.domain.export.values import inner, json, moment, number, text

_T, _N, _M, _F, _W = ColumnType.TEXT, ColumnType.NUMBER, ColumnType.MOMENT, ColumnType.FLAG, ColumnType.WHOLE
_PERSON = ("email", "phone_number", "external_id", "first_name", "last_name", "organization", "locale", "title")
_PLACE = ("city", "region", "zip", "country", "timezone")

EVENTS = Table(
    name="events",
    day="happened_at",
    columns={
        **dict.fromkeys(("id", "metric_id", "metric", "profile_id", "uuid"), _T),
        "happened_at": _M,
        "value": _N,
        **dict.fromkeys(("currency", "campaign_id", "flow_id", "message_id", "properties"), _T),
    },
)
PROFILES = Table(
    name="profiles",
    day="created_at",
    columns={
        "id": _T,
        **dict.fromkeys((*_PERSON, *_PLACE), _T),
        **dict.fromkeys(("created_at", "updated_at", "last_event_at", "email_consent_at"), _M),
        **dict.fromkeys(("email_consent", "sms_consent", "email_suppression"), _T),
        "email_suppressed": _F,
        "properties": _T,
    },
)
LIST_MEMBERS = Table(
    name="list_members", key=("list_id", "profile_id"), columns={"list_id": _T, "profile_id": _T, "joined_at": _M}
)
LISTS = Table(
    name="lists",
    columns={**dict.fromkeys(("id", "name", "opt_in_process"), _T), "created_at": _M, "updated_at": _M},
)
METRICS = Table(
    name="metrics",
    columns={**dict.fromkeys(("id", "name", "integration"), _T), "created_at": _M, "updated_at": _M},
)
SEGMENTS = Table(
    name="segments",
    columns={
        **dict.fromkeys(("id", "name", "definition"), _T),
        "is_active": _F,
        "is_starred": _F,
        "created_at": _M,
        "updated_at": _M,
    },
)
CAMPAIGNS = Table(
    name="campaigns",
    columns={
        **dict.fromkeys(("id", "name", "channel", "status", "audiences", "message_ids"), _T),
        "archived": _F,
        **dict.fromkeys(("created_at", "updated_at", "scheduled_at", "send_time"), _M),
    },
)
FLOWS = Table(
    name="flows",
    columns={
        **dict.fromkeys(("id", "name", "status", "trigger_type"), _T),
        "archived": _F,
        "created_at": _M,
        "updated_at": _M,
    },
)
TEMPLATES = Table(
    name="templates",
    columns={**dict.fromkeys(("id", "name", "editor_type", "html"), _T), "created_at": _M, "updated_at": _M},
)
AGGREGATES = Table(
    name="metric_aggregates",
    key=("metric_id", "day", "dimensions"),
    columns={
        **dict.fromkeys(("metric_id", "metric"), _T),
        "day": _M,
        "dimensions": _T,
        **dict.fromkeys(("count", "unique_people", "sum_value"), _N),
    },
)
REPORTS = Table(
    name="reports",
    key=("kind", "groupings"),
    columns={
        **dict.fromkeys(("kind", "campaign_id", "flow_id", "message_id", "channel", "timeframe"), _T),
        "groupings": _T,
        "statistics": _T,
    },
)

TABLES = (
    EVENTS,
    PROFILES,
    LIST_MEMBERS,
    LISTS,
    METRICS,
    SEGMENTS,
    CAMPAIGNS,
    FLOWS,
    TEMPLATES,
    AGGREGATES,
    REPORTS,
)


def event_row(id_: str, metric_id: str | None, metric: str | None, profile_id: str | None, **rest: Any) -> Row:
    """An event; `rest` is `time`, `uuid` and `properties`. `value` is the amount, and never negative."""
    properties: Mapping[str, Any] = rest["properties"]
    credit = credit_of(properties)
    amount = number(properties.get("$value"))
    return {
        "id": id_,
        "metric_id": metric_id,
        "metric": metric,
        "profile_id": profile_id,
        "uuid": rest["uuid"],
        "happened_at": rest["time"],
        "value": None if amount is None else abs(amount),
        "currency": text(properties.get("$value_currency") or properties.get("$currency_code")),
        "campaign_id": credit.campaign_id,
        "flow_id": credit.flow_id,
        "message_id": text(properties.get("$message")) or credit.message_id,
        "properties": json(properties),
    }


def profile_row(id_: str, attributes: Mapping[str, Any]) -> Row:
    """A profile, with its consent as Klaviyo tells it."""
    place = inner(attributes, "location")
    email = inner(attributes, "subscriptions", "email", "marketing")
    reasons = sorted({str(entry.get("reason")) for entry in email.get("suppression") or ()})
    return {
        "id": id_,
        **{name: text(attributes.get(name)) for name in _PERSON},
        **{name: text(place.get(name)) for name in _PLACE},
        "created_at": moment(attributes.get("created")),
        "updated_at": moment(attributes.get("updated")),
        "last_event_at": moment(attributes.get("last_event_date")),
        "email_consent": text(email.get("consent")),
        "email_consent_at": moment(email.get("consent_timestamp")),
        "sms_consent": text(inner(attributes, "subscriptions", "sms", "marketing").get("consent")),
        "email_suppressed": bool(reasons),
        "email_suppression": ",".join(reasons) or None,
        "properties": json(attributes.get("properties") or {}),
    }


def member_row(list_id: str, profile_id: str, joined_at: datetime | None) -> Row:
    """Somebody on a list."""
    return {"list_id": list_id, "profile_id": profile_id, "joined_at": joined_at}


def resource_row(table: Table, id_: str, attributes: Mapping[str, Any], **rest: Any) -> Row:
    """A list, metric, segment, campaign, flow or template; `rest` overrides what `attributes` say."""
    named = {**attributes, "id": id_, "created_at": _first(attributes, "created_at", "created")}
    named["updated_at"] = _first(attributes, "updated_at", "updated")
    named |= rest
    return {name: _READ[kind](named.get(name)) for name, kind in table.columns.items()}


def _first(attributes: Mapping[str, Any], *names: str) -> object:
    return next((attributes[name] for name in names if attributes.get(name) is not None), None)


def _flag(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _time(value: object) -> datetime | None:
    return value if isinstance(value, datetime) else moment(value)


_READ = {_T: text, _N: number, _M: _time, _F: _flag, _W: _whole}
