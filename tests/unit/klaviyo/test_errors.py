"""Which error stands for which answer."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from klaviyo_bridge.errors import (
    BridgeError,
    DuplicateProfile,
    InvalidPayload,
    NotAuthorized,
    NotFound,
    Problem,
    RateLimited,
    Rejected,
    Unavailable,
)
from klaviyo_bridge.klaviyo.errors import error_from, masked, retry_after, row_problems, rows_named

NOW = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
HTML = b"<!DOCTYPE html><html><title>Just a moment...</title></html>"


def errors(*items: dict[str, Any]) -> bytes:
    return orjson.dumps({"errors": [{"id": "e", "title": "Invalid input.", **item} for item in items]})


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        pytest.param(400, errors({"code": "invalid"}), InvalidPayload, id="invalid"),
        pytest.param(400, errors({"code": "authentication_failed"}), NotAuthorized, id="bad key, as documented"),
        pytest.param(401, errors({"code": "authentication_failed"}), NotAuthorized, id="bad key, as recorded"),
        pytest.param(401, b"", NotAuthorized, id="401 without a body"),
        pytest.param(401, HTML, NotAuthorized, id="401 with a page"),
        pytest.param(403, errors({"code": "permission_denied"}), NotAuthorized, id="missing scope"),
        pytest.param(403, b"", NotAuthorized, id="403 without a body"),
        pytest.param(403, HTML, Unavailable, id="Cloudflare's challenge"),
        pytest.param(404, errors({"code": "not_found"}), NotFound, id="not found"),
        pytest.param(404, HTML, Unavailable, id="not Klaviyo's 404"),
        pytest.param(405, errors({"code": "x"}), Rejected, id="method"),
        pytest.param(408, b"", Unavailable, id="time-out"),
        pytest.param(409, errors({"code": "conflict"}), Rejected, id="template in use"),
        pytest.param(409, errors({"code": "duplicate_profile"}), DuplicateProfile, id="duplicate"),
        pytest.param(410, errors({"code": "gone"}), Unavailable, id="revision retired"),
        pytest.param(
            400, errors({"code": "invalid", "source": {"header": "revision"}}), Unavailable, id="revision refused"
        ),
        pytest.param(413, HTML, InvalidPayload, id="too large, said by a proxy"),
        pytest.param(415, errors({"code": "x"}), Rejected, id="media type"),
        pytest.param(422, errors({"code": "x"}), InvalidPayload, id="unprocessable"),
        pytest.param(429, b"", RateLimited, id="throttled, as recorded without a body"),
        pytest.param(429, HTML, RateLimited, id="throttled by a page"),
        pytest.param(500, b"", Unavailable, id="500"),
        pytest.param(502, HTML, Unavailable, id="502"),
        pytest.param(503, b'{"errors":[]}', Unavailable, id="503"),
        pytest.param(524, HTML, Unavailable, id="Cloudflare's time-out"),
        pytest.param(302, b"", Unavailable, id="redirect"),
    ],
)
def test_the_error_of_an_answer(status: int, body: bytes, expected: type[BridgeError]) -> None:
    assert type(error_from(status, {}, body)) is expected


@pytest.mark.parametrize(
    ("meta", "profile_id"),
    [
        ({"duplicate_profile_id": "01A"}, "01A"),
        ({}, None),
        (None, None),
        ({"duplicate_profile_id": 7}, None),
        ([], None),
    ],
)
def test_a_duplicate_tells_whose_identifier_it_is_if_klaviyo_does(meta: Any, profile_id: str | None) -> None:
    error = error_from(409, {}, errors({"code": "duplicate_profile", "meta": meta}))

    assert isinstance(error, DuplicateProfile)
    assert error.profile_id == profile_id


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        ("1", 1.0),
        ("1.5", 1.5),
        ("0", 0.0),
        ("-7", 0.0),
        ("3600", 3600.0),
        ("99999999", 86_400.0),
        ("soon", None),
        ("nan", None),
        ("inf", None),
        ("Sun, 01 Nov 2026 12:00:30 GMT", 30.0),
        ("Sun, 01 Nov 2026 11:00:00 GMT", 0.0),
        ("Sun, 99 Nov 2026 12:00:30 GMT", None),
    ],
)
def test_retry_after_in_every_dress(value: str | None, seconds: float | None) -> None:
    headers = {} if value is None else {"Retry-After": value}

    assert retry_after(headers, now=NOW) == seconds


def test_a_throttled_answer_carries_its_wait() -> None:
    error = error_from(429, {"retry-after": "12"}, b"")

    assert isinstance(error, RateLimited)
    assert error.retry_after == 12.0


def test_an_invalid_payload_carries_its_problems() -> None:
    pointer = "/data/attributes/profiles/data/3/attributes/email"
    body = errors({"code": "invalid", "detail": "Invalid email address", "source": {"pointer": pointer}})

    error = error_from(400, {}, body)

    assert isinstance(error, InvalidPayload)
    assert error.problems == (Problem(pointer, "Invalid input. Invalid email address"),)


IMPORTS = "/data/attributes/profiles/data"
EVENTS = "/data/attributes/events-bulk-create/data"


@pytest.mark.parametrize(
    ("pointers", "rows"),
    [
        ([f"{IMPORTS}/388/attributes/phone_number"], {388: "phone_number: Invalid input."}),
        ([f"{IMPORTS}/0"], {0: "Invalid input."}),
        (
            [f"{IMPORTS}/2/attributes/email", f"{IMPORTS}/2/attributes/phone_number"],
            {2: "email: Invalid input.; phone_number: Invalid input."},
        ),
        ([f"{IMPORTS}/1/attributes/location/latitude"], {1: "location.latitude: Invalid input."}),
        (
            [f"{EVENTS}/7/attributes/events/data/0/attributes/time"],
            {7: "events.data.0.attributes.time: Invalid input."},
        ),
        (["/data/5/id"], {5: "id: Invalid input."}),
        (["/data", "/data/attributes/profiles", "/data/relationships/list/data/id", "", "filter"], {}),
        ([f"{IMPORTS}/x/attributes/email", f"{IMPORTS}/-1/attributes/email"], {}),
    ],
)
def test_the_rows_that_an_answer_names(pointers: list[str], rows: dict[int, str]) -> None:
    body = errors(*({"code": "invalid", "source": {"pointer": pointer}} for pointer in pointers))
    error = error_from(400, {}, body)

    assert row_problems(body) == rows
    assert isinstance(error, InvalidPayload)
    assert rows_named(error.problems) == rows


@pytest.mark.parametrize("body", [b"", HTML, b"[]", b"null", b'{"errors":{}}', b'{"errors":[1,null,"x"]}', b"\xff"])
def test_no_rows_are_named_by_what_is_no_error_document(body: bytes) -> None:
    assert row_problems(body) == {}


@given(st.integers(300, 599), st.binary(max_size=200), st.text(max_size=30))
def test_every_answer_becomes_an_error_of_our_tree(status: int, body: bytes, wait: str) -> None:
    assert isinstance(error_from(status, {"Retry-After": wait}, body), BridgeError)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(["code", "title", "detail", "source", "meta", "status"])


@given(st.integers(300, 599), st.lists(st.dictionaries(FIELDS, JSON, max_size=6) | JSON, max_size=3))
def test_every_error_document_becomes_an_error_of_our_tree(status: int, items: list[Any]) -> None:
    try:
        body = orjson.dumps({"errors": items})
    except orjson.JSONEncodeError:
        return

    assert isinstance(error_from(status, {}, body), BridgeError)
    row_problems(body)


@pytest.mark.parametrize(
    ("detail", "kept"),
    [
        (
            "'first_name' is not a valid field for the resource 'profile'.",
            "'first_name' is not a valid field for the resource 'profile'.",
        ),
        ("'ada@example.com' is not valid", "'…' is not valid"),
        ('"Ada" is not valid', "'…' is not valid"),
        ("the address ada@example.com is taken", "the address … is taken"),
        ("the number +1 (500) 555-0006 is wrong", "the number … is wrong"),
        ("Invalid email: Ada Lovelace", "Invalid email: …"),
        ("x" * 500, "x" * 200),
    ],
)
def test_details_lose_the_values_they_quote(detail: str, kept: str) -> None:
    assert masked(detail) == kept


def test_many_problems_make_a_short_message() -> None:
    body = errors(*({"code": "invalid", "source": {"pointer": f"{IMPORTS}/{i}/attributes/email"}} for i in range(999)))

    message = str(error_from(400, {}, body))

    assert len(message) < 400
    assert message.endswith("and 996 more")
