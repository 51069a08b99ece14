"""Constants in conditions: numbers, texts, and patterns that everything matches."""

import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from callgate.screening.sql_tree import exp

# No key has more digits, and float() of a million of them takes long.
_MAX_DIGITS: Final = 40
_LIKE_ALL: Final = re.compile(r"%[%]*+")
_GLOB_ALL: Final = re.compile(r"\*[*]*+")
# Nothing at all, a dot and a star, and their like with anchors and groups.
_REGEXP_ALL: Final = re.compile(r"\(?\^?\(?(?:\.[*+]\??|\[[^\]]{0,8}\]\*|\.?)\)?\$?\)?|\^|\$|\|")


def number_of(node: object) -> float | None:
    """What a number is, with its sign; None for what is none."""
    sign = 1.0
    while isinstance(node, exp.Neg | exp.Paren):
        sign = -sign if isinstance(node, exp.Neg) else sign
        node = node.this
    if not isinstance(node, exp.Literal) or node.is_string or len(node.this) > _MAX_DIGITS:
        return None
    try:
        return sign * float(node.this.replace("_", ""))
    except ValueError:
        return None


def text_of(node: object) -> str | None:
    """What a string is, joined from others if need be; None for what is none."""
    if isinstance(node, exp.Paren | exp.Cast):
        return text_of(node.this)
    if isinstance(node, exp.Literal):
        return str(node.this) if node.is_string else None
    if isinstance(node, exp.DPipe | exp.Concat):
        pieces = node.expressions if isinstance(node, exp.Concat) else [node.this, node.expression]
        texts = [text_of(each) for each in pieces]
        return None if None in texts else "".join(each for each in texts if each is not None)
    return None


def compare(kind: type[exp.Expr], left: float, right: float) -> bool:
    """What a comparison of two numbers comes to."""
    outcomes: dict[type[exp.Expr], bool] = {
        exp.EQ: left == right, exp.NEQ: left != right, exp.GT: left > right, exp.GTE: left >= right,
        exp.LT: left < right, exp.LTE: left <= right, exp.NullSafeEQ: left == right, exp.NullSafeNEQ: left != right,
    }  # fmt: skip
    return outcomes[kind]


def leave_nothing_out(comparisons: Sequence[tuple[type[exp.Expr], float]]) -> bool:
    """Whether each number is on the right side of one comparison or another."""
    lows = [number for kind, number in comparisons if kind in {exp.GT, exp.GTE}]
    highs = [number for kind, number in comparisons if kind in {exp.LT, exp.LTE}]
    unequal = {number for kind, number in comparisons if kind is exp.NEQ}
    equal = {number for kind, number in comparisons if kind is exp.EQ}
    if len(unequal) > 1 or unequal & equal:
        return True
    if not lows or not highs:
        return False
    low, high = min(lows), max(highs)
    meets = (exp.GTE, low) in comparisons or (exp.LTE, low) in comparisons or low in equal
    return low < high or (low == high and meets)


def _all_by_regexp(pattern: str) -> bool:
    return _REGEXP_ALL.fullmatch(pattern) is not None


def _all_by_like(pattern: str) -> bool:
    return _LIKE_ALL.fullmatch(pattern) is not None


# By the kind of match: whether a pattern leaves nothing out.
MATCHES_ALL: Final[Mapping[str, Callable[[str], bool]]] = MappingProxyType(
    {
        "Like": _all_by_like,
        "ILike": _all_by_like,
        "SimilarTo": _all_by_like,
        "Glob": lambda pattern: _GLOB_ALL.fullmatch(pattern) is not None,
        "RegexpLike": _all_by_regexp,
        "RegexpILike": _all_by_regexp,
    }
)
