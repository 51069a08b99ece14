"""A bounded queue of finished traces, and the thread that sends them."""

import logging
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from callgate.telemetry.complaint import Complaint
from callgate.telemetry.metrics import Drops
from callgate.telemetry.pending import WaitingSpan
from callgate.telemetry.sinks import Delivery, TraceSink
from callgate.trace import DecisionTrace

_LOG = logging.getLogger(__name__)
# SERVER, authorize, approve, mint and CLIENT.
_MAX_SPANS_A_TRACE = 5

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class TelemetryLimits:
    """How much may wait, and for how long.

    `queue_traces` and `batch_spans` are the defaults of OpenTelemetry's own batch processor (2048, 512).
    `queue_bytes`: 2048 ordinary traces are 6 MiB, and those of an attacker are no reason for more memory.  `batch_s`:
    one second is soon enough for a person who looks.  `drain_s` and `shutdown_s`: what `close` spends on the last
    traces and on the rest, together less than 2 s, because a stopping gate has clients to finish for.
    """

    queue_traces: int = 2048
    queue_bytes: int = 16 * 1024 * 1024
    batch_spans: int = 512
    batch_s: float = 1.0
    drain_s: float = 1.0
    shutdown_s: float = 0.7


class Outbox(Generic[T]):
    """Traces on their way to `sink`.  `put` is for one thread; what is lost is counted in `drops`."""

    def __init__(self, sink: TraceSink[T], drops: Drops, limits: TelemetryLimits) -> None:
        self._sink = sink
        self._drops = drops
        self._limits = limits
        self._queue: deque[T] = deque()
        self._batch_traces = max(limits.batch_spans // _MAX_SPANS_A_TRACE, 1)
        # Each is written by one thread alone: `_taken…` by that of the calls, `_done…` by our own.
        self._taken = self._taken_bytes = self._done = self._done_bytes = 0
        self._closing = self._abandoned = False
        self._progress = threading.Condition()
        self._wake = threading.Event()
        self._complaint = Complaint("Traces")
        self._thread = threading.Thread(target=self._run, name="callgate-telemetry", daemon=True)
        self._thread.start()

    def put(self, trace: DecisionTrace | WaitingSpan) -> None:
        """Never waits; a full queue drops it.  Raises what `sink.prepare` raises."""
        limits = self._limits
        if len(self._queue) >= limits.queue_traces or self._taken_bytes - self._done_bytes >= limits.queue_bytes:
            self._drops.queue_full += 1
            return
        prepared = self._sink.prepare(trace)
        self._taken += 1
        self._taken_bytes += self._sink.size(prepared)
        self._queue.append(prepared)
        if len(self._queue) >= self._batch_traces and not self._wake.is_set():
            self._wake.set()

    def flush(self, timeout_s: float) -> bool:
        """Wait until what was put in so far was sent, or dropped.  Blocks; False where `timeout_s` was too short."""
        wanted = self._taken
        self._wake.set()
        with self._progress:
            return self._progress.wait_for(lambda: self._done >= wanted, timeout_s)

    def drain(self) -> None:
        """Send what is left, and end.  Blocks for `drain_s` at most."""
        self._closing = True
        self._wake.set()
        self._thread.join(self._limits.drain_s)

    def shutdown(self) -> None:
        """Shut the sink down; an exporter of the SDK may take its time for it."""
        self._sink.shutdown()

    def abandon(self) -> None:
        """Count what is not out by now as lost."""
        with self._progress:
            self._abandoned = True
            self._drops.closed += self._taken - self._done

    def _run(self) -> None:
        while not (self._abandoned or (self._closing and not self._queue)):
            self._wake.wait(self._limits.batch_s)
            self._wake.clear()
            for batch in self._batches():
                self._deliver(batch)

    def _batches(self) -> Iterator[list[T]]:
        while self._queue and not self._abandoned:
            yield [self._queue.popleft() for _ in range(min(len(self._queue), self._batch_traces))]

    def _deliver(self, batch: list[T]) -> None:
        try:
            delivery = self._sink.deliver(batch)
        except Exception:  # noqa: BLE001  # the border of the thread: one batch must not end all telemetry
            delivery = Delivery(len(batch))
            _LOG.exception("A batch of traces could not be sent")
        else:
            if delivery.lost:
                self._complaint.say(delivery.why, f", {self._drops.total + delivery.lost} lost so far")
        with self._progress:
            if self._abandoned:
                return
            self._done += len(batch)
            self._done_bytes += sum(map(self._sink.size, batch))
            self._drops.export_failed += delivery.lost
            self._progress.notify_all()
