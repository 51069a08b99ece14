"""Payment cards: an issuer's range, a length it has, Luhn's check digit."""

import re
from itertools import pairwise
from typing import Final

from callgate.screening.checks import ean, luhn
from callgate.screening.seeking import Rule, Span
from callgate.screening.views import View

_RANK: Final = 20

# Issuers' ranges, ISO/IEC 7812 and the schemes' own tables (first digits from, to, lengths).
_RANGES: Final = (
    ("4", "4", (13, 16, 19)),  # Visa
    ("51", "55", (16,)), ("2221", "2720", (16,)),  # Mastercard
    ("34", "34", (15,)), ("37", "37", (15,)),  # American Express
    ("300", "305", (14, 16, 17, 18, 19)), ("3095", "3095", (14, 16)), ("36", "36", (14, 15, 16, 17, 18, 19)),
    ("38", "39", (14, 16, 17, 18, 19)),  # Diners Club
    ("6011", "6011", (16, 17, 18, 19)), ("644", "659", (16, 17, 18, 19)),  # Discover
    ("3528", "3589", (16, 17, 18, 19)),  # JCB
    ("62", "62", (16, 17, 18, 19)), ("81", "81", (16, 17, 18, 19)),  # UnionPay
    ("50", "50", (13, 14, 15, 16, 17, 18, 19)), ("56", "58", (13, 14, 15, 16, 17, 18, 19)), ("63", "63", (13, 14, 15, 16, 17, 18, 19)),
    ("67", "67", (13, 14, 15, 16, 17, 18, 19)),  # Maestro
    ("60", "60", (16,)), ("82", "82", (16,)), ("508", "508", (16,)),  # RuPay, Hipercard
    ("2200", "2205", (16, 17, 18, 19)),  # Mir
    ("9792", "9792", (16,)), ("8600", "8600", (16,)), ("9860", "9860", (16,)),  # Troy, Uzcard, Humo
)  # fmt: skip
_BY_FIRST_DIGIT: Final = {digit: tuple(one for one in _RANGES if one[0][0] == digit) for digit in "2345689"}
_GROUPINGS: Final = frozenset({(4, 4, 4, 4), (4, 6, 5), (4, 6, 4), (4, 4, 4, 4, 3), (4, 4, 4, 1), (4, 4, 5), (8, 8)})
_GROUP: Final = re.compile("[0-9]+")


def is_card(digits: str) -> bool:
    """Whether an issuer has such numbers, and Luhn's check digit holds; all digits alike are no number."""
    return _is_issued(digits) and luhn(digits) and len(set(digits)) > 1


def _is_issued(digits: str) -> bool:
    return any(
        low <= digits[: len(low)] <= high and len(digits) in lengths
        for low, high, lengths in _BY_FIRST_DIGIT.get(digits[0], ())
    )


def _bare(view: View, start: int, end: int) -> Span | None:
    """Digits in a row, not the fraction of a number; thirteen that are an article's number only where a word tells it."""
    digits = view.text[start:end]
    behind = view.text[end : end + 3]
    if (
        not is_card(digits)
        or _is_fraction(view, start)
        or (re.match(r"[.,][0-9]", behind) and not re.match(r"\.0|,[0-9]", behind))
    ):
        return None
    if view.is_in_uuid(start, end) or (len(digits) == 13 and ean(digits) and not view.told.tells("card", start, end)):
        return None
    return start, end


def _is_fraction(view: View, start: int) -> bool:
    before = view.before(start, 2)
    return before[-1:] == "." and before[:1].isdigit()


def _grouped(view: View, start: int, end: int) -> Span | None:
    """The most groups that make a card, if no further ones hang on it that would make a longer number of it."""
    groups = list(_GROUP.finditer(view.text, start, end))
    digits = "".join(group[0] for group in groups)
    for count in range(len(groups), 1, -1):
        if len(digits) < 13:
            return None
        if is_card(digits) and _is_one(view, groups[:count]):
            return start, groups[count - 1].end()
        digits = digits[: -len(groups[count - 1][0])]
    return None


def _is_one(view: View, groups: list[re.Match[str]]) -> bool:
    signs = {view.text[one.end() : other.start()] for one, other in pairwise(groups)}
    start, end = groups[0].start(), groups[-1].end()
    if view.is_in_uuid(start, end) or _DATED.match(view.text, start):
        return False
    if tuple(len(group[0]) for group in groups) in _GROUPINGS:
        return not _goes_on(view, start, end)
    is_even = len(signs) == 1 and not signs & {"\n", "\r\n", " \n"}
    is_broken = len(groups) == 2 and min(len(group[0]) for group in groups) >= 4
    return (is_even or is_broken) and not _touches(view, start, end)


def _goes_on(view: View, start: int, end: int) -> bool:
    """Whether four or more digits follow, or others go before and follow: a longer number."""
    before, behind = view.before(start, 2), view.text[end : end + 8]
    if re.match(r"[./-][0-9]", behind) or re.fullmatch(r"[0-9][./-]", before):
        return True
    return bool(
        re.match(r" [0-9]{4}(?![0-9/])", behind) or (re.match(r" [0-9]", behind) and re.fullmatch("[0-9] ", before))
    )


def _touches(view: View, start: int, end: int) -> bool:
    return bool(
        re.match(r"[ ./-][0-9]", view.text[end : end + 2]) or re.fullmatch(r"[0-9][ ./-]", view.before(start, 2))
    )


_DATED: Final = re.compile(r"20[0-9]{2}[-./ ][01]?[0-9][-./ ]")
_FIRST: Final = "(?:[3456]|2[ ./-]{0,3}[2-7]|8[ ./-]{0,3}[126]|9[ ./-]{0,3}[78])"
_ISSUER: Final = "(?:4[0-9]|5[0-9]|6[0-9]|3[0-9]|2[2-7]|8[126]|9[78])"
RULES: Final = (
    Rule("card", rf"\b{_ISSUER}[0-9]{{11,17}}\b", _bare, _RANK, is_numeric=True),
    # Track 1 of the stripe, ISO/IEC 7813: format code B.
    Rule("card", r"%B[0-9]{13,19}\^", lambda _, start, end: (start + 2, end - 1), _RANK),
    Rule("card", rf"\b{_FIRST}(?:[ ./-]{{0,3}}[0-9]){{12,18}}\b", _grouped, _RANK, is_numeric=True),
    Rule(
        "card",
        rf"\b{_FIRST}(?:[ -]?[0-9]){{3,14}} {{0,3}}\r?\n ?(?:[ -]?[0-9]){{4,15}}\b",
        _grouped,
        _RANK,
        is_numeric=True,
    ),
)
