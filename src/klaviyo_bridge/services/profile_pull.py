"""Klaviyo's changes, walked: attributes by `updated`, opt-outs by their own time.

One chain of cursors waits for each answer before it asks again, which uses a quarter of Klaviyo's allowance.
So a long stretch of time is cut in pieces that several threads walk; whoever is done takes half of the longest
piece that is left. Where every piece stands is on disk after each page.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from klaviyo_bridge.domain.consent import suppressed_at
from klaviyo_bridge.domain.values import iso
from klaviyo_bridge.klaviyo.api import KlaviyoAPI
from klaviyo_bridge.klaviyo.filters import all_of, any_of, greater_than, less_than
from klaviyo_bridge.klaviyo.types import Page, RemoteProfile
from klaviyo_bridge.services.profile_merge import ProfileMerge, Pulled
from klaviyo_bridge.services.profile_push import Cursors, never

WALKERS = 8
IDS_PER_READ = 100
SHORTEST = timedelta(seconds=2)
OVERLAP = timedelta(seconds=5)
"""Klaviyo's `updated` is finer than it shows and knows only "greater than": a walk begins a little earlier."""
BEGINNING = datetime(2012, 1, 1, tzinfo=UTC)  # the year Klaviyo was founded
SUPPRESSED_AT = "subscriptions.email.marketing.suppression.timestamp"


class Rechecks(Protocol):
    """Profiles that have to be read again. `infra.stores.meetings.MeetingStore` is one."""

    def due(self, account: str, *, limit: int) -> list[str]: ...
    def forget(self, account: str, klaviyo_ids: Sequence[str]) -> None: ...


@dataclass(slots=True)
class Piece:
    """A stretch of `updated` that is being walked; without an end it reaches to now and beyond."""

    at: datetime
    end: datetime | None
    taken: bool = False
    wanted: str = ""


class ProfilePull:
    """Pulls one account."""

    def __init__(
        self,
        account: str,
        cursors: Cursors,
        rechecks: Rechecks,
        klaviyo: KlaviyoAPI,
        merge: ProfileMerge,
        *,
        clock: Callable[[], datetime],
    ) -> None:
        self._account = account
        self._cursors = cursors
        self._rechecks = rechecks
        self._klaviyo = klaviyo
        self._merge = merge
        self._clock = clock

    @property
    def has_begun(self) -> bool:
        """Whether everything at Klaviyo was read once, to the end."""
        return bool(self._cursors.get(self._account, "pull:complete"))

    def pull(
        self,
        *,
        full: bool = False,
        progress: Callable[[Pulled], None] = lambda _: None,
        stop: Callable[[], bool] = never,
    ) -> Pulled:
        """Bring over what changed at Klaviyo; with `full`, compare everything. Goes on where it was stopped.

        `updated` does not move when somebody unsubscribes, hence the second walk.
        """
        total = Pulled()
        self.recheck(total)
        everything = full or not self.has_begun
        name = "full:updated" if everything else "pull:updated"
        walk = _Walk(
            self._stored(name) or [Piece(BEGINNING, None)],
            total,
            read=lambda wanted, cursor: self._read(wanted, cursor, total),
            keep=lambda pieces: self._keep(name, pieces),
            progress=progress,
            stop=stop,
            clock=self._clock,
        )
        walk.run()
        if total.stopped:
            return total
        if everything:
            self._cursors.put(self._account, "full:updated", None)
            self._cursors.put(self._account, "pull:complete", True)
            self._keep("pull:updated", [Piece(walk.newest, None)])
        self._suppressions(total)
        progress(total)
        return total

    def pull_ids(self, profile_ids: Sequence[str], total: Pulled | None = None) -> Pulled:
        """Bring over these profiles, by Klaviyo's ids; ids that are no more are forgotten."""
        total = total or Pulled()
        for start in range(0, len(profile_ids), IDS_PER_READ):
            wanted = list(profile_ids[start : start + IDS_PER_READ])
            read_at = self._clock()
            found = self._klaviyo.profiles.page(filter=any_of("id", wanted), subscriptions=True).items
            self._merge.absorb(found, total, read_at=read_at)
            missing = sorted(set(wanted) - {profile.id for profile in found})
            if missing:
                self._rechecks.forget(self._account, missing)
        return total

    def recheck(self, total: Pulled | None = None) -> Pulled:
        """Read those again that could not be merged whole the last time: a write of ours was on its way."""
        return self.pull_ids(self._rechecks.due(self._account, limit=IDS_PER_READ * 10), total)

    def _read(self, wanted: str, cursor: str | None, total: Pulled) -> Page[RemoteProfile]:
        read_at = self._clock()
        page = self._klaviyo.profiles.page(filter=wanted, sort="updated", cursor=cursor, subscriptions=True)
        self._merge.absorb(page.items, total, read_at=read_at)
        return page

    def _suppressions(self, total: Pulled) -> None:
        """Klaviyo refuses to sort by a suppression's time while it filters by it: the position moves at the end."""
        stored = self._cursors.get(self._account, "pull:suppressed")
        position = datetime.fromisoformat(stored) if stored else BEGINNING
        wanted, cursor = greater_than(SUPPRESSED_AT, position - OVERLAP), None
        while True:
            read_at = self._clock()
            page = self._klaviyo.profiles.page(filter=wanted, cursor=cursor, subscriptions=True)
            self._merge.absorb(page.items, total, read_at=read_at)
            times = (suppressed_at(profile.subscriptions or {}) for profile in page.items)
            position = max([position, *(moment for moment in times if moment)])
            cursor = page.next_cursor
            if cursor is None:
                self._cursors.put(self._account, "pull:suppressed", iso(position))
                return

    def _stored(self, name: str) -> list[Piece]:
        stored: list[Any] = self._cursors.get(self._account, name) or []
        return [Piece(datetime.fromisoformat(at), datetime.fromisoformat(end) if end else None) for at, end in stored]

    def _keep(self, name: str, pieces: Sequence[Piece]) -> None:
        stored = [[iso(piece.at), iso(piece.end) if piece.end else None] for piece in pieces]
        self._cursors.put(self._account, name, stored)


class _Walk:
    """One walk by `updated`, in as many threads as it is worth.

    `read` merges one page and returns its profiles and the cursor behind it; `keep` puts positions on disk.
    """

    def __init__(
        self,
        pieces: list[Piece],
        total: Pulled,
        *,
        read: Callable[[str, str | None], Page[RemoteProfile]],
        keep: Callable[[Sequence[Piece]], None],
        progress: Callable[[Pulled], None],
        stop: Callable[[], bool],
        clock: Callable[[], datetime],
    ) -> None:
        self._pieces = pieces
        self._total = total
        self._read = read
        self._keep = keep
        self._progress = progress
        self._stop = stop
        self._clock = clock
        self._lock = threading.Lock()
        self._failed = False
        self.newest = max(piece.at for piece in pieces)

    def run(self) -> None:
        """Walk all pieces to their end. Raises what a thread raised."""
        first = self._pieces[0]
        first.taken = True
        cursor = self._page(first, None)
        if cursor is None and not self._pieces:
            return
        with ThreadPoolExecutor(WALKERS) as pool:
            walkers = [pool.submit(self._walk, first if cursor else None, cursor)]
            walkers += [pool.submit(self._walk, None, None) for _ in range(WALKERS - 1)]
            for walker in walkers:
                walker.result()

    def _walk(self, piece: Piece | None, cursor: str | None) -> None:
        try:
            while (piece := piece or self._next()) is not None:
                cursor = self._page(piece, cursor)
                piece = piece if cursor else None
        except BaseException:
            self._failed = True
            raise

    def _next(self) -> Piece | None:
        """A piece nobody walks, or half of the longest that somebody does; None when it is not worth it."""
        with self._lock:
            if self._failed or self._total.stopped:
                return None
            free = next((piece for piece in self._pieces if not piece.taken), None) or self._half()
            if free is not None:
                free.taken = True
            return free

    def _half(self) -> Piece | None:
        now = self._clock()
        longest = max(self._pieces, key=lambda piece: (piece.end or now) - piece.at, default=None)
        if longest is None or (longest.end or now) - longest.at <= SHORTEST * 2:
            return None
        middle = longest.at + ((longest.end or now) - longest.at) / 2
        half = Piece(middle, longest.end)
        longest.end = middle
        self._pieces.append(half)
        return half

    def _page(self, piece: Piece, cursor: str | None) -> str | None:
        """Read and merge one page; where to go on in this piece, or None when it is done."""
        if cursor is None:
            piece.wanted = _between(piece.at - OVERLAP, piece.end)
        page = self._read(piece.wanted, cursor)
        with self._lock:
            piece.at = max([piece.at, *(profile.updated for profile in page.items if profile.updated)])
            self.newest = max(self.newest, piece.at)
            beyond = piece.end is not None and piece.at > piece.end
            done = page.next_cursor is None or beyond
            if done:
                self._pieces.remove(piece)
            self._total.stopped = self._total.stopped or self._stop()
            self._keep(self._pieces or [Piece(self.newest, None)])
        self._progress(self._total)
        return None if done or self._total.stopped or self._failed else page.next_cursor


def _between(after: datetime, end: datetime | None) -> str:
    later = greater_than("updated", after)
    return later if end is None else all_of(later, less_than("updated", end + SHORTEST))
