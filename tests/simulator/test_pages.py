"""The pages for people show what is there and escape it."""

from __future__ import annotations

import pytest

from klaviyo_simulator.testing import RunningSimulator
from simulator.conftest import Api


@pytest.mark.parametrize("path", ["/", "/profiles", "/events", "/messages", "/requests", "/limits", "/faults"])
def test_every_page_of_the_menu_is_served(api: Api, klaviyo: RunningSimulator, path: str) -> None:
    api.track("Placed Order", "ada@example.com", properties={"sku": "x"})
    klaviyo.control.settle()

    answer = api.http.get(path)

    assert answer.status_code == 200
    assert 'aria-current="page"' in answer.text


def test_a_person_is_shown_with_a_timeline_and_escaped(api: Api, klaviyo: RunningSimulator) -> None:
    profile_id = api.person(email="ada@example.com", first_name="<script>alert(1)</script>")
    api.track("Placed Order", "ada@example.com")
    klaviyo.control.settle()

    page = api.http.get(f"/profiles/{profile_id}").text

    assert "Placed Order" in page
    assert "<script>alert" not in page


def test_a_request_is_shown_with_body_and_without_the_key(api: Api, klaviyo: RunningSimulator) -> None:
    api.person(email="ada@example.com")
    number = klaviyo.control.requests()[-1]["sequence"]

    page = api.http.get(f"/requests/{number}").text

    assert "ada@example.com" in page
    assert klaviyo.key not in page
