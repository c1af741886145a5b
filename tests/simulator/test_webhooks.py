"""System webhooks and flows."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from klaviyo_simulator.testing import RunningSimulator
from klaviyo_simulator.webhooks import signature
from simulator.conftest import Api

SECRET = "a-secret-of-16-characters"
RECEIVED = "event:klaviyo.received_email"


class Receiver:
    """Keeps what arrives; `statuses` are answered in turn, then 200."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.statuses: list[int] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.got.append((dict(self.headers), body))
                self.send_response(receiver.statuses.pop(0) if receiver.statuses else 200)
                self.end_headers()

            def log_message(self, *args: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"

    def wait(self, count: int) -> None:
        deadline = time.monotonic() + 10
        while len(self.got) < count and time.monotonic() < deadline:
            time.sleep(0.02)
        assert len(self.got) >= count


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    thread = threading.Thread(target=receiver.server.serve_forever, args=(0.02,))
    thread.start()
    yield receiver
    receiver.server.shutdown()
    thread.join()
    receiver.server.server_close()


def webhook(url: str, *topics: str) -> dict:
    attributes = {"name": "hook", "endpoint_url": url, "secret_key": SECRET}
    linked = {"data": [{"type": "webhook-topic", "id": topic} for topic in topics]}
    return {"type": "webhook", "attributes": attributes, "relationships": {"webhook-topics": linked}}


def test_the_signature_covers_body_and_timestamp() -> None:
    body = (
        b'{"data":[{"external_id":"4L3cwQae2TX","topic":"event:klaviyo.sent_sms"}],"meta":{"klaviyo_webhook_id":'
        b'"a8b890458b4bbfaa26d961471b83c101d6de23bd826e7e5173a15310985ec3cb"}}'
    )

    signed = signature("klaviyo-test-secret", body, "Thu, 04 Jan 2024 18:05:25 GMT")

    assert signed == "5aa0e720d80b3a04ca04baf3c65cdfe31da57504af69fee8da29c35d45f0596b"


def test_ordinary_accounts_may_not_use_the_webhooks_api(api: Api, klaviyo: RunningSimulator) -> None:
    klaviyo.control.switch(kdp=False)

    answer = api.get("/api/webhooks")

    assert answer.status_code == 403
    assert answer.json()["errors"][0]["detail"] == "You must have Advanced KDP enabled to use this endpoint."


def test_a_delivery_is_signed_batched_and_five_hours_ahead(
    api: Api, klaviyo: RunningSimulator, receiver: Receiver
) -> None:
    created = api.post("/api/webhooks", webhook(receiver.url, RECEIVED)).json()["data"]
    for number in range(3):
        api.person(email=f"p{number}@example.com")
    klaviyo.control.settle()
    receiver.wait(1)

    sent, body = receiver.got[0]
    document = json.loads(body)
    message = body + sent["Klaviyo-Timestamp"].encode()
    assert sent["Klaviyo-Signature"] == hmac.new(SECRET.encode(), message, hashlib.sha256).hexdigest()
    assert len(document["data"]) == 3
    assert document["meta"]["klaviyo_webhook_id"] == sent["Klaviyo-Webhook-Id"]
    assert int(sent["Klaviyo-Timestamp"][17:19]) == (int(document["meta"]["timestamp"][11:13]) + 5) % 24
    assert created["attributes"]["endpoint_url"].endswith("/*****")
    assert "secret_key" not in created["attributes"]


def test_a_failed_delivery_is_tried_again(api: Api, klaviyo: RunningSimulator, receiver: Receiver) -> None:
    klaviyo.control.switch(webhook_retry_seconds=0.02, webhook_batch_seconds=0.02)
    receiver.statuses = [503]
    api.post("/api/webhooks", webhook(receiver.url, RECEIVED))
    api.person(email="a@example.com")
    klaviyo.control.settle()
    receiver.wait(2)

    assert receiver.got[0][1] == receiver.got[1][1]


def test_firing_can_repeat_and_forge(api: Api, klaviyo: RunningSimulator, receiver: Receiver) -> None:
    api.post("/api/webhooks", webhook(receiver.url, "event:klaviyo.merged_profile"))
    entry = {"external_id": "abcdefghijk", "topic": RECEIVED, "payload": {}}

    klaviyo.control.fire(data=[entry], times=2)
    klaviyo.control.fire(data=[entry], secret="not-the-secret")
    receiver.wait(3)

    signatures = {
        hmac.new(SECRET.encode(), body + sent["Klaviyo-Timestamp"].encode(), hashlib.sha256).hexdigest()
        == sent["Klaviyo-Signature"]
        for sent, body in receiver.got
    }
    assert signatures == {True, False}


@pytest.mark.parametrize(
    ("attribute", "value"),
    [("endpoint_url", "http://shop.example.com/hook"), ("secret_key", "short"), ("endpoint_url", "nonsense")],
)
def test_webhooks_are_checked(api: Api, attribute: str, value: str) -> None:
    body = webhook("https://shop.example.com/hook", RECEIVED)
    body["attributes"][attribute] = value

    answer = api.post("/api/webhooks", body)

    assert answer.json()["errors"][0]["source"]["pointer"] == f"/data/attributes/{attribute}"


def test_a_metric_made_by_the_api_has_a_topic(api: Api, klaviyo: RunningSimulator) -> None:
    api.track("Viewed Product", "a@example.com")
    klaviyo.control.settle()

    topics = {item["id"] for item in api.get("/api/webhook-topics").json()["data"]}

    assert {"event:api.viewed_product", RECEIVED} <= topics
    assert "profile.created" not in topics


def test_flows_mail_new_people_and_buyers_but_not_for_backfills(api: Api, klaviyo: RunningSimulator) -> None:
    api.track("Placed Order", "a@example.com", unique_id="1")
    api.track("Placed Order", "b@example.com", unique_id="1", backfill=True)
    klaviyo.control.settle()

    sent = {(item["recipient"], item["subject"]) for item in klaviyo.control.messages()}

    assert sent == {
        ("a@example.com", "Welcome!"),
        ("a@example.com", "Thank you for your order"),
        ("b@example.com", "Welcome!"),
    }


def test_nobody_who_unsubscribed_is_mailed(api: Api, klaviyo: RunningSimulator) -> None:
    api.person(email="a@example.com")
    klaviyo.control.settle()
    klaviyo.control.act("unsubscribe", email="a@example.com")
    api.track("Placed Order", "a@example.com")
    klaviyo.control.settle()

    assert len(klaviyo.control.messages()) == 1
    assert len(klaviyo.control.effects(kind="message.skipped")) == 1


def test_a_flow_webhook_is_unsigned_and_names_its_flow(api: Api, klaviyo: RunningSimulator, receiver: Receiver) -> None:
    flow = klaviyo.control.call("POST", "flows", {"name": "Told", "metric": "Told", "webhook_url": receiver.url})
    api.track("Told", "a@example.com")
    klaviyo.control.settle()
    receiver.wait(1)

    headers = receiver.got[0][0]
    assert headers["X-Klaviyo-Flow-ID"] == flow["id"]
    assert "Klaviyo-Signature" not in headers
