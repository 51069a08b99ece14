"""What was used in a log: which workload called which tool, how often and when last, and by which grants.

With a policy, each call that was allowed is weighed under it: which of its grants let the call through, or may have.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from callgate.policy.clues import ways
from callgate.policy.compile import Policy
from callgate.policy.decide import DecisionOutcome
from callgate.policy.patterns import TOOL_NAME
from callgate.policy.recall import Recall, Sources
from callgate.policy.recorded import RecordedCall, Ruling, ruling_of
from callgate.policy.rule import Rule
from callgate.policy.templates import RESERVED_SCOPE_PREFIXES
from callgate.policy.verdict import verdict
from callgate.policy.weigh import Scale
from callgate.wire.json_strict import JsonObject
from callgate.wire.members import text_of

# More than any gate's workloads use; where a grant names `*`, callers can make up tools.  100 MB or so.
MAX_USES: Final = 100_000
# Calls without an outcome that are waited for: a gate has fewer under way at a time.
_MAX_OPEN: Final = 100_000

# Workload, server and tool.
Subject: TypeAlias = tuple[str, str, str]


@dataclass(slots=True)
class Use:
    """What one workload did with one tool.

    `calls`: allowed by policy, `answered` of them to the end; `refused`: by policy.  `first`, `last`: of the allowed, as
    the log writes it.  `scopes`: what the tokens said, one set for each of the different ones.  `grants`: those of the
    policy that let a call through, or may have.  `uncovered`: calls that this policy does not let through for certain.
    `held`: calls for which people were asked.
    """

    calls: int = 0
    answered: int = 0
    refused: int = 0
    first: str = ""
    last: str = ""
    scopes: set[frozenset[str]] = field(default_factory=set)
    grants: set[str] = field(default_factory=set)
    uncovered: int = 0
    held: int = 0

    def allowed(self, moment: str, scopes: frozenset[str]) -> None:
        """One more call."""
        self.calls += 1
        self.first = self.first or moment
        self.last = moment
        # Two different ones say that they vary from call to call, and more would say no more.
        if len(self.scopes) < 2:
            self.scopes.add(scopes)


@dataclass(slots=True)
class GrantUse:
    """How often a grant let a call through, and when last; by the policy, or by what the record says of a grant of that id.

    `since`: when the log first decides under a policy that has a grant of that id; "" if it never does.
    """

    calls: int = 0
    last: str = ""
    since: str = ""


def grants_of(policy: Policy) -> Iterator[Rule]:
    """Those that are enforced."""
    return (rule for rules in policy.rules.values() for rule in rules if rule.kind == "grant" and not rule.shadow)


# What a policy says to one call: the grants that let it through or may, and whether it is allowed for certain.
_Covered: TypeAlias = tuple[frozenset[str], bool]


class Usage:
    """One log, record by record in its order, from its beginning.  `policy`: None where none is given.

    `since`, `until`: from when to when the log reaches.  `unlisted`: calls beyond MAX_USES different ones.  `listeners`:
    workloads and servers with requests that a grant implies, such as for the list of tools.
    """

    def __init__(self, policy: Policy | None, sources: Sources | None = None) -> None:
        self.policy = policy
        self.uses: dict[Subject, Use] = {}
        self.since = self.until = ""
        self.unlisted = 0
        self.listeners: set[tuple[str, str]] = set()
        self.grants = {rule.id: GrantUse() for rule in grants_of(policy)} if policy is not None else {}
        self._recall = Recall([policy] if policy is not None else [], sources or Sources())
        self._scale = self._recall.scale(policy) if policy is not None else None
        self._kept: dict[Subject, _Covered] = {}
        self._open: dict[int, Use] = {}
        self._digests: set[str] = set()

    def see(self, record: JsonObject) -> None:
        """The next record."""
        self.until = text_of(record, "time")
        self.since = self.since or self.until
        ruling = ruling_of(record)
        if ruling is None:
            self._recall.event(record)
            if record.get("kind") == "outcome":
                self._end(record)
        elif ruling is not Ruling.NOT_ASKED:
            found = self._recall.call(record)
            if found is not None:
                # What was only asked for is no use of a grant.
                if not record.get("dry_run"):
                    self._add(found, ruling)
                self._recall.remember(found, ruling)

    def _add(self, found: RecordedCall, ruling: Ruling) -> None:
        self._note_policy(found)
        call = found.call
        if call.method != "tools/call":
            if ruling is Ruling.ALLOWED and len(self.listeners) < MAX_USES:
                self.listeners.add((str(call.caller), call.server))
            return
        if call.tool is None or TOOL_NAME.fullmatch(call.tool) is None:
            return
        use = self._use((str(call.caller), call.server, call.tool))
        if use is None:
            self.unlisted += 1
        elif ruling is Ruling.DENIED:
            use.refused += 1
        else:
            self._add_allowed(use, found)

    def _add_allowed(self, use: Use, found: RecordedCall) -> None:
        token = found.record.get("token")
        said = text_of(token, "scope").split() if isinstance(token, dict) else []
        moment = text_of(found.record, "time")
        use.allowed(moment, frozenset(scope for scope in said if not scope.startswith(RESERVED_SCOPE_PREFIXES)))
        use.held += "approval" in found.record
        seq = found.record.get("seq")
        if found.record.get("kind") == "intent" and isinstance(seq, int):
            if len(self._open) >= _MAX_OPEN:
                del self._open[next(iter(self._open))]
            self._open[seq] = use
        if self._scale is None:
            return
        grants, is_certain = self._covered(self._scale, found)
        use.grants |= grants
        use.uncovered += not is_certain
        for grant in grants.union(found.applied.grants):
            if known := self.grants.get(grant):
                known.calls += 1
                known.last = moment

    def _covered(self, scale: Scale, found: RecordedCall) -> _Covered:
        call = found.call
        key = (str(call.caller), call.server, call.tool or "")
        kept = self._kept.get(key)
        if kept is not None:
            return kept
        weights = scale.weigh(found)
        possible, _ = ways(weights.truths, lambda: self._recall.clues(found))
        verdicts = {verdict(weights, way) for way in possible}
        granting = frozenset(each.id for each in weights.rules if each.kind == "grant")
        if verdicts:
            granting = frozenset(rule for each in verdicts if each.terms is not None for rule in each.rules or ())
        allowed = bool(verdicts) and all(each.outcome is DecisionOutcome.ALLOW for each in verdicts)
        if weights.is_fixed and len(self._kept) < MAX_USES:
            self._kept[key] = granting, allowed
        return granting, allowed

    def _use(self, subject: Subject) -> Use | None:
        use = self.uses.get(subject)
        if use is None and len(self.uses) < MAX_USES:
            use = self.uses[subject] = Use()
        return use

    def _end(self, record: JsonObject) -> None:
        intent = record.get("intent")
        use = self._open.pop(intent, None) if isinstance(intent, int) else None
        if use is not None and record.get("status") == "answered":
            use.answered += 1

    def _note_policy(self, found: RecordedCall) -> None:
        """Since when there are grants."""
        if self._scale is None or found.policy in self._digests:
            return
        self._digests.add(found.policy)
        policy = self._recall.policy_of(found.policy)
        for rule in grants_of(policy) if policy is not None else ():
            if (known := self.grants.get(rule.id)) and not known.since:
                known.since = text_of(found.record, "time")
