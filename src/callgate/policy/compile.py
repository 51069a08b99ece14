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
from callgate.policy.approval import Owners
from callgate.policy.compile_rule import RuleEntry, compiled_rule
from callgate.policy.compile_screening import declaration_of, screen_of, tags_of
from callgate.policy.condition import Condition, compile_condition
from callgate.policy.file_faults import rules_of, unknown_unmasked
from callgate.policy.model import POLICY_LIMITS, OwnersEntry, PolicyFile, cross_check
from callgate.policy.owned import Owned, owners_of
from callgate.policy.patterns import WorkloadPattern
from callgate.policy.rule import Rule, RuleKind
from callgate.policy.screens import Screen, Screens
from callgate.policy.tags import Declaration, TagEntry, ToolTags
from callgate.policy.view import View, view_of
from callgate.yaml_model import read_model
from callgate.yaml_strict import Document, Problem, shown

# Workloads whose rules are kept ready: beyond any gate's set of live callers, and some MiB at the very most.
MAX_VIEWS: Final = 1_024
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
    screening: Screens = field(default_factory=Screens)
    owned: tuple[Owned, ...] = ()
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

    def owners_of(self, caller: SpiffeId) -> Owners:
        """Who answers for a workload; nobody where no entry of `owners` names it."""
        return owners_of(self.owned, caller)

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
    """What is gathered while files are read, and each condition's text compiled once."""

    servers: frozenset[str] | None
    has_auditors: bool
    has_approvals: bool
    rules: dict[str, list[Rule]] = field(default_factory=dict)
    tags: list[TagEntry] = field(default_factory=list)
    declarations: list[Declaration] = field(default_factory=list)
    screens: list[Screen] = field(default_factory=list)
    owned: list[Owned] = field(default_factory=list)
    documents: list[Document] = field(default_factory=list)
    trust_domains: set[TrustDomain] = field(default_factory=set)
    ids: dict[str, str] = field(default_factory=dict)
    conditions: dict[str, Condition] = field(default_factory=dict)

    def read(self, text: str, filename: str) -> tuple[Problem, ...]:
        """Take one file in, or say all that is wrong with it."""

        def check(document: Document) -> Iterator[Problem]:
            self.documents.append(document)
            yield from cross_check(
                document, self.servers, has_auditors=self.has_auditors, has_approvals=self.has_approvals
            )
            yield from self._conditions_of(document)

        file = read_model(text, filename, PolicyFile, check, POLICY_LIMITS)
        if isinstance(file, tuple):
            return file
        self.trust_domains |= set(map(TrustDomain, file.trust_domains))
        self.tags += (tags_of(entry) for entry in file.tools if entry.tags)
        self.declarations += (declaration_of(entry) for entry in file.tools if entry.sql or entry.shell)
        self.screens += map(screen_of, file.screening)
        self.owned += self._owned(file.owners, self.documents[-1])
        return tuple(self._take(file, self.documents[-1]))

    @property
    def masks(self) -> bool:
        """Whether a grant masks anything."""
        return any(rule.mask or rule.mask_arguments for rules in self.rules.values() for rule in rules)

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

    @staticmethod
    def _owned(entries: Sequence[OwnersEntry], document: Document) -> Iterator[Owned]:
        for index, entry in enumerate(entries):
            workloads = tuple(map(WorkloadPattern.parse, entry.workloads))
            owners = Owners(frozenset(entry.people or ()), frozenset(entry.groups or ()))
            yield Owned(workloads, owners, document.file, document.position_of(("owners", index))[0])

    def _take(self, file: PolicyFile, document: Document) -> Iterator[Problem]:
        lists: tuple[tuple[str, Sequence[RuleEntry]], ...] = (
            ("grants", file.grants),
            ("denials", file.denials),
            ("packs", file.packs),
        )
        for key, entries in lists:
            for index, entry in enumerate(entries):
                line = document.position_of((key, index))[0]
                when = self.conditions[entry.when] if entry.when is not None else None
                rule = compiled_rule(entry, when, (document.file, line))
                other = self.ids.setdefault(rule.id, document.file)
                if other != document.file:
                    words = f"id '{shown(rule.id)}' is used twice; the first is in {other}"
                    yield document.problem((key, index, "id"), words)
                self.rules.setdefault(entry.server, []).append(rule)


def load_policy(text: str, filename: str, servers: frozenset[str] | None = None) -> Policy | tuple[Problem, ...]:
    """Read a policy of one file, or say all that is wrong with it.

    `servers` are the names that the configuration knows; None where that is not known, and then any may be named.
    """
    return load_policies(((filename, text),), servers)


def load_policies(
    files: Sequence[tuple[str, str]],
    servers: frozenset[str] | None = None,
    *,
    has_auditors: bool = True,
    has_approvals: bool = True,
) -> Policy | tuple[Problem, ...]:
    """Read a policy of several files, each (name, text); rules and tags add up.  At least one file.

    `servers` as in `load_policy`, `has_auditors` and `has_approvals` as in `model.cross_check`.
    """
    reading = _Reading(servers, has_auditors, has_approvals)
    problems = [problem for name, text in files for problem in reading.read(text, name)]
    problems += unknown_unmasked(reading.documents)
    if problems:
        order = [name for name, _ in files]
        return tuple(sorted(problems, key=lambda each: (order.index(each.file), each.line, each.column)))
    return Policy(
        digest=_digest(files),
        trust_domains=frozenset(reading.trust_domains),
        rules=MappingProxyType({server: _grants_first(rules) for server, rules in reading.rules.items()}),
        tags=ToolTags(tuple(reading.tags), tuple(reading.declarations)),
        screening=Screens(tuple(reading.screens), is_idle=not reading.screens and not reading.masks),
        owned=tuple(reading.owned),
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
