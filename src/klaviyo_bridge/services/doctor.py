"""What a first look at an installation should tell: what works, what does not, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Protocol

from klaviyo_bridge.errors import BridgeError, NotAuthorized
from klaviyo_bridge.klaviyo.session import Reply
from klaviyo_bridge.services.health import Part, Status

_NTP = "set this machine's clock (NTP)"
CLOCKS_APART = 60.0  # seconds that may lie between our clock and Klaviyo's

PROBES: Sequence[tuple[str, str, Sequence[tuple[str, str]]]] = (
    ("profiles:read", "get_profiles", [("page[size]", "1")]),
    ("events:read", "get_events", [("page[size]", "1")]),
    ("metrics:read", "get_metrics", []),
    ("lists:read", "get_lists", [("page[size]", "1")]),
)
"""Scope, and a harmless read that needs it. Write scopes cannot be seen without writing."""


@dataclass(frozen=True, slots=True)
class Check:
    """One finding. `advice` says what to do when it is not `ok`, or wants a look."""

    name: str
    ok: bool
    finding: str
    advice: str = ""


class Caller(Protocol):
    """Calls an operation. `klaviyo.session.Session.call` is one."""

    def __call__(self, operation: str, *, query: Sequence[tuple[str, str]] = ()) -> Reply: ...


class Doctor:
    """Examines one account's connection."""

    def __init__(
        self,
        call: Caller,
        *,
        public_key: str | None,
        secrets: int,
        api_keys: int,
        schema_is_current: Callable[[], bool],
        parts: Callable[[], Sequence[Part]],
        clock: Callable[[], datetime],
    ) -> None:
        self._call = call
        self._public_key = public_key
        self._secrets = secrets
        self._api_keys = api_keys
        self._schema_is_current = schema_is_current
        self._parts = parts
        self._clock = clock

    def examine(self) -> Iterator[Check]:
        """Every check, the ones that matter most first."""
        yield self._database()
        yield from (_checked(part) for part in self._parts() if part.name not in ("database", "key"))
        try:
            reply = self._call("get_accounts")
        except BridgeError as error:
            yield Check("key", ok=False, finding=str(error), advice=_advice(error))
            return
        yield self._key(reply)
        yield self._clocks(reply)
        yield from map(self._scope, PROBES)
        yield _configured("webhook secret", self._secrets, "set KLAVIYO_WEBHOOK_SIGNING_SECRET to receive webhooks")
        yield _configured("API key", self._api_keys, "set BRIDGE_API_KEYS, else the HTTP API is closed")

    def _database(self) -> Check:
        if self._schema_is_current():
            return Check("database", ok=True, finding="reachable, and its schema is this version's")
        return Check(
            "database", ok=False, finding="its schema is another version's", advice="run klaviyo-bridge migrate"
        )

    def _key(self, reply: Reply) -> Check:
        account = next((str(found["id"]) for found in reply.json().get("data", ())), "unknown")
        if self._public_key is not None and self._public_key != account:
            finding = f"belongs to account {account}, but KLAVIYO_PUBLIC_KEY says {self._public_key}"
            return Check("key", ok=False, finding=finding, advice="use keys of one account")
        return Check("key", ok=True, finding=f"accepted by account {account}")

    def _clocks(self, reply: Reply) -> Check:
        theirs = reply.headers.get("date")
        if theirs is None:
            return Check("clock", ok=True, finding="Klaviyo did not say what time it is")
        apart = (self._clock() - parsedate_to_datetime(theirs)).total_seconds()
        finding = f"{abs(apart):.0f} s {'ahead of' if apart > 0 else 'behind'} Klaviyo's"
        return Check(
            "clock", ok=abs(apart) <= CLOCKS_APART, finding=finding, advice="" if abs(apart) <= CLOCKS_APART else _NTP
        )

    def _scope(self, probe: tuple[str, str, Sequence[tuple[str, str]]]) -> Check:
        scope, operation, query = probe
        try:
            self._call(operation, query=query)
        except NotAuthorized:
            return Check(scope, ok=False, finding="the key lacks it", advice=f"create a private key with {scope}")
        except BridgeError as error:
            return Check(scope, ok=False, finding=str(error), advice=_advice(error))
        return Check(scope, ok=True, finding="granted")


def _checked(part: Part) -> Check:
    return Check(part.name, ok=part.status is not Status.FAIL, finding=part.finding, advice=part.advice)


def _configured(name: str, count: int, advice: str) -> Check:
    finding = f"{count} configured" if count else "none configured"
    return Check(name, ok=bool(count), finding=finding, advice="" if count else advice)


def _advice(error: BridgeError) -> str:
    if isinstance(error, NotAuthorized):
        return "set KLAVIYO_PRIVATE_KEY to a private key of the account, with the scopes in the README"
    return "check BRIDGE_KLAVIYO_HOST and the network, then try again"
