"""One bridge's telemetry: its recorder, its spans, its gauges, and where they go.

The SDK is loaded when it is installed (extra `otel`); nothing here is global, so two bridges in one process
keep their numbers apart.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from opentelemetry import metrics, trace
from opentelemetry.metrics import CallbackOptions, Meter, Observation

from klaviyo_bridge.infra.telemetry.catalogue import INSTRUMENTS
from klaviyo_bridge.infra.telemetry.recorder import Recorder
from klaviyo_bridge.infra.telemetry.tracing import Tracing

Readings = Mapping[str, Iterable[tuple[float, Mapping[str, str]]]]
"""By name of the gauge: values with their labels."""


@dataclass(frozen=True, slots=True)
class Exposition:
    """What `/metrics` answers."""

    body: bytes
    content_type: str


@dataclass(frozen=True)
class Telemetry:
    """`expose` is None where the SDK is not installed."""

    recorder: Recorder
    tracing: Tracing
    expose: Callable[[], Exposition] | None
    _meter: Meter

    def watch(self, read: Callable[[], Readings]) -> None:
        """Have the gauges show what `read` gives whenever somebody looks."""
        for instrument in INSTRUMENTS:
            if instrument.kind == "gauge":
                name, unit, meaning = instrument.name, instrument.unit, instrument.meaning
                self._meter.create_observable_gauge(name, [_callback(read, name)], unit, meaning)


def _callback(read: Callable[[], Readings], name: str) -> Callable[[CallbackOptions], Iterable[Observation]]:
    def observe(_options: CallbackOptions) -> Iterable[Observation]:
        return [Observation(value, dict(labels)) for value, labels in read().get(name, ())]

    return observe


@contextmanager
def open_telemetry(*, otlp_endpoint: str | None = None, span_exporter: Any = None) -> Generator[Telemetry]:
    """Telemetry until the block ends. With `otlp_endpoint` (such as `http://localhost:4318`) metrics and traces are
    sent there; `span_exporter`, an exporter of the SDK, gets the spans at once.
    """
    sdk = _sdk()
    if sdk is None:
        tracing = Tracing(trace.NoOpTracer())
        meter = metrics.NoOpMeter("klaviyo_bridge")
        yield Telemetry(Recorder(), tracing, None, meter)
        return
    providers = sdk.Providers(otlp_endpoint=otlp_endpoint, span_exporter=span_exporter)
    try:
        recorder = Recorder(providers.meter, providers.tracer)
        expose = lambda: Exposition(*providers.expose())  # noqa: E731
        yield Telemetry(recorder, Tracing(providers.tracer), expose, providers.meter)
    finally:
        providers.shutdown()


def _sdk() -> ModuleType | None:
    """The module that imports the SDK, where it is installed."""
    wanted = ("opentelemetry.sdk", "opentelemetry.exporter.prometheus", "opentelemetry.exporter.otlp.proto.http")
    try:
        found = all(importlib.util.find_spec(name) for name in wanted)
    except ModuleNotFoundError:
        found = False
    return importlib.import_module("klaviyo_bridge.infra.telemetry.providers") if found else None
