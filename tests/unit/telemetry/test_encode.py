"""Our bytes against the SDK's: what `spans_of` gives, encoded by opentelemetry's own encoder, is the expectation."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan

from callgate.errors import Reason
from callgate.telemetry import names
from callgate.telemetry.encode import CACHE_MAX_ENTRIES, TraceEncoder
from callgate.telemetry.spans import spans_of
from callgate.trace import DecisionTrace, Finding, Outcome, Stage, StageRecord, TraceParent
from support.decision_traces import allowed, denied, record, refused_at, trace_of

RESOURCE = Resource(
    {"service.name": "callgate", "process.pid": 7, "lab": True, "share": 0.5, "hosts": ["a", "b"], "ports": [1, 2]},
    "https://opentelemetry.io/schemas/1.44.0",
)
# Kept over all examples, because what it remembers of one trace must never show up in another.
_ENCODER = TraceEncoder(RESOURCE)

_times = st.one_of(st.just(0), st.integers(0, 2**64 - 1))
_ids = st.one_of(st.sampled_from([0, 1, 2**64 - 1]), st.integers(0, 2**64 - 1))
_trace_ids = st.one_of(st.sampled_from([0, 1, 2**128 - 1]), st.integers(0, 2**128 - 1))
_texts = st.one_of(
    st.text(st.characters(), max_size=300),
    st.sampled_from(["", "tools/call", "POST", "\ud800", "\u202e\x00", "x" * 127, "x" * 128, "ü" * 2049, "y" * 3000]),
    st.sampled_from(Reason),
)
_integers = st.one_of(st.integers(), st.sampled_from([0, 1, -1, 127, 128, 2**63 - 1, -(2**63), 2**63, -(2**63) - 1]))
_floats = st.one_of(st.floats(), st.sampled_from([0.0, -0.0, 1.0]))
_arrays = st.one_of(
    st.lists(_texts, max_size=5).map(tuple),
    st.sampled_from([(), ("",), ("a",) * 128, ("a",) * 129, ("b" * 3000,)]),
)
_keys = st.one_of(st.sampled_from(sorted(names.ALLOWED)), st.text(max_size=20))
_attributes = st.dictionaries(_keys, st.one_of(_texts, _integers, st.booleans(), _floats, _arrays), max_size=12)
_findings = st.builds(Finding, _texts, st.one_of(_texts, st.just("default")), matched=st.booleans(), why=_texts)
_states = st.one_of(
    st.text(max_size=40), st.sampled_from(["", "a=1", "a=1 ,b=2", "t@s=x", "a=1,a=2", "A=1", "a=1,,b=2"])
)
_parents = st.one_of(st.none(), st.builds(TraceParent, _trace_ids, _ids, st.booleans(), _states))
_records = st.builds(
    StageRecord,
    stage=st.sampled_from(Stage),
    outcome=st.sampled_from(Outcome),
    started_ns=_times,
    ended_ns=_times,
    reason=st.one_of(_texts, st.just("no_grant")),
    detail=_texts,
    attributes=_attributes,
    findings=st.one_of(
        st.lists(_findings, max_size=4).map(tuple),
        st.builds(lambda finding, count: (finding,) * count, _findings, st.integers(127, 130)),
    ),
)
_traces = st.builds(
    DecisionTrace, _texts, _trace_ids, _ids, _ids, _ids, _ids, _times, _times, _parents, _parents,
    st.lists(_records, max_size=10),
)  # fmt: skip


def _expected(traces: list[DecisionTrace]) -> bytes:
    spans: list[ReadableSpan] = []
    for trace in traces:
        spans += spans_of(trace, RESOURCE)
    return encode_spans(spans).SerializeToString()


def _encoded(traces: list[DecisionTrace], encoder: TraceEncoder = _ENCODER) -> bytes:
    return encoder.request([encoder.spans_of(trace) for trace in traces])


def _parsed(encoded: bytes) -> bytes:
    """Parsed and written again: what the fields hold, however they were written.  Messages with NaN equal nothing."""
    return ExportTraceServiceRequest.FromString(encoded).SerializeToString(deterministic=True)


@given(st.lists(_traces, min_size=1, max_size=3))
def test_any_traces_read_as_the_sdks_own_encoding_of_them_reads(traces: list[DecisionTrace]) -> None:
    assert _parsed(_encoded(traces)) == _parsed(_expected(traces))


_REFUSALS = [refused_at(stage, reason) for stage in Stage for reason in (Reason.NO_GRANT, Reason.INTERNAL)]


@pytest.mark.parametrize("trace", [allowed(), denied(), trace_of(), *_REFUSALS])
def test_what_the_gate_leaves_is_the_same_byte_for_byte(trace: DecisionTrace) -> None:
    once, again = _encoded([trace]), _encoded([trace])
    assert once == again == _expected([trace])


def test_a_parent_and_a_link_are_written_as_the_sdk_writes_them() -> None:
    remote = TraceParent(2**127 + 5, 2**63 + 5, sampled=False, state="rojo=00f067aa0ba902b7, congo=t61rcWkgMzE")
    for trusted in (True, False):
        trace = allowed()
        trace.join(remote, trusted=trusted)
        assert _encoded([trace]) == _expected([trace])


def test_many_traces_are_one_resource_and_one_scope() -> None:
    request = ExportTraceServiceRequest.FromString(_encoded([allowed(), denied(), allowed()]))
    (resource_spans,) = request.resource_spans
    (scope_spans,) = resource_spans.scope_spans
    assert len(scope_spans.spans) == 4 + 2 + 4


def test_equal_values_of_different_types_stay_apart() -> None:
    values: list[bool | int | float] = [1, True, 1.0, 0, False, 0.0, -0.0]
    encoder = TraceEncoder(RESOURCE)
    for value in [*values, *reversed(values)]:
        trace = trace_of(record(Stage.ACCEPT, attributes={names.CONNECTION_REQUEST: value}))
        assert _encoded([trace], encoder) == _expected([trace])


def test_a_caller_who_makes_up_names_does_not_fill_the_memory() -> None:
    encoder = TraceEncoder(RESOURCE)
    for number in range(CACHE_MAX_ENTRIES + 50):
        made_up = {names.GEN_AI_TOOL_NAME: f"tool-{number}", names.CLIENT_PORT: number}
        findings = (Finding(f"rule-{number}", "grant", matched=False, why="-"),)
        encoder.spans_of(trace_of(record(Stage.IDENTIFY, attributes=made_up), record(Stage.DECIDE, findings=findings)))
    assert all(len(cache) <= CACHE_MAX_ENTRIES for cache in (encoder._texts, encoder._integers, encoder._findings))


def test_a_long_value_is_not_kept() -> None:
    encoder = TraceEncoder(RESOURCE)
    long = {names.GEN_AI_TOOL_NAME: "t" * 100_000}
    findings = (Finding("r" * 100_000, "grant", matched=False, why="w" * 100_000),)
    encoder.spans_of(trace_of(record(Stage.DECIDE, attributes=long, findings=findings)))
    kept = [*encoder._texts, *((finding.rule, finding.why) for finding in encoder._findings)]
    assert all(len(str(part)) < 1000 for pair in kept for part in pair)


def test_an_id_of_too_many_bits_is_an_error_and_not_another_id() -> None:
    trace = allowed()
    trace.trace_id = 2**128
    with pytest.raises(OverflowError):
        _ENCODER.spans_of(trace)
