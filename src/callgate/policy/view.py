"""What a policy has for one workload on one server, worked out once and kept while it stays true."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Final

from callgate.identity.spiffe_id import SpiffeId
from callgate.policy.call import Call
from callgate.policy.cel_cost import MAX_STEPS
from callgate.policy.model import MORE_RULES
from callgate.policy.rule import Rule
from callgate.policy.tags import ToolTags
from callgate.trace import Finding

# What one decision tells of: as many rules as a person reads and a trace carries.
MAX_FINDINGS: Final = 200
# What all conditions of one decision may take together: some 20 ms.
MAX_STEPS_OF_DECISION: Final = 2 * MAX_STEPS
# What is left to each where there are hundreds: enough for comparisons of small arguments.
LEAST_STEPS: Final = 1_000
# Tools of one view whose rules are kept ready; 1 024 views of them take 160 MiB at the very most.
_MAX_TOOLS_KEPT: Final = 64


@dataclass(frozen=True, slots=True)
class Bound:
    """A rule that is about the caller in question, at this time; the words for how; and when that ends."""

    rule: Rule
    workload: str
    ends: float | None


@dataclass(frozen=True, slots=True)
class Naming:
    """A rule that names the caller and the tool, at this time; what is found by that; and when it ends."""

    rule: Rule
    named: Finding
    ends: float | None


@dataclass(frozen=True, slots=True)
class Judged:
    """The rules that name caller and tool and apply to one call, and what was found of all.

    `scopes` are those of the grants that are enforced, in order, repeated where several say the same.  `findings` has
    the rules that apply first, as `callgate.policy.decide.Decision` says.  `earlier_denials_stood_in_the_way`: had nothing
    been denied before, no denial would apply, or, where none does, a grant would.
    """

    denying: tuple[Naming, ...]
    granting: tuple[Naming, ...]
    scopes: tuple[str, ...]
    findings: tuple[Finding, ...]
    earlier_denials_stood_in_the_way: bool

    @property
    def enforced_denials(self) -> tuple[Rule, ...]:
        """Those that apply, those in shadow left out."""
        return tuple(naming.rule for naming in self.denying if not naming.rule.shadow)

    @property
    def enforced_grants(self) -> tuple[Naming, ...]:
        """Those that apply, those in shadow left out."""
        return tuple(naming for naming in self.granting if not naming.rule.shadow)


@dataclass(frozen=True, slots=True)
class ToolRules:
    """What a view has on one tool.

    `missed` are the findings on rules that do not name it, no more than MAX_FINDINGS; `uncounted` are beyond that.
    `is_settled`: what applies is the same for every call, and `_kept` then holds it.  `steps_each` is what each of the
    conditions may take, so that a call on which many have to be evaluated holds up nobody, whatever their order.
    """

    denials: tuple[Naming, ...]
    grants: tuple[Naming, ...]
    missed: tuple[Finding, ...]
    uncounted: int
    has_shadow: bool
    is_settled: bool
    steps_each: int
    _kept: list[Judged] = field(default_factory=list, repr=False, compare=False)

    def judged(self, call: Call, tags: ToolTags) -> Judged:
        """Which of them apply to `call`."""
        if self._kept:
            return self._kept[0]
        found = self._judged(call, tags)
        if self.is_settled:
            self._kept.append(found)
        return found

    def applies(self, naming: Naming, call: Call, tags: ToolTags) -> bool:
        """Whether one of the rules that name caller and tool applies to `call`."""
        return self._applied(naming, call, tags)[0].matched

    def _judged(self, call: Call, tags: ToolTags) -> Judged:
        applying: list[Finding] = []
        missed: list[Finding] = []
        scopes: list[str] = []
        named: list[Naming] = []
        idle: list[Naming] = []
        for naming in (*self.denials, *self.grants):
            rule = naming.rule
            found, filled = self._applied(naming, call, tags)
            (applying if found.matched else missed).append(found)
            (named if found.matched else idle).append(naming)
            if found.matched:
                scopes += () if rule.shadow else filled
        return Judged(
            tuple(naming for naming in named if naming.rule.kind == "denial"),
            tuple(naming for naming in named if naming.rule.kind == "grant"),
            tuple(scopes),
            capped((*applying, *missed, *self.missed), self.uncounted),
            self._is_for_earlier_denials(named, idle, call, tags),
        )

    def _is_for_earlier_denials(self, applying: list[Naming], idle: list[Naming], call: Call, tags: ToolTags) -> bool:
        """Whether the call is denied, and for nothing else: a rule that asks for denials may ask for more than that."""
        denying = [naming for naming in applying if naming.rule.kind == "denial" and not naming.rule.shadow]
        if denying:
            return all(self._changes_without_denials(naming, call, tags) for naming in denying)
        if any(not naming.rule.shadow for naming in applying):
            return False
        grants = (naming for naming in idle if naming.rule.kind == "grant" and not naming.rule.shadow)
        return any(self._changes_without_denials(naming, call, tags) for naming in grants)

    def _changes_without_denials(self, naming: Naming, call: Call, tags: ToolTags) -> bool:
        """Whether a grant would apply, or a denial would not, had nothing been denied before."""
        if not naming.rule.asks_denials or call.history is None:
            return False
        found, _ = self._applied(naming, replace(call, history=call.history.forgiven), tags)
        return found.matched is (naming.rule.kind == "grant")

    def _applied(self, naming: Naming, call: Call, tags: ToolTags) -> tuple[Finding, tuple[str, ...]]:
        """Whether one of them applies, and the scopes that it then gives."""
        rule = naming.rule
        found = naming.named if rule.is_settled else rule.judge(call, tags, naming.named, self.steps_each)
        if not found.matched or not rule.scopes:
            return found, ()
        filled = rule.filled_scopes(call)
        return (filled, ()) if isinstance(filled, Finding) else (found, filled)


def _share(conditions: int) -> int:
    """What one of so many conditions may take."""
    return min(MAX_STEPS, max(LEAST_STEPS, MAX_STEPS_OF_DECISION // max(conditions, 1)))


def capped(looked_at: tuple[Finding, ...], uncounted: int) -> tuple[Finding, ...]:
    """No more than MAX_FINDINGS of them, and then how many more there are; `uncounted` are beyond those given."""
    more = uncounted + max(0, len(looked_at) - MAX_FINDINGS)
    if not more:
        return looked_at
    why = f"{more} more of this server's rules were looked at; those that apply stand first"
    return (*looked_at[:MAX_FINDINGS], Finding(MORE_RULES, "default", matched=False, why=why))


@dataclass(frozen=True, slots=True)
class View:
    """Immutable; `_tools` only remembers what follows from the rest.

    It holds from `since` up to `expires`, Unix seconds; None: whatever the time, because no rule about this workload
    has a time of its own.  `asleep` is what is found on this workload's rules that do not apply at this time, `others`
    on rules about other workloads: no more than MAX_FINDINGS, and `uncounted` are beyond that.
    """

    since: float = 0.0
    expires: float | None = None
    is_timed: bool = False
    grants: tuple[Bound, ...] = ()
    denials: tuple[Bound, ...] = ()
    asleep: tuple[Finding, ...] = ()
    others: tuple[Finding, ...] = ()
    uncounted: int = 0
    _exact: dict[str, list[Bound]] = field(default_factory=dict, repr=False, compare=False)
    _wild: list[Bound] = field(default_factory=list, repr=False, compare=False)
    _tools: dict[str, ToolRules] = field(default_factory=dict, repr=False, compare=False)

    def holds_at(self, now: float) -> bool:
        """Whether it is still what the policy has; a clock that was set back begins anew, too."""
        return not self.is_timed or (self.since <= now and (self.expires is None or now < self.expires))

    @property
    def has_grants(self) -> bool:
        """Whether any grant that is enforced is about the workload now."""
        return any(not bound.rule.shadow for bound in self.grants)

    def on(self, tool: str) -> ToolRules:
        """What there is on one tool."""
        found = self._tools.get(tool)
        if found is None:
            found = self._worked_out(tool)
            # Callers can make up names without end, but not names that rules name exactly.
            if (found.grants or found.denials) and len(self._tools) < _MAX_TOOLS_KEPT:
                self._tools[tool] = found
        return found

    def _worked_out(self, tool: str) -> ToolRules:
        naming = {
            id(bound.rule): Naming(bound.rule, bound.rule.names(tool, bound.workload), bound.ends)
            for bound in self._exact.get(tool, ())
        }
        for bound in self._wild:
            if (pattern := bound.rule.tool_match(tool)) is not None:
                naming[id(bound.rule)] = Naming(bound.rule, bound.rule.names(pattern, bound.workload), bound.ends)
        denials = tuple(naming[id(b.rule)] for b in self.denials if id(b.rule) in naming)
        grants = tuple(naming[id(b.rule)] for b in self.grants if id(b.rule) in naming)
        about = [b.rule.other_tool for b in (*self.denials, *self.grants) if id(b.rule) not in naming]
        missed = (*about, *self.asleep, *self.others)
        return ToolRules(
            denials,
            grants,
            missed[:MAX_FINDINGS],
            self.uncounted + max(0, len(missed) - MAX_FINDINGS),
            any(each.rule.shadow for each in naming.values()),
            all(each.rule.is_settled for each in naming.values()),
            _share(sum(each.rule.reads_cel for each in naming.values())),
        )


def view_of(rules: Iterable[Rule], caller: SpiffeId, now: float) -> View:
    """What these rules, all of one server, have for `caller` at `now`."""
    grants: list[Bound] = []
    denials: list[Bound] = []
    asleep: list[Finding] = []
    others: list[Finding] = []
    changes: list[float] = []
    is_timed = False
    for rule in rules:
        workload = rule.workload_match(caller)
        if workload is None:
            others.append(rule.other_workload)
            continue
        ends = None
        if rule.schedule is not None:
            is_timed = True
            state = rule.schedule.state(now)
            ends = state.changes
            if ends is not None:
                changes.append(ends)
            if not state.active:
                asleep.append(rule.finding(state.why, matched=False))
                continue
        (grants if rule.kind == "grant" else denials).append(Bound(rule, workload, ends))
    exact, wild = _indexed((*denials, *grants))
    return View(
        since=now,
        expires=min(changes, default=None),
        is_timed=is_timed,
        grants=tuple(grants),
        denials=tuple(denials),
        asleep=tuple(asleep),
        others=tuple(others[:MAX_FINDINGS]),
        uncounted=max(0, len(others) - MAX_FINDINGS),
        _exact=exact,
        _wild=wild,
    )


def _indexed(bounds: Iterable[Bound]) -> tuple[dict[str, list[Bound]], list[Bound]]:
    exact: dict[str, list[Bound]] = {}
    wild: list[Bound] = []
    for bound in bounds:
        for tool in bound.rule.exact_tools:
            exact.setdefault(tool, []).append(bound)
        if bound.rule.wild_tools:
            wild.append(bound)
    return exact, wild
