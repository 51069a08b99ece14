"""Whether anything may be in a text, told by one pass over it: one automaton of all rules' forms.

It may say yes where nothing is found; where it says no nothing would be.  Where a text may say something else to who reads
it (`views`), what it says is looked at in the same way.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from callgate.screening.escapes import has_escapes
from callgate.screening.folding import BLANKS, DASHES, DIGIT_ZEROS, UNSEEN_RANGES
from callgate.screening.seeking import Rule, compiled, compiled_for_utf8
from callgate.screening.telling import TELLING_GAP, WORDS
from callgate.screening.views import View, views_of

# Where a value may begin or end: at a word's boundary, beside `_`, and behind an escaped end of a line.
_BOUNDARY: Final = r"(?:\b|_|\\[nrt]|%20)"
_LINE_END: Final = r"(?:\r?\n|\\[nr]){1,2}"
# `numeric` reads `_` as `-`.
_SIGNS: Final = (
    ("[ ./-]", "[ ./_-]"),
    ("[ .-]", "[ ._-]"),
    ("[ -]", "[ _-]"),
    ("[ ./()-]", "[ ./()_-]"),
    ("[./-]", "[./_-]"),
)


# What people write for `@` and `.`, and elements and comments, between letters and digits.
_BRACKETS: Final = (
    r"[0-9A-Za-z] ?(?:\[ ?(?i:dot|at|@|\.|:) ?\]|\( ?(?i:dot|at|@|\.) ?\)|\{ ?(?i:dot|at|@|\.) ?\}|<(?i:at|dot)>) ?[0-9A-Za-z]"
    r"|[0-9A-Za-z@._+-](?:<!--[^<>]*-->|<(?i:wbr) ?/?>|</?(?:b|i|u|em|strong|span|font|mark|small|sup|sub|code|tt|bdi|bdo)(?: [^<>]*)?>)+"
    r"[0-9A-Za-z@._+-]"
)


# RFC 2045, 6.7, and forms of URLs, where they can matter: see `views`.
_QUOTED: Final = (
    r"=(?:40[A-Za-z\[=]|2[A-F][0-9A-Za-z=(]|3[A-F][0-9A-Za-z\"'+(]|0[AD][0-9A-Za-z+(]|[0-9A-F]{2}=[0-9A-F]{2}|20[A-Za-z(+])"
    r"|=[ ]{0,3}\r?\n ?[0-9A-Za-zÿ_@.+(:;\[-]|[0-9]=20[0-9(]|=[^\s&+]*\+[0-9A-Za-z%(]"
)


def _class(characters: str, *ranges: tuple[int, int]) -> str:
    spans = [*((ord(character), ord(character)) for character in characters), *ranges]
    return "[" + "".join(rf"\x{{{low:x}}}-\x{{{high:x}}}" for low, high in spans) + "]"


# What `folding` reads as something else, where that can be a part of a value.  Signs of Chinese and Japanese text count
# between Latin letters and digits alone, as do dashes and blanks; full-width letters and digits count anywhere.
_UNSEEN: Final = _class("", *UNSEEN_RANGES)
_SIGN: Final = _class(DASHES + "\u2024\u2044\u2215\u3002\uff61\uff0e\uff0f\u02d0\ua789\u2236\uff1a\ufe52\ufe55")
_BLANK: Final = _class(BLANKS)
_LETTER: Final = _class(
    "\uff0b\uff20\uff3f\ufe6b\ufe62",
    (0x2100, 0x213F),
    (0xFF10, 0xFF19),
    (0xFF21, 0xFF3A),
    (0xFF41, 0xFF5A),
    (0x1D400, 0x1D6A3),
)
_DIGIT: Final = _class("", *((zero, zero + 9) for zero in DIGIT_ZEROS))
_PLAIN: Final = r"[\n -~]"
_FOREIGN: Final = "|".join(
    (
        f"{_PLAIN}{_UNSEEN}+{_PLAIN}|[!-~]{_UNSEEN}|{_UNSEEN}[!-~]",
        f"[0-9A-Za-z)]{_SIGN}+[0-9A-Za-z(]",
        f"[0-9)+] ?{_BLANK}+ ?[0-9(+]|[0-9]{{2}}{_BLANK}[0-9A-Za-z]{{4}}",
        f"{_DIGIT}{{2}}|{_LETTER}|[\uff08\ufe59][0-9]",
    )
)
# A telling word, and behind it (one short number may stand between) a number of six digits, or a date, or before it.
_TOLD_NUMBER: Final = rf"(?:%20|[^0-9\n{{}}])*{TELLING_GAP}(?:[0-9][0-9]?[^0-9\n{{}}]+)?[0-9](?:[ ./()_-]*[0-9]){{5}}"
_TOLD_DATE: Final = rf"{TELLING_GAP}[0-9]"
_TOLD_BEHIND: Final = r"[0-9A-Za-z](?: ?[(\[]| (?:is|was) (?:my|his|her|the|our) | = )"
_TOLD_MAC: Final = r"[^0-9A-Fa-f]*[0-9A-Za-z_ :=\"']*[0-9A-Fa-f]{12}"
# The first row of a table, and how long one is at most that has names of columns.
_HEAD: Final = 2_048


def loosened(rule: Rule) -> str:
    """The rule's form, for text whose escapes are not read and where `_` is `_`."""
    form = rule.form
    if rule.is_numeric:
        for sign, loose in _SIGNS:
            form = form.replace(sign + "{0,3}", loose + "*").replace(sign, loose)
    else:
        form = _COUNT.sub(_fewer, form)
    for sign, loose in _ESCAPED:
        form = form.replace(sign, loose)
    return f"(?:{form})"


_ESCAPED: Final = ((r"\b", _BOUNDARY), (r"\r?\n", _LINE_END), ("://", r":\\?/\\?/"))
_COUNT: Final = re.compile(r"\{([0-9]+)(,?)[0-9]*\}")
# Of a key's characters, so many are suspicious: fewer states than for all of them.
_SUSPICIOUS: Final = 12


def _fewer(count: re.Match[str]) -> str:
    least = int(count[1])
    return f"{{{_SUSPICIOUS},}}" if least > _SUSPICIOUS else count[0]


def may_hold(rules: Sequence[Rule]) -> Callable[[View, int], int | None]:
    """Tells where from an offset on the first thing is that one of these rules may find; None: nowhere."""
    if any(rule.told_by for rule in rules):
        kinds = [rule.told_by for rule in rules]
        return lambda view, _: 0 if any(view.told.has(kind) for kind in kinds) else None
    forms = compiled("|".join(map(loosened, rules)))

    def first_of(view: View, offset: int) -> int | None:
        match = forms.search(view.flat, offset)
        return None if match is None else int(match.start())

    return first_of


class Suspicion:
    """Tells whether one of these rules may find something in a text."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        kinds = frozenset(rule.told_by for rule in rules if rule.told_by)
        forms = "|".join(loosened(rule) for rule in rules if not rule.told_by) or _NEVER
        in_ascii = "|".join([forms, *_told(kinds, in_ascii=True)])
        in_utf8 = "|".join([_any_letter(forms), *_told(kinds, in_ascii=False)])
        self._given = (f"{in_ascii}|{_BRACKETS}|{_QUOTED}", f"{in_utf8}|{_BRACKETS}|{_any_letter(_QUOTED)}|{_FOREIGN}")
        self._read = (in_ascii, in_utf8)
        self._column = _words(kinds, in_ascii=False) or _NEVER

    def readings(self, text: str) -> list[tuple[View, int]]:
        """The views of the text that may hold something, and from where on.  Raises: TooLong."""
        if self._first(text, self._given) is None and not has_escapes(text):
            return []
        firsts = ((view, self._first(view.text, self._read)) for view in views_of(text))
        return [(view, first) for view, first in firsts if first is not None]

    def _first(self, text: str, forms: tuple[str, str]) -> int | None:
        # A surrogate is no character of any value.
        said = text.encode("utf-8", "replace")
        in_ascii = len(said) == len(text)
        found = (compiled(forms[0]) if in_ascii else compiled_for_utf8(forms[1])).search(said)
        if found is None:
            return 0 if self._has_column(said) else None
        start: int = found.start()
        return start if in_ascii else len(said[:start].decode("utf-8", "ignore"))

    def _has_column(self, said: bytes) -> bool:
        """Whether the first row may be a table's, with a telling word in it."""
        end = said.find(b"\n", 0, _HEAD)
        if end < 0:
            return False
        first = said[:end]
        if not any(sign in first for sign in _DELIMITERS) or any(sign in first for sign in _NO_TABLES):
            return False
        return compiled_for_utf8(self._column).search(first) is not None


_DELIMITERS: Final = (b",", b";", b"\t", b"|")
_NO_TABLES: Final = (b"<", b"{")


def _any_letter(forms: str) -> str:
    return forms.replace("\xff", "\x80-\U0010ffff")


# Matches no text.
_NEVER: Final = r"\z\A."


def _told(kinds: frozenset[str], *, in_ascii: bool) -> Iterator[str]:
    numbers = _words(kinds - {"mac", "birth_date"}, in_ascii=in_ascii)
    if numbers:
        yield numbers + _TOLD_NUMBER
    if "birth_date" in kinds:
        yield _words({"birth_date"}, in_ascii=in_ascii) + _TOLD_DATE
    if "mac" in kinds:
        yield _words({"mac"}, in_ascii=in_ascii) + _TOLD_MAC
    if kinds:
        yield _TOLD_BEHIND + _words(kinds, in_ascii=in_ascii)


def _words(kinds: Iterable[str], *, in_ascii: bool) -> str:
    """An alternation of these kinds' telling words; "" if there are none."""
    words = {word for kind in kinds for word in WORDS[kind]}
    if in_ascii:
        words = {plain for word in words if (plain := _CLASS.sub(_ascii_of, word)).isascii()}
    return f"(?i:{'|'.join(sorted(words))})" if words else ""


_CLASS: Final = re.compile(r"\[[^\]]*\]")


def _ascii_of(characters: re.Match[str]) -> str:
    return characters[0].encode("ascii", "ignore").decode()
