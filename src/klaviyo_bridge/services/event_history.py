"""History: events that happened before the bridge did, out of the application's tables, without firing a flow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from klaviyo_bridge.domain.event import Event
from klaviyo_bridge.domain.event_mapping import EventMapping, HistoryRow
from klaviyo_bridge.errors import InvalidPayload, NotFound, Problem
from klaviyo_bridge.services.event_tracker import EventTracker
from klaviyo_bridge.services.profile_sync import Cursors

PAGE = 1_000


class History(Protocol):
    """The rows of one mapping. `infra.event_source.EventSource` is one."""

    @property
    def mapping(self) -> EventMapping: ...
    def after(self, cursor: Sequence[Any] | None, *, limit: int) -> list[HistoryRow]: ...
    def count(self) -> int: ...


@dataclass(slots=True)
class Backfilled:
    """Counts of a backfill. `repeated` were taken before; `refused` says which rows are wrong, and why."""

    read: int = 0
    queued: int = 0
    repeated: int = 0
    refused: list[Problem] = field(default_factory=list[Problem])


class EventHistory:
    """Backfills the event mappings of one account."""

    def __init__(self, account: str, events: EventTracker, cursors: Cursors, sources: Sequence[History]) -> None:
        self._account = account
        self._events = events
        self._cursors = cursors
        self._sources = {source.mapping.name: source for source in sources}

    @property
    def names(self) -> list[str]:
        """The mappings there are."""
        return list(self._sources)

    def count(self, name: str) -> int:
        """How many rows the mapping's query has. Raises `NotFound`."""
        return self._source(name).count()

    def backfill(
        self, name: str, *, again: bool = False, progress: Callable[[Backfilled], None] = lambda _: None
    ) -> Backfilled:
        """Hand over every row that was not yet; marked as history, so that no flow fires. Raises `NotFound`.

        Safe to stop at any moment: it goes on where it stood, and a row taken twice counts once. With `again` it
        begins at the first row. Wrong rows are left out and listed.
        """
        source, total = self._source(name), Backfilled()
        cursor = None if again else self._cursors.get(self._account, _cursor_name(name))
        while rows := source.after(cursor, limit=PAGE):
            self._take(source.mapping, rows, total)
            cursor = list(rows[-1].cursor)
            self._cursors.put(self._account, _cursor_name(name), cursor)
            progress(total)
        return total

    def _take(self, mapping: EventMapping, rows: Sequence[HistoryRow], total: Backfilled) -> None:
        events: list[Event] = []
        for row in rows:
            try:
                events += self._events.check([mapping.event(row.values, backfill=True)])
            except InvalidPayload as error:
                where = f"{mapping.name}[{row.values[mapping.unique_id]}]"
                total.refused += [Problem(f"{where}.{problem.where}", problem.what) for problem in error.problems]
        tracked = self._events.take(events)
        total.read += len(rows)
        total.queued += tracked.queued
        total.repeated += tracked.repeated

    def _source(self, name: str) -> History:
        if name not in self._sources:
            raise NotFound(f"there is no event mapping {name!r} in bridge.toml")
        return self._sources[name]


def _cursor_name(name: str) -> str:
    return f"backfill:{name}"
