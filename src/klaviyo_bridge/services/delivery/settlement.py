"""The end of bulk imports: Klaviyo answers 202 long before it knows, so every job is followed to its end.

`complete` with failures names the failed rows page by page; `cancelled` and vanished jobs are ends too, and
their rows go again. "The rest must be fine" is concluded only when every failure was matched with a row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import Any, Protocol

from klaviyo_bridge.domain.outbox import Batch, Lane, PlannedBatch, RowState, Verdict, WaitingRow
from klaviyo_bridge.domain.profile import IDENTIFIERS, ProfileChange
from klaviyo_bridge.errors import BridgeError, NotAuthorized, NotFound, OutcomeUnknown, Problem
from klaviyo_bridge.klaviyo.api import KlaviyoAPI
from klaviyo_bridge.klaviyo.errors import rows_named
from klaviyo_bridge.klaviyo.types import ImportJob, RowError
from klaviyo_bridge.services.delivery.lanes import halves, part
from klaviyo_bridge.services.delivery.sender import Accounts, DeliveryRecorder, backoff
from klaviyo_bridge.services.delivery.steps import Checkpoint, Step, unwatched

RECONCILE_SECONDS = 5.0
CLOCKS_APART = timedelta(minutes=5)
"""How far Klaviyo's clock and ours may differ when a lost job is looked for."""
VISIBLE_WITHIN = timedelta(minutes=1)
"""A job that was just accepted may not be found yet."""
STUCK_AFTER = timedelta(hours=24)
"""After so long a job that does not end is given up: its rows go again, and nothing waits for it any more."""
SINGLE_LOOKS = 20
"""Jobs that no page showed are asked for one by one, so many in a round; the others wait for the next."""
ATTEMPTS_WHOLE = 3
"""A batch whose job was cancelled so often goes in halves, and a single row by the single endpoint."""


class AcceptedBatches(Protocol):
    """Batches Klaviyo has taken. `infra.stores.batches.BatchStore` is one."""

    def settling(self, account: str) -> AbstractContextManager[bool]: ...
    def accepted(self, account: str) -> list[Batch]: ...
    def rows(self, batch: Batch) -> list[WaitingRow]: ...
    def settle(self, batch: Batch, verdicts: Sequence[Verdict], *, final: bool = True) -> bool: ...
    def split(self, batch: Batch, parts: Sequence[PlannedBatch], verdicts: Sequence[Verdict] = ()) -> bool: ...
    def retry(self, batch: Batch, *, delay: float, error: str, ambiguous: bool) -> None: ...
    def stranded(self, account: str) -> list[Batch]: ...
    def overdue(self, account: str, *, before: datetime) -> list[Batch]: ...
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
        checkpoint: Checkpoint = unwatched,
    ) -> None:
        self._account = account
        self._checkpoint = checkpoint
        self._batches = batches
        self._accounts = accounts
        self._klaviyo = klaviyo
        self._recorder = recorder
        self._clock = clock

    def settle(self) -> int:
        """Ask once about every accepted batch; returns how many still wait. One list call serves for many."""
        open_batches = self._batches.accepted(self._account)
        if not open_batches or self._accounts.stopped(self._account) is not None:
            return len(open_batches)
        with self._batches.settling(self._account) as mine:
            return self._settle_all(open_batches) if mine else len(open_batches)

    def _settle_all(self, open_batches: Sequence[Batch]) -> int:
        try:
            jobs = self._jobs(open_batches)
            self._checkpoint(Step.POLLED)
            known = [batch for batch in open_batches if batch.job_id in jobs]
            ended = sum(self._settle(batch, jobs[batch.job_id or ""]) for batch in known)
            return len(open_batches) - ended
        except NotAuthorized as error:
            self._accounts.stop(self._account, str(error))
            return len(open_batches)

    def reconcile(self, batch: Batch) -> None:
        """Wait until no import that an ambiguous attempt of this batch may have started can still be applied.

        Klaviyo has no idempotency key and never says whose job it is, so a job is not taken for ours: sending
        the same values again is harmless, provided the lost job cannot come after a later write. Hence every
        unclaimed job of this size, begun since, must have ended first. Raises Unavailable while one has not; one
        that is stuck for good is not waited for.
        """
        since = (batch.sent_before or self._clock()) - CLOCKS_APART
        claimed = self._batches.job_ids(self._account, since=since)
        for job in self._newest_jobs(since=since):
            ours = job.total_count == len(batch.rows) and job.id not in claimed
            if ours and not job.finished and not self._is_stuck(job.created_at):
                raise OutcomeUnknown("an import that may be this batch is still running", retry_after=RECONCILE_SECONDS)

    def rescue(self, *, older_than: timedelta) -> int:
        """Give batches whose delivery broke or hangs a new attempt; returns their number.

        Whether the old one still does something does not matter: its attempt number is stale from now on.
        """
        broken = self._batches.stranded(self._account)
        hanging = self._batches.overdue(self._account, before=self._clock() - older_than)
        batches = {batch.id: batch for batch in (*broken, *hanging)}
        for batch in batches.values():
            self._recorder.put_back(batch.lane, "stranded")
            delay = backoff(batch.attempt) if batch.attempt else 0.0
            self._batches.retry(batch, delay=delay, error="its delivery broke off", ambiguous=batch.resumed)
        return len(batches)

    def _jobs(self, open_batches: Sequence[Batch]) -> dict[str, ImportJob | None]:
        """The jobs by id: from the pages of the newest, singly what is not there; None for those that vanished."""
        wanted = {batch.job_id: batch for batch in open_batches if batch.job_id}
        oldest = min((batch.accepted_at for batch in wanted.values() if batch.accepted_at), default=self._clock())
        found: dict[str, ImportJob | None] = {}
        for job in self._newest_jobs(since=oldest - CLOCKS_APART):
            if job.id in wanted:
                found[job.id] = job
            if len(found) == len(wanted):
                return found
        missing = [job_id for job_id in wanted if job_id not in found]
        return {**found, **{job_id: self._job(job_id) for job_id in missing[:SINGLE_LOOKS]}}

    def _is_stuck(self, since: datetime | None) -> bool:
        return since is not None and self._clock() - since > STUCK_AFTER

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
        if self._is_coming(batch, job):
            return False
        try:
            self._end(batch, job)
        except NotAuthorized:
            raise
        except BridgeError:
            return False  # reading the errors failed: nothing was written, the next round asks again
        return True

    def _is_coming(self, batch: Batch, job: ImportJob | None) -> bool:
        if job is None:
            return batch.accepted_at is not None and self._clock() - batch.accepted_at < VISIBLE_WITHIN
        return not job.finished and not self._is_stuck(batch.accepted_at)

    def _end(self, batch: Batch, job: ImportJob | None) -> None:
        if job is None or job.status != "complete":
            self._again(batch, "vanished" if job is None else job.status)
            return
        rows = self._batches.rows(batch)
        failed, unmatched = match_errors(rows, self._errors(job) if job.failed_count else iter(()))
        self._checkpoint(Step.ERRORS_READ)
        if unmatched or len(failed) < job.failed_count:
            self._doubt(batch, rows, failed)
            return
        verdicts = [*failed.values(), *(_delivered(row) for row in rows if row.id not in failed)]
        if self._batches.settle(batch, verdicts):
            self._recorder.settled(batch.lane, RowState.DELIVERED, len(rows) - len(failed))
            self._recorder.settled(batch.lane, RowState.DEAD, len(failed))
        self._checkpoint(Step.SETTLED)

    def _again(self, batch: Batch, how: str) -> None:
        """The job came to nothing, as far as anybody can tell: the same rows go again, in the end one by one."""
        self._recorder.put_back(batch.lane, how)
        if batch.attempt < ATTEMPTS_WHOLE:
            error = f"the import job ended as {how}"
            self._batches.retry(batch, delay=backoff(batch.attempt), error=error, ambiguous=how != "cancelled")
            return
        rows = self._batches.rows(batch)
        self._batches.split(batch, halves(batch.lane, rows) if len(rows) > 1 else [part(Lane.UPSERT, rows)])

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


def match_errors(rows: Sequence[WaitingRow], errors: Iterable[RowError]) -> tuple[dict[int, Verdict], int]:
    """Dead verdicts by row id, and how many errors named no row of ours.

    An error names its row by the payload it quotes (identifiers that one row alone has), or else by the index
    in its pointer.
    """
    named = [(name, row) for row in rows for name in _names(row)]
    times = Counter(name for name, _ in named)
    by_identifier = {name: row for name, row in named if times[name] == 1}
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


def _names(row: WaitingRow) -> Iterator[tuple[str, str]]:
    identity = ProfileChange.load(row.payload).identity
    yield from ((name, value.lower()) for name, value in identity.known().items())
    if identity.klaviyo_id:
        yield "id", identity.klaviyo_id.lower()


def _quoted(payload: Mapping[str, Any] | None, rows: Mapping[tuple[str, str], WaitingRow]) -> WaitingRow | None:
    if not payload:
        return None
    fields = {"id": payload.get("id"), **(payload.get("attributes") or payload)}
    named = ((name, str(fields.get(name) or "").lower()) for name in ("id", *IDENTIFIERS))
    return next((rows[name] for name in named if name in rows), None)


def _pointed(error: RowError, rows: Sequence[WaitingRow]) -> WaitingRow | None:
    index = next(iter(rows_named([Problem(error.pointer, error.title)])), None)
    return rows[index] if index is not None and index < len(rows) else None


def _delivered(row: WaitingRow) -> Verdict:
    return Verdict(row_id=row.id, state=RowState.DELIVERED)
