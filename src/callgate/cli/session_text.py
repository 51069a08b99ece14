"""A session on a terminal: the table of sessions, and the steps of one of them as trees."""

from collections.abc import Iterable, Iterator
from typing import Final

from callgate.audit.sessions import Overview
from callgate.audit.story import PathStep, Step, Tone
from callgate.cli.approval_words import approval_words, happened_words
from callgate.cli.branches import Mark, Node, draw
from callgate.cli.session_content import Content, as_line, as_text
from callgate.cli.session_words import (
    SIGNS,
    VERDICTS,
    call_words,
    ending_words,
    names,
    session_words,
    token_words,
    traffic_words,
)
from callgate.cli.words import counted, duration, moment, offset, told
from callgate.trace import Finding

_MARKS = {Tone.WELL: Mark.YES, Tone.DENIED: Mark.NO, Tone.FAILED: Mark.NONE, Tone.OPEN: Mark.NONE, Tone.HELD: Mark.NONE}
# Of one message: more than a screen of it hides the rest of the story.
_MAX_LINES: Final = 40
# What fits into a line or two of a terminal stays one line.
_SHORT_CHARS: Final = 200
_HEADINGS = ("session", "first", "lasted", "requests", "denied", "failed", "status", "servers", "agent", "user")
_RIGHT = frozenset({"lasted", "requests", "denied", "failed"})


def as_table(sessions: Iterable[Overview]) -> Iterator[str]:
    """A line for each session below a heading; columns as wide as what stands in them."""
    rows = [_HEADINGS, *map(_row, sessions)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = zip(_HEADINGS, row, widths, strict=True)
        yield "  ".join(_cell(text, width, name) for name, text, width in cells).rstrip()


def _row(session: Overview) -> tuple[str, ...]:
    return (
        told(session.id),
        moment(session.first_ns),
        duration((session.last_ns - session.first_ns) // 1000),
        str(session.requests),
        str(session.count(Tone.DENIED)),
        str(session.count(Tone.FAILED)),
        session.status,
        names(session.servers),
        names(session.callers),
        names(session.users),
    )


def _cell(text: str, width: int, heading: str) -> str:
    return text.rjust(width) if heading in _RIGHT else text.ljust(width)


def head(session: Overview, content: str) -> Iterator[str]:
    """What there is to know of a whole session, before its steps.  `content`: how much of it was kept, in words."""
    yield f"session {told(session.id)}  {names(session.callers) or 'a caller without a verified identity'}"
    if session.users:
        yield f"  for {names(session.users)}"
    lasted = duration((session.last_ns - session.first_ns) // 1000)
    on = f", on {names(session.servers)}" if session.servers else ""
    yield f"  {moment(session.first_ns)} to {moment(session.last_ns)} ({lasted}){on}"
    yield f"  {session_words(session)}"
    if content:
        yield f"  {content}"


def as_tree(step: Step, content: Content, *, colour: bool) -> str:
    """One step, of several lines."""
    mark = _MARKS[step.tone]
    sign = "" if mark.value[0] else f"{SIGNS[step.tone]} "
    title = f"{sign}{step.number}  {offset(step.offset_us)}  {VERDICTS[step.tone]}  {call_words(step)}"
    entry = step.entry
    foot = f"trace {told(entry.trace)}  decision {told(entry.decision)}  record {entry.seq}"
    branches = (*_branches(step), *_content(content), Node(Mark.NOTE, foot))
    return draw(Node(mark, title, branches, (ending_words(step),)), colour=colour)


def _branches(step: Step) -> Iterator[Node]:
    if step.path:
        yield Node(Mark.NONE, "  ".join(map(_passed, step.path)))
    yield from map(_rule, step.rules)
    if step.more_rules:
        yield Node(Mark.NOTE, f"{counted(step.more_rules, 'more rule')} looked at")
    yield from _approval(step)
    if step.token:
        yield Node(Mark.NONE, f"token {token_words(step.token, step.entry.time_ns)}")
    if traffic := traffic_words(step.traffic, step):
        yield Node(Mark.NONE, traffic)


def _approval(step: Step) -> Iterator[Node]:
    if words := approval_words(step.entry):
        happened = tuple(Node(Mark.NONE, happened_words(each)) for each in step.approval)
        yield Node(Mark.NOTE, f"approval {words}", happened)


def _passed(step: PathStep) -> str:
    if step.is_ok:
        return f"✓ {told(step.stage)}"
    return f"{'✗' if step.outcome == 'refused' else '!'} {told(step.stage)}: {told(step.reason or step.outcome)}"


def _rule(rule: Finding) -> Node:
    name = told(rule.rule if rule.kind == rule.rule else f"{rule.kind} {rule.rule}")
    applies = "applies" if rule.matched else "does not apply"
    return Node(Mark.APPLIES if rule.matched else Mark.PASSES, f"{name} {applies}: {told(rule.why)}")


def _content(content: Content) -> Iterator[Node]:
    for passed in content.passed:
        title = f"{passed.kind} at {offset(passed.at_us)}"
        if len(line := as_line(passed)) <= _SHORT_CHARS:
            yield Node(Mark.NONE, f"{title}  {line}")
            continue
        lines = as_text(passed).split("\n")
        cut = (f"… {counted(len(lines) - _MAX_LINES, 'more line')}",) if len(lines) > _MAX_LINES else ()
        yield Node(Mark.NONE, title, lines=(*lines[:_MAX_LINES], *cut))
    if content.note:
        yield Node(Mark.NOTE, told(content.note))
