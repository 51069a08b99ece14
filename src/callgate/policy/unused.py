"""What of a policy nobody used, as far as a log can tell."""

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import StrEnum

from callgate.policy.recorded import moment_of
from callgate.policy.rule import Rule
from callgate.policy.usage import GrantUse, Usage, grants_of


class Standing(StrEnum):
    """What can be said of a grant."""

    USED = "used"
    # Not once, or not any more, for as long as was asked.
    UNUSED = "unused"
    # Not once, but the log, or the grant, does not go back as far as was asked.
    NOT_YET = "not_used_yet"
    # The log knows nothing of it.
    NOT_IN_FORCE = "not_in_force"


@dataclass(frozen=True, slots=True)
class GrantReport:
    """One grant.

    `calls` that it let through, `last` of them as the log writes it.  `seen_s`: for how many seconds the log tells of
    it, `idle_s`: how long it has not been used at the log's end; None if it never was.  `unused_tools` are named exactly
    and were not called; `wildcards`: for each pattern, the tools that were, and answered.
    """

    grant: str
    standing: Standing
    calls: int
    last: str
    seen_s: float
    idle_s: float | None
    unused_tools: tuple[str, ...]
    wildcards: tuple[tuple[str, tuple[str, ...]], ...]


def grant_reports(usage: Usage, unused_s: float) -> tuple[GrantReport, ...]:
    """Each enforced grant of the policy.  `unused_s`: how long one has to be idle to be called unused, in seconds."""
    if usage.policy is None:
        return ()
    called: dict[str, set[str]] = {}
    answered: dict[str, set[str]] = {}
    for (_, _, tool), use in usage.uses.items():
        for grant in use.grants:
            called.setdefault(grant, set()).add(tool)
            if use.answered:
                answered.setdefault(grant, set()).add(tool)
    nothing = frozenset[str]()
    return tuple(
        _report(rule, usage, unused_s, (called.get(rule.id, nothing), answered.get(rule.id, nothing)))
        for rule in grants_of(usage.policy)
    )


def log_reach(usage: Usage) -> float:
    """How far the log goes back from its end, in seconds."""
    return _between(usage.since, usage.until)


def _report(rule: Rule, usage: Usage, unused_s: float, tools: tuple[AbstractSet[str], AbstractSet[str]]) -> GrantReport:
    """`tools`: those that were called by the grant, and those of them that answered."""
    use, (called, answered) = usage.grants[rule.id], tools
    seen_s = _between(use.since, usage.until) if use.since else 0.0
    idle_s = _between(use.last, usage.until) if use.calls else None
    unused = tuple(sorted(rule.exact_tools - called)) if use.since else ()
    return GrantReport(
        rule.id,
        _standing(use, seen_s, idle_s, unused_s),
        use.calls,
        use.last,
        seen_s,
        idle_s,
        unused,
        tuple(_wildcards(rule, answered)),
    )


def _standing(use: GrantUse, seen_s: float, idle_s: float | None, unused_s: float) -> Standing:
    if idle_s is not None:
        return Standing.UNUSED if idle_s >= unused_s else Standing.USED
    if not use.since:
        return Standing.NOT_IN_FORCE
    return Standing.UNUSED if seen_s >= unused_s else Standing.NOT_YET


def _wildcards(rule: Rule, answered: AbstractSet[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    for pattern in rule.wild_tools:
        yield pattern.text, tuple(sorted(tool for tool in answered - rule.exact_tools if pattern.matches(tool)))


def _between(first: str, last: str) -> float:
    """Seconds."""
    begin, end = moment_of({"time": first}), moment_of({"time": last})
    return max(0.0, end - begin) if begin is not None and end is not None else 0.0
