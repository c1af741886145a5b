"""How profiles, lists, metrics and events look as JSON:API resources."""

from __future__ import annotations

from klaviyo_simulator.account import Account, MailingList
from klaviyo_simulator.consent import subscriptions_document
from klaviyo_simulator.documents import LINKS_ONLY, Linkage, resource
from klaviyo_simulator.errors import JsonObject, not_found
from klaviyo_simulator.events import Event, Metric
from klaviyo_simulator.ids import event_uuid
from klaviyo_simulator.profiles import LOCATION_FIELDS, PLAIN_FIELDS, Profile
from klaviyo_simulator.reading import object_in
from klaviyo_simulator.resources.fieldnames import PREDICTIONS
from klaviyo_simulator.routing import Call
from klaviyo_simulator.times import iso, iso_micro, iso_or_none


def profile_attributes(profile: Profile, *, fresh: bool = False) -> JsonObject:
    """`fresh`: microseconds, as the answer to a write has them."""
    body = profile.read_body()
    stamp = iso_micro if fresh else iso
    location = object_in(body, "location")
    shown: JsonObject = {
        "email": profile.email,
        "phone_number": profile.phone,
        "external_id": profile.external_id,
        "anonymous_id": profile.anonymous_id,
        "whatsapp_bsuid": None,
    }
    shown.update((name, body.get(name)) for name in PLAIN_FIELDS)
    shown["created"] = stamp(profile.created)
    shown["updated"] = stamp(profile.updated)
    shown["last_event_date"] = iso_or_none(profile.last_event)
    shown["location"] = {name: location.get(name) for name in LOCATION_FIELDS}
    shown["properties"] = body.get("properties") or {}
    return shown


def profile_resource(
    call: Call,
    profile: Profile,
    *,
    fresh: bool = False,
    joined: float | None = None,
    relations: dict[str, Linkage] | None = None,
) -> JsonObject:
    attributes = profile_attributes(profile, fresh=fresh)
    extra = call.query.additional.get("profile", frozenset())
    wanted = call.query.fields.get("profile", frozenset())
    if "subscriptions" in extra or any(name.startswith("subscriptions") for name in wanted):
        attributes["subscriptions"] = subscriptions_document(
            profile.consent, has_email=profile.email is not None, has_phone=profile.phone is not None
        )
    if "predictive_analytics" in extra or any(name.startswith("predictive_analytics") for name in wanted):
        attributes["predictive_analytics"] = dict.fromkeys(PREDICTIONS)
    if joined is not None:
        attributes["joined_group_at"] = iso(joined)
    links: dict[str, Linkage] = {
        "lists": LINKS_ONLY,
        "segments": LINKS_ONLY,
        "push-tokens": LINKS_ONLY,
        "conversation": LINKS_ONLY,
    }
    return resource(call, "profile", profile.id, attributes, links | (relations or {}))


def list_resource(call: Call, item: MailingList, relations: dict[str, Linkage] | None = None) -> JsonObject:
    attributes: JsonObject = {
        "name": item.name,
        "created": iso(item.created),
        "updated": iso(item.updated),
        "opt_in_process": item.opt_in_process,
    }
    if "profile_count" in call.query.additional.get("list", frozenset()):
        attributes["profile_count"] = len(item.members)
    links: dict[str, Linkage] = {"profiles": LINKS_ONLY, "tags": LINKS_ONLY, "flow-triggers": LINKS_ONLY}
    return resource(call, "list", item.id, attributes, links | (relations or {}))


def metric_resource(call: Call, metric: Metric, relations: dict[str, Linkage] | None = None) -> JsonObject:
    attributes: JsonObject = {
        "name": metric.name,
        "created": iso(metric.created),
        "updated": iso(metric.updated),
        "integration": metric.integration.document(),
    }
    return resource(call, "metric", metric.id, attributes, {"flow-triggers": LINKS_ONLY} | (relations or {}))


def event_attributes(event: Event) -> JsonObject:
    return {
        "timestamp": event.timestamp,
        "event_properties": event.read_properties(),
        "datetime": iso(event.timestamp),
        "uuid": event_uuid(event.id),
    }


def event_resource(call: Call, event: Event) -> JsonObject:
    include = call.query.include
    credited = [("attribution", event.id)] if event.attribution else []
    relations: dict[str, Linkage] = {
        "profile": ("profile", event.profile_id),
        "metric": ("metric", event.metric_id),
        "attributions": credited if "attributions" in include else LINKS_ONLY,
    }
    return resource(call, "event", event.id, event_attributes(event), relations)


def attribution_resource(call: Call, event: Event) -> JsonObject | None:
    credit = event.attribution
    if credit is None:
        return None
    relations: dict[str, Linkage] = {
        "event": ("event", event.id),
        "attributed-event": ("event", credit.message_event_id),
    }
    if credit.campaign_id:
        relations["campaign"] = ("campaign", credit.campaign_id)
        relations["campaign-message"] = ("campaign-message", credit.message_id)
    if credit.flow_id:
        relations["flow"] = ("flow", credit.flow_id)
        relations["flow-message"] = ("flow-message", credit.message_id)
    return resource(call, "attribution", event.id, None, relations)


def the_profile(account: Account, profile_id: str) -> Profile:
    found = account.profiles.get(profile_id)
    if found is None:
        raise not_found(f"A profile with id {profile_id} does not exist.")
    return found


def the_list(account: Account, list_id: str) -> MailingList:
    found = account.lists.get(list_id)
    if found is None:
        raise not_found(f"A list with id {list_id} does not exist.")
    return found
