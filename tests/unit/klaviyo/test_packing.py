"""Bodies filled to the bounds, with every row in its place."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from klaviyo_bridge.errors import InvalidPayload
from klaviyo_bridge.klaviyo import packing
from klaviyo_bridge.klaviyo.packing import Envelope, pack


def small(**bounds: int) -> Envelope:
    return Envelope(head=b'{"data":[', tail=b"]}", **({"max_rows": 5, "max_bytes": 60, "max_row_bytes": 30} | bounds))


@given(
    st.lists(st.binary(max_size=40).map(lambda raw: orjson.dumps(raw.hex()))), st.integers(1, 6), st.integers(60, 200)
)
def test_rows_come_out_once_in_order_and_within_the_bounds(rows: list[bytes], most: int, size: int) -> None:
    envelope = small(max_rows=most, max_bytes=size, max_row_bytes=50)
    refused: dict[int, str] = {}

    bodies = list(pack(rows, envelope, refuse=refused.__setitem__))

    seen: dict[int, Any] = {}
    for packed in bodies:
        found = orjson.loads(packed.body)["data"]
        assert len(packed.body) <= size
        assert len(found) == packed.count <= most
        seen.update({packed.first + offset: value for offset, value in enumerate(found)})
    assert seen.keys() | refused.keys() == set(range(len(rows)))
    assert seen == {index: orjson.loads(rows[index]) for index in seen}
    assert all(len(rows[index]) > 40 for index in refused)


def test_a_body_is_filled_to_the_last_byte() -> None:
    row = b'"' + b"x" * 8 + b'"'
    exactly = small(max_rows=100, max_bytes=len(b'{"data":[]}') + 4 * len(row) + 3)

    assert [packed.count for packed in pack([row] * 9, exactly)] == [4, 4, 1]
    assert len(next(pack([row] * 9, exactly)).body) == exactly.max_bytes


def test_no_rows_make_no_body() -> None:
    assert list(pack([], small())) == []


def test_a_row_too_large_is_named_when_nobody_listens() -> None:
    with pytest.raises(InvalidPayload) as error:
        list(pack([b"1", b'"' + b"x" * 50 + b'"'], small()))

    assert error.value.problems[0].where == "rows[1]"


def test_a_row_too_large_costs_the_others_nothing() -> None:
    refused: dict[int, str] = {}

    bodies = list(pack([b"1", b"2", b"9" * 31, b"3"], small(), refuse=refused.__setitem__))

    assert [(packed.first, packed.count) for packed in bodies] == [(0, 2), (3, 1)]
    assert list(refused) == [2]


ROW = b'{"type":"profile"}'


@pytest.mark.parametrize(
    ("envelope", "kind", "rows", "most"),
    [
        (packing.import_envelope(), "profile-bulk-import-job", "profiles", 10_000),
        (packing.events_envelope(), "event-bulk-create-job", "events-bulk-create", 1_000),
        (packing.subscribe_envelope(), "profile-subscription-bulk-create-job", "profiles", 1_000),
        (packing.unsubscribe_envelope(), "profile-subscription-bulk-delete-job", "profiles", 100),
        (packing.suppress_envelope(), "profile-suppression-bulk-create-job", "profiles", 100),
        (packing.unsuppress_envelope(), "profile-suppression-bulk-delete-job", "profiles", 100),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_stands_around_the_rows(envelope: Envelope, kind: str, rows: str, most: int) -> None:
    packed = next(pack([ROW], envelope))

    assert orjson.loads(packed.body) == {"data": {"type": kind, "attributes": {rows: {"data": [{"type": "profile"}]}}}}
    assert envelope.max_rows == most
    assert envelope.max_bytes == 5_000_000


@pytest.mark.parametrize(
    ("envelope", "relationships"),
    [
        (packing.import_envelope('L"1'), {"lists": {"data": [{"type": "list", "id": 'L"1'}]}}),
        (packing.subscribe_envelope("L1"), {"list": {"data": {"type": "list", "id": "L1"}}}),
        (packing.unsubscribe_envelope("L1"), {"list": {"data": {"type": "list", "id": "L1"}}}),
    ],
    ids=["import", "subscribe", "unsubscribe"],
)
def test_a_list_is_named_beside_the_rows(envelope: Envelope, relationships: dict[str, Any]) -> None:
    assert orjson.loads(next(pack([ROW], envelope)).body)["data"]["relationships"] == relationships


def test_a_historical_import_says_so() -> None:
    envelope = packing.subscribe_envelope(historical_import=True, custom_source='"]}\x00rows\x00')

    attributes = orjson.loads(next(pack([ROW], envelope)).body)["data"]["attributes"]

    assert attributes == {
        "historical_import": True,
        "custom_source": '"]}\x00rows\x00',
        "profiles": {"data": [{"type": "profile"}]},
    }


def test_members_are_a_plain_list() -> None:
    assert (
        next(pack([ROW, ROW], packing.members_envelope())).body == b'{"data":[{"type":"profile"},{"type":"profile"}]}'
    )
