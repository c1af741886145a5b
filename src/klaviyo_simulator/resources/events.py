"""Operations on events: create one, create many, read."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator
from typing import Any

import orjson

from klaviyo_simulator.account import Account
from klaviyo_simulator.bodies import FREE, Body, array, data, fields, members, resource
from klaviyo_simulator.documents import empty, many, one
from klaviyo_simulator.errors import ApiError, JsonObject, Problem, invalid, not_found
from klaviyo_simulator.events import Event
from klaviyo_simulator.filters import COMPARE, Allowed, Condition, matches, moment, text
from klaviyo_simulator.later import do_later
from klaviyo_simulator.limits import XL, M
from klaviyo_simulator.ordering import Key
from klaviyo_simulator.paging import paginate
from klaviyo_simulator.people import has_identifier, identifier_problems, match, missing_identifier
from klaviyo_simulator.query import QuerySpec, names
from klaviyo_simulator.reading import as_list
from klaviyo_simulator.resources import fieldnames
from klaviyo_simulator.resources.schemas import (
    ANONYMOUS_PROFILE,
    EVENT_FIELDS,
    EVENT_PERSON,
    META,
    METRIC,
)
from klaviyo_simulator.resources.shapes import (
    attribution_resource,
    event_resource,
    metric_resource,
    profile_resource,
    the_profile,
)
from klaviyo_simulator.routing import Call, Operation, Reply
from klaviyo_simulator.times import parse_instant
from klaviyo_simulator.tracking import apply_event, event_faults

MOST_EVENTS = 1000
MOST_PROPERTIES = 400
LONGEST_STRING = 100_000
EARLIEST = 631152000  # 1990-01-01
YEAR = 366 * 86400
_EVENT_ID = re.compile(r"[A-Za-z0-9]{11}")
POINTER = "/data/attributes"


def create_event(call: Call) -> Reply:
    attributes = call.attributes
    person: JsonObject = attributes["profile"]["data"]
    problems = _event_problems(attributes, POINTER, call.account.now()) + _person_problems(
        person, f"{POINTER}/profile/data"
    )
    if problems:
        raise ApiError(400, *problems)
    account, cause, received = call.account, call.cause, call.account.now()
    lost, late = event_faults(account, call.operation.id)
    account.effect("event.accepted", cause, values={"unique_id": attributes.get("unique_id")})
    if not lost:

        def work() -> None:
            apply_event(
                account,
                attributes,
                person,
                received=received,
                backfill=bool(attributes.get("backfill")),
                cause=cause,
            )

        do_later(account, call.operation.id, call.world.switches.delay_event + late, work)
    return empty(202)


def _event_problems(attributes: JsonObject, pointer: str, now: float) -> list[Problem]:
    problems: list[Problem] = []
    name: str = attributes["metric"]["data"]["attributes"]["name"]
    if not 0 < len(name) < 128:
        detail = "The metric name must have between 1 and 127 characters."
        problems.append(Problem(detail=detail, pointer=f"{pointer}/metric/data/attributes/name"))
    detail = _time_problem(attributes.get("time"), now)
    if detail:
        problems.append(Problem(detail=detail, pointer=f"{pointer}/time"))
    unique_id = attributes.get("unique_id")
    if unique_id is not None and not 1 <= len(unique_id) <= 255:
        detail = "'unique_id' must have between 1 and 255 characters."
        problems.append(Problem(detail=detail, pointer=f"{pointer}/unique_id"))
    detail = _property_problem(attributes["properties"])
    if detail:
        problems.append(Problem(detail=detail, pointer=f"{pointer}/properties"))
    return problems


def _time_problem(time: str | None, now: float) -> str | None:
    if time is None:
        return None
    try:
        seconds = parse_instant(time)
    except ValueError:
        return "'time' is not a valid ISO 8601 datetime."
    if seconds < EARLIEST:
        return "'time' must be after the year 1990."
    if seconds > now + YEAR:
        return "'time' must not be more than one year in the future."
    return None


def _property_problem(properties: JsonObject) -> str | None:
    if len(properties) > MOST_PROPERTIES:
        return f"An event can have at most {MOST_PROPERTIES} properties."
    for name, value in properties.items():
        if isinstance(value, str) and len(value) > LONGEST_STRING:
            return f"The property '{name}' is longer than {LONGEST_STRING} characters."
    return None


def _person_problems(person: JsonObject, pointer: str) -> list[Problem]:
    attributes: JsonObject = person.get("attributes") or {}
    problems = identifier_problems(attributes, f"{pointer}/attributes")
    if not has_identifier(attributes) and not person.get("id"):
        problems.append(missing_identifier(f"{pointer}/attributes"))
    return problems


def bulk_create_events(call: Call) -> Reply:
    """Refused as a whole when any entry is bad or repeats a `unique_id` for the same profile and metric."""
    groups: list[JsonObject] = call.attributes["events-bulk-create"]["data"]
    received = call.account.now()
    total = sum(len(group["attributes"]["events"]["data"]) for group in groups)
    where = f"{POINTER}/events-bulk-create"
    if total > MOST_EVENTS:
        raise invalid(f"A maximum of {MOST_EVENTS} events can be created at once.", pointer=f"{where}/data")
    problems = _bulk_problems(groups, where, received) or _repeats(call, groups, where)
    if problems:
        raise ApiError(400, *problems)
    account, cause = call.account, call.cause
    lost, late = event_faults(account, call.operation.id)
    account.effect("events.accepted", cause, values={"events": total})

    def work() -> Generator[None]:
        for number, (group, entry) in enumerate(_entries(groups)):
            attributes = entry["attributes"]
            backfill = bool(attributes.get("backfill") or group.get("backfill"))
            apply_event(
                account,
                attributes,
                group["profile"]["data"],
                received=received,
                backfill=backfill,
                cause=cause,
            )
            if number % 100 == 99:
                yield

    if not lost:
        do_later(account, call.operation.id, call.world.switches.delay_bulk_event + late, work)
    return empty(202)


def _entries(groups: list[JsonObject]) -> Generator[tuple[JsonObject, JsonObject]]:
    for group in groups:
        for entry in group["attributes"]["events"]["data"]:
            yield group["attributes"], entry


def _bulk_problems(groups: list[JsonObject], where: str, now: float) -> list[Problem]:
    problems: list[Problem] = []
    for index, group in enumerate(groups):
        pointer = f"{where}/data/{index}/attributes"
        problems += _person_problems(group["attributes"]["profile"]["data"], f"{pointer}/profile/data")
        for number, entry in enumerate(group["attributes"]["events"]["data"]):
            inner = f"{pointer}/events/data/{number}/attributes"
            problems += _event_problems(entry["attributes"], inner, now)
    return problems


def _repeats(call: Call, groups: list[JsonObject], where: str) -> list[Problem]:
    seen: set[tuple[str, str, str]] = set()
    problems: list[Problem] = []
    for index, group in enumerate(groups):
        person: JsonObject = group["attributes"]["profile"]["data"]
        who = _identity(call.account, person)
        for number, entry in enumerate(group["attributes"]["events"]["data"]):
            attributes = entry["attributes"]
            key: str | None = attributes.get("unique_id")
            if key is None:
                continue
            metric = orjson.dumps(attributes["metric"]["data"]["attributes"]).decode()
            if (who, metric, key) in seen or _stored(call, who, attributes, key):
                pointer = f"{where}/data/{index}/attributes/events/data/{number}/attributes/unique_id"
                detail = f"The unique_id '{key}' is repeated for the same profile and metric."
                problems.append(Problem(detail=detail, pointer=pointer))
            seen.add((who, metric, key))
    return problems


def _identity(account: Account, person: JsonObject) -> str:
    """The id of the profile meant, or its identifiers when it does not exist yet."""
    attributes: JsonObject = person.get("attributes") or {}
    found = match(account, attributes, profile_id=person.get("id")).profile
    if found is not None:
        return found.id
    known = {name: attributes.get(name) for name in ("external_id", "email", "phone_number", "anonymous_id", "_kx")}
    return next((f"{name}:{value}" for name, value in known.items() if value), str(person.get("id")))


def _stored(call: Call, who: str, attributes: JsonObject, key: str) -> bool:
    if not call.world.switches.bulk_event_repeat_checks_stored:
        return False
    naming: JsonObject = attributes["metric"]["data"]["attributes"]
    metric = call.account.metrics.find(naming.get("service") or "api", naming["name"])
    return metric is not None and call.account.events.has(who, metric.id, key)


def get_events(call: Call) -> Reply:
    account, query = call.account, call.query
    metric = _wanted(query.conditions, "metric_id")
    profile = _wanted(query.conditions, "profile_id")
    after, before = _bounds(query.conditions)
    page = paginate(
        account.events.ordered(metric_id=metric, profile_id=profile),
        query,
        descending=(query.sort or "-").startswith("-"),
        keep=lambda key: _keeps(account, query.conditions, key),
        after=after,
        before=before,
        strict=call.world.switches.strict_cursors,
    )
    found = [account.events.by_id[key[-1]] for key in page.keys]
    return many(call, [event_resource(call, item) for item in found], page=page, included=_included(call, found))


def _wanted(conditions: list[Condition], name: str) -> str | None:
    for item in conditions:
        if item.field == name:
            return next(iter(as_list(item.value)), "")
    return None


def _seconds(value: Any) -> float:
    return value if isinstance(value, int) else value.seconds


def _bounds(conditions: list[Condition]) -> tuple[Key | None, Key | None]:
    after: Key | None = None
    before: Key | None = None
    for item in conditions:
        if item.field not in ("datetime", "timestamp"):
            continue
        at = _seconds(item.value)
        if item.operator.startswith("greater"):
            after = max(after or (at,), (at, "~") if item.operator == "greater-than" else (at,))
        else:
            before = (at,) if item.operator == "less-than" else (at, "~")
    return after, before


def _keeps(account: Account, conditions: list[Condition], key: Key) -> bool:
    event = account.events.by_id[key[-1]]
    for item in conditions:
        if item.field in ("datetime", "timestamp") and not matches(item, event.timestamp):
            return False
        if item.field == "metric" and event.metric_id not in account.metrics.by_id:
            return False
        if item.field == "profile" and event.profile_id not in account.profiles.by_id:
            return False
    return True


def _included(call: Call, events: list[Event]) -> Generator[JsonObject]:
    account, include = call.account, call.query.include
    for event in events:
        if "metric" in include and (metric := account.metrics.by_id.get(event.metric_id)):
            yield metric_resource(call, metric)
        if "profile" in include and (profile := account.profiles.get(event.profile_id)):
            yield profile_resource(call, profile)
        if "attributions" in include and (credit := attribution_resource(call, event)):
            yield credit


def the_event(call: Call) -> Event:
    """400 for a malformed id, 404 for an unknown one."""
    event_id = call.params["id"]
    if _EVENT_ID.fullmatch(event_id) is None:
        raise invalid(f"Invalid Event ID: '{event_id}'", pointer="/data/id")
    found = call.account.events.by_id.get(event_id)
    if found is None:
        raise not_found(f"An event with id {event_id} does not exist.")
    return found


def get_event(call: Call) -> Reply:
    event = the_event(call)
    return one(call, event_resource(call, event), included=_included(call, [event]))


def get_metric_for_event(call: Call) -> Reply:
    return one(call, metric_resource(call, call.account.metrics.by_id[the_event(call).metric_id]))


def get_profile_for_event(call: Call) -> Reply:
    return one(call, profile_resource(call, the_profile(call.account, the_event(call).profile_id)))


def _linkage(kind: str, pick: Callable[[Event], str]) -> Callable[[Call], Reply]:
    def get_linkage(call: Call) -> Reply:
        linkage = {"type": kind, "id": pick(the_event(call))}
        return Reply(200, {"data": linkage, "links": {"self": f"{call.base}{call.path}"}})

    return get_linkage


_EVENT = members(
    {
        "properties": FREE,
        "metric": METRIC,
        "profile": data(resource("profile", attributes=EVENT_PERSON, may_have_id=True, meta=META)),
    },
    EVENT_FIELDS,
)
EVENT_BODY = Body(data(resource("event", attributes=_EVENT)))
_BULK_EVENT = members({"properties": FREE, "metric": METRIC}, EVENT_FIELDS)
_GROUP = resource(
    "event-bulk-create",
    attributes=fields(
        {
            "profile": data(resource("profile", attributes=ANONYMOUS_PROFILE, may_have_id=True, meta=META)),
            "events": data(array(resource("event", attributes=_BULK_EVENT), least=1)),
        },
        backfill={"type": ["boolean", "null"]},
    ),
)
_BULK = data(
    resource(
        "event-bulk-create-job",
        attributes=fields({"events-bulk-create": data(array(_GROUP, least=1))}),
    )
)
_FIELDS = {
    "event": fieldnames.EVENT,
    "metric": fieldnames.METRIC,
    "profile": fieldnames.PROFILE_PLAIN,
    "attribution": fieldnames.ATTRIBUTION,
}
_INCLUDE = names("attributions metric profile")
_METRIC_SCOPES = ("events:read", "metrics:read")
_PROFILE_SCOPES = ("events:read", "profiles:read")

OPERATIONS = [
    Operation(
        id="get_events",
        method="GET",
        path="/api/events",
        handler=get_events,
        limit=XL,
        scopes=("events:read",),
        query=QuerySpec(
            fields=_FIELDS,
            additional=fieldnames.ADDITIONAL_PROFILE,
            include=_INCLUDE,
            filters={
                "metric_id": text("equals"),
                "profile_id": text("equals"),
                "profile": text("has"),
                "metric": text("has"),
                "datetime": moment(),
                "timestamp": Allowed(COMPARE, "timestamp"),
            },
            sort=names("datetime timestamp"),
            page=(200, 1000),
        ),
    ),
    Operation(
        id="create_event",
        method="POST",
        path="/api/events",
        handler=create_event,
        limit=XL,
        scopes=("events:write",),
        body=EVENT_BODY,
    ),
    Operation(
        id="get_event",
        method="GET",
        path="/api/events/{id}",
        handler=get_event,
        limit=M,
        scopes=("events:read",),
        query=QuerySpec(fields=_FIELDS, include=_INCLUDE),
    ),
    Operation(
        id="bulk_create_events",
        method="POST",
        path="/api/event-bulk-create-jobs",
        handler=bulk_create_events,
        limit=M,
        scopes=("events:write",),
        body=Body(_BULK),
    ),
    Operation(
        id="get_metric_for_event",
        method="GET",
        path="/api/events/{id}/metric",
        handler=get_metric_for_event,
        limit=XL,
        scopes=_METRIC_SCOPES,
        query=QuerySpec(fields={"metric": fieldnames.METRIC}),
    ),
    Operation(
        id="get_metric_id_for_event",
        method="GET",
        path="/api/events/{id}/relationships/metric",
        handler=_linkage("metric", lambda event: event.metric_id),
        limit=XL,
        scopes=_METRIC_SCOPES,
    ),
    Operation(
        id="get_profile_for_event",
        method="GET",
        path="/api/events/{id}/profile",
        handler=get_profile_for_event,
        limit=XL,
        scopes=_PROFILE_SCOPES,
        query=QuerySpec(fields={"profile": fieldnames.PROFILE}, additional=fieldnames.ADDITIONAL_PROFILE),
    ),
    Operation(
        id="get_profile_id_for_event",
        method="GET",
        path="/api/events/{id}/relationships/profile",
        handler=_linkage("profile", lambda event: event.profile_id),
        limit=XL,
        scopes=_PROFILE_SCOPES,
    ),
]
