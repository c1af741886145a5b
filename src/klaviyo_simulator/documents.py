"""JSON:API documents: resources, relationships, links, collections.

What a resource says is in `resources`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from klaviyo_simulator.errors import JsonObject
from klaviyo_simulator.paging import Page, page_link
from klaviyo_simulator.query import Names
from klaviyo_simulator.routing import Call, Reply

Linkage = tuple[str, str] | list[tuple[str, str]] | None
LINKS_ONLY: Linkage = None

COLLECTIONS = {
    "account": "accounts",
    "campaign": "campaigns",
    "campaign-message": "campaign-messages",
    "campaign-recipient-estimation": "campaign-recipient-estimations",
    "campaign-recipient-estimation-job": "campaign-recipient-estimation-jobs",
    "campaign-send-job": "campaign-send-jobs",
    "event": "events",
    "flow": "flows",
    "flow-action": "flow-actions",
    "flow-message": "flow-messages",
    "list": "lists",
    "metric": "metrics",
    "metric-property": "metric-properties",
    "profile": "profiles",
    "profile-bulk-import-job": "profile-bulk-import-jobs",
    "profile-suppression-bulk-create-job": "profile-suppression-bulk-create-jobs",
    "profile-suppression-bulk-delete-job": "profile-suppression-bulk-delete-jobs",
    "push-token": "push-tokens",
    "segment": "segments",
    "tag": "tags",
    "tag-group": "tag-groups",
    "template": "templates",
    "webhook": "webhooks",
    "webhook-topic": "webhook-topics",
}


def self_link(base: str, kind: str, identity: str) -> str:
    return f"{base}/api/{COLLECTIONS.get(kind, kind + 's')}/{identity}/"


def resource(
    call: Call,
    kind: str,
    identity: str,
    attributes: JsonObject | None,
    relations: Mapping[str, Linkage] | None = None,
    *,
    related_only: Names = frozenset(),
) -> JsonObject:
    """A resource object. With a sparse fieldset the relationships go too, but for included ones."""
    here = self_link(call.base, kind, identity)
    document: JsonObject = {"type": kind, "id": identity}
    sparse = call.query.fields.get(kind)
    if attributes is not None:
        document["attributes"] = attributes if sparse is None else pick(attributes, sparse)
    shown = {
        name: relationship(here, name, linkage, related_only=name in related_only)
        for name, linkage in (relations or {}).items()
        if sparse is None or name in call.query.include
    }
    if shown:
        document["relationships"] = shown
    document["links"] = {"self": here}
    return document


def relationship(here: str, name: str, linkage: Linkage, *, related_only: bool = False) -> JsonObject:
    links = {"self": f"{here}relationships/{name}/", "related": f"{here}{name}/"}
    if related_only:
        del links["self"]
    if linkage is None:
        return {"links": links}
    return {"data": linkage_document(linkage), "links": links}


def linkage_document(linkage: tuple[str, str] | list[tuple[str, str]]) -> Any:
    if isinstance(linkage, list):
        return [{"type": kind, "id": identity} for kind, identity in linkage]
    return {"type": linkage[0], "id": linkage[1]}


def pick(attributes: JsonObject, wanted: Names) -> JsonObject:
    """The attributes named, `location.city` being part of `location`."""
    chosen = {name: value for name, value in attributes.items() if name in wanted}
    for path in wanted:
        if "." in path:
            _pick_path(attributes, chosen, path.split("."))
    return chosen


def _pick_path(source: Any, into: JsonObject, path: list[str]) -> None:
    name, *rest = path
    if not isinstance(source, dict) or name not in source:
        return
    if not rest:
        into[name] = source[name]
        return
    inner = into.setdefault(name, {})
    if inner is not source[name]:
        _pick_path(source[name], inner, rest)


def url_of(call: Call) -> str:
    return f"{call.base}{call.path}"


def one(call: Call, document: JsonObject, *, status: int = 200, included: Iterable[JsonObject] = ()) -> Reply:
    """A single resource under `data`."""
    whole: JsonObject = {"data": document}
    _include(call, whole, included)
    whole["links"] = {"self": document["links"]["self"]}
    return Reply(status, whole)


def many(
    call: Call,
    documents: list[JsonObject],
    *,
    page: Page | None = None,
    included: Iterable[JsonObject] = (),
) -> Reply:
    """A collection; `self` echoes the request."""
    url = url_of(call)
    whole: JsonObject = {"data": documents}
    _include(call, whole, included)
    whole["links"] = {
        "self": f"{url}?{call.raw_query}" if call.raw_query else url,
        "next": page_link(url, call.raw_query, page.next) if page else None,
        "prev": page_link(url, call.raw_query, page.prev) if page else None,
    }
    return Reply(200, whole)


def identifiers(call: Call, kind: str, identities: Iterable[str], *, page: Page | None = None) -> Reply:
    """What /relationships/ endpoints answer."""
    return many(call, [{"type": kind, "id": identity} for identity in identities], page=page)


def empty(status: int = 202) -> Reply:
    return Reply(status)


def _include(call: Call, whole: JsonObject, included: Iterable[JsonObject]) -> None:
    if not call.query.include:
        return
    unique = {(item["type"], item["id"]): item for item in included}
    whole["included"] = list(unique.values())
