"""From the path of a call to a collector, without a wait.

`Telemetry.record` counts a finished trace, encodes it, puts it into a bounded queue and returns; a daemon thread sends
what is there.  Where the collector is dead, slow or silent, traces are dropped and counted, never waited for.
"""

import logging
import threading
from collections.abc import Callable, Mapping

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export import SpanExporter

from callgate.errors import place_of
from callgate.telemetry.approval_metrics import ApprovalTelling
from callgate.telemetry.audit_metrics import AuditOnDisk
from callgate.telemetry.complaint import Complaint
from callgate.telemetry.metric_export import MetricExport, metric_export
from callgate.telemetry.metrics import NO_POLICIES, Drops, PolicyOnDisk
from callgate.telemetry.otlp import Service
from callgate.telemetry.outbox import Outbox, TelemetryLimits
from callgate.telemetry.pending import WaitingSpan
from callgate.telemetry.sinks import OtlpSink, SdkSink, otlp_sink
from callgate.trace import DecisionTrace

_LOG = logging.getLogger(__name__)


class Telemetry:
    """Takes finished traces and delivers them.

    Build it after any fork: a thread does not survive one.  `sink` may be an exporter of the SDK, too, which then gets
    spans of `resource`.  `sink` None and `metrics` None: nothing runs and `record` is nearly free.  `on_trace` is
    called at once, on the caller's thread, with each trace, for demo and tests; it must not be slow, and what it raises
    is logged and goes no further.
    """

    def __init__(
        self,
        sink: OtlpSink | SpanExporter | None = None,
        resource: Resource | None = None,
        *,
        metrics: MetricExport | None = None,
        on_trace: Callable[[DecisionTrace], None] | None = None,
        limits: TelemetryLimits | None = None,
    ) -> None:
        self.drops = metrics.metrics.drops if metrics else Drops()
        self._limits = limits or TelemetryLimits()
        self._outbox: Outbox[bytes] | Outbox[DecisionTrace | WaitingSpan] | None = None
        if isinstance(sink, SpanExporter):
            self._outbox = Outbox(SdkSink(sink, resource or Resource({})), self.drops, self._limits)
        elif sink is not None:
            self._outbox = Outbox(sink, self.drops, self._limits)
        self._metrics = metrics
        self._on_trace = on_trace
        self._complaint = Complaint("Traces")
        self._closing = threading.Event()
        self._close_once = threading.Lock()

    @classmethod
    def from_settings(
        cls,
        otlp_url: str | None,
        service: Service,
        *,
        on_trace: Callable[[DecisionTrace], None] | None = None,
        svid_not_after: Callable[[], float | None] = lambda: None,
        policies: Mapping[str, PolicyOnDisk] = NO_POLICIES,
        audit: Callable[[], AuditOnDisk | None] = lambda: None,
        with_metrics: bool = True,
    ) -> "Telemetry":
        """Traces and metrics to the OTLP/HTTP collector at `otlp_url`, or where the environment says, or nowhere.

        Reads the environment (`otlp`), and raises CannotExport where that asks for what cannot be done.
        `audit` is the evidence log, asked for at each export.  `with_metrics=False` is for trace viewers that take no
        metrics.
        """
        resource = service.resource()
        sink = otlp_sink(otlp_url, resource)
        metrics = metric_export(otlp_url, resource, svid_not_after, policies, audit) if with_metrics else None
        return cls(sink, metrics=metrics, on_trace=on_trace)

    def record(self, trace: DecisionTrace) -> None:
        """Hand over a finished trace, which nobody changes from now on.

        Never waits and never raises; a full queue drops the trace and counts it.  Call it from one thread.
        """
        if self._on_trace is not None:
            self._tell(self._on_trace, trace)
        if self._closing.is_set():
            self.drops.closed += 1
            return
        try:
            if self._metrics is not None:
                self._metrics.metrics.count(trace)
            if self._outbox is not None:
                self._outbox.put(trace)
        except Exception as fault:  # noqa: BLE001  # the border of telemetry: no call may fail over its trace
            self._lose(fault)

    @property
    def approvals(self) -> ApprovalTelling:
        """Takes what happens while people are asked; as `record` it never waits and never raises."""
        if self._metrics is None:
            return ApprovalTelling(waiting=self._tell_waiting)
        counted = self._metrics.metrics.approvals
        return ApprovalTelling(self._tell_waiting, counted.happened, counted.unreached, counted.watch)

    def _tell_waiting(self, span: WaitingSpan) -> None:
        if self._closing.is_set() or self._outbox is None:
            return
        try:
            self._outbox.put(span)
        except Exception as fault:  # noqa: BLE001  # as above
            self._lose(fault)

    def _lose(self, fault: Exception) -> None:
        self.drops.encode_failed += 1
        self._complaint.say(place_of(fault), f", {self.drops.total} lost so far")

    def flush(self, timeout_s: float) -> bool:
        """Wait until what was recorded so far was sent, or dropped.  Blocks; False where `timeout_s` was too short."""
        return self._outbox is None or self._outbox.flush(timeout_s)

    def close(self) -> None:
        """Send what is left, as far as two seconds allow, and stop.  Blocks; a second call returns at once."""
        with self._close_once:
            if self._closing.is_set():
                return
            self._closing.set()
        if self._outbox is not None:
            self._outbox.drain()
        # Shutting down may wait for a silent collector, too: hence on a thread of its own.
        ending = threading.Thread(target=self._end, name="callgate-telemetry-end", daemon=True)
        ending.start()
        ending.join(self._limits.shutdown_s)
        if self._outbox is not None:
            self._outbox.abandon()

    def _end(self) -> None:
        try:
            if self._outbox is not None:
                self._outbox.shutdown()
            if self._metrics is not None:
                self._metrics.close(self._limits.shutdown_s)
        except Exception:  # noqa: BLE001  # the border of the thread
            _LOG.exception("Telemetry did not end cleanly")

    def _tell(self, listener: Callable[[DecisionTrace], None], trace: DecisionTrace) -> None:
        try:
            listener(trace)
        except Exception:  # noqa: BLE001  # a listener watches the path of a call and is no part of it
            _LOG.exception("The listener for traces failed")
