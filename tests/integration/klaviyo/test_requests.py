"""What each quieter operation sends, word for word."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from klaviyo_bridge.errors import Unavailable
from klaviyo_bridge.klaviyo.api import KlaviyoAPI

SEGMENT = {"condition_groups": [{"conditions": [{"type": "profile-property"}]}]}


def data(kind: str, attributes: Any = None, **rest: Any) -> dict[str, Any]:
    return {"data": {"type": kind, **rest, **({} if attributes is None else {"attributes": attributes})}}


@pytest.mark.parametrize(
    ("call", "method", "target", "body"),
    [
        pytest.param(
            lambda api: api.segments.create("S", SEGMENT),
            "POST",
            "/api/segments",
            data("segment", {"name": "S", "definition": SEGMENT, "is_starred": False}),
            id="create a segment",
        ),
        pytest.param(
            lambda api: api.segments.update("S1", {"name": "T"}),
            "PATCH",
            "/api/segments/S1",
            data("segment", {"name": "T"}, id="S1"),
            id="update a segment",
        ),
        pytest.param(
            lambda api: api.segments.get("S1", count=True),
            "GET",
            "/api/segments/S1?additional-fields%5Bsegment%5D=profile_count",
            None,
            id="count a segment",
        ),
        pytest.param(
            lambda api: api.segments.members("S1", size=50),
            "GET",
            "/api/segments/S1/profiles?page%5Bsize%5D=50",
            None,
            id="members of a segment",
        ),
        pytest.param(lambda api: api.segments.delete("S1"), "DELETE", "/api/segments/S1", None, id="delete a segment"),
        pytest.param(
            lambda api: api.campaigns.page(channel="sms"),
            "GET",
            "/api/campaigns?filter=equals%28messages.channel%2C%22sms%22%29",
            None,
            id="campaigns of a channel",
        ),
        pytest.param(
            lambda api: list(api.campaigns.all(updated_since=datetime(2026, 1, 1, tzinfo=UTC))),
            "GET",
            "/api/campaigns?filter=and%28equals%28messages.channel%2C%22email%22%29%2C"
            "greater-or-equal%28updated_at%2C2026-01-01T00%3A00%3A00Z%29%29",
            None,
            id="campaigns changed since",
        ),
        pytest.param(lambda api: api.campaigns.get("C"), "GET", "/api/campaigns/C", None, id="one campaign"),
        pytest.param(
            lambda api: api.campaigns.create({"name": "C"}),
            "POST",
            "/api/campaigns",
            data("campaign", {"name": "C"}),
            id="create a campaign",
        ),
        pytest.param(
            lambda api: api.campaigns.update("C", {"name": "D"}),
            "PATCH",
            "/api/campaigns/C",
            data("campaign", {"name": "D"}, id="C"),
            id="update a campaign",
        ),
        pytest.param(lambda api: api.campaigns.delete("C"), "DELETE", "/api/campaigns/C", None, id="delete a campaign"),
        pytest.param(
            lambda api: api.campaigns.messages("C"), "GET", "/api/campaigns/C/campaign-messages", None, id="messages"
        ),
        pytest.param(
            lambda api: api.campaigns.update_message("M", {"definition": {}}),
            "PATCH",
            "/api/campaign-messages/M",
            data("campaign-message", {"definition": {}}, id="M"),
            id="update a message",
        ),
        pytest.param(
            lambda api: api.campaigns.assign_template("M", "T"),
            "POST",
            "/api/campaign-message-assign-template",
            data("campaign-message", id="M", relationships={"template": {"data": {"type": "template", "id": "T"}}}),
            id="assign a template",
        ),
        pytest.param(
            lambda api: api.campaigns.send("C"),
            "POST",
            "/api/campaign-send-jobs",
            data("campaign-send-job", id="C"),
            id="send a campaign",
        ),
        pytest.param(
            lambda api: api.campaigns.cancel("C"),
            "PATCH",
            "/api/campaign-send-jobs/C",
            data("campaign-send-job", {"action": "cancel"}, id="C"),
            id="cancel a send",
        ),
        pytest.param(
            lambda api: api.campaigns.clone("C", "D"),
            "POST",
            "/api/campaign-clone",
            data("campaign", {"new_name": "D"}, id="C"),
            id="clone a campaign",
        ),
        pytest.param(
            lambda api: api.campaigns.estimate("C"),
            "POST",
            "/api/campaign-recipient-estimation-jobs",
            data("campaign-recipient-estimation-job", id="C"),
            id="estimate recipients",
        ),
        pytest.param(
            lambda api: api.templates.create("T", "<p>", text="p"),
            "POST",
            "/api/templates",
            data("template", {"name": "T", "editor_type": "CODE", "html": "<p>", "text": "p"}),
            id="create a template",
        ),
        pytest.param(
            lambda api: api.templates.update("T", {"html": ""}),
            "PATCH",
            "/api/templates/T",
            data("template", {"html": ""}, id="T"),
            id="update a template",
        ),
        pytest.param(
            lambda api: api.templates.render("T", {"a": 1}),
            "POST",
            "/api/template-render",
            data("template", {"context": {"a": 1}}, id="T"),
            id="render a template",
        ),
        pytest.param(lambda api: api.templates.delete("T"), "DELETE", "/api/templates/T", None, id="delete a template"),
        pytest.param(lambda api: list(api.flows.all()), "GET", "/api/flows", None, id="flows"),
        pytest.param(
            lambda api: api.flows.set_status("F", "live"),
            "PATCH",
            "/api/flows/F",
            data("flow", {"status": "live"}, id="F"),
            id="switch a flow on",
        ),
        pytest.param(
            lambda api: api.webhooks.create(
                "W", endpoint_url="https://x.example.com", secret_key="s" * 16, topics=["event:klaviyo.sent_sms"]
            ),
            "POST",
            "/api/webhooks",
            data(
                "webhook",
                {"name": "W", "endpoint_url": "https://x.example.com", "secret_key": "s" * 16},
                relationships={"webhook-topics": {"data": [{"type": "webhook-topic", "id": "event:klaviyo.sent_sms"}]}},
            ),
            id="create a webhook",
        ),
        pytest.param(
            lambda api: api.webhooks.update("W", {"enabled": False}),
            "PATCH",
            "/api/webhooks/W",
            data("webhook", {"enabled": False}, id="W"),
            id="disable a webhook",
        ),
        pytest.param(lambda api: api.webhooks.delete("W"), "DELETE", "/api/webhooks/W", None, id="delete a webhook"),
        pytest.param(lambda api: api.webhooks.topics(), "GET", "/api/webhook-topics", None, id="topics"),
        pytest.param(
            lambda api: api.data_privacy.erase(profile_id="01A"),
            "POST",
            "/api/data-privacy-deletion-jobs",
            data("data-privacy-deletion-job", {"profile": {"data": {"type": "profile", "id": "01A"}}}),
            id="erase by id",
        ),
        pytest.param(
            lambda api: api.data_privacy.erase(phone_number="+15005550006"),
            "POST",
            "/api/data-privacy-deletion-jobs",
            data(
                "data-privacy-deletion-job",
                {"profile": {"data": {"type": "profile", "attributes": {"phone_number": "+15005550006"}}}},
            ),
            id="erase by phone number",
        ),
        pytest.param(
            lambda api: api.reporting.metric_aggregates(
                "M", start=datetime(2026, 1, 1, tzinfo=UTC), end=datetime(2026, 2, 1, tzinfo=UTC), by=["$flow"]
            ),
            "POST",
            "/api/metric-aggregates",
            data(
                "metric-aggregate",
                {
                    "metric_id": "M",
                    "measurements": ["count"],
                    "interval": "day",
                    "timezone": "UTC",
                    "filter": [
                        "greater-or-equal(datetime,2026-01-01T00:00:00Z)",
                        "less-than(datetime,2026-02-01T00:00:00Z)",
                    ],
                    "by": ["$flow"],
                },
            ),
            id="metric aggregates",
        ),
    ],
)
def test_what_is_sent(
    stub: Any, connect: Any, call: Callable[[KlaviyoAPI], object], method: str, target: str, body: Any
) -> None:
    stub.says(stub.answer(200, {"data": []}))

    with suppress(Unavailable):  # an empty list is no answer to whoever asks for one thing
        call(connect().api)

    (asked,) = stub.asked
    assert (asked.method, asked.target) == (method, target)
    assert (orjson.loads(asked.body) if asked.body else None) == body


def test_a_report_is_read_to_its_last_page(stub: Any, connect: Any) -> None:
    def results(number: int) -> dict[str, Any]:
        return {"type": "campaign-values-report", "attributes": {"results": [{"statistics": {"opens": number}}]}}

    following = "https://a.klaviyo.com/api/campaign-values-reports?page_cursor=abc%3D"
    stub.says(
        stub.answer(200, {"data": results(1), "links": {"next": following}}),
        stub.answer(200, {"data": results(2), "links": {"next": None}}),
    )

    found = list(connect().api.reporting.campaign_values(statistics=["opens"], timeframe={"key": "today"}))

    assert [row["statistics"]["opens"] for row in found] == [1, 2]
    assert stub.asked[1].target == "/api/campaign-values-reports?page_cursor=abc%3D"


def test_the_state_of_a_send_and_an_estimate(stub: Any, connect: Any) -> None:
    stub.says(
        stub.answer(200, data("campaign-send-job", {"status": "queued"})),
        stub.answer(200, data("campaign-recipient-estimation", {"estimated_recipient_count": 7})),
    )
    api = connect().api

    assert api.campaigns.send_job("C") == "queued"
    assert api.campaigns.estimated_recipients("C") == 7
