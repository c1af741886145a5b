"""Segments, templates, campaigns and the figures that come of them."""

from __future__ import annotations

import pytest

from klaviyo_simulator.testing import RunningSimulator
from simulator.conftest import Api


def segment(*groups: list[dict]) -> dict:
    definition = {"condition_groups": [{"conditions": group} for group in groups]}
    return {"type": "segment", "attributes": {"name": "A segment", "definition": definition}}


def property_is(name: str, value: object, kind: str = "string", operator: str = "equals") -> dict:
    test = {"type": kind, "operator": operator, "value": value}
    return {"type": "profile-property", "property": name, "filter": test}


def bought(metric_id: str, *, at_least: int = 1, days: int = 30) -> dict:
    return {
        "type": "profile-metric",
        "metric_id": metric_id,
        "measurement": "count",
        "measurement_filter": {"type": "numeric", "operator": "greater-than-or-equal", "value": at_least},
        "timeframe_filter": {"type": "date", "operator": "in-the-last", "unit": "day", "quantity": days},
    }


def members(api: Api, segment_id: str) -> set[str]:
    found = api.get(f"/api/segments/{segment_id}/profiles").json()["data"]
    return {item["attributes"]["email"] for item in found}


def test_groups_are_joined_by_and_conditions_by_or(api: Api, klaviyo: RunningSimulator) -> None:
    for email, plan, city in (("a", "gold", "Rome"), ("b", "silver", "Rome"), ("c", "gold", "Oslo")):
        api.person(email=f"{email}@example.com", properties={"plan": plan}, location={"city": city})
    plans = [property_is("properties['plan']", "gold"), property_is("properties['plan']", "silver")]
    created = api.post("/api/segments", segment(plans, [property_is("location.city", "Rome")]))
    klaviyo.control.settle()

    assert created.status_code == 201
    assert members(api, created.json()["data"]["id"]) == {"a@example.com", "b@example.com"}


def test_a_segment_follows_events_and_time(api: Api, klaviyo: RunningSimulator) -> None:
    api.track("Placed Order", "a@example.com")
    klaviyo.control.settle()
    created = api.post("/api/segments", segment([bought(api.metric_id("Placed Order"))])).json()["data"]
    klaviyo.control.settle()

    before = members(api, created["id"])
    klaviyo.control.advance(40 * 86400)

    assert before == {"a@example.com"}
    assert members(api, created["id"]) == set()


def test_conditions_that_are_not_evaluated_are_501(api: Api) -> None:
    answer = api.post("/api/segments", segment([{"type": "profile-sample"}]))

    assert answer.status_code == 501


def campaign(audience: str, *, name: str = "News", **attributes: object) -> dict:
    definition = {
        "channel": "email",
        "label": name,
        "content": {"subject": "Hello", "from_email": "x@example.com"},
    }
    message = {"type": "campaign-message", "attributes": {"definition": definition}}
    return {
        "type": "campaign",
        "attributes": {
            "name": name,
            "audiences": {"included": [audience]},
            "campaign-messages": {"data": [message]},
            **attributes,
        },
    }


def ready_campaign(api: Api, klaviyo: RunningSimulator, **attributes: object) -> str:
    """A draft with a template, for an audience of 40; its id."""
    klaviyo.control.switch(profile_creation_triggers_flows=False)
    people = [{"type": "profile", "id": api.person(email=f"p{number}@example.com")} for number in range(40)]
    audience = api.post("/api/lists", {"type": "list", "attributes": {"name": "Audience"}}).json()["data"]["id"]
    api.post(f"/api/lists/{audience}/relationships/profiles", people)
    klaviyo.control.settle()
    template = {"name": "T", "editor_type": "CODE", "html": "<p>{{ email }}</p>"}
    template_id = api.post("/api/templates", {"type": "template", "attributes": template}).json()["data"]["id"]
    made = api.post("/api/campaigns", campaign(audience, **attributes)).json()["data"]
    message = made["relationships"]["campaign-messages"]["data"][0]["id"]
    link = {"template": {"data": {"type": "template", "id": template_id}}}
    body = {"type": "campaign-message", "id": message, "relationships": link}
    assigned = api.post("/api/campaign-message-assign-template", body).json()
    assert assigned["data"]["relationships"]["template"]["data"]["id"] != template_id
    assert assigned["included"][0]["attributes"]["name"] == "Clone of T"
    return made["id"]


def send(api: Api, campaign_id: str) -> int:
    return api.post("/api/campaign-send-jobs", {"type": "campaign-send-job", "id": campaign_id}).status_code


def test_a_campaign_is_sent_once_and_its_report_is_counted(api: Api, klaviyo: RunningSimulator) -> None:
    campaign_id = ready_campaign(api, klaviyo)
    klaviyo.control.clear_log()
    assert send(api, campaign_id) == 202
    klaviyo.control.settle(audience=True)

    shown = api.get(f"/api/campaigns/{campaign_id}").json()["data"]["attributes"]
    job = api.get(f"/api/campaign-send-jobs/{campaign_id}").json()["data"]["attributes"]
    again = send(api, campaign_id)

    sent = len(klaviyo.control.messages(campaign=campaign_id))
    stored = [item["values"]["metric"] for item in klaviyo.control.effects(kind="event.stored")]
    figures = report(api, "opens_unique", "delivered", "open_rate")
    assert (shown["status"], job["status"], again) == ("Sent", "complete", 409)
    assert sent == 40
    assert figures["delivered"] == stored.count("Received Email")
    assert figures["opens_unique"] == stored.count("Opened Email") > 0
    assert figures["open_rate"] == pytest.approx(figures["opens_unique"] / figures["delivered"])


def report(api: Api, *statistics: str) -> dict:
    attributes = {
        "statistics": list(statistics),
        "timeframe": {"key": "last_30_days"},
        "conversion_metric_id": api.metric_id("Opened Email"),
    }
    answer = api.post("/api/campaign-values-reports", {"type": "campaign-values-report", "attributes": attributes})
    assert answer.status_code == 200, answer.text
    (result,) = answer.json()["data"]["attributes"]["results"]
    return result["statistics"]


def test_a_scheduled_campaign_waits_and_can_be_reverted(api: Api, klaviyo: RunningSimulator) -> None:
    strategy = {"method": "static", "datetime": "2030-01-01T00:00:00+00:00", "options": {"is_local": False}}
    campaign_id = ready_campaign(api, klaviyo, send_strategy=strategy)
    send(api, campaign_id)
    klaviyo.control.advance(5)
    before = api.get(f"/api/campaigns/{campaign_id}").json()["data"]["attributes"]["status"]
    action = {"type": "campaign-send-job", "id": campaign_id, "attributes": {"action": "revert"}}

    answer = api.patch(f"/api/campaign-send-jobs/{campaign_id}", action)

    after = api.get(f"/api/campaigns/{campaign_id}").json()["data"]["attributes"]["status"]
    assert (before, answer.status_code, after) == ("Scheduled", 204, "Draft")
    assert klaviyo.control.messages() == []


def test_campaigns_need_the_channel_filter_and_a_known_revision(api: Api, klaviyo: RunningSimulator) -> None:
    ready_campaign(api, klaviyo)

    assert api.get("/api/campaigns").status_code == 400
    assert len(api.get("/api/campaigns", filter="equals(messages.channel,'email')").json()["data"]) == 1
    assert api.get("/api/campaigns", filter='equals(name,"News")').status_code == 400
    api.http.headers["revision"] = "2026-10-15"
    assert api.get("/api/campaigns", filter="equals(messages.channel,'email')").status_code == 501


def test_recipients_are_estimated(api: Api, klaviyo: RunningSimulator) -> None:
    campaign_id = ready_campaign(api, klaviyo)
    job = {"type": "campaign-recipient-estimation-job", "id": campaign_id}
    api.post("/api/campaign-recipient-estimation-jobs", job)
    klaviyo.control.advance(1)

    shown = api.get(f"/api/campaign-recipient-estimations/{campaign_id}").json()["data"]["attributes"]

    assert shown == {"estimated_recipient_count": 40}


def test_aggregates_count_stored_events_by_local_day(api: Api, klaviyo: RunningSimulator) -> None:
    for number, hour in enumerate(("2026-03-01T22:30:00Z", "2026-03-01T23:30:00Z", "2026-03-02T12:00:00Z")):
        api.track("Placed Order", "a@example.com", unique_id=str(number), time=hour, value=10)
    klaviyo.control.settle()
    attributes = {
        "metric_id": api.metric_id("Placed Order"),
        "measurements": ["count", "sum_value", "unique"],
        "interval": "day",
        "timezone": "Europe/Berlin",
        "filter": [
            "greater-or-equal(datetime,2026-03-01T00:00:00)",
            "less-than(datetime,2026-03-04T00:00:00)",
        ],
    }

    answer = api.post("/api/metric-aggregates", {"type": "metric-aggregate", "attributes": attributes}).json()

    shown = answer["data"]["attributes"]
    assert shown["dates"][0] == "2026-02-28T23:00:00+00:00"
    assert shown["data"][0]["measurements"] == {
        "count": [1.0, 2.0, 0.0],
        "sum_value": [10.0, 20.0, 0.0],
        "unique": [1.0, 1.0, 0.0],
    }


def test_seeding_twice_with_one_number_gives_the_same(klaviyo: RunningSimulator) -> None:
    first = klaviyo.control.seed(profiles=50, seed=7)
    person = klaviyo.control.person(external_id="seed-7-3")["attributes"]["email"]
    klaviyo.control.reset()

    assert klaviyo.control.seed(profiles=50, seed=7)["events"] == first["events"]
    assert klaviyo.control.person(external_id="seed-7-3")["attributes"]["email"] == person
