"""Reading flows, their actions and messages. Writing them is not simulated; the control API adds flows."""

from __future__ import annotations

from collections.abc import Callable

from klaviyo_simulator.account import Account
from klaviyo_simulator.documents import LINKS_ONLY, Linkage, identifiers, many, one, resource
from klaviyo_simulator.errors import JsonObject, not_found, not_implemented
from klaviyo_simulator.filters import COMPARE, flag, matches, moment, text
from klaviyo_simulator.flows import Flow, FlowMessage, flows_of
from klaviyo_simulator.limits import XS, S
from klaviyo_simulator.ordering import Ordering
from klaviyo_simulator.paging import paginate
from klaviyo_simulator.query import QuerySpec, names
from klaviyo_simulator.resources import fieldnames
from klaviyo_simulator.resources.flow_shapes import flow_resource
from klaviyo_simulator.resources.tag_shapes import tag_resource, tags_named
from klaviyo_simulator.routing import Call, Operation, Reply
from klaviyo_simulator.times import iso

ACTION_FIELDS = names("action_type created definition id settings status tracking_options updated")
MESSAGE_FIELDS = names("channel created definition id updated name")


def the_flow(account: Account, flow_id: str) -> Flow:
    found = flows_of(account).get(flow_id)
    if found is None:
        raise not_found(f"A flow with id {flow_id} does not exist.")
    return found


def _find(call: Call, name: str) -> tuple[Flow, FlowMessage]:
    """The flow and message whose action (or itself) has the id in the path."""
    for flow in flows_of(call.account).values():
        for message in flow.messages:
            if getattr(message, name) == call.params["id"]:
                return flow, message
    raise not_found(f"{call.params['id']} does not exist.")


def action_resource(call: Call, flow: Flow, message: FlowMessage) -> JsonObject:
    attributes: JsonObject = {
        "created": iso(flow.created),
        "updated": iso(flow.updated),
        "definition": {
            "id": message.action_id,
            "type": "send-email",
            "links": {"next": None},
            "data": {"message": _content(message), "status": flow.status},
        },
    }
    relations: dict[str, Linkage] = {
        "flow": ("flow", flow.id),
        "flow-messages": [("flow-message", message.id)],
    }
    return resource(call, "flow-action", message.action_id, attributes, relations)


def _content(message: FlowMessage) -> JsonObject:
    return {
        "from_email": "hello@example.com",
        "from_label": "Simulated Shop",
        "reply_to_email": None,
        "cc_email": None,
        "bcc_email": None,
        "subject_line": message.subject,
        "preview_text": "",
        "template_id": None,
        "smart_sending_enabled": True,
        "transactional": False,
        "add_tracking_params": False,
        "custom_tracking_params": None,
        "additional_filters": None,
        "name": message.name,
        "id": message.id,
    }


def message_resource(call: Call, flow: Flow, message: FlowMessage) -> JsonObject:
    attributes: JsonObject = {
        "channel": "email",
        "created": iso(flow.created),
        "updated": iso(flow.updated),
        "definition": _content(message),
        "name": message.name,
    }
    relations: dict[str, Linkage] = {
        "flow-action": ("flow-action", message.action_id),
        "template": LINKS_ONLY,
    }
    return resource(call, "flow-message", message.id, attributes, relations)


def get_flows(call: Call) -> Reply:
    query = call.query
    by_id = {
        flow.id: flow
        for flow in flows_of(call.account).values()
        if all(matches(condition, getattr(flow, condition.field)) for condition in query.conditions)
    }
    name = (query.sort or "id").lstrip("-")
    page = paginate(
        Ordering((getattr(flow, name), flow.id) for flow in by_id.values()),
        query,
        descending=(query.sort or "").startswith("-"),
        strict=call.world.switches.strict_cursors,
    )
    found = [by_id[key[-1]] for key in page.keys]
    included = [document for flow in found for document in _included(call, flow)]
    return many(call, [flow_resource(call, flow) for flow in found], page=page, included=included)


def _included(call: Call, flow: Flow) -> list[JsonObject]:
    found: list[JsonObject] = []
    if "flow-actions" in call.query.include:
        found += [action_resource(call, flow, message) for message in flow.messages]
    if "tags" in call.query.include:
        found += [tag_resource(call, tag) for tag in tags_named(call.account, flow.tag_ids)]
    return found


def get_flow(call: Call) -> Reply:
    if call.query.additional:
        raise not_implemented("the definition of flows")
    flow = the_flow(call.account, call.params["id"])
    return one(call, flow_resource(call, flow), included=_included(call, flow))


def get_actions_for_flow(call: Call) -> Reply:
    flow = the_flow(call.account, call.params["id"])
    return many(call, [action_resource(call, flow, message) for message in flow.messages])


def get_action_ids_for_flow(call: Call) -> Reply:
    flow = the_flow(call.account, call.params["id"])
    return identifiers(call, "flow-action", [message.action_id for message in flow.messages])


def get_tags_for_flow(call: Call) -> Reply:
    flow = the_flow(call.account, call.params["id"])
    return many(call, [tag_resource(call, tag) for tag in tags_named(call.account, flow.tag_ids)])


def get_tag_ids_for_flow(call: Call) -> Reply:
    return identifiers(call, "tag", the_flow(call.account, call.params["id"]).tag_ids)


def get_flow_action(call: Call) -> Reply:
    flow, message = _find(call, "action_id")
    included = [flow_resource(call, flow), message_resource(call, flow, message)]
    wanted = {name.removesuffix("s") for name in call.query.include}
    return one(
        call,
        action_resource(call, flow, message),
        included=[document for document in included if document["type"] in wanted],
    )


def get_flow_for_flow_action(call: Call) -> Reply:
    return one(call, flow_resource(call, _find(call, "action_id")[0]))


def get_messages_for_flow_action(call: Call) -> Reply:
    return many(call, [message_resource(call, *_find(call, "action_id"))])


def get_flow_message(call: Call) -> Reply:
    flow, message = _find(call, "id")
    return one(call, message_resource(call, flow, message), included=[action_resource(call, flow, message)])


def get_action_for_flow_message(call: Call) -> Reply:
    return one(call, action_resource(call, *_find(call, "id")))


def not_writable(call: Call) -> Reply:
    raise not_implemented("writing flows; add them by POST /_simulator/flows")


def _op(
    name: str,
    path: str,
    handler: Callable[[Call], Reply],
    query: QuerySpec | None = None,
    method: str = "GET",
) -> Operation:
    return Operation(
        id=name,
        method=method,
        path=path,
        handler=handler,
        limit=XS if name == "create_flow" else S,
        scopes=("flows:read",) if method == "GET" else ("flows:write",),
        query=query or QuerySpec(),
    )


_FIELDS = {
    "flow": fieldnames.FLOW,
    "flow-action": ACTION_FIELDS,
    "flow-message": MESSAGE_FIELDS,
    "tag": fieldnames.TAG,
}
_PLAIN = QuerySpec(fields=_FIELDS)
_TIMES = moment("equals", *COMPARE)

OPERATIONS = [
    _op(
        "get_flows",
        "/api/flows",
        get_flows,
        QuerySpec(
            fields=_FIELDS,
            include=names("flow-actions tags"),
            filters={
                "id": text("any"),
                "name": text("contains", "ends-with", "equals", "starts-with"),
                "status": text("equals"),
                "archived": flag("equals"),
                "created": _TIMES,
                "updated": _TIMES,
                "trigger_type": text("equals"),
            },
            sort=names("created id name status trigger_type updated"),
            page=(50, 50),
        ),
    ),
    _op(
        "get_flow",
        "/api/flows/{id}",
        get_flow,
        QuerySpec(fields=_FIELDS, additional={"flow": names("definition")}, include=names("flow-actions tags")),
    ),
    _op("create_flow", "/api/flows", not_writable, method="POST"),
    _op("update_flow", "/api/flows/{id}", not_writable, method="PATCH"),
    _op("delete_flow", "/api/flows/{id}", not_writable, method="DELETE"),
    _op("get_actions_for_flow", "/api/flows/{id}/flow-actions", get_actions_for_flow, _PLAIN),
    _op("get_action_ids_for_flow", "/api/flows/{id}/relationships/flow-actions", get_action_ids_for_flow),
    _op("get_tags_for_flow", "/api/flows/{id}/tags", get_tags_for_flow, _PLAIN),
    _op("get_tag_ids_for_flow", "/api/flows/{id}/relationships/tags", get_tag_ids_for_flow),
    _op(
        "get_flow_action",
        "/api/flow-actions/{id}",
        get_flow_action,
        QuerySpec(fields=_FIELDS, include=names("flow flow-messages")),
    ),
    _op("update_flow_action", "/api/flow-actions/{id}", not_writable, method="PATCH"),
    _op("delete_flow_action", "/api/flow-actions/{id}", not_writable, method="DELETE"),
    _op("get_flow_for_flow_action", "/api/flow-actions/{id}/flow", get_flow_for_flow_action, _PLAIN),
    _op(
        "get_flow_action_messages",
        "/api/flow-actions/{id}/flow-messages",
        get_messages_for_flow_action,
        _PLAIN,
    ),
    _op(
        "get_flow_message",
        "/api/flow-messages/{id}",
        get_flow_message,
        QuerySpec(fields=_FIELDS, include=names("flow-action")),
    ),
    _op(
        "get_action_for_flow_message",
        "/api/flow-messages/{id}/flow-action",
        get_action_for_flow_message,
        _PLAIN,
    ),
]
