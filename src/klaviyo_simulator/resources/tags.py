"""Reading tags and tag groups. Writing them is not simulated."""

from __future__ import annotations

from collections.abc import Callable

from klaviyo_simulator.documents import LINKS_ONLY, many, one, resource
from klaviyo_simulator.errors import JsonObject, not_found, not_implemented
from klaviyo_simulator.filters import matches, text
from klaviyo_simulator.limits import S
from klaviyo_simulator.query import QuerySpec, names
from klaviyo_simulator.resources import fieldnames
from klaviyo_simulator.resources.tag_shapes import tag_resource
from klaviyo_simulator.routing import Call, Operation, Reply


def group_resource(call: Call, group_id: str) -> JsonObject:
    attributes = {"name": "Default Group", "exclusive": False, "default": True}
    return resource(call, "tag-group", group_id, attributes, {"tags": LINKS_ONLY})


def get_tags(call: Call) -> Reply:
    found = [
        tag
        for tag in call.account.tags.values()
        if all(matches(condition, tag.name) for condition in call.query.conditions)
    ]
    groups = (group_resource(call, tag.group_id) for tag in found)
    return many(call, [tag_resource(call, tag) for tag in found], included=groups)


def get_tag(call: Call) -> Reply:
    tag = call.account.tags.get(call.params["id"])
    if tag is None:
        raise not_found(f"A tag with id {call.params['id']} does not exist.")
    return one(call, tag_resource(call, tag), included=[group_resource(call, tag.group_id)])


def get_tag_groups(call: Call) -> Reply:
    groups = sorted({tag.group_id for tag in call.account.tags.values()})
    return many(call, [group_resource(call, group_id) for group_id in groups])


def get_tag_group(call: Call) -> Reply:
    if call.params["id"] not in {tag.group_id for tag in call.account.tags.values()}:
        raise not_found(f"A tag group with id {call.params['id']} does not exist.")
    return one(call, group_resource(call, call.params["id"]))


def not_writable(call: Call) -> Reply:
    raise not_implemented("writing tags")


def _op(
    name: str, method: str, path: str, handler: Callable[[Call], Reply], query: QuerySpec | None = None
) -> Operation:
    scopes = ("tags:read",) if method == "GET" else ("tags:write",)
    return Operation(
        id=name, method=method, path=path, handler=handler, limit=S, scopes=scopes, query=query or QuerySpec()
    )


_FIELDS = {"tag": fieldnames.TAG, "tag-group": fieldnames.TAG_GROUP}
_TAGS = QuerySpec(
    fields=_FIELDS,
    include=names("tag-group"),
    filters={"name": text("contains", "ends-with", "equals", "starts-with")},
    sort=names("id name"),
    cursor=True,
)

OPERATIONS = [
    _op("get_tags", "GET", "/api/tags", get_tags, _TAGS),
    _op("create_tag", "POST", "/api/tags", not_writable),
    _op("get_tag", "GET", "/api/tags/{id}", get_tag, QuerySpec(fields=_FIELDS, include=names("tag-group"))),
    _op("update_tag", "PATCH", "/api/tags/{id}", not_writable),
    _op("delete_tag", "DELETE", "/api/tags/{id}", not_writable),
    _op("get_tag_groups", "GET", "/api/tag-groups", get_tag_groups, QuerySpec(fields=_FIELDS, cursor=True)),
    _op("create_tag_group", "POST", "/api/tag-groups", not_writable),
    _op("get_tag_group", "GET", "/api/tag-groups/{id}", get_tag_group, QuerySpec(fields=_FIELDS)),
    _op("update_tag_group", "PATCH", "/api/tag-groups/{id}", not_writable),
    _op("delete_tag_group", "DELETE", "/api/tag-groups/{id}", not_writable),
]
