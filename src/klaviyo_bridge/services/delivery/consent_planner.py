"""Which requests about consent travel together. Pure, as `planner` is.

The rows come one a person and in order (the store sees to that); here they are grouped by what shares a request.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from klaviyo_bridge.domain.consent_request import ConsentRequest
from klaviyo_bridge.domain.outbox import Carrier, Kind, Lane, PlannedBatch, WaitingRow

REQUESTS_AT_ONCE = 5_000
"""Requests one planning looks at."""


@dataclass(frozen=True, slots=True)
class Freight:
    """A lane, how many rows one request of it takes, and how many batches may be open."""

    lane: Lane
    rows: int
    open_batches: int


FREIGHT: Mapping[Kind, Freight] = {
    Kind.SUBSCRIBE: Freight(Lane.SUBSCRIBE, 1_000, 4),
    Kind.UNSUBSCRIBE: Freight(Lane.UNSUBSCRIBE, 100, 8),
    Kind.SUPPRESS: Freight(Lane.SUPPRESS, 100, 8),
    Kind.UNSUPPRESS: Freight(Lane.UNSUPPRESS, 100, 4),
    Kind.ERASE: Freight(Lane.ERASE, 20, 4),
}


def plan_consent(rows: Sequence[WaitingRow], open_batches: Mapping[Lane, int]) -> Iterator[PlannedBatch]:
    """Batches of rows that one request can carry; what finds no room waits."""
    groups: dict[tuple[object, ...], list[WaitingRow]] = {}
    for row in rows:
        groups.setdefault(shared_by(row), []).append(row)
    taken: dict[Lane, int] = {}
    for group in groups.values():
        freight = FREIGHT[group[0].kind]
        for start in range(0, len(group), freight.rows):
            used = taken.get(freight.lane, 0)
            if open_batches.get(freight.lane, 0) + used >= freight.open_batches:
                break
            taken[freight.lane] = used + 1
            yield part(freight.lane, group[start : start + freight.rows])


def shared_by(row: WaitingRow) -> tuple[object, ...]:
    """What all rows of one request have in common."""
    request = ConsentRequest.load(row.payload)
    source = request.source if request.kind is Kind.SUBSCRIBE else None
    return (row.kind, request.list_id, request.historical, source)


def part(lane: Lane, rows: Sequence[WaitingRow]) -> PlannedBatch:
    """These rows as one batch."""
    carriers = [Carrier(row_id=row.id, person_id=row.person_id, payload=row.payload) for row in rows]
    return PlannedBatch(lane=lane, carriers=carriers)
