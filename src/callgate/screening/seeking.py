"""How values are looked for: an RE2 pattern that finds candidates, and a check that says which part of one is a value."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Final

import re2  # type: ignore[import-untyped]  # ships no types

from callgate.screening.telling import TooLong
from callgate.screening.views import View

# Candidates that are looked at in one text: 3 to 10 us each.  No text for people has so many.
MAX_CANDIDATES: Final = 20_000
# Behind a candidate that is no value the search goes on one character on; behind a longer one than this, so many before
# its end: no text is read again and again.
_LONG: Final = 128
# Of one compiled pattern, for the states that it makes of what it reads.  Where they do not fit RE2 goes on without them,
# fifty times as slowly; all patterns on all hostile texts of the tests take 80 MiB together.
_PATTERN_BYTES: Final = 64 * 1024 * 1024

Span = tuple[int, int]
Check = Callable[[View, int, int], Span | None]


@dataclass(frozen=True, slots=True)
class Rule:
    """One form of an entity.

    `form`: RE2 over a view's `flat`, or its `numeric` bytes where `is_numeric`.  `check(view, start, end)`: the part of
    the candidate that is a value, or None.  `rank`: of two finds in one place the lower one names both.  `told_by`: looked for only in a text with a telling word of
    this kind.
    """

    entity: str
    form: str
    check: Check
    rank: int
    is_numeric: bool = False
    told_by: str = ""


@cache
def compiled(text: str) -> "re2._Regexp":
    """An RE2 pattern over bytes that are characters."""
    return _compiled(text.encode("latin-1"), re2.Options.Encoding.LATIN1)


@cache
def compiled_for_utf8(text: str) -> "re2._Regexp":
    """An RE2 pattern over UTF-8."""
    return _compiled(text.encode(), re2.Options.Encoding.UTF8)


def _compiled(text: bytes, encoding: object) -> "re2._Regexp":
    options = re2.Options()
    options.encoding = encoding
    options.max_mem = _PATTERN_BYTES
    options.log_errors = False
    return re2.compile(text, options)


class Budget:
    """How many candidates are still looked at in this text."""

    __slots__ = ("_left",)

    def __init__(self) -> None:
        self._left = MAX_CANDIDATES

    def spend(self) -> None:
        """Raises: TooLong."""
        self._left -= 1
        if self._left < 0:
            raise TooLong("more candidates than are looked at")


def seek(rule: Rule, view: View, budget: Budget, offset: int = 0) -> Iterator[Span]:
    """The values from an offset on, in order, not overlapping; offsets in the view.  Raises: TooLong."""
    if not rule.told_by:
        yield from _seek_in(rule, view, budget, offset, len(view.text))
        return
    for start, end in view.told.windows(rule.told_by):
        yield from _seek_in(rule, view, budget, start, end)


def _seek_in(rule: Rule, view: View, budget: Budget, offset: int, limit: int) -> Iterator[Span]:
    flat = view.numeric if rule.is_numeric else view.flat
    pattern = compiled(rule.form)
    while (candidate := pattern.search(flat, offset, limit)) is not None:
        budget.spend()
        start, end = candidate.span()
        if end == limit < len(flat):
            return
        value = rule.check(view, start, end)
        if value is None:
            offset = max(start + 1, end - _LONG)
        else:
            offset = value[1]
            yield value
