"""Profiles, both ways: what the application says goes to Klaviyo, what Klaviyo learnt comes back.

This is the door; how tables are pushed is in `profile_push`, how Klaviyo is read in `profile_pull`, and how
a profile that comes back is merged in `profile_merge`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from klaviyo_bridge.domain.outbox import Priority
from klaviyo_bridge.domain.profile import ProfileChange, profile_change
from klaviyo_bridge.errors import InvalidPayload, Problem
from klaviyo_bridge.services.profile_merge import Pulled
from klaviyo_bridge.services.profile_pull import ProfilePull
from klaviyo_bridge.services.profile_push import Pushed, PushOutbox, Records, SourcePush, never
from klaviyo_bridge.services.profile_verify import ProfileVerify, Verified

Watch = Callable[["Synced"], None]


class Runs(Records, Protocol):
    """The history of runs. `infra.stores.sync_records.SyncRecords` is one."""

    def begin(self, account: str, kind: str) -> int | None: ...
    def beat(self, run: int) -> None: ...
    def finish(self, run: int, state: str, counts: Mapping[str, Any], *, error: str | None = None) -> None: ...
    def runs(self, account: str, *, limit: int = 20) -> list[dict[str, Any]]: ...
    def conflicts(self, account: str, *, before: int | None = None, limit: int = 100) -> list[dict[str, Any]]: ...


@dataclass(slots=True)
class Synced:
    """One run. `skipped`: another one was running already, and nothing was done."""

    pulled: Pulled = field(default_factory=Pulled)
    pushed: Pushed = field(default_factory=Pushed)
    skipped: bool = False

    @property
    def stopped(self) -> bool:
        return self.pulled.stopped or self.pushed.stopped

    def counts(self) -> dict[str, Any]:
        """Numbers only."""
        pushed = {name: value for name, value in asdict(self.pushed).items() if name != "refused"}
        return {"pulled": asdict(self.pulled), "pushed": pushed}


class ProfileSync:
    """Two-way profile sync of one account."""

    def __init__(
        self,
        account: str,
        outbox: PushOutbox,
        runs: Runs,
        pull: ProfilePull,
        push: SourcePush,
        verify: ProfileVerify,
    ) -> None:
        self._account = account
        self._outbox = outbox
        self._runs = runs
        self._pull = pull
        self._push = push
        self._verify = verify

    def push(self, profile: Mapping[str, object], *, trace: str | None = None) -> Pushed:
        """Have Klaviyo know this profile. On disk when this returns.

        `profile` holds Klaviyo's attribute names, `location` and `properties`; an absent field stays as it
        is, None clears it. Raises `InvalidPayload` naming every field that is wrong.
        """
        return self.take(self.check([profile]), trace=trace)

    def push_many(self, profiles: Sequence[Mapping[str, object]], *, trace: str | None = None) -> Pushed:
        """As `push`, all or none: one wrong profile raises `InvalidPayload` and nothing is taken."""
        return self.take(self.check(profiles, many=True), trace=trace)

    def check(self, profiles: Sequence[Mapping[str, object]], *, many: bool = False) -> list[ProfileChange]:
        """The writes these profiles stand for; raises `InvalidPayload`. With `many`, paths carry the index."""
        return checked(profiles, profile_change, where="profiles" if many else "")

    def take(self, changes: Sequence[ProfileChange], *, trace: str | None = None) -> Pushed:
        """Put checked writes on disk."""
        taken = self._outbox.add_changes(self._account, changes, priority=Priority.UPSERT, trace=trace)
        return Pushed(read=len(changes), queued=taken.taken, unchanged=taken.repeated)

    def sync(
        self,
        *,
        pull: bool = True,
        push: bool = True,
        full: bool = False,
        mapping: str | None = None,
        watch: Watch = lambda _: None,
        stop: Callable[[], bool] = never,
    ) -> Synced:
        """Both ways: first what Klaviyo learnt comes back, then what the application changed is queued.

        That order lets a change at Klaviyo be seen before a write of ours could cover it. One run at a time:
        while another one runs, this one is `skipped`. `stop` is asked after every page; the next run goes on
        where this one stood.
        """
        total = Synced()
        with self._run(_kind(pull=pull, push=push), total) as beat:
            if beat is None:
                return total
            if pull:
                total.pulled = self._pull.pull(
                    full=full, progress=lambda pulled: _tell(total, pulled, watch, beat), stop=stop
                )
            if push and not total.stopped and (pull or self._pull.has_begun):
                total.pushed = self._push.push(
                    full=full, mapping=mapping, progress=lambda pushed: _tell(total, pushed, watch, beat), stop=stop
                )
        return total

    def push_source(self, *, full: bool = False) -> Pushed:
        """Push the rows of the mapped tables that changed; waits for the first pull, which comes before."""
        return self.sync(pull=False, full=full).pushed

    def pull(self, *, full: bool = False) -> Pulled:
        """Bring over what changed at Klaviyo."""
        return self.sync(push=False, full=full).pulled

    def pull_ids(self, profile_ids: Sequence[str]) -> Pulled:
        """Bring over these profiles, by Klaviyo's ids."""
        return self._pull.pull_ids(profile_ids)

    def recheck(self) -> Pulled:
        """Bring over what could not be merged when it was last read, because a write of ours was on its way."""
        return self._pull.recheck()

    def verify(self, *, mapping: str | None = None, progress: Callable[[Verified], None] = lambda _: None) -> Verified:
        """Compare every mapped row with its profile, field by field; changes nothing."""
        return self._verify.verify(mapping=mapping, progress=progress)

    def conflicts(self, *, before: int | None = None, limit: int = 100) -> list[dict[str, Any]]:
        """Values that lost, newest first, masked."""
        return self._runs.conflicts(self._account, before=before, limit=limit)

    def refusals(self, *, mapping: str | None = None, limit: int = 1_000) -> list[dict[str, Any]]:
        """Rows that were not taken as they stand, and why, newest first."""
        return self._runs.refused(self._account, mapping=mapping, limit=limit)

    def history(self, *, limit: int = 20) -> list[dict[str, Any]]:
        """The latest runs, newest first."""
        return self._runs.runs(self._account, limit=limit)

    @contextmanager
    def _run(self, kind: str, total: Synced) -> Generator[Callable[[], None] | None]:
        """A run of the history; yields its heartbeat, or None while another one runs."""
        run = self._runs.begin(self._account, kind)
        if run is None:
            total.skipped = True
            yield None
            return
        try:
            yield lambda: self._runs.beat(run)
        except BaseException as error:
            self._runs.finish(run, "failed", total.counts(), error=type(error).__name__)
            raise
        self._runs.finish(run, "stopped" if total.stopped else "done", total.counts())


def _kind(*, pull: bool, push: bool) -> str:
    return "sync" if pull and push else "pull" if pull else "push"


def _tell(total: Synced, part: Pulled | Pushed, watch: Watch, beat: Callable[[], None]) -> None:
    if isinstance(part, Pulled):
        total.pulled = part
    else:
        total.pushed = part
    beat()
    watch(total)


def checked(items: Sequence[Any], check: Callable[..., Any], *, where: str) -> list[Any]:
    """Every item through `check`; raises one `InvalidPayload` with the problems of all of them.

    `where` names the list; empty for a single item that needs no index.
    """
    good: list[Any] = []
    found: list[Problem] = []
    for index, item in enumerate(items):
        try:
            good.append(check(item, where=f"{where}[{index}]" if where else ""))
        except InvalidPayload as error:
            found += error.problems
    if found:
        raise InvalidPayload(problems=found)
    return good
