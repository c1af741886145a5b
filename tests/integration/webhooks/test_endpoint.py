"""Deliveries over real HTTP: what is taken, what is refused, and that nothing is acknowledged unstored."""

from __future__ import annotations

import random
import socket
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import httpx
import orjson
import pytest
import sqlalchemy as sa

from builders import API_KEY, FLOW_TOKEN, a_bridge
from deliveries import a_body, an_item, headers_for
from klaviyo_bridge.bridge import Bridge
from klaviyo_bridge.infra.database import create_engine
from klaviyo_simulator.testing import RunningSimulator
from serving import app_of, serving

PATH = "/webhooks/klaviyo"


@pytest.fixture
def bridge(klaviyo: RunningSimulator, database_url: str) -> Iterator[Bridge]:
    with a_bridge(klaviyo, database_url=database_url) as opened:
        yield opened


@pytest.fixture
def http(bridge: Bridge) -> Iterator[httpx.Client]:
    with serving(app_of(bridge)) as url, httpx.Client(base_url=url, timeout=30) as client:
        yield client


def send(http: httpx.Client, body: bytes, **headers: str) -> int:
    return http.post(PATH, content=body, headers=headers_for(body) | headers).status_code


def stored(bridge: Bridge) -> int:
    return sum(count for states in bridge.inbox.counts().values() for count in states.values())


def test_a_delivery_of_a_thousand_events_is_stored_before_it_is_answered(http: httpx.Client, bridge: Bridge) -> None:
    assert send(http, a_body(*[an_item(f"e{number}") for number in range(1_000)])) == 200

    assert bridge.inbox.counts() == {"event:klaviyo.opened_email": {"stored": 1_000}}


def test_one_delivery_sent_fifty_times_at_once_is_applied_once(http: httpx.Client, bridge: Bridge) -> None:
    body = a_body(*[an_item(f"e{number}", **{"$message": "M"}) for number in range(20)])
    with ThreadPoolExecutor(50) as pool:
        answers = Counter(pool.map(lambda _: send(http, body), range(50)))

    assert answers == {200: 50}
    bridge.inbox.process(range(1, 1_001), handlers_of=bridge.webhooks.handlers_of)
    assert bridge.engagement.by_message() == {"M": {"opened": 20}}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"content-type": "text/plain"}, 415),
        ({"content-type": "application/json; charset=latin-1"}, 415),
        ({"content-encoding": "gzip"}, 415),
        ({"klaviyo-signature": "0" * 64}, 401),
        ({"klaviyo-timestamp": "now"}, 401),
        ({"content-type": 'application/json; charset="UTF-8"'}, 200),
    ],
)
def test_headers_are_taken_strictly(http: httpx.Client, headers: dict[str, str], status: int) -> None:
    assert send(http, a_body(), **headers) == status


def test_a_body_of_fifty_megabytes_is_refused_declared_or_chunked(http: httpx.Client, bridge: Bridge) -> None:
    big = b"x" * 50_000_000
    declared = send_big(http, big)
    chunked = send_big(http, (big[start : start + 1_000_000] for start in range(0, len(big), 1_000_000)))

    assert {declared, chunked} <= {413, None}
    assert stored(bridge) == 0


def send_big(http: httpx.Client, content: bytes | Iterator[bytes]) -> int | None:
    """The status; None when the connection was closed before all was sent."""
    try:
        return http.post(PATH, content=content, headers=headers_for(b"x")).status_code
    except httpx.TransportError:
        return None


MALFORMED = [
    (
        b"POST /webhooks/klaviyo HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Klaviyo-Signature: \xc3\xa9\xff\x80\r\nKlaviyo-Timestamp: \xff\r\nContent-Length: 2\r\n\r\n{}"
    ),
    b"POST /webhooks/klaviyo HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n{}",
    b"POST /webhooks/klaviyo HTTP/1.1\r\nHost: x\r\nContent-Length: abc\r\n\r\n{}",
    b"POST /webhooks/klaviyo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    b"POST /webhooks/klaviyo HTTP/1.1\r\nHost: x\r\nContent-Type: \xe4\xf6\r\nContent-Length: 2\r\n\r\n{}",
    (
        b"POST /webhooks/flow HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nX-Bridge-Token: \xff\xfe\r\n"
        b"Content-Length: 2\r\n\r\n{}"
    ),
    b"\x00\x01\x02\x03\r\n\r\n",
]


@pytest.mark.parametrize("request_bytes", MALFORMED, ids=range(len(MALFORMED)))
def test_malformed_http_is_answered_4xx(http: httpx.Client, request_bytes: bytes) -> None:
    with socket.create_connection((http.base_url.host, http.base_url.port or 80), timeout=10) as connection:
        connection.sendall(request_bytes)
        status = connection.recv(4096).split(b" ")[1]

    assert status in {b"400", b"401", b"415"}


def test_forged_requests_are_never_accepted_and_never_break_the_server(http: httpx.Client, bridge: Bridge) -> None:
    chance, answers = random.Random(5), Counter[int]()
    for _ in range(400):
        body = a_body()
        headers = headers_for(body, secret=chance.choice(["wrong-secret-0123456789", "x", "\u00e9"]))
        answers[http.post(PATH, content=body, headers=headers).status_code] += 1

    assert set(answers) == {401, 429}
    assert stored(bridge) == 0


def test_a_refused_sender_is_listened_to_again_later(http: httpx.Client) -> None:
    answer = None
    while answer is None or answer.status_code == 401:
        answer = http.post(PATH, content=b"{}", headers=headers_for(b"other"))
    assert answer.status_code == 429
    time.sleep(float(answer.headers["retry-after"]))

    assert send(http, a_body()) == 200


@pytest.mark.parametrize("age", [timedelta(minutes=6), timedelta(days=1)])
def test_an_old_delivery_is_refused(http: httpx.Client, age: timedelta) -> None:
    assert send(http, a_body(sent=datetime.now(UTC) - age)) == 401


def test_while_the_database_is_broken_klaviyo_is_asked_to_send_again(
    http: httpx.Client, bridge: Bridge, database_url: str
) -> None:
    engine = create_engine(database_url)
    with engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE inbox RENAME TO inbox_gone"))
    body = a_body()
    broken = [send(http, body) for _ in range(3)]
    with engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE inbox_gone RENAME TO inbox"))
    engine.dispose()

    assert broken == [503] * 3
    assert stored(bridge) == 0
    assert send(http, body) == 200
    assert stored(bridge) == 1


def test_a_flow_calls_with_its_token_and_repeats_are_one_event(http: httpx.Client, bridge: Bridge) -> None:
    body = orjson.dumps({"topic": "unsubscribed_from_email_marketing", "profile_id": "01P", "properties": {"a": 1}})
    answers = [
        http.post("/webhooks/flow", content=body, headers={"content-type": "application/json", **token}).status_code
        for token in ({"x-bridge-token": FLOW_TOKEN}, {"x-bridge-token": FLOW_TOKEN}, {"x-bridge-token": "no"}, {})
    ]

    assert answers == [200, 200, 401, 401]
    assert bridge.inbox.counts() == {"flow:unsubscribed_from_email_marketing": {"stored": 1}}


def test_operators_see_dead_events_and_replay_them(http: httpx.Client, bridge: Bridge) -> None:
    send(http, a_body(an_item("e1", topic="event:api.nobody_wants")))
    bridge.inbox.process([1], handlers_of=bridge.webhooks.handlers_of)
    key = {"Authorization": f"Bearer {API_KEY}"}

    counts = http.get("/v1/inbox", headers=key).json()["counts"]
    replayed = http.post("/v1/inbox/replay", json={"state": "ignored"}, headers=key).json()

    assert http.get("/v1/inbox").status_code == 401
    assert counts == {"event:api.nobody_wants": {"ignored": 1}}
    assert replayed == {"replayed": 1}


def test_an_account_without_the_tier_is_told_so(klaviyo: RunningSimulator, http: httpx.Client) -> None:
    klaviyo.control.switch(kdp=False)

    answer = http.get("/v1/webhooks", headers={"Authorization": f"Bearer {API_KEY}"})

    assert answer.status_code == 502
    assert "Advanced KDP" in answer.json()["detail"]
