"""The layout of Fivetran's Klaviyo connector, so that models written for it run on our export."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from klaviyo_bridge.domain.export.credit import credit_of
from klaviyo_bridge.domain.export.tables import ColumnType, Row, Table
from klaviyo_bridge.domain.export.values import column_name, inner, json, moment, number, text

_T, _N, _M, _F = ColumnType.TEXT, ColumnType.NUMBER, ColumnType.MOMENT, ColumnType.FLAG
_WORDS: dict[str, str] = {"deleted": "_fivetran_deleted", "synced": "_fivetran_synced"}
_PERSON = ("email", "phone_number", "first_name", "last_name", "organization", "title")
_PLACE = {
    "address_1": "address1",
    "address_2": "address2",
    "city": "city",
    "region": "region",
    "zip": "zip",
    "country": "country",
    "timezone": "timezone",
}
_IDS = ("id", "person_id", "metric_id", "type", "uuid", "campaign_id", "flow_id", "flow_message_id", "_variation")

EVENT = Table(
    name="event",
    day="datetime",
    extra_prefix="property_",
    columns={
        **dict.fromkeys(_IDS, _T),
        "timestamp": _M,
        "datetime": _M,
        "property_value": _T,
        "property_attribution": _T,
    },
    **_WORDS,
)
PERSON = Table(
    name="person",
    day="created",
    extra_prefix="custom_",
    columns={
        "id": _T,
        **dict.fromkeys((*_PERSON, *_PLACE), _T),
        "latitude": _N,
        "longitude": _N,
        **dict.fromkeys(("created", "updated", "last_event_date"), _M),
    },
    **_WORDS,
)
CAMPAIGN = Table(
    name="campaign",
    columns={
        **dict.fromkeys(("id", "name", "subject", "from_email", "from_name", "campaign_type"), _T),
        **dict.fromkeys(("email_template_id", "status", "status_id", "status_label"), _T),
        **dict.fromkeys(("created", "updated", "scheduled", "send_time", "sent_at"), _M),
        "archived": _F,
    },
    **_WORDS,
)
FLOW = Table(
    name="flow",
    columns={
        **dict.fromkeys(("id", "name", "status", "trigger_type"), _T),
        "archived": _F,
        "created": _M,
        "updated": _M,
    },
    **_WORDS,
)
METRIC = Table(
    name="metric",
    columns={
        **dict.fromkeys(("id", "name", "integration_id", "integration_name", "integration_category"), _T),
        "created": _M,
        "updated": _M,
    },
    **_WORDS,
)

TABLES = (EVENT, PERSON, CAMPAIGN, FLOW, METRIC)


def event_row(id_: str, metric_id: str | None, metric: str | None, profile_id: str | None, **rest: Any) -> Row:
    """An event; `rest` is `time`, `uuid` and `properties`. A negative amount becomes a positive one."""
    properties: Mapping[str, Any] = rest["properties"]
    credit = credit_of(properties)
    return {
        **_extra("property_", properties, EVENT),
        "id": id_,
        "person_id": profile_id,
        "metric_id": metric_id,
        "type": metric,
        "timestamp": rest["time"],
        "datetime": rest["time"],
        "uuid": rest["uuid"],
        "campaign_id": credit.campaign_id,
        "flow_id": credit.flow_id,
        "flow_message_id": credit.message_id,
        "_variation": credit.variation,
        "property_value": _amount(properties.get("$value")),
        "property_attribution": json({"$attributed_event_id": credit.event_id}) if credit.event_id else None,
    }


def person_row(id_: str, attributes: Mapping[str, Any]) -> Row:
    """A profile; its own properties become `custom_<name>`."""
    place = inner(attributes, "location")
    return {
        **_extra("custom_", inner(attributes, "properties"), PERSON),
        "id": id_,
        **{name: text(attributes.get(name)) for name in _PERSON},
        **{name: text(place.get(theirs)) for name, theirs in _PLACE.items()},
        "latitude": number(place.get("latitude")),
        "longitude": number(place.get("longitude")),
        "created": moment(attributes.get("created")),
        "updated": moment(attributes.get("updated")),
        "last_event_date": moment(attributes.get("last_event_date")),
    }


def campaign_row(id_: str, attributes: Mapping[str, Any], *, channel: str, message: Mapping[str, Any]) -> Row:
    """A campaign and its first message, of which `message` are `subject`, `from_email`, `from_label`, `template`."""
    status = text(attributes.get("status"))
    sent = moment(attributes.get("send_time"))
    return {
        "id": id_,
        "name": text(attributes.get("name")),
        "subject": text(message.get("subject")),
        "from_email": text(message.get("from_email")),
        "from_name": text(message.get("from_label")),
        "campaign_type": channel,
        "email_template_id": text(message.get("template")),
        "status": status.lower() if status else None,
        "status_id": None,
        "status_label": status,
        "created": moment(attributes.get("created_at")),
        "updated": moment(attributes.get("updated_at")),
        "scheduled": moment(attributes.get("scheduled_at")),
        "send_time": sent,
        "sent_at": sent if status == "Sent" else None,
        "archived": attributes.get("archived") is True,
    }


def flow_row(id_: str, attributes: Mapping[str, Any]) -> Row:
    """A flow."""
    return {
        "id": id_,
        "name": text(attributes.get("name")),
        "status": text(attributes.get("status")),
        "trigger_type": text(attributes.get("trigger_type")),
        "archived": attributes.get("archived") is True,
        "created": moment(attributes.get("created")),
        "updated": moment(attributes.get("updated")),
    }


def metric_row(id_: str, attributes: Mapping[str, Any]) -> Row:
    """A metric and the integration it comes from."""
    integration = inner(attributes, "integration")
    return {
        "id": id_,
        "name": text(attributes.get("name")),
        "integration_id": text(integration.get("id")),
        "integration_name": text(integration.get("name")),
        "integration_category": text(integration.get("category")),
        "created": moment(attributes.get("created")),
        "updated": moment(attributes.get("updated")),
    }


def _amount(value: object) -> str | None:
    amount = number(value)
    return None if amount is None else text(abs(amount))


def _extra(prefix: str, values: Mapping[str, Any], table: Table) -> Row:
    named = ((column_name(prefix, name), value) for name, value in values.items() if value is not None)
    return {column: text(value) for column, value in named if column is not None and column not in table.columns}
