"""Metrics on their way to the collector: every so often, by the SDK's OTLP exporter, on a thread of their own."""

import logging
import threading
from collections.abc import Callable, Mapping

from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricExporter, MetricExportResult
from opentelemetry.sdk.resources import Resource

from callgate.telemetry.audit_metrics import AuditOnDisk
from callgate.telemetry.complaint import Complaint
from callgate.telemetry.metrics import NO_POLICIES, Metrics, PolicyOnDisk
from callgate.telemetry.otlp import Target, choice, milliseconds, target_of

# OTEL_METRIC_EXPORT_INTERVAL's and _TIMEOUT's defaults; an interval of more than a day is a mistake.
EXPORT_EVERY_S = 60.0
_EVERY_BOUNDS_MS = (100, 86_400_000)
_TIMEOUT_S = 30.0
_TIMEOUT_BOUNDS_MS = (100, 600_000)

_LOG = logging.getLogger(__name__)


class MetricExport:
    """Exports `metrics` every `every_s` seconds, and a last time on `close`."""

    def __init__(self, metrics: Metrics, exporter: MetricExporter, every_s: float = EXPORT_EVERY_S) -> None:
        self.metrics = metrics
        self._exporter = exporter
        self._every_s = every_s
        self._closing = threading.Event()
        self._complaint = Complaint("Metrics")
        _EXPORTERS_LOG.addFilter(_MUFFLER)
        self._thread = threading.Thread(target=self._run, name="callgate-metrics", daemon=True)
        self._thread.start()

    def close(self, timeout_s: float) -> None:
        """Blocks for at most `timeout_s`."""
        self._closing.set()
        self._thread.join(timeout_s)
        self._exporter.shutdown()

    def _run(self) -> None:
        while not self._closing.wait(self._every_s):
            self._export()
        self._export()

    def _export(self) -> None:
        try:
            result = self._exporter.export(self.metrics.collect())
        except Exception:  # noqa: BLE001  # the border of the thread: one export must not end all of them
            _LOG.exception("Metrics could not be sent")
            return
        if result is not MetricExportResult.SUCCESS:
            self._complaint.say(_MUFFLER.last_words)


def metric_export(
    url: str | None,
    resource: Resource,
    svid_not_after: Callable[[], float | None],
    policies: Mapping[str, PolicyOnDisk] = NO_POLICIES,
    audit: Callable[[], AuditOnDisk | None] = lambda: None,
) -> MetricExport | None:
    """To the collector at `url`, or where the environment says, or None.  Reads it; raises CannotExport."""
    target = target_of(url, "metrics")
    if target is None:
        return None
    choice("OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION", ("explicit_bucket_histogram",))
    every_s = milliseconds("OTEL_METRIC_EXPORT_INTERVAL", EXPORT_EVERY_S, _EVERY_BOUNDS_MS)
    metrics = Metrics(resource, svid_not_after, _temporality(), policies, audit)
    return MetricExport(metrics, _exporter(target), every_s)


def _temporality() -> AggregationTemporality:
    # `lowmemory` differs from `delta` in instruments that we do not have.
    asked = choice("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", ("cumulative", "delta", "lowmemory"))
    return AggregationTemporality.CUMULATIVE if asked in {"", "cumulative"} else AggregationTemporality.DELTA


def _exporter(target: Target) -> OTLPMetricExporter:
    timeout_s = milliseconds("OTEL_METRIC_EXPORT_TIMEOUT", _TIMEOUT_S, _TIMEOUT_BOUNDS_MS)
    return OTLPMetricExporter(
        endpoint=target.url,
        certificate_file=target.ca_file or None,
        client_certificate_file=target.certificate_file or None,
        client_key_file=target.key_file or None,
        headers=target.headers,
        timeout=min(timeout_s, target.timeout_s),
        compression=Compression.Gzip if target.gzip else Compression.NoCompression,
    )


class _Muffler(logging.Filter):
    """Keeps the exporter's log lines back, and the last of them for the complaint that is made once."""

    def __init__(self) -> None:
        super().__init__()
        self.last_words = ""

    def filter(self, record: logging.LogRecord) -> bool:
        """Nothing passes."""
        self.last_words = record.getMessage()
        return False


# One for the process: the logger that it sits on is the process's, too.
_MUFFLER = _Muffler()
_EXPORTERS_LOG = logging.getLogger("opentelemetry.exporter.otlp.proto.http.metric_exporter")
