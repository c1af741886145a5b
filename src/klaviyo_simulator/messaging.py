"""Sending one message to one person: whether it may go, its events.

And what the seeded audience does with it.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

from klaviyo_simulator.account import Account, Message
from klaviyo_simulator.consent import EMAIL
from klaviyo_simulator.consenting import suppress, withdraw
from klaviyo_simulator.errors import JsonObject
from klaviyo_simulator.events import Attribution
from klaviyo_simulator.log import Cause
from klaviyo_simulator.profiles import Profile
from klaviyo_simulator.scheduler import AUDIENCE
from klaviyo_simulator.tracking import credits_of, record

_TAG = re.compile(r"\{\{\s*([\w.]+)[^}]*\}\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """What is sent, and on whose behalf."""

    channel: str
    subject: str
    body: str
    message_id: str
    name: str
    flow_id: str | None = None
    flow_name: str | None = None
    campaign_id: str | None = None
    campaign_name: str | None = None

    def properties(self) -> JsonObject:
        """What the events of the message carry."""
        shown: JsonObject = {"$message": self.message_id, "Subject": self.subject}
        if self.flow_id:
            shown["$flow"] = self.flow_id
            shown["$message_name"] = self.name
        if self.campaign_id:
            shown["Campaign Name"] = self.campaign_name
            shown["$campaign"] = self.campaign_id
        return shown


def render(text: str, profile: Profile) -> str:
    """Put the profile's fields into `{{ first_name }}`; unknown names become nothing."""
    values = profile.read_body()
    values["email"] = profile.email

    def value_of(found: re.Match[str]) -> str:
        value = values.get(found.group(1).removeprefix("person."))
        return "" if value is None else str(value)

    return _TAG.sub(value_of, text)


def may_receive(profile: Profile) -> bool:
    return profile.email is not None and (profile.consent is None or profile.consent.can_receive_email())


def send_email(account: Account, profile: Profile, sending: Sending, cause: Cause) -> Message | None:
    """Send, log and let the audience react; None when the person may not be mailed."""
    facts: JsonObject = {
        "message": sending.message_id,
        "flow": sending.flow_id,
        "campaign": sending.campaign_id,
    }
    if not may_receive(profile):
        account.effect("message.skipped", cause, profile_id=profile.id, values=facts)
        return None
    message = Message(
        id=account.world.ids.uuid(),
        time=account.now(),
        channel=sending.channel,
        profile_id=profile.id,
        recipient=profile.email or "",
        subject=render(sending.subject, profile),
        body=render(sending.body, profile),
        message_id=sending.message_id,
        flow_id=sending.flow_id,
        campaign_id=sending.campaign_id,
    )
    account.messages.append(message)
    account.effect("message.sent", cause, profile_id=profile.id, values=facts | {"recipient": message.recipient})
    _react(account, profile, sending, message, cause)
    return message


def _react(account: Account, profile: Profile, sending: Sending, message: Message, cause: Cause) -> None:
    """Bounce, or receive and perhaps open, click, unsubscribe, complain: drawn from seed.

    Message and person.
    """
    switches = account.world.switches
    chance = random.Random(f"{account.world.seed}:{sending.message_id}:{profile.id}:{len(account.messages)}")  # noqa: S311
    properties = sending.properties()
    if chance.random() < switches.audience_bounces:
        record(account, profile, "Bounced Email", properties | {"Bounce Type": "Hard"}, cause)
        suppress(account, profile, cause, reason="HARD_BOUNCE")
        return
    received = record(account, profile, "Received Email", properties, cause)
    if received is None:
        return
    message.event_id = received.id
    credit = Attribution(received.id, sending.campaign_id, sending.flow_id, sending.message_id)
    opened = chance.random() < switches.audience_opens
    delay = chance.random() ** 2 * switches.audience_hours * 3600
    if not opened:
        return
    _later(account, profile.id, delay, "Opened Email", properties, credit, cause)
    if chance.random() < switches.audience_clicks / max(switches.audience_opens, 1e-9):
        clicked = properties | {"URL": "https://shop.example.com/"}
        _later(account, profile.id, delay + 20 + 300 * chance.random(), "Clicked Email", clicked, credit, cause)
    if chance.random() < switches.audience_unsubscribes / max(switches.audience_opens, 1e-9):
        _later(account, profile.id, delay + 60, "Unsubscribed", properties, credit, cause)
    if chance.random() < switches.audience_complaints / max(switches.audience_opens, 1e-9):
        _later(account, profile.id, delay + 90, "Marked Email as Spam", properties, credit, cause)


def _later(
    account: Account,
    profile_id: str,
    delay: float,
    name: str,
    properties: JsonObject,
    credit: Attribution,
    cause: Cause,
) -> None:
    def work() -> None:
        profile = account.profiles.get(profile_id)
        if profile is None:
            return
        if name == "Unsubscribed":
            withdraw(account, profile, EMAIL, cause, properties=properties, credit=credit)
            return
        record(account, profile, name, properties, cause, attribution=credit)
        if name in ("Opened Email", "Clicked Email"):
            credits_of(account)[profile.id] = (account.now(), credit)
        if name == "Marked Email as Spam":
            suppress(account, profile, cause, reason="SPAM_COMPLAINT")

    account.world.scheduler.after(delay, work, kind=AUDIENCE)
