"""How each lane turns rows into requests, and an answer into verdicts.

A lane's `send` returns what the answer means for the rows; it raises only what concerns the whole batch
(see `sender`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from klaviyo_bridge.domain.event import Event
from klaviyo_bridge.domain.outbox import Batch, Carrier, Lane, PlannedBatch, RowState, Verdict, WaitingRow
from klaviyo_bridge.domain.profile import ProfileChange
from klaviyo_bridge.errors import BridgeError, DuplicateProfile, InvalidPayload, Rejected
from klaviyo_bridge.klaviyo.api import KlaviyoAPI
from klaviyo_bridge.klaviyo.errors import rows_named
from klaviyo_bridge.klaviyo.packing import Envelope, events_envelope, import_envelope, pack
from klaviyo_bridge.klaviyo.rows import event_body, event_row, profile_row
from klaviyo_bridge.services.delivery.steps import Checkpoint, Lease, Step, unwatched


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a batch.

    `verdicts` of rows that ended; `job_id` when Klaviyo will tell later; `parts` when the rest must go again
    in other batches; `interrupted` when a single-item lane was stopped on the way, with its cause.
    """

    verdicts: Sequence[Verdict] = ()
    job_id: str | None = None
    parts: Sequence[PlannedBatch] = ()
    interrupted: BridgeError | None = field(default=None)


class LaneSender(Protocol):
    """Sends one batch by one operation."""

    def send(self, batch: Batch) -> Outcome: ...


class Upserts:
    """One profile a request."""

    def __init__(self, klaviyo: KlaviyoAPI, *, checkpoint: Checkpoint = unwatched) -> None:
        self._klaviyo = klaviyo
        self._checkpoint = checkpoint

    def send(self, batch: Batch) -> Outcome:
        return one_by_one(batch.rows, self._upsert, checkpoint=self._checkpoint)

    def _upsert(self, row: WaitingRow) -> Verdict:
        change = ProfileChange.load(row.payload)
        attributes, patch = klaviyo_profile(change)
        try:
            profile, _ = self._klaviyo.profiles.upsert(attributes, profile_id=change.identity.klaviyo_id, patch=patch)
        except DuplicateProfile as error:
            detail = "two profiles at Klaviyo hold these identifiers; merge them, or correct the row"
            return Verdict(row_id=row.id, state=RowState.DEAD, reason="duplicate_profile", detail=f"{detail} ({error})")
        return Verdict(row_id=row.id, state=RowState.DELIVERED, klaviyo_id=profile.id)


class Events:
    """One event a request. A repeat is dropped by Klaviyo, so sending again is harmless."""

    def __init__(self, klaviyo: KlaviyoAPI, *, checkpoint: Checkpoint = unwatched) -> None:
        self._klaviyo = klaviyo
        self._checkpoint = checkpoint

    def send(self, batch: Batch) -> Outcome:
        return one_by_one(batch.rows, self._create, checkpoint=self._checkpoint)

    def _create(self, row: WaitingRow) -> Verdict:
        self._klaviyo.events.create(event_body(**_event_arguments(Event.load(row.payload))))
        return Verdict(row_id=row.id, state=RowState.DELIVERED)


class Imports:
    """Up to 10,000 profiles a request, applied later by a job of Klaviyo's."""

    def __init__(
        self, klaviyo: KlaviyoAPI, reconcile: Callable[[Batch], None], *, checkpoint: Checkpoint = unwatched
    ) -> None:
        self._klaviyo = klaviyo
        self._reconcile = reconcile
        self._checkpoint = checkpoint

    def send(self, batch: Batch) -> Outcome:
        if batch.resumed:
            self._reconcile(batch)
        return packed(batch, _import_row, import_envelope(), self._send, checkpoint=self._checkpoint)

    def _send(self, body: bytes) -> str:
        return self._klaviyo.profiles.bulk_import(body).id


class BulkEvents:
    """Up to 1,000 events a request. There is no job: 202 is the last word.

    A request that was refused although its rows are good (a repeated `unique_id`, which an ambiguous earlier
    attempt may have left behind) is taken apart, and single rows go by the single endpoint.
    """

    def __init__(self, klaviyo: KlaviyoAPI, *, checkpoint: Checkpoint = unwatched) -> None:
        self._klaviyo = klaviyo
        self._checkpoint = checkpoint

    def send(self, batch: Batch) -> Outcome:
        outcome = packed(
            batch, _event_row, events_envelope(), self._send, smallest=Lane.EVENT, checkpoint=self._checkpoint
        )
        if outcome.job_id is None:
            return outcome
        delivered = [Verdict(row_id=row.id, state=RowState.DELIVERED) for row in batch.rows]
        return Outcome(verdicts=delivered)

    def _send(self, body: bytes) -> str:
        self._klaviyo.events.bulk_create(body)
        return "taken"


def one_by_one(
    rows: Iterable[WaitingRow],
    deliver: Callable[[WaitingRow], Verdict],
    *,
    lease: Lease | None = None,
    checkpoint: Checkpoint = unwatched,
) -> Outcome:
    """A verdict per row; anything that is not the row's own fault stops the walk and keeps what was done."""
    lease = lease or Lease()
    verdicts: list[Verdict] = []
    for row in rows:
        try:
            lease.check()
            checkpoint(Step.BUILT)
            verdicts.append(deliver(row))
            checkpoint(Step.ANSWERED)
        except Rejected as error:
            verdicts.append(dead(row, error))
        except BridgeError as error:
            return Outcome(verdicts=verdicts, interrupted=error)
    return Outcome(verdicts=verdicts)


def packed(
    batch: Batch,
    encode: Callable[[WaitingRow], bytes],
    envelope: Envelope,
    send: Callable[[bytes], str],
    *,
    smallest: Lane | None = None,
    lease: Lease | None = None,
    checkpoint: Checkpoint = unwatched,
) -> Outcome:
    """The whole batch in one request; `smallest` is the lane a single refused row is tried by for good."""
    lease = lease or Lease()
    rows, encoded, refused = _encoded(batch.rows, encode)
    bodies = list(pack(encoded, envelope, refuse=lambda index, why: refused.append(_too_large(rows[index], why))))
    checkpoint(Step.BUILT)
    if refused or len(bodies) != 1:
        return Outcome(verdicts=refused, parts=[part(batch.lane, rows[b.first : b.first + b.count]) for b in bodies])
    lease.check()
    try:
        job_id = send(bodies[0].body)
        checkpoint(Step.ANSWERED)
        return Outcome(job_id=job_id)
    except InvalidPayload as error:
        return _stripped(batch.lane, rows, error, smallest)
    except Rejected as error:
        return _halved(batch.lane, rows, error, smallest)


def _encoded(
    rows: Sequence[WaitingRow], encode: Callable[[WaitingRow], bytes]
) -> tuple[list[WaitingRow], list[bytes], list[Verdict]]:
    good: list[WaitingRow] = []
    encoded: list[bytes] = []
    refused: list[Verdict] = []
    for row in rows:
        try:
            encoded.append(encode(row))
        except Rejected as error:
            refused.append(dead(row, error))
            continue
        good.append(row)
    return good, encoded, refused


def _stripped(lane: Lane, rows: Sequence[WaitingRow], error: InvalidPayload, smallest: Lane | None) -> Outcome:
    """Klaviyo refuses all for the sake of some: the named rows end, the rest goes again."""
    named = {index: why for index, why in rows_named(error.problems).items() if index < len(rows)}
    if not named:
        return _halved(lane, rows, error, smallest)
    named_rows = [rows[index] for index in named]
    rest = [row for index, row in enumerate(rows) if index not in named]
    parts = [part(lane, rest)] if rest else []
    if smallest is not None:  # the single endpoint has the last word on each
        return Outcome(parts=[*parts, part(smallest, named_rows)])
    verdicts = [
        Verdict(row_id=rows[index].id, state=RowState.DEAD, reason="refused", detail=why)
        for index, why in named.items()
    ]
    return Outcome(verdicts=verdicts, parts=parts)


def _halved(lane: Lane, rows: Sequence[WaitingRow], error: Rejected, smallest: Lane | None) -> Outcome:
    """Refused without saying which: bisect, until the poison stands alone."""
    if len(rows) == 1 and smallest is None:
        return Outcome(verdicts=[dead(rows[0], error)])
    if len(rows) == 1 and smallest is not None:
        return Outcome(parts=[part(smallest, rows)])
    return Outcome(parts=halves(lane, rows))


def halves(lane: Lane, rows: Sequence[WaitingRow]) -> list[PlannedBatch]:
    """The rows in two batches."""
    middle = len(rows) // 2
    return [part(lane, rows[:middle]), part(lane, rows[middle:])]


def part(lane: Lane, rows: Sequence[WaitingRow]) -> PlannedBatch:
    """The rows as a batch of their own."""
    carriers = [Carrier(row_id=row.id, person_id=row.person_id, payload=row.payload) for row in rows]
    return PlannedBatch(lane=lane, carriers=carriers)


def dead(row: WaitingRow, error: BridgeError) -> Verdict:
    """The row will never work as it stands."""
    reason = "invalid" if isinstance(error, InvalidPayload) else "refused"
    return Verdict(row_id=row.id, state=RowState.DEAD, reason=reason, detail=str(error)[:500])


def _too_large(row: WaitingRow, why: str) -> Verdict:
    return Verdict(row_id=row.id, state=RowState.DEAD, reason="too_large", detail=why)


def klaviyo_profile(change: ProfileChange) -> tuple[dict[str, object], dict[str, object] | None]:
    """Attributes and patch as Klaviyo takes them. A property is cleared by `unset`: null would be stored."""
    attributes: dict[str, object] = {**change.identity.known(), **change.attributes}
    if change.location:
        attributes["location"] = dict(change.location)
    kept = {name: value for name, value in change.properties.items() if value is not None}
    if kept:
        attributes["properties"] = kept
    unset = [name for name, value in change.properties.items() if value is None]
    return attributes, {"unset": unset} if unset else None


def _import_row(row: WaitingRow) -> bytes:
    change = ProfileChange.load(row.payload)
    attributes, patch = klaviyo_profile(change)
    return profile_row(attributes, profile_id=change.identity.klaviyo_id, patch=patch)


def _event_row(row: WaitingRow) -> bytes:
    return event_row(**_event_arguments(Event.load(row.payload)))


def _event_arguments(event: Event) -> dict[str, Any]:
    profile, patch = klaviyo_profile(event.profile)
    return {
        "metric": event.metric,
        "unique_id": event.unique_id,
        "time": datetime.fromisoformat(event.time),
        "profile": profile,
        "properties": event.properties,
        "value": event.value,
        "value_currency": event.value_currency,
        "profile_id": event.profile.identity.klaviyo_id,
        "patch": patch,
        "backfill": event.backfill,
    }
