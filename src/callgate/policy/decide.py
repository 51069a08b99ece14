"""The decision on one call: this workload, this server, this method, this tool, under this policy.

Default deny.  In order: a denial that names the caller and the tool beats every grant; a grant that names both allows;
a grant on the server allows the methods without which no tool can be called; everything else is denied.  The order of
rules in the file never matters to the outcome.
"""

from dataclasses import InitVar, dataclass
from enum import StrEnum
from typing import Final

from callgate.errors import GatewayError, Reason
from callgate.identity.spiffe_id import SpiffeId
from callgate.policy.compile import MAX_FINDINGS, Bound, Policy, Rule, View
from callgate.policy.model import DEFAULT_DENY, MORE_RULES
from callgate.policy.patterns import TOOL_NAME
from callgate.trace import Finding
from callgate.wire.json_strict import JsonObject

# What a client needs to get to a tool.  Whoever may call any tool of a server may say these to it, and nothing more.
# The last three end at the gate (`callgate.wire.methods`, ABSORBED): a client that sends one must not be thrown out.
IMPLIED_METHODS: Final = frozenset(
    {
        "initialize",
        "notifications/initialized",
        "ping",
        "server/discover",
        "tools/list",
        "notifications/cancelled",
        "notifications/progress",
        "notifications/roots/list_changed",
    }
)


class DecisionOutcome(StrEnum):
    """What a decision comes to."""

    ALLOW = "allow"
    DENY = "deny"


@dataclass(frozen=True, slots=True)
class Call:
    """What is asked for.

    `tool` and `arguments` are there for `tools/call` alone.
    """

    caller: SpiffeId
    server: str
    method: str
    tool: str | None
    arguments: JsonObject | None


class ForgedPermit(GatewayError):  # noqa: N818  # says what it is
    """Something other than `decide` tried to make a Permit: a fault in the gate's own code."""


class _Seal:
    """What only this module has."""


_SEAL: Final = _Seal()


@dataclass(frozen=True, slots=True)
class Permit:
    """The value that unlocks minting and forwarding.  Only `decide` makes one: anything else raises ForgedPermit.

    The guard is against mistakes in the gate's own code, such as a path that forwards without a decision; Python has
    none against malice within the process.

    `grants` are the ids of the grants that allow the call.  `scopes` is what the token may say beside the scopes that
    the gate writes: for `tools/call` the union over those grants in the order of the file; for `tools/list` that of
    all the caller's grants on the server, for servers that show their list by scope; else nothing.  `ttl_s` is the
    smallest of those grants', None where none says.  `listable` are the tools that the caller's grants name exactly
    and that it can call; for `tools/list` alone.
    """

    seal: InitVar[_Seal]
    call: Call
    scopes: tuple[str, ...]
    ttl_s: int | None
    grants: tuple[str, ...]
    policy_digest: str
    listable: tuple[str, ...] = ()

    def __post_init__(self, seal: _Seal) -> None:
        if seal is not _SEAL:
            raise ForgedPermit("a permit comes from decide() and nowhere else")


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided, and the rules that were looked at.

    `findings` has the rules that apply, then those about this caller that do not, then those about others, each in the
    order of the file: no more than MAX_FINDINGS, then how many more there are (`more-rules`), and where no rule
    decided, `default-deny` last.  `reason` is None and `permit` is there exactly when the outcome is ALLOW.
    """

    outcome: DecisionOutcome
    reason: Reason | None
    findings: tuple[Finding, ...]
    policy_digest: str
    permit: Permit | None


def decide(policy: Policy, call: Call) -> Decision:
    """Decide on one call.  Total: any call gets a decision, and what is not known is denied."""
    view = policy.view(call.caller, call.server)
    if call.method == "tools/call":
        return _decide_tool(policy, call, view)
    if call.method not in IMPLIED_METHODS or call.tool is not None:
        return _deny_by_default(policy, (), _NO_METHOD)
    if not view.grants:
        return _deny_by_default(policy, _capped(view.others, view.uncounted), _NO_WORKLOAD)
    looked_at = (*view.implied, *view.others)
    findings = _capped(looked_at, view.uncounted + len(view.grants) - len(view.implied))
    return _allow(_permit_for_implied(policy, call, view), findings)


def tool_is_visible(policy: Policy, caller: SpiffeId, server: str, tool: str) -> bool:
    """Whether a list shows `tool` to `caller`: exactly when `decide` would allow a call of it."""
    return TOOL_NAME.fullmatch(tool) is not None and policy.view(caller, server).allows(tool)


def _decide_tool(policy: Policy, call: Call, view: View) -> Decision:
    tool = call.tool
    if tool is None or TOOL_NAME.fullmatch(tool) is None:
        return _deny_by_default(policy, (), _NO_TOOL)
    denying, missed_denials = _sorted_out(view.denials, tool)
    granting, missed_grants = _sorted_out(view.grants, tool)
    looked_at = (
        *[bound.rule.applies(pattern, bound.workload) for bound, pattern in denying],
        *[bound.rule.applies(pattern, bound.workload) for bound, pattern in granting],
        *missed_denials,
        *missed_grants,
        *view.others,
    )
    findings = _capped(looked_at, view.uncounted)
    if denying:
        return Decision(DecisionOutcome.DENY, Reason.DENIED, findings, policy.digest, None)
    if not granting:
        return _deny_by_default(policy, findings, _NO_TOOL_GRANT if view.grants else _NO_WORKLOAD)
    return _allow(_permit_for_tool(policy, call, [bound.rule for bound, _ in granting]), findings)


def _sorted_out(rules: tuple[Bound, ...], tool: str) -> tuple[list[tuple[Bound, str]], list[Finding]]:
    """The rules that name `tool`, each with the pattern that does; and what is found of the others."""
    naming: list[tuple[Bound, str]] = []
    missed: list[Finding] = []
    for bound in rules:
        pattern = bound.rule.tool_match(tool)
        if pattern is None:
            missed.append(bound.rule.other_tool)
        else:
            naming.append((bound, pattern))
    return naming, missed


def _permit_for_tool(policy: Policy, call: Call, grants: list[Rule]) -> Permit:
    return Permit(
        _SEAL,
        call,
        scopes=tuple(dict.fromkeys(scope for rule in grants for scope in rule.scopes)),
        ttl_s=min((rule.ttl_s for rule in grants if rule.ttl_s is not None), default=None),
        grants=tuple(rule.id for rule in grants),
        policy_digest=policy.digest,
    )


def _permit_for_implied(policy: Policy, call: Call, view: View) -> Permit:
    lists = call.method == "tools/list"
    return Permit(
        _SEAL,
        call,
        scopes=view.scopes if lists else (),
        ttl_s=None,
        grants=view.grant_ids,
        policy_digest=policy.digest,
        listable=view.listable if lists else (),
    )


def _allow(permit: Permit, findings: tuple[Finding, ...]) -> Decision:
    return Decision(DecisionOutcome.ALLOW, None, findings, permit.policy_digest, permit)


def _deny_by_default(policy: Policy, findings: tuple[Finding, ...], default: Finding) -> Decision:
    return Decision(DecisionOutcome.DENY, Reason.NO_GRANT, (*findings, default), policy.digest, None)


def _capped(looked_at: tuple[Finding, ...], uncounted: int) -> tuple[Finding, ...]:
    more = uncounted + max(0, len(looked_at) - MAX_FINDINGS)
    if not more:
        return looked_at
    why = f"{more} more of this server's rules were looked at; those that apply stand first"
    return (*looked_at[:MAX_FINDINGS], Finding(MORE_RULES, "default", matched=False, why=why))


def _default(why: str) -> Finding:
    return Finding(DEFAULT_DENY, "default", matched=True, why=why)


_NO_WORKLOAD: Final = _default("no grant on this server names this workload")
_NO_TOOL_GRANT: Final = _default("none of this workload's grants on this server names this tool")
_NO_TOOL: Final = _default("the call names no tool of 1 to 128 letters, digits, '_', '-' and '.'")
_NO_METHOD: Final = _default("no grant allows this method")
