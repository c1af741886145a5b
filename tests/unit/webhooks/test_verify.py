"""Whose delivery it is, how old, and what is in it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import WEBHOOK_SECRET
from deliveries import a_body, an_item, headers_for
from klaviyo_bridge.domain.webhook import WebhookEvent
from klaviyo_bridge.errors import InvalidWebhook
from klaviyo_bridge.webhooks.verify import sign, verify

NOW = datetime(2026, 9, 4, 13, 16, 52, tzinfo=UTC)
OLD_SECRET = "the-secret-of-yesterday"


def check(
    body: bytes, headers: dict[str, str], *, secrets: tuple[str, ...] = (WEBHOOK_SECRET,), **rest: Any
) -> list[WebhookEvent]:
    return verify(body, headers, secrets=secrets, now=NOW, **rest)


def signed(*items: Any, **rest: Any) -> tuple[bytes, dict[str, str]]:
    body = a_body(*items, sent=NOW, **rest)
    return body, headers_for(body, now=NOW)


def test_signs_as_the_published_vector() -> None:
    body = (
        b'{"data":[{"external_id":"4L3cwQae2TX","topic":"event:klaviyo.sent_sms"}],"meta":{"klaviyo_webhook_id":'
        b'"a8b890458b4bbfaa26d961471b83c101d6de23bd826e7e5173a15310985ec3cb"}}'
    )

    assert sign(body, "Thu, 04 Jan 2024 18:05:25 GMT", "klaviyo-test-secret") == (
        "5aa0e720d80b3a04ca04baf3c65cdfe31da57504af69fee8da29c35d45f0596b"
    )


def test_takes_a_delivery_whose_header_runs_five_hours_ahead() -> None:
    events = check(*signed(an_item("e1", profile_id="01A"), an_item("e2")))

    assert [(event.external_id, event.profile_id) for event in events] == [("e1", "01A"), ("e2", "01P")]


@pytest.mark.parametrize("secrets", [(WEBHOOK_SECRET, OLD_SECRET), (OLD_SECRET, WEBHOOK_SECRET)])
def test_takes_both_secrets_while_one_is_rotated(secrets: tuple[str, ...]) -> None:
    assert check(*signed(), secrets=secrets)


@pytest.mark.parametrize("secrets", [(), ("",), (OLD_SECRET,)])
def test_refuses_a_secret_that_is_not_configured(secrets: tuple[str, ...]) -> None:
    with pytest.raises(InvalidWebhook, match="not by any secret"):
        check(*signed(), secrets=secrets)


def test_refuses_a_signature_made_with_the_empty_secret() -> None:
    body = a_body(sent=NOW)

    with pytest.raises(InvalidWebhook):
        check(body, headers_for(body, secret="", now=NOW), secrets=("",))


def other_signature(name: str, body: bytes, timestamp: str) -> str:
    key, stamp = WEBHOOK_SECRET.encode(), timestamp.encode()
    digest = hmac.new(key, body + stamp, hashlib.sha256)
    return {
        "timestamp first": hmac.new(key, stamp + body, hashlib.sha256).hexdigest(),
        "body only": hmac.new(key, body, hashlib.sha256).hexdigest(),
        "base64": base64.b64encode(digest.digest()).decode(),
        "upper case": digest.hexdigest().upper(),
        "sha1": hmac.new(key, body + stamp, hashlib.sha1).hexdigest(),
        "prefixed": f"sha256={digest.hexdigest()}",
        "empty": "",
        "not ASCII": "é" * 64,
        "other digits": "٣" * 64,
    }[name]


@pytest.mark.parametrize(
    "name",
    [
        "timestamp first", "body only", "base64", "upper case", "sha1", "prefixed", "empty", "not ASCII",
        "other digits",
    ],
)  # fmt: skip
def test_refuses_signatures_made_in_another_way(name: str) -> None:
    body, headers = signed()
    headers["klaviyo-signature"] = other_signature(name, body, headers["klaviyo-timestamp"])

    with pytest.raises(InvalidWebhook):
        check(body, headers)


def test_refuses_a_body_that_was_written_again() -> None:
    body, headers = signed()

    with pytest.raises(InvalidWebhook, match="signature"):
        check(orjson.dumps(orjson.loads(body), option=orjson.OPT_INDENT_2), headers)


@pytest.mark.parametrize("moved", [1, 4, 25, 29])
def test_refuses_text_that_slid_from_the_timestamp_into_the_body(moved: int) -> None:
    body, headers = signed()
    timestamp = headers["klaviyo-timestamp"]
    headers["klaviyo-timestamp"] = timestamp[moved:]

    with pytest.raises(InvalidWebhook, match="Timestamp"):
        check(body + timestamp[:moved].encode(), headers)


def test_refuses_digits_that_slid_from_the_body_into_the_timestamp() -> None:
    body, headers = signed()
    timestamp = headers["klaviyo-timestamp"]
    headers["klaviyo-timestamp"] = body[-1:].decode() + timestamp

    with pytest.raises(InvalidWebhook, match="Timestamp"):
        check(body[:-1], headers)


@pytest.mark.parametrize(
    ("age", "taken"),
    [(1, True), (240, True), (300, True), (360, False), (86_400, False), (-240, True), (-360, False)],
)
def test_judges_age_by_the_signed_time(age: int, taken: bool) -> None:
    body = a_body(sent=NOW - timedelta(seconds=age))
    headers = headers_for(body, now=NOW)

    if taken:
        assert check(body, headers)
        return
    with pytest.raises(InvalidWebhook, match="seconds away"):
        check(body, headers)


def test_refuses_another_webhooks_id_in_the_header() -> None:
    body, headers = signed()

    with pytest.raises(InvalidWebhook, match="Webhook-Id"):
        check(body, headers | {"klaviyo-webhook-id": "0" * 64})


def test_refuses_another_accounts_delivery_when_the_account_is_known() -> None:
    body, headers = signed(account="Other1")

    assert check(body, headers)
    with pytest.raises(InvalidWebhook, match="another Klaviyo account"):
        check(body, headers, account_id="AbC123")


@pytest.mark.parametrize(
    "document",
    [
        b"", b"null", b"[]", b'"text"', b"{}", b"{", b"\xff\xfe", b"[" * 5000, b'{"meta":[]}',
        b'{"meta":{"klaviyo_webhook_id":"%b"}}', b'{"meta":{"timestamp":5},"data":[]}',
    ],
    ids=range(11),
)  # fmt: skip
def test_a_signed_body_that_is_no_delivery_is_refused(document: bytes) -> None:
    with pytest.raises(InvalidWebhook):
        check(document, headers_for(document, now=NOW))


def test_refuses_more_events_than_klaviyo_sends() -> None:
    with pytest.raises(InvalidWebhook, match="1001 events"):
        check(*signed(*[an_item(f"e{number}") for number in range(1_001)]))


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    "item",
    [
        pytest.param(None, id="null"),
        pytest.param({"topic": "t", "payload": {}}, id="no id"),
        pytest.param(an_item("e\u0000"), id="NUL in the id"),
        pytest.param(an_item("x" * 256), id="long id"),
        pytest.param({"external_id": "e", "topic": 5, "payload": {}}, id="topic is a number"),
        pytest.param({"external_id": "e", "topic": "t"}, id="no payload"),
    ],
)
def test_one_unreadable_event_does_not_spoil_its_siblings(item: Any) -> None:
    events = check(*signed(an_item("e1"), item, an_item("e2")))

    assert [event.topic for event in events if event.topic != "unreadable"] == ["event:klaviyo.opened_email"] * 2
    assert len(events) == 3


def test_an_event_nested_deeper_than_can_be_stored_is_unreadable() -> None:
    body = a_body(an_item("e1"), {"external_id": "deep", "topic": "t", "payload": {}}, sent=NOW)
    body = body.replace(b'"payload":{}', b'"payload":{"a":' + b"[" * 400 + b"]" * 400 + b"}")

    events = check(body, headers_for(body, now=NOW))

    assert [event.topic for event in events] == ["event:klaviyo.opened_email", "unreadable"]


def test_ten_thousand_mutations_are_all_refused() -> None:
    chance, accepted = random.Random(11), 0
    for _ in range(10_000):
        body, headers = signed()
        accepted += _is_taken(*_mutated(chance, body, headers))

    assert accepted == 0


def _mutated(chance: random.Random, body: bytes, headers: dict[str, str]) -> tuple[bytes, dict[str, str]]:
    where = chance.choice(["body", *headers])
    if where in {"body", "content-type"}:
        place = chance.randrange(len(body))
        return body[:place] + bytes([body[place] ^ (1 << chance.randrange(8))]) + body[place + 1 :], headers
    text = headers[where]
    place = chance.randrange(len(text))
    changed = text[:place] + chr(ord(text[place]) ^ (1 << chance.randrange(7))) + text[place + 1 :]
    return body, headers | {where: changed}


def _is_taken(body: bytes, headers: dict[str, str]) -> bool:
    try:
        return bool(check(body, headers))
    except InvalidWebhook:
        return False


@given(
    body=st.binary(max_size=200),
    headers=st.dictionaries(
        st.sampled_from(["klaviyo-signature", "klaviyo-timestamp", "klaviyo-webhook-id"]), st.text(max_size=80)
    ),
)
def test_whatever_comes_is_refused_and_never_breaks(body: bytes, headers: dict[str, str]) -> None:
    with pytest.raises(InvalidWebhook):
        check(body, headers)


@given(
    body=st.recursive(
        st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["data", "meta", "topic", "payload"]), inner, max_size=4)
        ),
    )
)
def test_whatever_is_signed_is_read_or_refused(body: Any) -> None:
    document = orjson.dumps(body)

    assert not _is_taken(document, headers_for(document, now=NOW))
