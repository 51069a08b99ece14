"""What `callgate policy suggest` found, as text and as JSON."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from callgate.cli.words import counted, days, to_second, told
from callgate.policy.suggestion import LeftOut, Suggested, Suggestion
from callgate.policy.unused import GrantReport, Standing
from callgate.policy.usage import Usage
from callgate.wire.json_strict import JsonObject, JsonValue

# What a person reads; JSON has all of them.
_LEFT_OUT_SHOWN: Final = 20
_TOOLS_SHOWN: Final = 10

_ORDER: Final = (Standing.UNUSED, Standing.NOT_YET, Standing.NOT_IN_FORCE, Standing.USED)


@dataclass(frozen=True, slots=True)
class Told:
    """What is told: the policy suggested, as text and in parts, and what was made of the one given.

    `unused_s`: how long a grant has to be idle to be called unused, in seconds; `reach_s`: how far the log goes back.
    """

    usage: Usage
    suggestion: Suggestion
    text: str
    reports: tuple[GrantReport, ...]
    unused_s: float
    reach_s: float
    unknown_policies: Mapping[str, str]


def head(usage: Usage, reach_s: float) -> Iterator[str]:
    """The first lines of the file."""
    calls = sum(use.calls for use in usage.uses.values())
    yield f"What was used: {counted(calls, 'call')} from {to_second(usage.since)} to {to_second(usage.until)} ({days(reach_s)})."
    yield "Read it before you use it: what was not called in that time is not in it."


def as_text(found: Told) -> Iterator[str]:
    """What is unused and what was left out, then the file."""
    lines = list(_remarks(found))
    yield from lines
    if lines:
        yield ""
    yield found.text.rstrip("\n")


def _remarks(found: Told) -> Iterator[str]:
    for report in sorted(found.reports, key=lambda report: _ORDER.index(report.standing)):
        yield from _grant(report, found)
    for left in found.suggestion.left_out[:_LEFT_OUT_SHOWN]:
        yield f"left out: {_left_out(left)}"
    if (more := len(found.suggestion.left_out) - _LEFT_OUT_SHOWN) > 0:
        yield f"left out: {more} more; --format json has all"
    callers = {(caller, server) for (caller, server, _), use in found.usage.uses.items() if use.calls}
    for caller, server in sorted(found.usage.listeners - callers):
        yield f"left out: {told(caller)} on {told(server)}, which called no tool; what it asked for needs a grant of one"
    if found.usage.unlisted:
        yield f"left out: {counted(found.usage.unlisted, 'call')} of too many different workloads and tools"
    for digest, why in found.unknown_policies.items():
        yield f"the policy {told(digest)} {told(why)}: what its rules say is not known"


def _grant(report: GrantReport, found: Told) -> Iterator[str]:
    yield f"{report.grant}: {_standing(report, found)}"
    if report.standing is Standing.USED:
        if report.unused_tools:
            yield f"  named and never called in {days(report.seen_s)}: {_listed(report.unused_tools)}"
        for pattern, tools in report.wildcards:
            could = f"could be {_listed(tools)}" if tools else "named no tool that was called"
            yield f"  {pattern} {could}"


def _standing(report: GrantReport, found: Told) -> str:
    match report.standing:
        case Standing.USED:
            return f"used {'once' if report.calls == 1 else f'{report.calls:,} times'}, last {to_second(report.last)}"
        case Standing.UNUSED if report.idle_s is not None:
            return f"unused for {days(report.idle_s)}: last used {to_second(report.last)}"
        case Standing.UNUSED:
            return f"unused: not once in the {days(report.seen_s)} that the log tells of it"
        case Standing.NOT_YET:
            return (
                f"not used in the {days(report.seen_s)} that the log tells of it; "
                f"whether it was in {days(found.unused_s)} is not known"
            )
        case Standing.NOT_IN_FORCE:
            return "no decision of this log was made under a policy known to have it"


def as_json(found: Told) -> JsonObject:
    """All of it."""
    return {
        "version": 1,
        "since": found.usage.since,
        "until": found.usage.until,
        "reach_s": found.reach_s,
        "unused_s": found.unused_s,
        "policy": found.text,
        "grants": [_suggested_json(grant) for grant in found.suggestion.grants],
        "left_out": [_left_json(left) for left in found.suggestion.left_out],
        "unlisted_calls": found.usage.unlisted,
        "given": [_report_json(report) for report in found.reports],
        "unknown_policies": dict(found.unknown_policies),
    }


def _suggested_json(grant: Suggested) -> JsonValue:
    return {
        "id": grant.id,
        "workloads": [*grant.workloads],
        "server": grant.server,
        "tools": [*grant.tools],
        "notes": [*grant.notes],
    }


def _left_json(left: LeftOut) -> JsonValue:
    caller, server, tool = left.subject
    return {"caller": caller, "server": server, "tool": tool, "calls": left.calls, "why": left.why}


def _report_json(report: GrantReport) -> JsonValue:
    wildcards: list[JsonValue] = [{"pattern": text, "tools": [*tools]} for text, tools in report.wildcards]
    return {
        "grant": report.grant,
        "standing": report.standing.value,
        "calls": report.calls,
        "last": report.last or None,
        "seen_s": report.seen_s,
        "idle_s": report.idle_s,
        "unused_tools": [*report.unused_tools],
        "wildcards": wildcards,
    }


def _left_out(left: LeftOut) -> str:
    caller, server, tool = left.subject
    return f"{told(caller)}  {told(tool)} on {told(server)}, {counted(left.calls, 'call')}: {left.why}"


def _listed(tools: tuple[str, ...]) -> str:
    more = len(tools) - _TOOLS_SHOWN
    return ", ".join(tools[:_TOOLS_SHOWN]) + (f" and {more} more" if more > 0 else "")
