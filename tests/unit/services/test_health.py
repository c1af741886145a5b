"""What vital signs say, as a table."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from klaviyo_bridge.domain.vitals import Line, Vitals
from klaviyo_bridge.services.health import Status, examine, worst
from klaviyo_bridge.services.vital_signs import VitalSigns, lateness

NOW = datetime(2026, 11, 1, tzinfo=UTC)
PULSES = {"push": 60.0, "pull": 60.0}


def vitals(**rest: Any) -> Vitals:
    values: dict[str, Any] = {
        "at": NOW,
        "waiting": {},
        "batches": {},
        "dead": 0,
        "inbox": Line(),
        "last_webhook": None,
        "beats": {"push": NOW, "pull": NOW},
        "stopped": None,
    }
    return Vitals(**{**values, **rest})


def ago(**rest: float) -> datetime:
    return NOW - timedelta(**rest)


def test_all_is_well_when_nothing_is_wrong() -> None:
    parts = list(examine(vitals(), PULSES))

    assert worst(parts) is Status.OK
    assert all(not part.advice for part in parts)


@pytest.mark.parametrize(
    ("signs", "name", "status"),
    [
        pytest.param({"stopped": "401"}, "key", Status.FAIL, id="a refused key"),
        pytest.param({"breaker": "open"}, "breaker", Status.WARN, id="an open breaker"),
        pytest.param({"breaker": "half-open"}, "breaker", Status.WARN, id="a probing breaker"),
        pytest.param({"beats": {}}, "worker", Status.WARN, id="no worker ever"),
        pytest.param({"beats": {"push": NOW, "pull": ago(minutes=10)}}, "worker", Status.FAIL, id="a late pulse"),
        pytest.param({"dead": 3}, "dead letters", Status.WARN, id="dead letters"),
        pytest.param(
            {"waiting": {"event": Line(count=1, oldest=ago(hours=1))}}, "oldest waiting row", Status.WARN, id="old"
        ),
        pytest.param(
            {"waiting": {"event": Line(count=1, oldest=ago(minutes=1))}}, "oldest waiting row", Status.OK, id="young"
        ),
        pytest.param({"inbox": Line(count=1, oldest=ago(hours=1))}, "inbox", Status.WARN, id="unhandled webhooks"),
        pytest.param({"last_webhook": ago(days=2)}, "webhook silence", Status.WARN, id="silence"),
        pytest.param({"last_webhook": ago(hours=2)}, "webhook silence", Status.OK, id="a webhook today"),
        pytest.param({"allowance": {"create_event": 1.0}}, "gate", Status.OK, id="at the limit is as intended"),
    ],
)
def test_each_part_judges_its_own_signs(signs: dict[str, Any], name: str, status: Status) -> None:
    part = next(part for part in examine(vitals(**signs), PULSES) if part.name == name)

    assert part.status is status
    assert bool(part.advice) == (status is not Status.OK)


@pytest.mark.parametrize(("seconds", "late"), [(100, 0), (120, 0), (150, 30)])
def test_a_pulse_is_late_after_twice_its_pace(seconds: float, late: float) -> None:
    found = lateness(vitals(beats={"push": ago(seconds=seconds)}), PULSES)

    assert found == {"push": late}


class Store:
    """Vitals that cost `cost` seconds to read."""

    def __init__(self, cost: float) -> None:
        self.now, self.cost, self.reads = 0.0, cost, 0
        self.beats: list[str] = []

    def read(self, account: str) -> Vitals:
        self.reads += 1
        self.now += self.cost
        return vitals()

    def note_beat(self, account: str, pulse: str) -> None:
        self.beats.append(pulse)


@pytest.mark.parametrize(("cost", "kept"), [(0.0, 1.0), (0.01, 1.0), (2.0, 40.0)])
def test_signs_are_kept_longer_the_dearer_they_are_to_read(cost: float, kept: float) -> None:
    store = Store(cost)
    signs = VitalSigns("default", store, dict, PULSES, clock=lambda: store.now)

    signs.read()
    store.now += kept * 0.99
    signs.read()
    assert store.reads == 1

    store.now += kept * 0.02
    signs.read()
    assert store.reads == 2


def test_beats_are_noted_now_and_then_only() -> None:
    store = Store(0.0)
    signs = VitalSigns("default", store, dict, PULSES, clock=lambda: store.now)

    for _ in range(100):
        signs.beat("push")
        signs.beat("plan")
        store.now += 1.0

    assert store.beats == ["push"] * 7
