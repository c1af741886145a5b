"""Bulk import, events single and bulk."""

from __future__ import annotations

from klaviyo_simulator.testing import NEWSLETTER_ID, RunningSimulator
from simulator.conftest import Api, event


def import_job(*rows: dict, lists: tuple[str, ...] = ()) -> dict:
    data = [{"type": "profile", "attributes": row} for row in rows]
    job: dict = {"type": "profile-bulk-import-job", "attributes": {"profiles": {"data": data}}}
    if lists:
        job["relationships"] = {"lists": {"data": [{"type": "list", "id": item} for item in lists]}}
    return job


def test_an_import_goes_from_queued_to_complete(api: Api, klaviyo: RunningSimulator) -> None:
    answer = api.post("/api/profile-bulk-import-jobs", import_job({"email": "a@example.com"}))
    job = answer.json()["data"]
    klaviyo.control.settle()

    shown = api.get(f"/api/profile-bulk-import-jobs/{job['id']}").json()["data"]["attributes"]

    assert (answer.status_code, job["attributes"]["status"]) == (202, "queued")
    assert (shown["status"], shown["completed_count"], shown["failed_count"]) == ("complete", 1, 0)
    assert set(job["relationships"]["import-errors"]["links"]) == {"related"}


def test_one_bad_row_refuses_all_and_is_named(api: Api, klaviyo: RunningSimulator) -> None:
    rows = [{"email": "a@example.com"}, {"email": "bad"}, {"email": "b@example.com", "foo": 1}]

    first = api.post("/api/profile-bulk-import-jobs", import_job(*rows[:2]))
    second = api.post("/api/profile-bulk-import-jobs", import_job(*rows))
    klaviyo.control.settle()

    pointers = [error["source"]["pointer"] for error in first.json()["errors"]]
    assert pointers == ["/data/attributes/profiles/data/1/attributes/email"]
    assert second.json()["errors"][0]["source"]["pointer"].endswith("/data/2/attributes/foo")
    assert api.get("/api/profiles").json()["data"] == []


def test_an_unknown_list_refuses_the_import(api: Api) -> None:
    answer = api.post("/api/profile-bulk-import-jobs", import_job({"email": "a@example.com"}, lists=("NoList",)))

    assert answer.json()["errors"][0]["detail"] == "List ID NoList does not exist."


def test_an_import_joins_lists_without_event_or_consent(api: Api, klaviyo: RunningSimulator) -> None:
    api.post("/api/profile-bulk-import-jobs", import_job({"email": "a@example.com"}, lists=(NEWSLETTER_ID,)))
    klaviyo.control.settle()

    person = klaviyo.control.person(email="a@example.com")

    assert list(person["lists"]) == [NEWSLETTER_ID]
    assert person["subscriptions"]["email"]["marketing"]["consent"] == "NEVER_SUBSCRIBED"
    assert not klaviyo.control.effects(kind="subscribed")


def test_conflicting_rows_become_import_errors_in_pages(api: Api, klaviyo: RunningSimulator) -> None:
    api.person(email="a@example.com")
    api.person(external_id="1")
    rows = [{"email": "a@example.com", "external_id": "1"}, {"email": "c@example.com"}]
    job_id = api.post("/api/profile-bulk-import-jobs", import_job(*rows)).json()["data"]["id"]
    klaviyo.control.settle()

    (error,) = api.get(f"/api/profile-bulk-import-jobs/{job_id}/import-errors").json()["data"]
    job = api.get(f"/api/profile-bulk-import-jobs/{job_id}").json()["data"]["attributes"]

    assert error["attributes"]["source"]["pointer"] == "/data/attributes/profiles/data/0"
    assert (job["status"], job["failed_count"], job["completed_count"]) == ("complete", 1, 1)


def test_job_faults(api: Api, klaviyo: RunningSimulator) -> None:
    klaviyo.control.fault("job_stuck", "bulk_import_profiles", count=1)
    klaviyo.control.fault("job_cancelled", "bulk_import_profiles", skip=1, count=1)
    ids = [
        api.post("/api/profile-bulk-import-jobs", import_job({"email": "a@example.com"})).json()["data"]["id"]
        for _ in range(2)
    ]
    klaviyo.control.settle()

    states = [api.get(f"/api/profile-bulk-import-jobs/{one}").json()["data"]["attributes"]["status"] for one in ids]

    assert states == ["queued", "cancelled"]


def test_an_import_out_of_order_is_applied_after_the_next(api: Api, klaviyo: RunningSimulator) -> None:
    klaviyo.control.fault("job_out_of_order", "bulk_import_profiles", count=1)
    for title in ("first", "second"):
        api.post("/api/profile-bulk-import-jobs", import_job({"email": "a@example.com", "title": title}))
    klaviyo.control.settle()

    assert klaviyo.control.person(email="a@example.com")["attributes"]["title"] == "first"


def test_an_event_is_accepted_then_stored_once(api: Api, klaviyo: RunningSimulator) -> None:
    for _ in range(3):
        answer = api.track("Placed Order", "a@example.com", unique_id="1", value=9.5)
    klaviyo.control.settle()

    found = api.get("/api/events", filter=f'equals(metric_id,"{api.metric_id("Placed Order")}")').json()["data"]

    assert (answer.status_code, answer.content) == (202, b"")
    assert [item["attributes"]["event_properties"]["$value"] for item in found] == [9.5]
    assert len(klaviyo.control.effects(kind="event.deduplicated")) == 2


def test_without_unique_id_the_second_is_the_key(api: Api, klaviyo: RunningSimulator) -> None:
    for time in ("2026-01-01T00:00:00.1Z", "2026-01-01T00:00:00.9Z", "2026-01-01T00:00:01Z"):
        api.track("Viewed", "a@example.com", time=time)
    klaviyo.control.settle()

    assert len(klaviyo.control.effects(kind="event.stored")) == 2 + 1  # and the welcome mail's


def bulk_events(*ids: str) -> dict:
    events = [event("Viewed", "", unique_id=one)["attributes"] for one in ids]
    for one in events:
        del one["profile"]
    group = {
        "type": "event-bulk-create",
        "attributes": {
            "profile": {"data": {"type": "profile", "attributes": {"email": "a@example.com"}}},
            "events": {"data": [{"type": "event", "attributes": one} for one in events]},
        },
    }
    return {"type": "event-bulk-create-job", "attributes": {"events-bulk-create": {"data": [group]}}}


def test_a_repeat_refuses_the_whole_bulk_request(api: Api, klaviyo: RunningSimulator) -> None:
    assert api.post("/api/event-bulk-create-jobs", bulk_events("1", "2", "1")).status_code == 400
    assert api.post("/api/event-bulk-create-jobs", bulk_events("1", "2")).status_code == 202
    klaviyo.control.settle()

    assert api.post("/api/event-bulk-create-jobs", bulk_events("2", "3")).status_code == 400
    klaviyo.control.switch(bulk_event_repeat_checks_stored=False)
    assert api.post("/api/event-bulk-create-jobs", bulk_events("2", "3")).status_code == 202


def test_events_are_read_newest_first_within_bounds(api: Api, klaviyo: RunningSimulator) -> None:
    for day in (1, 2, 3):
        api.track("Viewed", "a@example.com", time=f"2026-01-0{day}T00:00:00Z")
    klaviyo.control.settle()

    found = api.get(
        "/api/events", filter="greater-or-equal(datetime,2026-01-02T00:00:00Z),less-than(datetime,2026-02-01)"
    ).json()["data"]

    assert [item["attributes"]["datetime"][:10] for item in found] == ["2026-01-03", "2026-01-02"]


def test_a_malformed_event_id_is_400_and_an_unknown_one_404(api: Api) -> None:
    malformed = api.get("/api/events/NOPE01")

    assert malformed.status_code == 400
    assert malformed.json()["errors"][0]["detail"] == "Invalid Event ID: 'NOPE01'"
    assert api.get("/api/events/abcdefghijk").status_code == 404


def test_event_faults(api: Api, klaviyo: RunningSimulator) -> None:
    klaviyo.control.fault("event_lost", "create_event", count=1)
    klaviyo.control.fault("event_future", "create_event", count=1, params={"seconds": 86400})
    api.track("Viewed", "a@example.com", unique_id="lost", time="2026-01-01T00:00:00Z")
    api.track("Viewed", "a@example.com", unique_id="future", time="2026-01-01T00:00:00Z")
    klaviyo.control.settle()

    stored = [item["values"] for item in klaviyo.control.effects(kind="event.stored")]
    mine = [item for item in stored if item["metric"] == "Viewed"]

    assert [(item["unique_id"], item["timestamp"]) for item in mine] == [("future", 1767312000)]
