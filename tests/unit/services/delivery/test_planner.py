"""How rows are cut into batches: pure, so each rule is a few lines."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from klaviyo_bridge.domain.event import event
from klaviyo_bridge.domain.outbox import Kind, Lane, WaitingRow
from klaviyo_bridge.domain.profile import ProfileChange, profile_change
from klaviyo_bridge.services.delivery.planner import Policy, Situation, merge_writes, plan_events, plan_profiles

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
LONG_AGO = NOW - timedelta(minutes=5)
SMALL = Policy(express_rows=5, express_total=10, import_rows=20, event_rows=20)


def situation(policy: Policy = SMALL, **open_batches: int) -> Situation:
    return Situation(NOW, policy, {Lane[name]: count for name, count in open_batches.items()})


def write(number: int, *, person: int | None = None, since: datetime = LONG_AGO, **fields: Any) -> WaitingRow:
    person = number if person is None else person
    change = profile_change({"email": f"p{person}@example.com", **fields})
    return WaitingRow(id=number, kind=Kind.PROFILE, person_id=person, payload=change.dump(), since=since)


def happening(number: int, *, person: int = 1, unique_id: str | None = None) -> WaitingRow:
    made = event(
        {
            "metric": "Placed Order",
            "profile": {"email": f"p{person}@example.com"},
            "unique_id": unique_id or f"order-{number}",
        },
        now=NOW,
    )
    return WaitingRow(id=number, kind=Kind.EVENT, person_id=person, payload=made.dump(), since=LONG_AGO)


def merged_fields(rows: list[WaitingRow]) -> Mapping[str, Any]:
    (carrier,) = merge_writes(rows)
    return ProfileChange.load(carrier.payload).fields()


def test_a_few_rows_go_by_the_single_endpoint_side_by_side() -> None:
    planned = list(plan_profiles([write(n) for n in range(1, 11)], situation()))

    assert {batch.lane for batch in planned} == {Lane.UPSERT}
    assert [len(batch.carriers) for batch in planned] == [5, 5]


def test_a_backlog_goes_by_bulk_in_full_requests() -> None:
    planned = list(plan_profiles([write(n) for n in range(1, 46)], situation()))

    assert [(batch.lane, len(batch.carriers)) for batch in planned] == [
        (Lane.IMPORT, 20), (Lane.IMPORT, 20), (Lane.IMPORT, 5)
    ]  # fmt: skip


def test_what_finds_no_room_waits() -> None:
    planned = list(plan_profiles([write(n) for n in range(1, 46)], situation(IMPORT=2)))

    assert [len(batch.carriers) for batch in planned] == [20]


def test_a_request_that_is_not_full_lingers() -> None:
    fresh = [write(n, since=NOW) for n in range(1, 26)]

    assert [len(batch.carriers) for batch in plan_profiles(fresh, situation())] == [20]


def test_a_clear_never_goes_by_bulk() -> None:
    rows = [*(write(n) for n in range(1, 21)), write(21, first_name=None)]

    planned = list(plan_profiles(rows, situation()))

    assert [(b.lane, [c.row_id for c in b.carriers]) for b in planned if b.lane is Lane.UPSERT] == [(Lane.UPSERT, [21])]


def test_a_lane_full_of_clears_does_not_keep_the_freight_back() -> None:
    rows = [*(write(n) for n in range(1, 21)), write(21, first_name=None)]

    assert [batch.lane for batch in plan_profiles(rows, situation(UPSERT=8))] == [Lane.IMPORT]


def test_the_newest_value_of_each_field_wins_and_clears_are_kept() -> None:
    rows = [
        write(1, person=7, first_name="Ann", last_name="Lee"),
        write(2, person=7, first_name=None),
        write(3, person=7, last_name="Ray"),
    ]

    assert merged_fields(rows) == {"email": "p7@example.com", "first_name": None, "last_name": "Ray"}


def test_the_carrier_names_what_it_absorbed() -> None:
    (carrier,) = merge_writes([write(n, person=7, title=str(n)) for n in (1, 2, 3)])

    assert (carrier.row_id, list(carrier.absorbed)) == (3, [1, 2])


def test_writes_that_name_different_profiles_are_not_merged() -> None:
    first = write(1, person=7, external_id="a")
    (carrier,) = merge_writes([first, write(2, person=7, external_id="b")])

    assert (carrier.row_id, list(carrier.absorbed)) == (1, [])


def test_a_merge_that_would_be_too_large_is_not_made() -> None:
    (carrier,) = merge_writes([write(n, person=7, properties={f"p{n}": "x" * 60_000}) for n in (1, 2)])

    assert (carrier.row_id, list(carrier.absorbed)) == (1, [])


def test_a_repeated_event_goes_by_the_single_endpoint() -> None:
    rows = [*(happening(n, person=n) for n in range(1, 21)), happening(21, person=1, unique_id="order-1")]

    planned = list(plan_events(rows, situation()))

    assert {batch.lane: [c.row_id for c in batch.carriers] for batch in planned} == {
        Lane.EVENT: [21], Lane.EVENTS: list(range(1, 21))
    }  # fmt: skip


def test_the_bytes_of_a_request_are_bounded() -> None:
    policy = Policy(express_rows=1, express_total=1, batch_bytes=10_000)
    rows = [write(n, properties={"note": "x" * 4_000}) for n in range(1, 5)]

    assert [len(batch.carriers) for batch in plan_profiles(rows, situation(policy))] == [2, 2]


@pytest.mark.parametrize(("open_imports", "rows"), [(0, 60), (2, 20), (3, 11)])
def test_no_more_rows_are_looked_at_than_can_go(open_imports: int, rows: int) -> None:
    wanted, _ = SMALL.wanted(SMALL.import_rows, Lane.IMPORT, {Lane.IMPORT: open_imports})

    assert wanted == rows
