"""The narrowest grants that cover what was used.

Without a policy: for each workload, the very tools that it called.  With one: its own grants, each for the workloads and
tools that used it and with all else as it is (conditions, users, times, scopes), so that nothing is wider than it was.
A tool counts as used once a call of it was answered: callers can ask for tools that do not exist.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from callgate.identity.spiffe_id import SpiffeId
from callgate.policy.file_faults import RULES, entries_of, id_of
from callgate.policy.model import DEFAULT_DENY, MAX_PATTERNS_IN_RULE, MORE_RULES, POLICY_LIMITS
from callgate.policy.patterns import WorkloadPattern
from callgate.policy.usage import Subject, Usage, Use
from callgate.yaml_strict import YamlValue, scan

Uses: TypeAlias = Mapping[Subject, Use]
# Workloads, and the tools that all of them used.
Part: TypeAlias = tuple[tuple[str, ...], tuple[str, ...]]
# Workload or its folder, server, scopes (None: they varied).
GroupKey: TypeAlias = tuple[str, str, frozenset[str] | None]
Groups: TypeAlias = Mapping[GroupKey, Uses]
# A workload or a pattern of them, server, scopes, uses.
Folded: TypeAlias = tuple[str, str, frozenset[str] | None, Uses]

# As `callgate.policy.model` takes them.
_MAX_ID: Final = 63
_NOT_IN_ID: Final = re.compile(r"[^A-Za-z0-9._-]+")
# Beside grants, in the order in which a file has them.
KEPT: Final = ("tools", "screening", "owners", "denials", "packs")
_NARROWED: Final = frozenset({"id", "workloads", "server", "tools"})


@dataclass(frozen=True, slots=True)
class Suggested:
    """One grant.  `terms`: its further keys, as in a policy file; `notes`: what its author should know, a line each."""

    id: str
    workloads: tuple[str, ...]
    server: str
    tools: tuple[str, ...]
    terms: Mapping[str, YamlValue] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What was called and is not covered, and why."""

    subject: Subject
    calls: int
    why: str


@dataclass(frozen=True, slots=True)
class Written:
    """A policy as its files have it: grants by their ids, the other lists in order, by their names in the file."""

    grants: Mapping[str, Mapping[str, YamlValue]]
    lists: Mapping[str, tuple[Mapping[str, YamlValue], ...]]

    @property
    def shadow(self) -> tuple[Mapping[str, YamlValue], ...]:
        """Grants that are not enforced."""
        return tuple(grant for grant in self.grants.values() if grant.get("shadow") is True)


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A policy.  `kept`: grants in shadow and the other lists of the policy given, taken over as they are."""

    trust_domains: tuple[str, ...]
    grants: tuple[Suggested, ...]
    left_out: tuple[LeftOut, ...]
    kept: Written | None = None


def written(files: Iterable[tuple[str, str]]) -> Written:
    """A policy that was read before, as its files (name, text) have it."""
    grants: dict[str, Mapping[str, YamlValue]] = {}
    lists: dict[str, list[Mapping[str, YamlValue]]] = {key: [] for key in KEPT}
    for name, text in files:
        document, _ = scan(text, name, POLICY_LIMITS)
        value = document.value if document is not None else None
        grants |= {str(grant.get("id")): grant for _, grant in entries_of(value, "grants")}
        for key, entries in lists.items():
            entries += [entry for _, entry in entries_of(value, key)]
    return Written(grants, {key: tuple(entries) for key, entries in lists.items()})


def suggestion(usage: Usage, given: Written | None, *, fold: bool = False) -> Suggestion:
    """What to grant.  `given`: `usage.policy` as written; None without one.

    `fold`: workloads of one folder become one pattern, `…/sa/*`, unless that would let through what was refused; with a
    policy, its own patterns stay.
    """
    used = {subject: use for subject, use in usage.uses.items() if use.calls}
    covered = {subject: use for subject, use in used.items() if use.answered and (given is None or use.grants)}
    if given is None or usage.policy is None:
        grants = _bare(covered, usage.uses, fold=fold)
        domains = sorted({WorkloadPattern.parse(caller).trust_domain for caller, _, _ in covered})
    else:
        grants = _narrowed(covered, given, fold=fold)
        domains = sorted(domain.name for domain in usage.policy.trust_domains)
    left_out = tuple(LeftOut(subject, use.calls, _why(use)) for subject, use in used.items() if subject not in covered)
    return Suggestion(tuple(domains), tuple(grants), left_out, given)


def _why(use: Use) -> str:
    return "the policy given does not allow it" if use.answered else "no call of it was answered"


def _narrowed(covered: Uses, given: Written, *, fold: bool) -> Iterator[Suggested]:
    """The grants of a policy, for those who used them and what they used."""
    ids = Ids([*given.grants, *(str(id_of(rule)) for key in RULES for rule in given.lists.get(key, ()))])
    for name, grant in given.grants.items():
        uses = {subject: use for subject, use in covered.items() if name in use.grants}
        terms = {key: value for key, value in grant.items() if key not in _NARROWED}
        parts = _parts(uses)
        if fold and parts:
            parts = [(_matching(grant.get("workloads"), parts), _all_tools(parts))]
        for number, (workloads, tools) in enumerate(_in_chunks(parts)):
            notes = tuple(_notes(uses, tools))
            new = ids.new(name) if number else name
            yield Suggested(new, workloads, str(grant.get("server")), tools, terms, notes)


def _matching(patterns: YamlValue, parts: Iterable[Part]) -> tuple[str, ...]:
    """Those of a grant's patterns that name a workload which used it."""
    callers = [SpiffeId.parse(caller) for workloads, _ in parts for caller in workloads]
    texts = [text for text in patterns if isinstance(text, str)] if isinstance(patterns, list) else []
    return tuple(text for text in texts if any(map(WorkloadPattern.parse(text).matches, callers)))


def _bare(covered: Uses, uses: Uses, *, fold: bool) -> Iterator[Suggested]:
    """A grant for each workload and server, and for each of the sets of scopes that its tokens had."""
    groups: dict[GroupKey, dict[Subject, Use]] = {}
    for (caller, server, tool), use in covered.items():
        scopes = next(iter(use.scopes)) if len(use.scopes) == 1 else None
        groups.setdefault((caller, server, scopes), {})[caller, server, tool] = use
    ids = Ids()
    for pattern, server, scopes, found in _folded(groups, uses) if fold else _unfolded(groups):
        terms: dict[str, YamlValue] = {"scopes": [*sorted(scopes)]} if scopes else {}
        notes = (*(() if scopes is not None else (_VARYING,)), *(_WIDER if pattern.endswith("/*") else ()))
        for workloads, tools in _in_chunks([((pattern,), _all_tools(_parts(found)))]):
            said = (*_notes(found, tools), *_unconditional(found, tools), *notes)
            yield Suggested(ids.new(f"{_name_of(pattern)}-{server}"), workloads, server, tools, terms, said)


_WIDER: Final = ("folded: any other workload of this folder may call these, too",)
_VARYING: Final = "the scopes of its tokens differed from call to call: they are left out"


def _unfolded(groups: Groups) -> Iterator[Folded]:
    for (caller, server, scopes), found in sorted(groups.items(), key=lambda each: each[0][:2]):
        yield caller, server, scopes, found


def _folded(groups: Groups, uses: Uses) -> Iterator[Folded]:
    """Workloads of a folder as one pattern, where that lets through nothing that was refused."""
    folders: dict[GroupKey, dict[GroupKey, Uses]] = {}
    for (caller, server, scopes), found in groups.items():
        folders.setdefault((_folder(caller), server, scopes), {})[caller, server, scopes] = found
    refused: dict[tuple[str, str, str], set[Subject]] = {}
    for (caller, server, tool), use in uses.items():
        if use.refused:
            refused.setdefault((_folder(caller), server, tool), set()).add((caller, server, tool))
    for (folder, server, scopes), members in sorted(folders.items(), key=lambda each: each[0][:2]):
        found = {subject: use for each in members.values() for subject, use in each.items()}
        tools = {tool for _, _, tool in found}
        opens = any(refused.get((folder, server, tool), set()) - found.keys() for tool in tools)
        if len(members) > 1 and not opens:
            yield f"{folder}/*", server, scopes, found
        else:
            yield from _unfolded(members)


def _folder(caller: str) -> str:
    return caller.rpartition("/")[0]


def _parts(uses: Uses) -> list[Part]:
    """Workloads that used the same tools stand together: no pair of the two that was not used is in it."""
    tools: dict[str, set[str]] = {}
    for caller, _, tool in uses:
        tools.setdefault(caller, set()).add(tool)
    parts: dict[tuple[str, ...], list[str]] = {}
    for caller in sorted(tools):
        parts.setdefault(tuple(sorted(tools[caller])), []).append(caller)
    return [(tuple(callers), names) for names, callers in sorted(parts.items(), key=lambda part: part[1])]


def _all_tools(parts: Iterable[Part]) -> tuple[str, ...]:
    return tuple(sorted({tool for _, tools in parts for tool in tools}))


def _in_chunks(parts: Iterable[Part]) -> Iterator[Part]:
    """As many patterns to a rule as a policy may have."""
    for workloads, tools in parts:
        for callers in _chunks(workloads):
            for names in _chunks(tools):
                yield callers, names


def _chunks(texts: Sequence[str]) -> Iterator[tuple[str, ...]]:
    for first in range(0, len(texts), MAX_PATTERNS_IN_RULE):
        yield tuple(texts[first : first + MAX_PATTERNS_IN_RULE])


def _notes(uses: Uses, tools: Iterable[str]) -> Iterator[str]:
    """How often each tool was called, by how many, and when last."""
    by_tool: dict[str, list[Use]] = {}
    for (_, _, tool), use in uses.items():
        by_tool.setdefault(tool, []).append(use)
    for tool in tools:
        found = by_tool[tool]
        calls, last = sum(use.calls for use in found), max(use.last for use in found)
        yield f"{tool}: {_counted(calls, 'call')} by {_counted(len(found), 'workload')}, last {last[:19]}Z"


def _unconditional(uses: Uses, tools: Iterable[str]) -> Iterator[str]:
    for tool in tools:
        refused = sum(use.refused for (_, _, name), use in uses.items() if name == tool)
        if refused:
            were, them = ("was", "it") if refused == 1 else ("were", "them")
            said = f"{_counted(refused, 'call')} of it {were} refused, and this would allow {them}"
            yield f"{tool}: {said}; with --policy, conditions stay"
        held = sum(use.held for (_, _, name), use in uses.items() if name == tool)
        if held:
            said = f"people were asked for {_counted(held, 'call')} of it, and this asks nobody"
            yield f"{tool}: {said}; with --policy, approvals stay"


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


class Ids:
    """Ids for rules, each given once."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = {DEFAULT_DENY, MORE_RULES, *taken}

    def new(self, wish: str) -> str:
        """`wish`, or the next of `wish-2`, `wish-3`."""
        plain = _NOT_IN_ID.sub("-", wish).strip("-._") or "grant"
        found, number = plain[:_MAX_ID], 1
        while found in self._taken:
            number += 1
            found = f"{plain[: _MAX_ID - len(str(number)) - 1]}-{number}"
        self._taken.add(found)
        return found


def _name_of(pattern: str) -> str:
    """What a workload is called, by the end of its path: `agent` of ns/billing/sa/agent, `billing-sa` of ns/billing/sa/*."""
    *folder, last = pattern.split("/")
    return "-".join(segment for segment in folder[-2:] if segment) if last == "*" else last
