"""Operations on single profiles: create, read, update, upsert, merge, delete."""

from __future__ import annotations

from itertools import chain

from klaviyo_simulator.account import Account
from klaviyo_simulator.bodies import Body, array, data, fields, resource
from klaviyo_simulator.documents import Linkage, empty, identifiers, many, one
from klaviyo_simulator.documents import resource as document
from klaviyo_simulator.errors import ApiError, JsonObject, Problem, duplicate_profile, invalid, not_found
from klaviyo_simulator.later import do_later
from klaviyo_simulator.limits import XS, L, Limit, M, S
from klaviyo_simulator.membership import delete, merge
from klaviyo_simulator.people import (
    change,
    create,
    has_identifier,
    holder,
    identifier_problems,
    match,
    missing_identifier,
    patch_of,
    problems_error,
    refuse_other,
)
from klaviyo_simulator.profiles import Profile
from klaviyo_simulator.query import Query, QuerySpec
from klaviyo_simulator.reading import object_in
from klaviyo_simulator.resources import fieldnames
from klaviyo_simulator.resources.profile_pages import PROFILE_FILTERS, PROFILE_SORT, profile_page
from klaviyo_simulator.resources.push_tokens import token_resource, tokens_of
from klaviyo_simulator.resources.schemas import META, PROFILE_ATTRIBUTES
from klaviyo_simulator.resources.segment_shapes import segment_resource, segments_of
from klaviyo_simulator.resources.shapes import list_resource, profile_resource, the_profile
from klaviyo_simulator.routing import Call, Operation, Reply

LARGEST = 100_000
POINTER = "/data/attributes"


def predictive(query: Query) -> Limit | None:
    return M if "predictive_analytics" in query.additional.get("profile", frozenset()) else None


def _expensive_include(query: Query) -> Limit | None:
    return XS if {"lists", "segments"} & set(query.include) else None


def get_profiles(call: Call) -> Reply:
    page, profiles = profile_page(call)
    included = (
        token_resource(call, token)
        for profile in profiles
        for token in tokens_of(call.account, profile)
        if "push-tokens" in call.query.include
    )
    rows = [profile_resource(call, profile, relations=_relations(call, profile)) for profile in profiles]
    return many(call, rows, page=page, included=included)


def get_profile(call: Call) -> Reply:
    profile = the_profile(call.account, call.params["id"])
    included = _included(call, profile) if call.query.include else ()
    return one(call, profile_resource(call, profile, relations=_relations(call, profile)), included=included)


def _relations(call: Call, profile: Profile) -> dict[str, Linkage]:
    account, include = call.account, call.query.include
    relations: dict[str, Linkage] = {}
    if "lists" in include:
        relations["lists"] = [("list", item.id) for item in account.lists_of(profile)]
    if "segments" in include:
        relations["segments"] = [("segment", item.id) for item in segments_of(account, profile)]
    if "push-tokens" in include:
        relations["push-tokens"] = [("push-token", item.id) for item in tokens_of(account, profile)]
    if "conversations" in include:
        relations["conversations"] = []
    return relations


def _included(call: Call, profile: Profile) -> chain[JsonObject]:
    account, include = call.account, call.query.include
    lists = (list_resource(call, item) for item in account.lists_of(profile) if "lists" in include)
    segments = (segment_resource(call, item) for item in segments_of(account, profile) if "segments" in include)
    tokens = (token_resource(call, item) for item in tokens_of(account, profile) if "push-tokens" in include)
    return chain(lists, segments, tokens)


def create_profile(call: Call) -> Reply:
    attributes = call.attributes
    _check(attributes)
    other = holder(call.account, attributes)
    if other is not None:
        named = call.world.switches.conflict_names_duplicate
        raise duplicate_profile(other.id if named else None)
    profile = create(call.account, attributes, call.cause, patch=patch_of(call.data.get("meta")))
    return one(call, profile_resource(call, profile, fresh=True), status=201)


def update_profile(call: Call) -> Reply:
    profile = the_profile(call.account, call.params["id"])
    if call.data["id"] != call.params["id"]:
        raise invalid("The id in the body must be the id in the path.", pointer="/data/id")
    problems_error(identifier_problems(call.attributes, POINTER))
    refuse_other(call.account, holder(call.account, call.attributes, but=profile))
    change(call.account, profile, call.attributes, call.cause, patch=patch_of(call.data.get("meta")))
    return one(call, profile_resource(call, profile, fresh=True))


def create_or_update_profile(call: Call) -> Reply:
    """The upsert: 201 for a new profile, 200 for one that was there."""
    account, attributes = call.account, call.attributes
    profile_id: str | None = call.data.get("id")
    _check(attributes, known=profile_id is not None)
    found = match(account, attributes, profile_id=profile_id)
    if found.unknown_id:
        raise not_found(f"A profile with id {profile_id} does not exist.", pointer="/data/id")
    refuse_other(account, found.other)
    patch = patch_of(call.data.get("meta"))
    if found.profile is None:
        profile = create(account, attributes, call.cause, patch=patch)
        return one(call, profile_resource(call, profile, fresh=True), status=201)
    change(account, found.profile, attributes, call.cause, patch=patch)
    return one(call, profile_resource(call, found.profile, fresh=True))


def _check(attributes: JsonObject, *, known: bool = False) -> None:
    problems = identifier_problems(attributes, POINTER)
    if not known and not has_identifier(attributes):
        problems.append(missing_identifier())
    problems_error(problems)


def merge_profiles(call: Call) -> Reply:
    target = the_profile(call.account, call.data["id"])
    source = the_profile(call.account, call.data["relationships"]["profiles"]["data"][0]["id"])
    if source is target:
        raise invalid("A profile cannot be merged into itself.", pointer="/data/relationships/profiles/data/0/id")
    account, cause = call.account, call.cause

    def work() -> None:
        if target.id in account.profiles.by_id and source.id in account.profiles.by_id:
            merge(account, target, source, cause)

    do_later(account, call.operation.id, call.world.switches.delay_merge, work)
    return one(call, document(call, "profile", target.id, {}), status=202)


def request_profile_deletion(call: Call) -> Reply:
    person: JsonObject = call.attributes["profile"]["data"]
    wanted = {name: value for name, value in object_in(person, "attributes").items() if value}
    if len(wanted) + bool(person.get("id")) != 1:
        detail = "Exactly one of id, email, phone_number must be provided."
        raise ApiError(400, Problem(detail=detail, pointer="/data/attributes/profile/data"))
    account, cause, profile_id = call.account, call.cause, person.get("id")

    def work() -> None:
        _delete(account, profile_id, wanted, call)

    account.effect("deletion.requested", cause, values=wanted | ({"id": profile_id} if profile_id else {}))
    do_later(account, call.operation.id, call.world.switches.delay_deletion, work)
    return empty(202)


def _delete(account: Account, profile_id: str | None, wanted: JsonObject, call: Call) -> None:
    found = account.profiles.get(profile_id) if profile_id else match(account, wanted).profile
    if found is not None:
        delete(account, found, call.cause)


def get_lists_for_profile(call: Call) -> Reply:
    profile = the_profile(call.account, call.params["id"])
    return many(call, [list_resource(call, item) for item in call.account.lists_of(profile)])


def get_list_ids_for_profile(call: Call) -> Reply:
    profile = the_profile(call.account, call.params["id"])
    return identifiers(call, "list", [item.id for item in call.account.lists_of(profile)])


def get_segments_for_profile(call: Call) -> Reply:
    profile = the_profile(call.account, call.params["id"])
    return many(call, [segment_resource(call, item) for item in segments_of(call.account, profile)])


def get_segment_ids_for_profile(call: Call) -> Reply:
    profile = the_profile(call.account, call.params["id"])
    return identifiers(call, "segment", [item.id for item in segments_of(call.account, profile)])


_WRITE = QuerySpec(fields={"profile": fieldnames.PROFILE}, additional=fieldnames.ADDITIONAL_PROFILE)
_RELATED = {
    "list": fieldnames.LIST,
    "segment": fieldnames.SEGMENT,
    "push-token": fieldnames.PUSH_TOKEN,
    "conversation": frozenset({"channel", "id"}),
}
_READ = ("profiles:read",)
_WRITES = ("profiles:write",)
_DELETION = data(
    resource(
        "data-privacy-deletion-job",
        attributes=fields(
            {
                "profile": data(
                    resource(
                        "profile",
                        optional_attributes=fields(
                            email={"type": ["string", "null"]}, phone_number={"type": ["string", "null"]}
                        ),
                        may_have_id=True,
                    )
                )
            }
        ),
    )
)
_MERGE = data(
    resource(
        "profile-merge",
        needs_id=True,
        relationships=fields({"profiles": data(array(resource("profile", needs_id=True), most=1, least=1))}),
    )
)

OPERATIONS = [
    Operation(
        id="get_profiles",
        method="GET",
        path="/api/profiles",
        handler=get_profiles,
        limit=L,
        scopes=_READ,
        lower=predictive,
        query=QuerySpec(
            fields={
                "profile": fieldnames.PROFILE,
                "push-token": fieldnames.PUSH_TOKEN,
                "conversation": _RELATED["conversation"],
            },
            additional=fieldnames.ADDITIONAL_PROFILE,
            include=frozenset({"conversations", "push-tokens"}),
            filters=PROFILE_FILTERS,
            sort=PROFILE_SORT,
            page=(20, 100),
        ),
    ),
    Operation(
        id="create_profile",
        method="POST",
        path="/api/profiles",
        handler=create_profile,
        limit=L,
        scopes=_WRITES,
        query=_WRITE,
        body=Body(data(resource("profile", attributes=PROFILE_ATTRIBUTES, meta=META)), most_bytes=LARGEST),
    ),
    Operation(
        id="get_profile",
        method="GET",
        path="/api/profiles/{id}",
        handler=get_profile,
        limit=L,
        scopes=_READ,
        lower=_expensive_include,
        query=QuerySpec(
            fields={"profile": fieldnames.PROFILE} | _RELATED,
            additional=fieldnames.ADDITIONAL_PROFILE,
            include=frozenset({"conversations", "lists", "push-tokens", "segments"}),
        ),
    ),
    Operation(
        id="update_profile",
        method="PATCH",
        path="/api/profiles/{id}",
        handler=update_profile,
        limit=L,
        scopes=_WRITES,
        query=_WRITE,
        body=Body(
            data(resource("profile", optional_attributes=PROFILE_ATTRIBUTES, meta=META, needs_id=True)),
            most_bytes=LARGEST,
        ),
    ),
    Operation(
        id="create_or_update_profile",
        method="POST",
        path="/api/profile-import",
        handler=create_or_update_profile,
        limit=L,
        scopes=_WRITES,
        query=_WRITE,
        body=Body(
            data(resource("profile", attributes=PROFILE_ATTRIBUTES, meta=META, may_have_id=True)),
            most_bytes=LARGEST,
        ),
    ),
    Operation(
        id="merge_profiles",
        method="POST",
        path="/api/profile-merge",
        handler=merge_profiles,
        limit=M,
        scopes=_WRITES,
        query=QuerySpec(fields={"profile": frozenset({"id"})}),
        body=Body(_MERGE),
    ),
    Operation(
        id="request_profile_deletion",
        method="POST",
        path="/api/data-privacy-deletion-jobs",
        handler=request_profile_deletion,
        limit=S,
        scopes=("data-privacy:write",),
        body=Body(_DELETION),
    ),
    Operation(
        id="get_lists_for_profile",
        method="GET",
        path="/api/profiles/{id}/lists",
        handler=get_lists_for_profile,
        limit=S,
        scopes=("lists:read", "profiles:read"),
        query=QuerySpec(fields={"list": fieldnames.LIST}),
    ),
    Operation(
        id="get_list_ids_for_profile",
        method="GET",
        path="/api/profiles/{id}/relationships/lists",
        handler=get_list_ids_for_profile,
        limit=S,
        scopes=("lists:read", "profiles:read"),
    ),
    Operation(
        id="get_segments_for_profile",
        method="GET",
        path="/api/profiles/{id}/segments",
        handler=get_segments_for_profile,
        limit=S,
        scopes=("profiles:read", "segments:read"),
        query=QuerySpec(fields={"segment": fieldnames.SEGMENT}),
    ),
    Operation(
        id="get_segment_ids_for_profile",
        method="GET",
        path="/api/profiles/{id}/relationships/segments",
        handler=get_segment_ids_for_profile,
        limit=S,
        scopes=("profiles:read", "segments:read"),
    ),
]
