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
_TOLD_APART: Final = _OPENS | _CLOSES | {"join", "straight_join", "on", "using"}
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


def _lists_columns(parts: Sequence[Part], at: int) -> bool:
    """Whether the bracket there belongs to a star: `* EXCLUDE (`."""
    return at > 1 and parts[at - 1].word in _COLUMN_LISTS and parts[at - 2].word in {"*", ")"}


def is_too_much(parts: Sequence[Part], parser: str) -> bool:
    """Whether the parser would read more than MAX_WORK parts, those it reads again each time anew.

    A bracket behind the name of a type is read as the type's first and as a call's or an array's then, and so are the
    columns that a star leaves out; what follows a JOIN without a condition is read as its own and as its neighbour's.
    Each doubles what it takes.
    """
    work, begin, doublings = 0, 0, 0
    outer: list[int] = []
    types = type_words(parser)
    for at in [at for at, part in enumerate(parts) if part.word in _TOLD_APART]:
        work += (at - begin) << doublings
        begin, word, before = at, parts[at].word, parts[at - 1].word if at else ""
        if word in _OPENS:
            outer.append(doublings)
            doublings += word != "case" and (before in types or _lists_columns(parts, at))
        elif word in _CLOSES:
            doublings = outer.pop() if outer else doublings
        elif word in {"on", "using"}:
            doublings -= doublings > (outer[-1] if outer else 0)
        elif before not in _UNCONDITIONAL:
            doublings += 1
        if work > MAX_WORK or doublings > _MOST_DOUBLINGS:
            return True
    return work + ((len(parts) - begin) << doublings) > MAX_WORK
