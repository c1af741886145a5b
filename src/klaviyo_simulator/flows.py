"""Simple flows: a trigger and messages.

Joining, tracking and creating announce; this module listens and sends.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from klaviyo_simulator.account import Account, MailingList
from klaviyo_simulator.events import Event
from klaviyo_simulator.log import Cause
from klaviyo_simulator.messaging import Sending, send_email
from klaviyo_simulator.profiles import Profile

LIVE = "live"


@dataclass(slots=True, kw_only=True)
class FlowMessage:
    """One email of a flow, `delay` seconds after the trigger."""

    id: str
    action_id: str
    name: str
    subject: str
    body: str
    delay: float = 0.0


@dataclass(slots=True, kw_only=True)
class Flow:
    """Triggered by a list, by a metric's name, or (a simulator's own trigger) by a profile's creation."""

    id: str
    name: str
    created: float
    updated: float
    trigger_type: str
    messages: list[FlowMessage]
    status: str = LIVE
    archived: bool = False
    list_id: str | None = None
    metric_name: str | None = None
    on_profile_created: bool = False
    once: bool = True
    entered: set[str] = field(default_factory=set[str])
    tag_ids: list[str] = field(default_factory=list[str])
    webhook_url: str | None = None


def flows_of(account: Account) -> dict[str, Flow]:
    """The flows of an account, by id."""
    return account.areas.setdefault("flows", {})


def add_flow(account: Account, flow: Flow) -> Flow:
    flows_of(account)[flow.id] = flow
    return flow


def welcome_flow(account: Account, list_id: str) -> Flow:
    """One email, to everyone who is created singly or joins the list; each person once."""
    return _flow(
        account,
        "Welcome Series",
        "Added to List",
        "Welcome!",
        "<p>Welcome, {{ first_name }}!</p>",
        list_id=list_id,
        on_profile_created=True,
    )


def post_purchase_flow(account: Account) -> Flow:
    """One email for every Placed Order that is not a backfill."""
    return _flow(
        account,
        "Post-Purchase",
        "Metric",
        "Thank you for your order",
        "<p>Thank you, {{ first_name }}!</p>",
        metric_name="Placed Order",
        once=False,
    )


def _flow(
    account: Account,
    name: str,
    trigger_type: str,
    subject: str,
    body: str,
    *,
    list_id: str | None = None,
    metric_name: str | None = None,
    on_profile_created: bool = False,
    once: bool = True,
) -> Flow:
    ids, now = account.world.ids, account.now()
    message = FlowMessage(
        id=ids.short(),
        action_id=str(10_000_000 + len(flows_of(account))),
        name=f"{name} 1",
        subject=subject,
        body=body,
    )
    flow = Flow(
        id=ids.short(),
        name=name,
        created=now,
        updated=now,
        trigger_type=trigger_type,
        messages=[message],
        list_id=list_id,
        metric_name=metric_name,
        on_profile_created=on_profile_created,
        once=once,
    )
    return add_flow(account, flow)


def watch(account: Account) -> None:
    """Let the flows of this account hear what happens in it."""
    account.listen("profile_created", lambda *values: _profile_created(account, *values))
    account.listen("list_joined", lambda *values: _list_joined(account, *values))
    account.listen("event_stored", lambda *values: _event_stored(account, *values))


def _profile_created(account: Account, profile: Profile, bulk: bool, cause: Cause) -> None:  # noqa: FBT001 (announced by position)
    switches = account.world.switches
    if not (switches.bulk_creation_triggers_flows if bulk else switches.profile_creation_triggers_flows):
        return
    for flow in flows_of(account).values():
        if flow.on_profile_created:
            enter(account, flow, profile, cause)


def _list_joined(account: Account, mailing_list: MailingList, profile: Profile, cause: Cause) -> None:
    for flow in flows_of(account).values():
        if flow.list_id == mailing_list.id:
            enter(account, flow, profile, cause)


def _event_stored(account: Account, event: Event, backfill: bool, cause: Cause) -> None:  # noqa: FBT001
    if backfill:
        return
    name = account.metrics.by_id[event.metric_id].name
    for flow in flows_of(account).values():
        profile = account.profiles.get(event.profile_id)
        if flow.metric_name == name and profile is not None:
            enter(account, flow, profile, cause)


def enter(account: Account, flow: Flow, profile: Profile, cause: Cause) -> None:
    """Start the flow for one person, unless it is not live or they have been through it."""
    if flow.status != LIVE or (flow.once and profile.id in flow.entered):
        return
    flow.entered.add(profile.id)
    account.effect("flow.entered", cause, profile_id=profile.id, values={"flow": flow.id, "name": flow.name})
    account.announce("flow_entered", flow.id, flow.webhook_url, profile)
    for message in flow.messages:
        _schedule(account, flow, message, profile, cause)


def _schedule(account: Account, flow: Flow, message: FlowMessage, profile: Profile, cause: Cause) -> None:
    sending = Sending(
        channel="email",
        subject=message.subject,
        body=message.body,
        message_id=message.id,
        name=message.name,
        flow_id=flow.id,
        flow_name=flow.name,
    )
    profile_id = profile.id

    def work() -> None:
        person = account.profiles.get(profile_id)
        if person is not None:
            send_email(account, person, sending, cause)

    account.world.scheduler.after(account.world.switches.delay_event + message.delay, work)
