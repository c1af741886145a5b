"""Nothing of a person, and no secret, in logs, metrics, traces or error bodies: marked values, every path, one grep."""

from __future__ import annotations

import io

import httpx
import pytest
import structlog
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from builders import API_KEY, WEBHOOK_SECRET, some_settings
from klaviyo_bridge import open_bridge
from klaviyo_simulator.testing import RunningSimulator
from serving import app_of, serving
from waiting import until

MARK = "canary7f3"
PERSON = {
    "email": f"{MARK}@example.com",
    "first_name": f"{MARK}-first",
    "last_name": f"{MARK}-last",
    "phone_number": "+15005557331",
    "external_id": f"{MARK}-id",
    "properties": {"note": f"{MARK}-note"},
}
MARKS = (MARK, "5005557331", API_KEY, WEBHOOK_SECRET)


@pytest.fixture
def logs():
    """Everything that is logged, in every level."""
    written = io.StringIO()
    structlog.configure(
        processors=[structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str)],
        logger_factory=structlog.PrintLoggerFactory(written),
        cache_logger_on_first_use=False,
    )
    yield written
    structlog.reset_defaults()


WRONG = [
    pytest.param("/v1/profiles", {**PERSON, "email": f"{MARK} is no address"}, id="a wrong email"),
    pytest.param("/v1/profiles", {**PERSON, "phone_number": f"{MARK}"}, id="a wrong phone number"),
    pytest.param("/v1/profiles", [f"{MARK}"], id="no object"),
    pytest.param("/v1/events", {"metric": f"{MARK}" * 40, "profile": PERSON}, id="a metric that is too long"),
    pytest.param("/v1/events", {"metric": "Bought", "profile": PERSON, "time": f"{MARK}"}, id="a wrong time"),
    pytest.param("/v1/events", {"metric": "Bought", "profile": PERSON, "value": f"{MARK}"}, id="a wrong value"),
]


@pytest.mark.parametrize(("path", "body"), WRONG)
def test_error_bodies_quote_no_value(tmp_path, path: str, body: object) -> None:
    settings = some_settings(database_url=f"sqlite:///{tmp_path / 'bridge.db'}")
    with open_bridge(settings) as bridge, serving(app_of(bridge)) as url:
        answer = httpx.post(f"{url}{path}", json=body, headers={"Authorization": f"Bearer {API_KEY}"})

    assert answer.status_code == 422
    assert not [mark for mark in MARKS if mark in answer.text]


def test_logs_metrics_and_traces_name_nobody_when_klaviyo_fails(
    klaviyo: RunningSimulator, tmp_path, logs: io.StringIO
) -> None:
    spans = InMemorySpanExporter()
    settings = some_settings(klaviyo, database_url=f"sqlite:///{tmp_path / 'bridge.db'}")
    headers = {"Authorization": f"Bearer {API_KEY}"}
    klaviyo.control.fault("status", "create_event", count=2, params={"status": 500})
    klaviyo.control.fault("html", "create_or_update_profile", count=1, params={"status": 503})
    with open_bridge(settings, spans=spans) as bridge, bridge.working(), serving(app_of(bridge)) as url:
        httpx.post(f"{url}/v1/profiles", json=PERSON, headers=headers).raise_for_status()
        event = {"metric": "Bought", "profile": PERSON, "unique_id": f"{MARK}-order", "properties": {"x": MARK}}
        httpx.post(f"{url}/v1/events", json=event, headers=headers).raise_for_status()
        until(lambda: klaviyo.control.effects(kind="event.stored"), seconds=60)
        structlog.get_logger("canary").warning("the log is listened to")
        seen = [httpx.get(f"{url}{path}").text for path in ("/metrics", "/health", "/health/ready")]

    everything = "\n".join([logs.getvalue(), *seen, *(span.to_json() for span in spans.get_finished_spans())])
    assert "the log is listened to" in everything
    assert "klaviyo create_event" in everything
    assert "klaviyo_bridge_rows_settled_total" in everything
    assert not [mark for mark in (*MARKS, klaviyo.key) if mark in everything]
