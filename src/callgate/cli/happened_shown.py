"""A decision that really happened, as a tree: what the record says, and what the policy of then adds to it."""

from collections.abc import Iterator, Mapping
from typing import Final

from callgate.audit.entries import Status, Verdict
from callgate.audit.retrace import RetracedAnswer, RetracedRule
from callgate.audit.story import findings_of, status_of
from callgate.cli.approval_words import approval_words, happened_words
from callgate.cli.branches import Mark, Node
from callgate.cli.explained import OTHERS_SHOWN, answer_node, label_of, place_of
from callgate.cli.happened import Happened
from callgate.cli.words import moment_s
from callgate.policy.model import DEFAULT_DENY, MORE_RULES
from callgate.telemetry.visible import redacted
from callgate.trace import Outcome
from callgate.wire.json_strict import JsonValue, dumps
from callgate.wire.members import number_of, text_of, texts_of

_APPLIED: Final = {True: "applied", False: "did not apply"}
_ENDS: Final = {
    Status.ANSWERED: "was answered",
    Status.TOOL_ERROR: "the tool itself reported an error",
    Status.RPC_ERROR: "was answered with an error",
    Status.FAILED: "failed on the way",
    Status.WITHHELD: "was answered, and the answer was not passed on",
    Status.CANCELLED: "was cancelled by its caller",
    Status.UNKNOWN: "has an unknown end: the gate was ended meanwhile",
    Status.NOT_FORWARDED: "was not forwarded",
    Status.OPEN: "has no outcome in the log yet",
}
_VERDICTS: Final[Mapping[Verdict, str]] = {"allow": "allowed", "deny": "denied", "hold": "held"}
_WELL: Final = frozenset({Status.ANSWERED})


def as_tree(found: Happened, *, all_rules: bool) -> Node:
    """The whole path, the decision first."""
    branches = (
        *_path(found),
        *_asked(found),
        *_rules(found, all_rules=all_rules),
        *_approval(found),
        *_shadow(found),
        *_token(found),
        *_end(found),
        *(Node(Mark.NOTE, note) for note in found.notes),
    )
    return Node(Mark.YES if _is_allowed(found) else Mark.NO, _title(found), branches, tuple(_head(found)))


def _is_allowed(found: Happened) -> bool:
    return found.entry.verdict == "allow"


def _title(found: Happened) -> str:
    entry = found.entry
    verdict = _VERDICTS[entry.verdict]
    if not entry.method:
        return f"{verdict}  a connection from {entry.address or 'an unknown address'}"
    tool = f" {entry.tool}" if entry.tool else ""
    return f"{verdict}  {entry.method}{tool} on {entry.server or 'an unknown server'}"


def _head(found: Happened) -> Iterator[str]:
    entry = found.entry
    said = [part for part in (entry.reason, sentence(found) or _detail(found)) if part]
    yield ": ".join(said) or "no rule is named in the record"
    user = entry.part("user")
    on_behalf = f"  for {text_of(user, 'subject')} of {text_of(user, 'issuer')}" if user else ""
    yield f"{entry.caller or 'a caller without a verified identity'}{on_behalf}  at {entry.time_text}"
    session = f"  session {entry.session}" if entry.session else ""
    yield f"decision {entry.decision}  trace {entry.trace}{session}  record {entry.seq}"


def sentence(found: Happened) -> str:
    """The decision's cause in a few words, as recorded."""
    findings = list(findings_of(found.entry))
    default = next((finding for finding in findings if finding.rule == DEFAULT_DENY), None)
    if default is not None:
        return default.why
    denials = [f.rule for f in findings if f.matched and f.kind == "denial"]
    deciding = denials or [f.rule for f in findings if f.matched and f.kind == "grant"]
    return f"{'denial' if denials else 'grant'} {' and '.join(deciding)}" if deciding else ""


def _detail(found: Happened) -> str:
    return redacted(text_of(found.entry.record, "detail"))


def _path(found: Happened) -> Iterator[Node]:
    steps = tuple(map(_step, found.entry.path))
    if steps:
        is_well = all(step.mark is Mark.YES for step in steps)
        yield Node(Mark.YES if is_well else Mark.NO, "the way through the gate", steps)


def _step(step: str) -> Node:
    """`decide=refused:no_grant`."""
    stage, _, ended = step.partition("=")
    outcome, _, reason = ended.partition(":")
    because = f": {reason}" if reason else ""
    return Node(Mark.YES, stage) if outcome == Outcome.OK else Node(Mark.NO, f"{stage}  {outcome}{because}")


def _asked(found: Happened) -> Iterator[Node]:
    record = found.entry.record
    said = []
    if digest := text_of(record, "args"):
        said.append(f"arguments of SHA-256 {digest}")
    if purpose := text_of(record, "purpose"):
        said.append(f"for {purpose!r}, as the agent declared")
    if (size := number_of(record, "size")) >= 0:
        said.append(f"{size} bytes")
    if revision := text_of(record, "revision"):
        said.append(f"MCP {revision}")
    if said:
        arguments = (Node(Mark.NONE, line) for line in _arguments(found))
        yield Node(Mark.NOTE, f"asked with {', '.join(said)}", tuple(arguments))


def _arguments(found: Happened) -> Iterator[str]:
    if found.arguments is not None:
        width = max(map(len, found.arguments), default=0)
        yield from (f"{name:<{width}}  {dumps(value).decode()}" for name, value in found.arguments.items())


def _rules(found: Happened, *, all_rules: bool) -> Iterator[Node]:
    if found.rules is None:
        yield from _recorded_rules(found)
        return
    about = sorted(
        (r for r in found.rules if r.is_about_caller), key=lambda r: (not _applied(r, found), not r.names_call)
    )
    others = [rule for rule in found.rules if not rule.is_about_caller]
    yield from (_rule(rule, found) for rule in about)
    rest = len(others) if all_rules else OTHERS_SHOWN
    yield from (_rule(rule, found) for rule in others[:rest])
    if more := len(others[rest:]):
        yield Node(Mark.NOTE, f"{more} more rules are about other workloads; --all shows them")
    yield Node(Mark.NOTE, f"rules by the policy {text_of(found.entry.record, 'policy')}, {found.policy_from}")


def _recorded_rules(found: Happened) -> Iterator[Node]:
    for finding in findings_of(found.entry):
        if finding.rule in {DEFAULT_DENY, MORE_RULES}:
            yield Node(Mark.NOTE, finding.why)
        else:
            mark = Mark.APPLIES if finding.matched else Mark.PASSES
            yield Node(mark, f"{finding.kind} {finding.rule} {_APPLIED[finding.matched]}: {finding.why}")
    if (more := number_of(found.entry.record, "more_rules", 0)) > 0:
        yield Node(Mark.NOTE, f"{more} more rules were looked at, which the record does not name")


def _applied(rule: RetracedRule, found: Happened) -> bool | None:
    """By the policy where that can be told, else by the record."""
    recorded = found.findings.get(rule.rule.id)
    return rule.applies if rule.applies is not None else recorded.matched if recorded is not None else None


def _rule(said: RetracedRule, found: Happened) -> Node:
    rule, recorded, applied = said.rule, found.findings.get(said.rule.id), _applied(said, found)
    words = "may have applied" if applied is None else _APPLIED[applied]
    how = ", as recorded" if said.applies is None and applied is not None else ""
    shadow = " (in shadow: not enforced)" if rule.shadow else ""
    text = f"{rule.kind} {rule.id} {words}{how}{shadow}  {place_of(rule)}"
    mark = Mark.UNKNOWN if applied is None else Mark.APPLIES if applied else Mark.PASSES
    if not said.names_call:
        return Node(mark, f"{text}: {said.answers[-1].answer.why}")
    branches = [_answer(answer, said) for answer in said.answers]
    if said.applies is None and recorded is not None:
        branches.append(Node(Mark.NOTE, f"as recorded: {recorded.why}"))
    return Node(mark, text, tuple(branches))


def _answer(said: RetracedAnswer, rule: RetracedRule) -> Node:
    if said.yes is not None:
        return answer_node(said.answer, rule.rule)
    missing = tuple(Node(Mark.NONE, f"{each} is not known") for each in said.unknown)
    return Node(Mark.UNKNOWN, f"{label_of(said.answer)}{said.answer.why}", missing)


def _approval(found: Happened) -> Iterator[Node]:
    """Who agreed to this call, or was asked."""
    if words := approval_words(found.entry):
        happened = tuple(Node(Mark.NONE, happened_words(each)) for each in found.approval)
        yield Node(Mark.NOTE, f"approval {words}", happened)


def _shadow(found: Happened) -> Iterator[Node]:
    shadow = found.entry.part("shadow")
    if shadow:
        because = f"by {', '.join(rules)}" if (rules := texts_of(shadow, "rules")) else "none of them applied"
        yield Node(Mark.NOTE, f"if the rules in shadow had been enforced: {text_of(shadow, 'decision')}, {because}")


def _token(found: Happened) -> Iterator[Node]:
    token = found.entry.part("token")
    if token:
        width = max(map(len, token))
        claims = (Node(Mark.NONE, f"{name:<{width}}  {_claim(name, value)}") for name, value in token.items())
        yield Node(Mark.YES, "left with a token for this call alone", tuple(claims))


def _claim(name: str, value: JsonValue) -> str:
    if name == "exp" and isinstance(value, int) and not isinstance(value, bool):
        return f"{value}  {moment_s(value)}"
    return value if isinstance(value, str) else dumps(value).decode()


def _end(found: Happened) -> Iterator[Node]:
    entry, outcome = found.entry, found.entry.outcome or {}
    words = _ENDS.get(status_of(entry))
    if words is None:
        return
    said = [f"the call {words}"]
    if entry.took_us is not None:
        said.append(f"after {entry.took_us / 1000:g} ms")
    if (status := number_of(outcome, "http")) >= 0:
        said.append(f"HTTP {status}")
    if (size := number_of(entry.answer, "bytes")) >= 0:
        said.append(f"{size} bytes")
    yield Node(Mark.YES if entry.status in _WELL else Mark.NO, ", ".join(said))
    if (hidden := number_of(outcome, "hidden", 0)) > 0:
        yield Node(Mark.NOTE, f"{hidden} tools of the list were not shown")
