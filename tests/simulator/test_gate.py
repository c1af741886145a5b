"""Authentication, revision, scopes, limits, unknown paths, query strictness."""

from __future__ import annotations

import pytest

from klaviyo_simulator.testing import RunningSimulator
from simulator.conftest import REVISION, Api


def code(answer) -> str:
    return answer.json()["errors"][0]["code"]


def headers(klaviyo: RunningSimulator, **changed: str | None) -> dict[str, str]:
    standard = {"Authorization": f"Klaviyo-API-Key {klaviyo.key}", "revision": REVISION} | changed
    return {name: value for name, value in standard.items() if value is not None}


@pytest.mark.parametrize(
    ("changed", "status", "expected"),
    [
        pytest.param({"Authorization": None}, 401, "not_authenticated", id="no key"),
        pytest.param({"Authorization": "Klaviyo-API-Key pk_wrong"}, 401, "authentication_failed", id="wrong key"),
        pytest.param({"revision": None}, 400, "invalid", id="no revision"),
        pytest.param({"revision": "yesterday"}, 400, "invalid", id="malformed revision"),
        pytest.param({"revision": "2020-01-01"}, 410, "gone", id="retired revision"),
    ],
)
def test_refuses_at_the_gate(api: Api, klaviyo: RunningSimulator, changed: dict, status: int, expected: str) -> None:
    api.http.headers.clear()

    answer = api.http.get("/api/accounts", headers=headers(klaviyo, **changed))

    assert (answer.status_code, code(answer)) == (status, expected)


def test_a_key_without_the_scope_gets_403(api: Api, klaviyo: RunningSimulator) -> None:
    klaviyo.control.add_key("pk_reader", scopes=["profiles:read"])
    api.http.headers["Authorization"] = "Klaviyo-API-Key pk_reader"

    assert api.get("/api/profiles").status_code == 200
    assert code(api.upsert(email="a@example.com")) == "permission_denied"


def test_an_oauth_token_is_a_bearer_and_not_a_key(api: Api, klaviyo: RunningSimulator) -> None:
    klaviyo.control.add_key("token-1", app="my-app")

    api.http.headers["Authorization"] = "Klaviyo-API-Key token-1"
    assert api.get("/api/accounts").status_code == 401
    api.http.headers["Authorization"] = "Bearer token-1"
    assert api.get("/api/accounts").status_code == 200


def test_accounts_do_not_see_each_other(api: Api, klaviyo: RunningSimulator) -> None:
    klaviyo.control.open_account("SIM002", key="pk_second")
    api.person(email="a@example.com")

    api.http.headers["Authorization"] = "Klaviyo-API-Key pk_second"

    assert api.get("/api/profiles").json()["data"] == []
    assert api.get("/api/accounts").json()["data"][0]["id"] == "SIM002"


def test_what_is_not_there_is_404_501_or_405(api: Api) -> None:
    assert api.get("/api/nonsense").status_code == 404
    assert code(api.get("/api/catalog-items")) == "not_implemented"
    assert api.patch("/api/profiles", {}).status_code == 405


@pytest.mark.parametrize(
    ("query", "parameter", "detail"),
    [
        pytest.param(
            {"include": "profiless"},
            "include",
            "'profiless' is not an allowed include parameter for this resource.",
            id="include",
        ),
        pytest.param(
            {"filter": 'contains(name,"x")'},
            "filter",
            "'contains' is not an allowed filter operator for name.  Allowed operators are any,equals",
            id="operator",
        ),
        pytest.param({"filter": "equals(name,x"}, "filter", "Invalid filter provided.", id="grammar"),
        pytest.param(
            {"filter": 'greater-than(created,"2026-01-01T00:00:00Z")'},
            "filter",
            "Invalid filter provided.",
            id="quoted datetime",
        ),
        pytest.param({"sort": "size"}, "sort", "'size' is not an allowed sort field for this resource.", id="sort"),
        pytest.param(
            {"nonsense": "1"},
            "nonsense",
            "'nonsense' is not a valid query parameter for this endpoint.",
            id="unknown",
        ),
    ],
)
def test_names_the_query_parameter_that_is_wrong(api: Api, query: dict, parameter: str, detail: str) -> None:
    answer = api.get("/api/lists", **query)

    error = answer.json()["errors"][0]
    assert (answer.status_code, error["source"], error["detail"]) == (400, {"parameter": parameter}, detail)


def test_a_body_of_another_type_is_415_and_a_large_one_413(api: Api) -> None:
    plain = api.http.post("/api/lists", content=b"{}", headers={"Content-Type": "text/plain"})
    large = api.upsert(email="a@example.com", properties={"x": "y" * 100_001})

    assert (plain.status_code, large.status_code) == (415, 413)


def test_limits_are_told_and_end_in_429_with_retry_after_alone(api: Api, klaviyo: RunningSimulator) -> None:
    klaviyo.control.switch(limits=True)

    answers = [api.get("/api/accounts") for _ in range(4)]

    allowed = next(answer for answer in answers if answer.status_code == 200)
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert allowed.headers["ratelimit-limit"] == "1, 1;w=1, 15;w=60"
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert not [name for name in refused.headers if name.startswith("ratelimit") or name == "content-type"]
    assert code(refused) == "throttled"


def test_expensive_requests_have_the_lower_limit(api: Api) -> None:
    answer = api.get("/api/lists/NEWSLT", additional_fields_list="profile_count")

    assert answer.headers["ratelimit-limit"] == "1, 1;w=1, 15;w=60"


def test_windows_follow_the_stepped_clock_when_told_so(api: Api, klaviyo: RunningSimulator) -> None:
    klaviyo.control.set_clock(speed=0)
    klaviyo.control.switch(limits=True, limits_simulated_clock=True)
    first = [api.get("/api/accounts").status_code for _ in range(2)]

    klaviyo.control.advance(61)

    assert first == [200, 429]
    assert api.get("/api/accounts").status_code == 200


def test_client_endpoints_take_the_public_key(api: Api, klaviyo: RunningSimulator) -> None:
    api.http.headers.pop("Authorization")
    body = {"type": "profile", "attributes": {"email": "a@example.com", "anonymous_id": "anon"}}

    accepted = api.post("/client/profiles", body, company_id="SIM001")
    refused = api.post("/client/profiles", body, company_id="NOBODY")
    klaviyo.control.settle()

    assert (accepted.status_code, refused.status_code) == (202, 400)
    assert klaviyo.control.person(email="a@example.com")["attributes"]["anonymous_id"] == "anon"


def test_a_cursor_of_another_endpoint_or_by_hand_is_refused(api: Api, klaviyo: RunningSimulator) -> None:
    for number in range(3):
        api.track("Viewed", f"p{number}@example.com")
    klaviyo.control.settle()
    url = api.get("/api/events", page_size=1).json()["links"]["next"]
    cursor = api.http.build_request("GET", url).url.params["page[cursor]"]

    assert api.get("/api/events", page_size=1, page_cursor=cursor).status_code == 200
    assert api.get("/api/profiles", page_cursor=cursor).status_code == 400
    assert api.get("/api/events", page_cursor="WyJ4IiwwLCJlM2IwYzQ0MiIsIngiXQ==").status_code == 400
