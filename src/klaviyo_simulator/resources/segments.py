"""Operations on segments. How a definition is evaluated is in `conditions` and `segmenting`."""

from __future__ import annotations

from klaviyo_simulator.account import Account, Segment
from klaviyo_simulator.bodies import (
    FLAG,
    TEXT,
    TEXT_OR_NULL,
    Body,
    array,
    choice,
    data,
    fields,
    resource,
)
from klaviyo_simulator.conditions import check_definition
from klaviyo_simulator.documents import empty, identifiers, many, one
from klaviyo_simulator.errors import invalid, not_found
from klaviyo_simulator.filters import flag, matches, moment, text
from klaviyo_simulator.limits import L, Limit, S
from klaviyo_simulator.ordering import Ordering
from klaviyo_simulator.paging import paginate
from klaviyo_simulator.query import QuerySpec, names
from klaviyo_simulator.resources import fieldnames
from klaviyo_simulator.resources.lists import counted, predictive
from klaviyo_simulator.resources.profile_pages import MEMBER_FILTERS, member_page
from klaviyo_simulator.resources.segment_shapes import segment_resource
from klaviyo_simulator.resources.shapes import profile_resource
from klaviyo_simulator.resources.tag_shapes import tag_resource, tags_named
from klaviyo_simulator.routing import Call, Operation, Reply
from klaviyo_simulator.segmenting import begin, new_segment, refresh, refresh_all

DAILY = Limit(1, 15, 100)


def the_segment(account: Account, segment_id: str) -> Segment:
    found = account.segments.get(segment_id)
    if found is None:
        raise not_found(f"A segment with id {segment_id} does not exist.")
    return found


def get_segments(call: Call) -> Reply:
    query = call.query
    # Recorded: a filter on is_starred is accepted and has no effect.
    conditions = [item for item in query.conditions if item.field != "is_starred"]
    by_id = {
        item.id: item
        for item in call.account.segments.values()
        if all(matches(condition, getattr(item, condition.field)) for condition in conditions)
    }
    name = (query.sort or "id").lstrip("-")
    page = paginate(
        Ordering((getattr(item, name), item.id) for item in by_id.values()),
        query,
        descending=(query.sort or "").startswith("-"),
        strict=call.world.switches.strict_cursors,
    )
    found = [by_id[key[-1]] for key in page.keys]
    included = (
        tag_resource(call, tag)
        for item in found
        for tag in tags_named(call.account, item.tag_ids)
        if "tags" in query.include
    )
    return many(call, [_shown(call, item) for item in found], page=page, included=included)


def _shown(call: Call, item: Segment) -> dict[str, object]:
    linked = {"tags": [("tag", tag_id) for tag_id in item.tag_ids], "flow-triggers": list[tuple[str, str]]()}
    return segment_resource(call, item, {name: value for name, value in linked.items() if name in call.query.include})


def create_segment(call: Call) -> Reply:
    definition = call.attributes["definition"]
    check_definition(definition)
    name: str = call.attributes["name"]
    item = new_segment(call.account, name, definition, starred=bool(call.attributes.get("is_starred")))
    call.account.effect("segment.created", call.cause, values={"segment": item.id, "name": name})
    return one(call, segment_resource(call, item), status=201)


def get_segment(call: Call) -> Reply:
    item = the_segment(call.account, call.params["id"])
    if call.query.additional:
        refresh(call.account, item)
    tags = [tag_resource(call, tag) for tag in tags_named(call.account, item.tag_ids)]
    return one(call, _shown(call, item), included=tags if "tags" in call.query.include else ())


def update_segment(call: Call) -> Reply:
    item = the_segment(call.account, call.params["id"])
    if call.data["id"] != item.id:
        raise invalid("The id in the body must be the id in the path.", pointer="/data/id")
    if definition := call.attributes.get("definition"):
        check_definition(definition)
        item.definition = definition
        begin(call.account, item)
    item.name = call.attributes.get("name") or item.name
    item.is_starred = call.attributes.get("is_starred", item.is_starred)
    item.updated = call.account.now()
    return one(call, segment_resource(call, item))


def delete_segment(call: Call) -> Reply:
    item = the_segment(call.account, call.params["id"])
    del call.account.segments[item.id]
    call.account.effect("segment.deleted", call.cause, values={"segment": item.id})
    return empty(204)


def _current(call: Call) -> Segment:
    item = the_segment(call.account, call.params["id"])
    refresh_all(call.account)
    return item


def get_profiles_for_segment(call: Call) -> Reply:
    page, found = member_page(call, _current(call).members)
    return many(call, [profile_resource(call, profile, joined=since) for profile, since in found], page=page)


def get_profile_ids_for_segment(call: Call) -> Reply:
    page, found = member_page(call, _current(call).members)
    return identifiers(call, "profile", [profile.id for profile, _ in found], page=page)


def get_tags_for_segment(call: Call) -> Reply:
    item = the_segment(call.account, call.params["id"])
    return many(call, [tag_resource(call, tag) for tag in tags_named(call.account, item.tag_ids)])


def get_tag_ids_for_segment(call: Call) -> Reply:
    return identifiers(call, "tag", the_segment(call.account, call.params["id"]).tag_ids)


def get_flows_triggered_by_segment(call: Call) -> Reply:
    """Empty: the simulator's flows are not triggered by segments."""
    the_segment(call.account, call.params["id"])
    return many(call, [])


_SPAN = {"start": {"type": ["integer", "number", "string"]}, "end": {"type": ["integer", "number", "string"]}}
_FILTER = {
    "type": "object",
    "required": ["type", "operator"],
    "properties": {
        "type": choice("string", "numeric", "boolean", "date", "list", "existence"),
        "operator": TEXT,
        "unit": choice("day", "hour", "week"),
        "quantity": {"type": "integer"},
        "date": {"type": "string", "pattern": r"^\d{4}-\d\d-\d\d"},
        **_SPAN,
    },
    "allOf": [
        {"if": {"properties": {"type": {"const": kind}}}, "then": {"properties": {"value": value}}}
        for kind, value in {
            "numeric": {"type": "number"},
            "boolean": {"type": "boolean"},
            "string": {"type": ["string", "array", "null"], "items": TEXT},
        }.items()
    ]
    + [
        {"if": {"properties": {"operator": {"enum": operators}}}, "then": {"required": needed}}
        for operators, needed in (
            (["in-the-last", "at-least", "in-the-next"], ["unit", "quantity"]),
            (["after", "before"], ["date"]),
            (["between-static", "between"], ["start", "end"]),
            (["contains", "starts-with", "ends-with", "regex"], ["value"]),
        )
    ]
    + [
        {
            "if": {"properties": {"operator": {"enum": ["in", "not-in"]}}},
            "then": {"required": ["value"], "properties": {"value": {"type": "array"}}},
        }
    ],
}
_CONSENT = {
    "type": "object",
    "required": ["channel", "can_receive_marketing"],
    "properties": {
        "channel": TEXT,
        "can_receive_marketing": FLAG,
        "consent_status": {"type": "object", "properties": {"subscription": TEXT}},
    },
}
_METRIC_FILTER = {
    "type": "object",
    "required": ["property", "filter"],
    "properties": {"property": TEXT, "filter": _FILTER},
}
_CONDITION = {
    "type": "object",
    "required": ["type"],
    "properties": {
        "type": choice(
            "profile-group-membership",
            "profile-has-custom-object",
            "profile-marketing-consent",
            "profile-metric",
            "profile-metric-funnel",
            "profile-not-in-flow",
            "profile-not-sent-email",
            "profile-not-sent-push",
            "profile-not-sent-sms",
            "profile-permissions",
            "profile-postal-code-distance",
            "profile-predictive-analytics",
            "profile-property",
            "profile-region",
            "profile-sample",
        ),
        "group_ids": array(TEXT, least=1),
        "metric_id": TEXT,
        "measurement": choice("count", "sum"),
        "measurement_filter": _FILTER,
        "timeframe_filter": {"anyOf": [_FILTER, {"type": "null"}]},
        "metric_filters": {"type": ["array", "null"], "items": _METRIC_FILTER},
        "is_member": FLAG,
        "property": TEXT,
        "filter": _FILTER,
        "consent": _CONSENT,
    },
    "allOf": [
        {
            "if": {"properties": {"type": {"const": kind}}},
            "then": {"required": needed},
        }
        for kind, needed in {
            "profile-group-membership": ["is_member", "group_ids"],
            "profile-metric": ["metric_id", "measurement", "measurement_filter", "timeframe_filter"],
            "profile-property": ["property", "filter"],
            "profile-marketing-consent": ["consent"],
        }.items()
    ],
}
_GROUP = fields({"conditions": array(_CONDITION, least=1)})
_DEFINITION = fields({"condition_groups": array(_GROUP, least=1)})
_CREATE = fields({"name": TEXT, "definition": _DEFINITION}, is_starred=FLAG)
_UPDATE = fields(name=TEXT_OR_NULL, definition=_DEFINITION, is_starred=FLAG)
_SEGMENT = {"segment": fieldnames.SEGMENT}
_WITH = {"flow": fieldnames.FLOW, "tag": fieldnames.TAG}
_INCLUDE = names("flow-triggers tags")
_MEMBERS = MEMBER_FILTERS | {"profile_id": text("any", "equals")}
_READ = ("segments:read",)
_WRITE = ("segments:write",)
_MEMBER_SCOPES = ("profiles:read", "segments:read")
_ONE = "/api/segments/{id}"

OPERATIONS = [
    Operation(
        id="get_segments",
        method="GET",
        path="/api/segments",
        handler=get_segments,
        limit=L,
        scopes=_READ,
        query=QuerySpec(
            fields=_SEGMENT | _WITH,
            include=_INCLUDE,
            filters={
                "name": text("any", "equals"),
                "id": text("any", "equals"),
                "created": moment("greater-than"),
                "updated": moment("greater-than"),
                "is_active": flag("any", "equals"),
                "is_starred": flag("equals"),
            },
            sort=names("created id name updated"),
            page=(10, 10),
        ),
    ),
    Operation(
        id="create_segment",
        method="POST",
        path="/api/segments",
        handler=create_segment,
        limit=DAILY,
        scopes=_WRITE,
        query=QuerySpec(fields=_SEGMENT),
        body=Body(data(resource("segment", attributes=_CREATE))),
    ),
    Operation(
        id="get_segment",
        method="GET",
        path=_ONE,
        handler=get_segment,
        limit=L,
        scopes=_READ,
        lower=counted("segment"),
        query=QuerySpec(
            fields={"segment": fieldnames.SEGMENT_WITH_COUNT} | _WITH,
            additional={"segment": names("profile_count")},
            include=_INCLUDE,
        ),
    ),
    Operation(
        id="update_segment",
        method="PATCH",
        path=_ONE,
        handler=update_segment,
        limit=DAILY,
        scopes=_WRITE,
        query=QuerySpec(fields=_SEGMENT),
        body=Body(data(resource("segment", needs_id=True, attributes=_UPDATE))),
    ),
    Operation(id="delete_segment", method="DELETE", path=_ONE, handler=delete_segment, limit=S, scopes=_WRITE),
    Operation(
        id="get_profiles_for_segment",
        method="GET",
        path=f"{_ONE}/profiles",
        handler=get_profiles_for_segment,
        limit=L,
        scopes=_MEMBER_SCOPES,
        lower=predictive,
        query=QuerySpec(
            fields={"profile": fieldnames.MEMBER},
            additional=fieldnames.ADDITIONAL_PROFILE,
            filters=_MEMBERS,
            sort=names("joined_group_at"),
            page=(20, 100),
        ),
    ),
    Operation(
        id="get_profile_ids_for_segment",
        method="GET",
        path=f"{_ONE}/relationships/profiles",
        handler=get_profile_ids_for_segment,
        limit=L,
        scopes=_MEMBER_SCOPES,
        query=QuerySpec(filters=_MEMBERS, sort=names("joined_group_at"), page=(20, 100)),
    ),
    Operation(
        id="get_tags_for_segment",
        method="GET",
        path=f"{_ONE}/tags",
        handler=get_tags_for_segment,
        limit=S,
        scopes=("segments:read", "tags:read"),
        query=QuerySpec(fields={"tag": fieldnames.TAG}),
    ),
    Operation(
        id="get_tag_ids_for_segment",
        method="GET",
        path=f"{_ONE}/relationships/tags",
        handler=get_tag_ids_for_segment,
        limit=S,
        scopes=("segments:read", "tags:read"),
    ),
    Operation(
        id="get_flows_triggered_by_segment",
        method="GET",
        path=f"{_ONE}/flow-triggers",
        handler=get_flows_triggered_by_segment,
        limit=S,
        scopes=("flows:read", "segments:read"),
        query=QuerySpec(fields={"flow": fieldnames.FLOW}),
    ),
    Operation(
        id="get_ids_for_flows_triggered_by_segment",
        method="GET",
        path=f"{_ONE}/relationships/flow-triggers",
        handler=get_flows_triggered_by_segment,
        limit=S,
        scopes=("flows:read", "segments:read"),
    ),
]
