"""Subscribing, unsubscribing, suppressing, lists."""

from __future__ import annotations

import pytest

from klaviyo_simulator.testing import NEWSLETTER_ID, RunningSimulator
from simulator.conftest import Api


def subscription(email: str, *, list_id: str | None = NEWSLETTER_ID, **attributes: object) -> dict:
    marketing: dict = {"consent": "SUBSCRIBED"}
    if at := attributes.pop("consented_at", None):
        marketing["consented_at"] = at
    person = {"email": email, "subscriptions": {"email": {"marketing": marketing}}}
    rows = {"data": [{"type": "profile", "attributes": person}]}
    job: dict = {
        "type": "profile-subscription-bulk-create-job",
        "attributes": {"profiles": rows, **attributes},
    }
    if list_id:
        job["relationships"] = {"list": {"data": {"type": "list", "id": list_id}}}
    return job


def withdrawal(email: str, *, list_id: str | None = None) -> dict:
    job = subscription(email, list_id=list_id)
    job["type"] = "profile-subscription-bulk-delete-job"
    row = job["attributes"]["profiles"]["data"][0]["attributes"]
    row["subscriptions"] = {"email": {"marketing": {"consent": "UNSUBSCRIBED"}}}
    return job


SUBSCRIBE = "/api/profile-subscription-bulk-create-jobs"
UNSUBSCRIBE = "/api/profile-subscription-bulk-delete-jobs"


def email_consent(klaviyo: RunningSimulator, email: str) -> dict:
    return klaviyo.control.person(email=email)["subscriptions"]["email"]["marketing"]


def test_subscribing_to_a_list_sets_consent_and_logs_both_events(api: Api, klaviyo: RunningSimulator) -> None:
    answer = api.post(SUBSCRIBE, subscription("a@example.com"))
    klaviyo.control.settle()

    metrics = {item["values"]["metric"] for item in klaviyo.control.effects(kind="event.stored")}
    assert (answer.status_code, answer.content) == (202, b"")
    assert email_consent(klaviyo, "a@example.com")["consent"] == "SUBSCRIBED"
    assert {"Subscribed to List", "Subscribed to Email Marketing"} <= metrics


def test_a_double_opt_in_list_waits_for_the_click(api: Api, klaviyo: RunningSimulator) -> None:
    attributes = {"name": "Careful", "opt_in_process": "double_opt_in"}
    list_id = api.post("/api/lists", {"type": "list", "attributes": attributes}).json()["data"]["id"]
    api.post(SUBSCRIBE, subscription("a@example.com", list_id=list_id))
    klaviyo.control.settle()

    before = email_consent(klaviyo, "a@example.com")["consent"]
    klaviyo.control.confirm(email="a@example.com")

    assert before == "NEVER_SUBSCRIBED"
    assert email_consent(klaviyo, "a@example.com")["consent"] == "SUBSCRIBED"
    assert list_id in klaviyo.control.person(email="a@example.com")["lists"]


def test_a_new_address_without_list_never_becomes_a_profile(api: Api, klaviyo: RunningSimulator) -> None:
    api.post(SUBSCRIBE, subscription("a@example.com", list_id=None))
    klaviyo.control.settle()

    assert api.get("/api/profiles").json()["data"] == []


def test_unsubscribing_a_non_member_by_list_is_global(api: Api, klaviyo: RunningSimulator) -> None:
    other = api.post("/api/lists", {"type": "list", "attributes": {"name": "Other"}}).json()["data"]["id"]
    api.post(SUBSCRIBE, subscription("a@example.com"))
    klaviyo.control.settle()
    api.post(UNSUBSCRIBE, withdrawal("a@example.com", list_id=other))
    klaviyo.control.settle()

    (effect,) = klaviyo.control.effects(kind="unsubscribed")

    assert effect["values"]["global"] is True
    assert email_consent(klaviyo, "a@example.com")["consent"] == "UNSUBSCRIBED"


def test_unsubscribing_does_not_move_updated(api: Api, klaviyo: RunningSimulator) -> None:
    profile_id = api.person(email="a@example.com")
    before = klaviyo.control.person(profile=profile_id)["attributes"]["updated"]
    api.post(UNSUBSCRIBE, withdrawal("a@example.com"))
    klaviyo.control.settle()

    assert klaviyo.control.person(profile=profile_id)["attributes"]["updated"] == before
    suppressed = "equals(subscriptions.email.marketing.suppression.reason,'UNSUBSCRIBE')"
    found = api.get("/api/profiles", filter=suppressed).json()["data"]
    assert [item["id"] for item in found] == [profile_id]


def test_a_backdated_consent_is_refused_after_an_unsubscribe(api: Api, klaviyo: RunningSimulator) -> None:
    api.person(email="a@example.com")
    api.post(UNSUBSCRIBE, withdrawal("a@example.com"))
    klaviyo.control.settle()

    old = subscription("a@example.com", historical_import=True, consented_at="2020-01-01T00:00:00Z")
    answer = api.post(SUBSCRIBE, old)

    assert answer.status_code == 400
    assert "before current unsubscription date" in answer.json()["errors"][0]["detail"]


@pytest.mark.parametrize(
    ("change", "status"),
    [
        pytest.param({"consented_at": "2020-01-01T00:00:00Z"}, 400, id="consented_at without historical_import"),
        pytest.param({"historical_import": True}, 400, id="historical_import without consented_at"),
        pytest.param({"historical_import": True, "consented_at": "2020-01-01T00:00:00Z"}, 202, id="both"),
    ],
)
def test_consented_at_belongs_to_historical_import(api: Api, change: dict, status: int) -> None:
    assert api.post(SUBSCRIBE, subscription("a@example.com", **change)).status_code == status


def test_suppressing_is_a_job_that_skips_those_already_suppressed(api: Api, klaviyo: RunningSimulator) -> None:
    rows = {"data": [{"type": "profile", "attributes": {"email": "a@example.com"}}]}
    job = {"type": "profile-suppression-bulk-create-job", "attributes": {"profiles": rows}}
    counts = []
    for _ in range(2):
        job_id = api.post("/api/profile-suppression-bulk-create-jobs", job).json()["data"]["id"]
        klaviyo.control.settle()
        shown = api.get(f"/api/profile-suppression-bulk-create-jobs/{job_id}").json()["data"]["attributes"]
        counts.append((shown["completed_count"], shown["skipped_count"]))

    assert counts == [(1, 0), (0, 1)]
    assert email_consent(klaviyo, "a@example.com")["suppression"][0]["reason"] == "USER_SUPPRESSED"


def test_list_members_come_with_the_date_of_joining(api: Api, klaviyo: RunningSimulator) -> None:
    profile_id = api.person(email="a@example.com")
    path = f"/api/lists/{NEWSLETTER_ID}/relationships/profiles"
    answer = api.post(path, [{"type": "profile", "id": profile_id}])
    klaviyo.control.settle()

    (member,) = api.get(f"/api/lists/{NEWSLETTER_ID}/profiles").json()["data"]
    (named,) = api.get(f"/api/lists/{NEWSLETTER_ID}/profiles", filter='equals(email,["a@example.com"])').json()["data"]

    assert answer.status_code == 204
    assert member["id"] == named["id"] == profile_id
    assert member["attributes"]["joined_group_at"]


def test_removing_members_takes_a_body_with_delete(api: Api, klaviyo: RunningSimulator) -> None:
    profile_id = api.person(email="a@example.com")
    path = f"/api/lists/{NEWSLETTER_ID}/relationships/profiles"
    body = {"data": [{"type": "profile", "id": profile_id}]}
    api.http.post(path, json=body)
    klaviyo.control.settle()

    answer = api.http.request("DELETE", path, json=body)
    klaviyo.control.settle()

    assert answer.status_code == 204
    assert api.get(path).json()["data"] == []


def test_profile_count_is_for_a_single_list_only(api: Api) -> None:
    single = api.get(f"/api/lists/{NEWSLETTER_ID}", additional_fields_list="profile_count")

    assert single.json()["data"]["attributes"]["profile_count"] == 0
    assert api.get("/api/lists", additional_fields_list="profile_count").status_code == 400
