"""One Klaviyo account: everything it holds, and who listens to what happens in it.

The rules are in the modules above.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from klaviyo_simulator.errors import JsonObject
from klaviyo_simulator.events import Event, EventStore, Integration, Metric, MetricStore
from klaviyo_simulator.log import Cause
from klaviyo_simulator.members import Members
from klaviyo_simulator.profiles import Profile, ProfileStore
from klaviyo_simulator.world import World

SINGLE = "single_opt_in"
DOUBLE = "double_opt_in"
ALL_SCOPES = "*"


@dataclass(slots=True)
class MailingList:
    id: str
    name: str
    created: float
    updated: float
    opt_in_process: str
    members: Members = field(default_factory=Members)
    tag_ids: list[str] = field(default_factory=list[str])


@dataclass(slots=True, kw_only=True)
class Segment:
    """Members are those who fulfil the definition, as far as it has been evaluated."""

    id: str
    name: str
    definition: JsonObject
    created: float
    updated: float
    is_starred: bool = False
    is_active: bool = True
    is_processing: bool = True
    members: Members = field(default_factory=Members)
    tag_ids: list[str] = field(default_factory=list[str])
    history: list[tuple[float, int]] = field(default_factory=list[tuple[float, int]])
    evaluated_at: tuple[int, int] | None = None


@dataclass(slots=True, kw_only=True)
class Job:
    """A bulk job, of whatever kind. `rows` and `errors` are kept for import jobs only."""

    id: str
    kind: str
    created: float
    total: int
    status: str = "queued"
    completed: int = 0
    failed: int = 0
    skipped: int = 0
    started: float | None = None
    finished: float | None = None
    list_ids: list[str] = field(default_factory=list[str])
    segment_ids: list[str] = field(default_factory=list[str])
    profile_ids: list[str] = field(default_factory=list[str])
    errors: list[JsonObject] = field(default_factory=list[dict[str, Any]])
    hidden: bool = False


@dataclass(slots=True, kw_only=True)
class Message:
    """What a flow or a campaign sent to one person."""

    id: str
    time: float
    channel: str
    profile_id: str
    recipient: str
    subject: str
    body: str
    message_id: str
    flow_id: str | None = None
    campaign_id: str | None = None
    event_id: str | None = None


@dataclass(slots=True)
class Credential:
    """A private key, or an OAuth token of an app (which has a quota of its own)."""

    secret: str
    scopes: frozenset[str]
    app: str | None = None

    def allows(self, scope: str) -> bool:
        return ALL_SCOPES in self.scopes or scope in self.scopes


@dataclass(slots=True)
class PushToken:
    id: str
    profile_id: str
    created: float
    attributes: JsonObject


@dataclass(slots=True)
class Tag:
    id: str
    name: str
    group_id: str


Listener = Callable[..., None]


class Account:
    """State only, with the few helpers every area needs."""

    def __init__(self, world: World, account_id: str, *, name: str, timezone: str = "UTC") -> None:
        self.world = world
        self.id = account_id
        self.name = name
        self.timezone = timezone
        self.currency = "USD"
        self.credentials: dict[str, Credential] = {}
        self.profiles = ProfileStore()
        self.metrics = MetricStore()
        self.events = EventStore()
        self.integrations: dict[str, Integration] = {}
        self.lists: dict[str, MailingList] = {}
        self.segments: dict[str, Segment] = {}
        self.jobs: dict[str, Job] = {}
        self.messages: list[Message] = []
        self.push_tokens: dict[str, PushToken] = {}
        self.tags: dict[str, Tag] = {}
        self.areas: dict[str, Any] = {}
        self._listeners: dict[str, list[Listener]] = {}

    def now(self) -> float:
        return self.world.clock.now()

    def effect(self, kind: str, cause: Cause, *, profile_id: str | None = None, values: Any = None) -> None:
        self.world.log.effect(kind, self.world.clock.now(), self.id, cause, profile_id, values)

    def obey_switches(self) -> None:
        """Take over what the switches say about identifiers."""
        switches = self.world.switches
        self.profiles.fold_email = switches.email_folding
        self.profiles.precedence = tuple(switches.identifier_precedence.split(","))

    def listen(self, occasion: str, listener: Listener) -> None:
        """Call `listener` on each `announce` of the occasion: profile_created, list_joined, event_stored."""
        self._listeners.setdefault(occasion, []).append(listener)

    def announce(self, occasion: str, *values: object) -> None:
        for listener in self._listeners.get(occasion, ()):
            listener(*values)

    def integration(self, key: str) -> Integration:
        known = self.integrations.get(key)
        if known is None:
            name, category = INTEGRATIONS.get(key, (key.title(), "API"))
            known = self.integrations[key] = Integration(self.world.ids.short(), key, name, category)
        return known

    def metric(self, name: str, *, service: str = "api") -> Metric:
        """The metric of that name and integration, made at its first use."""
        found = self.metrics.find(service, name)
        if found is None:
            now = self.now()
            integration = self.integration(service)
            found = self.metrics.add(Metric(self.world.ids.short(), name, integration, now, now))
        return found

    def lists_of(self, profile: Profile) -> list[MailingList]:
        return [item for item in self.lists.values() if profile.id in item.members]

    def timeline(self, profile: Profile) -> list[Event]:
        """Events of a profile, newest first."""
        return sorted(self.events.of_profile(profile.id), key=lambda event: event.timestamp, reverse=True)


INTEGRATIONS = {
    "api": ("API", "API"),
    "klaviyo": ("Klaviyo", "Internal"),
    "shopify": ("Shopify", "eCommerce"),
}
