"""One request on the page of a session."""

from collections.abc import Iterator, Mapping
from itertools import chain

from callgate.audit.passed import Passed
from callgate.audit.story import PathStep, Step
from callgate.cli.approval_words import approval_words, happened_words
from callgate.cli.markup import Markup, joined, tag
from callgate.cli.session_content import Content, as_text
from callgate.cli.session_picture import mark
from callgate.cli.session_words import VERDICTS, call_words, ending_words, token_end, traffic_words
from callgate.cli.words import clock, counted, moment_s, offset, told
from callgate.trace import Finding, Outcome
from callgate.wire.members import number_of, text_of, texts_of

_OUTCOMES = frozenset(Outcome)


def step_article(step: Step, content: Content) -> Markup:
    """A list item `#step-N`: what everybody asks first, and folded away what is needed to go on from there."""
    heading = f"heading-{step.number}"
    parts = (
        _heading(step, heading),
        tag("p", ending_words(step), class_="ending said"),
        tag("ol", *map(_stage, step.path), class_="path", aria_label="Decision path"),
        *_rules(step),
        *_approval(step),
        *_content(content),
        tag("details", tag("summary", "Token, sizes and identifiers"), tag("dl", *_facts(step))),
    )
    return tag(
        "li", tag("article", *parts, aria_labelledby=heading), id=f"step-{step.number}", class_=f"step {step.tone}"
    )


def _heading(step: Step, name: str) -> Markup:
    return tag(
        "h3",
        mark(step.tone),
        tag("span", f"{step.number}", class_="number"),
        tag("code", call_words(step)),
        tag("span", VERDICTS[step.tone], class_=f"verdict {step.tone}"),
        tag("span", f"{offset(step.offset_us)}, {clock(step.entry.time_ns)}", class_="when"),
        id=name,
    )


def _stage(step: PathStep) -> Markup:
    outcome = step.outcome if step.outcome in _OUTCOMES else Outcome.FAILED
    words = told(step.stage) if step.is_ok else f"{told(step.stage)}: {told(step.reason or step.outcome)}"
    return tag("li", words, class_=f"{outcome} said")


def _rules(step: Step) -> Iterator[Markup]:
    if step.rules:
        yield tag("ul", *map(_rule, step.rules), class_="rules", aria_label="Rules")
    if step.more_rules:
        yield tag("p", f"{counted(step.more_rules, 'more rule')} looked at", class_="note")


def _approval(step: Step) -> Iterator[Markup]:
    if not step.entry.approval:
        return
    yield tag("p", "Approval ", tag("code", told(step.entry.approval)), class_="note")
    if step.approval:
        happened = (tag("li", happened_words(each), class_="said") for each in step.approval)
        yield tag("ul", *happened, class_="approval", aria_label="What people were asked and said")


def _rule(rule: Finding) -> Markup:
    name = rule.rule if rule.kind == rule.rule else f"{rule.kind} {rule.rule}"
    applies = "applies" if rule.matched else "does not apply"
    words = (tag("code", told(name)), f" {applies}: ", tag("span", told(rule.why), class_="said"))
    return tag("li", *words, class_="applies" if rule.matched else "passes")


def _facts(step: Step) -> Iterator[Markup]:
    for name, fact in chain(_of_token(step), _of_request(step), _ids(step)):
        if fact:
            yield joined(tag("dt", name), tag("dd", fact, class_="said"))


def _of_token(step: Step) -> Iterator[tuple[str, str]]:
    if step.token is None:
        yield "Token", "none was made"
        return
    yield "Token (jti)", told(step.token.jti)
    yield "For (aud)", told(step.token.audience)
    yield "Scope", told(step.token.scope)
    yield "Good until", token_end(step.token, step.entry.time_ns)


def _of_request(step: Step) -> Iterator[tuple[str, str]]:
    entry = step.entry
    yield "Passed", traffic_words(step.traffic, step)
    yield "Detail", told(text_of(entry.record, "detail"))
    yield "From", told(entry.address)
    yield "User's groups", ", ".join(map(told, texts_of(entry.part("user"), "groups")))
    yield "Declared purpose", told(text_of(entry.record, "purpose"))
    yield "MCP revision", told(text_of(entry.record, "revision"))
    if hidden := number_of(entry.outcome or {}, "hidden", 0):
        yield "Hidden from the list", counted(hidden, "tool")
    yield from _shadow(entry.part("shadow"))
    dates = entry.record.get("svid")
    if isinstance(dates, list) and len(dates) == 2 and all(isinstance(each, int) for each in dates):
        yield "SVID valid", " to ".join(moment_s(each) for each in dates if isinstance(each, int))


def _shadow(shadow: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    decision, reason = shadow.get("decision"), shadow.get("reason")
    if isinstance(decision, str):
        yield "In shadow", told(f"{decision} ({reason})" if reason else decision)


def _ids(step: Step) -> Iterator[tuple[str, str]]:
    entry = step.entry
    yield "Decision", told(entry.decision)
    yield "Trace", told(entry.trace)
    yield "Record", f"{entry.seq}"
    yield "Arguments (SHA-256)", told(text_of(entry.record, "args"))
    yield "Certificate (SHA-256)", told(text_of(entry.record, "leaf"))
    yield "Approval", approval_words(entry)
    yield "Policy", told(text_of(entry.record, "policy"))


def _content(content: Content) -> Iterator[Markup]:
    if content.passed:
        summary = tag("summary", f"Content: {counted(len(content.passed), 'message')}")
        yield tag("details", summary, *map(_message, content.passed))
    if content.note:
        yield tag("p", told(content.note), class_="note")


def _message(passed: Passed) -> Markup:
    said = f"{passed.kind}, {offset(passed.at_us)} after the call began"
    # Scrolls, and so must be reached by the keyboard.
    return tag("div", tag("p", said), tag("pre", as_text(passed), tabindex=0, aria_label=said), class_="message")
