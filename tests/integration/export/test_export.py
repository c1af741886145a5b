"""The export against the simulator: what lands in DuckDB, Postgres and Parquet, also after trouble."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from builders import some_settings
from klaviyo_bridge.bridge import Bridge, open_bridge
from klaviyo_bridge.services.metrics_export.export import Outcome
from klaviyo_simulator.testing import RunningSimulator

pytestmark = pytest.mark.filterwarnings("default")  # dlt and what it brings warn


@contextmanager
def exporting(klaviyo: RunningSimulator, folder: Path, **rest: Any) -> Iterator[Bridge]:
    settings = some_settings(
        klaviyo,
        database_url=f"sqlite:///{folder / 'bridge.db'}",
        **{
            "export_url": f"duckdb:///{folder / 'warehouse.duckdb'}",
            "export_parquet": str(folder / "parquet"),
            "export_since": datetime.now(UTC) - timedelta(days=120),
            "export_figures_hours": 0,
            **rest,
        },
    )
    with open_bridge(settings) as bridge:
        yield bridge


def moved(outcome: Outcome) -> dict[str, int]:
    return {done.stream.partition(":")[0]: done.moved for done in outcome.streams if done.moved}


def query(folder: Path, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(folder / "warehouse.duckdb"), read_only=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        return connection.execute(sql).fetchall()


def state(klaviyo: RunningSimulator) -> dict[str, Any]:
    return klaviyo.control.state()["accounts"][0]


def test_an_export_holds_every_event_profile_and_member_once(klaviyo: RunningSimulator, tmp_path: Path) -> None:
    klaviyo.control.seed(profiles=300, events_per_profile=20, days=60, lists=2)

    with exporting(klaviyo, tmp_path, export_figures_hours=6) as bridge:
        bridge.metrics_export.run()

    there = state(klaviyo)
    counts = query(
        tmp_path,
        "SELECT (SELECT count(*) FROM klaviyo.events), (SELECT count(DISTINCT id) FROM klaviyo.events),"
        " (SELECT count(*) FROM klaviyo.profiles), (SELECT count(*) FROM klaviyo.lists),"
        " (SELECT count(*) FROM klaviyo.metrics)",
    )
    assert counts == [(there["events"], there["events"], there["profiles"], len(there["lists"]), there["metrics"])]
    assert query(tmp_path, "SELECT count(*) FROM klaviyo.list_members")[0][0] > 0
    recent = "SELECT count(*) FROM klaviyo.events WHERE happened_at >= (SELECT min(day) FROM klaviyo.metric_aggregates)"
    assert query(tmp_path, "SELECT sum(count) FROM klaviyo.metric_aggregates") == query(tmp_path, recent)


def test_parquet_files_by_day_hold_what_the_database_holds(klaviyo: RunningSimulator, tmp_path: Path) -> None:
    klaviyo.control.seed(profiles=50, events_per_profile=10, days=20)

    with exporting(klaviyo, tmp_path) as bridge:
        bridge.metrics_export.run()

    files = str(tmp_path / "parquet" / "events" / "*" / "data.parquet")
    days = {path.parent.name for path in Path(tmp_path / "parquet" / "events").glob("*/data.parquet")}
    in_files = duckdb.sql(f"SELECT count(*), round(sum(value), 2) FROM read_parquet('{files}')").fetchall()
    assert in_files == query(tmp_path, "SELECT count(*), round(sum(value), 2) FROM klaviyo.events")
    assert len(days) > 5


def test_a_second_export_moves_only_what_changed(klaviyo: RunningSimulator, tmp_path: Path) -> None:
    klaviyo.control.seed(profiles=50, events_per_profile=10, days=20)

    with exporting(klaviyo, tmp_path) as bridge:
        bridge.metrics_export.run()
        nothing = bridge.metrics_export.run()
        person = query(tmp_path, "SELECT email FROM klaviyo.profiles WHERE email IS NOT NULL ORDER BY id LIMIT 1")
        klaviyo.control.act("edit", email=person[0][0], attributes={"first_name": "Changed"})
        something = bridge.metrics_export.run()

    assert moved(nothing) == {}
    assert moved(something) == {"profiles": 1}
    assert query(tmp_path, "SELECT count(*) FROM klaviyo.profiles WHERE first_name = 'Changed'") == [(1,)]


def test_a_full_read_marks_who_left_a_list(klaviyo: RunningSimulator, tmp_path: Path) -> None:
    klaviyo.control.seed(profiles=30, events_per_profile=1, days=5, lists=1)

    with exporting(klaviyo, tmp_path) as bridge:
        bridge.metrics_export.run()
        [(list_id, profile_id)] = query(tmp_path, "SELECT list_id, profile_id FROM klaviyo.list_members LIMIT 1")
        klaviyo.control.act("leave", profile=profile_id, list=list_id)
        bridge.metrics_export.run(full=True)

    gone = query(tmp_path, "SELECT list_id, profile_id FROM klaviyo.list_members WHERE deleted")
    assert gone == [(list_id, profile_id)]
    assert query(tmp_path, "SELECT count(*) FROM klaviyo.events WHERE deleted") == [(0,)]
