"""A `DecisionTrace` as the SDK's spans, for whatever exporter of the SDK somebody brings.

The gate's own way to a collector makes the same bytes without them (`encode`).  Pure: no clock, no I/O.
"""

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from callgate.telemetry import names
from callgate.telemetry.pending import WaitingSpan
from callgate.telemetry.project import FINDING_EVENT, Kind, SpanShape, bounded, event_of, shapes_of
from callgate.telemetry.remote import remote_span, state_of
from callgate.trace import DecisionTrace

SCOPE_NAME = "callgate"
_SCOPE = InstrumentationScope(SCOPE_NAME)
# Always sampled: the caller's flag decides nothing here (see `DecisionTrace.join`).
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_KINDS = {Kind.INTERNAL: SpanKind.INTERNAL, Kind.SERVER: SpanKind.SERVER, Kind.CLIENT: SpanKind.CLIENT}
_NO_RESOURCE = Resource({})


def spans_of(trace: DecisionTrace, resource: Resource = _NO_RESOURCE) -> list[ReadableSpan]:
    """The spans of one trace, the SERVER span first; any SDK exporter takes them."""
    return [_span(trace, shape, resource) for shape in shapes_of(trace)]


def waiting_span_of(waiting: WaitingSpan, resource: Resource = _NO_RESOURCE) -> ReadableSpan:
    """The span that tells of a call which waits."""
    state = state_of(waiting.joined)
    ids = [
        SpanContext(waiting.trace_id, span_id, is_remote=False, trace_flags=_SAMPLED, trace_state=state)
        for span_id in (waiting.shape.span_id, waiting.parent_id)
    ]
    shape = waiting.shape
    return ReadableSpan(
        name=shape.name,
        context=ids[0],
        parent=ids[1],
        resource=resource,
        attributes={key: bounded(value) for key, value in shape.attributes.items()},
        kind=_KINDS[shape.kind],
        status=_status(shape),
        start_time=shape.started_ns,
        end_time=shape.ended_ns,
        instrumentation_scope=_SCOPE,
    )


def _span(trace: DecisionTrace, shape: SpanShape, resource: Resource) -> ReadableSpan:
    of_server = shape.kind is Kind.SERVER
    linked = remote_span(trace.link) if of_server else None
    return ReadableSpan(
        name=shape.name,
        context=_context(trace, shape.span_id),
        parent=remote_span(trace.parent) if of_server else _context(trace, trace.server_span_id),
        resource=resource,
        attributes={key: bounded(value) for key, value in shape.attributes.items()},
        events=[Event(FINDING_EVENT, event_of(finding), shape.ended_ns) for finding in shape.findings],
        links=[Link(linked)] if linked else [],
        kind=_KINDS[shape.kind],
        status=_status(shape),
        start_time=shape.started_ns,
        end_time=shape.ended_ns,
        instrumentation_scope=_SCOPE,
    )


def _context(trace: DecisionTrace, span_id: int) -> SpanContext:
    state = state_of(trace.parent)
    return SpanContext(trace.trace_id, span_id, is_remote=False, trace_flags=_SAMPLED, trace_state=state)


def _status(shape: SpanShape) -> Status:
    """MCP: "Span status SHOULD be set to ERROR when `error.type` attribute is present"; otherwise it stays unset."""
    failed = names.ERROR_TYPE in shape.attributes
    return Status(StatusCode.ERROR, shape.message or None) if failed else Status()
