"""Group commit: rows of many callers in one commit, in their order, and nobody is told too early."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import pytest

from klaviyo_bridge.errors import Overloaded
from klaviyo_bridge.services.ingest import GroupCommit
from waiting import until


class Disk:
    """Keeps what is committed; may be held up, and may break."""

    def __init__(self) -> None:
        self.commits: list[list[int]] = []
        self.let_through = threading.Event()
        self.let_through.set()
        self.broken: Exception | None = None

    def commit(self, rows: Sequence[int]) -> None:
        self.let_through.wait()
        if self.broken is not None:
            raise self.broken
        self.commits.append(list(rows))


def a_group(
    disk: Disk, *, backlog: Callable[[], int] = lambda: 0, limit: int = 100, clock: Callable[[], float] = lambda: 0.0
) -> GroupCommit[int]:
    return GroupCommit(disk.commit, name="test", backlog=backlog, limit=limit, clock=clock)


def test_callers_that_wait_share_a_commit() -> None:
    disk = Disk()
    group = a_group(disk)
    disk.let_through.clear()
    with group.running():
        futures = [group.submit([number]) for number in range(10)]
        disk.let_through.set()
        for future in futures:
            future.result(5)

    assert len(disk.commits) <= 2
    assert [row for commit in disk.commits for row in commit] == list(range(10))


def test_nobody_is_told_before_the_commit() -> None:
    disk = Disk()
    disk.let_through.clear()
    group = a_group(disk)
    with group.running():
        future = group.submit([1])

        assert not future.done()
        disk.let_through.set()
        assert future.result(5) is None


def test_a_failed_commit_is_told_to_everybody_and_the_next_one_works() -> None:
    disk = Disk()
    disk.broken = OSError("disk full")
    group = a_group(disk)
    with group.running():
        failed = group.submit([1])
        with pytest.raises(OSError, match="disk full"):
            failed.result(5)
        disk.broken = None
        group.submit([2]).result(5)

    assert disk.commits == [[2]]


def test_what_was_submitted_is_committed_before_the_end() -> None:
    disk = Disk()
    group = a_group(disk)
    with group.running():
        future = group.submit([1, 2, 3])

    assert future.done()
    assert disk.commits == [[1, 2, 3]]


def test_a_full_backlog_is_refused_until_it_has_drained() -> None:
    waiting, now, disk = [99], [0.0], Disk()
    group = a_group(disk, backlog=lambda: waiting[0], limit=100, clock=lambda: now[0])
    with group.running():
        group.submit([1]).result(5)
        with pytest.raises(Overloaded) as refused:
            group.submit([2, 3])
        waiting[0], now[0] = 0, 5.0
        until(lambda: not _refused(group))

        group.submit([5, 6]).result(5)

    assert refused.value.retry_after is not None
    assert [row for commit in disk.commits for row in commit if row < 7] == [1, 5, 6]


def _refused(group: GroupCommit[int]) -> bool:
    try:
        group.submit([7, 8])
    except Overloaded:
        return True
    return False
