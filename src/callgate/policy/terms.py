"""What an allow says beside yes: what the token may say and for how long, and what has to be done."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from callgate.policy.record_level import RecordLevel, strongest
from callgate.policy.rule import Rule


@dataclass(frozen=True, slots=True)
class Terms:
    """`scopes` as the policy writes them, placeholders and all; `limits` are (calls, seconds)."""

    scopes: frozenset[str] = frozenset()
    ttl_s: int | None = None
    limits: frozenset[tuple[int, int]] = frozenset()
    record: RecordLevel | None = None


def terms_of(rule: Rule) -> Terms:
    """What one grant says."""
    limits = frozenset() if rule.limit is None else frozenset({(rule.limit.calls, rule.limit.per_s)})
    return Terms(frozenset(scope.text for scope in rule.scopes), rule.ttl_s, limits, rule.record)


def joined(terms: Sequence[Terms]) -> Terms:
    """What several grants say together, as `callgate.policy.decide.Permit` has it."""
    if len(terms) == 1:
        return terms[0]
    return Terms(
        _all(each.scopes for each in terms),
        min((each.ttl_s for each in terms if each.ttl_s is not None), default=None),
        frozenset(limit for each in terms for limit in each.limits),
        strongest(each.record for each in terms),
    )


def _all(sets: Iterable[frozenset[str]]) -> frozenset[str]:
    return frozenset(text for each in sets for text in each)
