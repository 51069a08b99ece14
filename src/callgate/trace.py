"""The decision path of one call, as one value.

Spans, the body of a refusal and what `callgate demo` prints are projections of a `DecisionTrace`; nothing logs beside
it.  A stage that was passed leaves exactly one `StageRecord`, in order; after one that did not end well only `respond`
follows, if there was anybody to answer.  Pure: times and identifiers come in as parameters.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

AttributeValue = str | bool | int | float | tuple[str, ...]


class Stage(StrEnum):
    """The stages of docs/architecture.md, in the order in which a call passes them."""

    ACCEPT = "accept"
    AUTHENTICATE = "authenticate"
    READ = "read"
    IDENTIFY = "identify"
    DECIDE = "decide"
    INSPECT = "inspect"
    # Where a person has to agree, and only there.
    APPROVE = "approve"
    MINT = "mint"
    RECORD = "record"
    FORWARD = "forward"
    SCREEN = "screen"
    RESPOND = "respond"


class Outcome(StrEnum):
    """How a stage ended.  `FAILED` is the tool server's or the network's doing, `REFUSED` is ours."""

    OK = "ok"
    REFUSED = "refused"
    FAILED = "failed"


# To name a member of an enumeration takes 0.1 µs, which is much within a loop that every call runs through.
_DECIDE, _OK = Stage.DECIDE, Outcome.OK
_AFTER_DECIDE = frozenset({Stage.INSPECT, Stage.APPROVE})
# Neither allowed nor denied: a person may still agree.
_HELD = frozenset({"approval_required", "client_gone", "client_stalled", "gate_shutting_down"})


@dataclass(frozen=True, slots=True)
class Finding:
    """One rule that was looked at, and what came of it.

    `why` is one short sentence for a person ("tool matches get_*", "workload is not spiffe://acme.test/ns/ops/**").
    """

    rule: str
    kind: str
    matched: bool
    why: str


@dataclass(frozen=True, slots=True)
class StageRecord:
    """What one stage found.

    `started_ns`, `ended_ns`: Unix time in nanoseconds.  `reason` is a `Reason` value where the stage did not end OK,
    else "".  `detail` is for operators.  `attributes` carry OpenTelemetry names and bounded values; never an argument,
    a token or a key.
    """

    stage: Stage
    outcome: Outcome
    started_ns: int
    ended_ns: int
    reason: str = ""
    detail: str = ""
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()

    @property
    def step(self) -> str:
        """The entry in `callgate.decision.path`: `decide=ok`, `decide=refused:no_grant`."""
        return f"{self.stage}={self.outcome}:{self.reason}" if self.reason else f"{self.stage}={self.outcome}"


@dataclass(frozen=True, slots=True)
class TraceParent:
    """A W3C Trace Context `traceparent` (level 1), and the tracestate that came with it ("" where none did)."""

    trace_id: int
    span_id: int
    sampled: bool
    state: str = ""


@dataclass(slots=True)
class DecisionTrace:
    """The path of one request, or of one connection that never became a request.

    Grows by `add` alone.  `trace_id` is 128 bits, the span ids 64; all are chosen when the request begins, because the
    tool server is told of `client_span_id` long before a span is made.  `decision_id` names this decision in refusals,
    tokens (`txn`) and records.  `evidence` is what the audit log says of the request beyond the records, and `answer`
    what it says of the answer: digests and names, by the log's own field names; no span holds them.  `intent` and `refusal` are the number of the call's record in that log,
    once it has one, and `is_on_record` whether nothing more is to be told there.
    """

    decision_id: str
    trace_id: int
    server_span_id: int
    authorize_span_id: int
    mint_span_id: int
    client_span_id: int
    started_ns: int
    ended_ns: int = 0
    parent: TraceParent | None = None
    link: TraceParent | None = None
    evidence: dict[str, object] = field(default_factory=dict)
    answer: dict[str, object] = field(default_factory=dict)
    intent: int | None = None
    refusal: int | None = None
    is_on_record: bool = False
    records: list[StageRecord] = field(default_factory=list)

    def add(self, record: StageRecord) -> None:
        """Append what the next stage found."""
        self.records.append(record)

    def join(self, remote: TraceParent, *, trusted: bool) -> None:
        """Continue the caller's trace, or only link to it where the caller is of another trust domain.

        A foreign context must not choose our trace id, nor decide what is sampled.
        """
        if trusted:
            self.parent, self.trace_id = remote, remote.trace_id
        else:
            self.link = remote

    def attribute(self, name: str) -> AttributeValue | None:
        """What the first stage that says something of that name says; None where none does."""
        return next((record.attributes[name] for record in self.records if name in record.attributes), None)

    @property
    def path(self) -> tuple[str, ...]:
        """The ordered steps: `("accept=ok", "authenticate=ok", …)`."""
        return tuple(record.step for record in self.records)

    @property
    def decision(self) -> str:
        """`allow` once `decide` let the call through and neither `inspect` nor `approve` stopped it, else `deny`.

        `hold` where a person had not answered when it ended.  A call that never got there is denied.
        """
        decision = "deny"
        for record in self.records:
            if record.stage is _DECIDE and record.outcome is _OK:
                decision = "allow"
            elif record.stage in _AFTER_DECIDE and record.outcome is not _OK:
                return "hold" if record.reason in _HELD else "deny"
        return decision

    @property
    def reason(self) -> str:
        """The `Reason` of the first stage that did not end OK, or ""."""
        return next((r.reason for r in self.records if r.outcome is not _OK), "")
