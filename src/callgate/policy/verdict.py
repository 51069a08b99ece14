"""What a policy decides on a recorded call: for certain, or in each of the ways in which the unknown may have been."""

from dataclasses import dataclass
from typing import Final

from callgate.errors import Reason
from callgate.policy.clues import Way
from callgate.policy.compile import Policy
from callgate.policy.decide import DecisionOutcome
from callgate.policy.recorded import RecordedCall, Ruling
from callgate.policy.rule import Rule
from callgate.policy.terms import Terms, joined, terms_of
from callgate.policy.weigh import APPLYING, Weighed, Weights
from callgate.wire.members import text_of


@dataclass(frozen=True, slots=True)
class Verdict:
    """A decision: `reason` is "" for an allow, `rules` are those that brought it about, in the order of their ids.

    `rules` is None where it is not known which, and `terms` for a denial, for a method that a grant implies, and where
    they are not known.  `was_held`: whether people were asked, where `terms` do not say; None where the record does not
    either.
    """

    outcome: DecisionOutcome
    reason: str = ""
    rules: tuple[str, ...] | None = ()
    terms: Terms | None = None
    was_held: bool | None = False

    @property
    def is_held(self) -> bool | None:
        """Whether people are asked, whatever stands in the arguments; None where that is not known."""
        return self.was_held if self.terms is None else self.terms.is_held


_IMPLIED: Final = Verdict(DecisionOutcome.ALLOW)
_NO_GRANT: Final = Verdict(DecisionOutcome.DENY, Reason.NO_GRANT.value)


def verdict(weights: Weights, way: Way) -> Verdict:
    """What is decided if the hinges come out that way."""
    if weights.is_implied:
        return _IMPLIED
    applying = [each for each in weights.rules if all(way[hinge] in APPLYING[each.kind] for hinge in each.hinges)]
    if denials := [each for each in applying if each.kind == "denial"]:
        return Verdict(DecisionOutcome.DENY, Reason.DENIED.value, _ids(denials))
    if not applying:
        return _NO_GRANT
    return Verdict(
        DecisionOutcome.ALLOW, "", _ids(applying), joined([each.terms for each in applying]).on(weights.screening)
    )


def recorded_verdict(found: RecordedCall, ruling: Ruling, reason: str, policy: Policy | None) -> Verdict:
    """What was decided, by the record.  `policy`: the one it was decided under, None where its text is not known."""
    applied = found.applied
    if ruling is Ruling.DENIED:
        return Verdict(DecisionOutcome.DENY, reason, tuple(sorted(applied.denials)) if applied.is_complete else None)
    if found.call.method != "tools/call":
        return _IMPLIED
    if not applied.is_complete or not applied.grants:
        return Verdict(DecisionOutcome.ALLOW, "", None, None, _was_held(found))
    terms = _terms(policy, found) if policy is not None else None
    return Verdict(
        DecisionOutcome.ALLOW, "", tuple(sorted(applied.grants)), terms, False if terms else _was_held(found)
    )


def _was_held(found: RecordedCall) -> bool | None:
    """What the record alone tells: for a call that went out without anybody being asked, none was to be."""
    went_out = text_of(found.record, "kind") == "intent"
    # Who was asked may have been asked only for what stood in the arguments.
    return False if went_out and "approval" not in found.record else None


def _terms(policy: Policy, found: RecordedCall) -> Terms | None:
    """Those of the grants that a record names; None where the policy has not all of them."""
    rules = _named(policy, found, found.applied.grants)
    if len(rules) != len(found.applied.grants):
        return None
    screening = policy.screening.of_call(found.call.server, found.call.tool, (), ())
    return joined([terms_of(rule) for rule in rules]).on(screening)


def _ids(rules: list[Weighed]) -> tuple[str, ...]:
    return tuple(sorted(each.id for each in rules))


def _named(policy: Policy, found: RecordedCall, ids: tuple[str, ...]) -> list[Rule]:
    return [rule for rule in policy.rules.get(found.call.server, ()) if rule.id in ids]
