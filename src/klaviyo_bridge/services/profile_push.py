"""The application's tables, walked: every row that changed becomes a write that waits in the outbox.

A row that is as it was taken last costs a look and no call. Wrong rows are left out and remembered by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from klaviyo_bridge.domain.mapping import SourceRow, TableMapping
from klaviyo_bridge.domain.outbox import Priority, SourceMark, Taken
from klaviyo_bridge.domain.profile import ProfileChange
from klaviyo_bridge.domain.rows import Reading, change_of, read
from klaviyo_bridge.errors import Problem
from klaviyo_bridge.services.profile_merge import WritableSource, usable_rules

PAGE = 1_000
MOST_LISTED = 1_000
Found = dict[tuple[str, str], Sequence[Problem]]


class PushOutbox(Protocol):
    """Where changes are put on disk. `infra.stores.outbox.OutboxStore` is one."""

    def add_changes(
        self,
        account: str,
        changes: Sequence[ProfileChange],
        *,
        priority: Priority,
        marks: Sequence[SourceMark] = (),
        trace: str | None = None,
    ) -> Taken: ...
    def fingerprints(self, account: str, mapping: str, keys: Sequence[str]) -> dict[str, bytes]: ...


class Cursors(Protocol):
    """Where a walk stands. `infra.stores.cursors.CursorStore` is one."""

    def get(self, account: str, name: str) -> Any: ...
    def put(self, account: str, name: str, value: object) -> None: ...


class ReadableSource(WritableSource, Protocol):
    """The application's table. `infra.source.reading.Source` is one."""

    @property
    def advice(self) -> Sequence[Problem]: ...
    def page(self, after: Any | None, *, limit: int, order: Any = ...) -> Sequence[Any]: ...
    def position(self, glance: Any) -> Any: ...
    def rewound(self, after: Any) -> Any: ...
    def row(self, glance: Any) -> SourceRow: ...
    def count(self) -> int: ...


class Records(Protocol):
    """What people can read later. `infra.stores.sync_records.SyncRecords` is one."""

    def refuse(self, account: str, mapping: str, found: Mapping[tuple[str, str], Sequence[Problem]]) -> None: ...
    def accept(self, account: str, mapping: str, keys: Iterable[str]) -> None: ...
    def refused(
        self, account: str, *, mapping: str | None = None, kind: str | None = None, limit: int = 1_000
    ) -> list[dict[str, Any]]: ...


@dataclass(slots=True)
class Pushed:
    """Counts of a push: `read` = `queued` + `unchanged` + `rejected` + `deleted`.

    `queued` are on disk and on their way; `refused` says which rows are wrong and why (the first thousand
    reasons; the rest is on disk); `omitted` counts fields that stayed behind while their row went.
    """

    read: int = 0
    queued: int = 0
    unchanged: int = 0
    rejected: int = 0
    deleted: int = 0
    omitted: int = 0
    refused: list[Problem] = field(default_factory=list[Problem])
    stopped: bool = False


def never() -> bool:
    """Nobody asks us to stop."""
    return False


class SourcePush:
    """Pushes the mapped tables of one account."""

    def __init__(
        self,
        account: str,
        outbox: PushOutbox,
        cursors: Cursors,
        records: Records,
        sources: Sequence[ReadableSource],
    ) -> None:
        self._account = account
        self._outbox = outbox
        self._cursors = cursors
        self._records = records
        self._sources = sources

    def push(
        self,
        *,
        full: bool = False,
        mapping: str | None = None,
        progress: Callable[[Pushed], None] = lambda _: None,
        stop: Callable[[], bool] = never,
    ) -> Pushed:
        """Push every row that changed since the last time; with `full`, look at every row there is.

        Safe to interrupt: the next time goes on where this one stood.
        """
        total = Pushed()
        for source in self._sources:
            if mapping in (None, source.mapping.name):
                self._retry_contested(source, total)
                for page in self._pages(source, full=full):
                    self._take(source, page, total)
                    progress(total)
                    if stop():
                        total.stopped = True
                        return total
        return total

    def _pages(self, source: ReadableSource, *, full: bool) -> Iterator[Sequence[Any]]:
        name = source.mapping.name
        if full or source.mapping.cursor is None:
            yield from self._walk(source, f"full:{name}", "key", from_start=False)
            self._cursors.put(self._account, f"full:{name}", None)
        if source.mapping.cursor is not None:
            yield from self._walk(source, f"undated:{name}", "undated", from_start=True)
            yield from self._walk(source, f"push:{name}", "changed", from_start=False)

    def _walk(self, source: ReadableSource, name: str, order: str, *, from_start: bool) -> Iterator[Sequence[Any]]:
        """Pages behind the stored position, which moves once a page is taken.

        Rows in order of change are read again a little: one that was committed late carries an earlier time.
        """
        after = None if from_start else self._cursors.get(self._account, name)
        if after is not None and order == "changed":
            after = source.rewound(after)
        while page := source.page(after, limit=PAGE, order=order):
            yield page
            after = source.position(page[-1])
            if not from_start:
                self._cursors.put(self._account, name, after)

    def _retry_contested(self, source: ReadableSource, total: Pushed) -> None:
        """Rows whose address belonged to somebody else: it may be free by now."""
        name = source.mapping.name
        keys = [row["key"] for row in self._records.refused(self._account, mapping=name, kind="contested")]
        if keys:
            rows = source.get(keys)
            total.read += len(rows)
            self._take_rows(source, list(rows.values()), total)

    def _take(self, source: ReadableSource, page: Sequence[Any], total: Pushed) -> None:
        known = self._outbox.fingerprints(self._account, source.mapping.name, [glance.key for glance in page])
        changed = [source.row(glance) for glance in page if known.get(glance.key) != glance.fingerprint]
        total.read += len(page)
        total.unchanged += len(page) - len(changed)
        if changed:
            self._take_rows(source, changed, total)

    def _take_rows(self, source: ReadableSource, rows: Sequence[SourceRow], total: Pushed) -> None:
        mapping = source.mapping
        living = [row for row in rows if not row.deleted]
        total.deleted += len(rows) - len(living)
        readings = [read(row, mapping) for row in living]
        good = [
            (row.fingerprint, reading) for row, reading in zip(living, readings, strict=True) if not reading.refused
        ]
        rules = usable_rules(source)
        changes = [_change(reading, rules) for _, reading in good]
        marks = [SourceMark(mapping.name, reading.key, fingerprint) for fingerprint, reading in good]
        taken = self._outbox.add_changes(self._account, changes, priority=Priority.FULL_SYNC, marks=marks)
        found = _found(mapping, readings, {good[i][1].key: why for i, why in taken.contested.items()})
        self._remember(mapping, readings, found)
        rejected = len(readings) - len(good) + len(taken.contested)
        total.queued += taken.taken
        total.unchanged += len(readings) - taken.taken - rejected
        total.rejected += rejected
        total.omitted += sum(len(reading.omitted) for reading in readings)
        listed = [problem for (_, kind), problems in found.items() if kind != "omitted" for problem in problems]
        total.refused += listed[: MOST_LISTED - len(total.refused)]

    def _remember(self, mapping: TableMapping, readings: Sequence[Reading], found: Found) -> None:
        self._records.accept(self._account, mapping.name, [reading.key for reading in readings])
        self._records.refuse(self._account, mapping.name, found)


def _change(reading: Reading, rules: Mapping[str, Any]) -> ProfileChange:
    pushed = {name: value for name, value in reading.values.items() if rules[name].pushes}
    return change_of(reading.external_id, pushed)


def _found(mapping: TableMapping, readings: Sequence[Reading], contested: Mapping[str, str]) -> Found:
    found: Found = {}
    for reading in readings:
        if reading.refused:
            found[reading.key, "refused"] = reading.refused
        if reading.omitted:
            found[reading.key, "omitted"] = reading.omitted
        if reading.key in contested:
            where = f"{mapping.place}[{reading.key}]"
            found[reading.key, "contested"] = [Problem(where, contested[reading.key])]
    return found
