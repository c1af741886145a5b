"""`/metrics`: what the catalogue says is there, in a format Prometheus reads; and dashboards name nothing else."""

from __future__ import annotations

import json
import re
from pathlib import Path

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from builders import API_KEY, a_bridge, a_profile, an_event, some_settings
from klaviyo_bridge import open_bridge
from klaviyo_bridge.infra.telemetry import INSTRUMENTS, telemetry
from klaviyo_simulator.testing import RunningSimulator
from serving import app_of, serving
from waiting import until

ROOT = Path(__file__).parents[3]
DASHBOARD = ROOT / "deploy/grafana/klaviyo-bridge.json"
ALERTS = ROOT / "deploy/prometheus/alerts.yaml"
SUFFIXES = {"histogram": ("_bucket", "_sum", "_count")}
EXPOSED = {i.exposed + suffix for i in INSTRUMENTS for suffix in SUFFIXES.get(i.kind, ("",))}


def scrape(url: str) -> dict[str, list[tuple[dict[str, str], float]]]:
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families(httpx.get(f"{url}/metrics").raise_for_status().text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def test_after_the_everyday_flow_the_numbers_are_those_that_happened(
    klaviyo: RunningSimulator, database_url: str
) -> None:
    with a_bridge(klaviyo, database_url=database_url) as bridge, bridge.working(), serving(app_of(bridge)) as url:
        headers = {"Authorization": f"Bearer {API_KEY}"}
        httpx.post(f"{url}/v1/profiles", json=a_profile(), headers=headers).raise_for_status()
        until(lambda: klaviyo.control.effects(kind="profile.created"))
        httpx.post(f"{url}/v1/events", json=an_event(), headers=headers).raise_for_status()
        until(lambda: len(scrape(url).get("klaviyo_bridge_rows_settled_total", ())) == 2)
        until(lambda: scrape(url).get("klaviyo_bridge_allowance_used"))  # gauges are some seconds old

        found = scrape(url)

    assert ({"lane": "create_event", "state": "delivered"}, 1.0) in found["klaviyo_bridge_rows_settled_total"]
    assert ({"operation": "create_event", "status": "202"}, 1.0) in found["klaviyo_bridge_calls_total"]
    assert ({"operation": "create_event"}, 1.0) in found["klaviyo_bridge_call_duration_seconds_count"]
    assert found["klaviyo_bridge_breaker_open"] == [({}, 0.0)]
    assert all(0 < used < 0.01 for _, used in found["klaviyo_bridge_allowance_used"])
    assert {name for name in found if not name.endswith("_created")} <= EXPOSED
    assert {name for name in found if name.startswith("klaviyo_bridge_rows_")} >= {
        "klaviyo_bridge_rows_waiting",
        "klaviyo_bridge_rows_oldest_seconds",
        "klaviyo_bridge_rows_dead",
    }


def test_what_waits_is_shown_with_its_age(database_url: str) -> None:
    with open_bridge(some_settings(database_url=database_url)) as bridge, serving(app_of(bridge)) as url:
        bridge.events.track(an_event())

        found = scrape(url)

    assert ({"kind": "event"}, 1.0) in found["klaviyo_bridge_rows_waiting"]
    assert ({"kind": "profile"}, 0.0) in found["klaviyo_bridge_rows_waiting"]
    assert next(age for labels, age in found["klaviyo_bridge_rows_oldest_seconds"] if labels == {"kind": "event"}) > 0


def test_without_the_extra_it_is_said_what_to_install(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telemetry.importlib.util, "find_spec", lambda name: None)
    with open_bridge(some_settings(database_url=database_url)) as bridge, serving(app_of(bridge)) as url:
        answer = httpx.get(f"{url}/metrics")

    assert answer.status_code == 501
    assert "klaviyo-bridge[otel]" in answer.json()["detail"]


def test_two_bridges_in_one_process_keep_their_numbers_apart(database_url: str, tmp_path: Path) -> None:
    other = some_settings(database_url=f"sqlite:///{tmp_path / 'other.db'}")
    with open_bridge(some_settings(database_url=database_url)) as one, open_bridge(other) as two:
        one.telemetry.recorder.throttled("create_event", 1.0)
        assert one.telemetry.expose is not None
        assert two.telemetry.expose is not None

        assert b"throttled_total{" in one.telemetry.expose().body
        assert b"throttled_total{" not in two.telemetry.expose().body


def expressions() -> list[str]:
    panels = json.loads(DASHBOARD.read_text("utf-8"))["panels"]
    rules = [rule for group in yaml.safe_load(ALERTS.read_text("utf-8"))["groups"] for rule in group["rules"]]
    return [target["expr"] for panel in panels for target in panel.get("targets", ())] + [
        rule["expr"] for rule in rules
    ]


def test_dashboard_and_alerts_name_only_metrics_that_exist() -> None:
    named = {name for text in expressions() for name in re.findall(r"klaviyo_bridge_\w+", text)}

    assert len(named) > 10
    assert named <= EXPOSED


def test_every_alert_says_what_to_do() -> None:
    rules = [rule for group in yaml.safe_load(ALERTS.read_text("utf-8"))["groups"] for rule in group["rules"]]

    assert all({"summary", "description"} <= set(rule["annotations"]) for rule in rules)
    assert all(rule["labels"]["severity"] in {"page", "ticket"} for rule in rules)
