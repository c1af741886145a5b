"""The everyday flow as a story: each step is done on real HTTP, and proved by reading back both sides."""

from __future__ import annotations

import secrets
import shutil
import time
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rich.console import Console

from klaviyo_bridge.cli.demo import shop
from klaviyo_bridge.cli.demo.processes import Client, NotInTime, asked, free_port, program, until

PRIVATE_KEY = "pk_simulator_0000000000000000000000000"  # the simulator's own, no secret
REVISION = "2026-07-15"
FOLDER = Path(".demo")
ORDERS_A_CALL = 500

console = Console(highlight=False)


@dataclass(frozen=True, slots=True)
class Stage:
    """Both programs and the shop, up and connected."""

    klaviyo: Client
    control: Client
    bridge: Client
    shop: Path
    environment: Mapping[str, str]


def tell(*, customers: int, orders: int, keep: bool) -> bool:
    """Play the whole story; True when every step came true. Leaves nothing behind unless `keep`."""
    started = time.monotonic()
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    try:
        wrong = shop.create(FOLDER / "shop.db", customers=customers, orders=orders)
        _say(0, f"A shop with {customers:,} customers and {orders:,} past orders opens (SQLite file).")
        with _stage() as stage:
            _play(stage, customers=customers - wrong, wrong=wrong, orders=orders)
    except NotInTime as error:
        console.print(f"\n[red]The demo stopped:[/] {error}\nThe logs are in {FOLDER}/.")
        return False
    if not keep:
        shutil.rmtree(FOLDER)
    console.print(f"\n[green]Everything above was read back from both sides.[/] {time.monotonic() - started:.0f} s.")
    return True


@contextmanager
def _stage() -> Generator[Stage]:
    folder = FOLDER.resolve()
    simulator_port, bridge_port = free_port(), free_port()
    secret, api_key = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
    (folder / "bridge.toml").write_text(shop.MAPPING.format(path=folder / "shop.db"), "utf-8")
    simulator_url, bridge_url = f"http://127.0.0.1:{simulator_port}", f"http://127.0.0.1:{bridge_port}"
    environment = {
        "BRIDGE_CONFIG": str(folder / "bridge.toml"),
        "BRIDGE_ENVIRONMENT": "development",
        "BRIDGE_KLAVIYO_HOST": simulator_url,
        "BRIDGE_DATABASE_URL": f"sqlite:///{folder / 'bridge.db'}",
        "BRIDGE_API_KEYS": api_key,
        "BRIDGE_PULL_EVERY": "1",
        "BRIDGE_PUSH_EVERY": "1",
        "KLAVIYO_PRIVATE_KEY": PRIVATE_KEY,
        "KLAVIYO_PUBLIC_KEY": "SIM001",
        "KLAVIYO_WEBHOOK_SIGNING_SECRET": secret,
    }
    serve = ["serve", "--port", str(simulator_port), "--kdp"]
    up = ["up", "--port", str(bridge_port)]
    headers = {"Authorization": f"Klaviyo-API-Key {PRIVATE_KEY}", "revision": REVISION}
    klaviyo, control = Client(simulator_url, headers), Client(simulator_url)
    bridge = Client(bridge_url, {"Authorization": f"Bearer {api_key}"})
    with ExitStack() as stack:
        log = folder / "simulator.log"
        stack.enter_context(program("klaviyo_simulator", serve, log=log, environment={}))
        until("the simulator answers", lambda: control.answers("/_simulator/"))
        _subscribe(klaviyo, f"{bridge_url}/webhooks/klaviyo", secret)
        _say(1, f"A Klaviyo simulator listens on {simulator_url}; its webhook knows us.")
        stack.enter_context(program("klaviyo_bridge", up, log=folder / "bridge.log", environment=environment))
        until("the bridge is ready", lambda: bridge.answers("/health/ready"))
        _say(2, f"klaviyo-bridge up listens on {bridge_url}; SQLite, one process.")
        yield Stage(klaviyo, control, bridge, folder / "shop.db", environment)


def _subscribe(klaviyo: Client, endpoint: str, secret: str) -> None:
    attributes = {"name": "bridge", "endpoint_url": endpoint, "secret_key": secret}
    topics = ["event:klaviyo.unsubscribed_from_email_marketing", "event:klaviyo.subscribed_to_email_marketing"]
    relationships = {"webhook-topics": {"data": [{"type": "webhook-topic", "id": topic} for topic in topics]}}
    data = {"type": "webhook", "attributes": attributes, "relationships": relationships}
    klaviyo.call("POST", "/api/webhooks", {"data": data})


def _play(stage: Stage, *, customers: int, wrong: int, orders: int) -> None:
    _existing_customers(stage, customers, wrong)
    _sign_up(stage)
    _purchase(stage)
    _past_orders(stage, orders)
    _changed_at_klaviyo(stage)
    _unsubscribed(stage)
    _nothing_twice(stage)


def _existing_customers(stage: Stage, customers: int, wrong: int) -> None:
    def arrived() -> bool:
        return _count(stage, "profile.created") >= customers and _idle(stage)

    until(f"{customers} customers are at Klaviyo", arrived)
    requests = _requests(stage, "bulk_import_profiles")
    _say(3, f"{customers:,} customers are at Klaviyo, in {requests} bulk import(s).")
    refused = asked("klaviyo_bridge", ["refusals", "--json"], folder=FOLDER, environment=stage.environment)
    _proof("refused, with the reason (klaviyo-bridge refusals)", f"{len(refused)} of {wrong} rows that are wrong")
    if len(refused) != wrong:
        raise NotInTime(f"{wrong} rows are wrong, and {len(refused)} were refused")
    sample = _profile(stage, "external_id", "13")
    _proof("customer 13 at Klaviyo", f"{sample['first_name']} {sample['last_name']} <{sample['email']}>")


def _sign_up(stage: Stage) -> None:
    email = "grace.o'hopper+tea@example.com"
    number = shop.sign_up(stage.shop, email=email, first_name="Grace", last_name="O'Hopper")
    profile = {"external_id": str(number), "email": email, "first_name": "Grace", "last_name": "O'Hopper"}
    stage.bridge.call("POST", "/v1/profiles", {**profile, "properties": {"plan": "free"}})
    messages = until("the welcome message is sent", lambda: _messages(stage, email, "Welcome"))
    _say(4, "Grace signs up: POST /v1/profiles, answered 202.")
    _proof("her profile at Klaviyo", _profile(stage, "email", email)["id"])
    _proof("welcome flow sent", messages[0]["subject"])


def _purchase(stage: Stage) -> None:
    email = "grace.o'hopper+tea@example.com"
    event = {
        "metric": "Placed Order",
        "profile": {"email": email},
        "unique_id": "order-grace-1",
        "value": "59.90",
        "value_currency": "EUR",
        "properties": {"OrderId": "grace-1", "ItemNames": ["Earl Grey", "Teapot “Ōkura”"]},
    }
    for _ in range(2):  # a client that lost our answer sends it again
        stage.bridge.call("POST", "/v1/events", event)
    messages = until("the post-purchase message is sent", lambda: _messages(stage, email, "Thank you"))
    stored = [e for e in _effects(stage, "event.stored") if e["values"].get("unique_id") == "order-grace-1"]
    _say(5, "Grace buys for 59.90 EUR: POST /v1/events, sent twice by a nervous client.")
    _proof("Placed Order stored at Klaviyo", f"{len(stored)} time")
    _proof("post-purchase flow sent", messages[0]["subject"])
    if len(stored) != 1:
        raise NotInTime(f"the order was stored {len(stored)} times")


def _past_orders(stage: Stage, orders: int) -> None:
    events = shop.order_events(stage.shop)
    for start in range(0, len(events), ORDERS_A_CALL):
        stage.bridge.call("POST", "/v1/events", events[start : start + ORDERS_A_CALL])
    until(f"{orders} past orders are at Klaviyo", lambda: _count(stage, "event.stored") >= orders + 1 and _idle(stage))
    requests = _requests(stage, "bulk_create_events")
    _say(6, f"{orders:,} past orders are at Klaviyo as Placed Order, without firing a flow.")
    _proof("bulk requests they took", str(requests))


def _changed_at_klaviyo(stage: Stage) -> None:
    change = {"first_name": "Anneliese", "properties": {"plan": "team"}}
    stage.control.call("POST", "/_simulator/person/edit", {"external_id": "21", "attributes": change})
    until("the change is in the shop", lambda: shop.customer(stage.shop, 21)["first_name"] == "Anneliese")
    row = shop.customer(stage.shop, 21)
    _say(7, "Somebody at Klaviyo renames customer 21 and changes her plan; polling brings it.")
    _proof("customers.first_name, plan in the shop", f"{row['first_name']}, {row['plan']}")


def _unsubscribed(stage: Stage) -> None:
    stage.control.call("POST", "/_simulator/person/unsubscribe", {"external_id": "34"})
    until("the opt-out is in the shop", lambda: shop.customer(stage.shop, 34)["accepts_marketing"] == 0)
    deliveries = stage.control.call("GET", "/_simulator/webhooks/deliveries")["deliveries"]
    _say(8, "Customer 34 clicks unsubscribe; Klaviyo's signed webhook brings it.")
    _proof("signed deliveries by now", str(len(deliveries)))
    _proof("customers.accepts_marketing in the shop", "0")


def _nothing_twice(stage: Stage) -> None:
    until("nothing waits any more", lambda: _idle(stage))
    report = stage.bridge.call("GET", "/health")
    counts = stage.control.call("GET", "/_simulator/log/counts")
    requests = [status for by_status in counts["requests"].values() for status in by_status.items()]
    throttled = sum(count for status, count in requests if status == "429")
    _say(9, "The end: nothing waits, nothing was lost, nothing came twice.")
    _proof("rows waiting, dead letters", f"{report['waiting'] + report['batched']}, {report['dead']}")
    _proof("requests to Klaviyo, refused for the rate", f"{sum(count for _, count in requests)}, {throttled}")


def _idle(stage: Stage) -> bool:
    report = stage.bridge.call("GET", "/health")
    return report["waiting"] == 0 and report["batched"] == 0


def _profile(stage: Stage, name: str, value: str) -> dict[str, Any]:
    equals = quote(f'equals({name},"{value}")')
    found = stage.klaviyo.call("GET", f"/api/profiles?filter={equals}")["data"]
    if not found:
        raise NotInTime(f"no profile at Klaviyo has {name} {value}")
    return {"id": found[0]["id"], **found[0]["attributes"]}


def _messages(stage: Stage, email: str, subject: str) -> list[dict[str, Any]]:
    sent = stage.control.call("GET", f"/_simulator/messages?recipient={quote(email, safe='')}")["messages"]
    return [message for message in sent if subject in message["subject"]]


def _count(stage: Stage, kind: str) -> int:
    return int(stage.control.call("GET", "/_simulator/log/counts")["effects"].get(kind, 0))


def _requests(stage: Stage, operation: str) -> int:
    by_status = stage.control.call("GET", "/_simulator/log/counts")["requests"].get(operation, {})
    return sum(by_status.values())


def _effects(stage: Stage, kind: str) -> list[dict[str, Any]]:
    return _log(stage, "effects", kind=kind)


def _log(stage: Stage, what: str, **wanted: str) -> list[dict[str, Any]]:
    query = "&".join(f"{name}={quote(value)}" for name, value in {**wanted, "limit": "100000"}.items())
    return list(stage.control.call("GET", f"/_simulator/log/{what}?{query}")[what])


def _say(number: int, text: str) -> None:
    console.print(f"[bold]{number}[/]  {text}")


def _proof(what: str, found: str) -> None:
    console.print(f"     [dim]{what}:[/] {found}", markup=True)
