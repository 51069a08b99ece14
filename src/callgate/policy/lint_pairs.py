"""What rules make of one another: dead, bypassed, redundant, wider than they look.

Only what certainly is so is remarked on.  Rules in shadow are neither enforced nor reckoned with, but a grant or denial
in shadow that could never do anything is told of, too.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from callgate.policy import remarks
from callgate.policy.coverage import (
    names_all_tools,
    names_all_workloads,
    share_a_workload,
    shared_tools,
    tool_covers,
)
from callgate.policy.patterns import ToolPattern
from callgate.policy.places import Places
from callgate.policy.record_level import strongest
from callgate.policy.remarks import Level, Remark
from callgate.policy.rule import Rule

# Pairs of rules that are compared on one server: some seconds where all of them have wildcards.
MAX_COMPARISONS: Final = 100_000


@dataclass(slots=True)
class _Server:
    """The rules of one server, found by what they name; `left` is how many pairs may still be compared."""

    name: str
    grants: tuple[Rule, ...]
    denials: tuple[Rule, ...]
    left: int = MAX_COMPARISONS
    _by_tool: dict[str, list[Rule]] = field(default_factory=dict)
    _wild: list[Rule] = field(default_factory=list)

    def __post_init__(self) -> None:
        for rule in (*self.grants, *self.denials):
            for tool in rule.exact_tools:
                self._by_tool.setdefault(tool, []).append(rule)
            if rule.wild_tools:
                self._wild.append(rule)

    def naming(self, tool: ToolPattern) -> Iterator[Rule]:
        """The rules that may name all of `tool`; fewer once too many pairs have been compared."""
        if tool.is_exact:
            yield from self._counted(self._by_tool.get(tool.text, ()))
        yield from self._counted(self._wild)

    def counted_grants(self) -> Iterator[Rule]:
        """All grants, as far as pairs may still be compared."""
        return self._counted(self.grants)

    def _counted(self, rules: Iterable[Rule]) -> Iterator[Rule]:
        for rule in rules:
            self.left -= 1
            if self.left < 0:
                return
            yield rule


def lint_pairs(rules: Mapping[str, tuple[Rule, ...]], places: Places) -> Iterator[Remark]:
    """The remarks on the rules of each server."""
    for name, found in rules.items():
        grants = tuple(rule for rule in found if rule.kind == "grant")
        server = _Server(name, grants, tuple(rule for rule in found if rule.kind == "denial"))
        for grant in server.grants:
            yield from _grant(grant, server, places)
        for denial in server.denials:
            yield from _denial(denial, server, places)
        if server.left < 0:
            message = f"server '{name}' has {len(found)} rules, too many to compare each with each"
            yield places.remark(remarks.UNCOMPARED, found[0], (), message)


def _grant(grant: Rule, server: _Server, places: Places) -> Iterator[Remark]:
    taken = [_denial_of_all(grant, tool, server) for tool in grant.tools]
    if all(taken):
        ids = _named([rule.id for rule in taken if rule is not None])
        yield places.remark(remarks.DEAD_GRANT, grant, (), f"grant '{grant.id}' gives nothing: {ids} denies all of it")
        return
    for index, rule in enumerate(taken):
        if rule is not None:
            words = f"grant '{grant.id}' does not give '{grant.tools[index].text}': denial '{rule.id}' takes it away"
            yield places.remark(remarks.DEAD_GRANT, grant, ("tools", index), words)
    if not grant.shadow:
        yield from _wider_grant(grant, server, places)


def _denial_of_all(grant: Rule, tool: ToolPattern, server: _Server) -> Rule | None:
    """A denial that takes the whole of `tool` from all whom the grant gives it to, whatever the call."""
    for rule in server.naming(tool):
        if rule.kind == "denial" and _is_bare(rule) and names_all_workloads(rule, grant) and _names(rule, tool):
            return rule
    return None


def _is_bare(rule: Rule) -> bool:
    return rule.users is None and rule.condition is None and rule.schedule is None and not rule.shadow


def _names(rule: Rule, tool: ToolPattern) -> bool:
    return tool.text in rule.exact_tools or any(tool_covers(wide, tool) for wide in rule.wild_tools)


def _wider_grant(grant: Rule, server: _Server, places: Places) -> Iterator[Remark]:
    """Grants add up: what another one gives as well is given without this one's conditions."""
    for other in server.naming(grant.tools[0]):
        if other is grant or other.kind != "grant" or other.shadow or not _gives_all_of(other, grant):
            continue
        if not _asks_no_more(other, grant):
            continue
        if _is_limited_alike(other, grant):
            if _obliges_as_much(other, grant) and _is_the_one_to_tell_of(grant, other):
                words = f"grant '{grant.id}' adds nothing: '{other.id}' gives all of it"
                yield places.remark(remarks.REDUNDANT_GRANT, grant, (), words)
                return
        elif grant.limit is None and _asks_people_as_much(other, grant):
            yield _bypassed(grant, other, places)
            return


def _gives_all_of(wide: Rule, narrow: Rule) -> bool:
    return names_all_tools(wide, narrow) and names_all_workloads(wide, narrow)


def _asks_no_more(wide: Rule, narrow: Rule) -> bool:
    """Whether `wide` applies wherever `narrow` does, tools and workloads apart."""
    return (
        (wide.users is None or wide.users == narrow.users)
        and (wide.condition is None or _condition(wide) == _condition(narrow))
        and (wide.schedule is None or wide.schedule == narrow.schedule)
        # A scope that cannot be filled in keeps a grant from applying.
        and all(not scope.is_template or scope.text in _scopes(narrow) for scope in wide.scopes)
    )


def gives_as_freely(wide: Rule, narrow: Rule) -> bool:
    """Whether the grant `wide` allows every call that the grant `narrow` does."""
    return _gives_all_of(wide, narrow) and _asks_no_more(wide, narrow)


def _is_limited_alike(wide: Rule, narrow: Rule) -> bool:
    return wide.users == narrow.users and _condition(wide) == _condition(narrow) and wide.schedule == narrow.schedule


def _obliges_as_much(wide: Rule, narrow: Rule) -> bool:
    """Whether `narrow` adds nothing to what `wide` obliges to.

    Scopes, the token's life, what is recorded, a limit, an approval, masks: and without it nothing is unmasked that was not.
    """
    return (
        _scopes(narrow) <= _scopes(wide)
        and (narrow.ttl_s is None or (wide.ttl_s is not None and wide.ttl_s <= narrow.ttl_s))
        and strongest((wide.record, narrow.record)) == wide.record
        and narrow.limit is None
        and _asks_people_as_much(wide, narrow)
        and _masks_as_much(wide, narrow)
    )


def _asks_people_as_much(wide: Rule, narrow: Rule) -> bool:
    mine = narrow.approval
    return mine is None or (wide.approval is not None and replace(wide.approval, rule=mine.rule) == mine)


def _masks_as_much(wide: Rule, narrow: Rule) -> bool:
    return (
        frozenset(narrow.mask) <= frozenset(wide.mask)
        and frozenset(narrow.mask_arguments) <= frozenset(wide.mask_arguments)
        and frozenset(wide.unmask) <= frozenset(narrow.unmask)
    )


def _is_the_one_to_tell_of(grant: Rule, other: Rule) -> bool:
    """Of two grants that say the same, only one is told of: the one further down."""
    mutual = _gives_all_of(grant, other) and _asks_no_more(grant, other) and _obliges_as_much(grant, other)
    return not mutual or (grant.file, grant.line) > (other.file, other.line)


def _bypassed(grant: Rule, other: Rule, places: Places) -> Remark:
    key = _limiting_key(grant, other)
    words = f"'{key}' of grant '{grant.id}' limits nothing: '{other.id}' gives the same without it"
    level = Level.ERROR
    if not _obliges_as_much(other, grant):
        # Then it may be about the scopes, the token's life, the record or masks, on purpose.
        level, words = Level.WARNING, f"{words}, with other scopes, another ttl or another record"
    return places.remark(remarks.BYPASSED, grant, (key,), words, level)


def _limiting_key(grant: Rule, other: Rule) -> str:
    if _condition(grant) != _condition(other):
        return "when"
    if grant.users != other.users:
        return "users"
    if grant.schedule is not None and grant.schedule.window is not None:
        return "between"
    return "until" if grant.schedule is not None and grant.schedule.ends is not None else "from"


def _condition(rule: Rule) -> str | None:
    return None if rule.condition is None else rule.condition.text


def _scopes(rule: Rule) -> frozenset[str]:
    return frozenset(scope.text for scope in rule.scopes)


def _denial(denial: Rule, server: _Server, places: Places) -> Iterator[Remark]:
    touched = False
    for grant in server.counted_grants():
        shared = share_a_workload(denial, grant) and next(iter(shared_tools(denial, grant)), None) is not None
        touched = touched or shared
        if shared and not denial.shadow and not grant.shadow:
            yield from _wider_than(denial, grant, places)
    if not touched and server.left >= 0:
        words = f"denial '{denial.id}' denies nothing that a grant on '{server.name}' gives"
        yield places.remark(remarks.DEAD_DENIAL, denial, (), words)


def _wider_than(denial: Rule, grant: Rule, places: Places) -> Iterator[Remark]:
    """A denial that takes part of a wildcard away from some, and leaves it to all others."""
    for_some = denial.users is not None or not names_all_workloads(denial, grant)
    if not for_some and _is_bare(denial):
        return
    for index, wide in enumerate(grant.tools):
        if wide.is_exact:
            continue
        for tool in denial.tools:
            if _is_within(tool, wide) and tool.text not in grant.exact_tools:
                whom = "some workloads or users" if for_some else "some calls"
                words = (
                    f"grant '{grant.id}' gives '{tool.text}' by its wildcard '{wide.text}'; "
                    f"denial '{denial.id}' takes it from {whom} only"
                )
                level = Level.WARNING if for_some else Level.NOTE
                yield places.remark(remarks.WIDER_THAN_DENIAL, grant, ("tools", index), words, level)
                return


def _is_within(tool: ToolPattern, wide: ToolPattern) -> bool:
    return tool_covers(wide, tool) and not tool_covers(tool, wide)


def _named(ids: Iterable[str]) -> str:
    """`denial 'a'`, or `denial 'a' with others`."""
    first, *rest = dict.fromkeys(ids)
    return f"denial '{first}'{' with others' if rest else ''}"
