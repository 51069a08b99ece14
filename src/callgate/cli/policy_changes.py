"""What `callgate policy diff` found, as text and as JSON."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from callgate.cli.approval_terms import approval_json, approval_text
from callgate.cli.words import counted, to_second, told
from callgate.policy.decide import DecisionOutcome
from callgate.policy.difference import Change, Difference
from callgate.policy.tally import Group, Tally
from callgate.policy.terms import Terms
from callgate.policy.verdict import Verdict
from callgate.wire.json_strict import JsonObject, JsonValue

# What a person reads; JSON has all of them.
_DIFFERENCES_SHOWN: Final = 20
_GROUPS_SHOWN: Final = 10

_TITLES: Final[Mapping[Change, str]] = {
    Change.DENIED: "allow -> deny",
    Change.ALLOWED: "deny -> allow",
    Change.HELD: "allow -> hold for approval",
    Change.FREED: "hold for approval -> allow",
    Change.TERMS: "allow -> allow, on other terms",
    Change.REASON: "deny -> deny, for another reason",
    Change.UNKNOWN: "cannot be told",
}
_MAY: Final[Mapping[str, str]] = {"": "no change", **{change.value: title for change, title in _TITLES.items()}}
_NEEDS: Final[Mapping[str, str]] = {
    "args": "the arguments, which `record: full` keeps and --identity reads",
    "user.claims": "the user's claims, which no record holds",
    "user.groups": "all of the user's groups, of which a record has 64",
    "tool.annotations": "the tool's annotations, which no record holds",
    "policy": "the text of the policy that decided, for the terms of its grants",
    "history": "what the workload did before the log begins, or meanwhile without a record",
}


@dataclass(frozen=True, slots=True)
class Compared:
    """What was compared: `old` and `new` in words, and policies in force whose text is not known, with why."""

    old: str
    new: str
    unknown_policies: Mapping[str, str]


def as_text(tally: Tally, compared: Compared) -> Iterator[str]:
    """The figures, then each change by workload and tool, the most frequent first."""
    span = f" from {to_second(tally.since)} to {to_second(tally.until)}" if tally.since else ""
    yield f"{counted(tally.compared, 'decision')}{span}"
    yield f"  {compared.old} -> {compared.new}"
    for change in Change:
        if tally.changes[change]:
            yield f"  {tally.changes[change]:>12,}  {_TITLES[change]}"
    yield f"  {tally.unchanged:>12,}  no change"
    yield from _sections(tally)
    yield from _notes(tally, compared)


def _sections(tally: Tally) -> Iterator[str]:
    by_change: dict[Change, dict[Difference, list[Group]]] = {change: {} for change in Change}
    for group in tally.groups:
        by_change[group.difference.change].setdefault(group.difference, []).append(group)
    for change, found in by_change.items():
        if found:
            yield ""
            yield f"{_TITLES[change]}: {counted(tally.changes[change], 'decision')}"
            ordered = sorted(found.items(), key=lambda each: -_sum(each[1]))
            for difference, groups in ordered[:_DIFFERENCES_SHOWN]:
                yield from _difference(difference)
                yield from _groups(groups)
            if rest := ordered[_DIFFERENCES_SHOWN:]:
                count = sum(_sum(groups) for _, groups in rest)
                yield f"  and {counted(count, 'decision')} that change otherwise; --format json has all"


def _groups(groups: list[Group]) -> Iterator[str]:
    first, last = min(group.first for group in groups), max(group.last for group in groups)
    workloads = len({group.subject[0] for group in groups})
    span = to_second(first) if first == last else f"{to_second(first)} to {to_second(last)}"
    yield f"    {counted(_sum(groups), 'decision')} of {counted(workloads, 'workload')}, {span}"
    for group in groups[:_GROUPS_SHOWN]:
        caller, server, method, tool = group.subject
        what = f"{told(caller)}  {told(tool or method)} on {told(server)}"
        yield f"    {group.count:>9,}  {what}  such as {told(group.examples[0])}"
    if rest := groups[_GROUPS_SHOWN:]:
        yield f"    {_sum(rest):>9,}  of other workloads and tools; --format json has all"


def _sum(groups: list[Group]) -> int:
    return sum(group.count for group in groups)


def _difference(found: Difference) -> Iterator[str]:
    if found.change is Change.UNKNOWN:
        yield f"  may be: {', or '.join(_MAY[each] for each in found.may) or 'anything'}"
        yield from (f"  hangs on: {told(hinge)}" for hinge in found.hinges)
        yield from (f"  needs {_NEEDS.get(name, name)}" for name in found.needs)
        return
    if found.aspects:
        yield f"  different: {', '.join(found.aspects)}"
    yield f"  old: {_verdict(found.old)}"
    yield f"  new: {_verdict(found.new)}"


def _verdict(found: Verdict | None) -> str:
    if found is None:
        return "not known"
    outcome = (
        _allowed(found) if found.outcome is DecisionOutcome.ALLOW else f"denied ({found.reason or 'reason not known'})"
    )
    if found.rules is None:
        return f"{outcome}; by which rules is not known"
    if not found.rules:
        return outcome if found.outcome is DecisionOutcome.ALLOW else f"{outcome}: no grant applies"
    terms = _terms(found.terms) if found.terms is not None else ""
    return f"{outcome} by {', '.join(map(told, found.rules))}{terms}"


def _allowed(found: Verdict) -> str:
    return "held for approval" if found.terms is not None and found.terms.is_held else "allowed"


def _terms(terms: Terms) -> str:
    said = [f"scopes {' '.join(sorted(terms.scopes))}"] if terms.scopes else []
    said += [f"ttl {terms.ttl_s}s"] if terms.ttl_s is not None else []
    said += [f"limit {calls} in {per_s}s" for calls, per_s in sorted(terms.limits)]
    said += [f"approval of {text}" for text in sorted(map(approval_text, terms.approvals))]
    said += [f"record {terms.record}"] if terms.record is not None else []
    return f" ({'; '.join(said)})" if said else ""


def _notes(tally: Tally, compared: Compared) -> Iterator[str]:
    notes = list(_all_notes(tally, compared))
    if notes:
        yield ""
    yield from notes


def _all_notes(tally: Tally, compared: Compared) -> Iterator[str]:
    if tally.not_asked:
        yield f"{counted(tally.not_asked.total(), 'request')} not about policy: refused before it was asked"
    if tally.limits:
        said = f"{counted(tally.limits.total(), 'request')} refused by a limit ({', '.join(sorted(tally.limits))})"
        yield f"{said} count as allowed: limits are not asked again"
    if tally.unsaid:
        yield f"{counted(tally.unsaid, 'refusal')} only counted by the gate, without a record: not compared"
    if tally.unreadable:
        yield f"{counted(tally.unreadable, 'record')} without caller, server, method or time: not compared"
    if tally.uncounted:
        yield f"{counted(tally.uncounted, 'decision')} changed for yet other workloads and tools, which are not listed"
    for digest, why in compared.unknown_policies.items():
        yield f"the policy {told(digest)} {told(why)}: what its rules say is not known"


def as_json(tally: Tally, compared: Compared) -> JsonObject:
    """All of it."""
    return {
        "version": 1,
        "old": compared.old,
        "new": compared.new,
        "since": tally.since,
        "until": tally.until,
        "decisions": tally.compared,
        "unchanged": tally.unchanged,
        "changes": {change.value: tally.changes[change] for change in Change},
        "not_about_policy": dict(tally.not_asked),
        "limited": dict(tally.limits),
        "without_record": tally.unsaid,
        "unreadable": tally.unreadable,
        "not_listed": tally.uncounted,
        "unknown_policies": dict(compared.unknown_policies),
        "groups": [_group_json(group) for group in tally.groups],
    }


def _group_json(group: Group) -> JsonValue:
    caller, server, method, tool = group.subject
    found = group.difference
    return {
        "change": found.change.value,
        "caller": caller,
        "server": server,
        "method": method,
        "tool": tool or None,
        "count": group.count,
        "first": group.first,
        "last": group.last,
        "examples": [*group.examples],
        "old": _verdict_json(found.old),
        "new": _verdict_json(found.new),
        "different": [*found.aspects],
        "may": [each or "no_change" for each in found.may],
        "hangs_on": [*found.hinges],
        "needs": [*found.needs],
    }


def _verdict_json(found: Verdict | None) -> JsonValue:
    if found is None:
        return None
    return {
        "decision": "hold" if found.terms is not None and found.terms.is_held else found.outcome.value,
        "reason": found.reason,
        "rules": None if found.rules is None else [*found.rules],
        "terms": None if found.terms is None else _terms_json(found.terms),
    }


def _terms_json(terms: Terms) -> JsonValue:
    return {
        "scopes": [*sorted(terms.scopes)],
        "ttl_s": terms.ttl_s,
        "limits": [{"calls": calls, "per_s": per_s} for calls, per_s in sorted(terms.limits)],
        "approvals": sorted((approval_json(each) for each in terms.approvals), key=repr),
        "record": terms.record,
    }
