"""The Webhooks API: open only to accounts with the KDP switch, or to OAuth apps."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

from klaviyo_simulator.bodies import (
    FLAG_OR_NULL,
    TEXT,
    TEXT_OR_NULL,
    Body,
    data,
    fields,
    references,
    resource,
)
from klaviyo_simulator.documents import LINKS_ONLY, Linkage, empty, many, one
from klaviyo_simulator.documents import resource as document
from klaviyo_simulator.errors import ApiError, JsonObject, Problem, forbidden, invalid, not_found
from klaviyo_simulator.limits import XS
from klaviyo_simulator.query import QuerySpec, names
from klaviyo_simulator.reading import list_in, within
from klaviyo_simulator.resources import fieldnames
from klaviyo_simulator.routing import Call, Operation, Reply
from klaviyo_simulator.times import iso
from klaviyo_simulator.webhooks import MOST_WEBHOOKS, Webhook, topics_of, webhooks_of

CLOSED = "You must have Advanced KDP enabled to use this endpoint."
SHORTEST_SECRET = 16


def _open(call: Call) -> dict[str, Webhook]:
    if not call.world.switches.kdp and call.app is None:
        raise forbidden(CLOSED)
    return webhooks_of(call.account)


def webhook_resource(call: Call, item: Webhook) -> JsonObject:
    attributes: JsonObject = {
        "name": item.name,
        "description": item.description,
        "endpoint_url": masked(item.endpoint_url),
        "enabled": item.enabled,
        "created_at": iso(item.created),
        "updated_at": iso(item.updated),
    }
    topics: Linkage = [("webhook-topic", topic) for topic in item.topics]
    shown = topics if "webhook-topics" in call.query.include else LINKS_ONLY
    return document(call, "webhook", item.id, attributes, {"webhook-topics": shown})


def masked(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}/*****"


def topic_resource(call: Call, topic: str) -> JsonObject:
    return document(call, "webhook-topic", topic, None)


def the_webhook(call: Call) -> Webhook:
    found = _open(call).get(call.params["id"])
    if found is None:
        raise not_found(f"A webhook with id {call.params['id']} does not exist.")
    return found


def get_webhooks(call: Call) -> Reply:
    hooks = list(_open(call).values())
    included = (topic_resource(call, topic) for item in hooks for topic in item.topics)
    return many(call, [webhook_resource(call, item) for item in hooks], included=included)


def create_webhook(call: Call) -> Reply:
    hooks = _open(call)
    if len(hooks) >= MOST_WEBHOOKS:
        raise invalid(f"An account can have at most {MOST_WEBHOOKS} webhooks.", pointer="/data")
    attributes = call.attributes
    _check(attributes)
    topics = _topics(call)
    now = call.account.now()
    item = Webhook(
        id=call.world.ids.ulid(now),
        public_id=call.world.ids.hexadecimal(64),
        name=attributes["name"],
        description=attributes.get("description"),
        endpoint_url=attributes["endpoint_url"],
        secret=attributes["secret_key"],
        topics=topics or [],
        created=now,
        updated=now,
    )
    hooks[item.id] = item
    call.account.effect("webhook.created", call.cause, values={"webhook": item.id})
    return one(call, webhook_resource(call, item), status=201)


def _check(attributes: JsonObject) -> None:
    problems: list[Problem] = []
    url, secret = attributes.get("endpoint_url"), attributes.get("secret_key")
    if url is not None and not _acceptable(url):
        detail = "The endpoint_url must be a valid https URL."
        problems.append(Problem(detail=detail, pointer="/data/attributes/endpoint_url"))
    if secret is not None and len(secret) < SHORTEST_SECRET:
        detail = f"The secret_key must have at least {SHORTEST_SECRET} characters."
        problems.append(Problem(detail=detail, pointer="/data/attributes/secret_key"))
    if problems:
        raise ApiError(400, *problems)


def _acceptable(url: str) -> bool:
    """https only, but for loopback hosts: a relaxation of the simulator's.

    So that it works on one machine.
    """
    parts = urlsplit(url)
    if not parts.hostname:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(parts.hostname))


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _topics(call: Call) -> list[str] | None:
    if within(call.data, "relationships", "webhook-topics", "data") is None:
        return None
    wanted = list_in(call.data, "relationships", "webhook-topics", "data")
    known = set(topics_of(call.account))
    for index, entry in enumerate(wanted):
        if entry["id"] not in known:
            pointer = f"/data/relationships/webhook-topics/data/{index}/id"
            raise invalid(f"Webhook topic '{entry['id']}' does not exist.", pointer=pointer)
    return [entry["id"] for entry in wanted]


def get_webhook(call: Call) -> Reply:
    item = the_webhook(call)
    included = [topic_resource(call, topic) for topic in item.topics]
    return one(call, webhook_resource(call, item), included=included)


def update_webhook(call: Call) -> Reply:
    """Null is ignored, as recorded for the description."""
    item = the_webhook(call)
    given = {name: value for name, value in call.attributes.items() if value is not None}
    _check(given)
    topics = _topics(call)
    item.name = given.get("name", item.name)
    item.description = given.get("description", item.description)
    item.endpoint_url = given.get("endpoint_url", item.endpoint_url)
    item.secret = given.get("secret_key", item.secret)
    item.enabled = given.get("enabled", item.enabled)
    item.topics = item.topics if topics is None else topics
    item.updated = call.account.now()
    return one(call, webhook_resource(call, item))


def delete_webhook(call: Call) -> Reply:
    del _open(call)[the_webhook(call).id]
    return empty(204)


def get_webhook_topics(call: Call) -> Reply:
    _open(call)
    return many(call, [topic_resource(call, topic) for topic in topics_of(call.account)])


def get_webhook_topic(call: Call) -> Reply:
    _open(call)
    if call.params["id"] not in topics_of(call.account):
        raise not_found(f"Webhook topic '{call.params['id']}' does not exist.")
    return one(call, topic_resource(call, call.params["id"]))


_TOPICS = references("webhook-topic")
_CREATE = data(
    resource(
        "webhook",
        attributes=fields({"name": TEXT, "endpoint_url": TEXT, "secret_key": TEXT}, description=TEXT_OR_NULL),
        relationships=fields({"webhook-topics": _TOPICS}),
    )
)
_UPDATE = data(
    resource(
        "webhook",
        needs_id=True,
        optional_attributes=fields(
            name=TEXT_OR_NULL,
            description=TEXT_OR_NULL,
            endpoint_url=TEXT_OR_NULL,
            secret_key=TEXT_OR_NULL,
            enabled=FLAG_OR_NULL,
        ),
        optional_relationships=fields({}, **{"webhook-topics": _TOPICS}),
    )
)
_READ = ("webhooks:read",)
_WRITE = ("webhooks:write",)
_PLAIN = QuerySpec(fields={"webhook": fieldnames.WEBHOOK})
_FULL = QuerySpec(
    fields={"webhook": fieldnames.WEBHOOK, "webhook-topic": fieldnames.WEBHOOK_TOPIC},
    include=names("webhook-topics"),
)
_TOPIC = QuerySpec(fields={"webhook-topic": fieldnames.WEBHOOK_TOPIC})
_ONE = "/api/webhooks/{id}"

OPERATIONS = [
    Operation(
        id="get_webhooks",
        method="GET",
        path="/api/webhooks",
        handler=get_webhooks,
        limit=XS,
        scopes=_READ,
        query=_FULL,
    ),
    Operation(
        id="create_webhook",
        method="POST",
        path="/api/webhooks",
        handler=create_webhook,
        limit=XS,
        scopes=_WRITE,
        query=_PLAIN,
        body=Body(_CREATE),
    ),
    Operation(id="get_webhook", method="GET", path=_ONE, handler=get_webhook, limit=XS, scopes=_READ, query=_FULL),
    Operation(
        id="update_webhook",
        method="PATCH",
        path=_ONE,
        handler=update_webhook,
        limit=XS,
        scopes=_WRITE,
        query=_PLAIN,
        body=Body(_UPDATE),
    ),
    Operation(id="delete_webhook", method="DELETE", path=_ONE, handler=delete_webhook, limit=XS, scopes=_WRITE),
    Operation(
        id="get_webhook_topics",
        method="GET",
        path="/api/webhook-topics",
        handler=get_webhook_topics,
        limit=XS,
        scopes=_READ,
        query=_TOPIC,
    ),
    Operation(
        id="get_webhook_topic",
        method="GET",
        path="/api/webhook-topics/{id}",
        handler=get_webhook_topic,
        limit=XS,
        scopes=_READ,
        query=_TOPIC,
    ),
]
