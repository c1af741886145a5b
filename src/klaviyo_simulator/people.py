"""What writing a profile means: who is meant, what changes, what is refused.

Reading is in `resources.profiles`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from klaviyo_simulator.account import Account
from klaviyo_simulator.errors import ApiError, JsonObject, Problem, duplicate_profile
from klaviyo_simulator.log import Cause
from klaviyo_simulator.profiles import IDENTIFIERS, Profile
from klaviyo_simulator.reading import as_list, object_in, within
from klaviyo_simulator.switches import Switches

_EMAIL = re.compile(r"[^@\s\"(),:;<>\[\]\\]+@[^@\s.,;:()<>]+(\.[^@\s.,;:()<>]+)+")
_PHONE = re.compile(r"\+[1-9]\d{6,14}")
_CUT_SHORT = re.compile(r"\+\d{1,6}")
_IDENTIFIERS = frozenset(IDENTIFIERS)
BAD_EMAIL = "Invalid email address"
BAD_PHONE = "Invalid phone number format (Example of a valid format: +12345678901)"
BAD_REGION = "Phone number is valid but is not in a supported region for this account."


@dataclass(frozen=True, slots=True)
class Match:
    """The profile a write is about; `other` is a different one that holds a further identifier."""

    profile: Profile | None
    other: Profile | None = None
    unknown_id: bool = False


def identifier_problems(attributes: JsonObject, pointer: str) -> list[Problem]:
    """Malformed email and phone number."""
    problems: list[Problem] = []
    email = attributes.get("email")
    if email is not None and (len(email) > 254 or _EMAIL.fullmatch(email) is None):
        problems.append(Problem(detail=BAD_EMAIL, pointer=f"{pointer}/email"))
    phone = attributes.get("phone_number")
    if phone is not None and _PHONE.fullmatch(phone) is None:
        problems.append(Problem(detail=BAD_PHONE, pointer=f"{pointer}/phone_number"))
    return problems


def is_cut_short(phone: object) -> bool:
    """A plus sign and too few digits: the case that Klaviyo sometimes drops in silence."""
    return isinstance(phone, str) and _CUT_SHORT.fullmatch(phone) is not None


def region_problem(phone: str | None, switches: Switches, pointer: str) -> Problem | None:
    """The number's country is not enabled, by the switch `phone_regions`: prefixes such as `+1,+49`."""
    prefixes = tuple(part.strip() for part in switches.phone_regions.split(",") if part.strip())
    if phone is None or not prefixes or phone.startswith(prefixes):
        return None
    return Problem(detail=BAD_REGION, pointer=pointer)


def has_identifier(attributes: JsonObject) -> bool:
    get = attributes.get
    return bool(get("email") or get("phone_number") or get("external_id") or get("anonymous_id") or get("_kx"))


def missing_identifier(pointer: str = "/data/attributes") -> Problem:
    detail = "One of the following identifiers must be provided: email, phone_number, external_id, _kx"
    return Problem(detail=detail, pointer=pointer)


def match(account: Account, attributes: JsonObject, *, profile_id: str | None = None) -> Match:
    """Whom id and identifiers mean; the id wins, then the order of the switch `identifier_precedence`."""
    store = account.profiles
    chosen: Profile | None = None
    if profile_id is not None:
        chosen = store.get(profile_id)
        if chosen is None:
            return Match(None, unknown_id=True)
    for name in store.precedence:
        value = attributes.get(name)
        if not value:
            continue
        found = store.find(name, value)
        if found is None or found is chosen:
            continue
        if chosen is not None:
            return Match(chosen, found)
        chosen = found
    return Match(chosen)


def refuse_other(account: Account, other: Profile | None) -> None:
    """409 when an identifier belongs to somebody else."""
    if other is not None:
        named = account.world.switches.conflict_names_duplicate
        raise duplicate_profile(other.id if named else None)


def holder(account: Account, attributes: JsonObject, *, but: Profile | None = None) -> Profile | None:
    """Another profile that holds one of the identifiers."""
    for name in IDENTIFIERS:
        value = attributes.get(name)
        found = account.profiles.find(name, value) if value else None
        if found is not None and found is not but:
            return found
    return None


def create(
    account: Account,
    attributes: JsonObject,
    cause: Cause,
    *,
    patch: JsonObject | None = None,
    bulk: bool = False,
) -> Profile:
    now = account.now()
    profile = Profile(account.world.ids.ulid(now), now)
    body = _new_body(account, profile, attributes)
    account.profiles.add(profile)
    if patch:
        body["properties"] = patched(body.get("properties", {}), patch)
    profile.write_body(body)
    account.effect("profile.created", cause, profile_id=profile.id, values=profile.snapshot())
    account.announce("profile_created", profile, bulk, cause)
    return profile


def change(
    account: Account,
    profile: Profile,
    attributes: JsonObject,
    cause: Cause,
    *,
    patch: JsonObject | None = None,
) -> bool:
    """Apply a partial update: null clears, absent leaves. True when anything became different."""
    before = profile.snapshot()
    for name in IDENTIFIERS:
        if name in attributes:
            account.profiles.identify(profile, name, _stored(account, name, attributes[name]))
    body = merged_body(profile.read_body(), attributes, account.world.switches)
    if patch:
        body["properties"] = patched(body.get("properties", {}), patch)
    profile.write_body(body)
    changed = profile.snapshot() != before
    if changed or account.world.switches.touch_on_equal_write:
        account.profiles.touch(profile, account.now())
    account.effect("profile.updated", cause, profile_id=profile.id, values=profile.snapshot())
    return changed


def _stored(account: Account, name: str, value: str | None) -> str | None:
    return value if value is None else account.profiles.fold(name, value)


def _new_body(account: Account, profile: Profile, attributes: JsonObject) -> JsonObject:
    """Identify the profile, and return the rest of its attributes; written for imports by the million."""
    body: JsonObject = {}
    for name, value in attributes.items():
        if value is None:
            continue
        if name in _IDENTIFIERS:
            account.profiles.identify_new(profile, name, value)
        elif name == "location" or (name == "properties" and account.world.switches.null_property == "remove"):
            body[name] = _without_nulls(value) if None in value.values() else value
        else:
            body[name] = value
    return body


def merged_body(body: JsonObject, attributes: JsonObject, switches: Switches) -> JsonObject:
    """`body` with the attributes written over it."""
    for name, value in attributes.items():
        if name in _IDENTIFIERS:
            continue
        if value is None:
            body.pop(name, None)
        elif name == "location":
            body[name] = _without_nulls(body.get(name, {}) | value)
        elif name == "properties":
            kept = body.get(name, {}) | value
            body[name] = kept if switches.null_property == "keep" else _without_nulls(kept)
        else:
            body[name] = value
    return body


def _without_nulls(values: JsonObject) -> JsonObject:
    return {name: value for name, value in values.items() if value is not None}


def patched(properties: JsonObject, patch: JsonObject) -> JsonObject:
    """`meta.patch_properties` applied: append, unappend, unset."""
    for name, value in object_in(patch, "append").items():
        kept = as_list(properties.get(name))
        properties[name] = kept + [item for item in as_list(value) if item not in kept]
    for name, value in object_in(patch, "unappend").items():
        if name in properties:
            gone = as_list(value)
            properties[name] = [item for item in as_list(properties[name]) if item not in gone]
    for name in as_list(patch.get("unset")):
        properties.pop(name, None)
    return properties


def patch_of(meta: JsonObject | None) -> JsonObject | None:
    return within(meta, "patch_properties")


def ensure(account: Account, attributes: JsonObject, cause: Cause, *, profile_id: str | None = None) -> Profile | None:
    """The profile an event or a consent is about, created or updated as needed; None when the id is unknown.

    Identifiers that belong to somebody else are left where they are: nobody can be told 409 any more.
    """
    found = match(account, attributes, profile_id=profile_id)
    meta = attributes.get("meta")
    fields = {name: value for name, value in attributes.items() if name != "meta" and value is not None}
    if found.unknown_id and not has_identifier(fields):
        return None
    if found.profile is None:
        return create(account, fields, cause, patch=patch_of(meta))
    news = _news(account, found.profile, fields)
    if news or patch_of(meta):
        change(account, found.profile, news, cause, patch=patch_of(meta))
    return found.profile


def _news(account: Account, profile: Profile, fields: JsonObject) -> JsonObject:
    """The fields without identifiers already set so or held by others."""
    news: JsonObject = {}
    for name, value in fields.items():
        if name in _IDENTIFIERS:
            stored = account.profiles.fold(name, value)
            if profile.identifier(name) == stored or account.profiles.find(name, value) not in (
                None,
                profile,
            ):
                continue
        news[name] = value
    return news


def problems_error(problems: list[Problem]) -> None:
    if problems:
        raise ApiError(400, *problems)
