"""The rules of a policy that apply to a recorded call, or may, as far as that can be told.

As `callgate.policy.decide` finds them, but for what is not known: a rule then applies if this or that condition held,
and hangs on that condition (its hinge).  Two policies hang on the same hinge where both have the same condition, so
that what differs between them can be told even where what they decide cannot.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

from callgate.policy.compile import Policy
from callgate.policy.condition import RuleCondition, Truth
from callgate.policy.decide import IMPLIED_METHODS
from callgate.policy.past import Past
from callgate.policy.patterns import TOOL_NAME
from callgate.policy.possible import HISTORY, Reads, declared_in, is_within_budget, possible_truths, reads_of_rule
from callgate.policy.recorded import RecordedCall
from callgate.policy.rule import Rule, RuleKind
from callgate.policy.screens import UNSCREENED
from callgate.policy.terms import Terms, terms_of
from callgate.screening.terms import Screening

# What conditions come to for a workload and a tool, kept ready; callers can make up tools, and then it begins anew.
_MAX_KEPT: Final = 65_536

# (server, pattern of tools, tag), or (server, argument, what it is read as)
TagTriple: TypeAlias = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Hinge:
    """What a rule hangs on: whether a condition held, a scope could be written, the user was one of its users.

    `unknown`: the variables that it reads and that are not known.  `steps` is the condition's budget, 0 where it cannot
    matter, and `tags` what the policy says of tools and of their arguments, where the condition reads it: with others it
    is another hinge.
    """

    text: str
    unknown: frozenset[str]
    steps: int = 0
    tags: frozenset[TagTriple] = frozenset()


# What a hinge may come to.  A scope holds if it could be written.
Truths: TypeAlias = frozenset[Truth]
_EITHER: Final[Truths] = frozenset({Truth.HOLDS, Truth.FAILS_TO_HOLD})
# With what a rule of each kind applies.
APPLYING: Final[Mapping[RuleKind, Truths]] = {
    "grant": frozenset({Truth.HOLDS}),
    "denial": frozenset({Truth.HOLDS, Truth.FAILED}),
}


@dataclass(frozen=True, slots=True)
class Weighed:
    """A rule that applies, if each of its hinges comes to what makes it."""

    id: str
    kind: RuleKind
    hinges: tuple[Hinge, ...]
    terms: Terms


@dataclass(frozen=True, slots=True)
class Weights:
    """The rules of a policy that apply to a call, or may.

    `truths` has what each hinge may come to, `screening` what the server's own screening of the tool is.  `is_fixed`: the same for every call of this method and tool by this
    workload.  `is_implied`: the method is one that any grant allows, and one is there.
    """

    rules: frozenset[Weighed] = frozenset()
    truths: Mapping[Hinge, Truths] = field(default_factory=dict)
    screening: Screening = UNSCREENED
    is_fixed: bool = True
    is_implied: bool = False


class Scale:
    """Weighs calls under one policy.  `with_shadow`: rules in shadow are weighed as if they were enforced."""

    def __init__(self, policy: Policy, past: Past, *, with_shadow: bool = False) -> None:
        self.policy = policy
        self._past = past
        self._with_shadow = with_shadow
        self._kept: dict[tuple[object, ...], Truths] = {}
        self._terms = {rule.id: terms_of(rule) for rules in policy.rules.values() for rule in rules}
        self._tags = frozenset(
            (entry.server, tool.text, tag)
            for entry in policy.tags.entries
            for tool in entry.tools
            for tag in entry.tags
        )

    def weigh(self, found: RecordedCall) -> Weights:
        """The rules that apply to a call, or may."""
        call = found.call
        view = self.policy.view(call.caller, call.server, call.now)
        if call.method != "tools/call":
            is_implied = call.method in IMPLIED_METHODS and call.tool is None and view.has_grants
            return Weights(is_fixed=not view.is_timed, is_implied=is_implied)
        if call.tool is None or TOOL_NAME.fullmatch(call.tool) is None:
            return Weights()
        rules = view.on(call.tool)
        named = (each.rule for each in (*rules.denials, *rules.grants) if self._with_shadow or not each.rule.shadow)
        truths: dict[Hinge, Truths] = {}
        weighed = frozenset(self._weighed(named, found, rules.steps_each, truths))
        screening = self.policy.screening.of_call(call.server, call.tool, (), ())
        return Weights(weighed, truths, screening, rules.is_settled and not view.is_timed)

    def _weighed(
        self, rules: Iterable[Rule], found: RecordedCall, steps: int, truths: dict[Hinge, Truths]
    ) -> Iterator[Weighed]:
        for rule in rules:
            if rule.is_settled:
                yield Weighed(rule.id, rule.kind, (), self._terms[rule.id])
            else:
                hinges = tuple(self._hinges(rule, found, steps))
                known = [each for each in hinges if each is not None]
                if len(known) == len(hinges):
                    truths.update(known)
                    yield Weighed(rule.id, rule.kind, tuple(hinge for hinge, _ in known), self._terms[rule.id])

    def _hinges(self, rule: Rule, found: RecordedCall, steps: int) -> Iterator[tuple[Hinge, Truths] | None]:
        """What the rule hangs on; None where it does not apply, whatever that comes to."""
        yield from _of_users(rule, found)
        yield from self._of_condition(rule, found, steps)
        yield from _of_scopes(rule, found)

    def _of_condition(self, rule: Rule, found: RecordedCall, steps: int) -> Iterator[tuple[Hinge, Truths] | None]:
        """The hinge that a rule's condition is; nothing where it lets the rule apply, None where it does not."""
        condition = rule.condition
        if condition is None:
            return
        reads = reads_of_rule(condition)
        unknown = reads.variables & found.unknown
        if HISTORY in reads.variables and not self._past.tells(found.call, reads.questions):
            unknown |= {HISTORY}
        possible = self._possible(condition, reads, found, unknown, steps)
        if possible.isdisjoint(APPLYING[rule.kind]):
            yield None
        elif not possible <= APPLYING[rule.kind]:
            cheap = is_within_budget(condition, found.call, self.policy.tags, unknown, steps)
            says = self._tags_in(reads, found) | self._declared_in(condition, reads, found)
            yield Hinge(condition.text, unknown, 0 if cheap else steps, says), possible

    def _possible(
        self, condition: RuleCondition, reads: Reads, found: RecordedCall, unknown: frozenset[str], steps: int
    ) -> Truths:
        call, tags = found.call, self.policy.tags
        if not reads.is_fixed_without(unknown):
            return possible_truths(condition, call, tags, unknown, steps)
        # What is unknown follows from these: all that the condition reads, but for what is the same in each call.
        key = (condition.text, steps, call.caller, call.server, call.tool)
        kept = self._kept.get(key)
        if kept is None:
            if len(self._kept) >= _MAX_KEPT:
                self._kept.clear()
            kept = self._kept[key] = possible_truths(condition, call, tags, unknown, steps)
        return kept

    def _tags_in(self, reads: Reads, found: RecordedCall) -> frozenset[TagTriple]:
        """What the policy says of tools, as far as a condition reads it."""
        if reads.asks_tags:
            return self._tags
        if "tool.tags" not in reads.variables or found.call.tool is None:
            return frozenset()
        tool, server = found.call.tool, found.call.server
        return frozenset((server, tool, tag) for tag in self.policy.tags.of(server, tool))

    def _declared_in(self, condition: RuleCondition, reads: Reads, found: RecordedCall) -> frozenset[TagTriple]:
        """What the policy says of the tool's arguments, as far as a condition asks."""
        if not reads.asks_declared:
            return frozenset()
        server, tool = found.call.server, found.call.tool
        return frozenset((server, *each) for each in declared_in(condition, server, tool, self.policy.tags))


def hangs_on_groups(rule: Rule, found: RecordedCall) -> bool:
    """Whether the user may be one of a rule's by a group that the record has no room for."""
    user, users = found.call.user, rule.users
    if user is None or users is None or users.groups is None or "user.groups" not in found.unknown:
        return False
    return not users.matches(user) and replace(users, groups=None).matches(user)


def _of_users(rule: Rule, found: RecordedCall) -> Iterator[tuple[Hinge, Truths] | None]:
    """A user who is not there is one whom a denial is about, and no grant."""
    user, users = found.call.user, rule.users
    if users is None or (rule.kind == "denial" if user is None else users.matches(user)):
        return
    if users.groups is not None and hangs_on_groups(rule, found):
        text = f"user in group {' or '.join(sorted(users.groups))}"
        yield Hinge(text, frozenset({"user.groups"})), _EITHER
    else:
        yield None


def _of_scopes(rule: Rule, found: RecordedCall) -> Iterator[tuple[Hinge, Truths] | None]:
    """A hinge for each scope that is made from what is not known; None for one that cannot be written."""
    if rule.fixed_scopes is not None:
        return
    for scope in rule.scopes:
        if found.hides(scope):
            yield Hinge(scope.text, frozenset({"args"})), _EITHER
        elif scope.fill(found.call) is None:
            yield None
