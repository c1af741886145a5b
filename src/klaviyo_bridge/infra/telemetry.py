"""The recorder: what happened, as OpenTelemetry metrics. Without the extra `otel` the calls cost next to nothing.

Labels are operations, lanes and states only: never a person, never a value.
"""

from __future__ import annotations

from opentelemetry import metrics, trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator


class Recorder:
    """Counts for every layer; each layer names the few methods it needs as a Protocol of its own."""

    def __init__(self) -> None:
        meter = metrics.get_meter("klaviyo_bridge")
        self._calls = meter.create_counter("klaviyo_bridge.calls", description="requests to Klaviyo, by status")
        self._latency = meter.create_histogram("klaviyo_bridge.call.duration", unit="s")
        self._waited = meter.create_histogram("klaviyo_bridge.gate.wait", unit="s")
        self._throttled = meter.create_counter("klaviyo_bridge.throttled", description="answers of 429")
        self._settled = meter.create_counter("klaviyo_bridge.rows.settled", description="rows, by how they ended")
        self._put_back = meter.create_counter("klaviyo_bridge.batches.put_back", description="batches to try again")
        self._merged = meter.create_counter("klaviyo_bridge.profiles.merged", description="profiles read back")
        self._webhooks = meter.create_counter("klaviyo_bridge.webhooks", description="webhook events, by outcome")

    def call(self, operation: str, status: int | None, seconds: float, waited: float) -> None:
        labels = {"operation": operation, "status": str(status or "none")}
        self._calls.add(1, labels)
        self._latency.record(seconds, {"operation": operation})
        self._waited.record(waited, {"operation": operation})

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
        self._webhooks.add(events, {"outcome": outcome})


def current_trace() -> str | None:
    """The W3C traceparent of the running span; None outside of one."""
    if not trace.get_current_span().get_span_context().is_valid:
        return None
    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier.get("traceparent")
