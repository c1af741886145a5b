"""The delivery of one batch: begin, send, and write down what became of it.

Nothing is decided here about single rows (see `lanes`); what concerns the whole batch is: come back later,
stop the account, or end it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, Protocol

from klaviyo_bridge.domain.outbox import Batch, Kind, Lane, PlannedBatch, WaitingRow
from klaviyo_bridge.errors import BridgeError, NotAuthorized, OutcomeUnknown, Unavailable
from klaviyo_bridge.services.delivery.lanes import LaneSender, Outcome
from klaviyo_bridge.services.delivery.planner import Policy, Situation, plan_events, plan_profiles
from klaviyo_bridge.services.delivery.steps import Checkpoint, Step, unwatched

LONGEST_BACKOFF = 300.0  # seconds
STOPPED_BACKOFF = 30.0


class PlanningLike(Protocol):
    """The planner's transaction. `infra.stores.outbox.Planning` is one."""

    def waiting(self, kind: Kind, limit: int, *, size: int) -> Iterator[WaitingRow]: ...
    def waiting_of(self, persons: Sequence[int]) -> Iterator[WaitingRow]: ...
    def open_batches(self) -> Mapping[Lane, int]: ...
    def seal(self, planned: PlannedBatch) -> str: ...


class Outbox(Protocol):
    """Where rows wait. `infra.stores.outbox.OutboxStore` is one."""

    def planning(self, account: str) -> AbstractContextManager[PlanningLike | None]: ...


class Batches(Protocol):
    """Batches on their way. `infra.stores.batches.BatchStore` is one."""

    def begin(self, batch_id: str, attempt: int) -> Batch | None: ...
    def accept(self, batch: Batch, job_id: str) -> bool: ...
    def settle(self, batch: Batch, verdicts: Any, *, final: bool = True) -> bool: ...
    def split(self, batch: Batch, parts: Any, verdicts: Any = ()) -> bool: ...
    def retry(self, batch: Batch, *, delay: float, error: str, ambiguous: bool) -> None: ...


class Accounts(Protocol):
    """Whether Klaviyo accepts the key. `infra.stores.cursors.AccountStore` is one."""

    def stopped(self, account: str) -> str | None: ...
    def stop(self, account: str, because: str) -> None: ...


class DeliveryRecorder(Protocol):
    """What counts outcomes. `infra.telemetry.Recorder` is one."""

    def settled(self, lane: str, state: str, rows: int) -> None: ...
    def put_back(self, lane: str, cause: str) -> None: ...


class Delivery:
    """Plans and sends for one account."""

    def __init__(
        self,
        account: str,
        outbox: Outbox,
        batches: Batches,
        accounts: Accounts,
        lanes: Mapping[Lane, LaneSender],
        recorder: DeliveryRecorder,
        *,
        clock: Callable[[], datetime],
        policy: Policy | None = None,
        jitter: Callable[[], float] = random.random,
        checkpoint: Checkpoint = unwatched,
    ) -> None:
        self._account = account
        self._outbox = outbox
        self._batches = batches
        self._accounts = accounts
        self._lanes = lanes
        self._recorder = recorder
        self._clock = clock
        self._policy = policy or Policy()
        self._jitter = jitter
        self._checkpoint = checkpoint

    def plan(self) -> int:
        """Seal what can go now; returns the number of batches. Nothing is planned for a stopped account."""
        if self._accounts.stopped(self._account) is not None:
            return 0
        with self._outbox.planning(self._account) as planning:
            return 0 if planning is None else self._plan(planning)

    def _plan(self, planning: PlanningLike) -> int:
        situation = Situation(self._clock(), self._policy, planning.open_batches())
        planned: list[PlannedBatch] = []
        if situation.room(Lane.EVENT) or situation.room(Lane.EVENTS):
            planned += plan_events(self._events(planning, situation), situation)
        if situation.room(Lane.UPSERT) or situation.room(Lane.IMPORT):
            planned += plan_profiles(self._profiles(planning, situation), situation)
        for batch in planned:
            planning.seal(batch)
        return len(planned)

    def _events(self, planning: PlanningLike, situation: Situation) -> list[WaitingRow]:
        rows, size = self._policy.wanted(self._policy.event_rows, Lane.EVENTS, situation.open_batches)
        return list(planning.waiting(Kind.EVENT, rows, size=size))

    def _profiles(self, planning: PlanningLike, situation: Situation) -> Iterator[WaitingRow]:
        """All that waits for the persons whose turn it is, so that it can be merged."""
        rows, size = self._policy.wanted(self._policy.import_rows, Lane.IMPORT, situation.open_batches)
        persons = dict.fromkeys(row.person_id for row in planning.waiting(Kind.PROFILE, rows, size=size))
        return planning.waiting_of(list(persons))

    def deliver(self, batch_id: str, attempt: int) -> None:
        """Send the batch, if this attempt is still the one that may. Safe to run twice, also at once."""
        batch = self._batches.begin(batch_id, attempt)
        if batch is None:
            return
        self._checkpoint(Step.CLAIMED)
        if (because := self._accounts.stopped(self._account)) is not None:
            self._put_back(batch, NotAuthorized(because))
            return
        try:
            outcome = self._lanes[batch.lane].send(batch)
        except BridgeError as error:
            self._put_back(batch, error)
            return
        self._write_down(batch, outcome)
        self._checkpoint(Step.WRITTEN)

    def _write_down(self, batch: Batch, outcome: Outcome) -> None:
        if outcome.job_id is not None:
            self._batches.accept(batch, outcome.job_id)
        elif outcome.parts:
            self._batches.split(batch, outcome.parts, outcome.verdicts)
        else:
            self._batches.settle(batch, outcome.verdicts, final=outcome.interrupted is None)
        self._count(batch, outcome)
        if outcome.interrupted is not None:
            self._put_back(batch, outcome.interrupted)

    def _count(self, batch: Batch, outcome: Outcome) -> None:
        for state in {verdict.state for verdict in outcome.verdicts}:
            rows = sum(1 for verdict in outcome.verdicts if verdict.state is state)
            self._recorder.settled(batch.lane, state, rows)

    def _put_back(self, batch: Batch, error: BridgeError) -> None:
        """Another attempt later; the rows stay fenced and in order."""
        if isinstance(error, NotAuthorized):
            self._accounts.stop(self._account, str(error))
        ambiguous = isinstance(error, OutcomeUnknown) or batch.resumed
        self._recorder.put_back(batch.lane, type(error).__name__)
        self._batches.retry(batch, delay=self._delay(batch, error), error=str(error)[:500], ambiguous=ambiguous)

    def _delay(self, batch: Batch, error: BridgeError) -> float:
        if isinstance(error, NotAuthorized):
            return STOPPED_BACKOFF
        asked = error.retry_after if isinstance(error, Unavailable) else None
        if asked is not None:
            return asked + self._jitter()
        return backoff(batch.attempt) * (0.5 + self._jitter() / 2)


def backoff(attempt: int) -> float:
    """Seconds before the attempt after this one, when nobody says how long."""
    return min(LONGEST_BACKOFF, 2.0 ** min(attempt, 10))
