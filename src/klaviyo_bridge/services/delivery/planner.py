"""Which waiting rows travel together. Pure: rows in, batches out, so each rule is a row of a table in the tests.

A few rows go by the single endpoints (express: fast, and only they can clear a field), a backlog by the bulk
endpoints (freight). Waiting writes of one profile are merged, field by field, the newest winning.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from klaviyo_bridge.domain.event import Event
from klaviyo_bridge.domain.outbox import Carrier, Lane, PlannedBatch, WaitingRow
from klaviyo_bridge.domain.profile import Identity, ProfileChange

ROW_OVERHEAD = 400
"""Bytes that Klaviyo's envelope of one row may add to our own payload; the sender packs exactly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How rows are cut into batches.

    `express_rows`: up to so many rows go by the single endpoint, in one job. `open_batches`: batches a lane may
    have sealed or in flight; what waits beyond that fills later batches better, and keeps memory bounded.
    """

    express_rows: int = 25
    import_rows: int = 10_000
    event_rows: int = 1_000
    batch_bytes: int = 5_000_000
    open_batches: Mapping[Lane, int] = field(
        default_factory=lambda: {Lane.UPSERT: 8, Lane.IMPORT: 3, Lane.EVENT: 16, Lane.EVENTS: 3}
    )

    def room(self, lane: Lane, open_batches: Mapping[Lane, int]) -> int:
        """How many more batches the lane may have."""
        return max(0, self.open_batches[lane] - open_batches.get(lane, 0))


def plan_profiles(
    rows: Sequence[WaitingRow], policy: Policy, open_batches: Mapping[Lane, int]
) -> Iterator[PlannedBatch]:
    """Batches of profile writes. A person is in one of them once; what does not fit waits."""
    carriers = list(merge_writes(rows))
    if len(carriers) <= policy.express_rows:
        freight, express = [], carriers
    else:
        express = [carrier for carrier in carriers if ProfileChange.load(carrier.payload).clears]
        singled = {carrier.row_id for carrier in express}
        freight = [carrier for carrier in carriers if carrier.row_id not in singled]
    yield from _cut(Lane.UPSERT, express, policy.express_rows, policy, open_batches)
    yield from _cut(Lane.IMPORT, freight, policy.import_rows, policy, open_batches)


def plan_events(rows: Sequence[WaitingRow], policy: Policy, open_batches: Mapping[Lane, int]) -> Iterator[PlannedBatch]:
    """Batches of events. One that repeats another's id goes by the single endpoint, which drops it quietly;
    the bulk endpoint would refuse the whole request.
    """
    if len(rows) <= policy.express_rows:
        fresh, repeats = [], list(rows)
    else:
        fresh, repeats = _apart(rows)
    yield from _cut(Lane.EVENT, map(_carrier, repeats), policy.express_rows, policy, open_batches)
    yield from _cut(Lane.EVENTS, map(_carrier, fresh), policy.event_rows, policy, open_batches)


def merge_writes(rows: Iterable[WaitingRow]) -> Iterator[Carrier]:
    """One carrier a person: the newest row, with every older one merged into it.

    Rows of one person whose identifiers contradict each other are not merged: the older ones go first, the
    rest waits behind the fence.
    """
    by_person: dict[int, list[WaitingRow]] = {}
    for row in sorted(rows, key=lambda row: row.id):
        by_person.setdefault(row.person_id, []).append(row)
    for writes in by_person.values():
        yield _merged(writes)


def _merged(writes: Sequence[WaitingRow]) -> Carrier:
    if len(writes) == 1:
        return _carrier(writes[0])
    change = ProfileChange.load(writes[0].payload)
    absorbed = [writes[0].id]
    last = writes[0]
    for row in writes[1:]:
        newer = ProfileChange.load(row.payload)
        if not compatible(change.identity, newer.identity):
            break
        change, last = newer.over(change), row
        absorbed.append(row.id)
    return Carrier(row_id=last.id, person_id=last.person_id, payload=change.dump(), absorbed=absorbed[:-1])


def compatible(older: Identity, newer: Identity) -> bool:
    """Whether both name one profile for sure: the strongest identifier both have is the same."""
    if older.klaviyo_id and newer.klaviyo_id:
        return older.klaviyo_id == newer.klaviyo_id
    ours, theirs = older.known(), newer.known()
    shared = next((name for name in ours if name in theirs), None)
    return shared is None or ours[shared] == theirs[shared]


def _apart(rows: Sequence[WaitingRow]) -> tuple[list[WaitingRow], list[WaitingRow]]:
    seen: set[tuple[int, str, str]] = set()
    fresh: list[WaitingRow] = []
    repeats: list[WaitingRow] = []
    for row in rows:
        event = Event.load(row.payload)
        key = (row.person_id, event.metric, event.unique_id)
        (repeats if key in seen else fresh).append(row)
        seen.add(key)
    return fresh, repeats


def _carrier(row: WaitingRow) -> Carrier:
    return Carrier(row_id=row.id, person_id=row.person_id, payload=row.payload)


def _cut(
    lane: Lane, carriers: Iterable[Carrier], rows: int, policy: Policy, open_batches: Mapping[Lane, int]
) -> Iterator[PlannedBatch]:
    room = policy.room(lane, open_batches)
    for cut in _cuts(carriers, rows, policy.batch_bytes):
        if room == 0:
            return
        room -= 1
        yield PlannedBatch(lane=lane, carriers=cut)


def _cuts(carriers: Iterable[Carrier], rows: int, limit: int) -> Iterator[list[Carrier]]:
    cut: list[Carrier] = []
    size = 0
    for carrier in carriers:
        length = len(carrier.payload) + ROW_OVERHEAD
        if cut and (len(cut) == rows or size + length > limit):
            yield cut
            cut, size = [], 0
        cut.append(carrier)
        size += length
    if cut:
        yield cut
