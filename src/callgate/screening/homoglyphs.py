"""Letters that pass for others: words of mixed scripts, names and addresses that read as something else (UTS 39)."""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Final

import re2  # type: ignore[import-untyped]  # ships no types

from callgate.screening import code_points as points
from callgate.screening.confusables import CONFUSABLES, ascii_look, skeletons

# How many places of one text are looked at.  Beyond them the next counts as forged: so many are no ordinary text, and
# each costs a microsecond or two.
MAX_PLACES: Final = 4_000
# Each side of the place in a word.
MAX_WORD_CHARACTERS: Final = 64
# No host is longer (RFC 1035, section 2.3.4), and no local part of an address (RFC 5321, section 4.5.3.1.1).
MAX_HOST_CHARACTERS: Final = 253
MAX_LOCAL_CHARACTERS: Final = 64
# Of a tool's name, which has 128 at the most (MCP 2025-11-25, "Tool Names"); what comes behind that is not looked at.
MAX_NAME_CHARACTERS: Final = 1024

_FORGERS: Final = points.GREEK + points.CYRILLIC + points.FORGING
_STYLED: Final = points.FULL_WIDTH + points.FANCY
_MARKS: Final = "\u0300-\u036f"
# A foreign letter with a Latin one beside it, or with one digit or combining mark between them.
_MIXED: Final = re.compile(
    f"[{_FORGERS}{_STYLED}]"
    f"(?:(?<=[{points.LATIN}].)|(?=[{_MARKS}0-9]?[{points.LATIN}])|(?<=[{points.LATIN}][{_MARKS}0-9].))",
    re.DOTALL,
)
_WORD: Final = re.compile(f"[{points.LATIN}{_FORGERS}{_STYLED}{_MARKS}0-9]{{0,{MAX_WORD_CHARACTERS}}}")
_LATIN: Final = re.compile(f"[{points.LATIN}]")
_EAST_ASIAN: Final = re.compile(f"[{points.HAN}{points.KANA_AND_HANGUL}]")
_WIDE_WORD: Final = re.compile(f"[{points.FULL_WIDTH}]{{3,}}")
_FANCY_WORD: Final = re.compile(f"[{points.FANCY}]{{4,}}")
_CYRILLIC_LOOKS: Final = "".join(sign for sign in CONFUSABLES if "\u0400" <= sign <= "\u052f")
# Those that look like a small capital, or like a Latin letter in cursive (ve, en, em, te, pe, ge, i, sha).
_CYRILLIC_NEAR: Final = _CYRILLIC_LOOKS + "\u0432\u043d\u043c\u0442\u043f\u0433\u0438\u0448"
_CYRILLIC_PLAIN: Final = re.compile(f"(?![{_CYRILLIC_LOOKS}])[{points.CYRILLIC}]")
# A word of look-alikes alone, with no Latin letter beside it.
_CYRILLIC_WORD: Final = re.compile(
    f"[{_CYRILLIC_LOOKS}](?<![{points.LATIN}].)[{_CYRILLIC_LOOKS}]++(?![{points.LATIN}])"
)
# A Latin word with a Cyrillic ending that nobody takes for Latin, as speech has them.
_INFLECTED: Final = re.compile(
    f"[A-Za-z]{{2,}}[0-9]*(?=.*(?![{_CYRILLIC_NEAR}])[{points.CYRILLIC}])[{points.CYRILLIC}]{{2,}}"
)
_GREEK: Final = re.compile(f"[{points.GREEK}]")
_FORGER: Final = re.compile(f"[{_FORGERS}]")
_WIDE: Final = re.compile(f"[{points.FULL_WIDTH}]")
_FANCY: Final = re.compile(f"[{points.FANCY}]")
# Phonetic letters that pass for small letters, or for capitals set small (Unicode 17, "LATIN LETTER SMALL CAPITAL …").
_SMALL_CAPITAL: Final = re.compile(
    "[\u0262\u026a\u0274\u0276\u0280\u028f\u0299\u029c\u029f\u1d00\u1d03-\u1d07\u1d0a-\u1d0d\u1d0f\u1d18\u1d1b\u1d1c"
    "\u1d20-\u1d22\ua730\ua731\ua7af]"
)
_RIGHT_TO_LEFT: Final = re.compile(f"[{points.RIGHT_TO_LEFT}]")
# What is not ASCII in a host, before the `@` of an address, and before the last label of a bare domain.  Neither `@`
# nor `:` is among the characters between: none is read twice.
_IN_ADDRESS: Final = re.compile(
    f"(?:://|@)[A-Za-z0-9._~%+-]{{0,{MAX_HOST_CHARACTERS}}}[^\0-\x7f]"
    f"|[^\0-\x7f][A-Za-z0-9._~%+-]{{0,{MAX_LOCAL_CHARACTERS}}}@"
    f"|[{_FORGERS}]\\.[A-Za-z]"
)
# Up to what stands around an address in text, ideographic commas, stops and brackets and quotation marks among it, and
# up to the next `@`.
_ADDRESS: Final = re.compile(
    rf"@?[^@\s<>\"'()\[\]{{}}|,;`\u2018-\u201f\u00ab\u00bb\u3001-\u3011\uff08\uff09\uff0c]{{0,{MAX_HOST_CHARACTERS}}}"
)
# What divides an address for who reads it, and does not for who opens it.
_FALSE_DIVIDER: Final = re.compile("[\u2215\u2044\u29f8\uff0f\uff0e\uff61\u2024\uff20\uff03\uff1f][A-Za-z0-9]")

# The same once more for RE2, which tells in two nanoseconds a byte that there is none: of each kind, and of any.
_SIGNS_OF: Final = (
    f"[{points.LATIN}][{_MARKS}0-9]?[{_FORGERS}{_STYLED}]|[{_FORGERS}{_STYLED}][{_MARKS}0-9]?[{points.LATIN}]",
    f"[{points.FULL_WIDTH}]{{3}}",
    f"[{points.FANCY}]{{4}}",
    f"\\A(?:[{_CYRILLIC_LOOKS}]|[^{points.CYRILLIC}])*[{_CYRILLIC_LOOKS}]{{2}}",
    f"(?:://|@)[A-Za-z0-9._~%+-]*[^\0-\x7f]|[^\0-\x7f][A-Za-z0-9._~%+-]*@|[{_FORGERS}]\\.[A-Za-z]",
)
_MIXED_SIGN, _WIDE_SIGN, _FANCY_SIGN, _CYRILLIC_SIGN, _HOST_SIGN = map(re2.compile, _SIGNS_OF)
_ANY_SIGN: Final = re2.compile("|".join(_SIGNS_OF))

# Greek letters of formulas that look Latin too, as in stress x, frequency max, TNF alpha.  The others deceive in any word.
_OF_FORMULAS: Final = frozenset("\u03b1\u03b3\u03b9\u03ba\u03bd\u03c1\u03c3\u03c5\u03f1\u03f8")
_BESIDE_SYMBOLS: Final = frozenset((
    "abs", "air", "avg", "calc", "cos", "cosh", "cot", "crit", "det", "eff", "exp", "ext", "gas", "int", "lim", "log",
    "max", "mean", "min", "net", "obs", "opt", "out", "ref", "rel", "sat", "sin", "sinh", "tan", "tanh", "tot",
    "total",
))  # fmt: skip


def forged_words(text: str) -> int:
    """Count the words of a text, and the addresses in it, that read as something else than they are.

    `text` is not ASCII.  Counts go up to MAX_PLACES; a text with more such places than can be looked at has one more.
    """
    encoded = text.encode(errors="replace")
    if not _ANY_SIGN.search(encoded):
        return 0
    found = 0
    for place, is_forged in enumerate(_places(text, encoded)):
        if place == MAX_PLACES:
            return found + 1
        found += is_forged
    return found


def forged_in_name(name: str) -> int:
    """Count what in a name looks like ASCII and is not, or mixes scripts within a word.  `name` is not ASCII."""
    name = name[:MAX_NAME_CHARACTERS]
    east_asian = _EAST_ASIAN.search(name) is not None
    found = sum(_is_forged_sign(sign, east_asian=east_asian) for sign in set(name) if not sign.isascii())
    words = re.findall(r"[^\W_]+", name)
    found += sum(_mixes_scripts(word) for word in words)
    return found + _reads_as_latin(words)


def lookalikes(names: Sequence[str]) -> frozenset[str]:
    """Find the names of a list that look like an earlier, different one of it, within ASCII too."""
    seen: dict[str, str] = {}
    found = set()
    for name in names:
        looks = skeletons(name)
        if any(seen.get(look, name) != name for look in looks):
            found.add(name)
        for look in looks:
            seen.setdefault(look, name)
    return frozenset(found)


def _places(text: str, encoded: bytes) -> Iterator[bool]:
    """Whether it is forged, for each place that could be."""
    if _MIXED_SIGN.search(encoded):
        yield from _mixed_words(text)
    if _WIDE_SIGN.search(encoded) and _EAST_ASIAN.search(text) is None:
        yield from (True for _ in _WIDE_WORD.finditer(text))
    if _FANCY_SIGN.search(encoded):
        yield from (True for _ in _FANCY_WORD.finditer(text))
    if _CYRILLIC_SIGN.search(encoded):
        yield from _cyrillic_in_latin(text)
    if _HOST_SIGN.search(encoded):
        yield from (_is_forged_address(_token(text, place.start())) for place in _IN_ADDRESS.finditer(text))


def _mixed_words(text: str) -> Iterator[bool]:
    at = 0
    while place := _MIXED.search(text, at):
        before = _run(_WORD, text[max(at, place.start() - MAX_WORD_CHARACTERS) : place.start()][::-1], 0)
        after = _run(_WORD, text, place.start())
        yield _is_forged_word(before[::-1] + after)
        at = place.start() + len(after)


def _token(text: str, at: int) -> str:
    """The address about `at`, as far as one can be long."""
    before = _run(_ADDRESS, text[max(0, at - MAX_LOCAL_CHARACTERS) : at][::-1], 0)
    return before[::-1] + _run(_ADDRESS, text, at)


def _run(pattern: re.Pattern[str], text: str, at: int) -> str:
    found = pattern.match(text, at)
    return found[0] if found else ""


def _is_forged_word(word: str) -> bool:
    """Of a word that holds Latin letters, and some that are not."""
    if _WIDE.search(word):
        return True
    foreign = _FORGER.findall(word)
    if not foreign:
        return len(word) > 3  # shorter ones are formulas
    if all(map(_GREEK.match, foreign)):
        return _is_forged_by_greek(word, foreign)
    return any(ascii_look(_base(sign)) for sign in foreign) and _INFLECTED.fullmatch(word) is None


def _is_forged_by_greek(word: str, greek: Sequence[str]) -> bool:
    bases = {base for base in map(_base, greek) if ascii_look(base)}
    if bases - _OF_FORMULAS:
        return True
    rest = "".join(sign for sign in word if "a" <= sign <= "z")
    return bool(bases) and len(rest) > 2 and rest not in _BESIDE_SYMBOLS


def _base(letter: str) -> str:
    """Without its accent."""
    return unicodedata.normalize("NFD", letter)[0]


def _cyrillic_in_latin(text: str) -> Iterator[bool]:
    """Whole words of look-alikes, in a text that has Latin letters and no other Cyrillic ones."""
    if not _LATIN.search(text) or _CYRILLIC_PLAIN.search(text):
        return
    for word in _CYRILLIC_WORD.finditer(text):
        # In capitals nearly every Russian word would be one.
        yield not word[0].isupper()


def _is_forged_address(token: str) -> bool:
    host = re.split("[/?#]", token.rpartition("://")[2], maxsplit=1)[0]
    if _FALSE_DIVIDER.search(host):
        return True
    labels = re.split("[.@:]", host)
    # Under a top-level domain of its own script, a word is what it is.
    return labels[-1].isascii() and any(map(_is_forged_label, labels))


def _is_forged_label(label: str) -> bool:
    foreign = [sign for sign in label if sign.isalpha() and not sign.isascii()]
    return bool(foreign) and all(map(ascii_look, foreign))


def _is_forged_sign(sign: str, *, east_asian: bool) -> bool:
    """Of one that is not ASCII: does it pass for ASCII, whatever stands beside it?"""
    if _SMALL_CAPITAL.match(sign):
        return True
    if _FORGER.match(sign):
        return False
    if "\uff00" < sign < "\uffef" or sign == "\u3000":
        return not east_asian and ascii_look(sign) != ""
    if sign.isalnum() and unicodedata.category(sign) != "Lm":
        # Superscripts, ordinals and letters with accents are what they are.
        styled = sign > "\xff" and unicodedata.normalize("NFKC", sign).isascii()
        return styled or (bool(_LATIN.match(sign)) and ascii_look(sign) != "")
    return sign.isspace() or ascii_look(sign) != ""


def _mixes_scripts(word: str) -> bool:
    if not _LATIN.search(word):
        return False
    foreign = _FORGER.findall(word)
    return bool(_RIGHT_TO_LEFT.search(word)) or any(
        not _GREEK.match(sign) or ascii_look(_base(sign)) for sign in foreign
    )


def _reads_as_latin(words: Sequence[str]) -> bool:
    """Are all letters of another script that a name has of those that look Latin?"""
    foreign = [sign for word in words if not _LATIN.search(word) for sign in _FORGER.findall(word)]
    return bool(foreign) and all(ascii_look(_base(sign)) for sign in foreign)
