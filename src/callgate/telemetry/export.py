"""From the path of a call to a collector, at no cost to the call.

`Telemetry.record` puts a trace into a bounded queue and returns.  One daemon thread makes bytes and metrics of it and
sends them.  Where the collector is dead, slow or silent, traces are dropped and counted, never waited for.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export import SpanExporter

from callgate.telemetry.complaint import Complaint
from callgate.telemetry.metric_export import MetricExport, metric_export
from callgate.telemetry.metrics import Drops
from callgate.telemetry.otlp import Service
from callgate.telemetry.sinks import Delivery, SdkSink, TraceSink, otlp_sink
from callgate.trace import DecisionTrace

_LOG = logging.getLogger(__name__)
# SERVER, authorize, mint and CLIENT.
_MAX_SPANS_A_TRACE = 4


@dataclass(frozen=True, slots=True)
class TelemetryLimits:
    """How much may wait, and for how long.

    `queue_traces` and `batch_spans` are the defaults of OpenTelemetry's own batch processor (2048, 512).  `batch_s`:
    one second is soon enough for a person who looks.  `slice_traces`, `pause_s`: calls wait while the thread works,
    because there is one interpreter; so it works for half a millisecond and then sleeps, long enough for a call to
    take over.  `drain_s` and `shutdown_s`: what `close` spends on the last traces and on the rest, together less than
    2 s, because a stopping gate has clients to finish for.
    """

    queue_traces: int = 2048
    batch_spans: int = 512
    batch_s: float = 1.0
    slice_traces: int = 8
    pause_s: float = 0.0002
    drain_s: float = 1.0
    shutdown_s: float = 0.7


class Telemetry:
    """Takes finished traces and delivers them.

    Build it after any fork: a thread does not survive one.  `sink` may be an exporter of the SDK, too, which then gets
    spans of `resource`.  `sink` None and `metrics` None: nothing runs and `record` is nearly free.  `on_trace` is
    called at once, on the caller's thread, with each trace, for demo and tests; it must not be slow, and what it raises
    is logged and goes no further.
    """

    def __init__(
        self,
        sink: TraceSink | SpanExporter | None = None,
        resource: Resource | None = None,
        *,
        metrics: MetricExport | None = None,
        on_trace: Callable[[DecisionTrace], None] | None = None,
        limits: TelemetryLimits | None = None,
    ) -> None:
        self.drops = metrics.metrics.drops if metrics else Drops()
        self._sink = SdkSink(sink, resource or Resource({})) if isinstance(sink, SpanExporter) else sink
        self._metrics = metrics
        self._on_trace = on_trace
        self._limits = limits or TelemetryLimits()
        self._queue: deque[DecisionTrace] = deque()
        self._batch_traces = max(self._limits.batch_spans // _MAX_SPANS_A_TRACE, 1)
        self._taken = 0
        self._done = 0
        self._abandoned = False
        self._progress = threading.Condition()
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._close_once = threading.Lock()
        self._complaint = Complaint("Traces")
        self._thread: threading.Thread | None = None
        if sink is not None or metrics is not None:
            self._thread = threading.Thread(target=self._run, name="callgate-telemetry", daemon=True)
            self._thread.start()

    @classmethod
    def from_settings(
        cls,
        otlp_url: str | None,
        service: Service,
        *,
        on_trace: Callable[[DecisionTrace], None] | None = None,
        svid_not_after: Callable[[], float | None] = lambda: None,
        with_metrics: bool = True,
    ) -> "Telemetry":
        """Traces and metrics to the OTLP/HTTP collector at `otlp_url`, or where the environment says, or nowhere.

        Reads the environment (`otlp`), and raises CannotExport where that asks for what cannot be done.
        `with_metrics=False` is for trace viewers that take no metrics.
        """
        resource = service.resource()
        sink = otlp_sink(otlp_url, resource)
        metrics = metric_export(otlp_url, resource, svid_not_after) if with_metrics else None
        return cls(sink, metrics=metrics, on_trace=on_trace)

    def record(self, trace: DecisionTrace) -> None:
        """Hand over a finished trace, which nobody changes from now on.

        Never blocks and never raises; a full queue drops the trace and counts it.  Call it from one thread.
        """
        if self._on_trace is not None:
            self._tell(self._on_trace, trace)
        if self._thread is None:
            return
        if self._closing.is_set():
            self.drops.closed += 1
        elif len(self._queue) >= self._limits.queue_traces:
            self.drops.queue_full += 1
        else:
            self._taken += 1
            self._queue.append(trace)
            if len(self._queue) >= self._batch_traces and not self._wake.is_set():
                self._wake.set()

    def flush(self, timeout_s: float) -> bool:
        """Wait until what was recorded so far was sent, or dropped.  Blocks; False where `timeout_s` was too short."""
        wanted = self._taken
        self._wake.set()
        with self._progress:
            return self._progress.wait_for(lambda: self._done >= wanted, timeout_s)

    def close(self) -> None:
        """Send what is left, as far as two seconds allow, and stop.  Blocks; a second call returns at once."""
        with self._close_once:
            if self._closing.is_set():
                return
            self._closing.set()
        if self._thread is not None:
            self._stop(self._thread)

    def _stop(self, thread: threading.Thread) -> None:
        self._wake.set()
        thread.join(self._limits.drain_s)
        # Telling the sink may wait for a silent collector, too: hence on a thread of its own.
        ending = threading.Thread(target=self._end, name="callgate-telemetry-end", daemon=True)
        ending.start()
        ending.join(self._limits.shutdown_s)
        with self._progress:
            self._abandoned = True
            self.drops.closed += self._taken - self._done

    def _end(self) -> None:
        try:
            if self._sink is not None:
                self._sink.shutdown()
            if self._metrics is not None:
                self._metrics.close(self._limits.shutdown_s)
        except Exception:  # noqa: BLE001  # the border of the thread
            _LOG.exception("Telemetry did not end cleanly")

    def _run(self) -> None:
        while not (self._abandoned or (self._closing.is_set() and not self._queue)):
            self._wake.wait(self._limits.batch_s)
            self._wake.clear()
            for traces in self._batches():
                self._deliver(traces)

    def _batches(self) -> Iterator[list[DecisionTrace]]:
        while self._queue and not self._abandoned:
            yield [self._queue.popleft() for _ in range(min(len(self._queue), self._batch_traces))]

    def _deliver(self, traces: list[DecisionTrace]) -> None:
        try:
            delivery = self._send(traces)
        except Exception:  # noqa: BLE001  # the border of the thread: one batch must not end all telemetry
            delivery = Delivery(len(traces))
            _LOG.exception("A batch of traces could not be sent")
        with self._progress:
            if self._abandoned:
                return
            self._done += len(traces)
            self.drops.export_failed += delivery.lost
            self._progress.notify_all()

    def _send(self, traces: list[DecisionTrace]) -> Delivery:
        slices = self._slices(traces)
        if self._sink is None:
            deque(slices, maxlen=0)
            return Delivery()
        delivery = self._sink.deliver(slices)
        if delivery.lost:
            self._complaint.say(delivery.why, f", {self.drops.total + delivery.lost} lost so far")
        return delivery

    def _slices(self, traces: list[DecisionTrace]) -> Iterator[list[DecisionTrace]]:
        """The traces, some at a time, counted; calls go first between one slice and the next."""
        for start in range(0, len(traces), self._limits.slice_traces):
            # Not while traces come faster than they go: then they would be lost.
            if start and len(self._queue) < self._limits.queue_traces // 2:
                time.sleep(self._limits.pause_s)
            some = traces[start : start + self._limits.slice_traces]
            if self._metrics is not None:
                for trace in some:
                    self._metrics.metrics.count(trace)
            yield some

    def _tell(self, listener: Callable[[DecisionTrace], None], trace: DecisionTrace) -> None:
        try:
            listener(trace)
        except Exception:  # noqa: BLE001  # a listener watches the path of a call and is no part of it
            _LOG.exception("The listener for traces failed")
