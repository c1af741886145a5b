"""Profiles: upsert, conflicts, clearing, paging, filters."""

from __future__ import annotations

import pytest

from klaviyo_simulator.testing import RunningSimulator
from simulator.conftest import Api


def problem(answer) -> dict:
    return answer.json()["errors"][0]


def test_an_upsert_answers_201_then_200_and_keeps_the_id(api: Api) -> None:
    first = api.upsert(email="ada@example.com", first_name="Ada")
    second = api.upsert(email="ADA@example.com", last_name="Lovelace")

    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json()["data"]["id"] == second.json()["data"]["id"]
    assert second.json()["data"]["attributes"]["first_name"] == "Ada"


def test_null_clears_a_field_and_absence_leaves_it(api: Api) -> None:
    api.upsert(email="ada@example.com", first_name="Ada", title="Countess")

    shown = api.upsert(email="ada@example.com", first_name=None).json()["data"]["attributes"]

    assert shown["first_name"] is None
    assert shown["title"] == "Countess"


def test_creating_a_known_person_answers_409_with_the_id(api: Api) -> None:
    known = api.person(email="ada@example.com")

    answer = api.post("/api/profiles/", {"type": "profile", "attributes": {"email": "ada@example.com"}})

    assert answer.status_code == 409
    assert problem(answer)["code"] == "duplicate_profile"
    assert problem(answer)["meta"] == {"duplicate_profile_id": known}


def test_a_409_may_come_without_the_id(api: Api, klaviyo: RunningSimulator) -> None:
    api.person(email="ada@example.com")
    klaviyo.control.switch(conflict_names_duplicate=False)

    answer = api.post("/api/profiles", {"type": "profile", "attributes": {"email": "ada@example.com"}})

    assert problem(answer)["meta"] == {}


def test_identifiers_of_two_people_conflict(api: Api) -> None:
    api.person(email="ada@example.com")
    other = api.person(external_id="42")

    answer = api.upsert(email="ada@example.com", external_id="42")

    assert answer.status_code == 409
    assert problem(answer)["meta"]["duplicate_profile_id"] in (other, api.person(email="ada@example.com"))


@pytest.mark.parametrize(
    ("attributes", "pointer", "detail"),
    [
        pytest.param(
            {"email": "a@example.com", "subscriptions": {}},
            "/data/attributes/subscriptions",
            "'subscriptions' is not a valid field for the resource 'profile'.",
            id="unknown attribute",
        ),
        pytest.param({"email": "nonsense"}, "/data/attributes/email", "Invalid email address", id="bad email"),
        pytest.param(
            {"phone_number": "0123"},
            "/data/attributes/phone_number",
            "Invalid phone number format (Example of a valid format: +12345678901)",
            id="national phone number",
        ),
    ],
)
def test_refuses_bad_attributes_by_pointer(api: Api, attributes: dict, pointer: str, detail: str) -> None:
    answer = api.upsert(**attributes)

    assert answer.status_code == 400
    assert problem(answer)["source"] == {"pointer": pointer}
    assert problem(answer)["detail"] == detail


def test_patches_properties(api: Api) -> None:
    api.upsert(email="a@example.com", properties={"tags": ["x"], "old": 1})
    patch = {"append": {"tags": "y"}, "unset": "old"}
    body = {"type": "profile", "attributes": {"email": "a@example.com"}, "meta": {"patch_properties": patch}}

    shown = api.post("/api/profile-import", body).json()["data"]["attributes"]["properties"]

    assert shown == {"tags": ["x", "y"]}


def test_shows_undeclared_attributes_and_links_with_slashes(api: Api, klaviyo: RunningSimulator) -> None:
    profile_id = api.person(email="a@example.com")

    shown = api.get(f"/api/profiles/{profile_id}").json()["data"]

    assert {"anonymous_id", "whatsapp_bsuid"} <= set(shown["attributes"])
    assert shown["links"]["self"] == f"{klaviyo.url}/api/profiles/{profile_id}/"
    assert "data" not in shown["relationships"]["lists"]


def test_pages_by_cursor_and_ends_with_null(api: Api) -> None:
    ids = {api.person(email=f"p{number}@example.com") for number in range(5)}

    first = api.get("/api/profiles", page_size=2).json()
    seen = [item["id"] for item in first["data"]]
    following = first["links"]["next"]
    while following:
        page = api.http.get(following).json()
        seen += [item["id"] for item in page["data"]]
        following = page["links"]["next"]

    assert len(seen) == 5
    assert set(seen) == ids
    assert first["links"]["prev"] is None


def test_goes_back_by_the_prev_link(api: Api) -> None:
    for number in range(5):
        api.person(email=f"p{number}@example.com")
    first = api.get("/api/profiles", page_size=2).json()
    second = api.http.get(first["links"]["next"]).json()

    back = api.http.get(second["links"]["prev"]).json()

    assert [item["id"] for item in back["data"]] == [item["id"] for item in first["data"]]
    assert back["links"]["prev"] is None


@pytest.mark.parametrize("form", ["={cursor}", "{url}"])
def test_tolerates_the_cursors_official_clients_send(api: Api, form: str) -> None:
    for number in range(3):
        api.person(email=f"p{number}@example.com")
    url = api.get("/api/profiles", page_size=2).json()["links"]["next"]
    cursor = api.http.build_request("GET", url).url.params["page[cursor]"]

    answer = api.get("/api/profiles", page_size=2, page_cursor=form.format(cursor=cursor, url=url))

    assert len(answer.json()["data"]) == 1


def test_refuses_a_cursor_that_is_none(api: Api) -> None:
    answer = api.get("/api/profiles", page_cursor="nonsense")

    assert problem(answer)["detail"] == "Invalid cursor provided."


def test_reads_changes_in_the_order_of_updated(api: Api) -> None:
    first = api.person(email="first@example.com")
    second = api.person(email="second@example.com")
    api.upsert(email="first@example.com", title="changed")

    found = api.get("/api/profiles", filter="greater-than(updated,2020-01-01T00:00:00Z)").json()["data"]

    assert [item["id"] for item in found] == [second, first]


def test_finds_by_a_filter_with_hostile_characters(api: Api) -> None:
    api.person(email="a+b@example.com", external_id='x"y\\z')

    by_email = api.get("/api/profiles", filter='equals(email,"a+b@example.com")').json()["data"]
    by_id = api.get("/api/profiles", filter='any(external_id,["x\\"y\\\\z"])').json()["data"]

    assert len(by_email) == len(by_id) == 1


def test_sparse_fieldsets_drop_relationships_too(api: Api) -> None:
    api.person(email="a@example.com", location={"city": "Rome"})

    (shown,) = api.get("/api/profiles", fields_profile="email,location.city").json()["data"]

    assert shown["attributes"] == {"email": "a@example.com", "location": {"city": "Rome"}}
    assert "relationships" not in shown


def test_a_page_larger_than_allowed_is_refused(api: Api) -> None:
    assert api.get("/api/profiles", page_size=101).status_code == 400


def test_merging_moves_events_and_keeps_the_old_id_working(api: Api, klaviyo: RunningSimulator) -> None:
    target, source = api.person(email="a@example.com"), api.person(external_id="7")
    reference = {"data": [{"type": "profile", "id": source}]}
    merge = {"type": "profile-merge", "id": target, "relationships": {"profiles": reference}}

    answer = api.post("/api/profile-merge", merge)
    klaviyo.control.settle()

    assert answer.status_code == 202
    assert api.get(f"/api/profiles/{source}").json()["data"]["id"] == target
    assert api.get(f"/api/profiles/{target}").json()["data"]["attributes"]["external_id"] == "7"


def test_deletion_forgets_the_person(api: Api, klaviyo: RunningSimulator) -> None:
    profile_id = api.person(email="a@example.com")
    person = {"data": {"type": "profile", "attributes": {"email": "a@example.com"}}}
    job = {"type": "data-privacy-deletion-job", "attributes": {"profile": person}}

    answer = api.post("/api/data-privacy-deletion-jobs", job)
    klaviyo.control.settle()

    assert (answer.status_code, answer.content) == (202, b"")
    assert api.get(f"/api/profiles/{profile_id}").status_code == 404
    assert klaviyo.control.effects(kind="deleted")[0]["profile"] == profile_id
