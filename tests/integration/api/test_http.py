"""The HTTP service: 202 only when on disk, every wrong field named, nothing half taken."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import orjson
import pytest
import sqlalchemy as sa

from builders import API_KEY, a_profile, an_event, some_settings
from klaviyo_bridge import open_bridge
from klaviyo_bridge.bridge import Bridge
from klaviyo_bridge.infra.database import open_database
from klaviyo_bridge.infra.tables import outbox
from serving import app_of, serving


@pytest.fixture
def bridge(database_url: str) -> Iterator[Bridge]:
    """A bridge that does not work: what is taken stays in the outbox."""
    with open_bridge(some_settings(database_url=database_url, backlog_limit=50)) as opened:
        yield opened


@pytest.fixture
def http(bridge: Bridge) -> Iterator[httpx.Client]:
    with (
        serving(app_of(bridge)) as url,
        httpx.Client(base_url=url, headers={"Authorization": f"Bearer {API_KEY}"}) as client,
    ):
        yield client


def kinds(database_url: str) -> list[str]:
    with open_database(database_url) as database, database.read() as connection:
        return list(connection.execute(sa.select(outbox.c.kind).order_by(outbox.c.id)).scalars())


@pytest.mark.parametrize(
    ("path", "body", "count", "kind"),
    [
        pytest.param("/v1/profiles", a_profile(), 1, "profile", id="a profile"),
        pytest.param(
            "/v1/profiles", [a_profile(email=f"{n}@example.com") for n in range(3)], 3, "profile", id="profiles"
        ),
        pytest.param("/v1/events", an_event(), 1, "event", id="an event"),
        pytest.param("/v1/events", [an_event(unique_id=str(n)) for n in range(3)], 3, "event", id="events"),
    ],
)
def test_what_is_answered_202_is_on_disk(
    http: httpx.Client, database_url: str, path: str, body: object, count: int, kind: str
) -> None:
    answer = http.post(path, json=body)

    assert (answer.status_code, answer.json()) == (202, {"accepted": count})
    assert kinds(database_url) == [kind] * count


def test_the_same_event_twice_is_taken_once(http: httpx.Client, database_url: str) -> None:
    answers = [http.post("/v1/events", json=an_event()).status_code for _ in range(3)]

    assert answers == [202, 202, 202]
    assert kinds(database_url) == ["event"]


@pytest.mark.parametrize(
    ("headers"),
    [
        pytest.param({"Authorization": ""}, id="no key"),
        pytest.param({"Authorization": "Bearer wrong"}, id="wrong key"),
        pytest.param({"Authorization": f"Basic {API_KEY}"}, id="wrong scheme"),
    ],
)
def test_without_a_known_key_nothing_is_taken(http: httpx.Client, database_url: str, headers: dict[str, str]) -> None:
    answer = http.post("/v1/profiles", json=a_profile(), headers=headers)

    assert answer.status_code == 401
    assert kinds(database_url) == []


def test_every_wrong_field_of_every_item_is_named_and_nothing_is_taken(http: httpx.Client, database_url: str) -> None:
    body = [a_profile(), {"email": "nobody"}, {"first_name": "Ann"}, {"email": "a@example.com", "age": 7}]

    answer = http.post("/v1/profiles", json=body)

    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert [problem["where"] for problem in answer.json()["problems"]] == [
        "profiles[1].email",
        "profiles[2].email",
        "profiles[3].age",
    ]
    assert kinds(database_url) == []


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"{", id="half an object"),
        pytest.param(b'"text"', id="text"),
        pytest.param(b"[1, null]", id="an array of other things"),
        pytest.param(b'{"email": "a@example.com", "properties": {"x": NaN}}', id="NaN"),
        pytest.param(b'{"email": "a\xff@example.com"}', id="broken UTF-8"),
        pytest.param(b"[" * 100_000, id="nested without end"),
    ],
)
def test_what_is_not_a_profile_is_answered_422(http: httpx.Client, body: bytes) -> None:
    answer = http.post("/v1/profiles", content=body)

    assert answer.status_code == 422
    assert answer.json()["problems"]


def test_a_body_of_more_than_five_megabytes_is_refused(http: httpx.Client) -> None:
    answer = http.post("/v1/profiles", content=b" " * 5_000_001)

    assert answer.status_code == 413


def test_a_full_backlog_is_answered_503_with_retry_after(http: httpx.Client) -> None:
    answer = http.post("/v1/events", json=[an_event(unique_id=str(n)) for n in range(51)])

    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0


def test_a_broken_database_is_answered_503_and_says_nothing_about_it(
    http: httpx.Client, bridge: Bridge, database_url: str
) -> None:
    with open_database(database_url) as database, database.write() as connection:
        connection.execute(sa.text("DROP TABLE outbox"))

    answer = http.post("/v1/events", json=an_event(profile={"email": "canary@example.com"}))

    assert answer.status_code == 503
    assert "canary" not in answer.text
    assert "outbox" not in answer.text


class TestHealth:
    def test_is_live_and_ready_without_a_key(self, http: httpx.Client) -> None:
        answers = [http.get(f"/health{part}", headers={"Authorization": ""}) for part in ("/live", "/ready", "")]

        assert [answer.status_code for answer in answers] == [200, 200, 200]

    def test_counts_what_waits(self, http: httpx.Client, bridge: Bridge) -> None:
        bridge.events.track(an_event())

        assert http.get("/health").json()["waiting"] == 1


def test_the_openapi_page_is_there(http: httpx.Client) -> None:
    paths = http.get("/openapi.json").json()["paths"]

    assert http.get("/docs").status_code == 200
    assert {"/v1/profiles", "/v1/events", "/health/live", "/health/ready"} <= set(paths)


def test_lines_of_json_are_taken_as_an_array_is(http: httpx.Client, database_url: str) -> None:
    lines = b"\n".join(orjson.dumps(an_event(unique_id=str(n))) for n in range(3))

    answer = http.post("/v1/events", content=lines, headers={"Content-Type": "application/x-ndjson"})

    assert (answer.status_code, answer.json()) == (202, {"accepted": 3})
    assert kinds(database_url) == ["event"] * 3


def test_a_refused_subscription_is_named_in_the_answer(http: httpx.Client) -> None:
    person = {"email": "ann@example.com"}
    http.post("/v1/consent/unsubscribe", json=person)

    answer = http.post("/v1/consent/subscribe", json=[person])

    assert answer.json() == {"accepted": 0, "refused": [{"index": 0, "reason": "unsubscribed"}]}
    assert [refusal["reason"] for refusal in http.get("/v1/consent/refusals").json()] == ["unsubscribed"]


def test_every_wrong_field_of_a_subscription_is_named(http: httpx.Client) -> None:
    answer = http.post("/v1/consent/subscribe", json={"email": "nobody", "channels": ["fax"], "when": "now"})

    assert answer.status_code == 422
    assert {problem["where"] for problem in answer.json()["problems"]} == {"email", "channels", "when"}
