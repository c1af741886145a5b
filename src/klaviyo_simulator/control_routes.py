"""What each control route does. Each takes a `Command` and returns what is answered as JSON."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

from klaviyo_simulator.account import ALL_SCOPES, Account, Credential, Message
from klaviyo_simulator.consent import EMAIL, subscriptions_document
from klaviyo_simulator.consenting import confirm_pending, suppress, unsuppress, withdraw
from klaviyo_simulator.errors import ControlError, JsonObject
from klaviyo_simulator.faults import KINDS
from klaviyo_simulator.flows import Flow, FlowMessage, add_flow, flows_of
from klaviyo_simulator.log import Cause
from klaviyo_simulator.membership import join, leave
from klaviyo_simulator.people import change, create
from klaviyo_simulator.profiles import Profile
from klaviyo_simulator.resources.shapes import event_attributes, profile_attributes
from klaviyo_simulator.scheduler import APPLY, AUDIENCE, DELIVERY
from klaviyo_simulator.seeding import Plan, seed
from klaviyo_simulator.simulator import Simulator
from klaviyo_simulator.times import iso, iso_micro, parse_instant
from klaviyo_simulator.tracking import record, store
from klaviyo_simulator.webhooks import Webhook, build, deliveries_of, entry, webhooks_of


@dataclass(frozen=True, slots=True)
class Command:
    """A control request: path parameters, query and body."""

    simulator: Simulator
    params: Mapping[str, str]
    query: Mapping[str, str]
    body: Mapping[str, Any]

    @property
    def account(self) -> Account:
        return self.simulator.account(self.body.get("account") or self.query.get("account"))

    def number(self, name: str, default: int) -> int:
        value = self.query.get(name, str(default))
        if not value.isdecimal():
            raise ControlError(f"'{name}' must be a whole number.")
        return int(value)

    def names(self, name: str) -> frozenset[str]:
        return frozenset(part for part in self.query.get(name, "").split(",") if part)

    def needed(self, name: str) -> Any:
        if name not in self.body:
            raise ControlError(f"'{name}' is missing.")
        return self.body[name]


class Route(NamedTuple):
    method: str
    path: str
    act: Callable[[Command], Any]


def show_state(command: Command) -> JsonObject:
    simulator = command.simulator
    return {
        "now": iso_micro(simulator.world.now()),
        "speed": simulator.world.clock.speed,
        "pending": {kind: simulator.world.scheduler.pending(kind) for kind in (APPLY, AUDIENCE, DELIVERY)},
        "accounts": [_account_state(account) for account in simulator.accounts.values()],
    }


def _account_state(account: Account) -> JsonObject:
    return {
        "id": account.id,
        "name": account.name,
        "keys": [_masked(secret) for secret in account.credentials],
        "profiles": len(account.profiles),
        "events": len(account.events),
        "metrics": len(account.metrics.by_id),
        "lists": {item.id: item.name for item in account.lists.values()},
        "segments": len(account.segments),
        "messages": len(account.messages),
        "webhooks": len(webhooks_of(account)),
        "flows": {flow.id: flow.name for flow in flows_of(account).values()},
    }


def _masked(secret: str) -> str:
    return f"{secret[:6]}...{secret[-4:]}"


def reset(command: Command) -> JsonObject:
    command.simulator.reset()
    return {"reset": True}


def seed_account(command: Command) -> JsonObject:
    """Add generated people, lists and events; see `seeding.Plan`."""
    return seed(command.account, Plan.of(dict(command.body)))


def show_clock(command: Command) -> JsonObject:
    world = command.simulator.world
    return {"now": iso_micro(world.now()), "speed": world.clock.speed}


def move_clock(command: Command) -> JsonObject:
    """`advance` seconds, `set` to an instant, `speed` (0 stands still, 1 real, more is faster)."""
    unknown = set(command.body) - {"advance", "set", "speed"}
    if unknown or not command.body:
        raise ControlError("The clock takes advance (seconds), set (ISO 8601) or speed.")
    clock = command.simulator.world.clock
    if "speed" in command.body:
        clock.run(speed=float(command.body["speed"]))
    if "set" in command.body:
        command.simulator.advance(_instant(command.body["set"]) - clock.now())
    if "advance" in command.body:
        command.simulator.advance(float(command.body["advance"]))
    return show_clock(command)


def _instant(text: str) -> float:
    try:
        return parse_instant(text)
    except ValueError:
        raise ControlError(f"'{text}' is not an ISO 8601 instant.") from None


def settle(command: Command) -> JsonObject:
    """Apply all accepted work now; with `audience` also opens and clicks that are still to come."""
    kinds = (APPLY, AUDIENCE) if command.body.get("audience") else (APPLY,)
    return {"done": command.simulator.world.scheduler.settle(kinds=kinds)}


def show_switches(command: Command) -> JsonObject:
    return command.simulator.world.switches.as_dict()


def change_switches(command: Command) -> JsonObject:
    world = command.simulator.world
    world.switches.change(dict(command.body))
    for account in command.simulator.accounts.values():
        account.obey_switches()
    return world.switches.as_dict()


def show_faults(command: Command) -> JsonObject:
    return {"faults": command.simulator.world.faults.documents()}


def fault_kinds(command: Command) -> JsonObject:
    return dict(KINDS)


def add_fault(command: Command) -> JsonObject:
    rule = command.simulator.world.faults.add(dict(command.body))
    return {"id": rule.id}


def remove_fault(command: Command) -> JsonObject:
    return {"removed": command.simulator.world.faults.remove(int(command.params["id"]))}


def clear_faults(command: Command) -> JsonObject:
    command.simulator.world.faults.clear()
    return {"cleared": True}


def show_requests(command: Command) -> JsonObject:
    status = command.query.get("status")
    found = command.simulator.world.log.find_requests(
        operations=command.names("operation"),
        status=int(status) if status else None,
        account_id=command.query.get("account"),
        since=command.number("since", 0),
        limit=command.number("limit", 1000),
    )
    full = command.query.get("full", "1") != "0"
    return {"requests": [item.document(full=full) for item in found]}


def show_effects(command: Command) -> JsonObject:
    effects = command.simulator.world.log.find_effects(
        kinds=command.names("kind"),
        profile_id=command.query.get("profile"),
        account_id=command.query.get("account"),
        since=command.number("since", 0),
        limit=command.number("limit", 1000),
    )
    return {"effects": effects, "last": len(command.simulator.world.log.effects)}


def show_counts(command: Command) -> JsonObject:
    return command.simulator.world.log.counts()


def clear_log(command: Command) -> JsonObject:
    command.simulator.world.log.clear()
    return {"cleared": True}


def show_limits(command: Command) -> JsonObject:
    return {"windows": command.simulator.world.limiter.snapshot()}


def clear_limits(command: Command) -> JsonObject:
    command.simulator.world.limiter.clear()
    return {"cleared": True}


_ACCOUNT_ID = re.compile(r"[A-Za-z0-9]{6}")


def open_account(command: Command) -> JsonObject:
    account_id = str(command.needed("id"))
    if _ACCOUNT_ID.fullmatch(account_id) is None:
        raise ControlError("An account id has 6 letters or digits.")
    key = str(command.needed("key"))
    command.simulator.open_account(
        account_id,
        name=str(command.body.get("name", account_id)),
        key=key,
        timezone=str(command.body.get("timezone", "UTC")),
    )
    return {"id": account_id}


def show_accounts(command: Command) -> JsonObject:
    return {"accounts": [_account_state(account) for account in command.simulator.accounts.values()]}


def add_key(command: Command) -> JsonObject:
    """A private key with `scopes`, or with `app` an OAuth access token of that app."""
    account = command.simulator.account(command.params["id"])
    scopes = frozenset(map(str, command.body.get("scopes", [ALL_SCOPES])))
    app = command.body.get("app")
    command.simulator.add_credential(account, Credential(str(command.needed("key")), scopes, app))
    return {"account": account.id, "scopes": sorted(scopes)}


def revoke_key(command: Command) -> JsonObject:
    account, _ = command.simulator.directory.pop(str(command.needed("key")))
    del account.credentials[str(command.body["key"])]
    return {"revoked": True}


def show_messages(command: Command) -> JsonObject:
    wanted = command.query
    found = [
        item
        for item in command.account.messages
        if wanted.get("profile") in (None, item.profile_id)
        and wanted.get("recipient") in (None, item.recipient)
        and wanted.get("flow") in (None, item.flow_id)
        and wanted.get("campaign") in (None, item.campaign_id)
    ]
    return {"messages": [message_document(item) for item in found[-command.number("limit", 1000) :]]}


def message_document(item: Message) -> JsonObject:
    return {
        "id": item.id,
        "time": iso_micro(item.time),
        "channel": item.channel,
        "profile": item.profile_id,
        "recipient": item.recipient,
        "subject": item.subject,
        "body": item.body,
        "message": item.message_id,
        "flow": item.flow_id,
        "campaign": item.campaign_id,
        "event": item.event_id,
    }


def the_person(command: Command) -> Profile:
    """By id, email, phone number or external id in the body or the query."""
    store_ = command.account.profiles
    given = {**command.query, **command.body}
    found = store_.get(str(given["profile"])) if "profile" in given else None
    for name in ("email", "phone_number", "external_id"):
        if found is None and given.get(name):
            found = store_.find(name, str(given[name]))
    if found is None:
        raise ControlError("There is no such profile; name it by profile, email, phone_number or external_id.")
    return found


def show_profile(command: Command) -> JsonObject:
    profile, account = the_person(command), command.account
    return {
        "id": profile.id,
        "attributes": profile_attributes(profile, fresh=True),
        "subscriptions": subscriptions_document(
            profile.consent, has_email=profile.email is not None, has_phone=profile.phone is not None
        ),
        "pending_confirmations": len(profile.consent.pending) if profile.consent else 0,
        "lists": {item.id: iso(item.members.since(profile.id)) for item in account.lists_of(profile)},
        "events": [
            {"id": event.id, "metric": account.metrics.by_id[event.metric_id].name} | event_attributes(event)
            for event in account.timeline(profile)[:100]
        ],
    }


def confirm_person(command: Command) -> JsonObject:
    """The person clicks the double opt-in link."""
    return {"confirmed": confirm_pending(command.account, the_person(command), Cause())}


def act_person(command: Command) -> JsonObject:
    """Something that happens to a person without the API: see `_ACTIONS`."""
    action = command.params["action"]
    if action not in _ACTIONS:
        raise ControlError(f"There is no action '{action}'. Actions: {', '.join(sorted(_ACTIONS))}")
    profile = the_person(command)
    _ACTIONS[action](command, profile)
    return {"profile": profile.id, "action": action}


def _unsubscribe(command: Command, profile: Profile) -> None:
    withdraw(command.account, profile, str(command.body.get("channel", EMAIL)), Cause())


def _suppress(command: Command, profile: Profile) -> None:
    suppress(command.account, profile, Cause(), reason=str(command.body.get("reason", "USER_SUPPRESSED")))


def _unsuppress(command: Command, profile: Profile) -> None:
    unsuppress(command.account, profile, Cause())


def _bounce(command: Command, profile: Profile) -> None:
    record(command.account, profile, "Bounced Email", {"Bounce Type": "Hard"}, Cause())
    suppress(command.account, profile, Cause(), reason="HARD_BOUNCE")


def _complain(command: Command, profile: Profile) -> None:
    record(command.account, profile, "Marked Email as Spam", {}, Cause())
    suppress(command.account, profile, Cause(), reason="SPAM_COMPLAINT")


def _edit(command: Command, profile: Profile) -> None:
    change(command.account, profile, dict(command.needed("attributes")), Cause())


def _join(command: Command, profile: Profile) -> None:
    join(command.account, command.account.lists[str(command.needed("list"))], profile, Cause(), with_event=True)


def _leave(command: Command, profile: Profile) -> None:
    leave(command.account, command.account.lists[str(command.needed("list"))], profile, Cause(), with_event=True)


def _track(command: Command, profile: Profile) -> None:
    account = command.account
    at = command.body.get("time")
    store(
        account,
        profile,
        account.metric(str(command.needed("metric")), service=str(command.body.get("service", "api"))),
        timestamp=int(account.now() if at is None else _instant(at)),
        properties=dict(command.body.get("properties", {})),
        value=command.body.get("value"),
        unique_id=command.body.get("unique_id"),
        cause=Cause(),
    )


_ACTIONS: dict[str, Callable[[Command, Profile], None]] = {
    "unsubscribe": _unsubscribe,
    "suppress": _suppress,
    "unsuppress": _unsuppress,
    "bounce": _bounce,
    "complain": _complain,
    "edit": _edit,
    "join": _join,
    "leave": _leave,
    "track": _track,
}


def create_person(command: Command) -> JsonObject:
    """A profile made in Klaviyo itself."""
    return {"id": create(command.account, dict(command.needed("attributes")), Cause()).id}


def new_flow(command: Command) -> JsonObject:
    """A flow with one email, triggered by `list` or `metric`; `webhook_url` adds a flow webhook."""
    account, ids = command.account, command.simulator.world.ids
    name, now = str(command.needed("name")), account.now()
    message = FlowMessage(
        id=ids.short(),
        action_id=str(10_000_000 + len(flows_of(account))),
        name=name,
        subject=str(command.body.get("subject", name)),
        body=str(command.body.get("body", "<p>Hello {{ first_name }}</p>")),
        delay=float(command.body.get("delay", 0.0)),
    )
    flow = Flow(
        id=ids.short(),
        name=name,
        created=now,
        updated=now,
        trigger_type="Added to List" if command.body.get("list") else "Metric",
        messages=[message],
        list_id=command.body.get("list"),
        metric_name=command.body.get("metric"),
        on_profile_created=bool(command.body.get("on_profile_created", False)),
        once=bool(command.body.get("once", True)),
        webhook_url=command.body.get("webhook_url"),
    )
    return {"id": add_flow(account, flow).id, "message": message.id}


def show_deliveries(command: Command) -> JsonObject:
    since = command.number("since", 0)
    return {"deliveries": [item.document() for item in deliveries_of(command.account) if item.id > since]}


def fire_webhook(command: Command) -> JsonObject:
    """Send a delivery now, of `events` (ids) or `data` (raw entries).

    `times` repeats it; `secret` signs with another; `age` makes it old; `tamper` changes the signed body.
    """
    account = command.account
    webhook = _the_webhook(command)
    delivery = build(
        account,
        webhook,
        _batch(command, webhook),
        secret=command.body.get("secret"),
        age=float(command.body.get("age", 0.0)),
    )
    if command.body.get("tamper"):
        delivery.body = delivery.body.replace(b'"data"', b'"data" ', 1)
    delivery.headers |= {str(name): str(value) for name, value in command.body.get("headers", {}).items()}
    for _ in range(int(command.body.get("times", 1))):
        command.simulator.courier.post(account, delivery)
    return {"delivery": delivery.id, "events": delivery.events}


def _the_webhook(command: Command) -> Webhook:
    hooks = webhooks_of(command.account)
    wanted = command.body.get("webhook")
    if wanted:
        return hooks[str(wanted)]
    if not hooks:
        raise ControlError("This account has no webhook.")
    return next(iter(hooks.values()))


def _batch(command: Command, webhook: Webhook) -> list[JsonObject]:
    account = command.account
    if "data" in command.body:
        return list(command.body["data"])
    newest = [key[-1] for key in islice(account.events.ordered().walk_back(), 1)]
    ids = command.body.get("events") or newest
    events = [account.events.by_id[str(event_id)] for event_id in ids]
    topic = command.body.get("topic")
    return [entry(account, event, topic or account.metrics.by_id[event.metric_id].topic) for event in events]


ROUTES = [
    Route("GET", "", show_state),
    Route("POST", "reset", reset),
    Route("POST", "seed", seed_account),
    Route("GET", "clock", show_clock),
    Route("POST", "clock", move_clock),
    Route("POST", "settle", settle),
    Route("GET", "switches", show_switches),
    Route("POST", "switches", change_switches),
    Route("GET", "faults", show_faults),
    Route("POST", "faults", add_fault),
    Route("DELETE", "faults", clear_faults),
    Route("GET", "faults/kinds", fault_kinds),
    Route("DELETE", "faults/{id}", remove_fault),
    Route("GET", "log/requests", show_requests),
    Route("GET", "log/effects", show_effects),
    Route("GET", "log/counts", show_counts),
    Route("DELETE", "log", clear_log),
    Route("GET", "limits", show_limits),
    Route("DELETE", "limits", clear_limits),
    Route("GET", "accounts", show_accounts),
    Route("POST", "accounts", open_account),
    Route("POST", "accounts/{id}/keys", add_key),
    Route("POST", "keys/revoke", revoke_key),
    Route("GET", "messages", show_messages),
    Route("GET", "person", show_profile),
    Route("POST", "person", create_person),
    Route("POST", "person/confirm", confirm_person),
    Route("POST", "person/{action}", act_person),
    Route("POST", "flows", new_flow),
    Route("GET", "webhooks/deliveries", show_deliveries),
    Route("POST", "webhooks/fire", fire_webhook),
]
