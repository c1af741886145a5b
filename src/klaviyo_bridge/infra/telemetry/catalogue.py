"""Every metric there is: its name, what it means, its labels. The reference page is generated from here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

SECONDS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Bounds of the histograms' buckets."""


@dataclass(frozen=True, slots=True)
class Instrument:
    """One metric. `unit` is `s` for seconds, `1` for a part of one, empty for a count."""

    name: str
    kind: Literal["counter", "histogram", "gauge"]
    meaning: str
    labels: tuple[str, ...] = ()
    unit: Literal["", "s", "1"] = ""

    @property
    def exposed(self) -> str:
        """Its name at `/metrics`; a histogram adds `_bucket`, `_sum` and `_count`."""
        suffix = {"s": "_seconds", "1": "", "": ""}[self.unit]
        return self.name.replace(".", "_") + suffix + ("_total" if self.kind == "counter" else "")


CALLS: Final = Instrument(
    "klaviyo_bridge.calls",
    "counter",
    "requests to Klaviyo; `status` is `none` when no answer came",
    ("operation", "status"),
)
CALL_DURATION: Final = Instrument(
    "klaviyo_bridge.call.duration",
    "histogram",
    "from the first byte of a request to the end of its answer",
    ("operation",),
    "s",
)
GATE_WAIT: Final = Instrument(
    "klaviyo_bridge.gate.wait", "histogram", "how long requests waited for their window", ("operation",), "s"
)
THROTTLED: Final = Instrument(
    "klaviyo_bridge.throttled",
    "counter",
    "answers of 429; `told_when` says whether Klaviyo named a time",
    ("operation", "told_when"),
)
ROWS_SETTLED: Final = Instrument(
    "klaviyo_bridge.rows.settled",
    "counter",
    "rows that came to an end: `delivered`, `dead`, `superseded`, or `refused` for want of consent",
    ("lane", "state"),
)
PUT_BACK: Final = Instrument(
    "klaviyo_bridge.batches.put_back", "counter", "batches to try again, by the error that caused it", ("lane", "cause")
)
MERGED: Final = Instrument(
    "klaviyo_bridge.profiles.merged",
    "counter",
    "profiles read back from Klaviyo: `read`, `applied` to your table, `conflict` where both sides had changed a field",
    ("outcome",),
)
WEBHOOKS: Final = Instrument(
    "klaviyo_bridge.webhooks",
    "counter",
    "webhook events: `received`, `repeated`, `ignored`, `handled`, …",
    ("outcome",),
)
ROWS_WAITING: Final = Instrument("klaviyo_bridge.rows.waiting", "gauge", "acknowledged rows not sealed yet", ("kind",))
ROWS_OLDEST: Final = Instrument("klaviyo_bridge.rows.oldest", "gauge", "age of the oldest such row", ("kind",), "s")
ROWS_DEAD: Final = Instrument("klaviyo_bridge.rows.dead", "gauge", "dead letters that wait for a person")
BATCHES_OPEN: Final = Instrument(
    "klaviyo_bridge.batches.open", "gauge", "batches on their way: `sealed`, `sending` or `accepted`", ("lane", "state")
)
BATCHES_OLDEST: Final = Instrument(
    "klaviyo_bridge.batches.oldest", "gauge", "age of the oldest batch on its way", ("lane",), "s"
)
ALLOWANCE: Final = Instrument(
    "klaviyo_bridge.allowance.used",
    "gauge",
    "part of the steady window (a minute) that our calls have used",
    ("operation",),
    "1",
)
BREAKER: Final = Instrument(
    "klaviyo_bridge.breaker.open", "gauge", "0 while calls go through, 0.5 while a probe decides, 1 while none is made"
)
STOPPED: Final = Instrument("klaviyo_bridge.account.stopped", "gauge", "1 while Klaviyo refuses the key")
INBOX_WAITING: Final = Instrument("klaviyo_bridge.inbox.waiting", "gauge", "webhook events not handled yet")
INBOX_OLDEST: Final = Instrument("klaviyo_bridge.inbox.oldest", "gauge", "age of the oldest of them", unit="s")
WEBHOOK_SILENCE: Final = Instrument(
    "klaviyo_bridge.webhook.silence", "gauge", "since the last webhook event; absent before the first one", unit="s"
)
SCHEDULE_LATE: Final = Instrument(
    "klaviyo_bridge.schedule.late", "gauge", "how long a pulse is overdue; 0 while on time", ("pulse",), "s"
)

INSTRUMENTS: Final[Sequence[Instrument]] = (
    CALLS,
    CALL_DURATION,
    GATE_WAIT,
    THROTTLED,
    ROWS_SETTLED,
    PUT_BACK,
    MERGED,
    WEBHOOKS,
    ROWS_WAITING,
    ROWS_OLDEST,
    ROWS_DEAD,
    BATCHES_OPEN,
    BATCHES_OLDEST,
    ALLOWANCE,
    BREAKER,
    STOPPED,
    INBOX_WAITING,
    INBOX_OLDEST,
    WEBHOOK_SILENCE,
    SCHEDULE_LATE,
)
