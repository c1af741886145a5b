"""Joining and leaving lists, merging and deleting people."""

from __future__ import annotations

from klaviyo_simulator.account import Account, MailingList
from klaviyo_simulator.log import Cause
from klaviyo_simulator.people import change
from klaviyo_simulator.profiles import IDENTIFIERS, Profile
from klaviyo_simulator.tracking import record


def join(
    account: Account,
    mailing_list: MailingList,
    profile: Profile,
    cause: Cause,
    *,
    with_event: bool,
    trigger: bool = True,
) -> None:
    """Add to the list. Only subscribing logs `Subscribed to List`; `updated` stays."""
    if not mailing_list.members.join(profile.id, account.now()):
        return
    account.effect("list.joined", cause, profile_id=profile.id, values={"list": mailing_list.id})
    if with_event:
        record(account, profile, "Subscribed to List", {"List": mailing_list.name}, cause)
    if trigger:
        account.announce("list_joined", mailing_list, profile, cause)


def leave(account: Account, mailing_list: MailingList, profile: Profile, cause: Cause, *, with_event: bool) -> None:
    if not mailing_list.members.leave(profile.id):
        return
    account.effect("list.left", cause, profile_id=profile.id, values={"list": mailing_list.id})
    if with_event:
        record(account, profile, "Unsubscribed from List", {"List": mailing_list.name}, cause)


def merge(account: Account, target: Profile, source: Profile, cause: Cause) -> None:
    """The source's identifiers, fields.

    Events and lists go over where the target has none; then it is gone.
    """
    gained = {
        name: source.identifier(name)
        for name in IDENTIFIERS
        if target.identifier(name) is None and source.identifier(name) is not None
    }
    mine, theirs = target.read_body(), source.read_body()
    fields = {name: value for name, value in theirs.items() if name not in mine or name == "properties"}
    if "properties" in fields:
        fields["properties"] = theirs["properties"] | mine.get("properties", {})
    for mailing_list in account.lists_of(source):
        mailing_list.members.leave(source.id)
        mailing_list.members.join(target.id, account.now())
    account.events.move(source.id, target.id)
    if source.consent is not None and target.consent is None:
        target.consent = source.consent
    account.profiles.remove(source)
    if account.world.switches.merge_keeps_source_id:
        account.profiles.aliases[source.id] = target.id
    change(account, target, gained | fields, cause)
    account.effect("merged", cause, profile_id=target.id, values={"source": source.id})
    record(account, target, "Merged Profile", {"source": source.id}, cause)


def delete(account: Account, profile: Profile, cause: Cause) -> None:
    """Forget the person: profile, events, memberships, messages, push tokens."""
    for mailing_list in account.lists_of(profile):
        mailing_list.members.leave(profile.id)
    events = account.events.remove_profile(profile.id)
    account.profiles.remove(profile)
    account.profiles.aliases = {old: new for old, new in account.profiles.aliases.items() if new != profile.id}
    account.messages[:] = [item for item in account.messages if item.profile_id != profile.id]
    for token in [item for item in account.push_tokens.values() if item.profile_id == profile.id]:
        del account.push_tokens[token.id]
    account.effect("deleted", cause, profile_id=profile.id, values={"events": events})
