"""The OpenTelemetry SDK: Prometheus text on request, OTLP when an endpoint is set. Needs the extra `otel`."""

from __future__ import annotations

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter
from opentelemetry.trace import Tracer
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

NAME = "klaviyo_bridge"


class Providers:
    """A meter, and a tracer that records if anybody wants the spans."""

    def __init__(self, *, otlp_endpoint: str | None, span_exporter: SpanExporter | None) -> None:
        resource = Resource.create({"service.name": "klaviyo-bridge"})
        self._registry = CollectorRegistry()
        readers: list[MetricReader] = [
            PrometheusMetricReader(disable_target_info=True, scope_info_enabled=False, registry=self._registry)
        ]
        processors: list[SpanProcessor] = [] if span_exporter is None else [SimpleSpanProcessor(span_exporter)]
        if otlp_endpoint:
            base = otlp_endpoint.rstrip("/")
            readers.append(PeriodicExportingMetricReader(OTLPMetricExporter(f"{base}/v1/metrics")))
            processors.append(BatchSpanProcessor(OTLPSpanExporter(f"{base}/v1/traces")))
        self._meters = MeterProvider(readers, resource, shutdown_on_exit=False)
        self._spans = _tracer_provider(resource, processors)
        self.meter = self._meters.get_meter(NAME)
        self.tracer: Tracer = self._spans.get_tracer(NAME) if self._spans else trace.NoOpTracer()

    def expose(self) -> tuple[bytes, str]:
        """The metrics in Prometheus's text format, and its content type."""
        return generate_latest(self._registry), CONTENT_TYPE_LATEST

    def shutdown(self) -> None:
        """Send what is left."""
        if self._spans is not None:
            self._spans.shutdown()
        self._meters.shutdown()


def _tracer_provider(resource: Resource, processors: list[SpanProcessor]) -> TracerProvider | None:
    if not processors:
        return None
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    for processor in processors:
        provider.add_span_processor(processor)
    return provider
