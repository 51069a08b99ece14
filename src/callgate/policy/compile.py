"""A policy file made ready for decisions.

What can be known before a call comes is worked out once: patterns are expressions, sentences are written, rules are
found by their server.  What a policy has for one workload on one server is worked out at that workload's first call
and kept (`Policy.view`), so that rules about others cost a decision nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import sha256
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

from callgate.identity.spiffe_id import SpiffeId, TrustDomain
from callgate.policy.model import POLICY_LIMITS, DenialEntry, GrantEntry, PolicyFile, cross_check
from callgate.policy.patterns import ToolPattern, WorkloadPattern
from callgate.trace import Finding
from callgate.yaml_model import read_model
from callgate.yaml_strict import Problem

RuleKind: TypeAlias = Literal["grant", "denial"]

# What one decision tells of: as many rules as a person reads and a trace carries.
MAX_FINDINGS: Final = 200
# Workloads whose rules are kept ready: beyond any gate's set of live callers, and some MiB at the very most.
MAX_VIEWS: Final = 1_024
# Sentences of one rule that are kept: a rule with many patterns of both sorts would have a million.
MAX_SENTENCES_KEPT: Final = 256
# Of all names that a token for `tools/list` may carry, so that it fits into a header line of 8 KiB.
MAX_LISTABLE_CHARACTERS: Final = 3_000
# A sentence names this many patterns of a rule, and how many more there are.
_PATTERNS_NAMED: Final = 3


@dataclass(frozen=True, slots=True)
class Rule:
    """One grant or denial.

    No `workloads`: a denial for all.  `other_workload` and `other_tool` are what is found when that does not match.
    """

    id: str
    kind: RuleKind
    workloads: tuple[WorkloadPattern, ...]
    tools: tuple[ToolPattern, ...]
    exact_tools: frozenset[str]
    wild_tools: tuple[ToolPattern, ...]
    scopes: tuple[str, ...]
    ttl_s: int | None
    other_workload: Finding
    other_tool: Finding
    _applying: dict[tuple[str, str], Finding] = field(default_factory=dict, repr=False, compare=False)

    def applies(self, pattern: str, workload: str) -> Finding:
        """What is found when the rule applies.  Written once for each pair, since callers cannot make new ones up."""
        found = self._applying.get((pattern, workload))
        if found is None:
            found = Finding(self.id, self.kind, matched=True, why=f"tool matches {pattern}; {workload}")
            if len(self._applying) < MAX_SENTENCES_KEPT:
                self._applying[pattern, workload] = found
        return found

    def workload_match(self, caller: SpiffeId) -> str | None:
        """The words for how `caller` is one of this rule's workloads; None if it is not."""
        if not self.workloads:
            return "any workload"
        return next((f"workload matches {p.text}" for p in self.workloads if p.matches(caller)), None)

    def tool_match(self, tool: str) -> str | None:
        """The pattern of this rule that names `tool`, or None."""
        if tool in self.exact_tools:
            return tool
        for pattern in self.wild_tools:
            if pattern.matches(tool):
                return pattern.text
        return None


@dataclass(frozen=True, slots=True)
class Bound:
    """A rule that is about the caller in question, and the words for how."""

    rule: Rule
    workload: str


@dataclass(frozen=True, slots=True)
class View:
    """What a policy has for one workload on one server.

    `others` are the findings on rules about other workloads, no more than MAX_FINDINGS; `uncounted` rules are beyond
    that.  `implied` is what is found for a method that a grant implies.  `scopes` and `listable` are what a token for `tools/list` may carry where a tool server shows its list by
    scope: the scopes of grants that allow a tool at all, and the tools that are named exactly and can be called.
    """

    grants: tuple[Bound, ...] = ()
    denials: tuple[Bound, ...] = ()
    others: tuple[Finding, ...] = ()
    uncounted: int = 0
    grant_ids: tuple[str, ...] = ()
    implied: tuple[Finding, ...] = ()
    scopes: tuple[str, ...] = ()
    listable: tuple[str, ...] = ()

    def allows(self, tool: str) -> bool:
        """Whether the workload may call `tool`: a grant names it and no denial does."""
        return matches_any(self.grants, tool) and not matches_any(self.denials, tool)


def matches_any(rules: Iterable[Bound], tool: str) -> bool:
    """Whether one of the rules names `tool`."""
    return any(bound.rule.tool_match(tool) is not None for bound in rules)


_NOTHING: Final = View()


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy in force.  Immutable; `_views` only remembers what follows from the rest.

    `digest` is "sha256:" and the hexadecimal SHA-256 of the file's bytes: what `sha256sum policy.yaml` prints.
    `rules` are by server, in the order of the file, grants first.
    """

    digest: str
    trust_domains: frozenset[TrustDomain]
    rules: Mapping[str, tuple[Rule, ...]]
    _views: dict[tuple[str, str, str], View] = field(default_factory=dict, repr=False, compare=False)

    def count(self, kind: RuleKind) -> int:
        """How many grants or denials there are."""
        return sum(rule.kind == kind for rules in self.rules.values() for rule in rules)

    def view(self, caller: SpiffeId, server: str) -> View:
        """What this policy has for `caller` on `server`."""
        rules = self.rules.get(server)
        if rules is None:
            return _NOTHING
        key = (server, caller.trust_domain.name, caller.path)
        found = self._views.get(key)
        if found is None:
            if len(self._views) >= MAX_VIEWS:
                del self._views[next(iter(self._views))]
            found = self._views[key] = _view(rules, caller)
        return found


def load_policy(text: str, filename: str, servers: frozenset[str] | None = None) -> Policy | tuple[Problem, ...]:
    """Read a policy file, or say all that is wrong with it.

    `servers` are the names that the configuration knows; None where that is not known, and then any may be named.
    """
    file = read_model(text, filename, PolicyFile, partial(cross_check, servers=servers), POLICY_LIMITS)
    if isinstance(file, tuple):
        return file
    by_server: dict[str, list[Rule]] = {}
    for grant in file.grants:
        by_server.setdefault(grant.server, []).append(_grant(grant))
    for denial in file.denials:
        by_server.setdefault(denial.server, []).append(_denial(denial))
    return Policy(
        digest=f"sha256:{sha256(text.encode()).hexdigest()}",
        trust_domains=frozenset(map(TrustDomain, file.trust_domains)),
        rules=MappingProxyType({server: tuple(rules) for server, rules in by_server.items()}),
    )


def _grant(entry: GrantEntry) -> Rule:
    return _rule("grant", entry, scopes=entry.scopes or (), ttl_s=entry.ttl_s)


def _denial(entry: DenialEntry) -> Rule:
    return _rule("denial", entry)


def _rule(
    kind: RuleKind, entry: GrantEntry | DenialEntry, *, scopes: tuple[str, ...] = (), ttl_s: int | None = None
) -> Rule:
    tools = tuple(map(ToolPattern.parse, entry.tools))
    workloads = entry.workloads or ()
    return Rule(
        id=entry.id,
        kind=kind,
        workloads=tuple(map(WorkloadPattern.parse, workloads)),
        tools=tools,
        exact_tools=frozenset(tool.text for tool in tools if tool.is_exact),
        wild_tools=tuple(tool for tool in tools if not tool.is_exact),
        scopes=scopes,
        ttl_s=ttl_s,
        other_workload=Finding(entry.id, kind, matched=False, why=f"workload is not {_named(workloads)}"),
        other_tool=Finding(entry.id, kind, matched=False, why=f"tool is not {_named(entry.tools)}"),
    )


def _named(patterns: Sequence[str]) -> str:
    """`a`, `a or b`, `a, b, c or one of 7 more`."""
    named = list(patterns[:_PATTERNS_NAMED])
    more = len(patterns) - len(named)
    last = f"one of {more} more" if more else named.pop() if named else ""
    return f"{', '.join(named)} or {last}" if named else last


def _view(rules: tuple[Rule, ...], caller: SpiffeId) -> View:
    grants: list[Bound] = []
    denials: list[Bound] = []
    others: list[Finding] = []
    for rule in rules:
        if (words := rule.workload_match(caller)) is None:
            others.append(rule.other_workload)
        else:
            (grants if rule.kind == "grant" else denials).append(Bound(rule, words))
    view = View(tuple(grants), tuple(denials), tuple(others[:MAX_FINDINGS]), max(0, len(others) - MAX_FINDINGS))
    return _with_what_is_implied(view) if grants else view


def _with_what_is_implied(view: View) -> View:
    """Naming tools implies the methods that a client needs to get there."""
    open_grants = [bound.rule for bound in view.grants if _opens(bound.rule, view)]
    return replace(
        view,
        grant_ids=tuple(bound.rule.id for bound in view.grants),
        implied=tuple(map(_implies, view.grants[:MAX_FINDINGS])),
        scopes=tuple(dict.fromkeys(scope for rule in open_grants for scope in rule.scopes)),
        listable=_listable(view),
    )


def _opens(rule: Rule, view: View) -> bool:
    """Whether the workload can call any tool that `rule` names, as far as that can be told without the server's list."""
    return any(view.allows(tool.text) if tool.is_exact else True for tool in rule.tools)


def _implies(bound: Bound) -> Finding:
    why = f"{bound.workload}; a grant of any tool implies this method"
    return Finding(bound.rule.id, bound.rule.kind, matched=True, why=why)


def _listable(view: View) -> tuple[str, ...]:
    named = dict.fromkeys(tool.text for bound in view.grants for tool in bound.rule.tools if tool.is_exact)
    found: list[str] = []
    room = MAX_LISTABLE_CHARACTERS
    for tool in named:
        if view.allows(tool):
            room -= len(tool)
            if room < 0:
                break
            found.append(tool)
    return tuple(found)
