"""Where batches of traces go: to a collector as bytes, or to an exporter of the SDK as spans."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from callgate.telemetry.encode import TraceEncoder
from callgate.telemetry.otlp import target_of
from callgate.telemetry.otlp_http import OtlpClient, Receipt
from callgate.telemetry.spans import spans_of
from callgate.trace import DecisionTrace

# A quarter of what the collector's own receivers take by default, and above what a batch of ordinary traces has; "It is
# RECOMMENDED to use 20 MiB as the default limit" of a request (OTLP 1.10).
REQUEST_MAX_BYTES = 4 * 1024 * 1024

Slices = Iterable[Sequence[DecisionTrace]]


class Delivery(NamedTuple):
    """How many traces of a batch were lost, and why, for people; more than one reason: the last."""

    lost: int = 0
    why: str = ""


class TraceSink(Protocol):
    """Takes batches, on one thread; `shutdown` may come from another, and makes a delivery under way fail."""

    def deliver(self, batch: Slices) -> Delivery:
        """Blocks until the batch was taken or given up.  The slices are asked for one by one, with pauses between."""

    def shutdown(self) -> None:
        """The last call."""


class OtlpSink:
    """To a collector, by OTLP over HTTP."""

    def __init__(self, client: OtlpClient, encoder: TraceEncoder) -> None:
        self._client = client
        self._encoder = encoder

    def deliver(self, batch: Slices) -> Delivery:
        """In one request, or in several where it is large."""
        delivery = Delivery()
        waiting: list[bytes] = []
        size = 0
        for traces in batch:
            for trace in traces:
                spans = self._encoder.spans_of(trace)
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

    def deliver(self, batch: Slices) -> Delivery:
        """In one call of the exporter."""
        spans: list[ReadableSpan] = []
        sent = 0
        for traces in batch:
            for trace in traces:
                spans += spans_of(trace, self._resource)
            sent += len(traces)
        done = self._exporter.export(spans) is SpanExportResult.SUCCESS
        return Delivery() if done else Delivery(sent, "the exporter did not succeed")

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
