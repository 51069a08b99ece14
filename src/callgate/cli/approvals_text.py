"""Requests for approval on a terminal: a table of them, and one with all that a person decides by."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from callgate.cli.approvals_words import (
    at,
    call_of,
    for_s,
    number,
    objects,
    seen,
    seen_json,
    seen_shortly,
    state_of,
    text,
    texts,
)
from callgate.cli.words import counted
from callgate.wire.json_strict import JsonObject

# Enough to name one among ten thousand to the next command.
ID_CHARACTERS: Final = 8
_HEADINGS: Final = ("id", "state", "agent", "call", "asked")
_NAME_COLUMN: Final = 10
_MARGIN: Final = " " * (_NAME_COLUMN + 3)
# Why somebody's answer would not count; what is not here is told by its code.
_WHY_NOT: Final = {
    "agents_own_user": "the asking agent runs as you, or nobody can tell as whom",
    "owner_of_the_workload": "you answer for the workload that asks",
    "not_an_approver": "the policy does not name you",
    "already_said": "you have answered",
    "sign_in_too_old": "you signed in too long ago",
}
_HINTS: Final = ("destructiveHint", "readOnlyHint", "idempotentHint", "openWorldHint")


def as_table(requests: Iterable[JsonObject]) -> Iterator[str]:
    """A line for each below a heading; columns as wide as what stands in them."""
    rows = [_HEADINGS, *map(_row, requests)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _row(request: JsonObject) -> tuple[str, ...]:
    return (
        short_id(request),
        state_of(request),
        seen_shortly(text(request, "caller")).removeprefix("spiffe://"),
        call_of(request),
        at(number(request, "asked_at")),
    )


def short_id(request: JsonObject) -> str:
    """The beginning of its id."""
    return seen_shortly(text(request, "id"))[:ID_CHARACTERS]


def as_lines(request: JsonObject) -> Iterator[str]:
    """All that the page shows, the arguments last and whole: what is decided on stands next to the question."""
    yield f"request {seen_shortly(text(request, 'id'))}  {state_of(request)}"
    for name, lines in _parts(request):
        for index, line in enumerate(lines):
            yield f"  {name:<{_NAME_COLUMN}} {line}" if index == 0 else f"{_MARGIN}{line}"
    arguments = request.get("arguments")
    yield "  arguments"
    for line in seen_json(arguments):
        yield f"    {line}"


def _parts(request: JsonObject) -> Iterator[tuple[str, Sequence[str]]]:
    yield "who", tuple(_who(request))
    yield "calls", (call_of(request),)
    yield "described", tuple(_definition(request.get("definition")))
    yield "why", tuple(map(seen, texts(request, "why"))) or ("a rule of the policy",)
    yield "found", tuple(map(seen, texts(request, "found")))
    yield "before", tuple(map(_before, objects(request, "before")))
    yield "approvers", tuple(map(_approvers, objects(request, "approvers")))
    yield "said", tuple(map(_vote, objects(request, "votes")))
    yield "covers", tuple(_covers(request))
    yield "asked", tuple(_asked(request))
    yield "you", tuple(_you(request))
    yield "trace", (seen_shortly(text(request, "trace")),)


def _who(request: JsonObject) -> Iterator[str]:
    yield seen(text(request, "caller"))
    svid = request.get("caller_svid")
    since = (
        f", its SVID was issued {at(number(svid, 'from'))}" if isinstance(svid, dict) and number(svid, "until") else ""
    )
    yield f"of trust domain {seen_shortly(text(request, 'trust_domain'))}{since}"
    if user := text(request, "user"):
        yield f"on behalf of {seen(user)}"
    if purpose := text(request, "purpose"):
        yield f"declares as its purpose, which nothing proves: {seen_shortly(purpose)}"


def _definition(definition: object) -> Iterator[str]:
    if not isinstance(definition, dict):
        yield "the tool's description is not known: it is not pinned"
        return
    yield seen_shortly(text(definition, "description")) or "the tool server gives no description"
    annotations = definition.get("annotations")
    if isinstance(annotations, dict):
        told = [
            f"{name} {str(annotations[name]).lower()}" for name in _HINTS if isinstance(annotations.get(name), bool)
        ]
        if told:
            yield f"its server says: {', '.join(told)}"


def _before(call: JsonObject) -> str:
    reason = f" ({seen_shortly(text(call, 'reason'))})" if text(call, "reason") else ""
    return f"{at(number(call, 'at'))}  {call_of(call)}: {seen_shortly(text(call, 'decision'))}{reason}"


def _approvers(approval: JsonObject) -> str:
    named = [*(f"group {seen(each)}" for each in texts(approval, "groups")), *map(seen, texts(approval, "people"))]
    needed, agreed = int(number(approval, "needed")), texts(approval, "agreed")
    said = f"{needed} of " if needed > 1 else ""
    so_far = f"; agreed so far: {', '.join(map(seen, agreed))}" if agreed else ""
    return f"{said}{' or '.join(named)}, by rule {seen_shortly(text(approval, 'rule'))}{so_far}"


def _vote(vote: JsonObject) -> str:
    verdict = {"approve": "approved", "deny": "denied"}.get(text(vote, "verdict"), "answered")
    reason = f": {seen(text(vote, 'reason'))}" if text(vote, "reason") else ""
    cover = vote.get("cover")
    wide = f" for {_cover_words(cover)}" if isinstance(cover, dict) else ""
    return f"{seen(text(vote, 'name'))} {verdict} it{wide} at {at(number(vote, 'at'))}{reason}"


def _cover_words(cover: JsonObject) -> str:
    return f"{counted(int(number(cover, 'calls')), 'call')} within {for_s(number(cover, 'seconds'))}"


def _covers(request: JsonObject) -> Iterator[str]:
    """What --repeat may say."""
    repeat = request.get("repeat")
    if isinstance(repeat, dict):
        same = ", ".join(map(seen, texts(repeat, "same")))
        of_which = f"with the same {same}" if same else "whatever its arguments"
        yield f"this call once; with --repeat up to {_cover_words(repeat)} of this tool {of_which}"
    calls, used = int(number(request, "calls")), int(number(request, "used"))
    if used or calls > 1:
        yield f"{used} of {counted(calls, 'call')} made"


def _asked(request: JsonObject) -> Iterator[str]:
    asks = int(number(request, "asks"))
    yield f"{at(number(request, 'asked_at'))}{f', {asks} times' if asks > 1 else ''}"
    if looked := texts(request, "seen"):
        yield f"seen by {', '.join(map(seen, looked))}"


def _you(request: JsonObject) -> Iterator[str]:
    """Where something keeps this reader from approving: what, before the whole of it has been read for nothing."""
    you = request.get("you")
    if text(request, "state") != "waiting" or not isinstance(you, dict) or you.get("may_approve") is True:
        return
    code = text(you, "why")
    may = "can deny it and not approve it" if you.get("may_deny") is True else "cannot answer it"
    yield f"{may}: {_WHY_NOT.get(code, seen_shortly(code))}"


def summary(request: JsonObject) -> str:
    """The request in one line: what a question is about, and what `--watch` prints."""
    return f"{short_id(request)}  {call_of(request)}  for {seen_shortly(text(request, 'caller'))}"
