"""What it would take the parser to read a statement, told beforehand: it cannot be stopped once it has begun."""

from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from typing import Final

from callgate.screening.sql_lexical import Part
from callgate.screening.sql_tree import type_words

# Brackets and CASEs within one another.  Statements that people write rarely pass 10; the parser takes some 20 KiB of
# stack for each.
MAX_DEPTH: Final = 50
# Of one part behind its like, as in NOT NOT NOT: each is a level too.
MAX_REPEATED: Final = 40
# Parts, each counted as often as the parser reads it, at some 4 µs, 8 for what is rarely written: 16 ms.
MAX_WORK: Final = 2_000

_OPENS: Final = frozenset({"(", "[", "{", "case"})
_CLOSES: Final = frozenset({")", "]", "}", "end"})
_TOLD_APART: Final = _OPENS | _CLOSES | {"join", "straight_join", "on", "using", "select", "from"}
# Joins of these kinds take no condition.
_UNCONDITIONAL: Final = frozenset({"cross", "natural"})
_COLUMN_LISTS: Final = frozenset({"except", "exclude", "replace", "rename"})
# More than that is too much for whatever statement.
_MOST_DOUBLINGS: Final = 12


def is_too_deep(parts: Sequence[Part]) -> bool:
    """Whether a statement nests more deeply than the parser's stack allows for."""
    words = [part.word for part in parts]
    depth = 0
    for word in words:
        if word in _OPENS:
            depth += 1
            if depth > MAX_DEPTH:
                return True
        elif word in _CLOSES:
            depth -= depth > 0
    return _repeats(words)


def _repeats(words: Sequence[str]) -> bool:
    # Only words that stand so often can stand so often in a row; brackets have a bound of their own.
    often = [word for word, times in Counter(words).items() if times > MAX_REPEATED and word not in _TOLD_APART | {""}]
    return bool(often) and any(len(list(run)) > MAX_REPEATED for word, run in groupby(words) if word in often)


def is_too_much(parts: Sequence[Part], parser: str) -> bool:
    """Whether the parser would read more than MAX_WORK parts, those it reads again each time anew.

    A bracket behind the name of a type is read as the type's first and as a call's or an array's then, and so are the
    columns that a star leaves out; what follows a JOIN without a condition is read as its own and as its neighbour's.
    Each doubles what it takes, a square bracket nearly twice.  And each query is looked through from those around it.
    """
    effort = _Effort(parts, type_words(parser))
    for at in [at for at, part in enumerate(parts) if part.word in _TOLD_APART]:
        effort.take(at)
        if effort.work > MAX_WORK or effort.doublings > _MOST_DOUBLINGS:
            return True
    effort.count(len(parts))
    return effort.work > MAX_WORK


class _Effort:
    """The work so far, and how often what comes next is read."""

    __slots__ = ("_begin", "_outer", "_parts", "_queries", "_types", "doublings", "work")

    def __init__(self, parts: Sequence[Part], types: frozenset[str]) -> None:
        self._parts, self._types = parts, types
        self._begin, self._queries, self.work, self.doublings = 0, 0, 0, 0
        # By bracket: the doublings and the queries around it.
        self._outer: list[tuple[int, int]] = []

    def count(self, at: int) -> None:
        """Count the parts up to there."""
        self.work += (at - self._begin) * (1 + self._queries) << self.doublings
        self._begin = at

    def take(self, at: int) -> None:
        """Take the part there, one of _TOLD_APART."""
        self.count(at)
        word, before = self._parts[at].word, self._parts[at - 1].word if at else ""
        if word in _OPENS:
            self._outer.append((self.doublings, self._queries))
            self.doublings += self._doublings_of(at, word, before)
        elif word in _CLOSES:
            self.doublings, self._queries = self._outer.pop() if self._outer else (self.doublings, self._queries)
        elif word in {"on", "using"}:
            self.doublings -= self.doublings > (self._outer[-1][0] if self._outer else 0)
        elif word == "select" or (word == "from" and before == "("):
            self._queries = len(self._outer) and (self._outer[-1][1] + 1)
        elif word != "from" and before not in _UNCONDITIONAL:
            self.doublings += 1

    def _doublings_of(self, at: int, word: str, before: str) -> int:
        if word == "case":
            return 0
        if before in self._types or before == ">":
            return 2 if word == "[" else 1
        return at > 1 and before in _COLUMN_LISTS and self._parts[at - 2].word in {"*", ")"}
