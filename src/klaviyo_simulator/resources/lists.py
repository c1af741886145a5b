"""Operations on lists and their members."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from klaviyo_simulator.account import DOUBLE, SINGLE, Account, MailingList
from klaviyo_simulator.bodies import TEXT, TEXT_OR_NULL, Body, array, choice, data, fields, resource
from klaviyo_simulator.documents import Linkage, empty, identifiers, many, one
from klaviyo_simulator.errors import ApiError, JsonObject, Problem, invalid
from klaviyo_simulator.filters import matches, moment, text
from klaviyo_simulator.flows import Flow, flows_of
from klaviyo_simulator.later import do_later
from klaviyo_simulator.limits import XS, L, Limit, M, S
from klaviyo_simulator.membership import join, leave
from klaviyo_simulator.ordering import Ordering
from klaviyo_simulator.paging import Page, paginate
from klaviyo_simulator.query import Query, QuerySpec, names
from klaviyo_simulator.resources import fieldnames
from klaviyo_simulator.resources.flow_shapes import flow_resource
from klaviyo_simulator.resources.profile_pages import MEMBER_FILTERS, member_page
from klaviyo_simulator.resources.shapes import list_resource, profile_resource, the_list
from klaviyo_simulator.resources.tag_shapes import tag_resource, tags_named
from klaviyo_simulator.routing import Call, Operation, Reply

MOST_MEMBERS = 1000


def counted(kind: str) -> Callable[[Query], Limit | None]:
    """The lower limit for `additional-fields[kind]=profile_count`."""

    def lower(query: Query) -> Limit | None:
        return XS if "profile_count" in query.additional.get(kind, frozenset()) else None

    return lower


def predictive(query: Query) -> Limit | None:
    return M if "predictive_analytics" in query.additional.get("profile", frozenset()) else None


def group_page(call: Call, items: Iterable[MailingList]) -> tuple[Page, list[MailingList]]:
    """A page of lists, filtered and sorted by their attributes."""
    query = call.query
    by_id = {
        item.id: item
        for item in items
        if all(matches(condition, getattr(item, condition.field)) for condition in query.conditions)
    }
    name = (query.sort or "id").lstrip("-")
    page = paginate(
        Ordering((getattr(item, name), item.id) for item in by_id.values()),
        query,
        descending=(query.sort or "").startswith("-"),
        strict=call.world.switches.strict_cursors,
    )
    return page, [by_id[key[-1]] for key in page.keys]


def get_lists(call: Call) -> Reply:
    page, found = group_page(call, call.account.lists.values())
    rows = [list_resource(call, item, _relations(call, item)) for item in found]
    included = (document for item in found for document in _included(call, item))
    return many(call, rows, page=page, included=included)


def _relations(call: Call, item: MailingList) -> dict[str, Linkage]:
    relations: dict[str, Linkage] = {}
    if "tags" in call.query.include:
        relations["tags"] = [("tag", tag_id) for tag_id in item.tag_ids]
    if "flow-triggers" in call.query.include:
        relations["flow-triggers"] = [("flow", flow.id) for flow in _flows(call, item)]
    return relations


def _included(call: Call, item: MailingList) -> list[JsonObject]:
    found: list[JsonObject] = []
    if "tags" in call.query.include:
        found += [tag_resource(call, tag) for tag in tags_named(call.account, item.tag_ids)]
    if "flow-triggers" in call.query.include:
        found += [flow_resource(call, flow) for flow in _flows(call, item)]
    return found


def _flows(call: Call, item: MailingList) -> list[Flow]:
    return [flow for flow in flows_of(call.account).values() if flow.list_id == item.id]


def new_list(account: Account, name: str, opt_in: str | None = None) -> MailingList:
    default = DOUBLE if account.world.switches.account_double_opt_in else SINGLE
    now = account.now()
    item = MailingList(account.world.ids.short(), name, now, now, opt_in or default)
    account.lists[item.id] = item
    return item


def create_list(call: Call) -> Reply:
    name: str = call.attributes["name"]
    if not name.strip():
        raise invalid("The list name must not be empty.", pointer="/data/attributes/name")
    item = new_list(call.account, name, call.attributes.get("opt_in_process"))
    call.account.effect("list.created", call.cause, values={"list": item.id, "name": name})
    return one(call, list_resource(call, item), status=201)


def get_list(call: Call) -> Reply:
    item = the_list(call.account, call.params["id"])
    return one(call, list_resource(call, item, _relations(call, item)), included=_included(call, item))


def update_list(call: Call) -> Reply:
    item = the_list(call.account, call.params["id"])
    if call.data["id"] != item.id:
        raise invalid("The id in the body must be the id in the path.", pointer="/data/id")
    item.name = call.attributes.get("name") or item.name
    item.opt_in_process = call.attributes.get("opt_in_process") or item.opt_in_process
    item.updated = call.account.now()
    return one(call, list_resource(call, item))


def delete_list(call: Call) -> Reply:
    item = the_list(call.account, call.params["id"])
    del call.account.lists[item.id]
    call.account.effect("list.deleted", call.cause, values={"list": item.id})
    return empty(204)


def get_profiles_for_list(call: Call) -> Reply:
    page, found = member_page(call, the_list(call.account, call.params["id"]).members)
    return many(call, [profile_resource(call, profile, joined=since) for profile, since in found], page=page)


def get_profile_ids_for_list(call: Call) -> Reply:
    page, found = member_page(call, the_list(call.account, call.params["id"]).members)
    return identifiers(call, "profile", [profile.id for profile, _ in found], page=page)


def add_profiles_to_list(call: Call) -> Reply:
    return _change_members(call, adding=True)


def remove_profiles_from_list(call: Call) -> Reply:
    return _change_members(call, adding=False)


def _change_members(call: Call, *, adding: bool) -> Reply:
    """204 now, the membership a little later; consent and `updated` stay as they are."""
    account, cause = call.account, call.cause
    item = the_list(account, call.params["id"])
    ids = [entry["id"] for entry in call.data]
    unknown = [
        Problem(
            detail=f"A profile with id {profile_id} does not exist.",
            code="not_found",
            pointer=f"/data/{index}/id",
        )
        for index, profile_id in enumerate(ids)
        if account.profiles.get(profile_id) is None
    ]
    if unknown and adding:
        raise ApiError(404, *unknown)

    def work() -> None:
        for profile_id in ids:
            profile = account.profiles.get(profile_id)
            if profile is None:
                continue
            if adding:
                join(account, item, profile, cause, with_event=False)
            else:
                leave(account, item, profile, cause, with_event=False)

    do_later(account, call.operation.id, call.world.switches.delay_membership, work)
    return empty(204)


def get_tags_for_list(call: Call) -> Reply:
    item = the_list(call.account, call.params["id"])
    return many(call, [tag_resource(call, tag) for tag in tags_named(call.account, item.tag_ids)])


def get_tag_ids_for_list(call: Call) -> Reply:
    return identifiers(call, "tag", the_list(call.account, call.params["id"]).tag_ids)


def get_flows_triggered_by_list(call: Call) -> Reply:
    item = the_list(call.account, call.params["id"])
    return many(call, [flow_resource(call, flow) for flow in _flows(call, item)])


def get_ids_for_flows_triggered_by_list(call: Call) -> Reply:
    item = the_list(call.account, call.params["id"])
    return identifiers(call, "flow", [flow.id for flow in _flows(call, item)])


_OPT_IN = choice("double_opt_in", "single_opt_in", None)
_LIST = {"list": fieldnames.LIST}
_WITH = {"flow": fieldnames.FLOW, "tag": fieldnames.TAG}
_INCLUDE = names("flow-triggers tags")
_WRITE = ("lists:write",)
_MEMBERS = Body(data(array(resource("profile", needs_id=True), most=MOST_MEMBERS, least=1)))
_MEMBER_SCOPES = ("lists:read", "profiles:read")
_MEMBER_WRITE = ("lists:write", "profiles:write")


OPERATIONS = [
    Operation(
        id="get_lists",
        method="GET",
        path="/api/lists",
        handler=get_lists,
        limit=L,
        scopes=("lists:read",),
        query=QuerySpec(
            fields=_LIST | _WITH,
            include=_INCLUDE,
            filters={
                "name": text("any", "equals"),
                "id": text("any", "equals"),
                "created": moment("greater-than"),
                "updated": moment("greater-than"),
            },
            sort=names("created id name updated"),
            page=(10, 10),
        ),
    ),
    Operation(
        id="create_list",
        method="POST",
        path="/api/lists",
        handler=create_list,
        limit=Limit(10, 150, 150),
        scopes=_WRITE,
        query=QuerySpec(fields=_LIST),
        body=Body(data(resource("list", attributes=fields({"name": TEXT}, opt_in_process=_OPT_IN)))),
    ),
    Operation(
        id="get_list",
        method="GET",
        path="/api/lists/{id}",
        handler=get_list,
        limit=L,
        scopes=("lists:read",),
        lower=counted("list"),
        query=QuerySpec(
            fields={"list": fieldnames.LIST_WITH_COUNT} | _WITH,
            additional={"list": names("profile_count")},
            include=_INCLUDE,
        ),
    ),
    Operation(
        id="update_list",
        method="PATCH",
        path="/api/lists/{id}",
        handler=update_list,
        limit=M,
        scopes=_WRITE,
        query=QuerySpec(fields=_LIST),
        body=Body(data(resource("list", needs_id=True, attributes=fields(name=TEXT_OR_NULL, opt_in_process=_OPT_IN)))),
    ),
    Operation(id="delete_list", method="DELETE", path="/api/lists/{id}", handler=delete_list, limit=M, scopes=_WRITE),
    Operation(
        id="get_profiles_for_list",
        method="GET",
        path="/api/lists/{id}/profiles",
        handler=get_profiles_for_list,
        limit=L,
        scopes=_MEMBER_SCOPES,
        lower=predictive,
        query=QuerySpec(
            fields={"profile": fieldnames.MEMBER},
            additional=fieldnames.ADDITIONAL_PROFILE,
            filters=MEMBER_FILTERS,
            sort=names("joined_group_at"),
            page=(20, 100),
        ),
    ),
    Operation(
        id="get_profile_ids_for_list",
        method="GET",
        path="/api/lists/{id}/relationships/profiles",
        handler=get_profile_ids_for_list,
        limit=L,
        scopes=_MEMBER_SCOPES,
        query=QuerySpec(filters=MEMBER_FILTERS, sort=names("joined_group_at"), page=(20, 100)),
    ),
    Operation(
        id="add_profiles_to_list",
        method="POST",
        path="/api/lists/{id}/relationships/profiles",
        handler=add_profiles_to_list,
        limit=M,
        scopes=_MEMBER_WRITE,
        body=_MEMBERS,
    ),
    Operation(
        id="remove_profiles_from_list",
        method="DELETE",
        path="/api/lists/{id}/relationships/profiles",
        handler=remove_profiles_from_list,
        limit=M,
        scopes=_MEMBER_WRITE,
        body=_MEMBERS,
    ),
    Operation(
        id="get_tags_for_list",
        method="GET",
        path="/api/lists/{id}/tags",
        handler=get_tags_for_list,
        limit=S,
        scopes=("lists:read", "tags:read"),
        query=QuerySpec(fields={"tag": fieldnames.TAG}),
    ),
    Operation(
        id="get_tag_ids_for_list",
        method="GET",
        path="/api/lists/{id}/relationships/tags",
        handler=get_tag_ids_for_list,
        limit=S,
        scopes=("lists:read", "tags:read"),
    ),
    Operation(
        id="get_flows_triggered_by_list",
        method="GET",
        path="/api/lists/{id}/flow-triggers",
        handler=get_flows_triggered_by_list,
        limit=S,
        scopes=("flows:read", "lists:read"),
        query=QuerySpec(fields={"flow": fieldnames.FLOW}),
    ),
    Operation(
        id="get_ids_for_flows_triggered_by_list",
        method="GET",
        path="/api/lists/{id}/relationships/flow-triggers",
        handler=get_ids_for_flows_triggered_by_list,
        limit=S,
        scopes=("flows:read", "lists:read"),
    ),
]
