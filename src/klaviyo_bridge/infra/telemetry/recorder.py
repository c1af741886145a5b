"""The recorder: counts for every layer. Each layer names the few methods it needs as a Protocol of its own."""

from __future__ import annotations

import time

from opentelemetry import metrics, trace
from opentelemetry.metrics import Counter, Histogram, Meter
from opentelemetry.trace import SpanKind, Tracer

from klaviyo_bridge.infra.telemetry import catalogue
from klaviyo_bridge.infra.telemetry.catalogue import Instrument


class Recorder:
    """Counts into `meter`, and has each call to Klaviyo be a span of `tracer`."""

    def __init__(self, meter: Meter | None = None, tracer: Tracer | None = None) -> None:
        meter = meter or metrics.NoOpMeter("klaviyo_bridge")
        self._tracer = tracer or trace.NoOpTracer()
        self._calls = _counter(meter, catalogue.CALLS)
        self._latency = _histogram(meter, catalogue.CALL_DURATION)
        self._waited = _histogram(meter, catalogue.GATE_WAIT)
        self._throttled = _counter(meter, catalogue.THROTTLED)
        self._settled = _counter(meter, catalogue.ROWS_SETTLED)
        self._put_back = _counter(meter, catalogue.PUT_BACK)
        self._merged = _counter(meter, catalogue.MERGED)
        self._webhooks = _counter(meter, catalogue.WEBHOOKS)

    def call(self, operation: str, status: int | None, seconds: float, waited: float) -> None:
        """A request ended. Its span is written now, with the times it had."""
        self._calls.add(1, {"operation": operation, "status": str(status or "none")})
        self._latency.record(seconds, {"operation": operation})
        self._waited.record(waited, {"operation": operation})
        ended = time.time_ns()
        attributes = {"http.response.status_code": status or 0, "klaviyo_bridge.gate.wait": waited}
        started = ended - round(seconds * 1e9)
        self._tracer.start_span(
            f"klaviyo {operation}", kind=SpanKind.CLIENT, attributes=attributes, start_time=started
        ).end(ended)

    def throttled(self, operation: str, retry_after: float | None) -> None:
        self._throttled.add(1, {"operation": operation, "told_when": str(retry_after is not None)})

    def settled(self, lane: str, state: str, rows: int) -> None:
        if rows:
            self._settled.add(rows, {"lane": lane, "state": state})

    def put_back(self, lane: str, cause: str) -> None:
        self._put_back.add(1, {"lane": lane, "cause": cause})

    def merged(self, read: int, applied: int, conflicts: int) -> None:
        for outcome, count in (("read", read), ("applied", applied), ("conflict", conflicts)):
            if count:
                self._merged.add(count, {"outcome": outcome})

    def webhook(self, outcome: str, events: int) -> None:
        if events:
            self._webhooks.add(events, {"outcome": outcome})


def _counter(meter: Meter, instrument: Instrument) -> Counter:
    return meter.create_counter(instrument.name, instrument.unit, instrument.meaning)


def _histogram(meter: Meter, instrument: Instrument) -> Histogram:
    return meter.create_histogram(
        instrument.name,
        instrument.unit,
        instrument.meaning,
        explicit_bucket_boundaries_advisory=catalogue.SECONDS,
    )
