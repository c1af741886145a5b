"""Whether all is well, part by part, in words that say what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from klaviyo_bridge.domain.outbox import RowState
from klaviyo_bridge.domain.vitals import Vitals
from klaviyo_bridge.services.vital_signs import lateness

CHECK_EVERY = 1.0  # seconds that an answer is good for, so that a probe costs nothing
OLD = timedelta(minutes=15)
SILENT = timedelta(hours=24)
NEARLY_FULL = 0.98


class Backlog(Protocol):
    """What waits. `infra.stores.outbox.OutboxStore` is one."""

    def backlog(self, account: str) -> Mapping[RowState, int]: ...
    def oldest_waiting(self, account: str) -> datetime | None: ...


class AccountState(Protocol):
    """Whether Klaviyo accepts the key. `infra.stores.cursors.AccountStore` is one."""

    def stopped(self, account: str) -> str | None: ...


class Signs(Protocol):
    """An account's vital signs. `services.vital_signs.VitalSigns` is one."""

    @property
    def pulses(self) -> Mapping[str, float]: ...
    def read(self) -> Vitals: ...


class Status(StrEnum):
    """`warn` wants a person's look; `fail` means that rows are not delivered."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the whole. `advice` is empty while it is `ok`."""

    name: str
    status: Status
    finding: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """`ready`: rows are taken and sent. `waiting`, `batched`, `dead` count rows; `oldest_seconds` is an age."""

    ready: bool
    problem: str | None
    waiting: int
    batched: int
    dead: int
    oldest_seconds: float


class Health:
    """Reports on one account; an answer is reused for a second."""

    def __init__(
        self,
        account: str,
        backlog: Backlog,
        accounts: AccountState,
        signs: Signs,
        *,
        clock: Callable[[], datetime],
    ) -> None:
        self._account = account
        self._backlog = backlog
        self._accounts = accounts
        self._signs = signs
        self._clock = clock
        self._last: tuple[datetime, Report] | None = None

    def report(self) -> Report:
        """How it stands now."""
        now = self._clock()
        if self._last is None or abs((now - self._last[0]).total_seconds()) >= CHECK_EVERY:
            self._last = (now, self._look(now))
        return self._last[1]

    def parts(self) -> list[Part]:
        """Each part, the ones that matter most first; kept for as long as the signs are."""
        return list(examine(self._signs.read(), self._signs.pulses))

    def waiting(self) -> int:
        """Rows that wait to be delivered, as of the last look."""
        return self.report().waiting

    def _look(self, now: datetime) -> Report:
        counts = self._backlog.backlog(self._account)
        oldest = self._backlog.oldest_waiting(self._account)
        stopped = self._accounts.stopped(self._account)
        return Report(
            ready=stopped is None,
            problem=None if stopped is None else f"Klaviyo refuses the key ({stopped}); give another and restart",
            waiting=counts.get(RowState.WAITING, 0),
            batched=counts.get(RowState.BATCHED, 0),
            dead=counts.get(RowState.DEAD, 0),
            oldest_seconds=0.0 if oldest is None else max(0.0, (now - oldest).total_seconds()),
        )


def worst(parts: Sequence[Part]) -> Status:
    """The status of the whole."""
    found = {part.status for part in parts}
    return next((status for status in (Status.FAIL, Status.WARN) if status in found), Status.OK)


def examine(vitals: Vitals, pulses: Mapping[str, float]) -> Iterator[Part]:
    """What these signs say. Pure."""
    yield Part("database", Status.OK, "answers")
    yield _key(vitals)
    yield _breaker(vitals)
    yield _worker(vitals, pulses)
    yield _gate(vitals)
    yield _oldest(vitals)
    yield _dead(vitals)
    yield _inbox(vitals)
    yield _webhooks(vitals)


def _key(vitals: Vitals) -> Part:
    if vitals.stopped is None:
        return Part("key", Status.OK, "not refused")
    advice = "give a key with the scopes the README names, and restart; what waits is kept"
    return Part("key", Status.FAIL, f"Klaviyo refuses it ({vitals.stopped})", advice)


def _breaker(vitals: Vitals) -> Part:
    if vitals.breaker == "closed":
        return Part("breaker", Status.OK, "closed: calls go through")
    advice = "wait: it probes by itself; see https://status.klaviyo.com if it stays open"
    return Part("breaker", Status.WARN, f"{vitals.breaker}: Klaviyo failed again and again", advice)


def _worker(vitals: Vitals, pulses: Mapping[str, float]) -> Part:
    late = {name: seconds for name, seconds in lateness(vitals, pulses).items() if seconds > 0}
    advice = "start klaviyo-bridge worker (or up); if one runs, look for `pulse failed` in its log"
    if not vitals.beats:
        return Part("worker", Status.WARN, "none has worked on this database yet", advice)
    if not late:
        return Part("worker", Status.OK, "beats on time")
    name = max(late, key=lambda pulse: late[pulse])
    return Part("worker", Status.FAIL, f"{name} is {_duration(late[name])} late", advice)


def _gate(vitals: Vitals) -> Part:
    full = sorted(name for name, used in vitals.allowance.items() if used >= NEARLY_FULL)
    if full:
        return Part("gate", Status.OK, f"at Klaviyo's limit, as fast as allowed: {', '.join(full)}")
    most = max(vitals.allowance.values(), default=0.0)
    return Part("gate", Status.OK, f"{most:.0%} of the busiest operation's minute is used")


def _oldest(vitals: Vitals) -> Part:
    oldest = min((line.oldest for line in vitals.waiting.values() if line.oldest), default=None)
    count = sum(line.count for line in vitals.waiting.values())
    if oldest is None:
        return Part("oldest waiting row", Status.OK, "nothing waits")
    age = vitals.at - oldest
    finding = f"{count} wait, the oldest for {_duration(age.total_seconds())}"
    if age < OLD:
        return Part("oldest waiting row", Status.OK, finding)
    advice = "normal during a first full sync; otherwise see worker, breaker and gate"
    return Part("oldest waiting row", Status.WARN, finding, advice)


def _dead(vitals: Vitals) -> Part:
    if not vitals.dead:
        return Part("dead letters", Status.OK, "none")
    advice = "look at them, correct their cause, and replay or discard them"
    return Part("dead letters", Status.WARN, f"{vitals.dead} rows Klaviyo would not take", advice)


def _inbox(vitals: Vitals) -> Part:
    oldest = vitals.inbox.oldest
    if oldest is None or vitals.at - oldest < OLD:
        return Part("inbox", Status.OK, f"{vitals.inbox.count} webhook events to handle")
    age = _duration((vitals.at - oldest).total_seconds())
    advice = "events wait while Klaviyo cannot be asked, or no worker runs"
    return Part("inbox", Status.WARN, f"{vitals.inbox.count} webhook events, the oldest for {age}", advice)


def _webhooks(vitals: Vitals) -> Part:
    if vitals.last_webhook is None:
        return Part("webhook silence", Status.OK, "none has come yet")
    age = vitals.at - vitals.last_webhook
    finding = f"the last came {_duration(age.total_seconds())} ago"
    if age < SILENT:
        return Part("webhook silence", Status.OK, finding)
    advice = "Klaviyo switches a webhook off that fails for days: see klaviyo-bridge webhooks"
    return Part("webhook silence", Status.WARN, finding, advice)


def _duration(seconds: float) -> str:
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
