"""Profiles, both ways: what the application says goes to Klaviyo, what Klaviyo learnt comes back.

Nothing is sent that both sides agree on already. How a profile that comes back is merged is in
`profile_merge`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from klaviyo_bridge.domain.consent import suppressed_at
from klaviyo_bridge.domain.mapping import SourceRow, TableMapping, nested
from klaviyo_bridge.domain.outbox import Priority, SourceMark, Taken
from klaviyo_bridge.domain.profile import ProfileChange, profile_change
from klaviyo_bridge.domain.values import iso
from klaviyo_bridge.errors import InvalidPayload, Problem
from klaviyo_bridge.klaviyo.api import KlaviyoAPI
from klaviyo_bridge.klaviyo.filters import any_of, greater_than
from klaviyo_bridge.klaviyo.types import RemoteProfile
from klaviyo_bridge.services.profile_merge import ProfileMerge, Pulled

SOURCE_PAGE = 1_000
IDS_PER_READ = 100
OVERLAP = timedelta(seconds=5)
"""Klaviyo's `updated` is finer than it shows and knows only "greater than": a walk begins a little earlier."""
BEGINNING = datetime(1990, 1, 1, tzinfo=UTC)
SUPPRESSED_AT = "subscriptions.email.marketing.suppression.timestamp"


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


class ReadableSource(Protocol):
    """The application's table. `infra.source.Source` is one."""

    @property
    def mapping(self) -> TableMapping: ...
    def changed_since(self, cursor: Sequence[Any] | None, *, limit: int) -> list[SourceRow]: ...


@dataclass(slots=True)
class Pushed:
    """Counts of a push. `queued` are on disk and on their way; `refused` says which rows and why."""

    read: int = 0
    queued: int = 0
    unchanged: int = 0
    refused: list[Problem] = field(default_factory=list[Problem])


class ProfileSync:
    """Two-way profile sync of one account."""

    def __init__(
        self,
        account: str,
        outbox: PushOutbox,
        cursors: Cursors,
        klaviyo: KlaviyoAPI,
        merge: ProfileMerge,
        sources: Sequence[ReadableSource],
    ) -> None:
        self._account = account
        self._outbox = outbox
        self._cursors = cursors
        self._klaviyo = klaviyo
        self._merge = merge
        self._sources = sources

    def push(self, profile: Mapping[str, object], *, trace: str | None = None) -> Pushed:
        """Have Klaviyo know this profile. On disk when this returns.

        `profile` holds Klaviyo's attribute names, `location` and `properties`; an absent field stays as it
        is, None clears it. Raises `InvalidPayload` naming every field that is wrong.
        """
        return self.take(self.check([profile]), trace=trace)

    def push_many(self, profiles: Sequence[Mapping[str, object]], *, trace: str | None = None) -> Pushed:
        """As `push`, all or none: one wrong profile raises `InvalidPayload` and nothing is taken."""
        return self.take(self.check(profiles, many=True), trace=trace)

    def check(self, profiles: Sequence[Mapping[str, object]], *, many: bool = False) -> list[ProfileChange]:
        """The writes these profiles stand for; raises `InvalidPayload`. With `many`, paths carry the index."""
        return checked(profiles, profile_change, where="profiles" if many else "")

    def take(self, changes: Sequence[ProfileChange], *, trace: str | None = None) -> Pushed:
        """Put checked writes on disk."""
        taken = self._outbox.add_changes(self._account, changes, priority=Priority.UPSERT, trace=trace)
        return Pushed(read=len(changes), queued=taken.taken, unchanged=taken.repeated)

    def push_source(self, *, progress: Callable[[Pushed], None] = lambda _: None) -> Pushed:
        """Push every row of the mapped tables that changed since the last time.

        Wrong rows are left out and listed; the others go. Safe to interrupt: it goes on where it stood.
        """
        total = Pushed()
        for source in self._sources:
            name = f"push:{source.mapping.name}"
            cursor = self._cursors.get(self._account, name)
            while page := source.changed_since(cursor, limit=SOURCE_PAGE):
                self._push_page(source.mapping, page, total)
                cursor = list(page[-1].cursor)
                self._cursors.put(self._account, name, cursor)
                progress(total)
        return total

    def _push_page(self, mapping: TableMapping, page: Sequence[SourceRow], total: Pushed) -> None:
        known = self._outbox.fingerprints(self._account, mapping.name, [row.key for row in page])
        changes: list[ProfileChange] = []
        marks: list[SourceMark] = []
        for row in page:
            fingerprint = row.fingerprint
            if known.get(row.key) == fingerprint:
                continue
            try:
                changes.append(change_of(row, mapping))
            except InvalidPayload as error:
                total.refused += error.problems
                continue
            marks.append(SourceMark(mapping.name, row.key, fingerprint))
        taken = self._outbox.add_changes(self._account, changes, priority=Priority.FULL_SYNC, marks=marks)
        total.read += len(page)
        total.queued += taken.taken
        total.unchanged += len(page) - len(changes) + taken.repeated

    def pull(self) -> Pulled:
        """Bring over what changed at Klaviyo: attributes by `updated`, opt-outs by their own time.

        `updated` does not move when somebody unsubscribes, hence the second walk.
        """
        total = Pulled()
        for name in ("updated", SUPPRESSED_AT):
            for page, position in self._walk(name):
                self._merge.absorb(page, total)
                if position is not None:
                    self._cursors.put(self._account, f"pull:{name}", iso(position))
        return total

    def pull_ids(self, profile_ids: Sequence[str]) -> Pulled:
        """Bring over these profiles, by Klaviyo's ids."""
        total = Pulled()
        for start in range(0, len(profile_ids), IDS_PER_READ):
            wanted = any_of("id", list(profile_ids[start : start + IDS_PER_READ]))
            self._merge.absorb(self._klaviyo.profiles.page(filter=wanted, subscriptions=True).items, total)
        return total

    def _walk(self, name: str) -> Iterator[tuple[list[RemoteProfile], datetime | None]]:
        """Pages of what changed by `name`, and where to go on from once the page is done.

        Klaviyo refuses to sort by a suppression's time while it filters by it, so that walk has a position
        only at its end.
        """
        stored = self._cursors.get(self._account, f"pull:{name}")
        position = datetime.fromisoformat(stored) if stored else BEGINNING
        wanted, sort, cursor = greater_than(name, position - OVERLAP), name if name == "updated" else None, None
        while True:
            page = self._klaviyo.profiles.page(filter=wanted, sort=sort, cursor=cursor, subscriptions=True)
            position = max([position, *(_moved_at(profile, name) or position for profile in page.items)])
            cursor = page.next_cursor
            yield page.items, position if sort or cursor is None else None
            if cursor is None:
                return


def change_of(row: SourceRow, mapping: TableMapping) -> ProfileChange:
    """The write a source row stands for; the problems of a wrong one name table, key and field."""
    pushed = {name: value for name, value in row.fields.items() if mapping.fields[name].pushes}
    fields = {**nested(pushed), "external_id": row.key}
    return profile_change(fields, where=f"{mapping.table}[{row.key}]")


def checked(items: Sequence[Any], check: Callable[..., Any], *, where: str) -> list[Any]:
    """Every item through `check`; raises one `InvalidPayload` with the problems of all of them.

    `where` names the list; empty for a single item that needs no index.
    """
    good: list[Any] = []
    found: list[Problem] = []
    for index, item in enumerate(items):
        try:
            good.append(check(item, where=f"{where}[{index}]" if where else ""))
        except InvalidPayload as error:
            found += error.problems
    if found:
        raise InvalidPayload(problems=found)
    return good


def _moved_at(profile: RemoteProfile, name: str) -> datetime | None:
    return profile.updated if name == "updated" else suppressed_at(profile.subscriptions or {})
