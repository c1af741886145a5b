"""The end-to-end proof: reads both sides, and reports every mapped field in which they differ."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from klaviyo_bridge.domain.mapping import SourceRow
from klaviyo_bridge.domain.profile import klaviyo_fields
from klaviyo_bridge.domain.rows import Reading, read
from klaviyo_bridge.domain.values import Json, masked, same
from klaviyo_bridge.klaviyo.api import KlaviyoAPI
from klaviyo_bridge.klaviyo.filters import any_of
from klaviyo_bridge.services.profile_push import ReadableSource

PAGE = 100  # as many external ids as Klaviyo takes in one filter and answers on one page
MOST_LISTED = 1_000


@dataclass(frozen=True, slots=True)
class Difference:
    """A field that differs; `missing` when Klaviyo has no such profile. Values are masked."""

    mapping: str
    key: str
    field: str
    ours: str | None
    theirs: str | None
    missing: bool = False


@dataclass(slots=True)
class Verified:
    """`read` = `equal` + `different` + `refused`; `refused` rows were never taken. The first thousand are listed."""

    read: int = 0
    equal: int = 0
    different: int = 0
    refused: int = 0
    differences: list[Difference] = field(default_factory=list[Difference])


class ProfileVerify:
    """Compares the mapped tables with Klaviyo."""

    def __init__(self, klaviyo: KlaviyoAPI, sources: Sequence[ReadableSource]) -> None:
        self._klaviyo = klaviyo
        self._sources = sources

    def verify(self, *, mapping: str | None = None, progress: Callable[[Verified], None] = lambda _: None) -> Verified:
        """Every row against its profile, a hundred a call; nothing is written anywhere."""
        total = Verified()
        for source in self._sources:
            if mapping in (None, source.mapping.name):
                for rows in _pages(source):
                    self._compare(source, rows, total)
                    progress(total)
        return total

    def _compare(self, source: ReadableSource, rows: Sequence[SourceRow], total: Verified) -> None:
        readings = [read(row, source.mapping) for row in rows if not row.deleted]
        good = [reading for reading in readings if not reading.refused]
        total.read += len(readings)
        total.refused += len(readings) - len(good)
        theirs = self._theirs([reading.external_id for reading in good])
        for reading in good:
            found = list(_differences(source, reading, theirs.get(reading.external_id)))
            total.different += bool(found)
            total.equal += not found
            total.differences += found[: MOST_LISTED - len(total.differences)]

    def _theirs(self, external_ids: Sequence[str]) -> dict[str, Mapping[str, Json]]:
        if not external_ids:
            return {}
        page = self._klaviyo.profiles.page(filter=any_of("external_id", list(external_ids)))
        profiles = [klaviyo_fields(profile.attributes) for profile in page.items]
        return {str(profile.get("external_id")): profile for profile in profiles}


def _pages(source: ReadableSource) -> Iterator[list[SourceRow]]:
    after: Any = None
    while page := source.page(after, limit=PAGE, order="key"):
        yield [source.row(glance) for glance in page]
        after = source.position(page[-1])


def _differences(source: ReadableSource, reading: Reading, theirs: Mapping[str, Json] | None) -> Iterator[Difference]:
    name = source.mapping.name
    if theirs is None:
        yield Difference(name, reading.key, "external_id", masked(reading.external_id), None, missing=True)
        return
    for field_name, mine in reading.values.items():
        yours = theirs.get(field_name)
        if not same(mine, yours):
            yield Difference(name, reading.key, field_name, masked(mine), masked(yours))
