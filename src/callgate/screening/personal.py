"""Personal data and secrets in a text: what is found, and where.

A text is looked through once by one automaton for anything that could be one of the entities, or could hide one. Only where
there is something it is read as programs and people would read it (`views`), and each entity's rules look for candidates
that their checks confirm.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Final, NamedTuple

import re2  # type: ignore[import-untyped]  # ships no types

from callgate.screening import assignments, birth_dates, cards, credentials, iban, internet, national_ids, phone
from callgate.screening.birth_dates import BIRTH_DATE_KEYS
from callgate.screening.seeking import Budget, seek
from callgate.screening.suspicion import Suspicion, may_hold
from callgate.screening.telling import TooLong
from callgate.screening.terms import Found
from callgate.screening.views import View

__all__ = ["BIRTH_DATE_KEYS", "MAX_TEXT_CHARACTERS", "Detector", "TooLong", "detector_of", "pattern_problem"]

# The largest answer that the gate reads has 4 MiB.
MAX_TEXT_CHARACTERS: Final = 4 * 1024 * 1024
MAX_PATTERN_CHARACTERS: Final = 1_024
# RE2 takes up to some 20 ns for each instruction and character where no two characters lead to the same state.
MAX_PATTERN_INSTRUCTIONS: Final = 500
# A find of the author's own names what it finds before any of ours does.
_OWN_RANK: Final = 0

# By what they are looked for with; each group is left out where one pass over the text finds nothing that it could be.
_GROUPS: Final = (
    credentials.KEYS,
    credentials.BLOCKS,
    credentials.LINKS,
    (*credentials.BEARERS, *assignments.RULES),
    iban.RULES,
    cards.RULES,
    internet.MAIL,
    internet.ADDRESSES,
    national_ids.RULES,
    phone.RULES,
    (*internet.TOLD, *national_ids.TOLD, *birth_dates.RULES, *phone.TOLD),
)


class _Hit(NamedTuple):
    rank: int
    start: int
    end: int
    name: str


class Detector:
    """Finds these entities, and what the author's own patterns match (name, RE2 text)."""

    def __init__(self, entities: frozenset[str], patterns: tuple[tuple[str, str], ...] = ()) -> None:
        groups = (tuple(rule for rule in group if rule.entity in entities) for group in _GROUPS)
        self._groups = tuple((may_hold(group), group) for group in groups if group)
        self._suspicion = Suspicion([rule for _, group in self._groups for rule in group]) if self._groups else None
        self._patterns = tuple((name, re2.compile(text)) for name, text in patterns)

    def find(self, text: str) -> tuple[Found, ...]:
        """What was found, in order, not overlapping; offsets in code points.  Raises: TooLong."""
        if len(text) > MAX_TEXT_CHARACTERS:
            raise TooLong("longer than what is screened")
        readings = self._suspicion.readings(text) if self._suspicion else []
        if not readings and not self._patterns:
            return ()
        budget = Budget()
        hits = [*self._own_hits(text, budget)]
        for view, first in readings:
            hits += self._hits(view, first, budget)
        return _merged(hits)

    def _hits(self, view: View, offset: int, budget: Budget) -> Iterator[_Hit]:
        for first_of, rules in self._groups:
            first = first_of(view, offset)
            if first is None:
                continue
            for rule in rules:
                for value in seek(rule, view, budget, first):
                    start, end = view.span(*value)
                    yield _Hit(rule.rank, start, end, rule.entity)

    def _own_hits(self, text: str, budget: Budget) -> Iterator[_Hit]:
        """In the text as given: what an author wrote a pattern for is taken at its word."""
        readable = text.encode("utf-8", "replace").decode() if self._patterns else ""
        for name, pattern in self._patterns:
            for match in pattern.finditer(readable):
                budget.spend()
                yield _Hit(_OWN_RANK, match.start(), match.end(), name)


def _merged(hits: list[_Hit]) -> tuple[Found, ...]:
    """Hits that overlap become one, named by the one of the lowest rank, that covers them all."""
    found: list[_Hit] = []
    for hit in sorted(hits, key=lambda hit: (hit.start, -hit.end)):
        if found and hit.start < found[-1].end:
            found.append(_joined(found.pop(), hit))
        else:
            found.append(hit)
    return tuple(Found(hit.name, hit.start, hit.end) for hit in found)


def _joined(one: _Hit, other: _Hit) -> _Hit:
    first = min(one, other, key=lambda hit: (hit.rank, hit.start - hit.end))
    return _Hit(first.rank, one.start, max(one.end, other.end), first.name)


@lru_cache(maxsize=256)
def detector_of(entities: frozenset[str], patterns: tuple[tuple[str, str], ...] = ()) -> Detector:
    """The detector of these entities and patterns, made once."""
    return Detector(entities, patterns)


def pattern_problem(text: str) -> str:
    """Why an own pattern is not taken; "" if it is."""
    if len(text) > MAX_PATTERN_CHARACTERS:
        return f"is longer than {MAX_PATTERN_CHARACTERS} characters"
    try:
        pattern = re2.compile(text)
    except re2.error:
        return "is not RE2"
    if pattern.programsize > MAX_PATTERN_INSTRUCTIONS:
        return "is too large"
    return "matches the empty text" if pattern.search("") else ""
