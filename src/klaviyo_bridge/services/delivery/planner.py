"""Which waiting rows travel together. Pure: rows in, batches out, so each rule is a row of a table in the tests.

A few rows go by the single endpoints (express: fast, and only they can clear a field), a backlog by the bulk
endpoints (freight). Waiting writes of one profile are merged, field by field, the newest winning.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import groupby

from klaviyo_bridge.domain.event import Event
from klaviyo_bridge.domain.outbox import Carrier, Lane, PlannedBatch, WaitingRow
from klaviyo_bridge.domain.profile import MAX_ROW_BYTES, Identity, ProfileChange

ROW_OVERHEAD = 400
"""Bytes that Klaviyo's envelope of one row may add to our own payload; the sender packs exactly."""
LARGEST_MERGE = MAX_ROW_BYTES - 1_000
FEWEST_EXPRESS = 5
"""Rows below which an express batch is not cut smaller: a job costs more than a call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How rows are cut into batches.

    `express_rows`: rows in one job of a single endpoint. `express_total`: a backlog of up to so many rows goes
    by it. `linger`: how long a bulk request that is not full waits to be filled. `open_batches`: batches a lane
    may have sealed or in flight; what waits beyond that fills later batches better, and bounds memory.
    """

    express_rows: int = 25
    express_total: int = 100
    import_rows: int = 10_000
    event_rows: int = 1_000
    batch_bytes: int = 5_000_000
    linger: timedelta = timedelta(seconds=1)
    open_batches: Mapping[Lane, int] = field(
        default_factory=lambda: {Lane.UPSERT: 8, Lane.IMPORT: 3, Lane.EVENT: 16, Lane.EVENTS: 3}
    )

    def room(self, lane: Lane, open_batches: Mapping[Lane, int]) -> int:
        """How many more batches the lane may have."""
        return max(0, self.open_batches[lane] - open_batches.get(lane, 0))

    def wanted(self, rows: int, lane: Lane, open_batches: Mapping[Lane, int]) -> tuple[int, int]:
        """How many rows, and bytes, to look at for a bulk lane of so many `rows` a batch."""
        room = self.room(lane, open_batches)
        return max(rows * room, self.express_total + 1), self.batch_bytes * max(1, room)


@dataclass(frozen=True, slots=True)
class Situation:
    """What planning depends on beside the rows: the time, the rules, and what is on its way already."""

    now: datetime
    policy: Policy
    open_batches: Mapping[Lane, int]

    def room(self, lane: Lane) -> int:
        return self.policy.room(lane, self.open_batches)


def plan_profiles(rows: Iterable[WaitingRow], situation: Situation) -> Iterator[PlannedBatch]:
    """Batches of profile writes. A person is in one of them once; what does not fit waits.

    `rows` come person by person, each person's oldest first.
    """
    policy = situation.policy
    _, size = policy.wanted(policy.import_rows, Lane.IMPORT, situation.open_batches)
    carriers = list(_within(merge_writes(rows), size))
    if len(carriers) <= policy.express_total:
        yield from _express(Lane.UPSERT, carriers, situation)
        return
    clears = [carrier for carrier in carriers if ProfileChange.load(carrier.payload).clears]
    singled = {carrier.row_id for carrier in clears}
    freight = [carrier for carrier in carriers if carrier.row_id not in singled]
    yield from _express(Lane.UPSERT, clears, situation)
    yield from _freight(Lane.IMPORT, freight, policy.import_rows, situation)


def plan_events(rows: Sequence[WaitingRow], situation: Situation) -> Iterator[PlannedBatch]:
    """Batches of events. One that repeats another's id goes by the single endpoint, which drops it quietly;
    the bulk endpoint would refuse the whole request.
    """
    if len(rows) <= situation.policy.express_total:
        yield from _express(Lane.EVENT, [_carrier(row) for row in rows], situation)
        return
    fresh, repeats = _apart(rows)
    yield from _express(Lane.EVENT, [_carrier(row) for row in repeats], situation)
    yield from _freight(Lane.EVENTS, [_carrier(row) for row in fresh], situation.policy.event_rows, situation)


def merge_writes(rows: Iterable[WaitingRow]) -> Iterator[Carrier]:
    """One carrier a person: the newest row, with every older one merged into it.

    Rows of one person whose identifiers contradict each other are not merged: the older ones go first, the
    rest waits behind the fence. `rows` come person by person, oldest first.
    """
    for _, writes in groupby(rows, key=lambda row: row.person_id):
        yield _merged(writes)


def _merged(writes: Iterator[WaitingRow]) -> Carrier:
    last = next(writes)
    change, since, absorbed, payload = None, last.since, list[int](), last.payload
    for row in writes:
        older = change or ProfileChange.load(last.payload)
        newer = ProfileChange.load(row.payload)
        if not compatible(older.identity, newer.identity):
            break
        merged = newer.over(older)
        together = merged.dump()
        if len(together) > LARGEST_MERGE:
            break
        absorbed.append(last.id)
        change, last, payload = merged, row, together
    return Carrier(row_id=last.id, person_id=last.person_id, payload=payload, absorbed=absorbed, since=since)


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
    return Carrier(row_id=row.id, person_id=row.person_id, payload=row.payload, since=row.since)


def _within(carriers: Iterable[Carrier], size: int) -> Iterator[Carrier]:
    """Carriers until their payloads reach `size` bytes: what is planned at once fits into memory."""
    for carrier in carriers:
        yield carrier
        size -= len(carrier.payload)
        if size <= 0:
            return


def _express(lane: Lane, carriers: Sequence[Carrier], situation: Situation) -> Iterator[PlannedBatch]:
    """Spread over the free places of the lane, so that they travel side by side."""
    room = situation.room(lane)
    if not room or not carriers:
        return
    rows = min(situation.policy.express_rows, max(FEWEST_EXPRESS, math.ceil(len(carriers) / room)))
    for number, cut in enumerate(_cuts(carriers, rows, situation.policy.batch_bytes)):
        if number == room:
            return
        yield PlannedBatch(lane=lane, carriers=cut)


def _freight(lane: Lane, carriers: Sequence[Carrier], rows: int, situation: Situation) -> Iterator[PlannedBatch]:
    """Full requests at once; the last one, which is not full, once its oldest row has waited long enough."""
    room = situation.room(lane)
    cuts = list(_cuts(carriers, rows, situation.policy.batch_bytes))
    for number, cut in enumerate(cuts[:room]):
        if number < len(cuts) - 1 or len(cut) == rows or _ripe(cut, situation):
            yield PlannedBatch(lane=lane, carriers=cut)


def _ripe(cut: Sequence[Carrier], situation: Situation) -> bool:
    oldest = min((carrier.since for carrier in cut if carrier.since is not None), default=None)
    return oldest is None or situation.now - oldest >= situation.policy.linger


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
