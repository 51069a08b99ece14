"""How much of a policy its tests exercise.

Of each rule they have to show that it applies, and of its condition that it keeps the rule from applying: a condition
that was never seen to say no might as well not be there.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from callgate.policy.compile import Policy
from callgate.policy.condition import Truth
from callgate.policy.explain import Explanation, Question, RuleVerdict
from callgate.policy.rule import Rule


@dataclass(slots=True)
class RuleExercise:
    """What tests showed of one rule: how often each of these came about."""

    rule: Rule
    named: int = 0
    applied: int = 0
    held: int = 0
    did_not_hold: int = 0
    failed: int = 0

    @property
    def missing(self) -> tuple[str, ...]:
        """What no test showed."""
        found = [] if self.applied else ["never applied" if self.named else "never exercised"]
        # A denial whose condition fails applies.
        said_no = self.did_not_hold + (self.failed if self.rule.kind == "grant" else 0)
        if self.rule.condition is not None and not said_no:
            found.append("its condition never said no")
        return tuple(found)

    @property
    def goals(self) -> int:
        """How much there is to be shown."""
        return 1 if self.rule.condition is None else 2

    def add(self, verdict: RuleVerdict) -> None:
        """Count what one call showed."""
        self.named += verdict.names_call
        self.applied += verdict.applies
        condition = verdict.answer(Question.CONDITION)
        if condition is not None:
            self.held += condition.truth is Truth.HOLDS
            self.did_not_hold += condition.truth is Truth.FAILS_TO_HOLD
            self.failed += condition.truth is Truth.FAILED


@dataclass(frozen=True, slots=True)
class Exercise:
    """What tests showed of a whole policy so far, rule by rule in its order."""

    rules: Mapping[str, RuleExercise]

    @classmethod
    def of(cls, policy: Policy) -> Self:
        """Nothing was shown yet."""
        return cls({rule.id: RuleExercise(rule) for rules in policy.rules.values() for rule in rules})

    def add(self, explanation: Explanation) -> None:
        """Count what one decision under the policy showed."""
        # A method that a grant implies shows nothing of what the grant says of a call.
        if explanation.call.method == "tools/call":
            for verdict in explanation.verdicts:
                self.rules[verdict.rule.id].add(verdict)

    @property
    def percent(self) -> float:
        """Of all that there is to be shown, how much was; 100 for a policy without rules."""
        goals = sum(each.goals for each in self.rules.values())
        return 100 * (goals - sum(len(each.missing) for each in self.rules.values())) / goals if goals else 100.0
