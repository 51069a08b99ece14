"""One grant or denial made ready for decisions, and what it says to a call.

A rule applies exactly when its workloads, tools, time, users and condition all do, and a grant only if its scopes can be
written, too.  Where that cannot be told (a condition that fails, a user that is not known), a grant does not apply and a
denial does.
"""

from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from callgate.identity.spiffe_id import SpiffeId
from callgate.identity.user import User
from callgate.policy.approval import Approval
from callgate.policy.call import Call
from callgate.policy.condition import RuleCondition, Truth
from callgate.policy.limit import Limit
from callgate.policy.patterns import ToolPattern, WorkloadPattern
from callgate.policy.record_level import RecordLevel
from callgate.policy.schedule import Schedule
from callgate.policy.tags import ToolTags
from callgate.policy.templates import ScopeTemplate
from callgate.screening.terms import MaskRule
from callgate.trace import Finding

RuleKind: TypeAlias = Literal["grant", "denial"]

# Sentences of one rule that are kept: a rule with many patterns of both sorts would have a million.
MAX_SENTENCES_KEPT: Final = 256


@dataclass(frozen=True, slots=True)
class UsersMatch:
    """On whose behalf a call must come; None stands for "any".  `text` names them in findings."""

    text: str
    issuers: frozenset[str] | None = None
    subjects: frozenset[str] | None = None
    groups: frozenset[str] | None = None

    def matches(self, user: User) -> bool:
        """Whether `user` is one of these: all of what is given holds."""
        return (
            (self.issuers is None or user.issuer in self.issuers)
            and (self.subjects is None or user.subject in self.subjects)
            and (self.groups is None or not self.groups.isdisjoint(user.groups))
        )


@dataclass(frozen=True, slots=True)
class Rule:
    """One grant or denial.

    No `workloads`: a denial for all.  `line` is where it begins in `file`, counted from 1.  `other_workload` and
    `other_tool` are what is found when that does not match.  `is_settled`: workload, tool and time alone tell if it
    applies, whatever the call.  `reads_tool`: it asks for something of a tool that it names.  `fixed_scopes`: its scopes,
    where no call has a part in them.  `unmask` are names of what is masked.
    """

    id: str
    kind: RuleKind
    server: str
    workloads: tuple[WorkloadPattern, ...]
    tools: tuple[ToolPattern, ...]
    exact_tools: frozenset[str]
    wild_tools: tuple[ToolPattern, ...]
    users: UsersMatch | None
    condition: RuleCondition | None
    schedule: Schedule | None
    shadow: bool
    scopes: tuple[ScopeTemplate, ...]
    ttl_s: int | None
    limit: Limit | None
    approval: Approval | None
    record: RecordLevel | None
    mask: tuple[MaskRule, ...]
    unmask: tuple[str, ...]
    mask_arguments: tuple[MaskRule, ...]
    file: str
    line: int
    other_workload: Finding
    other_tool: Finding
    is_settled: bool = field(init=False, repr=False, compare=False)
    reads_tool: bool = field(init=False, repr=False, compare=False)
    fixed_scopes: tuple[str, ...] | None = field(init=False, repr=False, compare=False)
    _applying: dict[tuple[str, str], Finding] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        fixed = None if any(scope.is_template for scope in self.scopes) else tuple(scope.text for scope in self.scopes)
        object.__setattr__(self, "fixed_scopes", fixed)
        object.__setattr__(self, "is_settled", self.users is None and self.condition is None and fixed is not None)
        of_tool = (self.condition is not None and self.condition.reads_tool, *(s.reads_tool for s in self.scopes))
        object.__setattr__(self, "reads_tool", any(of_tool))

    @property
    def finding_kind(self) -> str:
        """What findings call it: `grant`, or `shadow-grant` where it is not enforced."""
        return f"shadow-{self.kind}" if self.shadow else self.kind

    @property
    def is_about_all_tools(self) -> bool:
        """Whether it names every tool of its server, and asks for nothing of any."""
        return not self.reads_tool and any(tool.text == "*" for tool in self.wild_tools)

    @property
    def asks_denials(self) -> bool:
        """Whether its condition asks how often the workload was denied."""
        return self.condition is not None and self.condition.reads_denials

    @property
    def reads_cel(self) -> bool:
        """Whether something of what it asks has to be evaluated."""
        return self.condition is not None and self.condition.cel is not None

    def names(self, pattern: str, workload: str) -> Finding:
        """What is found when it names caller and tool.  Written once for each pair: callers cannot make new ones up."""
        found = self._applying.get((pattern, workload))
        if found is None:
            found = self.finding(f"tool matches {pattern}; {workload}", matched=True)
            if len(self._applying) < MAX_SENTENCES_KEPT:
                self._applying[pattern, workload] = found
        return found

    def finding(self, why: str, *, matched: bool) -> Finding:
        """A finding on this rule."""
        return Finding(self.id, self.finding_kind, matched, why)

    def workload_match(self, caller: SpiffeId) -> str | None:
        """The words for how `caller` is one of this rule's workloads; None if it is not."""
        if not self.workloads:
            return "any workload"
        return next((f"workload matches {p.text}" for p in self.workloads if p.matches(caller)), None)

    def tool_match(self, tool: str) -> str | None:
        """The pattern of this rule that names `tool`, or None."""
        if tool in self.exact_tools:
            return tool
        for pattern in self.wild_tools:
            if pattern.matches(tool):
                return pattern.text
        return None

    def judge(self, call: Call, tags: ToolTags, named: Finding, max_steps: int) -> Finding:
        """Whether a rule that names caller and tool applies to this very call; `named` is what was found so far.

        `max_steps` as in `Condition.evaluate`.
        """
        if self.users is not None and (missed := self._missed_users(call.user)):
            return self.finding(missed, matched=False)
        if self.condition is not None:
            verdict = self.condition.evaluate(call, tags, max_steps)
            if verdict.truth is Truth.FAILED:
                return self.finding(f"{named.why}; condition failed: {verdict.why}", matched=self.kind == "denial")
            if verdict.truth is Truth.FAILS_TO_HOLD:
                return self.finding(verdict.why or "its condition does not hold", matched=False)
            named = self.finding(f"{named.why}; {verdict.why or 'its condition holds'}", matched=True)
        return named

    def filled_scopes(self, call: Call) -> tuple[str, ...] | Finding:
        """What the token may say by this grant; what is found where one of its scopes cannot be written safely."""
        if self.fixed_scopes is not None:
            return self.fixed_scopes
        filled = tuple(scope.fill(call) for scope in self.scopes)
        for scope, text in zip(self.scopes, filled, strict=True):
            if text is None:
                return self.finding(f"scope {scope.text} cannot be written from this call", matched=False)
        return tuple(text for text in filled if text is not None)

    def could_apply(self, call: Call, tags: ToolTags) -> bool:
        """For lists: whether a grant that names caller and tool might apply to some call, all else as it is now."""
        if self.users is not None and (call.user is None or not self.users.matches(call.user)):
            return False
        if any(scope.fill(call) is None for scope in self.scopes if not scope.reads_call):
            return False
        if self.condition is None or self.condition.reads_call:
            return True
        return self.condition.evaluate(call, tags).truth is Truth.HOLDS

    def must_apply(self, call: Call, tags: ToolTags) -> bool:
        """For lists: whether a denial that names caller and tool applies to every call, all else as it is now."""
        if self.users is not None and call.user is not None and not self.users.matches(call.user):
            return False
        if self.condition is None:
            return True
        return not self.condition.reads_call and self.condition.evaluate(call, tags).truth is not Truth.FAILS_TO_HOLD

    def _missed_users(self, user: User | None) -> str:
        """Why its users are not the call's; "" where they are.  Leaving the token out must not avoid a denial."""
        if self.users is None or (user is None and self.kind == "denial"):
            return ""
        if user is None:
            return f"the call is on no user's behalf; it takes {self.users.text}"
        return "" if self.users.matches(user) else f"user is not {self.users.text}"
