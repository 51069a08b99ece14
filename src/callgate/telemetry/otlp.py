"""OTLP over HTTP: where telemetry goes, and how little the exporter may say about it.

The standard environment variables hold (`OTEL_SDK_DISABLED`, `OTEL_TRACES_EXPORTER`, `OTEL_METRICS_EXPORTER`,
`OTEL_EXPORTER_OTLP_ENDPOINT`, its `_TRACES_` and `_METRICS_` forms, `_HEADERS`, `_CERTIFICATE` and so on); an address
in the configuration file goes before an address in the environment.
"""

import logging
import os
import time
from dataclasses import dataclass

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics.export import MetricExportResult, MetricsData, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource

from callgate.telemetry.visible import without_credentials

# Retries included.  A collector that restarts comes back within this, and the queue holds what arrives meanwhile.
EXPORT_TIMEOUT_S = 5.0
COMPLAINT_MAX_CHARS = 300
COMPLAINT_EVERY_S = 60.0

_LOG = logging.getLogger(__name__)
_LOGGERS = (
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "opentelemetry.exporter.otlp.proto.http.metric_exporter",
)


@dataclass(frozen=True, slots=True)
class Service:
    """Who sends: `service.name`, `service.version` and `service.instance.id` of the resource.

    `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` add to it; these three go before them.
    """

    name: str
    version: str
    instance_id: str

    def resource(self) -> Resource:
        """Reads the environment, once."""
        own = {"service.name": self.name, "service.version": self.version, "service.instance.id": self.instance_id}
        return HashedOnce(Resource.create({name: value for name, value in own.items() if value}))


class HashedOnce(Resource):
    """A resource that remembers its hash.  The encoder hashes it for every span, which takes 10 µs each time."""

    def __init__(self, resource: Resource) -> None:
        super().__init__(resource.attributes, resource.schema_url)
        self._hash = super().__hash__()

    def __eq__(self, other: object) -> bool:
        return self is other or super().__eq__(other)

    def __hash__(self) -> int:
        return self._hash


class Muffler(logging.Filter):
    """Keeps an exporter's log lines back, and the last of them for the complaint that is made once."""

    def __init__(self) -> None:
        super().__init__()
        self.last_words = ""

    def filter(self, record: logging.LogRecord) -> bool:
        """Nothing passes."""
        self.last_words = without_credentials(record.getMessage(), COMPLAINT_MAX_CHARS)
        return False


# One for the process: the loggers that it sits on are the process's, too.
_MUFFLER = Muffler()


class Complaint:
    """At most one log line in `every_s` seconds about what does not reach the collector."""

    def __init__(self, what: str, every_s: float = COMPLAINT_EVERY_S) -> None:
        self._what = what
        self._every_s = every_s
        self._said_at: float | None = None

    def say(self, lost: str = "") -> None:
        """`lost`: how much is gone, for people."""
        now = time.monotonic()
        if self._said_at is not None and now - self._said_at < self._every_s:
            return
        self._said_at = now
        _LOG.warning("%s do not reach the collector%s: %s", self._what, lost, _MUFFLER.last_words or "no reason given")


class _MetricExporter(OTLPMetricExporter):
    """The SDK's reader ignores that an export failed; operators should not."""

    def __init__(self, endpoint: str, timeout_s: float) -> None:
        super().__init__(endpoint=endpoint, timeout=timeout_s)
        self._complaint = Complaint("Metrics")

    def export(
        self, metrics_data: MetricsData, timeout_millis: float | None = 10_000, **kwargs: object
    ) -> MetricExportResult:
        result = super().export(metrics_data, timeout_millis, **kwargs)
        if result is not MetricExportResult.SUCCESS:
            self._complaint.say()
        return result


def span_exporter(url: str | None) -> OTLPSpanExporter | None:
    """`url` is the collector's base, such as `http://127.0.0.1:4318`; None looks at the environment alone."""
    endpoint = _endpoint(url, "traces")
    return None if endpoint is None else OTLPSpanExporter(endpoint=endpoint, timeout=EXPORT_TIMEOUT_S)


def metric_reader(url: str | None) -> PeriodicExportingMetricReader | None:
    """Exports every 60 s, or as `OTEL_METRIC_EXPORT_INTERVAL` says, on a thread of its own."""
    endpoint = _endpoint(url, "metrics")
    return None if endpoint is None else PeriodicExportingMetricReader(_MetricExporter(endpoint, EXPORT_TIMEOUT_S))


def muffle() -> None:
    """Keep the exporters from writing a line for each attempt; safe to call again."""
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_MUFFLER)


def _endpoint(url: str | None, signal: str) -> str | None:
    upper = signal.upper()
    if _env("OTEL_SDK_DISABLED").lower() == "true" or _env(f"OTEL_{upper}_EXPORTER").lower() == "none":
        return None
    # "For the per-signal variables, the URL MUST be used as-is"; from the other, "the URL for each signal is
    # constructed relative to it" (OTLP exporter specification).
    if not url and (as_is := _env(f"OTEL_EXPORTER_OTLP_{upper}_ENDPOINT")):
        return as_is
    base = url or _env("OTEL_EXPORTER_OTLP_ENDPOINT")
    return f"{base.rstrip('/')}/v1/{signal}" if base else None


def _env(name: str) -> str:
    return os.environ.get(name, "").strip()
