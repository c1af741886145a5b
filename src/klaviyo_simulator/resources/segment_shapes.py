"""How segments look, and which a profile is in."""

from __future__ import annotations

from klaviyo_simulator.account import Account, Segment
from klaviyo_simulator.documents import LINKS_ONLY, Linkage, resource
from klaviyo_simulator.errors import JsonObject
from klaviyo_simulator.profiles import Profile
from klaviyo_simulator.routing import Call
from klaviyo_simulator.segmenting import refresh_all
from klaviyo_simulator.times import iso


def segments_of(account: Account, profile: Profile) -> list[Segment]:
    refresh_all(account)
    return [item for item in account.segments.values() if profile.id in item.members]


def segment_resource(call: Call, item: Segment, relations: dict[str, Linkage] | None = None) -> JsonObject:
    attributes: JsonObject = {
        "name": item.name,
        "definition": item.definition,
        "created": iso(item.created),
        "updated": iso(item.updated),
        "is_active": item.is_active,
        "is_processing": item.is_processing,
        "is_starred": item.is_starred,
    }
    if "profile_count" in call.query.additional.get("segment", frozenset()):
        attributes["profile_count"] = len(item.members)
    links: dict[str, Linkage] = {"profiles": LINKS_ONLY, "tags": LINKS_ONLY, "flow-triggers": LINKS_ONLY}
    return resource(call, "segment", item.id, attributes, links | (relations or {}))
