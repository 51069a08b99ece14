"""A collector on loopback: receives OTLP over HTTP, and lets a test wait for what it is sent.

It runs on threads of its own.  From a trio test: `await trio.to_thread.run_sync(collector.wait_for_spans, 4)`.
"""

import gzip
import socket
import ssl
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self, TypeVar

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span

Value = str | bool | int | float | tuple[str, ...]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ReceivedEvent:
    """An event of a span."""

    name: str
    attributes: dict[str, Value]


@dataclass(frozen=True, slots=True)
class ReceivedSpan:
    """A span as it came over the wire: ids as numbers, 0 for no parent; `links` are trace and span ids."""

    trace_id: int
    span_id: int
    parent_id: int
    name: str
    kind: str
    started_ns: int
    ended_ns: int
    attributes: dict[str, Value]
    events: tuple[ReceivedEvent, ...]
    links: tuple[tuple[int, int], ...]
    is_error: bool
    status: str
    resource: dict[str, Value]


@dataclass(frozen=True, slots=True)
class ReceivedLog:
    """A log record as it came over the wire; `event` is its event name."""

    event: str
    body: str
    at_ns: int
    observed_ns: int
    severity: tuple[int, str]
    attributes: dict[str, Value]
    resource: dict[str, Value]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a collector says to one request."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = ExportTraceServiceResponse().SerializeToString()


@dataclass(frozen=True, slots=True)
class ReceivedRequest:
    """A request as it came, its body still compressed where it was; `peer` is its connection's other end."""

    target: str
    headers: Mapping[str, str]
    body: bytes
    peer: tuple[str, int]


class Collector:
    """`with Collector() as collector:` gives `collector.url`, which ends with the port.

    `answers` are given one after the other, and then `status`; `tls` makes it an https collector.  `without`: paths
    that are not found, as `/v1/logs` is where a collector takes traces alone.
    """

    def __init__(
        self,
        *,
        status: int = 200,
        answers: Sequence[Answer] = (),
        tls: ssl.SSLContext | None = None,
        without: Collection[str] = (),
    ) -> None:
        self._arrival = threading.Condition()
        self._spans: list[ReceivedSpan] = []
        self._metrics: list[Metric] = []
        self._logs: list[ReceivedLog] = []
        self._without = without
        self._raw: list[bytes] = []
        self._requests = 0
        self._received: list[ReceivedRequest] = []
        self._answers = list(answers)
        self._scheme = "https" if tls else "http"
        self.status = status
        self._server = _Server(("127.0.0.1", 0), self)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    @property
    def url(self) -> str:
        """The base address, for `Telemetry.from_settings`."""
        return f"{self._scheme}://127.0.0.1:{self._server.server_address[1]}"

    @property
    def received(self) -> Sequence[ReceivedRequest]:
        """Every request, as it came."""
        with self._arrival:
            return tuple(self._received)

    @property
    def spans(self) -> Sequence[ReceivedSpan]:
        """What came so far."""
        with self._arrival:
            return tuple(self._spans)

    @property
    def metrics(self) -> Sequence[Metric]:
        """What came so far, as protobuf messages."""
        with self._arrival:
            return tuple(self._metrics)

    @property
    def logs(self) -> Sequence[ReceivedLog]:
        """What came so far."""
        with self._arrival:
            return tuple(self._logs)

    @property
    def raw(self) -> bytes:
        """Every body that came, one after the other, to look for what must not be in it."""
        with self._arrival:
            return b"\n".join(self._raw)

    @property
    def requests(self) -> int:
        """How many requests came, accepted or not."""
        with self._arrival:
            return self._requests

    def wait_for_spans(self, count: int, timeout_s: float = 10.0) -> Sequence[ReceivedSpan]:
        """Block until `count` spans came.  Raises AssertionError where they do not."""
        return self._wait(lambda: len(self._spans) >= count, lambda: tuple(self._spans), timeout_s)

    def wait_for_logs(self, count: int, timeout_s: float = 10.0) -> Sequence[ReceivedLog]:
        """Block until `count` log records came."""
        return self._wait(lambda: len(self._logs) >= count, lambda: tuple(self._logs), timeout_s)

    def wait_for_trace(self, trace_id: int, timeout_s: float = 10.0) -> Sequence[ReceivedSpan]:
        """Block until the spans of one trace came; the gate sends them together."""

        def mine() -> Sequence[ReceivedSpan]:
            return tuple(span for span in self._spans if span.trace_id == trace_id)

        return self._wait(lambda: bool(mine()), mine, timeout_s)

    def wait_for_requests(self, count: int, timeout_s: float = 10.0) -> int:
        """Block until `count` requests came."""
        return self._wait(lambda: self._requests >= count, lambda: self._requests, timeout_s)

    def wait_for_metric(self, name: str, timeout_s: float = 10.0) -> Metric:
        """Block until this metric came; the latest of it."""

        def found() -> list[Metric]:
            return [metric for metric in self._metrics if metric.name == name]

        return self._wait(lambda: bool(found()), lambda: found()[-1], timeout_s)

    def _wait(self, ready: Callable[[], bool], answer: Callable[[], T], timeout_s: float) -> T:
        with self._arrival:
            assert self._arrival.wait_for(ready, timeout_s), f"only {len(self._spans)} spans came in {timeout_s} s"
            return answer()

    def take(self, request: ReceivedRequest) -> Answer:
        """Called for each request, on the server's threads."""
        body = gzip.decompress(request.body) if request.headers.get("content-encoding") == "gzip" else request.body
        with self._arrival:
            self._requests += 1
            self._received.append(request)
            self._raw.append(body)
            answer = self._answers.pop(0) if self._answers else Answer(self.status)
            if request.target in self._without:
                answer = Answer(404)
            if answer.status == 200 and request.target == "/v1/traces":
                self._spans += _spans_in(ExportTraceServiceRequest.FromString(body))
            elif answer.status == 200 and request.target == "/v1/metrics":
                self._metrics += _metrics_in(ExportMetricsServiceRequest.FromString(body))
            elif answer.status == 200 and request.target == "/v1/logs":
                self._logs += _logs_in(ExportLogsServiceRequest.FromString(body))
            self._arrival.notify_all()
            return answer

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class BlackHole:
    """Takes connections, reads nothing, answers nothing.  `connected` is set once somebody came."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._held: list[socket.socket] = []
        self.connected = threading.Event()
        self._thread = threading.Thread(target=self._hold, daemon=True)

    @property
    def url(self) -> str:
        """The base address."""
        return f"http://127.0.0.1:{self._listening.getsockname()[1]}"

    def _hold(self) -> None:
        while True:
            try:
                self._held.append(self._listening.accept()[0])
            except OSError:
                return
            self.connected.set()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # shutdown() wakes the thread out of accept(); close() alone would not.
        self._listening.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listening.close()
        for held in self._held:
            held.close()


class DeadPort:
    """An address at which connections are refused for as long as this is held: bound, and not listening."""

    def __init__(self) -> None:
        self._bound = socket.socket()
        self._bound.bind(("127.0.0.1", 0))

    @property
    def url(self) -> str:
        """The base address."""
        return f"http://127.0.0.1:{self._bound.getsockname()[1]}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bound.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], collector: Collector) -> None:
        super().__init__(address, _Receiver)
        self.collector = collector

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up in mid-request is no news here."""


class _Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 5

    def do_POST(self) -> None:
        assert isinstance(self.server, _Server)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        answer = self.server.collector.take(ReceivedRequest(self.path, headers, body, self.client_address))
        self.send_response(answer.status)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", str(len(answer.body)))
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the parameter's name is the library's
        """Tests read what comes, not lines about it."""


def _spans_in(request: ExportTraceServiceRequest) -> list[ReceivedSpan]:
    return [
        _received(span, _values(group.resource.attributes))
        for group in request.resource_spans
        for scope in group.scope_spans
        for span in scope.spans
    ]


def _metrics_in(request: ExportMetricsServiceRequest) -> list[Metric]:
    return [metric for group in request.resource_metrics for scope in group.scope_metrics for metric in scope.metrics]


def _logs_in(request: ExportLogsServiceRequest) -> list[ReceivedLog]:
    return [
        _log(record, _values(group.resource.attributes))
        for group in request.resource_logs
        for scope in group.scope_logs
        for record in scope.log_records
    ]


def _log(record: LogRecord, resource: dict[str, Value]) -> ReceivedLog:
    return ReceivedLog(
        event=record.event_name,
        body=record.body.string_value,
        at_ns=record.time_unix_nano,
        observed_ns=record.observed_time_unix_nano,
        severity=(record.severity_number, record.severity_text),
        attributes=_values(record.attributes),
        resource=resource,
    )


def _received(span: Span, resource: dict[str, Value]) -> ReceivedSpan:
    return ReceivedSpan(
        trace_id=int.from_bytes(span.trace_id),
        span_id=int.from_bytes(span.span_id),
        parent_id=int.from_bytes(span.parent_span_id),
        name=span.name,
        kind=Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
        started_ns=span.start_time_unix_nano,
        ended_ns=span.end_time_unix_nano,
        attributes=_values(span.attributes),
        events=tuple(ReceivedEvent(event.name, _values(event.attributes)) for event in span.events),
        links=tuple((int.from_bytes(link.trace_id), int.from_bytes(link.span_id)) for link in span.links),
        is_error=span.status.code == 2,
        status=span.status.message,
        resource=resource,
    )


def _values(attributes: Sequence[KeyValue]) -> dict[str, Value]:
    return {attribute.key: _value(attribute.value) for attribute in attributes}


def _value(value: AnyValue) -> Value:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return tuple(item.string_value for item in value.array_value.values)
    assert kind in ("string_value", "bool_value", "int_value", "double_value"), kind
    found: Value = getattr(value, kind)
    return found
