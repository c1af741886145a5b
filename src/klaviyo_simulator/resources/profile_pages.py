"""Reading many profiles: which filters and sorts there are, and the quickest way to each page."""

from __future__ import annotations

from typing import Any

from klaviyo_simulator.account import Account
from klaviyo_simulator.errors import invalid
from klaviyo_simulator.filters import Condition, matches, moment, text
from klaviyo_simulator.members import Members
from klaviyo_simulator.ordering import Key, Ordering
from klaviyo_simulator.paging import Page, paginate
from klaviyo_simulator.profiles import Profile
from klaviyo_simulator.query import names
from klaviyo_simulator.reading import as_list
from klaviyo_simulator.routing import Call

_MARKETING = "subscriptions.email.marketing"
SUPPRESSED = f"{_MARKETING}.suppression.timestamp"
LIST_SUPPRESSED = f"{_MARKETING}.list_suppressions.timestamp"
PROFILE_FILTERS = {
    "id": text("any", "equals"),
    "email": text("any", "equals"),
    "phone_number": text("any", "equals"),
    "external_id": text("any", "equals"),
    "_kx": text("equals"),
    "created": moment("greater-than", "less-than"),
    "updated": moment("greater-than", "less-than"),
    f"{_MARKETING}.suppression.reason": text("equals"),
    SUPPRESSED: moment(),
    f"{_MARKETING}.list_suppressions.reason": text("equals"),
    LIST_SUPPRESSED: moment(),
    f"{_MARKETING}.list_suppressions.list_id": text("equals"),
}
PROFILE_SORT = names(f"created email id updated {SUPPRESSED} {LIST_SUPPRESSED}")
MEMBER_FILTERS = {
    "email": text("any", "equals"),
    "phone_number": text("any", "equals"),
    "push_token": text("any", "equals"),
    "_kx": text("equals"),
    "joined_group_at": moment(),
}
_INDEXED = ("id", "email", "phone_number", "external_id", "_kx")
_LAST = "\U0010ffff"


def profile_page(call: Call) -> tuple[Page, list[Profile]]:
    """A page of all profiles: by id, by `updated` when that is filtered, or as sorted."""
    query, account = call.query, call.account
    _refuse_sorted_suppression(call)
    name = (query.sort or _natural_order(query.conditions)).lstrip("-")
    ordering, after, before = _source(account, query.conditions, name)
    page = paginate(
        ordering,
        query,
        descending=(query.sort or "").startswith("-"),
        keep=lambda key: _fits(account, query.conditions, key),
        after=after,
        before=before,
        strict=call.world.switches.strict_cursors,
    )
    return page, [account.profiles.by_id[key[-1]] for key in page.keys]


def _refuse_sorted_suppression(call: Call) -> None:
    suppression = any(item.field.startswith(_MARKETING) for item in call.query.conditions)
    if suppression and call.query.sort:
        raise invalid("Sort cannot be combined with a suppression filter.", parameter="sort")


def _natural_order(conditions: list[Condition]) -> str:
    for item in conditions:
        if item.field in ("updated", "created"):
            return item.field
        if item.field.startswith(f"{_MARKETING}.list_suppressions"):
            return LIST_SUPPRESSED
        if item.field.startswith(f"{_MARKETING}.suppression"):
            return SUPPRESSED
    return "id"


def _source(account: Account, conditions: list[Condition], name: str) -> tuple[Ordering, Key | None, Key | None]:
    """The ordering to walk, and the bounds that the filter sets on it."""
    candidates = _candidates(account, conditions)
    if candidates is not None or name in (SUPPRESSED, LIST_SUPPRESSED):
        people = account.profiles if candidates is None else candidates
        keys = ((value, profile.id) for profile in people if (value := _sort_value(profile, name)) is not None)
        return Ordering(keys), None, None
    after, before = _bounds([item for item in conditions if item.field == name])
    return account.profiles.ordered(name), after, before


def _candidates(account: Account, conditions: list[Condition]) -> list[Profile] | None:
    """Whom an identifier filter can mean; None when there is no such filter."""
    for item in conditions:
        if item.field in _INDEXED:
            values: list[str] = as_list(item.value)
            if item.field == "id":
                found = {value: account.profiles.by_id.get(value) for value in values}
            else:
                found = {value: account.profiles.find(item.field, value) for value in values}
            return list({profile.id: profile for profile in found.values() if profile}.values())
    return None


def _bounds(conditions: list[Condition]) -> tuple[Key | None, Key | None]:
    after: Key | None = None
    before: Key | None = None
    for item in conditions:
        seconds: float = item.value.seconds
        match item.operator:
            case "greater-than":
                after = (seconds, _LAST)
            case "greater-or-equal":
                after = (seconds, "")
            case "less-than":
                before = (seconds, "")
            case _:
                before = (seconds, _LAST)
    return after, before


def _fits(account: Account, conditions: list[Condition], key: Key) -> bool:
    profile = account.profiles.by_id.get(key[-1])
    return profile is not None and all(_holds(account, profile, item) for item in conditions)


def _holds(account: Account, profile: Profile, item: Condition) -> bool:
    if item.field.startswith(_MARKETING):
        return any(matches(item, value) for value in _suppression_values(profile, item.field))
    if item.field == "email":
        wanted: Any = item.value
        folded = [account.profiles.fold("email", value) for value in ([wanted] if isinstance(wanted, str) else wanted)]
        return profile.email in folded
    return matches(item, _value(profile, item.field))


def _value(profile: Profile, name: str) -> Any:
    if name in ("id", "created", "updated"):
        return getattr(profile, name)
    return profile.identifier(name)


def _suppression_values(profile: Profile, name: str) -> list[Any]:
    if profile.consent is None:
        return []
    _, kind, attribute = name.rsplit(".", 2)
    entries = profile.consent.suppressions if kind == "suppression" else profile.consent.list_suppressions
    return [getattr(entry, attribute) for entry in entries]


def _sort_value(profile: Profile, name: str) -> Any:
    if name in (SUPPRESSED, LIST_SUPPRESSED):
        return max(_suppression_values(profile, name), default=None)
    value = _value(profile, name)
    return "" if value is None else value


def member_page(call: Call, members: Members) -> tuple[Page, list[tuple[Profile, float]]]:
    """A page of a list's or segment's members, by the instant of joining."""
    account, query = call.account, call.query
    ordering, after, before = _member_source(account, members, query.conditions)
    others = [item for item in query.conditions if item.field != "joined_group_at"]

    def keep(key: Key) -> bool:
        profile = account.profiles.by_id.get(key[-1])
        joined = [item for item in query.conditions if item.field == "joined_group_at"]
        return (
            profile is not None
            and all(_member_holds(account, profile, item) for item in others)
            and all(matches(item, key[0]) for item in joined)
        )

    page = paginate(
        ordering,
        query,
        descending=(query.sort or "").startswith("-"),
        keep=keep,
        after=after,
        before=before,
        strict=call.world.switches.strict_cursors,
    )
    return page, [(account.profiles.by_id[key[-1]], key[0]) for key in page.keys]


def _member_source(
    account: Account, members: Members, conditions: list[Condition]
) -> tuple[Ordering, Key | None, Key | None]:
    people = _candidates(account, [_as_id(item) for item in conditions])
    if people is not None:
        keys = ((members.since(person.id), person.id) for person in people if person.id in members)
        return Ordering(keys), None, None
    after, before = _bounds([item for item in conditions if item.field == "joined_group_at"])
    return members.ordered(), after, before


def _as_id(item: Condition) -> Condition:
    return Condition(item.operator, "id", item.value) if item.field == "profile_id" else item


def _member_holds(account: Account, profile: Profile, item: Condition) -> bool:
    if item.field == "push_token":
        tokens = (token for token in account.push_tokens.values() if token.profile_id == profile.id)
        return any(matches(item, token.attributes["token"]) for token in tokens)
    return _holds(account, profile, _as_id(item))
