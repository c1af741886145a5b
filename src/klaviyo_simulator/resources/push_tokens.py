"""Push tokens: create, read, delete."""

from __future__ import annotations

from klaviyo_simulator.account import Account, PushToken
from klaviyo_simulator.bodies import TEXT, Body, choice, data, fields, resource
from klaviyo_simulator.documents import (
    LINKS_ONLY,
    Linkage,
    empty,
    identifiers,
    many,
    one,
)
from klaviyo_simulator.documents import (
    resource as document,
)
from klaviyo_simulator.errors import JsonObject, not_found
from klaviyo_simulator.filters import matches, text
from klaviyo_simulator.later import do_later
from klaviyo_simulator.limits import L, M, S
from klaviyo_simulator.ordering import Ordering
from klaviyo_simulator.paging import paginate
from klaviyo_simulator.people import ensure
from klaviyo_simulator.profiles import Profile
from klaviyo_simulator.query import QuerySpec
from klaviyo_simulator.resources import fieldnames
from klaviyo_simulator.resources.schemas import BACKGROUND, DEVICE, ENABLEMENT, EVENT_PERSON
from klaviyo_simulator.resources.shapes import profile_resource, the_profile
from klaviyo_simulator.routing import Call, Operation, Reply
from klaviyo_simulator.times import iso


def tokens_of(account: Account, profile: Profile) -> list[PushToken]:
    return [item for item in account.push_tokens.values() if item.profile_id == profile.id]


def token_resource(call: Call, item: PushToken, *, linked: bool = False) -> JsonObject:
    given = item.attributes
    attributes: JsonObject = {
        "created": iso(item.created),
        "token": given["token"],
        "enablement_status": given.get("enablement_status") or "AUTHORIZED",
        "platform": given["platform"],
        "vendor": given["vendor"],
        "background": given.get("background") or "AVAILABLE",
        "recorded_date": iso(item.created),
        "metadata": given.get("device_metadata") or {},
    }
    owner: Linkage = ("profile", item.profile_id) if linked else LINKS_ONLY
    return document(call, "push-token", item.id, attributes, {"profile": owner})


def the_token(call: Call) -> PushToken:
    found = call.account.push_tokens.get(call.params["id"])
    if found is None:
        raise not_found(f"A push token with id {call.params['id']} does not exist.")
    return found


def _value(item: PushToken, name: str) -> object:
    if name == "id":
        return item.id
    if name == "profile.id":
        return item.profile_id
    return item.attributes.get(name) or ("AUTHORIZED" if name == "enablement_status" else None)


def get_push_tokens(call: Call) -> Reply:
    tokens = call.account.push_tokens
    chosen = Ordering(
        (item.id,)
        for item in tokens.values()
        if all(matches(condition, _value(item, condition.field)) for condition in call.query.conditions)
    )
    page = paginate(chosen, call.query, strict=call.world.switches.strict_cursors)
    linked = "profile" in call.query.include
    found = [tokens[key[0]] for key in page.keys]
    owners = (profile_resource(call, the_profile(call.account, item.profile_id)) for item in found)
    return many(call, [token_resource(call, item, linked=linked) for item in found], page=page, included=owners)


def get_push_token(call: Call) -> Reply:
    item = the_token(call)
    owners = [profile_resource(call, the_profile(call.account, item.profile_id))]
    return one(call, token_resource(call, item, linked="profile" in call.query.include), included=owners)


def delete_push_token(call: Call) -> Reply:
    del call.account.push_tokens[the_token(call).id]
    return empty(204)


def create_push_token(call: Call) -> Reply:
    attributes = dict(call.attributes)
    person: JsonObject = attributes.pop("profile")["data"]
    account, cause = call.account, call.cause

    def work() -> None:
        profile = ensure(account, person.get("attributes") or {}, cause, profile_id=person.get("id"))
        if profile is not None:
            item = PushToken(account.world.ids.hexadecimal(32), profile.id, account.now(), attributes)
            account.push_tokens[item.id] = item
            account.effect("push_token.stored", cause, profile_id=profile.id, values={"token": item.id})

    do_later(account, call.operation.id, call.world.switches.delay_event, work)
    return empty(202)


def get_profile_for_push_token(call: Call) -> Reply:
    return one(call, profile_resource(call, the_profile(call.account, the_token(call).profile_id)))


def get_profile_id_for_push_token(call: Call) -> Reply:
    item = the_token(call)
    return Reply(
        200,
        {"data": {"type": "profile", "id": item.profile_id}, "links": {"self": f"{call.base}{call.path}"}},
    )


def get_push_tokens_for_profile(call: Call) -> Reply:
    profile = the_profile(call.account, call.params["id"])
    return many(call, [token_resource(call, item) for item in tokens_of(call.account, profile)])


def get_push_token_ids_for_profile(call: Call) -> Reply:
    profile = the_profile(call.account, call.params["id"])
    return identifiers(call, "push-token", [item.id for item in tokens_of(call.account, profile)])


_BODY = data(
    resource(
        "push-token",
        attributes=fields(
            {
                "token": TEXT,
                "platform": choice("android", "ios"),
                "vendor": choice("apns", "fcm"),
                "profile": data(resource("profile", attributes=EVENT_PERSON, may_have_id=True)),
            },
            enablement_status=ENABLEMENT,
            background=BACKGROUND,
            device_metadata=DEVICE,
        ),
    )
)
_BOTH = {"push-token": fieldnames.PUSH_TOKEN, "profile": fieldnames.PROFILE_PLAIN}
_READ = ("profiles:read", "push-tokens:read")

OPERATIONS = [
    Operation(
        id="get_push_tokens",
        method="GET",
        path="/api/push-tokens",
        handler=get_push_tokens,
        limit=M,
        scopes=_READ,
        query=QuerySpec(
            fields=_BOTH,
            include=frozenset({"profile"}),
            filters={name: text("equals") for name in ("id", "profile.id", "enablement_status", "platform")},
            page=(20, 100),
        ),
    ),
    Operation(
        id="create_push_token",
        method="POST",
        path="/api/push-tokens",
        handler=create_push_token,
        limit=L,
        scopes=("profiles:write", "push-tokens:write"),
        body=Body(_BODY),
    ),
    Operation(
        id="get_push_token",
        method="GET",
        path="/api/push-tokens/{id}",
        handler=get_push_token,
        limit=M,
        scopes=_READ,
        query=QuerySpec(fields=_BOTH, include=frozenset({"profile"})),
    ),
    Operation(
        id="delete_push_token",
        method="DELETE",
        path="/api/push-tokens/{id}",
        handler=delete_push_token,
        limit=S,
        scopes=("push-tokens:write",),
    ),
    Operation(
        id="get_profile_for_push_token",
        method="GET",
        path="/api/push-tokens/{id}/profile",
        handler=get_profile_for_push_token,
        limit=M,
        scopes=_READ,
        query=QuerySpec(fields={"profile": fieldnames.PROFILE}, additional=fieldnames.ADDITIONAL_PROFILE),
    ),
    Operation(
        id="get_profile_id_for_push_token",
        method="GET",
        path="/api/push-tokens/{id}/relationships/profile",
        handler=get_profile_id_for_push_token,
        limit=M,
        scopes=_READ,
    ),
    Operation(
        id="get_push_tokens_for_profile",
        method="GET",
        path="/api/profiles/{id}/push-tokens",
        handler=get_push_tokens_for_profile,
        limit=M,
        scopes=("profiles:read",),
        query=QuerySpec(fields={"push-token": fieldnames.PUSH_TOKEN}),
    ),
    Operation(
        id="get_push_token_ids_for_profile",
        method="GET",
        path="/api/profiles/{id}/relationships/push-tokens",
        handler=get_push_token_ids_for_profile,
        limit=M,
        scopes=("profiles:read",),
    ),
]
