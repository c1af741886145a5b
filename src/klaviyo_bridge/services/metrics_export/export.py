"""One export: every stream brought up to date in the target, from where the last one stopped.

A position is written after its rows are in the target, so a killed export loads some rows again and none are
left out; the target merges by key. The next export starts two hours before this one did, whatever the newest
event says: a date in the future moves nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

from klaviyo_bridge.domain.export import fivetran, own
from klaviyo_bridge.domain.export.tables import Row, Table
from klaviyo_bridge.errors import RateLimited
from klaviyo_bridge.klaviyo.api import KlaviyoAPI
from klaviyo_bridge.services.metrics_export import streams
from klaviyo_bridge.services.metrics_export.streams import Snapshot, Stream
from klaviyo_bridge.services.metrics_export.walk import Range, Walk, cut

CHUNK = 25_000
"""Rows that are loaded at once; the memory of an export is a few of these, whatever the account holds."""
AGGREGATE_DAYS = 30


class Target(Protocol):
    """Where rows go. `infra.export.warehouse.Warehouse` is one."""

    def load(self, table: Table, rows: Sequence[Row], *, at: datetime) -> int: ...
    def saw(self, table: Table, stream: str, rows: Sequence[Row]) -> None: ...
    def delete_unseen(
        self, table: Table, stream: str, *, at: datetime, within: Mapping[str, str] | None = None
    ) -> int: ...


class Files(Protocol):
    """Files beside the target. `infra.export.parquet.ParquetFolder` is one."""

    def refresh(self, tables: Sequence[Table]) -> int: ...


class Positions(Protocol):
    """Small JSON values by name. `infra.stores.cursors.CursorStore` is one."""

    def get(self, account: str, name: str) -> Any: ...
    def put(self, account: str, name: str, value: object) -> None: ...


@dataclass(slots=True)
class Progress:
    """One stream: rows `read` from Klaviyo, rows `moved` because they were new or changed, rows marked `deleted`."""

    stream: str
    read: int = 0
    moved: int = 0
    deleted: int = 0
    postponed: str | None = None


@dataclass(slots=True)
class Outcome:
    """An export that is complete. `files` counts the Parquet files that were replaced."""

    streams: list[Progress] = field(default_factory=list[Progress])
    files: int = 0

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How to export. `name` keeps the positions of several targets apart; `since` is before the first event.

    Aggregates and reports are asked for `figures_every` so often, or never: reports have 225 calls a day.
    """

    name: str
    layout: str
    since: datetime
    full_every: timedelta
    workers: int = 16
    page_size: int = 1000
    figures_every: timedelta | None = timedelta(hours=6)


class MetricsExport:
    """Exports one account to one target."""

    def __init__(
        self,
        account: str,
        klaviyo: KlaviyoAPI,
        positions: Positions,
        target: Target,
        files: Files | None,
        plan: Plan,
        *,
        clock: Callable[[], datetime],
    ) -> None:
        self._account = account
        self._klaviyo = klaviyo
        self._positions = positions
        self._target = target
        self._files = files
        self._plan = plan
        self._clock = clock

    def run(self, *, full: bool = False, watch: Callable[[Progress], None] = lambda _: None) -> Outcome:
        """Bring the target up to date; `full` reads everything again. `watch` hears of each loaded chunk."""
        outcome = Outcome()
        for snapshot in streams.snapshots(self._klaviyo, layout=self._plan.layout):
            outcome.streams.append(self._whole(snapshot, watch))
        for stream in self._streams():
            outcome.streams.append(self._walk(stream, full=full, watch=watch))
        if self._figures_are_due():
            outcome.streams += [self._computed(table, rows, watch) for table, rows in self._figures()]
            self._positions.put(self._account, self._figures_name, self._clock().isoformat())
        outcome.files = self._files.refresh(self.tables) if self._files else 0
        return outcome

    @property
    def tables(self) -> list[Table]:
        """The tables of the layout."""
        return list(fivetran.TABLES if self._plan.layout == "fivetran" else own.TABLES)

    def _streams(self) -> Iterator[Stream]:
        layout = self._plan.layout
        yield streams.profiles(self._klaviyo, layout=layout)
        yield streams.events(self._klaviyo, layout=layout, page_size=self._plan.page_size)
        if layout != "fivetran":
            for found in self._klaviyo.lists.all():
                yield streams.members(self._klaviyo, found.id)

    def _figures_are_due(self) -> bool:
        if self._plan.figures_every is None or self._plan.layout == "fivetran":
            return False
        last = _time(self._positions.get(self._account, self._figures_name))
        return last is None or self._clock() - last >= self._plan.figures_every

    @property
    def _figures_name(self) -> str:
        return f"export:{self._plan.name}:figures"

    def _figures(self) -> Iterator[tuple[Table, Iterator[Row]]]:
        days = AGGREGATE_DAYS
        yield own.AGGREGATES, streams.aggregates(self._klaviyo, days=days, now=self._clock())
        orders = next((metric.id for metric in self._klaviyo.metrics.all() if metric.name == "Placed Order"), None)
        if orders is not None:
            yield own.REPORTS, streams.reports(self._klaviyo, orders)

    def _whole(self, snapshot: Snapshot, watch: Callable[[Progress], None]) -> Progress:
        """Read all of a small collection; what is not there any more is marked as deleted."""
        now = self._clock()
        progress, rows = Progress(snapshot.table.name), list(snapshot.rows())
        name = f"{snapshot.table.name}@{now.isoformat()}"
        progress.read = len(rows)
        if rows:
            progress.moved = self._target.load(snapshot.table, rows, at=now)
            self._target.saw(snapshot.table, name, rows)
        progress.deleted = self._target.delete_unseen(snapshot.table, name, at=now)
        watch(progress)
        return progress

    def _computed(self, table: Table, rows: Iterator[Row], watch: Callable[[Progress], None]) -> Progress:
        """Figures that Klaviyo computes. When their budget for today is used up, they wait for the next export."""
        progress, now = Progress(table.name), self._clock()
        try:
            found = list(rows)
        except RateLimited as error:
            progress.postponed = str(error)
            return progress
        progress.read = len(found)
        progress.moved = self._target.load(table, found, at=now) if found else 0
        watch(progress)
        return progress

    def _walk(self, stream: Stream, *, full: bool, watch: Callable[[Progress], None]) -> Progress:
        position = _Position.parse(self._positions.get(self._account, self._name(stream)))
        if position.started is None or (full and not position.full):
            position = self._begin(stream, position, full=full)
        progress = Progress(stream.name)
        self._load_all(stream, position, progress, watch)
        if position.full:
            progress.deleted = self._target.delete_unseen(
                stream.table, _read_name(stream, position), at=self._clock(), within=stream.within
            )
        self._keep(stream, position.finished())
        watch(progress)
        return progress

    def _begin(self, stream: Stream, before: _Position, *, full: bool) -> _Position:
        now, plan = self._clock(), self._plan
        full = full or before.full_at is None or now - before.full_at >= plan.full_every
        since = plan.since if full or before.cursor is None else before.cursor - streams.OVERLAP
        begun = _Position(before.cursor, before.full_at, now, full, cut(since, now, plan.workers))
        self._keep(stream, begun)
        return begun

    def _load_all(
        self, stream: Stream, position: _Position, progress: Progress, watch: Callable[[Progress], None]
    ) -> None:
        walkable = stream.everything if position.full else stream.changed
        started = position.started or self._clock()
        walk = Walk(walkable, position.open, workers=self._plan.workers, until=started)
        rows: list[Row] = []
        for page in walk:
            rows += map(stream.row, page)
            if len(rows) >= CHUNK:
                self._load(stream, position, rows, walk.open, progress)
                rows = []
                watch(progress)
        self._load(stream, position, rows, walk.open, progress)

    def _load(
        self, stream: Stream, position: _Position, rows: Sequence[Row], left: list[Range], progress: Progress
    ) -> None:
        if rows:
            progress.moved += self._target.load(stream.table, rows, at=self._clock())
            if position.full:
                self._target.saw(stream.table, _read_name(stream, position), rows)
        progress.read += len(rows)
        position.open = left
        self._keep(stream, position)

    def _keep(self, stream: Stream, position: _Position) -> None:
        self._positions.put(self._account, self._name(stream), position.dump())

    def _name(self, stream: Stream) -> str:
        return f"export:{self._plan.name}:{stream.name}"


@dataclass(slots=True)
class _Position:
    """Where a stream stands: `cursor` is the start of the last complete read; `open` is left of the one begun."""

    cursor: datetime | None = None
    full_at: datetime | None = None
    started: datetime | None = None
    full: bool = False
    open: list[Range] = field(default_factory=list[Range])

    def finished(self) -> _Position:
        return _Position(cursor=self.started, full_at=self.started if self.full else self.full_at)

    def dump(self) -> dict[str, Any]:
        return {
            "cursor": _iso(self.cursor),
            "full_at": _iso(self.full_at),
            "started": _iso(self.started),
            "full": self.full,
            "open": [[_iso(item.start), _iso(item.end)] for item in self.open],
        }

    @classmethod
    def parse(cls, value: Any) -> _Position:
        if value is None:
            return cls()
        return cls(
            cursor=_time(value["cursor"]),
            full_at=_time(value["full_at"]),
            started=_time(value["started"]),
            full=value["full"],
            open=[Range(datetime.fromisoformat(start), _time(end)) for start, end in value["open"]],
        )


def _read_name(stream: Stream, position: _Position) -> str:
    return f"{stream.name}@{_iso(position.started)}"


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
