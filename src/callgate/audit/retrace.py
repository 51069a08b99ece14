"""What a policy says to a call that is known by its record alone.

A record tells who called what, for whom and when, and of the arguments no more than their digest.  What a rule asks of
the rest has no answer here, and is told as not known: nothing is guessed, and what was decided is the record's to say.
Pure.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from callgate.audit.entries import Entry
from callgate.policy.compile import Policy
from callgate.policy.explain import Answer, Question, explain
from callgate.policy.possible import HISTORY
from callgate.policy.recorded import RecordedCall, caller_of, recorded_call
from callgate.policy.rule import Rule
from callgate.policy.weigh import hangs_on_groups
from callgate.trace import Stage
from callgate.wire.json_strict import JsonObject

# Before the policy is asked.
_EARLIER: Final = frozenset({Stage.ACCEPT, Stage.AUTHENTICATE, Stage.READ, Stage.IDENTIFY})
# A placeholder of a scope, without its braces.
_ARGUMENT: Final = re.compile(r"\{(args\.[^}]*)\}")


@dataclass(frozen=True, slots=True)
class RetracedAnswer:
    """One question's answer; where it reads something `unknown`, `answer` has only the question's words."""

    answer: Answer
    unknown: tuple[str, ...] = ()

    @property
    def yes(self) -> bool | None:
        """None where it is not known."""
        return None if self.unknown else self.answer.yes


@dataclass(frozen=True, slots=True)
class RetracedRule:
    """What one rule says to the call, as far as that can be told."""

    rule: Rule
    answers: tuple[RetracedAnswer, ...]

    @property
    def applies(self) -> bool | None:
        """One no is enough; None where it hangs on what is not known."""
        said = [answer.yes for answer in self.answers]
        return False if False in said else None if None in said else True

    @property
    def is_about_caller(self) -> bool:
        """Whether the rule's workloads are those of the call."""
        return self.answers[0].answer.yes

    @property
    def names_call(self) -> bool:
        """Whether both workload and tool are the rule's."""
        return len(self.answers) > 1 and self.answers[1].answer.yes


def known_call(entry: Entry, arguments: JsonObject | None) -> RecordedCall | str:
    """The call that was decided on, or why there is none to ask a policy about.

    `arguments`: what was recorded of them beside the log; None where that is not to be had.
    """
    if entry.verdict == "deny" and entry.stage in _EARLIER:
        return f"the policy was not asked: {entry.stage} comes before it"
    if caller_of(entry.record) is None:
        return "the record names no caller"
    found = recorded_call(entry.record, arguments)
    return found or "the record does not name server, method and time"


def retraced(policy: Policy, found: RecordedCall) -> tuple[RetracedRule, ...]:
    """Each rule of the call's server, question by question, in the order of the policy."""
    # What was before is not looked for: for one decision, all of the log would have to be read.
    known = replace(found, unknown=found.unknown | {HISTORY})
    return tuple(
        RetracedRule(v.rule, tuple(_retraced(answer, v.rule, known) for answer in v.answers))
        for v in explain(policy, known.call).verdicts
    )


def _retraced(answer: Answer, rule: Rule, found: RecordedCall) -> RetracedAnswer:
    missing = tuple(dict.fromkeys(_missing(answer, rule, found)))
    if not missing:
        return RetracedAnswer(answer)
    # What was found without it is no answer, and neither are the values that it would have seen.
    return RetracedAnswer(Answer(answer.question, yes=False, why=_asked(answer.question, rule)), missing)


def _missing(answer: Answer, rule: Rule, found: RecordedCall) -> Iterator[str]:
    """What a question reads that is not known, as the policy writes it."""
    if answer.question is Question.CONDITION and rule.condition is not None:
        yield from (path for path in rule.condition.paths if _variable(path) in found.unknown)
    if answer.question is Question.SCOPES and "args" in found.unknown:
        yield from (argument for scope in rule.scopes for argument in _ARGUMENT.findall(scope.text))
    if answer.question is Question.USERS and hangs_on_groups(rule, found):
        yield "user.groups"


def _asked(question: Question, rule: Rule) -> str:
    match question:
        case Question.CONDITION if rule.condition is not None:
            return rule.condition.text
        case Question.USERS if rule.users is not None:
            return rule.users.text
        case _:
            return " ".join(scope.text for scope in rule.scopes)


def _variable(path: str) -> str:
    """`args` of `args.account["id"]`, `tool.annotations` of `tool.annotations.readOnlyHint`."""
    root, _, rest = path.partition(".")
    if root in {"args", "history"} or path.startswith("args["):
        return root.partition("[")[0]
    field = rest.partition(".")[0].partition("[")[0]
    return f"{root}.{field}"
