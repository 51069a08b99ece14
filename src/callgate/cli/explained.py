"""What `callgate explain` found, as a tree and as JSON."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from callgate.cli.approval_terms import approval_json, approval_text, owners_json, owners_text
from callgate.cli.branches import Mark, Node
from callgate.cli.durations import duration_text
from callgate.cli.masked import screening_json, screening_lines
from callgate.policy.explain import Answer, Explanation, Question, RuleVerdict
from callgate.policy.limit import Limit
from callgate.policy.moments import written
from callgate.policy.record_level import RecordLevel
from callgate.policy.rule import Rule
from callgate.wire.json_strict import JsonObject, JsonValue, dumps

# Rules that are not about the call's workload, shown one by one; a reader wants to know of more only that they exist.
OTHERS_SHOWN = 5
# What is said of these questions names its subject already ("workload matches …").
_SELF_EXPLAINING = frozenset({Question.WORKLOAD, Question.TOOL, Question.USERS})
_MARKS = {"allow": Mark.YES, "hold": Mark.NOTE, "deny": Mark.NO}
_VERDICTS = {"allow": "allowed", "hold": "held for approval", "deny": "denied"}


@dataclass(frozen=True, slots=True)
class Shown:
    """What is told beside the explanation itself.

    `token`: the claims that would be minted; None for a denied call, and where it is not known what the server expects.
    `notes`: sentences about what the gate does before a decision.  `record`: how much goes on record where no grant
    says; None where the configuration is not known.
    """

    token: JsonObject | None = None
    notes: tuple[str, ...] = ()
    all_rules: bool = False
    record: RecordLevel | None = None


def as_tree(explanation: Explanation, shown: Shown) -> Node:
    """The whole path, the decision first."""
    branches = (
        *_rules(explanation.verdicts, shown),
        *_shadow(explanation),
        *_obligations(explanation, shown),
        *_token(shown),
        *(Node(Mark.NOTE, note) for note in shown.notes),
    )
    return Node(_MARKS[explanation.outcome], _title(explanation), branches, tuple(_head(explanation)))


def _title(explanation: Explanation) -> str:
    call = explanation.call
    tool = f" {call.tool}" if call.tool is not None else ""
    return f"{_VERDICTS[explanation.outcome]}  {call.method}{tool} on {call.server}"


def _head(explanation: Explanation) -> Iterator[str]:
    call, reason = explanation.call, explanation.decision.reason
    yield f"{reason}: {explanation.sentence}" if reason else explanation.sentence
    user = f"  for {call.user.subject} of {call.user.issuer}" if call.user else ""
    yield f"{call.caller}{user}  at {written(call.now)}"


def _rules(verdicts: Iterable[RuleVerdict], shown: Shown) -> Iterator[Node]:
    about, others = _sorted_out(verdicts)
    yield from map(_rule, about)
    rest = len(others) if shown.all_rules else OTHERS_SHOWN
    yield from map(_rule, others[:rest])
    if more := len(others[rest:]):
        yield Node(Mark.NOTE, f"{more} more rules are about other workloads; --all shows them")


def _sorted_out(verdicts: Iterable[RuleVerdict]) -> tuple[list[RuleVerdict], list[RuleVerdict]]:
    """The rules about the caller, those that come closest to applying first; and those about others."""
    about = [verdict for verdict in verdicts if verdict.is_about_caller]
    others = [verdict for verdict in verdicts if not verdict.is_about_caller]
    return sorted(about, key=lambda verdict: (not verdict.applies, not verdict.names_call)), others


def _rule(verdict: RuleVerdict) -> Node:
    rule = verdict.rule
    mark = Mark.APPLIES if verdict.applies else Mark.PASSES
    applies = "applies" if verdict.applies else "does not apply"
    shadow = " (in shadow: not enforced)" if rule.shadow else ""
    text = f"{rule.kind} {rule.id} {applies}{shadow}  {place_of(rule)}"
    if not verdict.names_call:
        # Nothing else was asked.
        return Node(mark, f"{text}: {verdict.answers[-1].why}")
    return Node(mark, text, tuple(answer_node(answer, rule) for answer in verdict.answers))


def place_of(rule: Rule) -> str:
    """Where a rule stands, as editors and terminals read it."""
    return f"{rule.file}:{rule.line}"


def answer_node(answer: Answer, rule: Rule) -> Node:
    """What one question came to, with what a condition saw."""
    label = label_of(answer)
    seen: tuple[Node, ...] = ()
    if rule.condition is not None and answer.question is Question.CONDITION:
        seen = tuple(Node(Mark.NONE, _seen(path, answer.seen)) for path in rule.condition.paths)
    return Node(Mark.YES if answer.yes else Mark.NO, f"{label}{answer.why}", seen)


def label_of(answer: Answer) -> str:
    """What stands before an answer's words."""
    return "" if answer.question in _SELF_EXPLAINING else f"{answer.question}: "


def _seen(path: str, seen: Mapping[str, JsonValue]) -> str:
    return f"{path} = {dumps(seen[path]).decode()}" if path in seen else f"{path} is not there"


def _shadow(explanation: Explanation) -> Iterator[Node]:
    shadow = explanation.decision.shadow
    if shadow is not None:
        because = f"by {', '.join(shadow.rules)}" if shadow.rules else "none of them applies"
        yield Node(Mark.NOTE, f"if the rules in shadow were enforced: {shadow.outcome}, {because}")


def _obligations(explanation: Explanation, shown: Shown) -> Iterator[Node]:
    permit = explanation.decision.permit
    if permit is None:
        return
    for approval in permit.approvals:
        yield Node(Mark.NOTE, f"approval for {approval.rule}: {approval_text(approval)}")
    if any(approval.four_eyes for approval in permit.approvals):
        yield Node(Mark.NOTE, owners_text(explanation.owners))
    for limit in permit.limits:
        yield Node(Mark.NOTE, f"counts for the limit of {limit.rule}: {limit_text(limit)}")
    if permit.not_after is not None:
        yield Node(Mark.NOTE, f"a grant ends {written(permit.not_after)}")
    if permit.record is not None:
        yield Node(Mark.NOTE, f"on record: {permit.record}, as {_asking(explanation, permit.record)} asks")
    elif shown.record is not None:
        yield Node(Mark.NOTE, f"on record: {shown.record}, as the configuration says of {explanation.call.server}")
    yield from (Node(Mark.NOTE, line) for line in screening_lines(permit.screening))


def _asking(explanation: Explanation, level: RecordLevel) -> str:
    """The first grant that asks for it."""
    asking = (v.rule for v in explanation.verdicts if v.applies and v.rule.record == level and not v.rule.shadow)
    return next(f"{rule.kind} {rule.id}" for rule in asking)


def limit_text(limit: Limit) -> str:
    """`10 calls in 5m`."""
    return f"{limit.calls} call{'' if limit.calls == 1 else 's'} in {duration_text(limit.per_s)}"


def _token(shown: Shown) -> Iterator[Node]:
    if shown.token is not None:
        width = max(map(len, shown.token))
        claims = (f"{name:<{width}}  {_claim(name, value)}" for name, value in shown.token.items())
        yield Node(Mark.YES, "token for this call alone", tuple(Node(Mark.NONE, claim) for claim in claims))


def _claim(name: str, value: JsonValue) -> str:
    if name in {"iat", "exp"} and isinstance(value, int):
        return f"{value}  {written(value)}"
    return value if isinstance(value, str) else dumps(value).decode()


def as_json(explanation: Explanation, shown: Shown) -> JsonObject:
    """All of it; rules about others, too."""
    call, decision = explanation.call, explanation.decision
    permit, shadow = decision.permit, decision.shadow
    return {
        "decision": explanation.outcome,
        "reason": decision.reason,
        "why": explanation.sentence,
        "policy": decision.policy_digest,
        "call": {
            "who": str(call.caller),
            "user": {"issuer": call.user.issuer, "subject": call.user.subject} if call.user else None,
            "server": call.server,
            "method": call.method,
            "tool": call.tool,
            "at": written(call.now),
        },
        "rules": [_rule_json(verdict) for verdict in explanation.verdicts],
        "shadow": {"decision": shadow.outcome, "reason": shadow.reason, "rules": [*shadow.rules]} if shadow else None,
        "limits": [limit_json(limit) for limit in permit.limits] if permit else [],
        "approvals": [approval_json(approval) for approval in permit.approvals] if permit else [],
        "owners": owners_json(explanation.owners),
        "not_after": written(permit.not_after) if permit and permit.not_after is not None else None,
        "record": permit.record or shown.record if permit else None,
        "screening": screening_json(permit.screening) if permit else None,
        "token": shown.token,
        "notes": [*shown.notes],
    }


def limit_json(limit: Limit) -> JsonObject:
    """A limit as it stands in a policy, and whose it is."""
    return {"rule": limit.rule, "calls": limit.calls, "per": duration_text(limit.per_s)}


def _rule_json(verdict: RuleVerdict) -> JsonObject:
    rule = verdict.rule
    return {
        "id": rule.id,
        "kind": rule.kind,
        "shadow": rule.shadow,
        "file": rule.file,
        "line": rule.line,
        "applies": verdict.applies,
        "answers": [answer_json(answer) for answer in verdict.answers],
    }


def answer_json(answer: Answer) -> JsonObject:
    """The same as JSON."""
    found: JsonObject = {"question": answer.question, "yes": answer.yes, "why": answer.why}
    if answer.truth is not None:
        found |= {"truth": answer.truth, "seen": dict(answer.seen)}
    return found
