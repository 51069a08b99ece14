"""One rule of a policy file made ready for decisions."""

from collections.abc import Sequence
from typing import Final, TypeAlias

from callgate.policy.approval_entries import compiled_approval
from callgate.policy.condition import Condition, RuleCondition
from callgate.policy.file_faults import default_id
from callgate.policy.limit import Limit
from callgate.policy.mask_entries import names_of, rules_of
from callgate.policy.model import DenialEntry, GrantEntry, PackEntry, UsersEntry
from callgate.policy.pack_condition import PackCondition
from callgate.policy.patterns import ToolPattern, WorkloadPattern
from callgate.policy.rule import Rule, RuleKind, UsersMatch
from callgate.policy.schedule import Schedule
from callgate.policy.templates import ScopeTemplate
from callgate.screening.packs import PACKS
from callgate.trace import Finding

RuleEntry: TypeAlias = GrantEntry | DenialEntry | PackEntry

# A sentence names this many patterns of a rule, and how many more there are.
_PATTERNS_NAMED: Final = 3


def compiled_rule(entry: RuleEntry, when: Condition | None, place: tuple[str, int]) -> Rule:
    """The rule.  `when` is its condition in CEL, `place` its file and line."""
    tools = tuple(map(ToolPattern.parse, entry.tools))
    workloads = entry.workloads or ()
    grant = entry if isinstance(entry, GrantEntry) else None
    kind: RuleKind = "grant" if grant else "denial"
    name = _id_of(entry)
    named = f"shadow-{kind}" if entry.shadow else kind
    return Rule(
        id=name,
        kind=kind,
        server=entry.server,
        workloads=tuple(map(WorkloadPattern.parse, workloads)),
        tools=tools,
        exact_tools=frozenset(tool.text for tool in tools if tool.is_exact),
        wild_tools=tuple(tool for tool in tools if not tool.is_exact),
        users=_users(entry.users) if entry.users else None,
        condition=_condition(entry, when),
        schedule=Schedule.of(entry.starts, entry.until, entry.lasts_s, entry.between),
        shadow=entry.shadow,
        scopes=tuple(map(ScopeTemplate.parse, grant.scopes or ())) if grant else (),
        ttl_s=grant.ttl_s if grant else None,
        limit=Limit(name, grant.limit.calls, grant.limit.per_s) if grant and grant.limit else None,
        approval=compiled_approval(name, grant.approval) if grant and grant.approval else None,
        record=grant.record if grant else None,
        mask=rules_of(grant.mask) if grant else (),
        unmask=tuple(sorted(names_of(grant.unmask))) if grant else (),
        mask_arguments=rules_of(grant.mask_arguments) if grant else (),
        file=place[0],
        line=place[1],
        other_workload=Finding(name, named, matched=False, why=f"workload is not {_named(workloads)}"),
        other_tool=Finding(name, named, matched=False, why=f"tool is not {_named(entry.tools)}"),
    )


def _id_of(entry: RuleEntry) -> str:
    if isinstance(entry, PackEntry) and entry.id is None:
        return default_id(entry.server, entry.pack)
    return entry.id or ""


def _condition(entry: RuleEntry, when: Condition | None) -> RuleCondition | None:
    if not isinstance(entry, PackEntry):
        return when
    left_out = entry.exceptions
    return PackCondition(
        PACKS[entry.pack],
        when,
        frozenset(left_out.rules or () if left_out else ()),
        tuple(map(ToolPattern.parse, left_out.tools or () if left_out else ())),
        tuple(map(WorkloadPattern.parse, left_out.workloads or () if left_out else ())),
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
