"""What happened, as OpenTelemetry metrics and traces. Without the extra `otel` every call costs next to nothing.

Labels and attributes are operations, lanes, states and counts: never a person, never a value.
"""

from klaviyo_bridge.infra.telemetry.catalogue import INSTRUMENTS, Instrument
from klaviyo_bridge.infra.telemetry.recorder import Recorder
from klaviyo_bridge.infra.telemetry.telemetry import Exposition, Telemetry, open_telemetry
from klaviyo_bridge.infra.telemetry.tracing import Tracing, current_trace

__all__ = [
    "INSTRUMENTS",
    "Exposition",
    "Instrument",
    "Recorder",
    "Telemetry",
    "Tracing",
    "current_trace",
    "open_telemetry",
]
