"""A simulator for tests: a real server on a free port, and a client for its control API. No pytest needed.

with running_simulator(delay_event=0.0) as klaviyo:
    KlaviyoAPI(klaviyo.key, test_host=klaviyo.url, ...)
    klaviyo.control.settle()
    klaviyo.control.effects(kind="event.stored")
"""

from __future__ import annotations

import http.client
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlencode, urlsplit

import orjson

from klaviyo_simulator.errors import ControlError, JsonObject
from klaviyo_simulator.server import ThreadedServer
from klaviyo_simulator.simulator import ACCOUNT_ID, NEWSLETTER_ID, PRIVATE_KEY, Simulator
from klaviyo_simulator.switches import Switches

__all__ = ["ACCOUNT_ID", "NEWSLETTER_ID", "PRIVATE_KEY", "Control", "RunningSimulator", "running_simulator"]


class Control:
    """Calls the control API of a simulator, wherever it runs. ControlError when it says no."""

    def __init__(self, url: str) -> None:
        self._netloc = urlsplit(url).netloc

    def call(self, method: str, path: str, body: JsonObject | None = None, **query: Any) -> Any:
        """Any route under /_simulator/; the parsed answer."""
        connection = http.client.HTTPConnection(self._netloc, timeout=120)
        wanted = {name: value for name, value in query.items() if value is not None}
        target = f"/_simulator/{path}" + (f"?{urlencode(wanted)}" if wanted else "")
        try:
            connection.request(method, target, body=None if body is None else orjson.dumps(body))
            answer = connection.getresponse()
            parsed = orjson.loads(answer.read())
        finally:
            connection.close()
        if answer.status >= 400:
            raise ControlError(parsed["error"])
        return parsed

    def state(self) -> JsonObject:
        return self.call("GET", "")

    def reset(self) -> None:
        self.call("POST", "reset")

    def seed(self, **wanted: Any) -> JsonObject:
        """Fill with generated data: profiles, days, events_per_profile, lists, campaigns, seed, account."""
        return self.call("POST", "seed", wanted)

    def switch(self, **values: Any) -> JsonObject:
        """Change switches; all of them as they are then."""
        return self.call("POST", "switches", values)

    def advance(self, seconds: float) -> str:
        """Step the clock; the new time. What falls due on the way is done."""
        return self.call("POST", "clock", {"advance": seconds})["now"]

    def set_clock(self, *, speed: float | None = None, instant: str | None = None) -> str:
        body: JsonObject = {} if speed is None else {"speed": speed}
        return self.call("POST", "clock", body if instant is None else body | {"set": instant})["now"]

    def settle(self, *, audience: bool = False) -> int:
        """Apply everything accepted so far; with `audience` also opens and clicks to come."""
        return self.call("POST", "settle", {"audience": audience})["done"]

    def fault(self, kind: str, operation: str = "*", **rest: Any) -> int:
        """Add a rule (probability, count, skip, account, params); its number."""
        return self.call("POST", "faults", {"kind": kind, "operation": operation, **rest})["id"]

    def faults(self) -> list[JsonObject]:
        return self.call("GET", "faults")["faults"]

    def clear_faults(self) -> None:
        self.call("DELETE", "faults")

    def requests(self, **wanted: Any) -> list[JsonObject]:
        """The request log: operation (comma separated), status, account, since, limit."""
        return self.call("GET", "log/requests", **wanted)["requests"]

    def effects(self, **wanted: Any) -> list[JsonObject]:
        """The effect log: kind (comma separated), profile, account, since, limit."""
        return self.call("GET", "log/effects", **wanted)["effects"]

    def counts(self) -> JsonObject:
        return self.call("GET", "log/counts")

    def clear_log(self) -> None:
        self.call("DELETE", "log")

    def messages(self, **wanted: Any) -> list[JsonObject]:
        """What flows and campaigns sent: profile, recipient, flow, campaign, account."""
        return self.call("GET", "messages", **wanted)["messages"]

    def person(self, **wanted: Any) -> JsonObject:
        """Everything about one person: profile (id), email, phone_number or external_id."""
        return self.call("GET", "person", **wanted)

    def confirm(self, **person: Any) -> int:
        """The person clicks the double opt-in link; how many subscriptions that confirmed."""
        return self.call("POST", "person/confirm", dict(person))["confirmed"]

    def act(self, action: str, **rest: Any) -> JsonObject:
        """unsubscribe, suppress, unsuppress, bounce, complain, edit, join, leave or track.

        Without the API.
        """
        return self.call("POST", f"person/{action}", rest)

    def deliveries(self, **wanted: Any) -> list[JsonObject]:
        return self.call("GET", "webhooks/deliveries", **wanted)["deliveries"]

    def fire(self, **wanted: Any) -> JsonObject:
        """Send a webhook delivery: webhook, events or data, times, secret, age, tamper, headers, topic."""
        return self.call("POST", "webhooks/fire", wanted)

    def open_account(self, account_id: str, *, key: str, **rest: Any) -> None:
        self.call("POST", "accounts", {"id": account_id, "key": key, **rest})

    def add_key(
        self, key: str, *, account: str = ACCOUNT_ID, scopes: list[str] | None = None, app: str | None = None
    ) -> None:
        """A further private key, or with `app` an OAuth access token."""
        body: JsonObject = {"key": key} | ({"scopes": scopes} if scopes is not None else {})
        self.call("POST", f"accounts/{account}/keys", body | ({"app": app} if app else {}))

    def revoke_key(self, key: str) -> None:
        self.call("POST", "keys/revoke", {"key": key})


class RunningSimulator:
    """`url`, `key` and `control` of a simulator that serves in a thread of this process."""

    def __init__(self, server: ThreadedServer) -> None:
        self.url = server.url
        self.key = PRIVATE_KEY
        self.account_id = ACCOUNT_ID
        self.control = Control(server.url)


@contextmanager
def running_simulator(
    *, seed: int = 1, speed: float = 1.0, port: int = 0, **switches: Any
) -> Generator[RunningSimulator]:
    """Serve on a free port until the block ends. `speed` 0 makes a clock that is stepped by hand."""
    chosen = Switches()
    chosen.change(switches)
    server = ThreadedServer(Simulator(switches=chosen, seed=seed, speed=speed), port=port)
    server.start()
    try:
        yield RunningSimulator(server)
    finally:
        server.stop()
