"""A policy file, or several, made ready for decisions.

What can be known before a call comes is worked out once: patterns are expressions, conditions are compiled, sentences
are written, rules are found by their server.  What a policy has for one workload on one server is worked out at that
workload's first call and kept (`Policy.view`), so that rules about others cost a decision nothing.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from types import MappingProxyType
from typing import Final

from callgate.identity.spiffe_id import SpiffeId, TrustDomain
from callgate.policy.condition import Condition, compile_condition
from callgate.policy.limit import Limit
from callgate.policy.model import (
    POLICY_LIMITS,
    DenialEntry,
    GrantEntry,
    PolicyFile,
    TagsEntry,
    UsersEntry,
    cross_check,
    rules_of,
)
from callgate.policy.patterns import ToolPattern, WorkloadPattern
from callgate.policy.rule import Rule, RuleKind, UsersMatch
from callgate.policy.schedule import Schedule
from callgate.policy.tags import TagEntry, ToolTags
from callgate.policy.templates import ScopeTemplate
from callgate.policy.view import View, view_of
from callgate.trace import Finding
from callgate.yaml_model import read_model
from callgate.yaml_strict import Document, Problem, shown

# Workloads whose rules are kept ready: beyond any gate's set of live callers, and some MiB at the very most.
MAX_VIEWS: Final = 1_024
# A sentence names this many patterns of a rule, and how many more there are.
_PATTERNS_NAMED: Final = 3
_NOTHING: Final = View()


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy in force.  Immutable; `_views` only remembers what follows from the rest.

    `digest` is "sha256:" and the hexadecimal SHA-256 of the file's bytes: what `sha256sum policy.yaml` prints.  Of
    several files it is that of what `sha256sum` prints for them, in the order of their names, run where they are.
    `rules` are by server, in the order of the files, grants first.  `sources` are the files, as (name, text).
    """

    digest: str
    trust_domains: frozenset[TrustDomain]
    rules: Mapping[str, tuple[Rule, ...]]
    tags: ToolTags = field(default_factory=ToolTags)
    sources: tuple[tuple[str, str], ...] = field(default=(), repr=False, compare=False)
    _views: dict[tuple[str, str, str], View] = field(default_factory=dict, repr=False, compare=False)

    @property
    def files(self) -> tuple[str, ...]:
        """The files' names."""
        return tuple(name for name, _ in self.sources)

    @property
    def sources_told(self) -> tuple[Mapping[str, str], ...]:
        """The files' names, and the SHA-256 of each."""
        return tuple({"name": name, "sha256": sha256(text.encode()).hexdigest()} for name, text in self.sources)

    def count(self, kind: RuleKind) -> int:
        """How many grants or denials there are."""
        return sum(rule.kind == kind for rules in self.rules.values() for rule in rules)

    def view(self, caller: SpiffeId, server: str, now: float) -> View:
        """What this policy has for `caller` on `server` at `now`, in Unix seconds."""
        rules = self.rules.get(server)
        if rules is None:
            return _NOTHING
        key = (server, caller.trust_domain.name, caller.path)
        found = self._views.get(key)
        if found is None or not found.holds_at(now):
            if found is None and len(self._views) >= MAX_VIEWS:
                del self._views[next(iter(self._views))]
            found = self._views[key] = view_of(rules, caller, now)
        return found


@dataclass(slots=True)
class _Reading:
    """What is gathered while files are read: rules, tags, and each condition's text compiled once."""

    servers: frozenset[str] | None
    has_auditors: bool
    rules: dict[str, list[Rule]] = field(default_factory=dict)
    tags: list[TagEntry] = field(default_factory=list)
    trust_domains: set[TrustDomain] = field(default_factory=set)
    ids: dict[str, str] = field(default_factory=dict)
    conditions: dict[str, Condition] = field(default_factory=dict)

    def read(self, text: str, filename: str) -> tuple[Problem, ...]:
        """Take one file in, or say all that is wrong with it."""
        documents: list[Document] = []

        def check(document: Document) -> Iterator[Problem]:
            documents.append(document)
            yield from cross_check(document, self.servers, has_auditors=self.has_auditors)
            yield from self._conditions_of(document)

        file = read_model(text, filename, PolicyFile, check, POLICY_LIMITS)
        if isinstance(file, tuple):
            return file
        self.trust_domains |= set(map(TrustDomain, file.trust_domains))
        self.tags += map(_tags, file.tools)
        return tuple(self._take(file, documents[0]))

    def _conditions_of(self, document: Document) -> Iterator[Problem]:
        for path, rule in rules_of(document.value):
            text = rule.get("when")
            if isinstance(text, str) and text not in self.conditions:
                found = compile_condition(text)
                if isinstance(found, Condition):
                    self.conditions[text] = found
                    continue
                for problem in found:
                    place = (*path, "when")
                    yield document.problem(
                        place, f"when: {problem.message} (at character {problem.column} of '{shown(text)}')"
                    )

    def _take(self, file: PolicyFile, document: Document) -> Iterator[Problem]:
        kinds: tuple[tuple[RuleKind, str, Sequence[GrantEntry | DenialEntry]], ...] = (
            ("grant", "grants", file.grants),
            ("denial", "denials", file.denials),
        )
        for kind, key, entries in kinds:
            for index, entry in enumerate(entries):
                other = self.ids.setdefault(entry.id, document.file)
                if other != document.file:
                    words = f"id '{shown(entry.id)}' is used twice; the first is in {other}"
                    yield document.problem((key, index, "id"), words)
                line = document.position_of((key, index))[0]
                condition = self.conditions[entry.when] if entry.when is not None else None
                rule = _rule(kind, entry, condition, (document.file, line))
                self.rules.setdefault(entry.server, []).append(rule)


def load_policy(text: str, filename: str, servers: frozenset[str] | None = None) -> Policy | tuple[Problem, ...]:
    """Read a policy of one file, or say all that is wrong with it.

    `servers` are the names that the configuration knows; None where that is not known, and then any may be named.
    """
    return load_policies(((filename, text),), servers)


def load_policies(
    files: Sequence[tuple[str, str]], servers: frozenset[str] | None = None, *, has_auditors: bool = True
) -> Policy | tuple[Problem, ...]:
    """Read a policy of several files, each (name, text); rules and tags add up.  At least one file.

    `servers` as in `load_policy`, `has_auditors` as in `model.cross_check`.
    """
    reading = _Reading(servers, has_auditors)
    problems = [problem for name, text in files for problem in reading.read(text, name)]
    if problems:
        return tuple(problems)
    return Policy(
        digest=_digest(files),
        trust_domains=frozenset(reading.trust_domains),
        rules=MappingProxyType({server: _grants_first(rules) for server, rules in reading.rules.items()}),
        tags=ToolTags(tuple(reading.tags)),
        sources=tuple(files),
    )


def _digest(files: Sequence[tuple[str, str]]) -> str:
    digests = sorted((name.rpartition("/")[2], sha256(text.encode()).hexdigest()) for name, text in files)
    if len(digests) == 1:
        return f"sha256:{digests[0][1]}"
    lines = "".join(f"{digest}  {name}\n" for name, digest in digests)
    return f"sha256:{sha256(lines.encode()).hexdigest()}"


def _grants_first(rules: list[Rule]) -> tuple[Rule, ...]:
    return tuple(sorted(rules, key=lambda rule: rule.kind != "grant"))


def _tags(entry: TagsEntry) -> TagEntry:
    return TagEntry(entry.server, tuple(map(ToolPattern.parse, entry.tools)), frozenset(entry.tags))


def _rule(kind: RuleKind, entry: GrantEntry | DenialEntry, condition: Condition | None, place: tuple[str, int]) -> Rule:
    tools = tuple(map(ToolPattern.parse, entry.tools))
    workloads = entry.workloads or ()
    grant = entry if isinstance(entry, GrantEntry) else None
    named = f"shadow-{kind}" if entry.shadow else kind
    return Rule(
        id=entry.id,
        kind=kind,
        server=entry.server,
        workloads=tuple(map(WorkloadPattern.parse, workloads)),
        tools=tools,
        exact_tools=frozenset(tool.text for tool in tools if tool.is_exact),
        wild_tools=tuple(tool for tool in tools if not tool.is_exact),
        users=_users(entry.users) if entry.users else None,
        condition=condition,
        schedule=Schedule.of(entry.starts, entry.until, entry.lasts_s, entry.between),
        shadow=entry.shadow,
        scopes=tuple(map(ScopeTemplate.parse, grant.scopes or ())) if grant else (),
        ttl_s=grant.ttl_s if grant else None,
        limit=Limit(entry.id, grant.limit.calls, grant.limit.per_s) if grant and grant.limit else None,
        record=grant.record if grant else None,
        file=place[0],
        line=place[1],
        other_workload=Finding(entry.id, named, matched=False, why=f"workload is not {_named(workloads)}"),
        other_tool=Finding(entry.id, named, matched=False, why=f"tool is not {_named(entry.tools)}"),
    )


def _users(entry: UsersEntry) -> UsersMatch:
    parts = (("of", entry.issuers), ("named", entry.subjects), ("in group", entry.groups))
    said = " ".join(f"{word} {_named(names)}" for word, names in parts if names)
    return UsersMatch(
        f"a user {said}" if said else "a user",
        *(frozenset(names) if names else None for names in (entry.issuers, entry.subjects, entry.groups)),
    )


def _named(patterns: Sequence[str]) -> str:
    """`a`, `a or b`, `a, b, c or one of 7 more`."""
    named = list(patterns[:_PATTERNS_NAMED])
    more = len(patterns) - len(named)
    last = f"one of {more} more" if more else named.pop() if named else ""
    return f"{', '.join(named)} or {last}" if named else last
