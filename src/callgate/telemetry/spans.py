"""A `DecisionTrace` as OpenTelemetry spans: one trace a request, made when the request is over.

    SERVER    tools/call get_invoice      what arrived, what was decided, what was answered
    INTERNAL  ├─ authorize                one event for each rule that was looked at
    INTERNAL  ├─ mint                     the claims of the token
    CLIENT    └─ tools/call get_invoice   the call to the tool server

No tracer is involved: the ids were chosen when the request began, and the spans are built whole, so that the path of a
call pays for none of it.  Names and attributes follow the MCP conventions; where no MCP message was read, the HTTP
ones.  Pure: no clock, no I/O.
"""

from collections.abc import Mapping, Sequence

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, TraceFlags, TraceState

from callgate.errors import Reason
from callgate.telemetry import names
from callgate.telemetry.outcome import ended_badly, error_type, reason_of, refusal_message, stated_error, status_of
from callgate.telemetry.remote import remote_span, state_of
from callgate.telemetry.visible import visible, without_credentials
from callgate.trace import AttributeValue, DecisionTrace, Finding, Outcome, Stage, StageRecord

DETAIL_MAX_CHARS = 200
# A SPIFFE ID has at most 2048 bytes (SPIFFE-ID, section 2.3), and nothing else that we record is longer.
ATTRIBUTE_MAX_CHARS = 2048
# MCP 2025-11-25, "Tool Names": 1 to 128 characters.
NAME_MAX_CHARS = 128
# The SDK's own limit on the events of a span (OTEL_SPAN_EVENT_COUNT_LIMIT), and ours on the items of an array.
EVENTS_MAX = 128
ARRAY_MAX_ITEMS = 128

SCOPE = InstrumentationScope("callgate")
HANDSHAKE_NAME = "tls handshake"
FINDING_EVENT = "callgate.finding"
DEFAULT_DENY = Finding("default", "default", matched=True, why="no grant applies, and what is not granted is denied")

# RFC 9110, section 9, and RFC 5789.
_HTTP_METHODS = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"})
# Always sampled: the caller's flag decides nothing here (see `DecisionTrace.join`).
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_CHILDREN = (Stage.DECIDE, Stage.MINT, Stage.FORWARD)
_ON_CLIENT_SPAN_TOO = (names.MCP_METHOD_NAME, names.GEN_AI_TOOL_NAME, names.GEN_AI_OPERATION_NAME)
_NO_RESOURCE = Resource({})

Attributes = dict[str, AttributeValue]


def spans_of(trace: DecisionTrace, resource: Resource = _NO_RESOURCE) -> list[ReadableSpan]:
    """The spans of one trace, the SERVER span first; any SDK exporter takes them.

    A stage that was not reached has no span.  Attributes that `names.ALLOWED` does not list are dropped and counted.
    """
    shared = _server_attributes(trace)
    server = _server_span(trace, shared, resource)
    records = {record.stage: record for record in trace.records}
    return [server, *(_child_span(trace, records[stage], server, shared) for stage in _CHILDREN if stage in records)]


def findings_of(record: StageRecord) -> tuple[Finding, ...]:
    """What `decide` looked at, and default deny as the last of it where it was default deny that refused."""
    said = any(finding.kind == DEFAULT_DENY.kind and finding.matched for finding in record.findings)
    if said or record.reason != Reason.NO_GRANT:
        return record.findings
    return (*record.findings, DEFAULT_DENY)


def span_name(attributes: Mapping[str, AttributeValue], furthest: Stage) -> str:
    """The SERVER span's name, from its attributes and the last stage that left a record.

    MCP: "`{mcp.method.name} {target}` where target SHOULD match `{gen_ai.tool.name}`".  HTTP: "`{method} {target}`
    if there is a (low-cardinality) target available", which for a SERVER span is `http.route`; "HTTP" where the
    method is unknown.
    """
    if method := attributes.get(names.MCP_METHOD_NAME):
        return _name_of(method, attributes.get(names.GEN_AI_TOOL_NAME))
    if method := attributes.get(names.HTTP_REQUEST_METHOD):
        return _name_of(method if method in _HTTP_METHODS else "HTTP", attributes.get(names.HTTP_ROUTE))
    return HANDSHAKE_NAME if furthest in (Stage.ACCEPT, Stage.AUTHENTICATE) else "HTTP"


def _name_of(method: AttributeValue, target: AttributeValue | None) -> str:
    name = visible(str(method), NAME_MAX_CHARS)
    return f"{name} {visible(str(target), NAME_MAX_CHARS)}" if target else name


def _server_attributes(trace: DecisionTrace) -> Attributes:
    attributes: Attributes = {names.NETWORK_TRANSPORT: "tcp"}
    dropped = sum(_take(record.attributes, attributes) for record in trace.records if record.stage not in _CHILDREN)
    attributes |= {
        names.DECISION: trace.decision,
        names.DECISION_ID: visible(trace.decision_id, NAME_MAX_CHARS),
        names.DECISION_PATH: tuple(visible(step, NAME_MAX_CHARS) for step in trace.path),
    }
    if attributes.get(names.MCP_METHOD_NAME) == "tools/call":
        # "SHOULD be set to `execute_tool` when the operation describes a tool call and SHOULD NOT be set otherwise."
        attributes[names.GEN_AI_OPERATION_NAME] = "execute_tool"
    if dropped:
        attributes[names.ATTRIBUTES_DROPPED] = dropped
    _add_outcome(trace, attributes)
    return attributes


def _add_outcome(trace: DecisionTrace, attributes: Attributes) -> None:
    attributes.pop(names.ERROR_TYPE, None)
    if error := error_type(trace, attributes):
        attributes[names.ERROR_TYPE] = visible(error, NAME_MAX_CHARS)
        if error.removeprefix("-").isdecimal():
            attributes[names.RPC_RESPONSE_STATUS_CODE] = attributes[names.ERROR_TYPE]
    if bad := ended_badly(trace):
        _say_why(bad, attributes)


def _server_span(trace: DecisionTrace, attributes: Attributes, resource: Resource) -> ReadableSpan:
    furthest = trace.records[-1].stage if trace.records else Stage.ACCEPT
    linked = remote_span(trace.link)
    return ReadableSpan(
        name=span_name(attributes, furthest),
        context=_own_context(trace, trace.server_span_id, state_of(trace.parent)),
        parent=remote_span(trace.parent),
        resource=resource,
        attributes=attributes,
        links=[Link(linked)] if linked else [],
        kind=SpanKind.SERVER,
        # "The status description SHOULD match the `JSONRPCError.message` if the message is available."
        status=status_of(attributes, refusal_message(str(attributes.get(names.REASON, "")))),
        start_time=trace.started_ns,
        end_time=trace.ended_ns or max((record.ended_ns for record in trace.records), default=trace.started_ns),
        instrumentation_scope=SCOPE,
    )


def _child_span(trace: DecisionTrace, record: StageRecord, server: ReadableSpan, shared: Attributes) -> ReadableSpan:
    name, kind, span_id = _child_identity(trace, record, server)
    attributes = _child_attributes(trace, record, shared)
    return ReadableSpan(
        name=name,
        context=_own_context(trace, span_id, state_of(trace.parent)),
        parent=server.context,
        resource=server.resource,
        attributes=attributes,
        events=[_finding_event(finding, record.ended_ns) for finding in _kept(findings_of(record))],
        kind=kind,
        status=status_of(attributes, str(attributes.get(names.DETAIL, ""))),
        start_time=record.started_ns,
        end_time=record.ended_ns,
        instrumentation_scope=SCOPE,
    )


def _child_identity(trace: DecisionTrace, record: StageRecord, server: ReadableSpan) -> tuple[str, SpanKind, int]:
    if record.stage is Stage.DECIDE:
        return "authorize", SpanKind.INTERNAL, trace.authorize_span_id
    if record.stage is Stage.MINT:
        return "mint", SpanKind.INTERNAL, trace.mint_span_id
    return server.name, SpanKind.CLIENT, trace.client_span_id


def _child_attributes(trace: DecisionTrace, record: StageRecord, shared: Attributes) -> Attributes:
    attributes: Attributes = {}
    if record.stage is Stage.FORWARD:
        attributes = {key: shared[key] for key in _ON_CLIENT_SPAN_TOO if key in shared}
        attributes[names.NETWORK_TRANSPORT] = "tcp"
    dropped = _take(record.attributes, attributes)
    if record.stage is Stage.DECIDE:
        attributes[names.DECISION] = trace.decision
    if (omitted := len(findings_of(record)) - EVENTS_MAX) > 0:
        attributes[names.RULES_OMITTED] = omitted
    if dropped:
        attributes[names.ATTRIBUTES_DROPPED] = dropped
    _add_own_outcome(record, attributes)
    return attributes


def _add_own_outcome(record: StageRecord, attributes: Attributes) -> None:
    if record.outcome is not Outcome.OK:
        _say_why(record, attributes)
        attributes.setdefault(names.ERROR_TYPE, attributes[names.REASON])
    elif error := stated_error(record.attributes):
        attributes[names.ERROR_TYPE] = visible(error, NAME_MAX_CHARS)


def _kept(findings: tuple[Finding, ...]) -> Sequence[Finding]:
    if len(findings) <= EVENTS_MAX:
        return findings
    # What applied comes first, so that it is never what is left out; `sorted` keeps the order otherwise.
    return sorted(findings, key=lambda finding: not finding.matched)[:EVENTS_MAX]


def _finding_event(finding: Finding, at_ns: int) -> Event:
    attributes: dict[str, str | bool] = {
        names.RULE_ID: visible(finding.rule, NAME_MAX_CHARS),
        names.RULE_KIND: visible(finding.kind, NAME_MAX_CHARS),
        names.RULE_MATCHED: finding.matched,
        names.RULE_WHY: without_credentials(finding.why, DETAIL_MAX_CHARS),
    }
    return Event(FINDING_EVENT, attributes=attributes, timestamp=at_ns)


def _take(source: Mapping[str, AttributeValue], target: Attributes) -> int:
    """Copy what may leave; return how many may not."""
    dropped = 0
    for key, value in source.items():
        if key in names.ALLOWED:
            target[key] = _bounded(value)
        else:
            dropped += 1
    return dropped


def _bounded(value: AttributeValue) -> AttributeValue:
    if isinstance(value, str):
        return visible(value, ATTRIBUTE_MAX_CHARS)
    if isinstance(value, tuple):
        return tuple(visible(item, ATTRIBUTE_MAX_CHARS) for item in value[:ARRAY_MAX_ITEMS])
    # OTLP's integers are int64: of a larger one the exporter would lose the attribute and log a traceback.
    if isinstance(value, int) and value.bit_length() > 63:
        return visible(f"{value:#x}", NAME_MAX_CHARS)
    return value


def _say_why(record: StageRecord, attributes: Attributes) -> None:
    attributes[names.REASON] = visible(reason_of(record), NAME_MAX_CHARS)
    if record.detail:
        attributes[names.DETAIL] = without_credentials(record.detail, DETAIL_MAX_CHARS)


def _own_context(trace: DecisionTrace, span_id: int, state: TraceState) -> SpanContext:
    return SpanContext(trace.trace_id, span_id, is_remote=False, trace_flags=_SAMPLED, trace_state=state)
