"""What a trace tells of what passed: names and bounded values, and never an argument or a credential."""

from collections.abc import Mapping

from callgate.answer_screen import AnswerScreen
from callgate.errors import Refusal
from callgate.parts import Inspected
from callgate.policy.decide import Decision
from callgate.telemetry import names
from callgate.tokens.mint import MintedToken
from callgate.trace import AttributeValue
from callgate.wire.jsonrpc import RpcRequest
from callgate.wire.mcp import Request


def what_was_said(request: Request) -> dict[str, AttributeValue]:
    """What one message is, but for its arguments."""
    message = request.message
    said: dict[str, AttributeValue] = {
        names.MCP_METHOD_NAME: message.method,
        names.MCP_PROTOCOL_VERSION: request.revision,
    }
    if isinstance(message, RpcRequest):
        said[names.JSONRPC_REQUEST_ID] = str(message.id)
    if request.tool is not None:
        said |= {names.GEN_AI_TOOL_NAME: request.tool, names.GEN_AI_OPERATION_NAME: "execute_tool"}
    return said


def by_shadow_rules(decision: Decision) -> dict[str, AttributeValue]:
    """What the rules in shadow would have made of the call."""
    shadow = decision.shadow
    if shadow is None:
        return {}
    found: dict[str, AttributeValue] = {
        names.SHADOW_DECISION: shadow.outcome.value,
        names.SHADOW_RULES: shadow.rules,
    }
    return found | ({names.SHADOW_REASON: shadow.reason.value} if shadow.reason else {})


def by_shadow_policy(decision: Decision) -> dict[str, AttributeValue]:
    """What a whole policy in shadow made of the call."""
    found: dict[str, AttributeValue] = {
        names.SHADOW_POLICY_DECISION: decision.outcome.value,
        names.SHADOW_POLICY_DIGEST: decision.policy_digest,
        names.SHADOW_POLICY_RULES: tuple(finding.rule for finding in decision.findings if finding.matched),
    }
    return found | ({names.SHADOW_POLICY_REASON: decision.reason.value} if decision.reason else {})


def token_claims(token: MintedToken) -> dict[str, AttributeValue]:
    """What the trace tells of the token: its claims, and never the token."""
    claims = token.claims
    act = claims["act"]
    told: dict[str, AttributeValue] = {
        names.CLAIM_AUD: str(claims["aud"]),
        names.CLAIM_SUB: str(claims["sub"]),
        names.CLAIM_SCOPE: str(claims["scope"]),
        names.CLAIM_EXP: token.expires,
        names.CLAIM_JTI: token.jti,
        names.CLAIM_BOUND: "cnf" in claims,
    }
    return told | {names.CLAIM_ACT: str(act["sub"])} if isinstance(act, dict) else told


def found_in_arguments(found: Inspected | Refusal) -> dict[str, AttributeValue]:
    """What was masked in the arguments, by name; and what the tool was."""
    if isinstance(found, Refusal):
        return {}
    told: dict[str, AttributeValue] = {}
    if found.found.counts:
        told[names.MASKED_ARGUMENTS] = counted(found.found.counts)
    return told if found.definition is None else {**told, names.TOOL_DIGEST: found.definition.digest}


def found_in_answer(screen: AnswerScreen) -> dict[str, AttributeValue]:
    """What was masked in what the tool server said, what of it deceives, and which tools are not what was approved."""
    tally = screen.found
    told: dict[str, AttributeValue] = {}
    if tally.counts:
        told[names.MASKED] = counted(tally.counts)
    if tally.deceptive:
        told[names.DECEPTIVE] = counted(tally.deceptive)
    if screen.drifted:
        told[names.TOOLS_DRIFTED] = tuple(screen.drifted)
    return told


def counted(counts: Mapping[str, int]) -> tuple[str, ...]:
    """`name=count`, the same order each time."""
    return tuple([f"{name}={counts[name]}" for name in sorted(counts) if counts[name]])
