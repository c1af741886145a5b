"""Work that Klaviyo accepts now and does later, with the ways in which it may go wrong."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field

from klaviyo_simulator.account import Account, Job
from klaviyo_simulator.faults import JOB_KINDS, Rule
from klaviyo_simulator.scheduler import APPLY, Work

Steps = Generator[None] | None


@dataclass(slots=True)
class Held:
    """Jobs that wait for another to overtake them."""

    works: list[Work] = field(default_factory=list[Work])


def do_later(
    account: Account,
    operation: str,
    delay: float,
    work: Callable[[], Steps],
    *,
    job: Job | None = None,
) -> None:
    """Schedule `work`; fault rules for jobs of this operation are obeyed."""
    scheduler = account.world.scheduler
    if job is not None:
        account.jobs[job.id] = job
        work = _tracked(account, job, work)
    fired = {rule.kind: rule for rule in account.world.faults.fire(operation, account.id, JOB_KINDS)}
    if "job_stuck" in fired:
        return
    if "job_cancelled" in fired:
        scheduler.after(delay, lambda: _cancel(account, job))
        return
    if "job_expired" in fired and job is not None:
        job.hidden = True
    if rule := fired.get("job_late"):
        delay += rule.number("seconds", 5.0)
    if rule := fired.get("job_out_of_order"):
        _hold(account, rule, work)
        return
    due = account.now() + delay
    scheduler.at(due, work, kind=APPLY)
    _release(account, due)


def failing_rows(account: Account, operation: str) -> int:
    """Every which row of this job fails, by a fault rule; 0 for none."""
    for rule in account.world.faults.fire(operation, account.id, ("job_errors",)):
        return int(rule.number("every", 10))
    return 0


def _tracked(account: Account, job: Job, work: Callable[[], Steps]) -> Callable[[], Steps]:
    def run() -> Generator[None]:
        job.status = "processing"
        job.started = account.now()
        yield
        steps = work()
        if steps is not None:
            yield from steps
        job.status = "complete"
        job.finished = account.now()

    return run


def _cancel(account: Account, job: Job | None) -> None:
    if job is not None:
        job.status = "cancelled"
        job.finished = account.now()


def _hold(account: Account, rule: Rule, work: Work) -> None:
    held: Held = account.areas.setdefault("held", Held())
    once = _once(work)
    held.works.append(once)
    account.world.scheduler.after(rule.number("seconds", 30.0), once)


def _release(account: Account, due: float) -> None:
    held: Held | None = account.areas.get("held")
    if held is None:
        return
    for number, work in enumerate(held.works):
        account.world.scheduler.at(due + 0.001 * (number + 1), work)
    held.works.clear()


def _once(work: Work) -> Work:
    done: list[bool] = []

    def run() -> Steps:
        if done:
            return None
        done.append(True)
        return work()

    return run
