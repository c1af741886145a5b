"""From a topic to its handlers. A handler gets all events of one batch that match its pattern, at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase

from klaviyo_bridge.domain.webhook import WebhookEvent

Handler = Callable[[Sequence[WebhookEvent]], None]


class Router:
    """Patterns such as `event:klaviyo.unsubscribed_*` or `event:api.placed_order`, in the order given."""

    def __init__(self) -> None:
        self._routes: list[tuple[str, Handler]] = []

    def add(self, pattern: str, handler: Handler) -> None:
        """Have `handler` called for topics that match `pattern` (`*` stands for anything)."""
        self._routes.append((pattern, handler))

    def on(self, *patterns: str) -> Callable[[Handler], Handler]:
        """As `add`, as a decorator."""

        def register(handler: Handler) -> Handler:
            for pattern in patterns:
                self.add(pattern, handler)
            return handler

        return register

    def knows(self, topic: str) -> bool:
        """Whether any handler wants this topic."""
        return any(fnmatchcase(topic, pattern) for pattern, _ in self._routes)

    def route(self, events: Sequence[WebhookEvent]) -> None:
        """Call each handler once with the events it wants. What a handler raises, goes to the caller."""
        for handler in dict.fromkeys(handler for _, handler in self._routes):
            wanted = [event for event in events if self._wants(handler, event.topic)]
            if wanted:
                handler(wanted)

    def _wants(self, handler: Handler, topic: str) -> bool:
        return any(known == handler and fnmatchcase(topic, pattern) for pattern, known in self._routes)
