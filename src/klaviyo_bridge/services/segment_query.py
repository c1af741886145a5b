"""Segments: found by name, read member by member, made from a definition. Klaviyo computes who is in one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from klaviyo_bridge.domain.profile import profile_change
from klaviyo_bridge.domain.segment import Segment
from klaviyo_bridge.errors import InvalidPayload, Problem, Unavailable
from klaviyo_bridge.klaviyo.api import KlaviyoAPI
from klaviyo_bridge.klaviyo.filters import any_of
from klaviyo_bridge.klaviyo.types import RemoteProfile, RemoteSegment
from klaviyo_bridge.services.list_manager import Cache, one_named

SEGMENTS = "segments"


@dataclass(frozen=True, slots=True)
class SegmentInfo:
    """A segment. `processing` is Klaviyo's own word, and not always right. `members` where it was asked for."""

    id: str
    name: str
    active: bool
    processing: bool
    members: int | None = None


@dataclass(frozen=True, slots=True)
class Members:
    """One page of members; `next_cursor` continues after it, also in another process, and is None at the end."""

    profiles: list[RemoteProfile]
    next_cursor: str | None


class SegmentQuery:
    """Segments of one account."""

    def __init__(self, klaviyo: KlaviyoAPI, cache: Cache, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._klaviyo = klaviyo
        self._cache = cache
        self._sleep = sleep

    def all(self) -> list[SegmentInfo]:
        """Every segment, by name; remembered for a while."""
        stored = self._cache.get(SEGMENTS, lambda: [_stored(each) for each in self._klaviyo.segments.all()])
        return sorted((SegmentInfo(**each) for each in stored), key=lambda each: (each.name, each.id))

    def find(self, name: str) -> SegmentInfo:
        """The segment with this name. Raises `NotFound`; `InvalidPayload` when several have it."""
        return one_named(name, self.all(), what="segment")

    def get(self, segment_id: str, *, count: bool = False) -> SegmentInfo:
        """The segment as it is now; counting members is limited to 15 a minute. Raises `NotFound`."""
        return SegmentInfo(**_stored(self._klaviyo.segments.get(segment_id, count=count)))

    def page(self, segment_id: str, *, cursor: str | None = None) -> Members:
        """A hundred members."""
        page = self._klaviyo.segments.members(segment_id, cursor=cursor)
        return Members(page.items, page.next_cursor)

    def members(self, segment_id: str, *, cursor: str | None = None) -> Iterator[Members]:
        """Pages of members from `cursor` on; keep a page's `next_cursor` to go on from there another time."""
        while True:
            page = self.page(segment_id, cursor=cursor)
            yield page
            cursor = page.next_cursor
            if cursor is None:
                return

    def is_member(self, segment_id: str, person: Mapping[str, object]) -> bool:
        """Whether the person (email, phone_number or klaviyo_id) is in the segment, asked anew each time."""
        identity = profile_change(person).identity
        names = {"profile_id": identity.klaviyo_id, "email": identity.email, "phone_number": identity.phone_number}
        name, value = next(((name, value) for name, value in names.items() if value), ("", ""))
        if not name:
            raise InvalidPayload(problems=[Problem("email", "or phone_number or klaviyo_id is needed to look")])
        return bool(self._klaviyo.segments.members(segment_id, filter=any_of(name, [value])).items)

    def create(self, segment: Segment) -> SegmentInfo:
        """A new segment; Klaviyo takes minutes to fill it. At most 100 a day."""
        made = self._klaviyo.segments.create(segment.name, segment.definition)
        self._cache.forget(SEGMENTS)
        return SegmentInfo(**_stored(made))

    def delete(self, segment_id: str) -> None:
        """Delete the segment; its members stay profiles. Raises `NotFound`."""
        self._klaviyo.segments.delete(segment_id)
        self._cache.forget(SEGMENTS)

    def wait_until_processed(self, segment_id: str, *, seconds: float = 900.0, every: float = 5.0) -> SegmentInfo:
        """Wait until Klaviyo says twice in a row that it is done; raises `Unavailable` when time is over.

        Once is not enough: right after a change Klaviyo was seen to say so before it had begun.
        """
        quiet = 0
        for _ in range(max(1, round(seconds / every))):
            found = self.get(segment_id)
            quiet = 0 if found.processing else quiet + 1
            if quiet == 2:
                return found
            self._sleep(every)
        raise Unavailable(f"the segment was still being processed after {seconds:.0f} s", retry_after=every)


def _stored(each: RemoteSegment) -> dict[str, Any]:
    return {
        "id": each.id,
        "name": each.name,
        "active": each.is_active,
        "processing": each.is_processing,
        "members": each.profile_count,
    }
