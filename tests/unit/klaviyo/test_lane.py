"""The rules of a lane, against Klaviyo's fixed windows in virtual time."""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass, field

import pytest

from klaviyo_bridge.klaviyo import lane as lanes
from klaviyo_bridge.klaviyo.lane import Lane, Priority
from klaviyo_bridge.klaviyo.limits import LIMITS, Limit

START = 1_790_000_000_000  # a server's clock counts from 1970
IMPORT = LIMITS["bulk_import_profiles"]
UPSERT = LIMITS["create_or_update_profile"]
EVENT = LIMITS["create_event"]
REPORT = LIMITS["query_campaign_values"]


@dataclass
class FixedWindow:
    """Klaviyo's counter: windows aligned to a phase, or begun by the first call after the last one."""

    calls: int
    length: int
    phase: int | None
    begun: int = -(10**9)
    used: int = 0

    def refuses(self, now: int) -> int | None:
        """Milliseconds to the next window if this one is full."""
        if now >= self.begun + self.length:
            aligned = None if self.phase is None else now - (now - self.phase) % self.length
            self.begun, self.used = now if aligned is None else aligned, 0
        if self.used >= self.calls:
            return self.begun + self.length - now
        return None


@dataclass
class Klaviyo:
    limit: Limit
    phase: int | None = 0
    foreign_share: float = 0.0
    foreign_seen: int = START
    windows: list[FixedWindow] = field(default_factory=list)
    taken: int = 0
    refused: int = 0

    def __post_init__(self) -> None:
        self.windows = [
            FixedWindow(w.calls, round(w.seconds * 1000), self.phase) for w in self.limit.windows if w.seconds <= 60
        ]

    def call(self, now: int) -> float | None:
        """None if taken, or `Retry-After`."""
        self._foreign(now)
        wait = self._count(now)
        if wait is None:
            self.taken += 1
            return None
        self.refused += 1
        return max(1.0, -(-wait // 1000))

    def _count(self, now: int) -> int | None:
        waits = [wait for window in self.windows if (wait := window.refuses(now)) is not None]
        if waits:
            return max(waits)
        for window in self.windows:
            window.used += 1
        return None

    def _foreign(self, now: int) -> None:
        """Somebody else's calls, evenly spread."""
        per_call = 60_000 / (self.limit.steady * self.foreign_share) if self.foreign_share else None
        while per_call and self.foreign_seen + per_call < now:
            self.foreign_seen += round(per_call)
            self._count(self.foreign_seen)


def run(
    klaviyo: Klaviyo, limit: Limit, *, minutes: float, latency: tuple[int, int] = (10, 10), workers: int = 8
) -> None:
    """Workers who always have something to send, each one call at a time."""
    randomness = random.Random(1)
    lane, now = lanes.decode(None, limit), START
    free, refusals = [START] * workers, [(0, 0.0)][:0]
    while now < START + minutes * 60_000:
        now = max(now, heapq.heappop(free))
        while refusals and refusals[0][0] <= now:
            _, retry_after = heapq.heappop(refusals)
            lane = lanes.throttled(lane, limit, retry_after=retry_after, now=now, jitter=randomness.random())
        lane, wait = lanes.admit(lane, limit, priority=Priority.FULL_SYNC, now=now)
        if wait:
            heapq.heappush(free, now + wait)
            continue
        arrives = now + randomness.randint(*latency)
        answered = arrives + randomness.randint(*latency)
        heapq.heappush(free, answered)
        if (retry_after := klaviyo.call(arrives)) is not None:
            heapq.heappush(refusals, (answered, retry_after))


@pytest.mark.parametrize("phase", [None, 0, 17_300, 59_900])
@pytest.mark.parametrize("limit", [IMPORT, UPSERT, EVENT], ids=lambda limit: limit.operation)
def test_uses_99_percent_of_the_allowance_without_a_429(limit: Limit, phase: int | None) -> None:
    klaviyo = Klaviyo(limit, phase)
    minutes = 5 if limit is not EVENT else 1

    run(klaviyo, limit, minutes=minutes)

    assert klaviyo.refused == 0
    assert klaviyo.taken >= 0.99 * limit.steady * minutes


@pytest.mark.parametrize("phase", [None, 0, 31_000])
@pytest.mark.parametrize("limit", [IMPORT, UPSERT], ids=lambda limit: limit.operation)
def test_uneven_latency_within_the_margin_costs_no_429(limit: Limit, phase: int | None) -> None:
    klaviyo = Klaviyo(limit, phase)

    run(klaviyo, limit, minutes=3, latency=(20, 240))

    assert klaviyo.refused == 0
    assert klaviyo.taken >= 0.99 * limit.steady * 3


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7])
@pytest.mark.parametrize("phase", [44_000])
def test_foreign_traffic_costs_under_one_percent_of_429(share: float, phase: int) -> None:
    klaviyo = Klaviyo(IMPORT, phase, foreign_share=share)

    run(klaviyo, IMPORT, minutes=25, workers=3)

    learning = 4
    assert klaviyo.refused <= 0.01 * klaviyo.taken + learning
    assert klaviyo.taken >= 0.85 * (1 - share) * IMPORT.steady * 25


def test_a_limit_halved_at_run_time_is_learned_within_two_windows() -> None:
    klaviyo = Klaviyo(UPSERT)
    klaviyo.windows[1].calls //= 2

    run(klaviyo, UPSERT, minutes=6)

    assert klaviyo.refused <= 0.01 * klaviyo.taken
    assert klaviyo.taken >= 0.9 * 6 * UPSERT.steady / 2


def after_429(retry_after: float | None, limit: Limit = IMPORT) -> int:
    """The pause in milliseconds that one 429 costs."""
    lane = lanes.throttled(lanes.decode(None, limit), limit, retry_after=retry_after, now=START, jitter=0.0)
    return lanes.admit(lane, limit, priority=Priority.CONSENT, now=START)[1]


@pytest.mark.parametrize(
    ("retry_after", "pause"),
    [
        pytest.param(None, 1_000, id="absent or garbage"),
        pytest.param(0.0, 500, id="zero is no tight loop"),
        pytest.param(1.0, 1_000, id="the burst window"),
        pytest.param(47.0, 47_000, id="the steady window"),
        pytest.param(3_600.0, 61_000, id="longer than any window of this operation"),
    ],
)
def test_a_429_pauses_for_what_klaviyo_asks_within_reason(retry_after: float | None, pause: int) -> None:
    assert after_429(retry_after) == pause


def test_a_daily_limit_may_pause_for_an_hour() -> None:
    assert after_429(86_400.0, REPORT) == 3_600_000


def test_429s_without_a_hint_pause_longer_and_longer() -> None:
    lane, pauses, now = lanes.decode(None, IMPORT), [], START
    for _ in range(5):
        lane = lanes.throttled(lane, IMPORT, retry_after=None, now=now, jitter=0.0)
        pauses.append(lane.paused_until - now)
        now = lane.paused_until

    assert pauses == [1_000, 2_000, 4_000, 8_000, 16_000]


def test_several_429s_of_one_moment_count_as_one() -> None:
    lane = lanes.decode(None, IMPORT)
    for _ in range(8):
        lane = lanes.throttled(lane, IMPORT, retry_after=30.0, now=START, jitter=0.0)

    assert lane.strikes == 1
    assert lane.share == 1.0


def full(limit: Limit) -> Lane:
    lane, wait, now = lanes.decode(None, limit), 0, START
    while not wait:
        lane, wait = lanes.admit(lane, limit, priority=Priority.FULL_SYNC, now=now)
    return lane


class TestPriority:
    def test_the_less_urgent_step_back_while_somebody_urgent_waits(self) -> None:
        lane, wait = lanes.admit(full(IMPORT), IMPORT, priority=Priority.CONSENT, now=START)
        assert wait
        free_again = START + wait

        _, sync_waits = lanes.admit(lane, IMPORT, priority=Priority.FULL_SYNC, now=free_again)
        lane, consent_waits = lanes.admit(lane, IMPORT, priority=Priority.CONSENT, now=free_again)
        _, sync_waits_then = lanes.admit(lane, IMPORT, priority=Priority.FULL_SYNC, now=free_again)

        assert sync_waits
        assert not consent_waits
        assert not sync_waits_then

    def test_a_mark_left_by_a_process_that_died_fades(self) -> None:
        lane, wait = lanes.admit(full(IMPORT), IMPORT, priority=Priority.CONSENT, now=START)

        _, later = lanes.admit(lane, IMPORT, priority=Priority.FULL_SYNC, now=START + wait + 5_000)

        assert not later

    def test_the_full_sync_leaves_room_where_others_call_too(self) -> None:
        lane, now = lanes.decode(None, IMPORT), START
        lane, _ = lanes.admit(lane, IMPORT, priority=Priority.UPSERT, now=now)
        wait = 0
        while wait < 10_000:
            now += wait
            lane, wait = lanes.admit(lane, IMPORT, priority=Priority.FULL_SYNC, now=now)

        _, urgent_waits = lanes.admit(lane, IMPORT, priority=Priority.UPSERT, now=now + 2_100)

        assert not urgent_waits


def test_a_reboot_keeps_a_pause_as_long_as_it_was() -> None:
    lane = lanes.throttled(lanes.decode(None, IMPORT), IMPORT, retry_after=30.0, now=START, jitter=0.0)

    _, wait = lanes.admit(lane, IMPORT, priority=Priority.CONSENT, now=4_000)

    assert wait == 30_000


def test_the_state_survives_its_bytes() -> None:
    lane = lanes.throttled(full(REPORT), REPORT, retry_after=9.0, now=START, jitter=0.5)

    assert lanes.decode(lanes.encode(lane), REPORT) == lane


@pytest.mark.parametrize("stored", [None, b"", b"something else"])
def test_unreadable_state_begins_anew(stored: bytes | None) -> None:
    assert lanes.decode(stored, IMPORT) == lanes.decode(None, IMPORT)


def test_a_row_is_small() -> None:
    assert len(lanes.encode(lanes.decode(None, IMPORT))) < 2_000
