"""Campaigns of the classic model: drafting, sending, cancelling, counting recipients."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

from klaviyo_simulator.account import Account
from klaviyo_simulator.errors import JsonObject
from klaviyo_simulator.log import Cause
from klaviyo_simulator.messaging import Sending, may_receive, send_email
from klaviyo_simulator.profiles import Profile
from klaviyo_simulator.reading import within
from klaviyo_simulator.segmenting import refresh
from klaviyo_simulator.templating import templates_of
from klaviyo_simulator.times import parse_instant

DRAFT, SCHEDULED, SENDING, SENT, CANCELLED = "Draft", "Scheduled", "Sending", "Sent", "Cancelled"
NO_RECIPIENTS = "Cancelled: No Recipients"
CHUNK = 100


@dataclass(slots=True, kw_only=True)
class CampaignMessage:
    id: str
    campaign_id: str
    definition: JsonObject
    created: float
    updated: float
    template_id: str | None = None

    @property
    def channel(self) -> str:
        return str(self.definition.get("channel", "email"))

    @property
    def subject(self) -> str | None:
        return within(self.definition, "content", "subject")


@dataclass(slots=True, kw_only=True)
class Campaign:
    """`generation` counts up with every cancel, so that a send begun before it stops."""

    id: str
    name: str
    audiences: JsonObject
    send_strategy: JsonObject
    send_options: JsonObject
    tracking_options: JsonObject
    created: float
    updated: float
    messages: list[CampaignMessage] = field(default_factory=list[CampaignMessage])
    status: str = DRAFT
    archived: bool = False
    scheduled_at: float | None = None
    send_time: float | None = None
    job_status: str | None = None
    estimate: int | None = None
    estimate_status: str | None = None
    generation: int = 0
    tag_ids: list[str] = field(default_factory=list[str])


def campaigns_of(account: Account) -> dict[str, Campaign]:
    return account.areas.setdefault("campaigns", {})


def find_message(account: Account, message_id: str) -> CampaignMessage | None:
    for campaign in campaigns_of(account).values():
        for message in campaign.messages:
            if message.id == message_id:
                return message
    return None


def recipients(account: Account, campaign: Campaign) -> list[Profile]:
    """Members of the included audiences who are in no excluded one and may be mailed."""
    excluded = {profile_id for group_id in _groups(campaign, "excluded") for profile_id in _members(account, group_id)}
    chosen: dict[str, Profile] = {}
    for group_id in _groups(campaign, "included"):
        for profile_id in _members(account, group_id):
            profile = account.profiles.by_id.get(profile_id)
            if profile is not None and profile_id not in excluded and may_receive(profile):
                chosen[profile_id] = profile
    return list(chosen.values())


def _groups(campaign: Campaign, name: str) -> list[Any]:
    return campaign.audiences.get(name) or []


def _members(account: Account, group_id: str) -> list[str]:
    segment = account.segments.get(group_id)
    if segment is not None:
        refresh(account, segment)
        return list(segment.members)
    mailing_list = account.lists.get(group_id)
    return list(mailing_list.members) if mailing_list else []


def problem_with(account: Account, campaign: Campaign) -> str | None:
    """Why the campaign cannot be sent; None when it can."""
    if campaign.status != DRAFT:
        return f"The campaign cannot be sent because its status is '{campaign.status}'."
    for message in campaign.messages:
        if message.channel == "email" and message.template_id not in templates_of(account):
            return f"The campaign message {message.id} has no template."
        if message.channel == "email" and not message.subject:
            return f"The campaign message {message.id} has no subject."
    return None


def begin(account: Account, campaign: Campaign, cause: Cause) -> None:
    """Take the send job on: it schedules the campaign, or starts it at once."""
    campaign.job_status = "queued"
    campaign.scheduled_at = account.now()
    campaign.status = "Preparing to schedule" if _planned(campaign) else "Preparing to send"
    generation = campaign.generation

    def work() -> None:
        if campaign.generation == generation:
            campaign.job_status = "complete"
            _schedule(account, campaign, generation, cause)

    account.world.scheduler.after(account.world.switches.delay_send, work)


def _planned(campaign: Campaign) -> float | None:
    """The instant of a static or throttled send; local and smart times are taken as this instant in UTC."""
    text = campaign.send_strategy.get("datetime") or campaign.send_strategy.get("date")
    return parse_instant(text) if text else None


def _schedule(account: Account, campaign: Campaign, generation: int, cause: Cause) -> None:
    planned = _planned(campaign)
    campaign.status = SCHEDULED if planned else SENDING
    campaign.send_time = planned or account.now()
    account.effect("campaign.scheduled", cause, values={"campaign": campaign.id})

    def work() -> Generator[None] | None:
        return _send(account, campaign, generation, cause) if campaign.generation == generation else None

    account.world.scheduler.at(max(account.now(), campaign.send_time), work, kind="apply")


def _send(account: Account, campaign: Campaign, generation: int, cause: Cause) -> Generator[None]:
    campaign.status = SENDING
    people = recipients(account, campaign)
    for number, profile in enumerate(people):
        if campaign.generation != generation:
            return
        message = campaign.messages[number % len(campaign.messages)]
        if message.channel == "email":
            send_email(account, profile, _sending(account, campaign, message), cause)
        if number % CHUNK == CHUNK - 1:
            yield
    campaign.status = SENT if people else NO_RECIPIENTS
    campaign.updated = account.now()
    facts = {"campaign": campaign.id, "recipients": len(people), "status": campaign.status}
    account.effect("campaign.sent", cause, values=facts)


def _sending(account: Account, campaign: Campaign, message: CampaignMessage) -> Sending:
    template = templates_of(account).get(message.template_id or "")
    return Sending(
        channel="email",
        subject=message.subject or "",
        body=template.html if template else "",
        message_id=message.id,
        name=str(message.definition.get("label") or campaign.name),
        campaign_id=campaign.id,
        campaign_name=campaign.name,
    )


def cancel(account: Account, campaign: Campaign, cause: Cause, *, revert: bool) -> None:
    """Stop a send; `revert` brings the campaign back to a draft."""
    campaign.generation += 1
    campaign.status = DRAFT if revert else CANCELLED
    campaign.job_status = "cancelled"
    if revert:
        campaign.scheduled_at = campaign.send_time = None
    campaign.updated = account.now()
    account.effect("campaign.cancelled", cause, values={"campaign": campaign.id, "reverted": revert})
