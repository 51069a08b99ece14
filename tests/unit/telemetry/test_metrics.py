import time

import pytest
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    HistogramDataPoint,
    MetricsData,
    NumberDataPoint,
)
from opentelemetry.sdk.resources import Resource

from callgate.errors import Reason
from callgate.telemetry import names
from callgate.telemetry.metrics import Metrics
from callgate.trace import DecisionTrace, Outcome, Stage
from support.decision_traces import AGENT, allowed, denied, record, refused_at, trace_of

Points = list[NumberDataPoint | HistogramDataPoint]


def _points(collected: MetricsData) -> dict[str, Points]:
    (group,) = collected.resource_metrics
    (scope,) = group.scope_metrics
    return {metric.name: list(metric.data.data_points) for metric in scope.metrics}  # type: ignore[arg-type]


def _measured(*traces: DecisionTrace, svid_not_after: float | None = None) -> dict[str, Points]:
    metrics = Metrics(Resource({}), lambda: svid_not_after)
    for trace in traces:
        metrics.count(trace)
    return _points(metrics.collect())


def _only(points: Points) -> NumberDataPoint | HistogramDataPoint:
    (point,) = points
    return point


def _histogram(points: Points) -> HistogramDataPoint:
    point = _only(points)
    assert isinstance(point, HistogramDataPoint)
    return point


def test_decisions_are_counted_by_decision_and_reason() -> None:
    points = _measured(allowed(), allowed(), denied())["callgate.decisions"]
    counted = {tuple(sorted((p.attributes or {}).items())): getattr(p, "value", None) for p in points}
    assert counted == {
        (("callgate.decision", "allow"),): 2,
        (("callgate.decision", "deny"), ("callgate.reason", "no_grant")): 1,
    }


def test_operation_duration_has_the_conventions_buckets_and_attributes() -> None:
    point = _histogram(_measured(allowed())["mcp.server.operation.duration"])
    assert point.explicit_bounds == (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300)
    assert point.sum == pytest.approx(0.09)
    assert dict(point.attributes or {}) == {
        "mcp.method.name": "tools/call",
        "gen_ai.tool.name": "get_invoice",
        "mcp.protocol.version": "2026-07-28",
    }


def test_a_failed_operation_names_its_error_type() -> None:
    point = _histogram(_measured(denied())["mcp.server.operation.duration"])
    assert (point.attributes or {})["error.type"] == "-31403"


def test_a_handshake_that_failed_is_no_mcp_operation() -> None:
    measured = _measured(refused_at(Stage.ACCEPT, Reason.TLS_NO_CERTIFICATE))
    assert "mcp.server.operation.duration" not in measured


def test_names_that_a_caller_made_up_do_not_become_attributes() -> None:
    made_up = [
        refused_at(Stage.IDENTIFY, Reason.METHOD_NOT_SERVED, attributes={names.MCP_METHOD_NAME: f"m/{number}"})
        for number in range(50)
    ]
    unasked = [
        trace_of(
            record(Stage.IDENTIFY, attributes={names.GEN_AI_TOOL_NAME: f"t{number}"}),
            record(Stage.DECIDE, outcome=Outcome.REFUSED, reason="no_grant"),
        )
        for number in range(50)
    ]
    points = _measured(*made_up, *unasked)["mcp.server.operation.duration"]
    assert len(points) == 2
    assert {(point.attributes or {})["mcp.method.name"] for point in points} == {"_OTHER", "tools/call"}


def test_an_error_code_that_a_tool_server_made_up_is_other() -> None:
    traces = [
        trace_of(*(record(s, attributes={names.RPC_RESPONSE_STATUS_CODE: str(code)}) for s in Stage))
        for code in (-1, -2, -3)
    ]
    point = _histogram(_measured(*traces)["mcp.server.operation.duration"])
    assert (point.attributes or {})["error.type"] == "_OTHER"


def test_authorization_and_mint_take_the_time_of_their_stage() -> None:
    trace = allowed()
    measured = _measured(trace)
    took = {record.stage: (record.ended_ns - record.started_ns) / 1e9 for record in trace.records}
    assert _histogram(measured["callgate.authorization.duration"]).sum == pytest.approx(took[Stage.DECIDE])
    assert _histogram(measured["callgate.token.mint.duration"]).sum == pytest.approx(took[Stage.MINT])


def test_a_handshake_is_measured_only_where_the_trace_had_one() -> None:
    first = trace_of(record(Stage.ACCEPT, attributes={names.TLS_HANDSHAKE_DURATION: 0.004}))
    point = _histogram(_measured(first, allowed(), allowed())["callgate.tls.handshake.duration"])
    assert (point.count, point.sum) == (1, 0.004)


def test_svid_expiry_is_told_while_there_is_an_svid() -> None:
    point = _only(_measured(svid_not_after=time.time() + 600)["callgate.svid.expires_in"])
    assert getattr(point, "value", None) == pytest.approx(600, abs=30)
    assert not _measured(svid_not_after=None).get("callgate.svid.expires_in")


def test_lost_traces_are_told_by_cause_and_add_up() -> None:
    metrics = Metrics(Resource({}))
    for lost in (3, 5):
        metrics.drops.queue_full = lost
        by_cause = {
            (point.attributes or {})["error.type"]: getattr(point, "value", None)
            for point in _points(metrics.collect())["callgate.telemetry.dropped"]
        }
        assert by_cause == {"queue_full": lost, "encode_failed": 0, "export_failed": 0, "closed": 0}


def test_a_collector_that_wants_differences_gets_them() -> None:
    metrics = Metrics(Resource({}), temporality=AggregationTemporality.DELTA)
    counted = []
    for calls in (2, 1):
        for _ in range(calls):
            metrics.count(allowed())
        metrics.drops.queue_full += calls
        counted.append(_points(metrics.collect()))
    assert [getattr(_only(points["callgate.decisions"]), "value", None) for points in counted] == [2, 1]
    assert [_histogram(points["mcp.server.operation.duration"]).count for points in counted] == [2, 1]
    lost = [points["callgate.telemetry.dropped"][0] for points in counted]
    assert [getattr(point, "value", None) for point in lost] == [2, 1]
    assert lost[0].time_unix_nano == lost[1].start_time_unix_nano


def test_what_adds_up_begins_where_the_gate_began() -> None:
    metrics = Metrics(Resource({}))
    metrics.count(allowed())
    first = _only(_points(metrics.collect())["callgate.decisions"])
    metrics.count(allowed())
    second = _only(_points(metrics.collect())["callgate.decisions"])
    assert first.start_time_unix_nano == second.start_time_unix_nano
    assert (getattr(first, "value", None), getattr(second, "value", None)) == (1, 2)


def test_no_metric_names_a_workload_a_token_or_an_argument() -> None:
    canary = "canary-7f3a"
    attributes = {"gen_ai.tool.call.arguments": canary, names.CLAIM_JTI: canary, names.JSONRPC_REQUEST_ID: canary}
    measured = _measured(allowed(), trace_of(*(record(stage, attributes=attributes) for stage in Stage)))
    written = str(measured)
    assert AGENT not in written
    assert canary not in written
