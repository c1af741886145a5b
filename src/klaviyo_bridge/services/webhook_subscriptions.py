"""The webhooks that Klaviyo keeps for an account: what they listen to, where they send, and their secret.

Klaviyo shows neither the secret nor the whole URL again. The secrets we accept are settings; the first of them is
the one that Klaviyo is given.
"""

from __future__ import annotations

import secrets as randomness
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Protocol, TypeVar

from klaviyo_bridge.domain.webhook import CANONICAL, POLLED_NAMES, topics_named
from klaviyo_bridge.errors import InvalidPayload, NotAuthorized, Problem
from klaviyo_bridge.klaviyo.types import RemoteResource

NO_TIER = (
    "Klaviyo keeps its webhooks for accounts with Advanced KDP (and for OAuth apps); this key may not use them. "
    "Polling brings the same changes, and flow webhooks work on every account: see docs/how-to/webhooks-from-flows.md"
)
T = TypeVar("T")


class RemoteWebhooks(Protocol):
    """What this service needs of Klaviyo. `klaviyo.api.Webhooks` is one."""

    def all(self) -> list[RemoteResource]: ...
    def topics(self) -> list[str]: ...
    def create(
        self, name: str, *, endpoint_url: str, secret_key: str, topics: Sequence[str], description: str | None = None
    ) -> RemoteResource: ...
    def update(
        self, webhook_id: str, attributes: Mapping[str, object], *, topics: Sequence[str] | None = None
    ) -> RemoteResource: ...
    def delete(self, webhook_id: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Subscription:
    """One webhook as Klaviyo shows it; `endpoint_url` is masked."""

    id: str
    name: str
    endpoint_url: str
    enabled: bool
    created_at: str | None


class Subscriptions:
    """Creates and changes one account's webhooks. Every method raises `NotAuthorized` without the paid tier."""

    def __init__(self, webhooks: RemoteWebhooks, *, secrets: Sequence[str]) -> None:
        self._webhooks = webhooks
        self._secrets = secrets

    def topics(self, pattern: str = "*") -> list[str]:
        """The account's topics that match `pattern`."""
        return [topic for topic in sorted(_open(self._webhooks.topics)) if fnmatchcase(topic, pattern)]

    def all(self) -> list[Subscription]:
        """The account's webhooks; Klaviyo allows ten."""
        return [_subscription(found) for found in _open(self._webhooks.all)]

    def create(self, *, url: str, patterns: Sequence[str], name: str = "klaviyo-bridge") -> Subscription:
        """A webhook for every topic that a pattern or a name of ours (`profile.updated`) stands for.

        Deliveries begin up to three minutes later. Raises `InvalidPayload` when nothing matches.
        """
        secret = self._current_secret()
        topics = self._matching(patterns)
        made = _open(lambda: self._webhooks.create(name, endpoint_url=url, secret_key=secret, topics=topics))
        return _subscription(made)

    def rotate(self, webhook_id: str) -> Subscription:
        """Have Klaviyo sign with the first configured secret. The one it signs with now has to be configured too,
        so that deliveries under way are accepted. Raises `InvalidPayload` when there is only one.
        """
        if len(self._secrets) < 2:
            what = "holds no second one: put the new secret before the old one, restart the service, then rotate"
            raise InvalidPayload(problems=[Problem("KLAVIYO_WEBHOOK_SIGNING_SECRET", what)])
        return self._update(webhook_id, {"secret_key": self._current_secret()})

    def enable(self, webhook_id: str, *, enabled: bool = True) -> Subscription:
        """Have deliveries sent, or not."""
        return self._update(webhook_id, {"enabled": enabled})

    def delete(self, webhook_id: str) -> None:
        """Delete a webhook. Raises `NotFound`."""
        _open(lambda: self._webhooks.delete(webhook_id))

    def _update(self, webhook_id: str, attributes: Mapping[str, object]) -> Subscription:
        return _subscription(_open(lambda: self._webhooks.update(webhook_id, attributes)))

    def _current_secret(self) -> str:
        if not self._secrets:
            what = f"is not set; for example: {new_secret()}"
            raise InvalidPayload(problems=[Problem("KLAVIYO_WEBHOOK_SIGNING_SECRET", what)])
        return self._secrets[0]

    def _matching(self, patterns: Sequence[str]) -> list[str]:
        polled = [name for name in patterns if name in POLLED_NAMES and not CANONICAL[name]]
        if polled:
            raise InvalidPayload(problems=[Problem(name, "has no webhook; it comes from polling") for name in polled])
        wanted = [topic for pattern in patterns for topic in _topics_of(pattern)]
        found = [topic for topic in self.topics() if any(fnmatchcase(topic, one) for one in wanted)]
        if not found:
            raise InvalidPayload(problems=[Problem("topics", "match no topic of this account")])
        return found


def new_secret() -> str:
    """A secret that Klaviyo takes: 64 random hex digits."""
    return randomness.token_hex(32)


def _topics_of(pattern: str) -> Sequence[str]:
    return topics_named(pattern) if pattern in CANONICAL else (pattern,)


def _open(call: Callable[[], T]) -> T:
    try:
        return call()
    except NotAuthorized as error:
        raise NotAuthorized(f"{NO_TIER} ({error})") from error


def _subscription(resource: RemoteResource) -> Subscription:
    attributes: Mapping[str, Any] = resource.attributes
    return Subscription(
        id=resource.id,
        name=resource.name,
        endpoint_url=str(attributes.get("endpoint_url") or ""),
        enabled=attributes.get("enabled") is not False,
        created_at=attributes.get("created_at"),
    )
