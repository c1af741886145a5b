"""Dead letters on both databases: replay is idempotent and never overwrites something newer."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from klaviyo_bridge.domain.dead_letter import Replayed, Wanted
from klaviyo_bridge.domain.outbox import Carrier, Kind, Lane, PlannedBatch, Priority, RowState, Verdict
from klaviyo_bridge.domain.profile import ProfileChange, profile_change
from klaviyo_bridge.infra.database import Database
from klaviyo_bridge.infra.engine import open_engine
from klaviyo_bridge.infra.stores.batches import BatchStore
from klaviyo_bridge.infra.stores.dead_letters import DeadLetterStore
from klaviyo_bridge.infra.stores.outbox import OutboxStore
from klaviyo_bridge.services.dead_letters import DeadLetters, described

ACCOUNT = "shop"


def now() -> datetime:
    return datetime.now(UTC)


class Bench:
    """Stores over one database, and rows that end as told."""

    def __init__(self, outbox: OutboxStore, batches: BatchStore, letters: DeadLetters) -> None:
        self.outbox, self.batches, self.letters = outbox, batches, letters

    def push(self, **fields: object) -> None:
        change = profile_change({"email": "ann@example.com", **fields})
        self.outbox.add_changes(ACCOUNT, [change], priority=Priority.UPSERT)

    def end(self, state: RowState) -> dict[str, object]:
        """Deliver the one waiting row, so to speak; its fields."""
        with self.outbox.planning(ACCOUNT) as planning:
            assert planning is not None
            (row,) = planning.waiting(Kind.PROFILE, 10, size=10**6)
            carrier = Carrier(row_id=row.id, person_id=row.person_id, payload=row.payload)
            batch_id = planning.seal(PlannedBatch(lane=Lane.UPSERT, carriers=[carrier]))
        batch = self.batches.begin(batch_id, 0)
        assert batch is not None
        self.batches.settle(batch, [Verdict(row_id=row.id, state=state, reason="invalid", detail="refused")])
        return dict(ProfileChange.load(row.payload).fields())


@pytest.fixture
def bench(database: Database, database_url: str) -> Iterator[Bench]:
    with open_engine(database, database_url) as engine:
        outbox = OutboxStore(database, engine, queue_of=lambda _: "live", notify=lambda: None, clock=now)
        batches = BatchStore(database, engine, queue_of=lambda _: "live", clock=now)
        letters = DeadLetters(ACCOUNT, DeadLetterStore(database, notify=lambda: None, clock=now))
        yield Bench(outbox, batches, letters)


def test_a_replay_goes_again_and_a_second_one_changes_nothing(bench: Bench) -> None:
    bench.push(first_name="A")
    bench.end(RowState.DEAD)

    replays = bench.letters.replay_all(Wanted(reason="invalid")), bench.letters.replay([1])

    assert replays == (Replayed(1, 0), Replayed(0, 0))
    assert bench.end(RowState.DELIVERED)["first_name"] == "A"


def test_a_field_that_a_newer_row_delivered_is_not_overwritten(bench: Bench) -> None:
    bench.push(first_name="old", last_name="Lee")
    bench.end(RowState.DEAD)
    bench.push(first_name="new")
    bench.end(RowState.DELIVERED)

    bench.letters.replay([1])

    replayed = bench.end(RowState.DELIVERED)
    assert (replayed.get("first_name"), replayed.get("last_name")) == (None, "Lee")


def test_a_row_with_nothing_left_is_superseded(bench: Bench) -> None:
    bench.push(first_name="old")
    bench.end(RowState.DEAD)
    bench.push(first_name="new")

    assert bench.letters.replay([1]) == Replayed(0, 1)


def test_personal_data_is_masked_unless_asked_for(bench: Bench) -> None:
    bench.push(first_name="Ann")
    bench.end(RowState.DEAD)
    (letter,) = bench.letters.page()

    assert "ann@example.com" not in str(described(letter))
    assert described(letter, reveal=True)["content"]["email"] == "ann@example.com"


def test_a_discarded_letter_is_gone_for_good(bench: Bench) -> None:
    bench.push(first_name="A")
    bench.end(RowState.DEAD)

    assert (bench.letters.discard([1]), bench.letters.replay([1]), bench.letters.page()) == (1, Replayed(0, 0), [])
