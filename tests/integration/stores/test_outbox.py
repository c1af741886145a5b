"""The outbox on both databases: the fence, the order of a person's rows, and what counts as news."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest

from klaviyo_bridge.domain.event import event
from klaviyo_bridge.domain.outbox import Kind, Lane, NewRow, PlannedBatch, Priority, RowState, SourceMark, Verdict
from klaviyo_bridge.domain.profile import profile_change
from klaviyo_bridge.infra.database import Database
from klaviyo_bridge.infra.engine import Engine, open_engine
from klaviyo_bridge.infra.stores.batches import BatchStore
from klaviyo_bridge.infra.stores.outbox import OutboxStore, Planning
from klaviyo_bridge.services.delivery.planner import merge_writes

ACCOUNT = "shop"


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def engine(database: Database, database_url: str) -> Iterator[Engine]:
    with open_engine(database, database_url) as opened:
        yield opened


@pytest.fixture
def outbox(database: Database, engine: Engine) -> OutboxStore:
    return OutboxStore(database, engine, queue_of=lambda _: "live", notify=lambda: None, clock=now)


@pytest.fixture
def batches(database: Database, engine: Engine) -> BatchStore:
    return BatchStore(database, engine, queue_of=lambda _: "live", clock=now)


def push(
    outbox: OutboxStore,
    *,
    priority: Priority = Priority.UPSERT,
    marks: Sequence[SourceMark] = (),
    **fields: object,
) -> int:
    """How many rows it made."""
    change = profile_change({"email": "ann@example.com", **fields})
    return outbox.add_changes(ACCOUNT, [change], priority=priority, marks=marks).taken


def track(outbox: OutboxStore, unique_id: str, **person: object) -> None:
    made = event(
        {"metric": "Viewed", "profile": {"email": "ann@example.com", **person}, "unique_id": unique_id}, now=now()
    )
    row = NewRow(kind=Kind.EVENT, identity=made.profile.identity, payload=made.dump(), priority=Priority.LIVE)
    outbox.add(ACCOUNT, [row])


@contextmanager
def planning(outbox: OutboxStore) -> Iterator[Planning]:
    with outbox.planning(ACCOUNT) as opened:
        assert opened is not None
        yield opened


def free(outbox: OutboxStore, kind: Kind) -> list[int]:
    """Ids of the rows that may go now."""
    with planning(outbox) as opened:
        return [row.id for row in opened.waiting(kind, 100, size=10**6)]


def seal(outbox: OutboxStore, kind: Kind, lane: Lane) -> str:
    with planning(outbox) as opened:
        rows = list(opened.waiting(kind, 100, size=10**6))
        together = opened.waiting_of([row.person_id for row in rows]) if kind is Kind.PROFILE else rows
        return opened.seal(PlannedBatch(lane=lane, carriers=list(merge_writes(together))))


def deliver(batches: BatchStore, batch_id: str, *, klaviyo_id: str | None = None) -> None:
    batch = batches.begin(batch_id, 0)
    assert batch is not None
    verdicts = [Verdict(row_id=row.id, state=RowState.DELIVERED, klaviyo_id=klaviyo_id) for row in batch.rows]
    assert batches.settle(batch, verdicts)


def test_a_person_in_a_batch_is_fenced_until_it_is_settled(outbox: OutboxStore, batches: BatchStore) -> None:
    push(outbox, first_name="A")
    batch_id = seal(outbox, Kind.PROFILE, Lane.IMPORT)
    push(outbox, first_name="B")

    before = free(outbox, Kind.PROFILE)
    deliver(batches, batch_id)

    assert (before, len(free(outbox, Kind.PROFILE))) == ([], 1)


def test_rows_of_different_kinds_go_in_the_order_they_came(outbox: OutboxStore, batches: BatchStore) -> None:
    track(outbox, "1")
    push(outbox, first_name="A")
    track(outbox, "2")

    first = free(outbox, Kind.EVENT), free(outbox, Kind.PROFILE)
    deliver(batches, seal(outbox, Kind.EVENT, Lane.EVENT))
    second = free(outbox, Kind.EVENT), free(outbox, Kind.PROFILE)

    assert first == ([1], [])
    assert second == ([], [2])


def test_a_live_event_takes_the_older_write_it_waits_for_along(outbox: OutboxStore) -> None:
    outbox.add_changes(
        ACCOUNT, [profile_change({"email": "bob@example.com", "title": "x"})], priority=Priority.FULL_SYNC
    )
    push(outbox, priority=Priority.FULL_SYNC, first_name="A")
    track(outbox, "1")

    assert free(outbox, Kind.PROFILE) == [2, 1]


def test_a_value_that_goes_back_within_one_commit_is_not_lost(outbox: OutboxStore, batches: BatchStore) -> None:
    push(outbox, first_name="A")
    deliver(batches, seal(outbox, Kind.PROFILE, Lane.UPSERT))
    changes = [profile_change({"email": "ann@example.com", "first_name": name}) for name in ("B", "A")]

    taken = outbox.add_changes(ACCOUNT, changes, priority=Priority.UPSERT)

    assert taken.taken == 2


def test_a_new_identifier_alone_is_news(outbox: OutboxStore, batches: BatchStore) -> None:
    push(outbox)
    deliver(batches, seal(outbox, Kind.PROFILE, Lane.UPSERT))

    assert (push(outbox), push(outbox, phone_number="+15005550006")) == (0, 1)


def test_what_an_event_wrote_is_known_to_the_next_push(outbox: OutboxStore, batches: BatchStore) -> None:
    push(outbox, first_name="A")
    deliver(batches, seal(outbox, Kind.PROFILE, Lane.UPSERT))
    track(outbox, "1", first_name="B")

    while_open = push(outbox, first_name="A")

    assert while_open == 1


def test_the_nulls_of_a_first_full_sync_clear_nothing(outbox: OutboxStore) -> None:
    mark = SourceMark("customers", "7", b"fingerprint-of-7")
    push(outbox, priority=Priority.FULL_SYNC, marks=[mark], first_name=None, last_name="Lee")

    with planning(outbox) as opened:
        (carrier,) = merge_writes(opened.waiting(Kind.PROFILE, 10, size=10**6))
    assert b"first_name" not in carrier.payload


def test_two_persons_that_are_one_profile_at_klaviyo_strand_no_batch(outbox: OutboxStore, batches: BatchStore) -> None:
    push(outbox, first_name="A")
    deliver(batches, seal(outbox, Kind.PROFILE, Lane.UPSERT), klaviyo_id="01ONE")
    change = profile_change({"phone_number": "+15005550006", "first_name": "A"})
    outbox.add_changes(ACCOUNT, [change], priority=Priority.UPSERT)

    deliver(batches, seal(outbox, Kind.PROFILE, Lane.UPSERT), klaviyo_id="01ONE")

    assert outbox.backlog(ACCOUNT)[RowState.BATCHED] == 0


def test_a_row_without_an_outcome_waits_again(outbox: OutboxStore, batches: BatchStore) -> None:
    push(outbox, first_name="A")
    batch = batches.begin(seal(outbox, Kind.PROFILE, Lane.UPSERT), 0)
    assert batch is not None

    batches.settle(batch, [])

    assert free(outbox, Kind.PROFILE) == [1]


def test_a_stale_attempt_changes_nothing(outbox: OutboxStore, batches: BatchStore) -> None:
    push(outbox, first_name="A")
    batch = batches.begin(seal(outbox, Kind.PROFILE, Lane.UPSERT), 0)
    assert batch is not None
    batches.retry(batch, delay=0.0, error="taken over", ambiguous=True)

    late = batches.settle(batch, [Verdict(row_id=1, state=RowState.DELIVERED)])

    assert (late, batches.accept(batch, "job"), batches.begin(batch.id, 0)) == (False, False, None)


def test_a_batch_with_a_job_is_not_stranded_and_one_without_is(
    outbox: OutboxStore, batches: BatchStore, database: Database
) -> None:
    push(outbox, first_name="A")
    batch_id = seal(outbox, Kind.PROFILE, Lane.UPSERT)
    alive = batches.stranded(ACCOUNT)
    with database.write() as connection:
        from klaviyo_bridge.infra import tables

        connection.execute(tables.batches.update().values(attempt=5))

    assert alive == []
    assert [batch.id for batch in batches.stranded(ACCOUNT)] == [batch_id]
