"""Webhook events: on disk before they are answered, handled once, kept when a handler fails."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from klaviyo_bridge.domain.webhook import WebhookEvent
from klaviyo_bridge.errors import BridgeError, NotAuthorized, Unavailable

MAX_ATTEMPTS = 5
LATER = 10.0  # seconds until another attempt


class InboxRows(Protocol):
    """Where events are kept. `infra.stores.inbox.InboxStore` is one."""

    def add(self, account: str, events: Sequence[WebhookEvent]) -> int: ...
    def load(self, ids: Sequence[int]) -> dict[int, WebhookEvent]: ...
    def handled(self, ids: Sequence[int], *, state: str) -> None: ...
    def failed(self, ids: Sequence[int], *, error: str, delay: float, most: int) -> None: ...


class WebhookRecorder(Protocol):
    """What counts events. `infra.telemetry.Recorder` is one."""

    def webhook(self, outcome: str, events: int) -> None: ...


class Inbox:
    """Takes events in, and has them handled."""

    def __init__(self, account: str, rows: InboxRows, recorder: WebhookRecorder) -> None:
        self._account = account
        self._rows = rows
        self._recorder = recorder

    def receive(self, events: Sequence[WebhookEvent]) -> int:
        """Put the events on disk and have them handled; returns how many are new. Repeats are dropped."""
        new = self._rows.add(self._account, events)
        self._recorder.webhook("received", new)
        self._recorder.webhook("repeated", len(events) - new)
        return new

    def process(
        self,
        ids: Sequence[int],
        *,
        route: Callable[[Sequence[WebhookEvent]], None],
        knows: Callable[[str], bool],
    ) -> None:
        """Route the events with these ids that are not handled yet. One whose handler fails is tried again, then
        kept as dead; a topic nobody wants is kept and left alone.
        """
        events = self._rows.load(ids)
        known = {row_id: event for row_id, event in events.items() if knows(event.topic)}
        self._rows.handled([row_id for row_id in events if row_id not in known], state="ignored")
        self._recorder.webhook("ignored", len(events) - len(known))
        if not known:
            return
        try:
            route(list(known.values()))
        except (Unavailable, NotAuthorized) as error:
            self._rows.failed(list(known), error=type(error).__name__, delay=LATER, most=1_000_000)
        except BridgeError as error:
            self._rows.failed(list(known), error=str(error)[:500], delay=LATER, most=MAX_ATTEMPTS)
        else:
            self._rows.handled(list(known), state="handled")
            self._recorder.webhook("handled", len(known))
