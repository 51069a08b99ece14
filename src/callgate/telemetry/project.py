"""What spans a `DecisionTrace` comes to: one trace a request, made when the request is over.

    SERVER    tools/call get_invoice      what arrived, what was decided, what was answered
    INTERNAL  ├─ authorize                one event for each rule that was looked at
    INTERNAL  ├─ approve                  where a person had to agree: how long that took, and what came of it
    INTERNAL  ├─ mint                     the claims of the token
    CLIENT    └─ tools/call get_invoice   the call to the tool server

Where the record of the call is (`record`) stands on the SERVER span, beside how it was decided.

No tracer is involved: the ids were chosen when the request began, and the spans are made whole once it is answered.
Names and attributes follow the MCP conventions; where no MCP message was read, the HTTP ones.  `encode` writes these
shapes as bytes and `spans` as the SDK's objects; both bound each value by `bounded` and `event_of`.  Pure: no clock,
no I/O.
"""

from collections.abc import Mapping, Sequence
from enum import IntEnum
from functools import lru_cache
from hashlib import sha256
from typing import NamedTuple

from callgate.errors import Reason
from callgate.telemetry import names
from callgate.telemetry.outcome import ended_badly, error_type, reason_of, refusal_message, stated_error
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

HANDSHAKE_NAME = "tls handshake"
FINDING_EVENT = "callgate.finding"
DEFAULT_DENY = Finding("default", "default", matched=True, why="no grant applies, and what is not granted is denied")


class Kind(IntEnum):
    """The numbers of OTLP's `Span.SpanKind`."""

    INTERNAL = 1
    SERVER = 2
    CLIENT = 3


# RFC 9110, section 9, and RFC 5789.
_HTTP_METHODS = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"})
# To name a member of an enumeration takes 0.1 µs, and this is done some hundred times for each call.
_OK, _NO_GRANT = Outcome.OK, Reason.NO_GRANT
_DECIDE, _APPROVE, _MINT, _FORWARD = Stage.DECIDE, Stage.APPROVE, Stage.MINT, Stage.FORWARD
_CHILDREN = {_DECIDE: None, _APPROVE: None, _MINT: None, _FORWARD: None}
_INTERNAL, _SERVER, _CLIENT = Kind.INTERNAL, Kind.SERVER, Kind.CLIENT
_ON_CLIENT_SPAN_TOO = (names.MCP_METHOD_NAME, names.GEN_AI_TOOL_NAME, names.GEN_AI_OPERATION_NAME)

Attributes = dict[str, AttributeValue]


# A tuple, because four of them are made for every call and a frozen dataclass takes three times as long to make.
class SpanShape(NamedTuple):
    """One span of a trace; the first of a trace is the SERVER span, and the parent of the others.

    `attributes` hold names of `names.ALLOWED` alone; their values still need `bounded`.  The status is ERROR if and
    only if `names.ERROR_TYPE` is among them, and `message` is its description ("" for none).
    """

    kind: Kind
    name: str
    span_id: int
    started_ns: int
    ended_ns: int
    attributes: Attributes
    findings: Sequence[Finding]
    message: str


def shapes_of(trace: DecisionTrace) -> list[SpanShape]:
    """The spans of one trace.

    A stage that was not reached has no span.  Attributes that `names.ALLOWED` does not list are dropped and counted.
    """
    children = {record.stage: record for record in trace.records if record.stage in _CHILDREN}
    server = _server_shape(trace)
    return [server, *(_child_shape(trace, children[stage], server) for stage in _CHILDREN if stage in children)]


def derived_span_id(trace: DecisionTrace, name: str) -> int:
    """The id of a span that few traces have, so that none is chosen for it when each request begins; never 0."""
    seed = trace.trace_id.to_bytes(16) + trace.server_span_id.to_bytes(8) + name.encode()
    return int.from_bytes(sha256(seed).digest()[:8]) or 1


def findings_of(record: StageRecord) -> tuple[Finding, ...]:
    """What `decide` looked at, and default deny as the last of it where it was default deny that refused."""
    if record.reason != _NO_GRANT:
        return record.findings
    said = any(finding.kind == DEFAULT_DENY.kind and finding.matched for finding in record.findings)
    return record.findings if said else (*record.findings, DEFAULT_DENY)


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


def bounded(value: AttributeValue) -> AttributeValue:
    """A value as it may leave: text on one printable line and not too long, an integer of 64 bits."""
    if isinstance(value, str):
        return visible(value, ATTRIBUTE_MAX_CHARS)
    if isinstance(value, tuple):
        return tuple(visible(item, ATTRIBUTE_MAX_CHARS) for item in value[:ARRAY_MAX_ITEMS])
    # OTLP's integers are int64: of a larger one the exporter would lose the attribute and log a traceback.
    if isinstance(value, int) and value.bit_length() > 63:
        return visible(f"{value:#x}", NAME_MAX_CHARS)
    return value


def event_of(finding: Finding) -> dict[str, str | bool]:
    """The attributes of the event `FINDING_EVENT`, bounded."""
    return {
        names.RULE_ID: visible(finding.rule, NAME_MAX_CHARS),
        names.RULE_KIND: visible(finding.kind, NAME_MAX_CHARS),
        names.RULE_MATCHED: finding.matched,
        names.RULE_WHY: without_credentials(finding.why, DETAIL_MAX_CHARS),
    }


def _name_of(method: AttributeValue, target: AttributeValue | None) -> str:
    name = visible(str(bounded(method)), NAME_MAX_CHARS)
    return f"{name} {visible(str(bounded(target)), NAME_MAX_CHARS)}" if target else name


def _server_attributes(trace: DecisionTrace) -> Attributes:
    attributes: Attributes = {names.NETWORK_TRANSPORT: "tcp"}
    dropped = 0
    for record in trace.records:
        if record.stage not in _CHILDREN:
            dropped += _take(record.attributes, attributes)
    attributes[names.DECISION] = trace.decision
    attributes[names.DECISION_ID] = visible(trace.decision_id, NAME_MAX_CHARS)
    attributes[names.DECISION_PATH] = tuple([_step(r.stage, r.outcome, r.reason) for r in trace.records])
    if attributes.get(names.MCP_METHOD_NAME) == "tools/call":
        # "SHOULD be set to `execute_tool` when the operation describes a tool call and SHOULD NOT be set otherwise."
        attributes[names.GEN_AI_OPERATION_NAME] = "execute_tool"
    if dropped:
        attributes[names.ATTRIBUTES_DROPPED] = dropped
    _add_outcome(trace, attributes)
    return attributes


@lru_cache(maxsize=512)
def _step(stage: Stage, outcome: Outcome, reason: str) -> str:
    return visible(StageRecord(stage, outcome, 0, 0, reason).step, NAME_MAX_CHARS)


def _add_outcome(trace: DecisionTrace, attributes: Attributes) -> None:
    attributes.pop(names.ERROR_TYPE, None)
    bad = ended_badly(trace)
    if error := error_type(trace, bad, attributes):
        attributes[names.ERROR_TYPE] = visible(error, NAME_MAX_CHARS)
        if error.removeprefix("-").isdecimal():
            attributes[names.RPC_RESPONSE_STATUS_CODE] = attributes[names.ERROR_TYPE]
    if bad:
        _say_why(bad, attributes)


def _server_shape(trace: DecisionTrace) -> SpanShape:
    attributes = _server_attributes(trace)
    furthest = trace.records[-1].stage if trace.records else Stage.ACCEPT
    return SpanShape(
        _SERVER,
        span_name(attributes, furthest),
        trace.server_span_id,
        trace.started_ns,
        trace.ended_ns or max((record.ended_ns for record in trace.records), default=trace.started_ns),
        attributes,
        (),
        # "The status description SHOULD match the `JSONRPCError.message` if the message is available."
        refusal_message(str(bounded(attributes[names.REASON]))) if names.REASON in attributes else "",
    )


def _child_shape(trace: DecisionTrace, record: StageRecord, server: SpanShape) -> SpanShape:
    kind, name, span_id = _child_identity(trace, record, server)
    attributes = _child_attributes(record, server.attributes)
    findings = findings_of(record)
    if len(findings) > EVENTS_MAX:
        attributes[names.RULES_OMITTED] = len(findings) - EVENTS_MAX
        # What applied comes first, so that it is never what is left out; `sorted` keeps the order otherwise.
        findings = tuple(sorted(findings, key=lambda finding: not finding.matched)[:EVENTS_MAX])
    message = str(bounded(attributes[names.DETAIL])) if names.DETAIL in attributes else ""
    return SpanShape(kind, name, span_id, record.started_ns, record.ended_ns, attributes, findings, message)


def _child_identity(trace: DecisionTrace, record: StageRecord, server: SpanShape) -> tuple[Kind, str, int]:
    if record.stage is _DECIDE:
        return _INTERNAL, "authorize", trace.authorize_span_id
    if record.stage is _MINT:
        return _INTERNAL, "mint", trace.mint_span_id
    if record.stage is _APPROVE:
        return _INTERNAL, "approve", derived_span_id(trace, "approve")
    return _CLIENT, server.name, trace.client_span_id


def _child_attributes(record: StageRecord, shared: Attributes) -> Attributes:
    attributes: Attributes = {}
    if record.stage is _FORWARD:
        attributes = {key: shared[key] for key in _ON_CLIENT_SPAN_TOO if key in shared}
        attributes[names.NETWORK_TRANSPORT] = "tcp"
    dropped = _take(record.attributes, attributes)
    if record.stage is _DECIDE:
        attributes[names.DECISION] = shared[names.DECISION]
    if dropped:
        attributes[names.ATTRIBUTES_DROPPED] = dropped
    _add_own_outcome(record, attributes)
    return attributes


def _add_own_outcome(record: StageRecord, attributes: Attributes) -> None:
    if record.outcome is not _OK:
        _say_why(record, attributes)
        attributes.setdefault(names.ERROR_TYPE, attributes[names.REASON])
    elif error := stated_error(record.attributes):
        attributes[names.ERROR_TYPE] = visible(error, NAME_MAX_CHARS)


def _take(source: Mapping[str, AttributeValue], target: Attributes) -> int:
    """Copy what may leave; return how many may not."""
    if names.ALLOWED.issuperset(source):
        target.update(source)
        return 0
    kept = {key: value for key, value in source.items() if key in names.ALLOWED}
    target.update(kept)
    return len(source) - len(kept)


def _say_why(record: StageRecord, attributes: Attributes) -> None:
    attributes[names.REASON] = visible(reason_of(record), NAME_MAX_CHARS)
    if record.detail:
        attributes[names.DETAIL] = without_credentials(record.detail, DETAIL_MAX_CHARS)
