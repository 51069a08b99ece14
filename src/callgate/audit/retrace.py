"""What a policy says to a call that is known by its record alone.

A record tells who called what, for whom and when, and of the arguments no more than their digest.  What a rule asks of
the rest has no answer here, and is told as not known: nothing is guessed, and what was decided is the record's to say.
Pure.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from callgate.audit.entries import Entry, number_of, text_of, texts_of
from callgate.identity.spiffe_id import InvalidSpiffeId, SpiffeId
from callgate.identity.user import User
from callgate.policy.call import Call
from callgate.policy.compile import Policy
from callgate.policy.explain import Answer, Question, explain
from callgate.policy.rule import Rule
from callgate.trace import Stage
from callgate.wire.json_strict import JsonObject

# Before the policy is asked.
_EARLIER: Final = frozenset({Stage.ACCEPT, Stage.AUTHENTICATE, Stage.READ, Stage.IDENTIFY})
# A placeholder of a scope, without its braces.
_ARGUMENT: Final = re.compile(r"\{(args\.[^}]*)\}")
_NEVER_RECORDED: Final = frozenset({"history", "tool.annotations"})


@dataclass(frozen=True, slots=True)
class KnownCall:
    """A call as far as its record tells.

    `unknown`: the variables of conditions that were there at the time and are not in the record.  `call.now` is when the
    record was written, which is right after the decision.
    """

    call: Call
    unknown: frozenset[str]


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


def known_call(entry: Entry, arguments: JsonObject | None) -> KnownCall | str:
    """The call that was decided on, or why there is none to ask a policy about.

    `arguments`: what was recorded of them beside the log; None where that is not to be had.
    """
    if entry.verdict == "deny" and entry.stage in _EARLIER:
        return f"the policy was not asked: {entry.stage} comes before it"
    try:
        caller = SpiffeId.parse(entry.caller)
    except InvalidSpiffeId:
        return "the record names no caller"
    if not entry.server or not entry.method:
        return "the record names no server and method"
    user = _user_of(entry)
    known = {
        "args": arguments is not None or entry.method != "tools/call",
        "user.claims": user is None,
    }
    unknown = _NEVER_RECORDED | {name for name, is_known in known.items() if not is_known}
    return KnownCall(_call_of(entry, caller, user, arguments), unknown)


def retraced(policy: Policy, known: KnownCall) -> tuple[RetracedRule, ...]:
    """Each rule of the call's server, question by question, in the order of the policy."""
    verdicts = explain(policy, known.call).verdicts
    return tuple(
        RetracedRule(v.rule, tuple(_retraced(answer, v.rule, known.unknown) for answer in v.answers)) for v in verdicts
    )


def _call_of(entry: Entry, caller: SpiffeId, user: User | None, arguments: JsonObject | None) -> Call:
    is_call = entry.method == "tools/call"
    bounds = entry.record.get("svid")
    not_before, not_after = bounds if isinstance(bounds, list) and len(bounds) == 2 else (0, 0)
    return Call(
        caller=caller,
        server=entry.server,
        method=entry.method,
        tool=(entry.tool or None) if is_call else None,
        arguments=arguments if is_call else None,
        now=entry.time_ns / 1e9,
        svid_not_before=float(not_before) if isinstance(not_before, int) else 0.0,
        svid_not_after=float(not_after) if isinstance(not_after, int) else 0.0,
        revision=text_of(entry.record, "revision"),
        size_bytes=number_of(entry.record, "size", 0),
        purpose=text_of(entry.record, "purpose"),
        user=user,
    )


def _user_of(entry: Entry) -> User | None:
    user = entry.part("user")
    return User(text_of(user, "issuer"), text_of(user, "subject"), texts_of(user, "groups")) if user else None


def _retraced(answer: Answer, rule: Rule, unknown: frozenset[str]) -> RetracedAnswer:
    missing = tuple(dict.fromkeys(_missing(answer.question, rule, unknown)))
    if not missing:
        return RetracedAnswer(answer)
    # What was found without it is no answer, and neither are the values that it would have seen.
    words = rule.condition.text if rule.condition and answer.question is Question.CONDITION else _scopes(rule)
    return RetracedAnswer(Answer(answer.question, yes=False, why=words), missing)


def _missing(question: Question, rule: Rule, unknown: frozenset[str]) -> Iterator[str]:
    """What a question reads that is not known, as the policy writes it."""
    if question is Question.CONDITION and rule.condition is not None:
        yield from (path for path in rule.condition.paths if _variable(path) in unknown)
    if question is Question.SCOPES and "args" in unknown:
        yield from (argument for scope in rule.scopes for argument in _ARGUMENT.findall(scope.text))


def _variable(path: str) -> str:
    """`args` of `args.account["id"]`, `tool.annotations` of `tool.annotations.readOnlyHint`."""
    root, _, rest = path.partition(".")
    if root in {"args", "history"} or path.startswith("args["):
        return root.partition("[")[0]
    field = rest.partition(".")[0].partition("[")[0]
    return f"{root}.{field}"


def _scopes(rule: Rule) -> str:
    return " ".join(scope.text for scope in rule.scopes)
