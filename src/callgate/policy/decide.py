"""The decision on one call: this workload, this user, this tool, these arguments, now, under this policy.

Default deny.  In order: a denial that applies beats every grant; a grant that applies allows; a grant on the server
allows the methods without which no tool can be called; everything else is denied.  The order of rules in the file never
matters to the outcome.  Rules in shadow are looked at as the others are, and change nothing.
"""

from collections.abc import Iterable, Iterator
from dataclasses import InitVar, dataclass, replace
from enum import StrEnum
from typing import Final

from callgate.errors import GatewayError, Reason
from callgate.policy.approval import Approval
from callgate.policy.call import Call
from callgate.policy.compile import Policy
from callgate.policy.limit import Limit
from callgate.policy.model import DEFAULT_DENY
from callgate.policy.patterns import TOOL_NAME
from callgate.policy.record_level import RecordLevel, strongest
from callgate.policy.rule import Rule
from callgate.policy.screens import UNSCREENED
from callgate.policy.view import MAX_FINDINGS, Bound, Judged, Naming, ToolRules, View, capped
from callgate.screening.terms import Screening
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
# What it takes to ask for a list, in both revisions.
_OWN_METHODS: Final = frozenset({"initialize", "notifications/initialized", "tools/list"})
# Of all names that a token for `tools/list` may carry, so that it fits into a header line of 8 KiB.
MAX_LISTABLE_CHARACTERS: Final = 3_000
# Tools that are looked at for it: each may take a condition's evaluation, some ten microseconds.
_MAX_LISTABLE: Final = 500


class DecisionOutcome(StrEnum):
    """What a decision comes to."""

    ALLOW = "allow"
    DENY = "deny"


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

    `grants` are the ids of the grants that allow the call; what they oblige to adds up.  `scopes` is what the token may
    say beside the scopes that the gate writes: for `tools/call` the union over those grants in the order of the file;
    for `tools/list` that of the caller's grants on the server that could allow a call, for servers that show their list
    by scope; else nothing.  `ttl_s` is the smallest of those grants', None where none says, and `not_after` the moment
    (Unix seconds) at which the first of them ends.  `limits` is what has to be counted.  `approvals`: what people have to agree to, and all of it.  `listable` are the tools that
    the caller's grants name exactly and that it could call; for `tools/list` alone.  `record` is how much goes on record:
    the most that one of those grants asks for; None where none says, and for other methods than `tools/call`: then the
    server's default counts.  `screening` is what arguments and answers are screened by: what the policy says of the
    server, less what all of those grants unmask, and what any of them masks.
    """

    seal: InitVar[_Seal]
    call: Call
    scopes: tuple[str, ...]
    ttl_s: int | None
    grants: tuple[str, ...]
    policy_digest: str
    listable: tuple[str, ...] = ()
    limits: tuple[Limit, ...] = ()
    approvals: tuple[Approval, ...] = ()
    not_after: float | None = None
    record: RecordLevel | None = None
    screening: Screening = UNSCREENED

    @property
    def is_held(self) -> bool:
        """Whether people are asked, whatever stands in the arguments."""
        return any(not approval.only_held for approval in self.approvals)

    def __post_init__(self, seal: _Seal) -> None:
        if seal is not _SEAL:
            raise ForgedPermit("a permit comes from decide() and nowhere else")


@dataclass(frozen=True, slots=True)
class ShadowOutcome:
    """What would have been decided, had the rules in shadow been enforced; `rules` are those of them that applied."""

    outcome: DecisionOutcome
    reason: Reason | None
    rules: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided, and the rules that were looked at.

    `findings` has the rules that apply, then those about this caller that do not, then those about others, each in the
    order of the file: no more than MAX_FINDINGS, then how many more there are (`more-rules`), and where no rule
    decided, `default-deny` last.  `reason` is None and `permit` is there exactly when the outcome is ALLOW.  `shadow` is
    there where rules in shadow name the caller and the tool.

    `is_remembered`: whether a denial counts in the workload's history.  One that earlier denials alone brought about does
    not: a workload that is shut out for ten minutes would never get in again.
    """

    outcome: DecisionOutcome
    reason: Reason | None
    findings: tuple[Finding, ...]
    policy_digest: str
    permit: Permit | None
    shadow: ShadowOutcome | None = None
    is_remembered: bool = True


def decide(policy: Policy, call: Call, *, for_scoped_list: bool = True) -> Decision:
    """Decide on one call.  Total: any call gets a decision, and what is not known is denied.

    `for_scoped_list`: whether the token of a `tools/list` is to say what the caller may call; to work that out takes
    some time where a workload has hundreds of grants.
    """
    view = policy.view(call.caller, call.server, call.now)
    if call.method == "tools/call":
        return _decide_tool(policy, call, view)
    if call.method not in IMPLIED_METHODS or call.tool is not None:
        return _deny_by_default(policy, (), _NO_METHOD)
    if not view.has_grants:
        return _deny_by_default(policy, capped((*view.asleep, *view.others), view.uncounted), _NO_WORKLOAD)
    granting = [bound for bound in view.grants if not bound.rule.shadow]
    implied = [_implies(bound) for bound in granting[:MAX_FINDINGS]]
    findings = capped((*implied, *view.asleep, *view.others), view.uncounted + len(granting) - len(implied))
    return Decision(
        DecisionOutcome.ALLOW,
        None,
        findings,
        policy.digest,
        _permit_for_implied(policy, call, granting, for_scoped_list=for_scoped_list),
    )


def tool_is_visible(policy: Policy, call: Call, tool: str) -> bool:
    """Whether the answer to `call`, a `tools/list`, shows `tool`: exactly when some call of it could be allowed now.

    What only the call itself can tell (its arguments, its purpose) is taken to be in its favour; all else is as for a
    call: the user, the time, what the workload did before.
    """
    return Listing(policy, call).shows(tool, call.annotations)


class Listing:
    """What the answer to one `tools/list` shows.

    For the length of one answer: what a rule says of every tool alike is asked once and not for each of them, which could
    take seconds.
    """

    def __init__(self, policy: Policy, call: Call) -> None:
        self._policy = policy
        self._call = call
        self._view = policy.view(call.caller, call.server, call.now)
        self._said: dict[int, bool] = {}
        self._shown: dict[str, bool] = {}

    def shows(self, tool: str, annotations: JsonObject | None) -> bool:
        """As `tool_is_visible`; `annotations` are those of the tool, and the same each time."""
        if tool not in self._shown:
            self._shown[tool] = TOOL_NAME.fullmatch(tool) is not None and self._could_be_allowed(tool, annotations)
        return self._shown[tool]

    def opens(self, rule: Rule) -> bool:
        """Whether the workload could call any tool that a grant names, as far as that can be told without the list."""
        if not rule.wild_tools:
            return any(self.shows(tool.text, None) for tool in rule.tools[:_MAX_LISTABLE])
        of_all = (bound.rule for bound in self._view.denials if bound.rule.is_about_all_tools and not bound.rule.shadow)
        return self._said_of(rule, self._call) and not any(self._said_of(denial, self._call) for denial in of_all)

    def _could_be_allowed(self, tool: str, annotations: JsonObject | None) -> bool:
        rules = self._view.on(tool)
        granting = [each.rule for each in rules.grants if not each.rule.shadow]
        if not granting:
            return False
        asked = replace(self._call, method="tools/call", tool=tool, arguments={}, annotations=annotations)
        if any(self._said_of(each.rule, asked) for each in rules.denials if not each.rule.shadow):
            return False
        return any(self._said_of(rule, asked) for rule in granting)

    def _said_of(self, rule: Rule, asked: Call) -> bool:
        """Whether a grant might apply, or a denial must."""
        said = self._said.get(id(rule))
        if said is None:
            says = rule.could_apply if rule.kind == "grant" else rule.must_apply
            said = says(asked, self._policy.tags)
            if not rule.reads_tool:
                self._said[id(rule)] = said
        return said


def with_arguments(policy: Policy, permit: Permit, arguments: JsonObject) -> Permit | None:
    """The same permit for the same call, with what masking left of its arguments; None where that must not be sent.

    Conditions see what the agent wrote.  But a program out of which something was taken is another one, and what a
    denial keeps out must not come about by masking: denials, and grants that read programs, have to say the same of the
    call as it is sent.  The token's scopes say what is left, too.
    """
    before, after = permit.call, replace(permit.call, arguments=arguments)
    rules = policy.view(before.caller, before.server, before.now).on(before.tool or "")
    for naming in _bound_to_what_is_sent(rules, permit):
        is_denial = naming.rule.kind == "denial"
        # Of both at this moment: that the call itself is part of the history by now makes no difference.
        if rules.applies(naming, after, policy.tags) is is_denial and (
            rules.applies(naming, before, policy.tags) is not is_denial
        ):
            return None
    scopes = [_scopes_of(naming.rule, after) for naming in rules.grants if naming.rule.id in permit.grants]
    if None in scopes:
        return None
    said = tuple(dict.fromkeys(scope for each in scopes for scope in each or ()))
    return replace(permit, seal=_SEAL, call=after, scopes=said)


def _bound_to_what_is_sent(rules: ToolRules, permit: Permit) -> Iterator[Naming]:
    for naming in rules.denials:
        if not naming.rule.shadow:
            yield naming
    for naming in rules.grants:
        condition = naming.rule.condition
        if naming.rule.id in permit.grants and condition is not None and condition.cel and condition.cel.readings:
            yield naming


def _scopes_of(rule: Rule, call: Call) -> tuple[str, ...] | None:
    """None where one of them cannot be written from this call."""
    filled = rule.filled_scopes(call)
    return None if isinstance(filled, Finding) else filled


def _decide_tool(policy: Policy, call: Call, view: View) -> Decision:
    tool = call.tool
    if tool is None or TOOL_NAME.fullmatch(tool) is None:
        return _deny_by_default(policy, (), _NO_TOOL)
    rules = view.on(tool)
    judged = rules.judged(call, policy.tags)
    findings = judged.findings
    shadow = _shadow_outcome(judged) if rules.has_shadow else None
    is_remembered = not judged.earlier_denials_stood_in_the_way
    if judged.enforced_denials:
        return Decision(DecisionOutcome.DENY, Reason.DENIED, findings, policy.digest, None, shadow, is_remembered)
    if grants := judged.enforced_grants:
        permit = _permit_for_tool(policy, call, grants, judged.scopes)
        return Decision(DecisionOutcome.ALLOW, None, findings, policy.digest, permit, shadow)
    naming = any(not naming.rule.shadow for naming in rules.grants)
    default = _NO_GRANT_APPLIES if naming else _NO_TOOL_GRANT if view.has_grants else _NO_WORKLOAD
    decision = _deny_by_default(policy, findings, default)
    return replace(decision, shadow=shadow, is_remembered=is_remembered)


def _shadow_outcome(judged: Judged) -> ShadowOutcome:
    rules = tuple(n.rule.id for n in (*judged.denying, *judged.granting) if n.rule.shadow)
    if judged.denying:
        return ShadowOutcome(DecisionOutcome.DENY, Reason.DENIED, rules)
    if not judged.granting:
        return ShadowOutcome(DecisionOutcome.DENY, Reason.NO_GRANT, rules)
    return ShadowOutcome(DecisionOutcome.ALLOW, None, rules)


def _permit_for_tool(policy: Policy, call: Call, granting: tuple[Naming, ...], scopes: tuple[str, ...]) -> Permit:
    rules = [naming.rule for naming in granting]
    ids = tuple([rule.id for rule in rules])
    return Permit(
        _SEAL,
        call,
        scopes=tuple(dict.fromkeys(scopes)),
        ttl_s=min((rule.ttl_s for rule in rules if rule.ttl_s is not None), default=None),
        grants=ids,
        policy_digest=policy.digest,
        limits=tuple([rule.limit for rule in rules if rule.limit is not None]),
        approvals=tuple([rule.approval for rule in rules if rule.approval is not None]),
        not_after=min((naming.ends for naming in granting if naming.ends is not None), default=None),
        record=strongest(rule.record for rule in rules),
        screening=policy.screening.of_call(call.server, call.tool, ids, rules),
    )


def _permit_for_implied(policy: Policy, call: Call, granting: list[Bound], *, for_scoped_list: bool) -> Permit:
    listing = Listing(policy, call) if call.method == "tools/list" and for_scoped_list else None
    return Permit(
        _SEAL,
        call,
        scopes=_list_scopes(listing, call, granting) if listing else (),
        ttl_s=None,
        grants=tuple(bound.rule.id for bound in granting),
        policy_digest=policy.digest,
        listable=_listable(listing, granting) if listing else (),
        screening=policy.screening.of_call(call.server, None, (), ()),
    )


def _list_scopes(listing: Listing, call: Call, granting: list[Bound]) -> tuple[str, ...]:
    """The scopes of the grants that could allow a call; those that only a call itself can write are left out."""
    opening = (b.rule for b in granting if b.rule.scopes and listing.opens(b.rule))
    filled = (scope.fill(call) for rule in opening for scope in rule.scopes if not scope.reads_call)
    return tuple(dict.fromkeys(scope for scope in filled if scope is not None))


def _listable(listing: Listing, granting: list[Bound]) -> tuple[str, ...]:
    named = dict.fromkeys(tool.text for bound in granting for tool in bound.rule.tools if tool.is_exact)
    return tuple(_that_fit(tool for tool in tuple(named)[:_MAX_LISTABLE] if listing.shows(tool, None)))


def _implies(bound: Bound) -> Finding:
    return bound.rule.finding(f"{bound.workload}; a grant of any tool implies this method", matched=True)


def _deny_by_default(policy: Policy, findings: tuple[Finding, ...], default: Finding) -> Decision:
    return Decision(DecisionOutcome.DENY, Reason.NO_GRANT, (*findings, default), policy.digest, None)


def _default(why: str) -> Finding:
    return Finding(DEFAULT_DENY, "default", matched=True, why=why)


_NO_WORKLOAD: Final = _default("no grant on this server names this workload")
_NO_TOOL_GRANT: Final = _default("none of this workload's grants on this server names this tool")
_NO_GRANT_APPLIES: Final = _default("none of this workload's grants that name this tool applies to this call")
_NO_TOOL: Final = _default("the call names no tool of 1 to 128 letters, digits, '_', '-' and '.'")
_NO_METHOD: Final = _default("no grant allows this method")


def permit_own_listing(
    policy: Policy, call: Call, tools: Iterable[str] = (), record: RecordLevel | None = None
) -> Permit:
    """What the gate may ask a tool server on its own account: which tools it has, and what has to be said before that.

    `call.caller` is the gate itself.  The token may say what any grant on the server says and name its tools, and
    `tools`, for servers that show their list by scope.  Raises ForgedPermit for any other method.
    """
    if call.method not in _OWN_METHODS or call.tool is not None:
        raise ForgedPermit("the gate asks which tools there are, and nothing else")
    granting = [rule for rule in policy.rules.get(call.server, ()) if rule.kind == "grant" and not rule.shadow]
    named = dict.fromkeys((*tools, *(tool.text for rule in granting for tool in rule.tools if tool.is_exact)))
    scopes = dict.fromkeys(scope for rule in granting for scope in rule.fixed_scopes or ())
    return Permit(
        _SEAL,
        call,
        scopes=tuple(scopes),
        ttl_s=None,
        grants=(),
        policy_digest=policy.digest,
        listable=tuple(_that_fit(named)),
        record=record,
    )


def _that_fit(names: Iterable[str]) -> Iterator[str]:
    """As many of the names as a token has room for."""
    room = MAX_LISTABLE_CHARACTERS
    for name in names:
        room -= len(name)
        if room < 0:
            return
        yield name
