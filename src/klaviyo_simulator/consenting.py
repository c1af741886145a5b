"""Subscribing, unsubscribing, suppressing: what each does to consent, lists and events.

202s are given elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass

from klaviyo_simulator.account import DOUBLE, Account, MailingList
from klaviyo_simulator.consent import (
    EMAIL,
    LIFTED_BY_SUBSCRIBING,
    PUSH,
    SMS,
    SUBSCRIBED,
    UNSUBSCRIBED,
    Suppression,
)
from klaviyo_simulator.errors import JsonObject
from klaviyo_simulator.events import Attribution
from klaviyo_simulator.log import Cause
from klaviyo_simulator.membership import join, leave
from klaviyo_simulator.people import create, ensure, match
from klaviyo_simulator.profiles import Profile
from klaviyo_simulator.reading import within
from klaviyo_simulator.times import parse_instant
from klaviyo_simulator.tracking import record

_CHANNEL_OF = {
    ("email", "marketing"): EMAIL,
    ("email", "open_tracking"): "open_tracking",
    ("sms", "marketing"): SMS,
    ("sms", "transactional"): "sms_transactional",
    ("whatsapp", "marketing"): "whatsapp_marketing",
    ("whatsapp", "transactional"): "whatsapp_transactional",
    ("whatsapp", "conversational"): "whatsapp_conversational",
    ("push", "marketing"): PUSH,
}
_WORDS = {EMAIL: "Email Marketing", SMS: "SMS Marketing"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How a subscribe job was asked for."""

    mailing_list: MailingList | None
    historical: bool
    source: str | None
    cause: Cause
    method: str = "API"


def wanted_channels(subscriptions: JsonObject) -> dict[str, JsonObject]:
    """Channel name to its consent object."""
    return {
        channel: subscriptions[medium][kind]
        for (medium, kind), channel in _CHANNEL_OF.items()
        if within(subscriptions, medium, kind)
    }


def subscribe(account: Account, row: JsonObject, terms: Terms) -> None:
    """Apply one row of a subscribe job."""
    attributes: JsonObject = row["attributes"]
    channels = wanted_channels(attributes["subscriptions"])
    double = not terms.historical and _opt_in(account, terms.mailing_list) == DOUBLE
    person = {name: attributes[name] for name in ("email", "phone_number") if attributes.get(name)}
    lost = double and terms.mailing_list is None and not account.world.switches.subscribe_without_list_creates
    if lost and match(account, person, profile_id=row.get("id")).profile is None:
        # Recorded: without a list and without historical_import a new address never became a profile.
        account.effect("subscription.unconfirmed", terms.cause, values=person)
        return
    profile = ensure(account, person, terms.cause, profile_id=row.get("id"))
    if profile is None:
        account.effect("subscription.refused", terms.cause, values={"reason": "unknown profile id"})
        return
    if double and EMAIL in channels:
        _await_confirmation(account, profile, terms)
        channels.pop(EMAIL)
        if not channels:
            return
    confirm(account, profile, channels, terms)


def _opt_in(account: Account, mailing_list: MailingList | None) -> str:
    if mailing_list is not None:
        return mailing_list.opt_in_process
    return DOUBLE if account.world.switches.account_double_opt_in else "single_opt_in"


def _await_confirmation(account: Account, profile: Profile, terms: Terms) -> None:
    list_id = terms.mailing_list.id if terms.mailing_list else ""
    profile.consent_state().pending[list_id] = account.now()
    account.effect(
        "subscription.confirmation_sent", terms.cause, profile_id=profile.id, values={"list": list_id or None}
    )


def confirm_pending(account: Account, profile: Profile, cause: Cause) -> int:
    """The person clicks the confirmation link(s); how many were waiting."""
    waiting = list(profile.consent_state().pending)
    profile.consent_state().pending.clear()
    for list_id in waiting:
        terms = Terms(
            mailing_list=account.lists.get(list_id),
            historical=False,
            source=None,
            cause=cause,
            method="DOUBLE_OPT_IN",
        )
        confirm(account, profile, {EMAIL: {}}, terms, double=True)
    return len(waiting)


def confirm(
    account: Account, profile: Profile, channels: dict[str, JsonObject], terms: Terms, *, double: bool = False
) -> None:
    """Set consent on the channels and join the list."""
    state = profile.consent_state()
    now = account.now()
    if EMAIL in channels and state.lift(LIFTED_BY_SUBSCRIBING):
        account.effect("unsuppressed", terms.cause, profile_id=profile.id, values={"reason": "subscribed"})
    for channel, asked in channels.items():
        at = parse_instant(asked["consented_at"]) if asked.get("consented_at") else now
        entry = state.channel(channel)
        if entry.consent != SUBSCRIBED:
            entry.consent, entry.timestamp, entry.double_optin = SUBSCRIBED, at, double
            entry.method, entry.method_detail = terms.method, terms.source or ""
            entry.custom_method_detail = terms.source
        entry.updated = now
        facts = {"channel": channel, "list": terms.mailing_list.id if terms.mailing_list else None}
        account.effect("subscribed", terms.cause, profile_id=profile.id, values=facts)
        if channel in _WORDS and not terms.historical:
            record(account, profile, f"Subscribed to {_WORDS[channel]}", {"Method": terms.method}, terms.cause)
    account.profiles.touch(profile, now)
    if terms.mailing_list is not None:
        mine = terms.mailing_list
        state.list_suppressions = [item for item in state.list_suppressions if item.list_id != mine.id]
        join(account, mine, profile, terms.cause, with_event=True, trigger=not terms.historical)


def unsubscribe(account: Account, row: JsonObject, mailing_list: MailingList | None, cause: Cause) -> None:
    """Apply one row of an unsubscribe job. Who is not a member of the given list is unsubscribed globally."""
    attributes: JsonObject = row["attributes"]
    person = {name: attributes[name] for name in ("email", "phone_number") if attributes.get(name)}
    profile = match(account, person).profile or create(account, person, cause)
    channels = wanted_channels(attributes["subscriptions"])
    if mailing_list is not None and profile.id in mailing_list.members:
        _unsubscribe_from_list(account, profile, mailing_list, cause)
        return
    for channel in channels:
        withdraw(account, profile, channel, cause)


def _unsubscribe_from_list(account: Account, profile: Profile, mailing_list: MailingList, cause: Cause) -> None:
    state = profile.consent_state()
    state.list_suppressions.append(Suppression("UNSUBSCRIBE", account.now(), mailing_list.id))
    leave(account, mailing_list, profile, cause, with_event=True)
    account.effect(
        "unsubscribed",
        cause,
        profile_id=profile.id,
        values={"channel": EMAIL, "list": mailing_list.id, "global": False},
    )


def withdraw(
    account: Account,
    profile: Profile,
    channel: str,
    cause: Cause,
    *,
    properties: JsonObject | None = None,
    credit: Attribution | None = None,
) -> None:
    """Global withdrawal on one channel; leaves `updated` where it is, as recorded."""
    state = profile.consent_state()
    now = account.now()
    entry = state.channel(channel)
    entry.consent, entry.timestamp, entry.updated = UNSUBSCRIBED, now, now
    if channel == EMAIL:
        state.suppress("UNSUBSCRIBE", now)
    facts = {"channel": channel, "list": None, "global": True}
    account.effect("unsubscribed", cause, profile_id=profile.id, values=facts)
    if channel in _WORDS:
        told = properties or {"Method": "API"}
        record(account, profile, f"Unsubscribed from {_WORDS[channel]}", told, cause, attribution=credit)


def suppress(account: Account, profile: Profile, cause: Cause, *, reason: str = "USER_SUPPRESSED") -> bool:
    """False when it already was (the job counts it as skipped)."""
    if not profile.consent_state().suppress(reason, account.now()):
        return False
    account.effect("suppressed", cause, profile_id=profile.id, values={"reason": reason})
    if reason == "USER_SUPPRESSED":
        record(account, profile, "Manually Suppressed from Email Marketing", {}, cause)
    return True


def unsuppress(account: Account, profile: Profile, cause: Cause) -> bool:
    """Lift USER_SUPPRESSED only."""
    if profile.consent is None or not profile.consent.lift(frozenset({"USER_SUPPRESSED"})):
        return False
    account.effect("unsuppressed", cause, profile_id=profile.id, values={"reason": "USER_SUPPRESSED"})
    record(account, profile, "Manually Unsuppressed from Email Marketing", {}, cause)
    return True
