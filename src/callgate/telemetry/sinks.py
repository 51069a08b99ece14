"""Where traces go: to a collector as bytes, or to an exporter of the SDK as spans."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol, TypeVar

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from callgate.telemetry.encode import TraceEncoder
from callgate.telemetry.otlp import target_of
from callgate.telemetry.otlp_http import OtlpClient, Receipt
from callgate.telemetry.pending import WaitingSpan
from callgate.telemetry.spans import spans_of, waiting_span_of
from callgate.trace import DecisionTrace

# Some ten times what a batch of ordinary traces has; "It is RECOMMENDED to use 20 MiB as the default limit" of what a
# collector takes (OTLP 1.10).
REQUEST_MAX_BYTES = 4 * 1024 * 1024

T = TypeVar("T")


class Delivery(NamedTuple):
    """How many traces of a batch were lost, and why, for people; more than one reason: the last."""

    lost: int = 0
    why: str = ""


class TraceSink(Protocol[T]):
    """Takes traces, in two steps."""

    def prepare(self, trace: DecisionTrace | WaitingSpan) -> T:
        """What has to be kept of it.  On the thread of the calls, so it is quick and does not wait."""

    def size(self, prepared: T) -> int:
        """How many bytes that has, where they count."""

    def deliver(self, batch: Sequence[T]) -> Delivery:
        """Blocks until the batch was taken or given up; on a thread of its own."""

    def shutdown(self) -> None:
        """The last call; from any thread.  It makes a delivery that is under way fail."""


class OtlpSink:
    """To a collector, by OTLP over HTTP.

    A trace is encoded at once and not on the other thread, although it takes 40 µs: there is one interpreter, so that
    it would take them from the calls there, too, and twice to four times as many, because the trace and all that the
    encoder needs have to come over from another processor's cache.  What waits is then small, and nothing that the
    garbage collector has to look at.
    """

    def __init__(self, client: OtlpClient, encoder: TraceEncoder) -> None:
        self._client = client
        self._encoder = encoder

    def prepare(self, trace: DecisionTrace | WaitingSpan) -> bytes:
        """The spans, encoded."""
        return self._encoder.waiting(trace) if isinstance(trace, WaitingSpan) else self._encoder.spans_of(trace)

    def size(self, prepared: bytes) -> int:
        """See `TraceSink`."""
        return len(prepared)

    def deliver(self, batch: Sequence[bytes]) -> Delivery:
        """In one request, or in several where it is large."""
        delivery = Delivery()
        waiting: list[bytes] = []
        size = 0
        for spans in batch:
            if size + len(spans) > REQUEST_MAX_BYTES:
                delivery = self._send(waiting, delivery)
                waiting, size = [], 0
            waiting.append(spans)
            size += len(spans)
        return self._send(waiting, delivery)

    def shutdown(self) -> None:
        """See `TraceSink`."""
        self._client.shutdown()

    def _send(self, traces: list[bytes], before: Delivery) -> Delivery:
        if not traces:
            return before
        receipt = self._client.send(self._encoder.request(traces))
        return Delivery(before.lost + _lost(receipt, len(traces)), receipt.why or before.why)


class SdkSink:
    """To whatever exporter of the SDK somebody brings."""

    def __init__(self, exporter: SpanExporter, resource: Resource) -> None:
        self._exporter = exporter
        self._resource = resource

    def prepare(self, trace: DecisionTrace | WaitingSpan) -> DecisionTrace | WaitingSpan:
        """The trace itself: spans are made of it on the other thread, for they take longer."""
        return trace

    def size(self, prepared: DecisionTrace | WaitingSpan) -> int:  # noqa: ARG002  # nobody knows
        """See `TraceSink`."""
        return 0

    def deliver(self, batch: Sequence[DecisionTrace | WaitingSpan]) -> Delivery:
        """In one call of the exporter."""
        spans = [span for each in batch for span in self._spans_of(each)]
        done = self._exporter.export(spans) is SpanExportResult.SUCCESS
        return Delivery() if done else Delivery(len(batch), "the exporter did not succeed")

    def _spans_of(self, each: DecisionTrace | WaitingSpan) -> list[ReadableSpan]:
        if isinstance(each, WaitingSpan):
            return [waiting_span_of(each, self._resource)]
        return spans_of(each, self._resource)

    def shutdown(self) -> None:
        """See `TraceSink`."""
        self._exporter.shutdown()


def otlp_sink(url: str | None, resource: Resource) -> OtlpSink | None:
    """To the collector at `url`, such as `http://127.0.0.1:4318`; None looks at the environment alone.

    None where nothing is to be sent.  Raises CannotExport where the environment asks for what cannot be done.
    """
    target = target_of(url, "traces")
    return OtlpSink(OtlpClient(target), TraceEncoder(resource)) if target else None


def _lost(receipt: Receipt, traces: int) -> int:
    """A rejected span is a trace that is not whole; of more spans than traces, every trace may be."""
    return min(receipt.rejected, traces) if receipt.accepted else traces
