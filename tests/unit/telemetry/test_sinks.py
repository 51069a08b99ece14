"""Batches on their way out: what becomes of them, and what is counted as lost."""

from collections.abc import Iterator, Sequence

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from callgate.telemetry import names
from callgate.telemetry.export import Telemetry
from callgate.telemetry.otlp import Service
from callgate.telemetry.outbox import TelemetryLimits
from callgate.telemetry.sinks import REQUEST_MAX_BYTES, Delivery, OtlpSink, SdkSink, otlp_sink
from callgate.trace import DecisionTrace, Finding, Stage
from support.collector import Answer, BlackHole, Collector
from support.decision_traces import allowed, denied, record, trace_of

RESOURCE = Resource({"service.name": "callgate"})


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_SDK_DISABLED"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


class _Failing(SpanExporter):
    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return SpanExportResult.FAILURE if spans else SpanExportResult.SUCCESS


def _delivered(collector: Collector, *traces: DecisionTrace) -> Delivery:
    sink = otlp_sink(collector.url, RESOURCE)
    assert isinstance(sink, OtlpSink)
    try:
        return sink.deliver([sink.prepare(trace) for trace in traces])
    finally:
        sink.shutdown()


def _large(number: int) -> DecisionTrace:
    """A trace of half a megabyte: as many findings, and as long ones, as a span may have."""
    findings = tuple(Finding("ä" * 128, "ö" * 128, matched=True, why=f"{number}" + "ü" * 190) for _ in range(128))
    long = dict.fromkeys(sorted(names.ALLOWED), "€" * 2048)
    return trace_of(*(record(stage, attributes=long, findings=findings) for stage in Stage))


def test_a_batch_is_one_request() -> None:
    with Collector() as collector:
        assert _delivered(collector, allowed(), denied(), allowed()) == Delivery()
    assert collector.requests == 1
    assert len(collector.spans) == 4 + 2 + 4


def test_a_large_batch_is_several_requests_of_a_bounded_size() -> None:
    with Collector() as collector:
        assert _delivered(collector, *map(_large, range(20))) == Delivery()
    assert len(collector.spans) == 20 * 5
    assert collector.requests > 1
    assert all(len(request.body) < REQUEST_MAX_BYTES + 1024 for request in collector.received)


def test_of_several_requests_only_what_was_refused_is_lost() -> None:
    with Collector(answers=[Answer(413)]) as collector:
        delivery = _delivered(collector, *map(_large, range(20)))
    assert delivery.lost == 20 - len(collector.spans) // 5
    assert 0 < delivery.lost < 20
    assert delivery.why.startswith("HTTP 413")


@pytest.mark.parametrize(("rejected", "lost"), [(0, 0), (1, 1), (2, 2), (10, 2)])
def test_spans_that_a_collector_rejects_count_as_traces_that_are_not_whole(rejected: int, lost: int) -> None:
    partial = ExportTraceServiceResponse()
    partial.partial_success.rejected_spans = rejected
    with Collector(answers=[Answer(body=partial.SerializeToString())]) as collector:
        assert _delivered(collector, allowed(), allowed()).lost == lost


def test_an_empty_batch_is_no_request() -> None:
    with Collector() as collector:
        assert _delivered(collector) == Delivery()
    assert collector.requests == 0


def test_what_an_exporter_of_the_sdk_does_not_take_is_lost() -> None:
    assert SdkSink(_Failing(), RESOURCE).deliver([allowed(), denied(), allowed()]).lost == 3


@pytest.fixture
def rejecting() -> Iterator[Collector]:
    partial = ExportTraceServiceResponse()
    partial.partial_success.rejected_spans = 4
    with Collector(answers=[Answer(body=partial.SerializeToString())]) as collector:
        yield collector


def test_what_was_rejected_is_among_the_drops(rejecting: Collector) -> None:
    telemetry = Telemetry.from_settings(rejecting.url, Service("callgate", "", ""), with_metrics=False)
    for _ in range(10):
        telemetry.record(allowed())
    telemetry.close()
    assert telemetry.drops.export_failed == 4


def test_large_traces_fill_the_queue_by_their_bytes() -> None:
    with BlackHole() as hole:
        sink = otlp_sink(hole.url, RESOURCE)
        assert sink is not None
        size = sink.size(sink.prepare(_large(0)))
        telemetry = Telemetry(sink, limits=TelemetryLimits(queue_bytes=3 * size, drain_s=0.1, shutdown_s=0.5))
        for _ in range(10):
            telemetry.record(_large(0))
        # The fourth is the first that finds three of them there.
        assert telemetry.drops.queue_full == 7
        telemetry.close()
    assert telemetry.drops.total == 10


def test_the_room_of_what_was_sent_is_free_again() -> None:
    with Collector() as collector:
        sink = otlp_sink(collector.url, RESOURCE)
        assert sink is not None
        size = sink.size(sink.prepare(allowed()))
        telemetry = Telemetry(sink, limits=TelemetryLimits(queue_bytes=3 * size))
        for _ in range(5):
            for _ in range(3):
                telemetry.record(allowed())
            assert telemetry.flush(10)
        telemetry.close()
    assert telemetry.drops.total == 0
    assert len(collector.spans) == 5 * 3 * 4


def test_a_trace_that_cannot_be_encoded_fails_no_call_and_is_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with Collector() as collector:
        telemetry = Telemetry.from_settings(collector.url, Service("callgate", "", ""))
        broken = allowed()
        broken.trace_id = 2**128
        for trace in (broken, broken, allowed()):
            telemetry.record(trace)
        telemetry.close()
    assert len(collector.spans) == 4
    assert (telemetry.drops.encode_failed, telemetry.drops.total) == (2, 2)
    assert [line.levelname for line in caplog.records] == ["WARNING"]


def test_the_environment_can_switch_telemetry_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    with Collector() as collector:
        telemetry = Telemetry.from_settings(collector.url, Service("callgate", "", ""))
        telemetry.record(allowed())
        telemetry.close()
    assert collector.requests == 0
