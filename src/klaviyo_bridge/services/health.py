"""Whether all is well, part by part, in words that say what to do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from klaviyo_bridge.domain.outbox import RowState

CHECK_EVERY = 1.0  # seconds that an answer is good for, so that a probe costs nothing


class Backlog(Protocol):
    """What waits. `infra.stores.outbox.OutboxStore` is one."""

    def backlog(self, account: str) -> Mapping[RowState, int]: ...
    def oldest_waiting(self, account: str) -> datetime | None: ...


class AccountState(Protocol):
    """Whether Klaviyo accepts the key. `infra.stores.cursors.AccountStore` is one."""

    def stopped(self, account: str) -> str | None: ...


@dataclass(frozen=True, slots=True)
class Report:
    """`ready`: rows are taken and sent. `waiting`, `batched`, `dead` count rows; `oldest_seconds` is an age."""

    ready: bool
    problem: str | None
    waiting: int
    batched: int
    dead: int
    oldest_seconds: float


class Health:
    """Reports on one account; an answer is reused for a second."""

    def __init__(
        self, account: str, backlog: Backlog, accounts: AccountState, *, clock: Callable[[], datetime]
    ) -> None:
        self._account = account
        self._backlog = backlog
        self._accounts = accounts
        self._clock = clock
        self._last: tuple[datetime, Report] | None = None

    def report(self) -> Report:
        """How it stands now."""
        now = self._clock()
        if self._last is None or abs((now - self._last[0]).total_seconds()) >= CHECK_EVERY:
            self._last = (now, self._look(now))
        return self._last[1]

    def waiting(self) -> int:
        """Rows that wait to be delivered, as of the last look."""
        return self.report().waiting

    def _look(self, now: datetime) -> Report:
        counts = self._backlog.backlog(self._account)
        oldest = self._backlog.oldest_waiting(self._account)
        stopped = self._accounts.stopped(self._account)
        return Report(
            ready=stopped is None,
            problem=None if stopped is None else f"Klaviyo refuses the key ({stopped}); give another and restart",
            waiting=counts.get(RowState.WAITING, 0),
            batched=counts.get(RowState.BATCHED, 0),
            dead=counts.get(RowState.DEAD, 0),
            oldest_seconds=0.0 if oldest is None else max(0.0, (now - oldest).total_seconds()),
        )
