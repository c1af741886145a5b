"""Operations on campaigns and messages, in the classic model (revisions before 2026-10-15)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from klaviyo_simulator.bodies import (
    TEXT,
    TEXT_OR_NULL,
    Body,
    data,
    fields,
    members,
    reference,
    resource,
)
from klaviyo_simulator.campaigning import DRAFT, Campaign, CampaignMessage, campaigns_of
from klaviyo_simulator.documents import empty, identifiers, many, one
from klaviyo_simulator.errors import (
    ApiError,
    JsonObject,
    Problem,
    conflict,
    invalid,
    not_found,
    not_implemented,
)
from klaviyo_simulator.filters import Condition, flag, matches, moment, text
from klaviyo_simulator.limits import M, S
from klaviyo_simulator.ordering import Ordering
from klaviyo_simulator.paging import paginate
from klaviyo_simulator.query import QuerySpec, names
from klaviyo_simulator.reading import list_in, object_in, within
from klaviyo_simulator.resources import fieldnames
from klaviyo_simulator.resources.campaign_shapes import (
    AUDIENCES,
    CAMPAIGN_FIELDS,
    DEFINITION,
    FLAT_FIELDS,
    MESSAGE_FIELDS,
    MESSAGES,
    SEND_OPTIONS,
    SEND_STRATEGY,
    TRACKING,
    campaign_resource,
    message_resource,
    the_campaign,
    the_message,
)
from klaviyo_simulator.resources.tag_shapes import tag_resource, tags_named
from klaviyo_simulator.resources.templates import FIELDS as TEMPLATE_FIELDS
from klaviyo_simulator.resources.templates import template_resource, the_template
from klaviyo_simulator.routing import Call, Operation, Reply
from klaviyo_simulator.templating import clone, templates_of
from klaviyo_simulator.times import parse_instant

OMNI = "2026-10-15"
_COLUMNS = {"created_at": "created", "updated_at": "updated"}


def classic(handler: Callable[[Call], Reply]) -> Callable[[Call], Reply]:
    """Refuse the revisions whose campaign model is another."""

    def act(call: Call) -> Reply:
        if call.revision[:10] >= OMNI:
            raise not_implemented(f"the campaign model of revision {OMNI} and later")
        return handler(call)

    return act


def get_campaigns(call: Call) -> Reply:
    query = call.query
    by_id = {
        item.id: item
        for item in campaigns_of(call.account).values()
        if all(_holds(item, condition) for condition in query.conditions)
    }
    name = (query.sort or "created_at").lstrip("-")
    keys = ((_value(item, name) or 0, item.id) for item in by_id.values())
    page = paginate(
        Ordering(keys),
        query,
        descending=(query.sort or "-").startswith("-"),
        strict=call.world.switches.strict_cursors,
    )
    found = [by_id[key[-1]] for key in page.keys]
    included = [document for item in found for document in _included(call, item)]
    return many(call, [campaign_resource(call, item) for item in found], page=page, included=included)


def _value(item: Campaign, name: str) -> Any:
    return getattr(item, _COLUMNS.get(name, name))


def _holds(item: Campaign, condition: Condition) -> bool:
    if condition.field == "messages.channel":
        return any(matches(condition, message.channel) for message in item.messages)
    return matches(condition, _value(item, condition.field))


def _included(call: Call, item: Campaign) -> list[JsonObject]:
    found: list[JsonObject] = []
    if "campaign-messages" in call.query.include:
        found += [message_resource(call, message) for message in item.messages]
    if "tags" in call.query.include:
        found += [tag_resource(call, tag) for tag in tags_named(call.account, item.tag_ids)]
    return found


def create_campaign(call: Call) -> Reply:
    given, now = call.attributes, call.account.now()
    _check(call, given)
    item = Campaign(
        id=call.world.ids.ulid(now),
        name=given["name"],
        audiences={
            "included": given["audiences"]["included"],
            "excluded": list_in(given, "audiences", "excluded"),
        },
        send_strategy=given.get("send_strategy") or {"method": "immediate"},
        send_options=given.get("send_options") or {"use_smart_sending": True},
        tracking_options=_tracking(given.get("tracking_options")),
        created=now,
        updated=now,
    )
    for entry in given["campaign-messages"]["data"]:
        definition = entry["attributes"]["definition"]
        item.messages.append(
            CampaignMessage(
                id=call.world.ids.ulid(now),
                campaign_id=item.id,
                definition=definition,
                created=now,
                updated=now,
            )
        )
    campaigns_of(call.account)[item.id] = item
    call.account.effect("campaign.created", call.cause, values={"campaign": item.id, "name": item.name})
    return one(call, campaign_resource(call, item), status=201)


def _tracking(given: JsonObject | None) -> JsonObject:
    standard: JsonObject = {
        "add_tracking_params": False,
        "custom_tracking_params": [],
        "is_tracking_clicks": True,
        "is_tracking_opens": True,
    }
    return standard | (given or {})


def _check(call: Call, given: JsonObject) -> None:
    """Audiences exist, the strategy's instant can be read, custom tracking has its two parameters."""
    problems: list[Problem] = []
    where = "/data/attributes"
    for group_id in list_in(given, "audiences", "included") + list_in(given, "audiences", "excluded"):
        if group_id not in call.account.lists and group_id not in call.account.segments:
            detail = f"List or segment with id {group_id} does not exist."
            problems.append(Problem(detail=detail, pointer=f"{where}/audiences"))
    moment_ = within(given, "send_strategy", "datetime") or within(given, "send_strategy", "date")
    if moment_ is not None and not _readable(moment_):
        problems.append(Problem(detail="Not a valid datetime.", pointer=f"{where}/send_strategy/datetime"))
    custom = {entry["name"] for entry in list_in(given, "tracking_options", "custom_tracking_params")}
    if custom and not {"utm_source", "utm_medium"} <= custom:
        detail = "custom_tracking_params must contain utm_source and utm_medium."
        problems.append(Problem(detail=detail, pointer=f"{where}/tracking_options/custom_tracking_params"))
    if problems:
        raise ApiError(400, *problems)


def _readable(text_: str) -> bool:
    try:
        parse_instant(text_)
    except ValueError:
        return False
    return True


def get_campaign(call: Call) -> Reply:
    item = the_campaign(call.account, call.params["id"])
    return one(call, campaign_resource(call, item), included=_included(call, item))


def update_campaign(call: Call) -> Reply:
    item = the_campaign(call.account, call.params["id"])
    if call.data["id"] != item.id:
        raise invalid("The id in the body must be the id in the path.", pointer="/data/id")
    if item.status != DRAFT:
        raise conflict(f"A campaign with status '{item.status}' cannot be changed.")
    given = call.attributes
    _check(call, given)
    item.name = given.get("name") or item.name
    item.audiences = item.audiences | (given.get("audiences") or {})
    item.send_strategy = given.get("send_strategy") or item.send_strategy
    item.send_options = given.get("send_options") or item.send_options
    item.tracking_options = item.tracking_options | (given.get("tracking_options") or {})
    item.updated = call.account.now()
    return one(call, campaign_resource(call, item))


def delete_campaign(call: Call) -> Reply:
    del campaigns_of(call.account)[the_campaign(call.account, call.params["id"]).id]
    return empty(204)


def create_campaign_clone(call: Call) -> Reply:
    source, now = the_campaign(call.account, call.data["id"]), call.account.now()
    copy = replace(
        source,
        id=call.world.ids.ulid(now),
        name=call.attributes.get("new_name") or f"Clone of {source.name}",
        status=DRAFT,
        created=now,
        updated=now,
        scheduled_at=None,
        send_time=None,
        job_status=None,
        estimate=None,
        estimate_status=None,
        generation=0,
        messages=[],
    )
    for message in source.messages:
        twin = replace(message, id=call.world.ids.ulid(now), campaign_id=copy.id, created=now, updated=now)
        template = templates_of(call.account).get(message.template_id or "")
        twin.template_id = clone(call.account, template, reusable=False).id if template else None
        copy.messages.append(twin)
    campaigns_of(call.account)[copy.id] = copy
    return one(call, campaign_resource(call, copy), status=201)


def get_campaign_message(call: Call) -> Reply:
    item = the_message(call.account, call.params["id"])
    return one(call, message_resource(call, item), included=_message_included(call, item))


def _message_included(call: Call, item: CampaignMessage) -> list[JsonObject]:
    found: list[JsonObject] = []
    if "campaign" in call.query.include:
        found.append(campaign_resource(call, campaigns_of(call.account)[item.campaign_id]))
    if "template" in call.query.include and item.template_id in templates_of(call.account):
        found.append(template_resource(call, the_template(call.account, item.template_id)))
    return found


def update_campaign_message(call: Call) -> Reply:
    item = the_message(call.account, call.params["id"])
    if within(call.data, "relationships", "image"):
        raise not_implemented("images of campaign messages")
    campaign = campaigns_of(call.account)[item.campaign_id]
    if campaign.status != DRAFT:
        raise conflict(f"A message of a campaign with status '{campaign.status}' cannot be changed.")
    definition: JsonObject = call.attributes.get("definition") or {}
    if definition.get("channel", item.channel) != item.channel:
        raise invalid("The channel of a message cannot be changed.", pointer="/data/attributes/definition/channel")
    content = object_in(item.definition, "content") | object_in(definition, "content")
    item.definition = item.definition | definition | ({"content": content} if content else {})
    item.updated = call.account.now()
    return one(call, message_resource(call, item))


def assign_template_to_campaign_message(call: Call) -> Reply:
    """The template is cloned: the message keeps a copy of its own."""
    item = the_message(call.account, call.data["id"])
    source = the_template(call.account, call.data["relationships"]["template"]["data"]["id"])
    item.template_id = clone(call.account, source, reusable=False).id
    item.updated = call.account.now()
    included = [template_resource(call, the_template(call.account, item.template_id))]
    reply = one(call, message_resource(call, item, flat=True))
    assert reply.document is not None
    reply.document["included"] = included
    return reply


def get_campaign_for_campaign_message(call: Call) -> Reply:
    item = the_message(call.account, call.params["id"])
    return one(call, campaign_resource(call, campaigns_of(call.account)[item.campaign_id]))


def get_campaign_id_for_campaign_message(call: Call) -> Reply:
    return _linkage(call, "campaign", the_message(call.account, call.params["id"]).campaign_id)


def get_template_for_campaign_message(call: Call) -> Reply:
    item = the_message(call.account, call.params["id"])
    if item.template_id is None:
        raise not_found(f"Campaign message {item.id} has no template.")
    return one(call, template_resource(call, the_template(call.account, item.template_id)))


def get_template_id_for_campaign_message(call: Call) -> Reply:
    item = the_message(call.account, call.params["id"])
    if item.template_id is None:
        raise not_found(f"Campaign message {item.id} has no template.")
    return _linkage(call, "template", item.template_id)


def no_images(call: Call) -> Reply:
    raise not_implemented("images of campaign messages")


def _linkage(call: Call, kind: str, identity: str) -> Reply:
    return Reply(200, {"data": {"type": kind, "id": identity}, "links": {"self": f"{call.base}{call.path}"}})


def get_messages_for_campaign(call: Call) -> Reply:
    item = the_campaign(call.account, call.params["id"])
    included = [document for message in item.messages for document in _message_included(call, message)]
    return many(call, [message_resource(call, message) for message in item.messages], included=included)


def get_message_ids_for_campaign(call: Call) -> Reply:
    item = the_campaign(call.account, call.params["id"])
    return identifiers(call, "campaign-message", [message.id for message in item.messages])


def get_tags_for_campaign(call: Call) -> Reply:
    item = the_campaign(call.account, call.params["id"])
    return many(call, [tag_resource(call, tag) for tag in tags_named(call.account, item.tag_ids)])


def get_tag_ids_for_campaign(call: Call) -> Reply:
    return identifiers(call, "tag", the_campaign(call.account, call.params["id"]).tag_ids)


_CAMPAIGN = {"campaign": CAMPAIGN_FIELDS}
_MESSAGE = {"campaign-message": MESSAGE_FIELDS}
_TEMPLATE = {"template": TEMPLATE_FIELDS}
_TAG = {"tag": fieldnames.TAG}
_READ = ("campaigns:read",)
_WRITE = ("campaigns:write",)
_ONE = "/api/campaigns/{id}"
_ONE_MESSAGE = "/api/campaign-messages/{id}"
_CREATE = members(
    {"name": TEXT, "audiences": AUDIENCES, "campaign-messages": MESSAGES},
    {"send_strategy": SEND_STRATEGY, "send_options": SEND_OPTIONS, "tracking_options": TRACKING},
)
_UPDATE = fields(
    name=TEXT_OR_NULL,
    audiences=AUDIENCES,
    send_strategy=SEND_STRATEGY,
    send_options=SEND_OPTIONS,
    tracking_options=TRACKING,
)


def _op(
    name: str,
    method: str,
    path: str,
    handler: Callable[[Call], Reply],
    query: QuerySpec | None = None,
    body: Body | None = None,
    *,
    scopes: tuple[str, ...] | None = None,
) -> Operation:
    return Operation(
        id=name,
        method=method,
        path=path,
        handler=classic(handler),
        limit=S if "tag" in name else M,
        scopes=scopes or (_READ if method == "GET" else _WRITE),
        query=query or QuerySpec(),
        body=body,
    )


_MESSAGE_QUERY = QuerySpec(fields=_MESSAGE | _CAMPAIGN | _TEMPLATE, include=names("campaign image template"))
_IMAGE = ("campaigns:read", "images:read")
_TEMPLATE_SCOPES = ("campaigns:read", "templates:read")

OPERATIONS = [
    _op(
        "get_campaigns",
        "GET",
        "/api/campaigns",
        get_campaigns,
        QuerySpec(
            fields=_CAMPAIGN | _MESSAGE | _TAG,
            include=names("campaign-messages tags"),
            filters={
                "id": text("any"),
                "messages.channel": text("equals"),
                "name": text("contains"),
                "status": text("any", "equals"),
                "archived": flag("equals"),
                "created_at": moment(),
                "scheduled_at": moment(),
                "updated_at": moment(),
            },
            filter_required="messages.channel",
            sort=names("created_at id name scheduled_at updated_at"),
            page=(100, 100),
        ),
    ),
    _op(
        "create_campaign",
        "POST",
        "/api/campaigns",
        create_campaign,
        QuerySpec(fields=_CAMPAIGN),
        Body(data(resource("campaign", attributes=_CREATE))),
    ),
    _op(
        "get_campaign",
        "GET",
        _ONE,
        get_campaign,
        QuerySpec(fields=_CAMPAIGN | _MESSAGE | _TAG, include=names("campaign-messages tags")),
    ),
    _op(
        "update_campaign",
        "PATCH",
        _ONE,
        update_campaign,
        QuerySpec(fields=_CAMPAIGN),
        Body(data(resource("campaign", needs_id=True, attributes=_UPDATE))),
    ),
    _op("delete_campaign", "DELETE", _ONE, delete_campaign),
    _op(
        "create_campaign_clone",
        "POST",
        "/api/campaign-clone",
        create_campaign_clone,
        QuerySpec(fields=_CAMPAIGN),
        Body(data(resource("campaign", needs_id=True, optional_attributes=fields(new_name=TEXT_OR_NULL)))),
    ),
    _op("get_campaign_message", "GET", _ONE_MESSAGE, get_campaign_message, _MESSAGE_QUERY),
    _op(
        "update_campaign_message",
        "PATCH",
        _ONE_MESSAGE,
        update_campaign_message,
        QuerySpec(fields=_MESSAGE),
        Body(
            data(
                resource(
                    "campaign-message",
                    needs_id=True,
                    optional_attributes=fields(definition=DEFINITION),
                    optional_relationships=fields(image=reference("image")),
                )
            )
        ),
    ),
    _op(
        "assign_template_to_campaign_message",
        "POST",
        "/api/campaign-message-assign-template",
        assign_template_to_campaign_message,
        QuerySpec(fields={"campaign-message": FLAT_FIELDS}),
        Body(
            data(
                resource(
                    "campaign-message",
                    needs_id=True,
                    relationships=fields({"template": reference("template")}),
                )
            )
        ),
    ),
    _op(
        "get_campaign_for_campaign_message",
        "GET",
        f"{_ONE_MESSAGE}/campaign",
        get_campaign_for_campaign_message,
        QuerySpec(fields=_CAMPAIGN),
    ),
    _op(
        "get_campaign_id_for_campaign_message",
        "GET",
        f"{_ONE_MESSAGE}/relationships/campaign",
        get_campaign_id_for_campaign_message,
    ),
    _op(
        "get_template_for_campaign_message",
        "GET",
        f"{_ONE_MESSAGE}/template",
        get_template_for_campaign_message,
        QuerySpec(fields=_TEMPLATE),
        scopes=_TEMPLATE_SCOPES,
    ),
    _op(
        "get_template_id_for_campaign_message",
        "GET",
        f"{_ONE_MESSAGE}/relationships/template",
        get_template_id_for_campaign_message,
        scopes=_TEMPLATE_SCOPES,
    ),
    _op("get_image_for_campaign_message", "GET", f"{_ONE_MESSAGE}/image", no_images, scopes=_IMAGE),
    _op(
        "get_image_id_for_campaign_message",
        "GET",
        f"{_ONE_MESSAGE}/relationships/image",
        no_images,
        scopes=_IMAGE,
    ),
    _op("update_image_for_campaign_message", "PATCH", f"{_ONE_MESSAGE}/relationships/image", no_images),
    _op(
        "get_messages_for_campaign",
        "GET",
        f"{_ONE}/campaign-messages",
        get_messages_for_campaign,
        _MESSAGE_QUERY,
    ),
    _op(
        "get_message_ids_for_campaign",
        "GET",
        f"{_ONE}/relationships/campaign-messages",
        get_message_ids_for_campaign,
    ),
    _op("get_tags_for_campaign", "GET", f"{_ONE}/tags", get_tags_for_campaign, QuerySpec(fields=_TAG)),
    _op("get_tag_ids_for_campaign", "GET", f"{_ONE}/relationships/tags", get_tag_ids_for_campaign),
]
