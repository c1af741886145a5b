"""Profiles both ways, over real HTTP to a simulated Klaviyo, with the application's table on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from builders import a_bridge
from klaviyo_bridge.bridge import Bridge
from klaviyo_bridge.services.profile_sync import Synced
from klaviyo_simulator.testing import RunningSimulator
from waiting import until

FIELDS: dict[str, Any] = {
    "email": "email",
    "phone_number": "phone",
    "first_name": "first_name",
    "location.city": "city",
    "properties.plan": "plan",
    "properties.spent": "spent",
}


class Shop:
    """The application's own database: one table of customers."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine = sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
        self.table = sa.Table(
            "customers",
            sa.MetaData(),
            sa.Column("id", sa.Integer, primary_key=True),
            sa.Column("email", sa.String(200)),
            sa.Column("phone", sa.String(40)),
            sa.Column("first_name", sa.String(100)),
            sa.Column("city", sa.String(100)),
            sa.Column("plan", sa.String(20)),
            sa.Column("spent", sa.Numeric(10, 2)),
            sa.Column("updated_at", sa.DateTime(timezone=True), index=True),
        )
        self.table.metadata.create_all(self.engine)

    def add(self, key: int, **columns: Any) -> None:
        values = {"email": f"c{key}@example.com", "updated_at": datetime.now(UTC), **columns}
        with self.engine.begin() as connection:
            connection.execute(self.table.insert().values(id=key, **values))

    def change(self, key: int, **columns: Any) -> None:
        values = {"updated_at": datetime.now(UTC), **columns}
        with self.engine.begin() as connection:
            connection.execute(self.table.update().where(self.table.c.id == key).values(**values))

    def row(self, key: int) -> dict[str, Any]:
        with self.engine.connect() as connection:
            return dict(connection.execute(self.table.select().where(self.table.c.id == key)).mappings().one())


@pytest.fixture
def shop(database_url: str, tmp_path: Path) -> Iterator[Shop]:
    url = f"sqlite:///{tmp_path / 'shop.db'}" if database_url.startswith("sqlite") else database_url
    opened = Shop(url)
    yield opened
    opened.engine.dispose()


@contextmanager
def a_synced_bridge(klaviyo: RunningSimulator, shop: Shop, database_url: str, **mapping: Any) -> Iterator[Bridge]:
    wanted = {"name": "customers", "url": shop.url, "table": "customers", "key": "id", "cursor": "updated_at"}
    mappings = [{**wanted, "fields": FIELDS, **mapping}]
    with a_bridge(klaviyo, database_url=database_url, mappings=mappings) as bridge:
        yield bridge


def deliver(bridge: Bridge, klaviyo: RunningSimulator) -> None:
    """Work until nothing is on its way."""
    with bridge.working():
        until(lambda: klaviyo.control.settle() is not None and not _open(bridge))


def _open(bridge: Bridge) -> int:
    report = bridge.health.report()
    return report.waiting + report.batched


def attributes(klaviyo: RunningSimulator, **person: Any) -> dict[str, Any]:
    return klaviyo.control.person(**person)


def test_first_sync_pushes_all_and_verify_finds_no_difference(
    klaviyo: RunningSimulator, shop: Shop, database_url: str
) -> None:
    for key in range(1, 41):
        shop.add(key, first_name=f"Name {key}", plan="pro" if key % 2 else None, spent=f"{key}.50")

    with a_synced_bridge(klaviyo, shop, database_url) as bridge:
        first = bridge.profiles.sync()
        deliver(bridge, klaviyo)
        second = bridge.profiles.sync(full=True)
        verified = bridge.profiles.verify()

    assert (first.pushed.read, first.pushed.queued, first.pushed.rejected) == (40, 40, 0)
    assert (second.pushed.queued, second.pulled.applied, second.pulled.pushed_back) == (0, 0, 0)
    assert (verified.read, verified.equal, verified.differences) == (40, 40, [])


def test_edits_of_different_fields_on_both_sides_both_survive(
    klaviyo: RunningSimulator, shop: Shop, database_url: str
) -> None:
    shop.add(1, first_name="Ann", city="Berlin", plan="free")
    with a_synced_bridge(klaviyo, shop, database_url) as bridge:
        bridge.profiles.sync()
        deliver(bridge, klaviyo)
        shop.change(1, plan="pro")
        klaviyo.control.act("edit", email="c1@example.com", attributes={"location": {"city": "Paris"}})

        bridge.profiles.sync()
        deliver(bridge, klaviyo)
        until(lambda: bridge.profiles.sync() and shop.row(1)["city"] == "Paris")
        verified = bridge.profiles.verify()
        conflicts = bridge.profiles.conflicts()

    assert (shop.row(1)["plan"], shop.row(1)["city"]) == ("pro", "Paris")
    assert verified.different == 0
    assert conflicts == []


def test_our_own_write_coming_back_crosses_no_second_time(
    klaviyo: RunningSimulator, shop: Shop, database_url: str
) -> None:
    shop.add(1, first_name="Ann")
    with a_synced_bridge(klaviyo, shop, database_url) as bridge:
        bridge.profiles.sync()
        deliver(bridge, klaviyo)
        klaviyo.control.clear_log()

        runs = [bridge.profiles.sync(full=True) for _ in range(3)]
        deliver(bridge, klaviyo)

    assert sum(run.pushed.queued + run.pulled.pushed_back + run.pulled.applied for run in runs) == 0
    assert klaviyo.control.effects(kind="profile.updated") == []


def test_what_klaviyo_knew_before_the_first_sync_is_kept(
    klaviyo: RunningSimulator, shop: Shop, database_url: str
) -> None:
    shop.add(1, first_name=None, city="Berlin")
    with a_bridge(klaviyo, database_url=database_url) as bridge:
        bridge.profiles.push({"email": "c1@example.com", "first_name": "Ann"})
        deliver(bridge, klaviyo)

    with a_synced_bridge(klaviyo, shop, database_url) as bridge:
        bridge.profiles.sync()
        deliver(bridge, klaviyo)
        verified = bridge.profiles.verify()

    assert shop.row(1)["first_name"] == "Ann"
    assert verified.different == 0


def test_a_changed_email_reaches_the_same_profile(klaviyo: RunningSimulator, shop: Shop, database_url: str) -> None:
    shop.add(1, email="old@example.com")
    with a_synced_bridge(klaviyo, shop, database_url) as bridge:
        bridge.profiles.sync()
        deliver(bridge, klaviyo)
        shop.change(1, email="New@Example.com")

        bridge.profiles.sync()
        deliver(bridge, klaviyo)
        verified = bridge.profiles.verify()

    assert (verified.equal, verified.different) == (1, 0)
    assert len(klaviyo.control.effects(kind="profile.created")) == 1


def test_two_rows_with_one_email_never_share_a_profile(
    klaviyo: RunningSimulator, shop: Shop, database_url: str
) -> None:
    shop.add(1, email="shared@example.com", first_name="Ann")
    shop.add(2, email="SHARED@example.com", first_name="Bob")
    with a_synced_bridge(klaviyo, shop, database_url) as bridge:
        total = bridge.profiles.sync().pushed
        deliver(bridge, klaviyo)
        refusals = bridge.profiles.refusals()
        shop.change(1, email="ann@example.com")
        bridge.profiles.sync()
        deliver(bridge, klaviyo)
        bridge.profiles.sync()
        deliver(bridge, klaviyo)
        verified = bridge.profiles.verify()

    assert (total.queued, total.rejected) == (1, 1)
    assert [(row["key"], row["kind"]) for row in refusals] == [("2", "contested")]
    assert (verified.equal, verified.differences) == (2, [])


def test_a_conflict_goes_to_the_later_write_and_is_recorded_masked(
    klaviyo: RunningSimulator, shop: Shop, database_url: str
) -> None:
    shop.add(1, city="Berlin")
    with a_synced_bridge(klaviyo, shop, database_url) as bridge:
        bridge.profiles.sync()
        deliver(bridge, klaviyo)
        shop.change(1, city="Hamburg", updated_at=datetime.now(UTC) - timedelta(hours=1))
        klaviyo.control.act("edit", email="c1@example.com", attributes={"location": {"city": "Paris"}})

        until(lambda: bridge.profiles.sync() and shop.row(1)["city"] == "Paris")
        conflicts = bridge.profiles.conflicts()

    assert [(c["field"], c["winner"], c["because"]) for c in conflicts] == [("location.city", "klaviyo", "later")]
    assert (conflicts[0]["ours"], conflicts[0]["theirs"]) == ("H… (7 characters)", "P… (5 characters)")


def test_a_row_committed_late_with_an_earlier_time_is_found(
    klaviyo: RunningSimulator, shop: Shop, database_url: str
) -> None:
    shop.add(1)
    with a_synced_bridge(klaviyo, shop, database_url) as bridge:
        bridge.profiles.sync()
        shop.add(2, updated_at=datetime.now(UTC) - timedelta(seconds=60))

        late = bridge.profiles.sync().pushed

    assert late.queued == 1


def test_rows_without_a_time_of_change_are_not_forgotten(
    klaviyo: RunningSimulator, shop: Shop, database_url: str
) -> None:
    shop.add(1, updated_at=None)
    shop.add(2)
    with a_synced_bridge(klaviyo, shop, database_url) as bridge:
        first = bridge.profiles.sync().pushed
        shop.change(1, first_name="Ann", updated_at=None)
        second = bridge.profiles.sync().pushed

    assert (first.queued, second.queued) == (2, 1)


def test_wrong_rows_are_listed_and_the_rest_goes(klaviyo: RunningSimulator, shop: Shop, database_url: str) -> None:
    shop.add(1, email="no-at-sign")
    shop.add(2, email=None)
    shop.add(3, phone="not a phone")
    shop.add(4, phone="030 123456")
    with a_synced_bridge(klaviyo, shop, database_url, country="DE") as bridge:
        total = bridge.profiles.sync().pushed
        deliver(bridge, klaviyo)
        refusals = {(row["key"], row["kind"]) for row in bridge.profiles.refusals()}

    assert total.read == total.queued + total.unchanged + total.rejected + total.deleted
    assert refusals == {("1", "refused"), ("2", "refused"), ("3", "omitted")}
    assert "+4930123456" in str(attributes(klaviyo, email="c4@example.com"))


def test_an_interrupted_sync_goes_on_where_it_stood(klaviyo: RunningSimulator, shop: Shop, database_url: str) -> None:
    with shop.engine.begin() as connection:
        start = datetime(2026, 1, 1, tzinfo=UTC)
        rows = [
            {"id": key, "email": f"c{key}@example.com", "updated_at": start + timedelta(hours=key)}
            for key in range(1, 2_501)
        ]
        connection.execute(shop.table.insert(), rows)
    with a_synced_bridge(klaviyo, shop, database_url) as bridge:
        seen = Synced()

        def watch(total: Synced) -> None:
            nonlocal seen
            seen = total

        first = bridge.profiles.sync(watch=watch, stop=lambda: seen.pushed.queued > 0)
        second = bridge.profiles.sync()

        states = [run["state"] for run in bridge.profiles.history()]

    assert (first.stopped, first.pushed.queued, second.pushed.queued) == (True, 1_000, 1_500)
    assert states == ["done", "stopped"]
