"""The client endpoints, for browsers and apps: a public key in `company_id` and no secret."""

from __future__ import annotations

from klaviyo_simulator.bodies import TEXT_OR_NULL, Body, data, fields, members, reference, resource
from klaviyo_simulator.consenting import Terms, subscribe, wanted_channels
from klaviyo_simulator.documents import empty
from klaviyo_simulator.errors import JsonObject, invalid
from klaviyo_simulator.later import do_later
from klaviyo_simulator.limits import XL, L
from klaviyo_simulator.people import (
    ensure,
    has_identifier,
    identifier_problems,
    missing_identifier,
    problems_error,
)
from klaviyo_simulator.query import QuerySpec, names
from klaviyo_simulator.resources.events import EVENT_BODY, create_event
from klaviyo_simulator.resources.schemas import EVENT_PERSON, META, PERSON_FIELDS, SUBSCRIPTIONS
from klaviyo_simulator.routing import Call, Operation, Reply

POINTER = "/data/attributes"


def create_client_profile(call: Call) -> Reply:
    """Create or update, later, without telling the id."""
    attributes = dict(call.attributes)
    _check(attributes, POINTER)
    account, cause, profile_id = call.account, call.cause, call.data.get("id")
    if call.data.get("meta"):
        attributes["meta"] = call.data["meta"]

    def work() -> None:
        ensure(account, attributes, cause, profile_id=profile_id)

    do_later(account, call.operation.id, call.world.switches.delay_event, work)
    return empty(202)


def _check(attributes: JsonObject, pointer: str) -> None:
    problems = identifier_problems(attributes, pointer)
    if not has_identifier(attributes):
        problems.append(missing_identifier(pointer))
    problems_error(problems)


def create_client_subscription(call: Call) -> Reply:
    account, cause = call.account, call.cause
    person: JsonObject = dict(call.attributes["profile"]["data"]["attributes"])
    pointer = f"{POINTER}/profile/data/attributes"
    _check(person, pointer)
    list_id: str = call.data["relationships"]["list"]["data"]["id"]
    mailing_list = account.lists.get(list_id)
    if mailing_list is None:
        raise invalid(f"List not found with id {list_id}", pointer="/data/relationships/list/data/id")
    channels = person.pop("subscriptions", None) or _implied(person)
    if not wanted_channels(channels):
        raise invalid("At least one channel must be provided in 'subscriptions'.", pointer=pointer)
    terms = Terms(
        mailing_list=mailing_list,
        historical=False,
        source=call.attributes.get("custom_source"),
        cause=cause,
        method="FORM",
    )
    row: JsonObject = {
        "attributes": {
            "email": person.get("email"),
            "phone_number": person.get("phone_number"),
            "subscriptions": channels,
        }
    }

    def work() -> None:
        ensure(account, person, cause)
        subscribe(account, row, terms)

    do_later(account, call.operation.id, call.world.switches.delay_subscribe, work)
    return empty(202)


def _implied(person: JsonObject) -> JsonObject:
    """Without `subscriptions` the channels of the identifiers given are meant."""
    given = {"consent": "SUBSCRIBED"}
    channels = {"email": "email", "phone_number": "sms"}
    return {channel: {"marketing": given} for name, channel in channels.items() if person.get(name)}


_COMPANY = QuerySpec(extra=names("company_id"))
_SUBSCRIBER = members({}, PERSON_FIELDS | {"subscriptions": SUBSCRIPTIONS, "meta": META})

OPERATIONS = [
    Operation(
        id="create_client_event",
        method="POST",
        path="/client/events",
        handler=create_event,
        limit=XL,
        query=_COMPANY,
        body=EVENT_BODY,
        public=True,
    ),
    Operation(
        id="create_client_profile",
        method="POST",
        path="/client/profiles",
        handler=create_client_profile,
        limit=L,
        query=_COMPANY,
        body=Body(data(resource("profile", attributes=EVENT_PERSON, may_have_id=True, meta=META))),
        public=True,
    ),
    Operation(
        id="create_client_subscription",
        method="POST",
        path="/client/subscriptions",
        handler=create_client_subscription,
        limit=L,
        query=_COMPANY,
        body=Body(
            data(
                resource(
                    "subscription",
                    attributes=fields(
                        {"profile": data(resource("profile", attributes=_SUBSCRIBER, may_have_id=True))},
                        custom_source=TEXT_OR_NULL,
                    ),
                    relationships=fields({"list": reference("list")}),
                )
            )
        ),
        public=True,
    ),
]
