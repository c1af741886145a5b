"""Each fault does what it says, to whom it says, as often as it says."""

from __future__ import annotations

import httpx
import pytest

from klaviyo_simulator.errors import ControlError
from klaviyo_simulator.testing import RunningSimulator
from simulator.conftest import Api

UPSERT = "create_or_update_profile"


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504, 524])
def test_a_status_comes_once_without_effect(api: Api, klaviyo: RunningSimulator, status: int) -> None:
    klaviyo.control.fault("status", UPSERT, count=1, params={"status": status})

    assert api.upsert(email="a@example.com").status_code == status
    assert api.upsert(email="a@example.com").status_code == 201


def test_a_status_may_come_after_the_effect(api: Api, klaviyo: RunningSimulator) -> None:
    klaviyo.control.fault("status", UPSERT, count=1, params={"status": 503, "effect": True})

    assert api.upsert(email="a@example.com").status_code == 503
    assert api.upsert(email="a@example.com").status_code == 200


def test_a_page_of_html_instead_of_json(api: Api, klaviyo: RunningSimulator) -> None:
    klaviyo.control.fault("html", UPSERT, count=1)

    answer = api.upsert(email="a@example.com")

    assert answer.status_code == 403
    assert answer.headers["content-type"].startswith("text/html")


@pytest.mark.parametrize(
    ("kind", "done"),
    [("reset_before", False), ("reset_after", True), ("reset_during", True), ("truncate", True)],
)
def test_connections_break_before_or_after_the_effect(
    api: Api, klaviyo: RunningSimulator, kind: str, done: bool
) -> None:
    klaviyo.control.fault(kind, UPSERT, count=1)

    with pytest.raises(httpx.TransportError):
        api.upsert(email="a@example.com")

    assert len(klaviyo.control.effects(kind="profile.created")) == int(done)


def test_a_slow_body_arrives_whole(api: Api, klaviyo: RunningSimulator) -> None:
    klaviyo.control.fault("slow_body", UPSERT, count=1, params={"chunk": 400, "seconds": 0.01})

    assert api.upsert(email="a@example.com").json()["data"]["type"] == "profile"


def test_latency_is_waited(api: Api, klaviyo: RunningSimulator) -> None:
    klaviyo.control.fault("latency", UPSERT, count=1, params={"seconds": 0.2})

    assert api.upsert(email="a@example.com").elapsed.total_seconds() >= 0.2


def test_headers_go_missing_and_answers_surprise(api: Api, klaviyo: RunningSimulator) -> None:
    klaviyo.control.fault("missing_headers", "get_accounts")
    klaviyo.control.fault("unknown_enum", "get_accounts", params={"attribute": "locale", "value": "tlh"})
    klaviyo.control.fault("extra_field", "get_accounts")

    answer = api.get("/api/accounts")

    attributes = answer.json()["data"][0]["attributes"]
    assert "ratelimit-limit" not in answer.headers
    assert (attributes["locale"], attributes["brand_new_field"]) == ("tlh", "surprise")


def test_probability_strikes_some_and_the_log_says_which(api: Api, klaviyo: RunningSimulator) -> None:
    klaviyo.control.fault("status", "get_*", probability=0.5, params={"status": 503})

    for _ in range(40):
        api.get("/api/profiles")

    struck = [item for item in klaviyo.control.requests() if item["fault"] == "status"]
    assert 5 < len(struck) < 35
    assert {item["status"] for item in struck} == {503}


def test_an_unknown_fault_is_refused(klaviyo: RunningSimulator) -> None:
    with pytest.raises(ControlError, match="There is no fault 'earthquake'"):
        klaviyo.control.fault("earthquake")
