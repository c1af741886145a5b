"""One trace from the request to the call at Klaviyo, though another process makes the call."""

from __future__ import annotations

import json
import subprocess
import sys

import httpx
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from builders import API_KEY, an_event, some_settings
from klaviyo_bridge import open_bridge
from klaviyo_simulator.testing import RunningSimulator
from serving import app_of, serving

WORKER = """
import json, sys
sys.path.insert(0, sys.argv[4])
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from klaviyo_bridge import open_bridge
from klaviyo_bridge.config import load_settings
from waiting import until

settings = load_settings(
    klaviyo_private_key=sys.argv[1], klaviyo_host=sys.argv[2], database_url=sys.argv[3], job_poll=0.1,
    pull_every=3600.0, push_every=3600.0,
)
spans = InMemorySpanExporter()
with open_bridge(settings, spans=spans) as bridge:
    with bridge.working():
        until(lambda: any(span.name == "deliver" for span in spans.get_finished_spans()))
    print(json.dumps([
        {"name": span.name, "trace": span.context.trace_id, "id": span.context.span_id,
         "parent": span.parent and span.parent.span_id, "links": [link.context.trace_id for link in span.links],
         "text": span.to_json()}
        for span in spans.get_finished_spans()
    ]))
"""
CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def spans_of_a_worker(klaviyo: RunningSimulator, database_url: str) -> list[dict[str, object]]:
    tests = __file__.rsplit("/integration", 1)[0]
    command = [sys.executable, "-c", WORKER, klaviyo.key, klaviyo.url, database_url, tests]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout)


def test_the_callers_trace_reaches_the_klaviyo_call_in_another_process(
    klaviyo: RunningSimulator, database_url: str
) -> None:
    ours = InMemorySpanExporter()
    settings = some_settings(klaviyo, database_url=database_url)
    with open_bridge(settings, spans=ours) as bridge, serving(app_of(bridge)) as url:
        headers = {"Authorization": f"Bearer {API_KEY}", "traceparent": CALLER}
        httpx.post(f"{url}/v1/events", json=an_event(), headers=headers).raise_for_status()

    theirs = {str(span["name"]): span for span in spans_of_a_worker(klaviyo, database_url)}

    (request,) = ours.get_finished_spans()
    assert (request.name, f"{request.context.trace_id:032x}") == ("POST /v1/events", CALLER.split("-")[1])
    assert theirs["deliver"]["parent"] == request.context.span_id
    assert theirs["klaviyo create_event"]["parent"] == theirs["deliver"]["id"]
    assert theirs["klaviyo create_event"]["trace"] == request.context.trace_id
    assert "ann@example.com" not in "".join(str(span["text"]) for span in theirs.values()) + request.to_json()


def test_a_batch_of_several_requests_is_linked_to_each(klaviyo: RunningSimulator, database_url: str) -> None:
    ours = InMemorySpanExporter()
    settings = some_settings(klaviyo, database_url=database_url)
    with open_bridge(settings, spans=ours) as bridge, serving(app_of(bridge)) as url:
        for number in range(3):
            body = an_event(unique_id=str(number))
            httpx.post(f"{url}/v1/events", json=body, headers={"Authorization": f"Bearer {API_KEY}"}).raise_for_status()

    deliver = next(s for s in spans_of_a_worker(klaviyo, database_url) if s["name"] == "deliver")

    traces = [span.context.trace_id for span in ours.get_finished_spans()]
    assert [deliver["trace"], *deliver["links"]] == traces


def test_without_an_exporter_no_trace_is_stored(database_url: str) -> None:
    import sqlalchemy as sa

    from klaviyo_bridge.infra.database import open_database
    from klaviyo_bridge.infra.tables import outbox

    with open_bridge(some_settings(database_url=database_url)) as bridge, serving(app_of(bridge)) as url:
        headers = {"Authorization": f"Bearer {API_KEY}", "traceparent": CALLER}
        httpx.post(f"{url}/v1/events", json=an_event(), headers=headers).raise_for_status()

    with open_database(database_url) as database, database.read() as connection:
        assert list(connection.execute(sa.select(outbox.c.trace)).scalars()) == [None]
