"""What is sent of a value, and what never is."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from types import MappingProxyType
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from klaviyo_bridge.errors import InvalidPayload
from klaviyo_bridge.klaviyo import rows

MOMENT = datetime(2026, 10, 20, 14, 0, tzinfo=timezone(timedelta(hours=2)))


def test_a_profile_row_holds_what_was_given_and_nothing_else() -> None:
    row = rows.profile_row({"email": "ada@example.com", "last_name": None, "properties": {"a": None}})

    assert row == (
        b'{"type":"profile","attributes":{"email":"ada@example.com","last_name":null,"properties":{"a":null}}}'
    )


def test_a_profile_row_with_everything() -> None:
    row = rows.profile_row({"email": "a@example.com"}, profile_id="01A", patch={"unset": ["x"]})

    assert orjson.loads(row) == {
        "type": "profile",
        "attributes": {"email": "a@example.com"},
        "id": "01A",
        "meta": {"patch_properties": {"unset": ["x"]}},
    }


def test_a_profile_body_is_the_row_in_data() -> None:
    assert rows.profile_body({"email": "a@example.com"}) == (
        b'{"data":{"type":"profile","attributes":{"email":"a@example.com"}}}'
    )


def test_an_event_row_always_has_its_time_and_its_key() -> None:
    row = rows.event_row(
        "Placed Order",
        unique_id="order-1",
        time=MOMENT,
        profile={"email": "a@example.com"},
        properties={"items": [1]},
        value=Decimal("9.99"),
        value_currency="EUR",
        patch={"append": {"x": 1}},
        backfill=True,
    )

    assert orjson.loads(row) == {
        "type": "event-bulk-create",
        "attributes": {
            "backfill": True,
            "profile": {
                "data": {
                    "type": "profile",
                    "attributes": {"email": "a@example.com"},
                    "meta": {"patch_properties": {"append": {"x": 1}}},
                }
            },
            "events": {
                "data": [
                    {
                        "type": "event",
                        "attributes": {
                            "properties": {"items": [1]},
                            "time": "2026-10-20T12:00:00+00:00",
                            "unique_id": "order-1",
                            "metric": {"data": {"type": "metric", "attributes": {"name": "Placed Order"}}},
                            "value": 9.99,
                            "value_currency": "EUR",
                        },
                    }
                ]
            },
        },
    }


def test_an_event_body_keeps_the_patch_inside_the_attributes() -> None:
    body = rows.event_body(
        "Active", unique_id="u", time=MOMENT, profile={"email": "a@example.com"}, properties={}, patch={"unset": "x"}
    )

    data = orjson.loads(body)["data"]
    assert data["type"] == "event"
    assert data["attributes"]["profile"]["data"]["attributes"] == {
        "email": "a@example.com",
        "meta": {"patch_properties": {"unset": "x"}},
    }
    assert "value" not in data["attributes"]
    assert "backfill" not in data["attributes"]


def test_a_consent_row_names_its_channels() -> None:
    row = rows.consent_row(
        "SUBSCRIBED", channels=("email", "sms"), email="a@example.com", phone_number="+15005550006", consented_at=MOMENT
    )

    marketing = {"marketing": {"consent": "SUBSCRIBED", "consented_at": "2026-10-20T12:00:00+00:00"}}
    assert orjson.loads(row)["attributes"] == {
        "email": "a@example.com",
        "phone_number": "+15005550006",
        "subscriptions": {"email": marketing, "sms": marketing},
    }


def test_rows_of_suppressions_and_lists() -> None:
    assert rows.suppression_row("a@example.com") == b'{"type":"profile","attributes":{"email":"a@example.com"}}'
    assert rows.member_row("01A") == b'{"type":"profile","id":"01A"}'


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        (Decimal("10"), 10),
        (Decimal("10.50"), 10.5),
        (MOMENT, "2026-10-20T12:00:00+00:00"),
        (date(2026, 1, 2), "2026-01-02"),
        ((1, 2), [1, 2]),
        (MappingProxyType({"a": 1}), {"a": 1}),
        ("null", "null"),
        ("\\u0000", "\\u0000"),
        (2**63, 2**63),
        ("🙂 שלום", "🙂 שלום"),
    ],
)
def test_how_values_are_sent(value: Any, sent: Any) -> None:
    assert orjson.loads(rows.profile_row({"properties": {"x": value}}))["attributes"]["properties"] == {"x": sent}


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "where"),
    [
        pytest.param({"x": float("nan")}, "attributes.properties.x", id="NaN, which orjson writes as null"),
        pytest.param({"x": [1, {"y": float("inf")}]}, "attributes.properties.x[1].y", id="Infinity, deep inside"),
        pytest.param({"x": Decimal("NaN")}, "attributes.properties.x", id="a Decimal NaN"),
        pytest.param({"x": "a\x00b"}, "attributes.properties.x", id="NUL"),
        pytest.param({"x": "\ud800"}, "attributes.properties.x", id="half a surrogate pair"),
        pytest.param({"\ud800": 1}, "attributes.properties", id="a name that is no text"),
        pytest.param({"a\x00": 1}, "attributes.properties", id="a name with NUL"),
        pytest.param({"x": 2**70}, "attributes.properties.x", id="more than 64 bits"),
        pytest.param({"x": datetime(2026, 1, 1)}, "attributes.properties.x", id="a time without a zone"),
        pytest.param({1: "x"}, "attributes.properties", id="a name that is a number"),
        pytest.param({"x": {1, 2}}, "attributes.properties.x", id="a set"),
        pytest.param({"x": object()}, "attributes.properties.x", id="an object"),
        pytest.param({"x": b"bytes"}, "attributes.properties.x", id="bytes"),
    ],
)
def test_what_json_cannot_hold_is_refused_with_its_path(value: Any, where: str) -> None:
    with pytest.raises(InvalidPayload) as error:
        rows.profile_row({"email": "a@example.com", "properties": value})

    assert [problem.where for problem in error.value.problems] == [where]
    assert "a@example.com" not in str(error.value)


def test_a_thousand_levels_are_refused() -> None:
    with pytest.raises(InvalidPayload):
        rows.profile_row({"properties": {"x": deep(1_000)}})


def test_a_row_of_more_than_100_kb_is_refused() -> None:
    with pytest.raises(InvalidPayload):
        rows.profile_row({"properties": {"x": "y" * 100_000}})


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), VALUES, max_size=5))
def test_a_row_is_read_back_as_it_was_or_refused(properties: dict[str, Any]) -> None:
    try:
        row = rows.profile_row({"properties": properties})
    except InvalidPayload:
        return

    assert orjson.loads(row)["attributes"]["properties"] == properties


def test_utc_stays_as_it_is() -> None:
    assert b"2026-01-01T00:00:00+00:00" in rows.profile_row({"properties": {"x": datetime(2026, 1, 1, tzinfo=UTC)}})
