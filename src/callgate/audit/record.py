"""What the records of requests say: projections of a `DecisionTrace`.

Never an argument, a token or a key: arguments, tokens and answers by their SHA-256 alone.  docs/reference/audit.md has
every field.  Pure.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from callgate.audit.entries import Status
from callgate.errors import Reason
from callgate.telemetry import names
from callgate.trace import AttributeValue, DecisionTrace, Outcome, Stage, StageRecord

# Those that apply come first, and a rule that does not is told to whoever asks `callgate explain`.
MAX_RULES: Final = 16
# What a caller wrote is 200 of it at the most; the rest are our own words.
MAX_DETAIL_CHARACTERS: Final = 400

_OK: Final = Outcome.OK
_STEPS: Final = {stage: f"{stage}=ok" for stage in Stage}
_AFTER_INTENT: Final = frozenset({Stage.RECORD, Stage.FORWARD, Stage.SCREEN, Stage.RESPOND})
_CANCELLED: Final = frozenset({Reason.CLIENT_GONE, Reason.CLIENT_STALLED, Reason.GATE_SHUTTING_DOWN})
# What the log takes over from the attributes of each stage, and under which name.
_TAKEN: Final[Mapping[Stage, tuple[tuple[str, str], ...]]] = {
    Stage.AUTHENTICATE: ((names.WORKLOAD_SPIFFE_ID, "caller"),),
    Stage.READ: (
        (names.MCP_METHOD_NAME, "method"),
        (names.GEN_AI_TOOL_NAME, "tool"),
        (names.MCP_PROTOCOL_VERSION, "revision"),
        (names.HTTP_REQUEST_BODY_SIZE, "size"),
        (names.JSONRPC_REQUEST_ID, "rpc"),
    ),
    Stage.IDENTIFY: ((names.SERVER, "server"), (names.DECLARED_PURPOSE, "purpose")),
    Stage.DECIDE: ((names.POLICY_DIGEST, "policy"),),
    Stage.INSPECT: (
        (names.MASKED_ARGUMENTS, "masked_arguments"),
        (names.TOOL_DIGEST, "definition"),
    ),
}
# To name a member of an enumeration takes 0.1 µs.
_ACCEPT, _AUTHENTICATE, _DECIDE = Stage.ACCEPT, Stage.AUTHENTICATE, Stage.DECIDE
_SCREENED: Final = {names.MASKED: "masked", names.DECEPTIVE: "deceptive", names.TOOLS_DRIFTED: "drifted"}
_TOKEN_FIELDS: Final = {
    names.CLAIM_JTI: "jti",
    names.CLAIM_AUD: "aud",
    names.CLAIM_EXP: "exp",
    names.CLAIM_SCOPE: "scope",
}


def request_fields(path: DecisionTrace) -> dict[str, object]:
    """What is known of a request, as far as it came: of intents, refusals and messages that end at the gate."""
    said: dict[str, object] = {
        "decision": path.decision_id,
        "trace": f"{path.trace_id:032x}",
        "span": f"{path.server_span_id:016x}",
        **path.evidence,
    }
    for record in path.records:
        stage, attributes = record.stage, record.attributes
        for name, field in _TAKEN.get(stage, ()):
            if (value := attributes.get(name)) is not None:
                said[field] = value
        if stage is _ACCEPT:
            said["address"] = f"{attributes.get(names.CLIENT_ADDRESS)}:{attributes.get(names.CLIENT_PORT)}"
        elif stage is _AUTHENTICATE and (leaf := attributes.get(names.TLS_CLIENT_HASH_SHA256)):
            said["leaf"] = str(leaf).lower()
        elif stage is _DECIDE:
            _add_decision(said, record)
    said["path"] = steps(path.records)
    return said


def intent_fields(path: DecisionTrace, token_sha256: str) -> dict[str, object]:
    """The record of a call that is about to be forwarded."""
    said = request_fields(path)
    minted = path.records[-1].attributes
    said["token"] = {"sha256": token_sha256, **{field: minted[name] for name, field in _TOKEN_FIELDS.items()}}
    return said


def refusal_fields(path: DecisionTrace, answered: Mapping[str, int] | None) -> dict[str, object]:
    """The record of a request or connection that was refused.  `answered`: the HTTP status and the JSON-RPC code."""
    said = request_fields(path)
    refused = first_refused(path)
    if refused is not None:
        said |= {
            "stage": refused.stage,
            "reason": refused.reason,
            "detail": refused.detail[:MAX_DETAIL_CHARACTERS],
        }
    return said | ({"answered": answered} if answered else {})


def outcome_fields(path: DecisionTrace, ended_ns: int) -> dict[str, object]:
    """The record of how a call ended."""
    after = [record for record in path.records if record.stage in _AFTER_INTENT]
    forward = next((record for record in after if record.stage is Stage.FORWARD), None)
    screened = next((record for record in after if record.stage is Stage.SCREEN), None)
    said: dict[str, object] = {
        "decision": path.decision_id,
        "trace": f"{path.trace_id:032x}",
        "status": status_of(forward, screened),
        "reason": next((record.reason for record in after if record.outcome is not _OK), ""),
        # The clock may have been set back meanwhile.
        "took_us": max(0, ended_ns - after[0].started_ns) // 1000 if after else 0,
        **path.answer,
    }
    for record in (forward, screened):
        if record is not None:
            said |= _forwarded(record.attributes)
    said["path"] = steps(after)
    return said


def status_of(forward: StageRecord | None, screened: StageRecord | None) -> Status:
    """What became of a call that was recorded; `forward` is None where it never got to its tool server."""
    if forward is None:
        return Status.NOT_FORWARDED
    if forward.outcome is not _OK:
        return Status.CANCELLED if forward.reason in _CANCELLED else Status.FAILED
    if screened is not None and screened.outcome is not _OK:
        return Status.WITHHELD
    if forward.attributes.get(names.ERROR_TYPE) == "tool_error":
        return Status.TOOL_ERROR
    return Status.RPC_ERROR if names.RPC_RESPONSE_STATUS_CODE in forward.attributes else Status.ANSWERED


def first_refused(path: DecisionTrace) -> StageRecord | None:
    """The first stage that did not end well."""
    return next((record for record in path.records if record.outcome is not _OK), None)


def steps(records: Iterable[StageRecord]) -> list[str]:
    """The stages in order: `accept=ok`, `decide=refused:no_grant`."""
    return [_STEPS[record.stage] if record.outcome is _OK else record.step for record in records]


def _add_decision(said: dict[str, object], record: StageRecord) -> None:
    findings = record.findings
    if record.outcome is _OK:
        # Why a call was allowed; that others say nothing to it is no part of that.
        findings = tuple([finding for finding in findings if finding.matched])
    said["reason"] = record.reason
    said["rules"] = findings[:MAX_RULES]
    if len(findings) > MAX_RULES:
        said["more_rules"] = len(findings) - MAX_RULES
    attributes = record.attributes
    if (decision := attributes.get(names.SHADOW_DECISION)) is not None:
        reason = attributes.get(names.SHADOW_REASON, "")
        said["shadow"] = {"decision": decision, "reason": reason, "rules": attributes.get(names.SHADOW_RULES, ())}


def _forwarded(attributes: Mapping[str, AttributeValue]) -> dict[str, object]:
    found: dict[str, object] = {}
    if (status := attributes.get(names.HTTP_RESPONSE_STATUS_CODE)) is not None:
        found["http"] = status
    if (hidden := attributes.get(names.TOOLS_HIDDEN)) is not None:
        found["hidden"] = hidden
    for name, field in _SCREENED.items():
        if value := attributes.get(name):
            found[field] = value
    return found
