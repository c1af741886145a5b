"""The delivery of one batch: begin, send, and write down what became of it.

Nothing is decided here about single rows (see `lanes`); what concerns the whole batch is: come back later,
stop the account, or end it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

from klaviyo_bridge.domain.outbox import Batch, Kind, Lane, PlannedBatch, WaitingRow
from klaviyo_bridge.errors import BridgeError, NotAuthorized, OutcomeUnknown, Unavailable
from klaviyo_bridge.services.delivery.consent_planner import REQUESTS_AT_ONCE, plan_consent
from klaviyo_bridge.services.delivery.lanes import LaneSender, Outcome
from klaviyo_bridge.services.delivery.planner import Policy, plan_events, plan_profiles

LONGEST_BACKOFF = 300.0  # seconds
STOPPED_BACKOFF = 30.0


class PlanningLike(Protocol):
    """The planner's transaction. `infra.stores.outbox.Planning` is one."""

    def waiting(self, kind: Kind, limit: int) -> list[WaitingRow]: ...
    def waiting_of(self, persons: set[int]) -> list[WaitingRow]: ...
    def consent_requests(self, limit: int) -> list[WaitingRow]: ...
    def open_batches(self) -> Mapping[Lane, int]: ...
    def seal(self, planned: PlannedBatch) -> str: ...


class Outbox(Protocol):
    """Where rows wait. `infra.stores.outbox.OutboxStore` is one."""

    def planning(self, account: str) -> AbstractContextManager[PlanningLike | None]: ...


class Batches(Protocol):
    """Batches on their way. `infra.stores.batches.BatchStore` is one."""

    def begin(self, batch_id: str, attempt: int) -> Batch | None: ...
    def accept(self, batch: Batch, job_id: str) -> None: ...
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
        policy: Policy | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._account = account
        self._outbox = outbox
        self._batches = batches
        self._accounts = accounts
        self._lanes = lanes
        self._recorder = recorder
        self._policy = policy or Policy()
        self._jitter = jitter

    def plan(self) -> int:
        """Seal what can go now; returns the number of batches. Nothing is planned for a stopped account."""
        if self._accounts.stopped(self._account) is not None:
            return 0
        with self._outbox.planning(self._account) as planning:
            return 0 if planning is None else self._plan_consent(planning) + self._plan(planning)

    def _plan_consent(self, planning: PlanningLike) -> int:
        """Requests about consent go first."""
        rows = planning.consent_requests(REQUESTS_AT_ONCE)
        planned = list(plan_consent(rows, planning.open_batches())) if rows else []
        for batch in planned:
            planning.seal(batch)
        return len(planned)

    def _plan(self, planning: PlanningLike) -> int:
        policy, open_batches = self._policy, planning.open_batches()
        sealed = 0
        if self._has_room(open_batches, Lane.EVENT, Lane.EVENTS):
            rows = planning.waiting(Kind.EVENT, policy.event_rows * policy.room(Lane.EVENTS, open_batches) or 1)
            sealed += sum(1 for batch in plan_events(rows, policy, open_batches) if planning.seal(batch))
        if self._has_room(open_batches, Lane.UPSERT, Lane.IMPORT):
            rows = planning.waiting(Kind.PROFILE, policy.import_rows * policy.room(Lane.IMPORT, open_batches) or 1)
            together = planning.waiting_of({row.person_id for row in rows})
            sealed += sum(1 for batch in plan_profiles(together, policy, open_batches) if planning.seal(batch))
        return sealed

    def _has_room(self, open_batches: Mapping[Lane, int], *lanes: Lane) -> bool:
        return all(self._policy.room(lane, open_batches) for lane in lanes)

    def deliver(self, batch_id: str, attempt: int) -> None:
        """Send the batch, if this attempt is still the one that may. Safe to run twice, also at once."""
        batch = self._batches.begin(batch_id, attempt)
        if batch is None:
            return
        if (because := self._accounts.stopped(self._account)) is not None:
            self._put_back(batch, NotAuthorized(because))
            return
        try:
            outcome = self._lanes[batch.lane].send(batch)
        except BridgeError as error:
            self._put_back(batch, error)
            return
        self._write_down(batch, outcome)

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
        return min(LONGEST_BACKOFF, 2.0 ** min(batch.attempt, 10)) * (0.5 + self._jitter() / 2)
