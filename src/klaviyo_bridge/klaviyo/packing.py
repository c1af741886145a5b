"""Many rows in one request, filled to Klaviyo's bounds. Pure: bytes in, bodies out; rows come from `rows`.

Rows are serialised once, one by one, and only joined here, so the exact size is known before sending and
a request costs microseconds per row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import orjson

from klaviyo_bridge.errors import InvalidPayload, Problem
from klaviyo_bridge.klaviyo import limits


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """What stands before and after the rows, and how much fits."""

    head: bytes
    tail: bytes
    max_rows: int
    max_bytes: int = limits.MAX_BODY_BYTES
    max_row_bytes: int = limits.MAX_ROW_BYTES


@dataclass(frozen=True, slots=True)
class Packed:
    """One request body: rows `first` to `first + count - 1` of the input, in order and without a gap."""

    body: bytes
    first: int
    count: int


def pack(
    rows: Iterable[bytes], envelope: Envelope, *, refuse: Callable[[int, str], None] | None = None
) -> Iterator[Packed]:
    """Cut `rows` into bodies by count and bytes.

    A row that is too large on its own is told to `refuse(index, reason)` and left out; without `refuse` it
    raises InvalidPayload naming the row. Either way the other rows are not its victims.
    """
    frame = len(envelope.head) + len(envelope.tail) - 1
    largest = min(envelope.max_row_bytes, envelope.max_bytes - frame - 1)
    parts: list[bytes] = []
    first, size = 0, frame
    for index, row in enumerate(rows):
        length = len(row) + 1
        if length - 1 > largest:
            if parts:
                yield _packed(envelope, parts, first)
            _refuse(index, length - 1, largest, refuse)
            parts, first, size = [], index + 1, frame
            continue
        if len(parts) == envelope.max_rows or size + length > envelope.max_bytes:
            yield _packed(envelope, parts, first)
            parts, first, size = [], index, frame
        parts.append(row)
        size += length
    if parts:
        yield _packed(envelope, parts, first)


def _packed(envelope: Envelope, parts: list[bytes], first: int) -> Packed:
    return Packed(envelope.head + b",".join(parts) + envelope.tail, first, len(parts))


def _refuse(index: int, size: int, largest: int, refuse: Callable[[int, str], None] | None) -> None:
    reason = f"is {size} bytes long, and at most {largest} fit"
    if refuse is None:
        raise InvalidPayload(problems=[Problem(f"rows[{index}]", reason)])
    refuse(index, reason)


def import_envelope(list_id: str | None = None) -> Envelope:
    """Bulk profile import. With a list the profiles join it, without any change of their consent."""
    relationships = {"lists": {"data": [{"type": "list", "id": list_id}]}} if list_id else None
    return _job("profile-bulk-import-job", "profiles", limits.MAX_PROFILES_PER_IMPORT, relationships=relationships)


def events_envelope() -> Envelope:
    """Bulk events. Refused as a whole when one `unique_id` is there twice for the same profile and metric."""
    return _job("event-bulk-create-job", "events-bulk-create", limits.MAX_EVENTS_PER_REQUEST)


def subscribe_envelope(
    list_id: str | None = None, *, historical_import: bool = False, custom_source: str | None = None
) -> Envelope:
    """Subscribe. `historical_import` bypasses double opt-in and wants `consented_at` in each row."""
    extra: dict[str, object] = {"historical_import": True} if historical_import else {}
    if custom_source is not None:
        extra["custom_source"] = custom_source
    return _job(
        "profile-subscription-bulk-create-job",
        "profiles",
        limits.MAX_SUBSCRIBES_PER_REQUEST,
        extra=extra,
        relationships=_list(list_id),
    )


def unsubscribe_envelope(list_id: str | None = None) -> Envelope:
    """Unsubscribe. With a list, people who are not its members are unsubscribed from everything."""
    return _job(
        "profile-subscription-bulk-delete-job",
        "profiles",
        limits.MAX_UNSUBSCRIBES_PER_REQUEST,
        relationships=_list(list_id),
    )


def suppress_envelope() -> Envelope:
    """Suppress by email."""
    return _job("profile-suppression-bulk-create-job", "profiles", limits.MAX_SUPPRESSIONS_PER_REQUEST)


def unsuppress_envelope() -> Envelope:
    """Unsuppress by email; lifts suppressions made by users only."""
    return _job("profile-suppression-bulk-delete-job", "profiles", limits.MAX_SUPPRESSIONS_PER_REQUEST)


def members_envelope() -> Envelope:
    """Add to, or remove from, a list."""
    return Envelope(head=b'{"data":[', tail=b"]}", max_rows=limits.MAX_LIST_MEMBERS_PER_REQUEST)


def _list(list_id: str | None) -> dict[str, object] | None:
    return {"list": {"data": {"type": "list", "id": list_id}}} if list_id else None


_ROWS = "\x00rows\x00"
"""Stands where the rows go; no value can hold it unescaped, so the cut is safe."""


def _job(
    kind: str,
    rows: str,
    max_rows: int,
    *,
    extra: Mapping[str, object] | None = None,
    relationships: Mapping[str, object] | None = None,
) -> Envelope:
    data: dict[str, object] = {"type": kind, "attributes": {**(extra or {}), rows: {"data": [_ROWS]}}}
    if relationships:
        data["relationships"] = relationships
    head, tail = orjson.dumps({"data": data}).rsplit(orjson.dumps(_ROWS), 1)
    return Envelope(head=head, tail=tail, max_rows=max_rows)
