"""The operations against a Klaviyo: what goes in can be read back."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from klaviyo_bridge.errors import InvalidPayload, NotFound
from klaviyo_bridge.klaviyo import filters, packing, rows
from klaviyo_bridge.klaviyo.api import KlaviyoAPI
from klaviyo_bridge.klaviyo.breaker import Breaker, MemoryBreakerStore
from klaviyo_bridge.klaviyo.errors import rows_named
from klaviyo_bridge.klaviyo.gate import Gate, MemoryGateStore
from klaviyo_bridge.klaviyo.session import Session
from klaviyo_simulator.testing import RunningSimulator, running_simulator

NOW = datetime.now(UTC).replace(microsecond=0)


class Silent:
    def call(self, operation: str, status: int | None, seconds: float, waited: float) -> None:
        return None

    def throttled(self, operation: str, retry_after: float | None) -> None:
        raise AssertionError(f"{operation} was throttled")


@pytest.fixture(scope="module")
def klaviyo() -> Iterator[RunningSimulator]:
    with running_simulator(kdp=True) as running:
        yield running


@pytest.fixture(scope="module")
def api(klaviyo: RunningSimulator) -> Iterator[KlaviyoAPI]:
    gate, breaker = Gate("acc", MemoryGateStore()), Breaker("acc", MemoryBreakerStore())
    with Session("acc", klaviyo.key, gate=gate, breaker=breaker, recorder=Silent(), host=klaviyo.url) as session:
        yield KlaviyoAPI(session)


def one_body(made: list[bytes], envelope: packing.Envelope) -> bytes:
    (packed,) = packing.pack(made, envelope)
    return packed.body


def test_an_upsert_creates_then_updates_and_clears(api: KlaviyoAPI) -> None:
    email = "upsert@example.com"

    first, created = api.profiles.upsert({"email": email, "first_name": "Ada", "last_name": "Lovelace"})
    second, created_again = api.profiles.upsert({"email": email, "last_name": None})

    assert (created, created_again) == (True, False)
    assert first.id == second.id
    assert api.profiles.get(first.id).attributes["first_name"] == "Ada"
    assert api.profiles.get(first.id).attributes["last_name"] is None


def test_an_update_by_id(api: KlaviyoAPI) -> None:
    profile, _ = api.profiles.upsert({"email": "update@example.com"})

    api.profiles.update(profile.id, {"first_name": "Grace", "properties": {"plan": "gold"}})

    assert api.profiles.get(profile.id).attributes["properties"] == {"plan": "gold"}


def test_a_bulk_import_ends_and_can_be_read_back(api: KlaviyoAPI, klaviyo: RunningSimulator) -> None:
    made = [rows.profile_row({"email": f"bulk{i}@example.com", "first_name": "Zoë 🙂"}) for i in range(250)]

    job = api.profiles.bulk_import(one_body(made, packing.import_envelope()))
    klaviyo.control.settle()

    done = api.profiles.import_job(job.id)
    assert (done.status, done.finished, done.total_count, done.failed_count) == ("complete", True, 250, 0)
    assert job.id in [listed.id for listed in api.profiles.import_jobs().items]
    assert api.profiles.import_errors(job.id).items == []
    found = api.profiles.page(filter=filters.equals("email", "bulk17@example.com")).items
    assert [profile.attributes["first_name"] for profile in found] == ["Zoë 🙂"]


def test_every_page_is_read_once(api: KlaviyoAPI) -> None:
    seen: list[str] = []
    cursor = None
    while True:
        page = api.profiles.page(cursor=cursor, size=100)
        seen += [profile.id for profile in page.items]
        if (cursor := page.next_cursor) is None:
            break

    assert len(seen) == len(set(seen)) >= 250


def test_a_bad_row_is_named_and_nothing_is_imported(api: KlaviyoAPI) -> None:
    made = [rows.profile_row({"email": f"bad{i}@example.com"} | ({"nope": 1} if i == 1 else {})) for i in range(3)]

    with pytest.raises(InvalidPayload) as error:
        api.profiles.bulk_import(one_body(made, packing.import_envelope()))

    assert list(rows_named(error.value.problems)) == [1]
    assert api.profiles.page(filter=filters.equals("email", "bad0@example.com")).items == []


def event(number: int) -> dict[str, Any]:
    return {
        "unique_id": f"order-{number}",
        "time": NOW - timedelta(hours=1),
        "profile": {"email": "buyer@example.com"},
        "properties": {"number": number},
        "value": 9.5,
    }


def test_events_single_and_bulk_arrive_once_each(api: KlaviyoAPI, klaviyo: RunningSimulator) -> None:
    api.events.create(rows.event_body("Placed Order", **event(1)))
    api.events.create(rows.event_body("Placed Order", **event(1)))
    made = [rows.event_row("Placed Order", **event(number)) for number in (2, 3)]
    api.events.bulk_create(one_body(made, packing.events_envelope()))
    klaviyo.control.settle()

    (metric,) = [metric for metric in api.metrics.all() if metric.name == "Placed Order"]
    found = api.events.page(filter=filters.equals("metric_id", metric.id)).items
    assert sorted(found_event.properties["number"] for found_event in found) == [1, 2, 3]
    assert all(found_event.time == NOW - timedelta(hours=1) for found_event in found)


def test_a_list_lives(api: KlaviyoAPI, klaviyo: RunningSimulator) -> None:
    people = [api.profiles.upsert({"email": f"member{i}@example.com"})[0].id for i in range(2)]
    made = api.lists.create("Black Friday Sale")
    assert made.id in [found.id for found in api.lists.page(filter=filters.equals("name", ["Black Friday Sale"])).items]

    api.lists.add(made.id, people)
    klaviyo.control.settle()
    api.lists.remove(made.id, people[:1])
    klaviyo.control.settle()

    members = api.lists.members(made.id).items
    assert [member.id for member in members] == people[1:]
    assert members[0].joined_group_at is not None
    assert api.lists.get(made.id, count=True).profile_count == 1
    assert api.lists.rename(made.id, "Later").name == "Later"
    api.lists.delete(made.id)
    with pytest.raises(NotFound):
        api.lists.get(made.id)


def test_consent_given_and_taken_back(api: KlaviyoAPI, klaviyo: RunningSimulator) -> None:
    profile, _ = api.profiles.upsert({"email": "consent@example.com"})
    subscribed = [rows.consent_row("SUBSCRIBED", email="consent@example.com", consented_at=NOW - timedelta(days=1))]
    unsubscribed = [rows.consent_row("UNSUBSCRIBED", email="consent@example.com")]

    api.profiles.subscribe(one_body(subscribed, packing.subscribe_envelope(historical_import=True)))
    klaviyo.control.settle()
    before = api.profiles.get(profile.id, subscriptions=True).subscriptions
    api.profiles.unsubscribe(one_body(unsubscribed, packing.unsubscribe_envelope()))
    klaviyo.control.settle()
    after = api.profiles.get(profile.id, subscriptions=True).subscriptions

    assert before is not None
    assert after is not None
    assert before["email"]["marketing"]["consent"] == "SUBSCRIBED"
    assert after["email"]["marketing"]["consent"] == "UNSUBSCRIBED"


def test_suppression_is_a_job(api: KlaviyoAPI) -> None:
    job = api.profiles.suppress(one_body([rows.suppression_row("upsert@example.com")], packing.suppress_envelope()))

    assert job.status in {"queued", "processing", "complete"}
    api.profiles.unsuppress(one_body([rows.suppression_row("upsert@example.com")], packing.unsuppress_envelope()))


def test_merging_and_erasing_are_taken(api: KlaviyoAPI) -> None:
    keep, _ = api.profiles.upsert({"email": "keep@example.com"})
    lose, _ = api.profiles.upsert({"email": "lose@example.com"})

    api.profiles.merge(keep.id, lose.id)
    api.data_privacy.erase(email="upsert@example.com")


@pytest.mark.parametrize("named", [{}, {"email": "a@example.com", "profile_id": "01A"}])
def test_an_erasure_names_exactly_one_identifier(api: KlaviyoAPI, named: dict[str, str]) -> None:
    with pytest.raises(InvalidPayload):
        api.data_privacy.erase(**named)


def test_whose_key_it_is(api: KlaviyoAPI) -> None:
    assert api.accounts.current().id


def test_a_segment_finds_its_members(api: KlaviyoAPI, klaviyo: RunningSimulator) -> None:
    profile, _ = api.profiles.upsert({"email": "segmented@example.com"})
    condition = {
        "type": "profile-property",
        "property": "email",
        "filter": {"type": "string", "operator": "contains", "value": "segmented"},
    }

    made = api.segments.create("Found", {"condition_groups": [{"conditions": [condition]}]})
    klaviyo.control.settle()

    assert made.id in [segment.id for segment in api.segments.all()]
    assert [member.id for member in api.segments.members(made.id).items] == [profile.id]
    assert api.segments.get(made.id).name == "Found"
    api.segments.delete(made.id)


def test_a_webhook_lives(api: KlaviyoAPI) -> None:
    topic = "event:klaviyo.subscribed_to_list"
    assert topic in api.webhooks.topics()

    made = api.webhooks.create("W", endpoint_url="https://shop.example.com/hooks", secret_key="s" * 24, topics=[topic])

    assert [webhook.id for webhook in api.webhooks.all()] == [made.id]
    api.webhooks.delete(made.id)
    with pytest.raises(NotFound):
        api.webhooks.get(made.id)
