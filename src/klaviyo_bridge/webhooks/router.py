"""From an event to its handlers. A handler gets all events of one batch that match its pattern, at once.

A handler is called at least once with each event, so it has to bear seeing one again. It may raise: its events
come again later, and what keeps failing becomes a dead letter without holding up the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from importlib.metadata import EntryPoint, entry_points
from typing import Protocol, cast

from klaviyo_bridge.domain.webhook import WebhookEvent
from klaviyo_bridge.errors import ConfigError, Problem

ENTRY_POINTS = "klaviyo_bridge.webhook_handlers"

Handler = Callable[[Sequence[WebhookEvent]], None]
Handlers = Mapping[str, Handler]


class Registration(Protocol):
    """What an entry point may name besides a mapping: a function that adds its handlers."""

    def __call__(self, router: Router) -> object: ...


class Router:
    """Patterns are topics (`event:klaviyo.opened_*`, `event:api.placed_order`, `flow:*`) or our names for them
    (`profile.updated`, `campaign.*`). `*` stands for anything.
    """

    def __init__(self) -> None:
        self._routes: list[tuple[str, Handler]] = []

    def add(self, pattern: str, handler: Handler) -> None:
        """Have `handler` called for events whose topic or name matches `pattern`."""
        self._routes.append((pattern, handler))

    def include(self, handlers: Handlers) -> None:
        """As `add`, for a mapping from pattern to handler."""
        for pattern, handler in handlers.items():
            self.add(pattern, handler)

    def on(self, *patterns: str) -> Callable[[Handler], Handler]:
        """As `add`, as a decorator."""

        def register(handler: Handler) -> Handler:
            for pattern in patterns:
                self.add(pattern, handler)
            return handler

        return register

    def handlers_of(self, event: WebhookEvent) -> list[Handler]:
        """Who wants this event, each once, in the order they were added."""
        names = event.names
        wanting = (handler for pattern, handler in self._routes if any(fnmatchcase(name, pattern) for name in names))
        return list(dict.fromkeys(wanting))

    def load_installed(self) -> None:
        """Add the handlers of installed packages: the entry points of `klaviyo_bridge.webhook_handlers`.

        Raises `ConfigError` naming one that cannot be loaded, so that events are not quietly left alone.
        """
        for point in sorted(entry_points(group=ENTRY_POINTS), key=lambda point: point.name):
            self.install(point)

    def install(self, point: EntryPoint) -> None:
        """Add the handlers an entry point names: a mapping, or a function of a Router."""
        try:
            loaded: object = point.load()
            if isinstance(loaded, Mapping):
                self.include(cast(Handlers, loaded))
            else:
                cast(Registration, loaded)(self)
        except Exception as error:  # somebody else's module: whatever it raises, say whose it is
            what = f"cannot be loaded ({type(error).__name__}); it has to be a mapping, or a function of a Router"
            raise ConfigError(problems=[Problem(f"entry point {point.name} = {point.value}", what)]) from error
