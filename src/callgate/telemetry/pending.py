"""A call that waits for a person, told to the collector while it waits.

A trace is made when its request is over, which may be minutes later.  So the beginning of the wait gets a span of its
own at once, of the same trace and under the SERVER span that is still to come:

    SERVER    tools/call refund        when the request is over
    INTERNAL  ├─ approve (waiting)     when the wait begins
    INTERNAL  └─ approve               when the request is over

Pure.
"""

from datetime import UTC, datetime
from typing import Final, NamedTuple

from callgate.telemetry import names
from callgate.telemetry.project import Attributes, Kind, SpanShape, derived_span_id
from callgate.trace import DecisionTrace, TraceParent

WAITING_NAME: Final = "approve (waiting)"
WAITING_STATE: Final = "waiting"
# By these it is found while there is no SERVER span that has them.
_OF_THE_REQUEST: Final = (
    names.WORKLOAD_SPIFFE_ID,
    names.SERVER,
    names.MCP_METHOD_NAME,
    names.GEN_AI_TOOL_NAME,
    names.AUDIT_SESSION,
)


class WaitingSpan(NamedTuple):
    """A span that is told before its trace is.  `joined`: whose trace it is, where it is not one of our own."""

    trace_id: int
    parent_id: int
    joined: TraceParent | None
    shape: SpanShape


def waiting_span(path: DecisionTrace, approval: str, started_ns: int, expires_ns: int) -> WaitingSpan:
    """What to tell now that the call of `path` begins to wait for that approval.  Times in Unix nanoseconds.

    Once for each approval that the call waits for, after `identify`: what the request is about is taken from the
    records so far.
    """
    attributes: Attributes = {
        **_of_the_request(path),
        names.DECISION_ID: path.decision_id,
        names.APPROVAL_ID: approval,
        names.APPROVAL_STATE: WAITING_STATE,
        names.APPROVAL_EXPIRES: f"{datetime.fromtimestamp(expires_ns // 1_000_000_000, UTC):%Y-%m-%dT%H:%M:%SZ}",
    }
    shape = SpanShape(
        Kind.INTERNAL,
        WAITING_NAME,
        derived_span_id(path, f"{WAITING_NAME} {approval}"),
        started_ns,
        started_ns,
        attributes,
        (),
        "",
    )
    return WaitingSpan(path.trace_id, path.server_span_id, path.parent, shape)


def _of_the_request(path: DecisionTrace) -> Attributes:
    found: Attributes = {}
    for record in path.records:
        found.update({name: record.attributes[name] for name in _OF_THE_REQUEST if name in record.attributes})
    return found
