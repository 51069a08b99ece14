"""What an allow says beside yes: what the token may say and for how long, and what has to be done."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import TypeVar

from callgate.policy.approval import Approval
from callgate.policy.record_level import RecordLevel, strongest
from callgate.policy.rule import Rule
from callgate.policy.screens import screened
from callgate.screening.terms import MaskRule, Screening

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Terms:
    """`scopes` as the policy writes them, placeholders and all; `limits` are (calls, seconds).

    `approvals` are those of all grants, without their ids: by whatever grant it is asked, the same is asked.  `unmask` is what all of the grants say.  `screening`: with what the server's own screening is; None while that has
    not been looked at.
    """

    scopes: frozenset[str] = frozenset()
    ttl_s: int | None = None
    limits: frozenset[tuple[int, int]] = frozenset()
    approvals: frozenset[Approval] = frozenset()
    record: RecordLevel | None = None
    mask: frozenset[MaskRule] = frozenset()
    unmask: frozenset[str] = frozenset()
    mask_arguments: frozenset[MaskRule] = frozenset()
    screening: Screening | None = None

    @property
    def is_held(self) -> bool:
        """Whether people are asked, whatever stands in the arguments."""
        return any(not approval.only_held for approval in self.approvals)

    def on(self, of_server: Screening) -> "Terms":
        """With what becomes of a server's own screening by them."""
        found = screened(of_server, self.mask, self.unmask, self.mask_arguments)
        # The order in which they stand in files changes nothing.
        lists = (found.answers, found.arguments, found.held)
        answers, arguments, held = (tuple(sorted(rules, key=repr)) for rules in lists)
        return replace(self, screening=replace(found, answers=answers, arguments=arguments, held=held))


def terms_of(rule: Rule) -> Terms:
    """What one grant says."""
    limits = frozenset() if rule.limit is None else frozenset({(rule.limit.calls, rule.limit.per_s)})
    scopes = frozenset(scope.text for scope in rule.scopes)
    masks = frozenset(rule.mask), frozenset(rule.unmask), frozenset(rule.mask_arguments)
    approvals = frozenset() if rule.approval is None else frozenset({replace(rule.approval, rule="")})
    return Terms(scopes, rule.ttl_s, limits, approvals, rule.record, *masks)


def joined(terms: Sequence[Terms]) -> Terms:
    """What several grants say together, as `callgate.policy.decide.Permit` has it."""
    if len(terms) == 1:
        return terms[0]
    return Terms(
        _all(each.scopes for each in terms),
        min((each.ttl_s for each in terms if each.ttl_s is not None), default=None),
        _all(each.limits for each in terms),
        _all(each.approvals for each in terms),
        strongest(each.record for each in terms),
        _all(each.mask for each in terms),
        reduce(frozenset[str].intersection, (each.unmask for each in terms)),
        _all(each.mask_arguments for each in terms),
    )


def _all(sets: Iterable[frozenset[T]]) -> frozenset[T]:
    return frozenset(each for found in sets for each in found)
