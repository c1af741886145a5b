"""The end of bulk imports: Klaviyo answers 202 long before it knows, so every job is followed to its end.

`complete` with failures names the failed rows page by page; `cancelled` and vanished jobs are ends too, and
their rows go again. "The rest must be fine" is concluded only when every failure was matched with a row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol

from klaviyo_bridge.domain.outbox import Batch, Lane, PlannedBatch, RowState, Verdict, WaitingRow
from klaviyo_bridge.domain.profile import IDENTIFIERS, ProfileChange
from klaviyo_bridge.errors import BridgeError, NotAuthorized, NotFound, OutcomeUnknown, Problem
from klaviyo_bridge.klaviyo.api import KlaviyoAPI
from klaviyo_bridge.klaviyo.errors import rows_named
from klaviyo_bridge.klaviyo.types import ImportJob, RowError
from klaviyo_bridge.services.delivery.lanes import halves
from klaviyo_bridge.services.delivery.sender import Accounts, DeliveryRecorder

RECONCILE_SECONDS = 5.0
CLOCKS_APART = timedelta(minutes=5)
"""How far Klaviyo's clock and ours may differ when a lost job is looked for."""


class AcceptedBatches(Protocol):
    """Batches Klaviyo has taken. `infra.stores.batches.BatchStore` is one."""

    def accepted(self, account: str) -> list[Batch]: ...
    def rows(self, batch: Batch) -> list[WaitingRow]: ...
    def settle(self, batch: Batch, verdicts: Sequence[Verdict], *, final: bool = True) -> bool: ...
    def split(self, batch: Batch, parts: Sequence[PlannedBatch], verdicts: Sequence[Verdict] = ()) -> bool: ...
    def retry(self, batch: Batch, *, delay: float, error: str, ambiguous: bool) -> None: ...
    def stranded(self, account: str, *, before: datetime) -> list[Batch]: ...
    def job_ids(self, account: str, *, since: datetime) -> set[str]: ...


class Settlement:
    """Follows the import jobs of one account."""

    def __init__(
        self,
        account: str,
        batches: AcceptedBatches,
        accounts: Accounts,
        klaviyo: KlaviyoAPI,
        recorder: DeliveryRecorder,
        *,
        clock: Callable[[], datetime],
    ) -> None:
        self._account = account
        self._batches = batches
        self._accounts = accounts
        self._klaviyo = klaviyo
        self._recorder = recorder
        self._clock = clock

    def settle(self) -> int:
        """Ask once about every accepted batch; returns how many still wait. One list call serves for many."""
        open_batches = [batch for batch in self._batches.accepted(self._account) if batch.lane is Lane.IMPORT]
        if not open_batches or self._accounts.stopped(self._account) is not None:
            return len(open_batches)
        try:
            jobs = self._jobs({batch.job_id for batch in open_batches if batch.job_id})
            return sum(not self._settle(batch, jobs.get(batch.job_id or "")) for batch in open_batches)
        except NotAuthorized as error:
            self._accounts.stop(self._account, str(error))
            return len(open_batches)

    def reconcile(self, batch: Batch) -> None:
        """Wait until no import that an ambiguous attempt of this batch may have started can still be applied.

        Klaviyo has no idempotency key and never says whose job it is, so a job is not taken for ours: sending
        the same values again is harmless, provided the lost job cannot come after a later write. Hence every
        unclaimed job of this size, begun since, must have ended first. Raises Unavailable while one has not.
        """
        since = (batch.sent_before or self._clock()) - CLOCKS_APART
        claimed = self._batches.job_ids(self._account, since=since)
        for job in self._newest_jobs(since=since):
            if job.total_count == len(batch.rows) and job.id not in claimed and not job.finished:
                raise OutcomeUnknown("an import that may be this batch is still running", retry_after=RECONCILE_SECONDS)

    def rescue(self, *, older_than: timedelta) -> int:
        """Give batches whose job was lost or got stuck a new attempt; returns their number.

        Whether the old one still does something does not matter: its attempt number is stale from now on.
        """
        stranded = self._batches.stranded(self._account, before=self._clock() - older_than)
        for batch in stranded:
            self._batches.retry(batch, delay=0.0, error="its job was lost", ambiguous=batch.resumed)
        return len(stranded)

    def _jobs(self, wanted: set[str]) -> dict[str, ImportJob | None]:
        """The jobs by id: from one page where that serves, singly otherwise; None for those that vanished."""
        found: dict[str, ImportJob | None] = {
            job.id: job for job in self._klaviyo.profiles.import_jobs().items if job.id in wanted
        }
        return {job_id: found[job_id] if job_id in found else self._job(job_id) for job_id in wanted}

    def _job(self, job_id: str) -> ImportJob | None:
        try:
            return self._klaviyo.profiles.import_job(job_id)
        except NotFound:
            return None

    def _newest_jobs(self, *, since: datetime) -> Iterator[ImportJob]:
        cursor = None
        while True:
            page = self._klaviyo.profiles.import_jobs(cursor=cursor)
            for job in page.items:
                if job.created_at is not None and job.created_at < since:
                    return
                yield job
            cursor = page.next_cursor
            if cursor is None:
                return

    def _settle(self, batch: Batch, job: ImportJob | None) -> bool:
        """True when the batch has come to an end."""
        if job is not None and not job.finished:
            return False
        try:
            self._end(batch, job)
        except NotAuthorized:
            raise
        except BridgeError:
            return False  # reading the errors failed: nothing was written, the next round asks again
        return True

    def _end(self, batch: Batch, job: ImportJob | None) -> None:
        if job is None or job.status == "cancelled":
            why = "the import job vanished" if job is None else "the import job was cancelled"
            self._recorder.put_back(batch.lane, "cancelled")
            self._batches.retry(batch, delay=1.0, error=why, ambiguous=False)
            return
        rows = self._batches.rows(batch)
        failed, unmatched = match_errors(rows, self._errors(job) if job.failed_count else ())
        if unmatched or len(failed) < job.failed_count:
            self._doubt(batch, rows, failed)
            return
        verdicts = [*failed.values(), *(_delivered(row) for row in rows if row.id not in failed)]
        if self._batches.settle(batch, verdicts):
            self._recorder.settled(batch.lane, RowState.DELIVERED, len(rows) - len(failed))
            self._recorder.settled(batch.lane, RowState.DEAD, len(failed))

    def _doubt(self, batch: Batch, rows: Sequence[WaitingRow], failed: Mapping[int, Verdict]) -> None:
        """Some failure could not be matched: end the known ones, send the rest again in smaller batches."""
        rest = [row for row in rows if row.id not in failed]
        if len(rest) > 1:
            self._batches.split(batch, halves(batch.lane, rest), list(failed.values()))
            return
        detail = "Klaviyo counted it as failed and gave no reason that names it"
        last = [Verdict(row_id=row.id, state=RowState.DEAD, reason="import_failed", detail=detail) for row in rest]
        self._batches.settle(batch, [*failed.values(), *last])

    def _errors(self, job: ImportJob) -> Iterator[RowError]:
        cursor = None
        while True:
            page = self._klaviyo.profiles.import_errors(job.id, cursor)
            yield from page.items
            cursor = page.next_cursor
            if cursor is None:
                return


def match_errors(
    rows: Sequence[WaitingRow], errors: Sequence[RowError] | Iterator[RowError]
) -> tuple[dict[int, Verdict], int]:
    """Dead verdicts by row id, and how many errors named no row of ours.

    An error names its row by the payload it quotes (identifiers), or else by the index in its pointer.
    """
    by_identifier = {(name, value.lower()): row for row in rows for name, value in _identifiers(row)}
    failed: dict[int, Verdict] = {}
    unmatched = 0
    for error in errors:
        row = _quoted(error.original_payload, by_identifier) or _pointed(error, rows)
        if row is None:
            unmatched += 1
            continue
        failed[row.id] = Verdict(
            row_id=row.id, state=RowState.DEAD, reason=error.code or "import_failed", detail=error.title
        )
    return failed, unmatched


def _identifiers(row: WaitingRow) -> Iterable[tuple[str, str]]:
    return ProfileChange.load(row.payload).identity.known().items()


def _quoted(payload: Mapping[str, Any] | None, rows: Mapping[tuple[str, str], WaitingRow]) -> WaitingRow | None:
    if not payload:
        return None
    fields = payload.get("attributes") or payload
    named = ((name, str(fields.get(name) or "").lower()) for name in IDENTIFIERS)
    return next((rows[name] for name in named if name in rows), None)


def _pointed(error: RowError, rows: Sequence[WaitingRow]) -> WaitingRow | None:
    index = next(iter(rows_named([Problem(error.pointer, error.title)])), None)
    return rows[index] if index is not None and index < len(rows) else None


def _delivered(row: WaitingRow) -> Verdict:
    return Verdict(row_id=row.id, state=RowState.DELIVERED)
