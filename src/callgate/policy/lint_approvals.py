"""What a policy asks of people, and that nobody can give, nobody is asked for, or everybody is asked for unawares."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from callgate.policy import remarks
from callgate.policy.approval import Approval, Owners
from callgate.policy.approval_entries import LOCAL_GROUP, LOCAL_PREFIX
from callgate.policy.compile import Policy
from callgate.policy.coverage import share_a_workload, shared_tools, tools_overlap, workload_covers, workloads_overlap
from callgate.policy.file_faults import Entry, entries_of
from callgate.policy.lint_pairs import gives_as_freely
from callgate.policy.owned import Owned
from callgate.policy.patterns import ToolPattern, WorkloadPattern
from callgate.policy.places import Places
from callgate.policy.remarks import Check, Level, Remark
from callgate.policy.rule import Rule
from callgate.policy.screens import Screen
from callgate.screening.terms import Mode
from callgate.yaml_strict import Document

# Pairs of patterns, or of grants, that are compared: some seconds where all of them have wildcards.
_MAX_COMPARISONS: Final = 20_000


@dataclass(slots=True)
class _Room:
    """How much may still be compared.  What there is no room for is not remarked on."""

    left: int = _MAX_COMPARISONS

    def takes(self, comparisons: int) -> bool:
        """Whether so many more may be made; then they are counted."""
        self.left -= comparisons
        return self.left >= 0


def lint_approvals(policy: Policy, places: Places) -> Iterator[Remark]:
    """The remarks on approvals, owners and what is held."""
    yield from _own_nothing(policy, places)
    room, owners = _Room(), _Room()
    for server, rules in policy.rules.items():
        grants = [rule for rule in rules if rule.kind == "grant" and not rule.shadow]
        screens = [screen for screen in policy.screening.entries if screen.server == server]
        for rule in grants:
            if rule.approval is not None:
                yield from _local(rule, rule.approval, places)
                if rule.approval.four_eyes:
                    yield from _four_eyes(rule, rule.approval, policy.owned, places, owners)
            is_compared = rule.approval is not None or _holds_by_itself(rule)
            if is_compared and room.takes(len(grants) + len(screens)):
                yield from _beside(rule, grants, screens, places)
    for document in places.documents:
        for entry in entries_of(document.value, "screening"):
            yield from _screened_for_nobody(entry, document, policy.rules)


def _beside(rule: Rule, grants: Sequence[Rule], screens: Sequence[Screen], places: Places) -> Iterator[Remark]:
    """What the other grants of a server make of one."""
    if rule.approval is not None:
        yield from _asked_anyway(rule, grants, places)
        yield from _never_held(rule, rule.approval, grants, screens, places)
    yield from _held_for_nobody(rule, grants, places)


def _local(rule: Rule, approval: Approval, places: Places) -> Iterator[Remark]:
    is_local = approval.groups <= {LOCAL_GROUP} and all(name.startswith(LOCAL_PREFIX) for name in approval.people)
    if LOCAL_GROUP in approval.groups and approval.needed > 1:
        words = (
            f"'{rule.id}' needs {approval.needed} people, and '{LOCAL_GROUP}' is mostly one: who sits at the machine"
        )
        yield places.remark(remarks.LOCAL_AMONG_SEVERAL, rule, ("approval", "needed"), words)
    if is_local and approval.sign_in_s is not None:
        words = f"nobody who may agree to '{rule.id}' signs in: the kernel tells who comes by the admin socket"
        yield places.remark(remarks.NEVER_ASKED, rule, ("approval", "sign_in"), words)


def _four_eyes(rule: Rule, approval: Approval, owned: Sequence[Owned], places: Places, room: _Room) -> Iterator[Remark]:
    for index, pattern in enumerate(rule.workloads):
        if not room.takes(sum(len(entry.workloads) for entry in owned)):
            return
        if not any(workloads_overlap(each, pattern) for entry in owned for each in entry.workloads):
            words = f"'owners' names nobody for '{pattern.text}', so that 'four_eyes' of '{rule.id}' keeps nobody out"
            yield places.remark(remarks.NO_OWNER, rule, ("workloads", index), words)
            continue
        owners = _owners_of_all(owned, pattern)
        people, groups = approval.people - owners.people, approval.groups - owners.groups
        if not groups and len(people) < approval.needed:
            words = (
                f"nobody can agree to '{rule.id}' for '{pattern.text}': of those who may, {len(people)} are no owners, "
                f"and it needs {approval.needed}"
            )
            yield places.remark(remarks.NEVER_APPROVED, rule, ("approval",), words)
            return


def _owners_of_all(owned: Sequence[Owned], pattern: WorkloadPattern) -> Owners:
    """Who certainly owns every workload of a pattern."""
    naming = [entry.owners for entry in owned if any(workload_covers(wide, pattern) for wide in entry.workloads)]
    return Owners(
        frozenset(name for owners in naming for name in owners.people),
        frozenset(name for owners in naming for name in owners.groups),
    )


def _own_nothing(policy: Policy, places: Places) -> Iterator[Remark]:
    """Entries of `owners` for workloads that no grant names."""
    grants = (rule for rules in policy.rules.values() for rule in rules if rule.kind == "grant")
    granted = list({pattern.text: pattern for rule in grants for pattern in rule.workloads}.values())
    room = _Room()
    by_place = {(entry.file, entry.line): entry for entry in policy.owned}
    for document in places.documents:
        for path, _ in entries_of(document.value, "owners"):
            line, column = document.position_of(path)
            entry = by_place.get((document.file, line))
            if entry is None or not room.takes(len(granted) * len(entry.workloads)):
                continue
            if not any(workloads_overlap(mine, pattern) for mine in entry.workloads for pattern in granted):
                words = f"no grant names a workload of '{entry.workloads[0].text}'"
                yield Remark(remarks.OWNS_NOTHING, remarks.OWNS_NOTHING.level, document.file, line, column, words)


def _asked_anyway(rule: Rule, grants: Sequence[Rule], places: Places) -> Iterator[Remark]:
    """Approvals add up: what another grant gives without one is not given without it."""
    for other in grants:
        if other is rule or other.approval is not None:
            continue
        if gives_as_freely(rule, other):
            words = f"'{other.id}' gives nothing without people: '{rule.id}' applies to all of it, and asks them"
            yield places.remark(remarks.ASKED_ANYWAY, other, (), words)
        elif gives_as_freely(other, rule):
            words = (
                f"'{other.id}' gives the same calls without approval; it is asked for all the same: approvals add up"
            )
            yield places.remark(remarks.ASKED_ANYWAY, rule, ("approval",), words, Level.NOTE)
            return


def _never_held(
    rule: Rule, approval: Approval, grants: Sequence[Rule], screens: Sequence[Screen], places: Places
) -> Iterator[Remark]:
    if not approval.only_held:
        return
    by_screens = any(_holds(screen) and _is_about(screen, rule) for screen in screens)
    if by_screens or any(_holds_by_itself(each) and _meet(each, rule) for each in grants):
        return
    words = f"nothing is held in the arguments of the tools of '{rule.id}', so that nobody is ever asked"
    yield places.remark(remarks.NEVER_ASKED, rule, ("approval", "asks"), words)


def _held_for_nobody(rule: Rule, grants: Sequence[Rule], places: Places) -> Iterator[Remark]:
    if not _holds_by_itself(rule) or any(each.approval is not None and _meet(each, rule) for each in grants):
        return
    words = f"'{rule.id}' holds what no grant asks people for: each such call is refused"
    yield places.remark(remarks.HELD_FOR_NOBODY, rule, ("mask_arguments",), words)


def _screened_for_nobody(found: Entry, document: Document, rules: Mapping[str, tuple[Rule, ...]]) -> Iterator[Remark]:
    path, entry = found
    masks = entry.get("mask_arguments")
    if not isinstance(masks, list) or not any(isinstance(mask, dict) and mask.get("mode") == "hold" for mask in masks):
        return
    named = entry.get("tools", ["*"])
    tools = [ToolPattern.parse(str(text)) for text in named] if isinstance(named, list) else []
    asking = (rule for rule in rules.get(str(entry.get("server")), ()) if rule.approval is not None and not rule.shadow)
    if any(tools_overlap(mine, tool) for rule in asking for tool in rule.tools for mine in tools):
        return
    check: Check = remarks.HELD_FOR_NOBODY
    words = f"no grant on '{entry.get('server')}' asks people for what is held here: each such call is refused"
    line, column = document.key_position_of((*path, "mask_arguments"))
    yield Remark(check, check.level, document.file, line, column, words)


def _holds_by_itself(rule: Rule) -> bool:
    return any(mask.mode is Mode.HOLD for mask in rule.mask_arguments)


def _holds(screen: Screen) -> bool:
    return any(mask.mode is Mode.HOLD for mask in screen.arguments)


def _is_about(screen: Screen, rule: Rule) -> bool:
    return any(tools_overlap(mine, tool) for mine in screen.tools for tool in rule.tools)


def _meet(one: Rule, other: Rule) -> bool:
    """Whether both may apply to one call."""
    return share_a_workload(one, other) and next(iter(shared_tools(one, other)), None) is not None
