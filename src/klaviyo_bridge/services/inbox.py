"""Webhook events: on disk before they are answered, handled once in effect, kept when a handler fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

from klaviyo_bridge.domain.webhook import WebhookEvent
from klaviyo_bridge.errors import BridgeError, InvalidPayload, NotAuthorized, Problem, Unavailable

RETRY_DELAYS = (10.0, 60.0, 300.0, 1800.0)
"""Seconds between the attempts at an event that fails; then it is dead."""
LATER = 10.0  # seconds until another attempt when Klaviyo cannot be asked
LATEST = 300.0
OVERDUE = timedelta(minutes=30)
"""An event that no job took care of for so long is enqueued again."""
CHUNK = 5_000  # events deleted or replayed in one transaction
ENDED = ("dead", "ignored", "handled")

Handler = Callable[[Sequence[WebhookEvent]], None]


class InboxRows(Protocol):
    """Where events are kept. `infra.stores.inbox.InboxStore` is one."""

    def add(self, account: str, events: Sequence[WebhookEvent]) -> int: ...
    def load(self, ids: Sequence[int]) -> dict[int, WebhookEvent]: ...
    def ended(self, ids: Sequence[int], *, state: str) -> None: ...
    def postpone(self, ids: Sequence[int], *, because: str, delay: float) -> None: ...
    def failed(self, errors: Mapping[int, str], *, delays: Sequence[float]) -> int: ...
    def rescue(self, account: str, *, overdue: timedelta) -> int: ...
    def replay(
        self, account: str, *, state: str, topic: str | None = None, since: datetime | None = None, limit: int
    ) -> int: ...
    def forget(self, account: str, *, before: datetime, limit: int) -> int: ...
    def counts(self, account: str) -> dict[str, dict[str, int]]: ...
    def waiting(self, account: str) -> int: ...
    def last_id(self) -> int: ...
    def after(self, account: str, last: int, *, limit: int) -> Iterator[tuple[int, str, datetime, WebhookEvent]]: ...
    def dead(self, account: str, *, limit: int) -> list[dict[str, Any]]: ...


class WebhookRecorder(Protocol):
    """What counts events. `infra.telemetry.Recorder` is one."""

    def webhook(self, outcome: str, events: int) -> None: ...


@dataclass(slots=True)
class _Outcome:
    """What the handlers made of a batch: why events failed, and which have to wait (and how long)."""

    failed: dict[int, str] = field(default_factory=dict[int, str])
    postponed: dict[int, str] = field(default_factory=dict[int, str])
    delay: float = 0.0

    def wait(self, ids: Sequence[int], error: BridgeError) -> None:
        self.postponed |= dict.fromkeys(ids, type(error).__name__)
        told = error.retry_after if isinstance(error, Unavailable) else None
        self.delay = max(self.delay, min(told or LATER, LATEST))


class Inbox:
    """Takes one account's events in, and has them handled."""

    def __init__(
        self,
        account: str,
        rows: InboxRows,
        recorder: WebhookRecorder,
        *,
        clock: Callable[[], datetime],
        retention: timedelta = timedelta(days=30),
        delays: Sequence[float] = RETRY_DELAYS,
    ) -> None:
        self._account = account
        self._rows = rows
        self._recorder = recorder
        self._clock = clock
        self._retention = retention
        self._delays = delays
        self._looked: tuple[datetime, int] | None = None

    def receive(self, events: Sequence[WebhookEvent]) -> int:
        """Put the events on disk and have them handled; returns how many are new. Repeats are dropped."""
        new = self._rows.add(self._account, events)
        self._recorder.webhook("received", new)
        self._recorder.webhook("repeated", len(events) - new)
        return new

    def process(self, ids: Sequence[int], *, handlers_of: Callable[[WebhookEvent], Sequence[Handler]]) -> None:
        """Have those of the events handled that are not yet.

        One whose handler fails is tried again by itself, then kept as dead; its siblings are done. While Klaviyo
        cannot be asked, events wait and lose no attempt. A topic nobody wants is kept and left alone.
        """
        events = self._rows.load(ids)
        wanting = {row_id: handlers_of(event) for row_id, event in events.items()}
        outcome = _Outcome()
        for handler in dict.fromkeys(handler for handlers in wanting.values() for handler in handlers):
            _attempt(handler, {id_: event for id_, event in events.items() if handler in wanting[id_]}, outcome)
        self._settle(wanting, outcome)

    def tend(self) -> int:
        """Enqueue stranded events again and delete what is older than the retention; returns how many."""
        before = self._clock() - self._retention
        rescued = self._rows.rescue(self._account, overdue=OVERDUE)
        return rescued + self._rows.forget(self._account, before=before, limit=CHUNK)

    def replay(self, *, state: str = "dead", topic: str | None = None, since: datetime | None = None) -> int:
        """Have ended events (`dead`, `ignored` or `handled`) handled once more; returns how many.

        Counts of messages do not change: each event is counted once, however often it is replayed.
        """
        if state not in ENDED:
            raise InvalidPayload(problems=[Problem("state", f"is not one of {', '.join(ENDED)}")])
        total, started = 0, self._clock()
        while self._clock() - started < timedelta(minutes=10):
            done = self._rows.replay(self._account, state=state, topic=topic, since=since, limit=CHUNK)
            total += done
            if done < CHUNK:
                break
        return total

    def counts(self) -> dict[str, dict[str, int]]:
        """Events by topic and state."""
        return self._rows.counts(self._account)

    def dead(self, *, limit: int = 100) -> list[dict[str, Any]]:
        """Events that failed too often, and why; without their payload."""
        return self._rows.dead(self._account, limit=limit)

    def newest(self) -> int:
        """Where to begin with `after` in order to see only what comes from now on."""
        return self._rows.last_id()

    def after(self, last: int, *, limit: int = 500) -> Iterator[tuple[int, str, datetime, WebhookEvent]]:
        """What arrived after the event with this id: id, state, time of receipt, event."""
        return self._rows.after(self._account, last, limit=limit)

    def waiting(self) -> int:
        """Events that are still to be handled, as of a second ago at most."""
        now = self._clock()
        if self._looked is None or abs((now - self._looked[0]).total_seconds()) >= 1.0:
            self._looked = (now, self._rows.waiting(self._account))
        return self._looked[1]

    def _settle(self, wanting: Mapping[int, Sequence[Handler]], outcome: _Outcome) -> None:
        open_ = outcome.failed.keys() | outcome.postponed.keys()
        ignored = [row_id for row_id, handlers in wanting.items() if not handlers]
        handled = [row_id for row_id, handlers in wanting.items() if handlers and row_id not in open_]
        self._rows.ended(ignored, state="ignored")
        self._rows.ended(handled, state="handled")
        postponed = [row_id for row_id in outcome.postponed if row_id not in outcome.failed]
        self._rows.postpone(postponed, because="; ".join(set(outcome.postponed.values())), delay=outcome.delay)
        died = self._rows.failed(outcome.failed, delays=self._delays)
        for name, count in (("ignored", len(ignored)), ("handled", len(handled)), ("dead", died)):
            self._recorder.webhook(name, count)


def _attempt(handler: Handler, mine: Mapping[int, WebhookEvent], outcome: _Outcome) -> None:
    """Call the handler with all its events; where it fails, with each half of them, down to the one at fault."""
    try:
        handler(list(mine.values()))
    except (Unavailable, NotAuthorized) as error:
        outcome.wait(list(mine), error)
    except Exception as error:  # noqa: BLE001  # the boundary to handlers that other people write
        if len(mine) == 1:
            outcome.failed |= dict.fromkeys(mine, _reason(error))
            return
        for half in _halves(mine):
            _attempt(handler, half, outcome)


def _halves(mine: Mapping[int, WebhookEvent]) -> tuple[dict[int, WebhookEvent], dict[int, WebhookEvent]]:
    items = list(mine.items())
    return dict(items[: len(items) // 2]), dict(items[len(items) // 2 :])


def _reason(error: Exception) -> str:
    """Our own messages hold no personal data; of others only the class is kept."""
    return str(error)[:500] if isinstance(error, BridgeError) else type(error).__name__
