"""The linter: what a policy says that its author will not have meant.

A policy that is refused never gets here.  What is remarked on is accepted and dead, or let through by more than it
looks; each remark is one of `remarks.CHECKS`.  Total for any policy that loads, and bounded.  Pure: `now` and the tool
servers' lists are parameters.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, TypeVar

from callgate.policy import remarks
from callgate.policy.compile import Policy
from callgate.policy.coverage import tool_covers, workload_covers
from callgate.policy.lint_approvals import lint_approvals
from callgate.policy.lint_conditions import lint_conditions
from callgate.policy.lint_pairs import lint_pairs
from callgate.policy.lint_screening import lint_screening
from callgate.policy.moments import written
from callgate.policy.patterns import ToolPattern, WorkloadPattern
from callgate.policy.places import Places
from callgate.policy.remarks import Level, Remark
from callgate.policy.rule import Rule
from callgate.policy.schedule import Schedule
from callgate.wire.json_strict import JsonObject
from callgate.yaml_model import did_you_mean

# Wildcards of one list that its patterns are compared with; a list with more is written by a program.
_MAX_WILDCARDS_COMPARED: Final = 30

P = TypeVar("P", ToolPattern, WorkloadPattern)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is known beside the policy.

    `now` in Unix seconds.  `tools`: by server, each tool's `inputSchema` by its name; servers whose list is not known
    are left out.  `issuers`: those whose users' tokens the gate takes; None where that is not known.
    """

    now: float
    tools: Mapping[str, Mapping[str, JsonObject]] = field(default_factory=lambda: MappingProxyType({}))
    issuers: frozenset[str] | None = None


def lint(policy: Policy, files: Sequence[tuple[str, str]], known: Surroundings) -> tuple[Remark, ...]:
    """All remarks, in the order of the files.  `files` are those that the policy was loaded from, (name, text) each."""
    places = Places.of(files)
    found: list[Remark] = []
    for rules in policy.rules.values():
        for rule in rules:
            found += _schedule(rule, places, known.now)
            found += _repeated(rule, places)
            found += _unknown_tools(rule, places, known.tools.get(rule.server))
            found += _unknown_issuers(rule, places, known.issuers)
    found += lint_pairs(policy.rules, places)
    found += lint_conditions(policy, places, known.tools)
    found += lint_screening(policy, places, known.tools)
    found += lint_approvals(policy, places)
    names = {name: index for index, (name, _) in enumerate(files)}
    return tuple(sorted(found, key=lambda remark: (names.get(remark.file, len(names)), *remark.place)))


def _schedule(rule: Rule, places: Places, now: float) -> Iterator[Remark]:
    schedule = rule.schedule
    if schedule is None:
        return
    if _is_never_active(schedule):
        words = f"{rule.kind} '{rule.id}' is never in force: its hours do not come between its beginning and its end"
        yield places.remark(remarks.NEVER_ACTIVE, rule, ("between",), words)
    elif schedule.ends is not None and now >= schedule.ends:
        words = f"{rule.kind} '{rule.id}' ended {written(schedule.ends)}"
        # An ended grant gives nothing; an ended denial protects nothing any more, and nobody was told.
        yield places.remark(remarks.EXPIRED, rule, ("until",), words)


def _is_never_active(schedule: Schedule) -> bool:
    """Whether no moment between beginning and end is within the hours; known only where there are both."""
    if schedule.starts is None or schedule.ends is None or schedule.starts >= schedule.ends:
        return False
    state = schedule.state(schedule.starts)
    return not state.active and state.changes is None


def _repeated(rule: Rule, places: Places) -> Iterator[Remark]:
    wild = [pattern for pattern in rule.workloads if "*" in pattern.text]
    for index, wider in _covered(rule.workloads, wild[:_MAX_WILDCARDS_COMPARED], workload_covers):
        words = f"'{rule.workloads[index].text}' is among '{wider.text}' already"
        yield places.remark(remarks.REPEATED_PATTERN, rule, ("workloads", index), words)
    for index, wide in _covered(rule.tools, rule.wild_tools[:_MAX_WILDCARDS_COMPARED], tool_covers):
        words = f"'{rule.tools[index].text}' is among '{wide.text}' already"
        yield places.remark(remarks.REPEATED_PATTERN, rule, ("tools", index), words)


def _covered(patterns: Sequence[P], wild: Sequence[P], covers: Callable[[P, P], bool]) -> Iterator[tuple[int, P]]:
    """Where a pattern stands that another one covers, and that one; of two that say the same, the later one."""
    first: dict[str, int] = {}
    for index, pattern in enumerate(patterns):
        if first.setdefault(pattern.text, index) != index:
            yield index, pattern
            continue
        for other in wild:
            # Of two that name the same, such as `*?` and `?*`, the later one.
            is_wider = not covers(pattern, other) or first.get(other.text, index) < index
            if other.text != pattern.text and is_wider and covers(other, pattern):
                yield index, other
                break


def _unknown_tools(rule: Rule, places: Places, listed: Mapping[str, JsonObject] | None) -> Iterator[Remark]:
    if listed is None:
        return
    for index, tool in enumerate(rule.tools):
        if tool.text in listed or (not tool.is_exact and any(map(tool.matches, listed))):
            continue
        # A denial of a name that nothing bears protects nothing.
        level = Level.ERROR if rule.kind == "denial" and tool.is_exact else Level.WARNING
        if tool.is_exact:
            words = f"server '{rule.server}' has no tool '{tool.text}'{did_you_mean(tool.text, listed)}"
        else:
            words = f"no tool of server '{rule.server}' is named by '{tool.text}'"
            level = Level.NOTE
        yield places.remark(remarks.UNKNOWN_TOOL, rule, ("tools", index), words, level)


def _unknown_issuers(rule: Rule, places: Places, issuers: frozenset[str] | None) -> Iterator[Remark]:
    if rule.users is None or issuers is None:
        return
    if not issuers:
        words = f"no issuer of users' tokens is configured, so that no call of '{rule.id}' has a user"
        yield places.remark(remarks.UNKNOWN_ISSUER, rule, ("users",), words)
        return
    for issuer in sorted(rule.users.issuers or ()):
        if issuer not in issuers:
            words = f"issuer '{issuer}' is not configured{did_you_mean(issuer, issuers)}"
            yield places.remark(remarks.UNKNOWN_ISSUER, rule, ("users", "issuers"), words)
