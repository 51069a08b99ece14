"""Decision traces to test with: what the gate would leave of one call, with times of our own choosing."""

from dataclasses import replace

from callgate.errors import Reason
from callgate.telemetry import names
from callgate.trace import AttributeValue, DecisionTrace, Finding, Outcome, Stage, StageRecord

START_NS = 1_800_000_000_000_000_000
TRACE_ID = 0x4BF92F3577B34DA6A3CE929D0E0E4736
SERVER_SPAN_ID = 0x00F067AA0BA902B7
AUTHORIZE_SPAN_ID = 0xA1
MINT_SPAN_ID = 0xA2
CLIENT_SPAN_ID = 0xA3
AGENT = "spiffe://acme.test/ns/billing/sa/agent"

GRANT = Finding("billing-reads-invoices", "grant", matched=True, why="tool matches get_invoice")
OTHER_GRANT = Finding("refunds", "grant", matched=False, why="workload is not spiffe://acme.test/ns/ops/**")
DENIAL = Finding("nobody-refunds-the-house", "denial", matched=False, why="tool is not refund")

_DETAILS: dict[Stage, dict[str, AttributeValue]] = {
    Stage.ACCEPT: {
        names.CLIENT_ADDRESS: "127.0.0.1",
        names.CLIENT_PORT: 40404,
        names.TLS_PROTOCOL_NAME: "tls",
        names.TLS_PROTOCOL_VERSION: "1.3",
        names.TLS_CIPHER: "TLS_AES_256_GCM_SHA384",
    },
    Stage.AUTHENTICATE: {
        names.WORKLOAD_SPIFFE_ID: AGENT,
        names.WORKLOAD_TRUST_DOMAIN: "acme.test",
        names.TLS_CLIENT_NOT_AFTER: "2027-01-15T09:00:00Z",
        names.TLS_CLIENT_HASH_SHA256: "0F" * 32,
    },
    Stage.READ: {
        names.HTTP_REQUEST_METHOD: "POST",
        names.HTTP_ROUTE: "/{server}/mcp",
        names.HTTP_REQUEST_BODY_SIZE: 212,
        names.NETWORK_PROTOCOL_NAME: "http",
        names.NETWORK_PROTOCOL_VERSION: "1.1",
    },
    Stage.IDENTIFY: {
        names.MCP_METHOD_NAME: "tools/call",
        names.GEN_AI_TOOL_NAME: "get_invoice",
        names.JSONRPC_REQUEST_ID: "3",
        names.MCP_PROTOCOL_VERSION: "2026-07-28",
        names.SERVER: "ledger",
    },
    Stage.DECIDE: {names.POLICY_DIGEST: "sha256:5b1c"},
    Stage.INSPECT: {names.MASKED_ARGUMENTS: ("card=1",)},
    Stage.APPROVE: {
        names.APPROVAL_ID: "ad" * 16,
        names.APPROVAL_STATE: "used",
        names.APPROVAL_WAITED: 12.5,
        names.APPROVAL_PEOPLE: 1,
        names.APPROVAL_MEANS: ("oidc",),
        names.APPROVAL_REPEAT: False,
    },
    Stage.MINT: {
        names.CLAIM_AUD: "https://ledger.acme.test/mcp",
        names.CLAIM_SUB: AGENT,
        names.CLAIM_ACT: "spiffe://acme.test/gate",
        names.CLAIM_SCOPE: "ledger.read tool:get_invoice",
        names.CLAIM_EXP: START_NS // 1_000_000_000 + 20,
        names.CLAIM_JTI: "b7Vq0pX1Qd6",
    },
    Stage.RECORD: {
        names.AUDIT_ORIGIN: "gate.acme.test/audit",
        names.AUDIT_SEQUENCE: 4711,
        names.AUDIT_SESSION: "5e5e5e5e5e5e5e5e",
        names.AUDIT_RECORD: "digest",
    },
    Stage.FORWARD: {
        names.SERVER_ADDRESS: "ledger.acme.test",
        names.SERVER_PORT: 8443,
        names.SERVER_SPIFFE_ID: "spiffe://acme.test/tools/ledger",
        names.HTTP_RESPONSE_STATUS_CODE: 200,
    },
    Stage.SCREEN: {names.MASKED: ("email=2",)},
    Stage.RESPOND: {names.HTTP_RESPONSE_STATUS_CODE: 200},
}
# What a call passes where no person has to agree.
USUAL = tuple(stage for stage in Stage if stage is not Stage.APPROVE)
ASKED = Finding("refunds-over-500", "approval", matched=True, why="a person was asked")
APPROVED = Finding("refunds-over-500", "approval", matched=True, why="approved by one person (oidc)")
_FINDINGS = {Stage.DECIDE: (DENIAL, OTHER_GRANT, GRANT), Stage.APPROVE: (ASKED, APPROVED)}
_TOOK_US = {Stage.ACCEPT: 1900, Stage.MINT: 61, Stage.FORWARD: 5200}


def record(stage: Stage, **changes: object) -> StageRecord:
    """The record of a stage that went well; `attributes` among `changes` are added to the usual ones."""
    position = list(Stage).index(stage)
    started = START_NS + position * 10_000_000
    attributes = _DETAILS[stage] | changes.pop("attributes", {})  # type: ignore[operator]
    findings = _FINDINGS.get(stage, ())
    ended = started + _TOOK_US.get(stage, 30) * 1000
    plain = StageRecord(stage, Outcome.OK, started, ended, attributes=attributes, findings=findings)
    return replace(plain, **changes)  # type: ignore[arg-type]


def trace_of(*records: StageRecord) -> DecisionTrace:
    """A finished trace of these records."""
    trace = DecisionTrace(
        "01J-decision", TRACE_ID, SERVER_SPAN_ID, AUTHORIZE_SPAN_ID, MINT_SPAN_ID, CLIENT_SPAN_ID, START_NS
    )
    for each in records:
        trace.add(each)
    trace.ended_ns = START_NS + 90_000_000
    return trace


def allowed() -> DecisionTrace:
    """A tool call that passed every stage, and for which nobody was asked."""
    return trace_of(*map(record, USUAL))


def approved() -> DecisionTrace:
    """The same after a person had agreed."""
    return trace_of(*map(record, Stage))


def held() -> DecisionTrace:
    """A tool call for which a person was asked, and nobody answered while it waited."""
    return refused_at(Stage.APPROVE, Reason.APPROVAL_REQUIRED, findings=(ASKED,))


def refused_at(stage: Stage, reason: Reason, detail: str = "", **changes: object) -> DecisionTrace:
    """A tool call that passed the stages before `stage` and was refused there, without an answer."""
    passed = [record(each) for each in USUAL if list(Stage).index(each) < list(Stage).index(stage)]
    changes = {"outcome": Outcome.REFUSED, "reason": str(reason), "detail": detail} | changes
    return trace_of(*passed, record(stage, **changes))


def denied() -> DecisionTrace:
    """A tool call to which no grant applies, and which was told so."""
    changes = {"attributes": {names.GEN_AI_TOOL_NAME: "refund"}}
    passed = [record(each) for each in (Stage.ACCEPT, Stage.AUTHENTICATE, Stage.READ)]
    decide = record(
        Stage.DECIDE,
        outcome=Outcome.REFUSED,
        reason=str(Reason.NO_GRANT),
        detail="no grant of this workload names the tool",
        findings=(DENIAL, OTHER_GRANT),
    )
    answered = record(Stage.RESPOND, attributes={names.RPC_RESPONSE_STATUS_CODE: "-31403"})
    return trace_of(*passed, record(Stage.IDENTIFY, **changes), decide, answered)
