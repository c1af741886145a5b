"""Spans from the request that brought a row to the call that delivered it, across processes and days.

The request's W3C `traceparent` is stored with the row, and with the batch the row travels in. Only a trace that
is recorded is stored: without an exporter nothing is written, and nothing slows down.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from opentelemetry import context, trace
from opentelemetry.trace import Link, SpanKind, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

_W3C = TraceContextTextMapPropagator()
Handler = Callable[[dict[str, Any]], None]


class Tracing:
    """Makes spans with `tracer`."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    @contextmanager
    def request(self, name: str, headers: Mapping[str, str]) -> Generator[str | None]:
        """A span around a request, below the caller's own; yields the traceparent to store, if it is recorded."""
        parent = _W3C.extract({"traceparent": headers.get("traceparent", "")})
        with self._tracer.start_as_current_span(name, parent, kind=SpanKind.SERVER, record_exception=False) as span:
            yield current_trace() if span.is_recording() else None

    def traced(self, handlers: Mapping[str, Handler], origins: Callable[[str], Sequence[str]]) -> Mapping[str, Handler]:
        """The same handlers of jobs, each run in a span. `origins` gives the traces of a batch, the first leading."""
        if isinstance(self._tracer, trace.NoOpTracer):
            return handlers
        return {kind: self._in_span(kind, handler, origins) for kind, handler in handlers.items()}

    def _in_span(self, kind: str, handler: Handler, origins: Callable[[str], Sequence[str]]) -> Handler:
        def run(job: dict[str, Any]) -> None:
            batch_id = job.get("batch_id")
            first, *others = [_context(found) for found in (origins(batch_id) if batch_id else ())] or [None]
            links = [Link(trace.get_current_span(other).get_span_context()) for other in others]
            attributes = {"klaviyo_bridge.batch": batch_id} if batch_id else {}
            with self._tracer.start_as_current_span(
                kind, first, kind=SpanKind.CONSUMER, attributes=attributes, links=links, record_exception=False
            ):
                handler(job)

        return run


def current_trace() -> str | None:
    """The W3C traceparent of the running span; None outside of one."""
    if not trace.get_current_span().get_span_context().is_valid:
        return None
    carrier: dict[str, str] = {}
    _W3C.inject(carrier)
    return carrier.get("traceparent")


def _context(traceparent: str) -> context.Context:
    return _W3C.extract({"traceparent": traceparent})
