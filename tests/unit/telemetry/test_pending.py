"""A call that waits for a person is seen while it waits."""

import logging
from collections.abc import Iterator

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from callgate.telemetry import names
from callgate.telemetry.encode import TraceEncoder
from callgate.telemetry.export import Telemetry
from callgate.telemetry.otlp import Service
from callgate.telemetry.pending import WaitingSpan, waiting_span
from callgate.telemetry.spans import waiting_span_of
from callgate.trace import DecisionTrace, Stage, TraceParent
from support.collector import Collector
from support.decision_traces import AGENT, SERVER_SPAN_ID, START_NS, TRACE_ID, USUAL, record, trace_of

APPROVAL = "ad" * 16
EXPIRES_NS = START_NS + 900_000_000_000
BEFORE = USUAL[: USUAL.index(Stage.MINT)]
SERVICE = Service("callgate", "0.1.0", "instance-1")


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as found:
        yield found


def waits(path: DecisionTrace, approval: str = APPROVAL) -> WaitingSpan:
    return waiting_span(path, approval, START_NS, EXPIRES_NS)


def test_the_span_is_told_while_the_call_waits_and_the_whole_trace_afterwards(collector: Collector) -> None:
    telemetry = Telemetry.from_settings(collector.url, SERVICE)
    path = trace_of(*map(record, BEFORE))

    telemetry.approvals.waiting(waits(path))

    (waiting,) = collector.wait_for_spans(1)
    assert (waiting.name, waiting.kind) == ("approve (waiting)", "INTERNAL")
    assert (waiting.trace_id, waiting.parent_id) == (TRACE_ID, SERVER_SPAN_ID)
    assert waiting.attributes["callgate.approval.state"] == "waiting"
    # Only now does somebody agree.
    for stage in (Stage.APPROVE, Stage.MINT, Stage.RECORD, Stage.FORWARD, Stage.SCREEN, Stage.RESPOND):
        path.add(record(stage))
    telemetry.record(path)
    telemetry.close()
    assert {span.trace_id for span in collector.spans} == {TRACE_ID}
    ids = [span.span_id for span in collector.spans]
    assert len(ids) == len(set(ids)) == 6
    assert waiting.parent_id in ids


def test_the_span_says_who_waits_for_what_and_until_when() -> None:
    attributes = waits(trace_of(*map(record, BEFORE))).shape.attributes

    assert attributes == {
        names.WORKLOAD_SPIFFE_ID: AGENT,
        names.SERVER: "ledger",
        names.MCP_METHOD_NAME: "tools/call",
        names.GEN_AI_TOOL_NAME: "get_invoice",
        names.DECISION_ID: "01J-decision",
        names.APPROVAL_ID: APPROVAL,
        names.APPROVAL_STATE: "waiting",
        names.APPROVAL_EXPIRES: "2027-01-15T08:15:00Z",
    }
    assert names.ALLOWED.issuperset(attributes)


def test_two_approvals_that_one_call_waits_for_are_two_spans() -> None:
    path = trace_of(*map(record, BEFORE))
    assert waits(path, "ad" * 16).shape.span_id != waits(path, "ae" * 16).shape.span_id


@pytest.mark.parametrize("parent", [None, TraceParent(TRACE_ID, 7, sampled=True, state="a=1,b=2")])
def test_our_bytes_of_the_span_are_those_of_the_official_encoder(parent: TraceParent | None) -> None:
    path = trace_of(*map(record, BEFORE))
    path.parent = parent
    resource = Resource({"service.name": "callgate"})
    encoder = TraceEncoder(resource)

    found = ExportTraceServiceRequest.FromString(encoder.request([encoder.waiting(waits(path))]))

    assert found == encode_spans([waiting_span_of(waits(path), resource)])


def test_an_exporter_of_the_sdk_gets_the_span_too() -> None:
    exporter = InMemorySpanExporter()
    telemetry = Telemetry(exporter)
    telemetry.approvals.waiting(waits(trace_of(*map(record, BEFORE))))
    assert telemetry.flush(5)
    assert [span.name for span in exporter.get_finished_spans()] == ["approve (waiting)"]
    telemetry.close()


def test_what_cannot_be_encoded_is_counted_and_raises_nothing(
    collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    telemetry = Telemetry.from_settings(collector.url, SERVICE)
    path = trace_of(*map(record, BEFORE))
    with caplog.at_level(logging.WARNING):
        telemetry.approvals.waiting(waits(path)._replace(trace_id=1 << 200))
    assert telemetry.drops.encode_failed == 1
    telemetry.close()


def test_nothing_is_told_after_the_end_nor_where_nobody_wants_to_know(collector: Collector) -> None:
    telemetry = Telemetry.from_settings(collector.url, SERVICE)
    telemetry.close()
    telemetry.approvals.waiting(waits(trace_of(*map(record, BEFORE))))
    Telemetry().approvals.waiting(waits(trace_of(*map(record, BEFORE))))
    assert collector.spans == ()
