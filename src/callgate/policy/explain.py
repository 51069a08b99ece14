"""Why a call is decided as it is: each rule of its server, question by question.

The outcome is `decide`'s own, and each answer comes from the part of the rule that `decide` asks, so that an
explanation cannot tell of another decision.  It costs more: every rule is asked, and a condition tells what it saw.
Arguments' values are in it; it is for whoever wrote the call down, and nothing that the gate records.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final, Literal

from callgate.policy.approval import Owners
from callgate.policy.call import Call
from callgate.policy.compile import Policy
from callgate.policy.condition import RuleCondition, Truth
from callgate.policy.decide import IMPLIED_METHODS, Decision, decide
from callgate.policy.model import DEFAULT_DENY
from callgate.policy.patterns import TOOL_NAME
from callgate.policy.rule import Rule, UsersMatch
from callgate.trace import Finding
from callgate.wire.json_strict import JsonValue


class Question(StrEnum):
    """What a rule asks of a call, in this order.  It applies exactly where all that it asks is answered with yes."""

    WORKLOAD = "workload"
    TOOL = "tool"
    TIME = "time"
    USERS = "users"
    CONDITION = "condition"
    SCOPES = "scopes"


@dataclass(frozen=True, slots=True)
class Answer:
    """One question's answer.  `why` is a short phrase.

    `truth` and `seen` are a condition's: what came of it, and the value of each path that it reads and that is there.
    """

    question: Question
    yes: bool
    why: str
    truth: Truth | None = None
    seen: Mapping[str, JsonValue] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class RuleVerdict:
    """What one rule says to the call.

    A rule that is not about the workload, or not about the tool, is asked nothing further.
    """

    rule: Rule
    answers: tuple[Answer, ...]

    @property
    def applies(self) -> bool:
        """Whether the rule applies to the call."""
        return all(answer.yes for answer in self.answers)

    @property
    def is_about_caller(self) -> bool:
        """Whether the rule's workloads are those of the call."""
        return self.answers[0].yes

    @property
    def names_call(self) -> bool:
        """Whether both workload and tool are the rule's."""
        return len(self.answers) > 1 and self.answers[1].yes

    def answer(self, question: Question) -> Answer | None:
        """The answer to one question; None where it was not asked."""
        return next((answer for answer in self.answers if answer.question is question), None)


@dataclass(frozen=True, slots=True)
class Explanation:
    """The decision, and what each rule of the call's server says to it, in the order of the policy.

    `owners`: who answers for the caller.
    """

    call: Call
    decision: Decision
    verdicts: tuple[RuleVerdict, ...]
    owners: Owners = field(default_factory=Owners)

    @property
    def outcome(self) -> Literal["allow", "hold", "deny"]:
        """What comes of the call: `hold` where people have to agree first, whatever its arguments hold."""
        permit = self.decision.permit
        if permit is None:
            return "deny"
        return "hold" if permit.is_held else "allow"

    @property
    def sentence(self) -> str:
        """The decision's cause in a few words: the rules that brought it about, or why none did."""
        last = self.decision.findings[-1] if self.decision.findings else None
        if last is not None and last.rule == DEFAULT_DENY:
            return last.why
        kind = "grant" if self.decision.permit else "denial"
        return _and(f"{kind} {rule}" for rule in self.deciding)

    @property
    def deciding(self) -> tuple[str, ...]:
        """The ids of the rules that brought the outcome about; none where nothing applied."""
        if self.decision.permit is not None:
            return self.decision.permit.grants
        return tuple(v.rule.id for v in self.verdicts if v.applies and v.rule.kind == "denial" and not v.rule.shadow)


def explain(policy: Policy, call: Call) -> Explanation:
    """Decide on a call, and say why.  Total, as `decide` is."""
    decision = decide(policy, call)
    rules = policy.rules.get(call.server, ())
    verdicts = tuple(RuleVerdict(rule, tuple(_answers(rule, call, policy))) for rule in rules)
    return Explanation(call, decision, verdicts, policy.owners_of(call.caller))


def _answers(rule: Rule, call: Call, policy: Policy) -> Iterator[Answer]:
    workload = _of_workload(rule, call)
    yield workload
    if not workload.yes:
        return
    tool = _of_tool(rule, call)
    yield tool
    if not tool.yes:
        return
    if rule.schedule is not None:
        state = rule.schedule.state(call.now)
        yield Answer(Question.TIME, state.active, state.why or ("is within its time" if state.active else "is not now"))
    if call.method != "tools/call":
        # An implied method asks for a grant that stands now, and for nothing that only a call can tell.
        return
    if rule.users is not None:
        yield _of_users(rule, rule.users, call)
    if rule.condition is not None:
        yield _of_condition(rule, rule.condition, call, policy)
    if rule.scopes:
        yield _of_scopes(rule, call)


def _of_workload(rule: Rule, call: Call) -> Answer:
    words = rule.workload_match(call.caller)
    return Answer(Question.WORKLOAD, words is not None, words or rule.other_workload.why)


def _of_tool(rule: Rule, call: Call) -> Answer:
    if call.method != "tools/call":
        return _of_method(rule, call)
    if call.tool is None or TOOL_NAME.fullmatch(call.tool) is None:
        return Answer(Question.TOOL, yes=False, why=_NO_TOOL)
    pattern = rule.tool_match(call.tool)
    return Answer(Question.TOOL, pattern is not None, f"tool matches {pattern}" if pattern else rule.other_tool.why)


def _of_method(rule: Rule, call: Call) -> Answer:
    if call.method not in IMPLIED_METHODS or call.tool is not None:
        return Answer(Question.TOOL, yes=False, why=_NO_METHOD)
    if rule.kind == "denial":
        return Answer(Question.TOOL, yes=False, why=_NO_DENIAL)
    return Answer(Question.TOOL, yes=True, why="a grant of any tool implies this method")


def _of_users(rule: Rule, users: UsersMatch, call: Call) -> Answer:
    if call.user is None:
        if rule.kind == "denial":
            return Answer(Question.USERS, yes=True, why=f"no user is known, and a denial of {users.text} applies then")
        return Answer(Question.USERS, yes=False, why=f"the call is on no user's behalf; it takes {users.text}")
    matches = users.matches(call.user)
    return Answer(Question.USERS, matches, f"the call is {'' if matches else 'not '}for {users.text}")


def _of_condition(rule: Rule, condition: RuleCondition, call: Call, policy: Policy) -> Answer:
    share = policy.view(call.caller, call.server, call.now).on(call.tool or "").steps_each
    verdict = condition.evaluate(call, policy.tags, share)
    seen = condition.seen(call, policy.tags)
    if verdict.truth is Truth.FAILED:
        follows = "applies" if rule.kind == "denial" else "does not apply"
        why = f"{condition.text}  failed: {verdict.why}; a {rule.kind} {follows} then"
        return Answer(Question.CONDITION, rule.kind == "denial", why, verdict.truth, seen)
    holds = verdict.truth is Truth.HOLDS
    said = f": {verdict.why}" if verdict.why else ""
    why = f"{condition.text}  {'holds' if holds else 'does not hold'}{said}"
    return Answer(Question.CONDITION, holds, why, verdict.truth, seen)


def _of_scopes(rule: Rule, call: Call) -> Answer:
    filled = rule.filled_scopes(call)
    if isinstance(filled, Finding):
        return Answer(Question.SCOPES, yes=False, why=filled.why)
    return Answer(Question.SCOPES, yes=True, why=" ".join(filled))


def _and(words: Iterator[str]) -> str:
    *before, last = words
    return f"{', '.join(before)} and {last}" if before else last


_NO_TOOL: Final = "the call names no tool of 1 to 128 letters, digits, '_', '-' and '.'"
_NO_METHOD: Final = "no grant allows this method"
_NO_DENIAL: Final = "a denial is about calls of tools"
