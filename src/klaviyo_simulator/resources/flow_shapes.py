"""How flows look."""

from __future__ import annotations

from klaviyo_simulator.documents import LINKS_ONLY, resource
from klaviyo_simulator.errors import JsonObject
from klaviyo_simulator.flows import Flow
from klaviyo_simulator.routing import Call
from klaviyo_simulator.times import iso


def flow_resource(call: Call, flow: Flow) -> JsonObject:
    attributes: JsonObject = {
        "name": flow.name,
        "status": flow.status,
        "archived": flow.archived,
        "created": iso(flow.created),
        "updated": iso(flow.updated),
        "trigger_type": flow.trigger_type,
    }
    return resource(call, "flow", flow.id, attributes, {"flow-actions": LINKS_ONLY, "tags": LINKS_ONLY})
