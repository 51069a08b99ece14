"""How two decisions on one call differ."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias

from callgate.policy.clues import Clues, Way, ways
from callgate.policy.condition import Truth
from callgate.policy.decide import DecisionOutcome
from callgate.policy.verdict import Verdict, verdict
from callgate.policy.weigh import Hinge, Weights


class Change(StrEnum):
    """What becomes of a decision."""

    DENIED = "allow_to_deny"
    ALLOWED = "deny_to_allow"
    # Allowed both times, but now people have to agree, or no longer.
    HELD = "allow_to_hold"
    FREED = "hold_to_allow"
    # Allowed both times, by other grants or on other terms.
    TERMS = "other_terms"
    # Denied both times.
    REASON = "other_reason"
    # It hangs on what is not known.
    UNKNOWN = "cannot_be_told"


@dataclass(frozen=True, slots=True)
class Difference:
    """One change.

    `old`, `new`: both decisions; None where it is not known which.  `aspects`: for TERMS, HELD and FREED, what is different
    (grants, scopes, ttl, limits, approvals, record, screening).  Where it cannot be told: `may` is what may have changed ("" for nothing), `hinges` the
    conditions and scopes that it hangs on, and `needs` the variables that they read and that are not known; `policy` is
    the text of the one that decided.
    """

    change: Change
    old: Verdict | None
    new: Verdict | None
    aspects: tuple[str, ...] = ()
    may: tuple[str, ...] = ()
    hinges: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()


# What may be different, and what would have to be known: templates of scopes that may come to the same, and the terms of
# grants that are known by their ids alone.
_UNCERTAIN: Final[Mapping[str, str]] = {"scopes?": "args", "terms?": "policy"}

_Found: TypeAlias = list[tuple[Way, Difference | None]]
# The scope that a template is for the call in question; None where that is not known.
Fill: TypeAlias = Callable[[str], str | None]


def difference(old: Weights | Verdict, new: Weights, clues: Clues, fill: Fill) -> Difference | None:
    """What changes from `old` to `new`; None where nothing does."""
    if isinstance(old, Weights) and _is_same(old, new):
        return None
    possible, hinges = ways({**(old.truths if isinstance(old, Weights) else {}), **new.truths}, clues)
    found = [
        (way, _compared(old if isinstance(old, Verdict) else verdict(old, way), verdict(new, way), fill))
        for way in possible
    ]
    different = list(dict.fromkeys(each for _, each in found))
    if len(different) == 1:
        return different[0]
    known = [each for each in different if each is not None and each.change is not Change.UNKNOWN]
    if known and len(known) == len(different) and len({each.change for each in known}) == 1:
        return _common(known)
    return _unknown(different, [hinge for hinge in hinges if not found or _matters(hinge, found)])


def _is_same(old: Weights, new: Weights) -> bool:
    return old.rules == new.rules and old.is_implied == new.is_implied and old.screening == new.screening


def _matters(hinge: Hinge, found: _Found) -> bool:
    """Whether something else comes out for another truth of this hinge alone."""
    same: dict[tuple[Truth, ...], Difference | None] = {}
    for way, each in found:
        others = tuple(truth for other, truth in way.items() if other != hinge)
        if same.setdefault(others, each) != each:
            return True
    return False


def _compared(old: Verdict, new: Verdict, fill: Fill) -> Difference | None:
    if old.outcome is not new.outcome:
        return Difference(Change.DENIED if new.outcome is DecisionOutcome.DENY else Change.ALLOWED, old, new)
    if new.outcome is DecisionOutcome.DENY:
        return Difference(Change.REASON, old, new) if old.reason != new.reason else None
    aspects = tuple(_aspects(old, new, fill))
    certain = tuple(aspect for aspect in aspects if aspect not in _UNCERTAIN)
    if old.is_held is not new.is_held:
        return _held_otherwise(old, new, certain)
    if certain or not aspects:
        return Difference(Change.TERMS, old, new, certain) if certain else None
    scopes = old.terms.scopes ^ new.terms.scopes if old.terms and new.terms else ()
    needs = tuple(_UNCERTAIN[aspect] for aspect in aspects)
    return Difference(Change.UNKNOWN, old, new, (), ("", Change.TERMS), tuple(sorted(scopes)), needs)


def _held_otherwise(old: Verdict, new: Verdict, certain: tuple[str, ...]) -> Difference:
    change = Change.HELD if new.is_held else Change.FREED
    if None not in {old.is_held, new.is_held}:
        return Difference(change, old, new, certain)
    may: tuple[str, ...] = (Change.TERMS, change) if certain else ("", Change.TERMS, change)
    return Difference(Change.UNKNOWN, old, new, (), may, (), ("policy",))


def _aspects(old: Verdict, new: Verdict, fill: Fill) -> Iterator[str]:
    if None not in {old.rules, new.rules} and old.rules != new.rules:
        yield "grants"
    if old.terms is None or new.terms is None:
        # Neither has any where a grant implies the method.
        if old.terms is not new.terms:
            yield "terms?"
        return
    if old.terms.scopes != new.terms.scopes:
        yield from _of_scopes(old.terms.scopes, new.terms.scopes, fill)
    for aspect, before, after in (
        ("ttl", old.terms.ttl_s, new.terms.ttl_s),
        ("limits", old.terms.limits, new.terms.limits),
        ("approvals", old.terms.approvals, new.terms.approvals),
        ("record", old.terms.record, new.terms.record),
        ("screening", old.terms.screening, new.terms.screening),
    ):
        if before != after:
            yield aspect


def _of_scopes(old: frozenset[str], new: frozenset[str], fill: Fill) -> Iterator[str]:
    one, other = ({fill(scope) for scope in scopes} for scopes in (old, new))
    # What is not known may be any scope that stands on the other side, if one does.
    is_missing = (None not in other and one - other - {None}) or (None not in one and other - one - {None})
    if is_missing or not one or not other:
        yield "scopes"
    elif None in one | other:
        yield "scopes?"


def _common(found: list[Difference]) -> Difference:
    """The same change, whatever the unknown was; of what is not the same in each of the ways, nothing is said."""
    aspects = [aspect for aspect in found[0].aspects if all(aspect in each.aspects for each in found)]
    old, new = _same(each.old for each in found), _same(each.new for each in found)
    return Difference(found[0].change, old, new, tuple(aspects))


def _same(verdicts: Iterable[Verdict | None]) -> Verdict | None:
    found = set(verdicts)
    if len(found) == 1:
        return found.pop()
    known = [each for each in found if each is not None]
    reasons = {each.reason for each in known}
    return Verdict(known[0].outcome, reasons.pop() if len(reasons) == 1 else "", None)


def _unknown(found: Iterable[Difference | None], hinges: list[Hinge]) -> Difference:
    changes = {change for each in found for change in _changes(each)}
    needs = {name for hinge in hinges for name in hinge.unknown}
    needs |= {name for each in found if each is not None for name in each.needs}
    texts = {hinge.text for hinge in hinges} | {text for each in found if each is not None for text in each.hinges}
    return Difference(
        Change.UNKNOWN, None, None, (), tuple(sorted(changes)), tuple(sorted(texts)), tuple(sorted(needs))
    )


def _changes(found: Difference | None) -> tuple[str, ...]:
    if found is None:
        return ("",)
    return found.may if found.change is Change.UNKNOWN else (found.change,)
