"""Schemas that several areas share: the profile in all its writable forms, consent, events."""

from __future__ import annotations

from klaviyo_simulator.bodies import (
    COORDINATE,
    FLAG_OR_NULL,
    FREE,
    FREE_OR_NULL,
    NUMBER_OR_NULL,
    TEXT,
    TEXT_OR_NULL,
    Schema,
    array,
    choice,
    data,
    fields,
    members,
    resource,
)
from klaviyo_simulator.profiles import PLAIN_FIELDS

TEXT_OR_TEXTS: Schema = {"anyOf": [TEXT, {"type": "array", "items": TEXT}, {"type": "null"}]}
LOCATION = fields(
    address1=TEXT_OR_NULL,
    address2=TEXT_OR_NULL,
    city=TEXT_OR_NULL,
    country=TEXT_OR_NULL,
    latitude=COORDINATE,
    longitude=COORDINATE,
    region=TEXT_OR_NULL,
    zip=TEXT_OR_NULL,
    timezone=TEXT_OR_NULL,
    ip=TEXT_OR_NULL,
)
LOCATION_OR_NULL: Schema = LOCATION | {"type": ["object", "null"]}
META = fields(
    patch_properties=fields(append=FREE_OR_NULL, unappend=FREE_OR_NULL, unset=TEXT_OR_TEXTS),
    patch_identifiers=fields(append=FREE, unappend=FREE),
)
_PLAIN: dict[str, Schema] = dict.fromkeys(PLAIN_FIELDS, TEXT_OR_NULL) | {
    "location": LOCATION_OR_NULL,
    "properties": FREE_OR_NULL,
}
_IDENTIFIERS: dict[str, Schema] = dict.fromkeys(("email", "phone_number", "external_id", "_kx"), TEXT_OR_NULL)
PROFILE_ATTRIBUTES = members({}, _IDENTIFIERS | _PLAIN)
ANONYMOUS_PROFILE = members({}, _IDENTIFIERS | _PLAIN | {"anonymous_id": TEXT_OR_NULL})
PERSON_FIELDS: dict[str, Schema] = _IDENTIFIERS | _PLAIN | {"anonymous_id": TEXT_OR_NULL}
EVENT_PERSON = members({}, PERSON_FIELDS | {"meta": META})

METRIC = data(resource("metric", attributes=fields({"name": TEXT}, service=TEXT_OR_NULL)))
EVENT_FIELDS: dict[str, Schema] = {
    "time": TEXT_OR_NULL,
    "value": NUMBER_OR_NULL,
    "value_currency": TEXT_OR_NULL,
    "unique_id": TEXT_OR_NULL,
    "backfill": FLAG_OR_NULL,
}

_GIVEN = fields({"consent": choice("SUBSCRIBED")}, consented_at=TEXT_OR_NULL)
_OPEN = fields({"consent": choice("SUBSCRIBED")})
_WITHDRAWN = fields({"consent": choice("UNSUBSCRIBED")})
DEVICE = fields(
    device_id=TEXT_OR_NULL,
    klaviyo_sdk=choice("android", "flutter", "flutter_community", "react_native", "swift", None),
    sdk_version=TEXT_OR_NULL,
    device_model=TEXT_OR_NULL,
    os_name=choice("android", "ios", "ipados", "macos", "tvos", None),
    os_version=TEXT_OR_NULL,
    manufacturer=TEXT_OR_NULL,
    app_name=TEXT_OR_NULL,
    app_version=TEXT_OR_NULL,
    app_build=TEXT_OR_NULL,
    app_id=TEXT_OR_NULL,
    environment=choice("debug", "release", None),
)
ENABLEMENT = choice("AUTHORIZED", "DENIED", "NOT_DETERMINED", "PROVISIONAL", "UNAUTHORIZED", None)
BACKGROUND = choice("AVAILABLE", "DENIED", "RESTRICTED", None)
_TOKEN = fields(
    {"token": TEXT, "platform": choice("android", "ios"), "vendor": choice("apns", "fcm")},
    enablement_status=ENABLEMENT,
    background=BACKGROUND,
    device_metadata=DEVICE,
)
SUBSCRIPTIONS = fields(
    email=fields(marketing=_GIVEN, open_tracking=_OPEN),
    sms=fields(marketing=_GIVEN, transactional=_GIVEN),
    whatsapp=fields(marketing=_GIVEN, transactional=_GIVEN),
    push=fields({"marketing": _GIVEN}, tokens=array(_TOKEN), anonymous_id=TEXT_OR_NULL),
)
WITHDRAWALS = fields(
    email=fields(marketing=_WITHDRAWN, open_tracking=_WITHDRAWN),
    sms=fields(marketing=_WITHDRAWN, transactional=_WITHDRAWN),
    whatsapp=fields(marketing=_WITHDRAWN, transactional=_WITHDRAWN, conversational=_WITHDRAWN),
    push=fields({"marketing": _WITHDRAWN, "tokens": array(_TOKEN)}),
)
