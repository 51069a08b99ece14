"""Text that lies: terminal escapes, overrides of direction, what is not to be seen, letters that pass for others.

Found are `ansi`, `bidi`, `zero_width`, `tag_chars`, `homoglyph` and `control`.  What a script or an emoji needs is not:
joiners, marks of direction and variation selectors where they belong, the tag characters of three flags.
"""

import re
from collections import Counter
from collections.abc import Mapping
from itertools import islice
from typing import Final

import re2  # type: ignore[import-untyped]  # ships no types

from callgate.screening import code_points as points
from callgate.screening.homoglyphs import forged_in_name, forged_words, lookalikes

__all__ = ["MAX_COUNTED", "MAX_STRIPPED", "TooDeceptive", "find_deceptive", "lookalikes", "strip_deceptive"]

# How many signs of one text are counted: what comes behind them makes no difference.
MAX_COUNTED: Final = 10_000
# How many are taken out of one text.  Logs full of colours have some ten thousand; more would keep others waiting.
MAX_STRIPPED: Final = 50_000
# How often a text is gone through: what stands alone once another sign is gone can deceive in its turn.
MAX_ROUNDS: Final = 4


class TooDeceptive(ValueError):  # noqa: N818  # says what the text is
    """A text with more than MAX_STRIPPED signs that deceive, or with some within each other: nothing that is left of it could be trusted."""

    def __init__(self) -> None:
        super().__init__("too many deceptive characters")


_CONTROLS: Final = tuple(chr(code) for code in (*range(32), 127) if chr(code) not in "\t\n\r")
# ECMA-48, 5.4 and 5.6: a control sequence, and a control string up to its terminator; xterm ends one at BEL, too.
# A string that nothing ends is none: what follows stays to be read.
_SEQUENCE: Final = "[0-?]*+[ -/]*+[@-~]?"
_STRING: Final = "(?:[^\x07\x18\x1a\x1b\x80-\x9f]*+(?:\x07|\x1b\\\\|\x9c))?"
_ANSI: Final = (
    f"(?<=\x9b){_SEQUENCE}|(?<=[\x90\x98\x9d-\x9f]){_STRING}|(?<=\x9c)"
    f"|(?<=\x1b)(?:\\[{_SEQUENCE}|[\\]PX^_]{_STRING}|[ -/]*+[0-~]?)"
)
_CONTROL: Final = f"(?<=[{points.CONTROLS}{points.ANNOTATIONS}])"
# On a terminal, what follows overwrites the line.
_LONE_RETURN: Final = re.compile("(?<!\r)\r++(?!\n)")
# Of marks of direction: alone in a text without right-to-left letters, within a word, or several of them.
_STRAY_MARK: Final = f"(?<=[A-Za-z0-9_].)(?=[A-Za-z0-9_])|(?<=[{points.MARKS}].)"
_TAG: Final = f"[{points.TAGS}]"
# The flags of England, Scotland and Wales (UTS 51, annex C): a black flag, `g`, the rest, and the tag that ends it.
_FLAGS: Final = tuple(
    "".join(chr(0xE0000 + ord(sign)) for sign in flag) for flag in ("gbeng\x7f", "gbsct\x7f", "gbwls\x7f")
)
_BEHIND_G: Final = "|".join(flag[1:] for flag in _FLAGS)
_TAGS: Final = f"(?<!{_TAG}.)(?!(?<=\U0001f3f4\U000e0067)(?:{_BEHIND_G})(?!{_TAG})){_TAG}*+"
_PICTURE: Final = f"[{points.PICTURES}]"
# RFC 5892, appendix A: joiners behind letters that join; UTS 51, 2.7: between the pictures of an emoji.  Persian puts a
# non-joiner between a Latin word and its ending, too.
_JOINER: Final = f"(?<![{points.JOINING}].)(?:(?<=\u200c)(?![{points.ARABIC}])|(?<=\u200d)(?:(?<![{points.PICTURES}\ufe0f\u20e3\U000e007f].)|(?!{_PICTURE})))"
# UTS 51, 2.9: behind pictures, and in keycaps.  UAX 44, StandardizedVariants: behind ideographs and operators.
_VARIATION: Final = (
    f"(?<=[\ufe0e\ufe0f])(?<!{_PICTURE}.)(?!(?<=[0-9#*].)\u20e3)(?<![{points.HAN}].)"
    f"|(?<=[\ufe00-\ufe0d])(?<![{points.HAN}{points.VARIED}].)"
)
_ZERO_WIDTH: Final = "|".join(
    (
        f"(?<=[{points.INVISIBLE}])[{points.INVISIBLE}\u200b]*+",
        f"(?<=\u200b)(?!(?<=[{points.WITHOUT_SPACES}].)[{points.WITHOUT_SPACES}])[{points.INVISIBLE}\u200b]*+",
        # A byte order mark is one at the very beginning.
        "(?<=\ufeff)(?<=..)",
        # UTS 37: one behind an ideograph.
        f"(?<=[{points.IDEOGRAPHIC_VARIATIONS}])(?<![{points.HAN}].)",
        f"(?<=[{points.MONGOLIAN_FORMATS}])(?<![\u1820-\u18aa].)",
        # Old Hangul: a filler stands for the letter that a syllable lacks.
        "(?<=\u115f)(?![\u1161-\u11a7])|(?<=\u1160)(?<![\u1100-\u115e].)",
        "(?<=[\u17b4\u17b5])(?<![\u1780-\u17a2].)",
        # Grapheme joiners between marks; blank Braille cells beside others.
        "(?<=\u034f)(?<![\u0300-\u036f\u0591-\u05c7].)",
        "(?<=\u2800)(?<![\u2801-\u28ff].)(?![\u2801-\u28ff])",
    )
)
_FIRST: Final = (
    f"[{points.CONTROLS}{points.DIRECTIONS}{points.MARKS}{points.INVISIBLE}{points.JOINERS}{points.TAGS}{points.VARIATIONS}"
    f"{points.IDEOGRAPHIC_VARIATIONS}{points.MONGOLIAN_FORMATS}{points.ANNOTATIONS}\u200b\ufeff\u115f\u1160\u17b4\u17b5\u034f\u2800]"
)


def _signs(marks: str, *, named: bool) -> re.Pattern[str]:
    """What deceives, one match a sign: a first character, and what has to be so before it and behind it.

    Nothing is repeated but what is consumed for good: time is linear.
    """
    group = "(?P<{}>{})" if named else "(?:{1})"
    rest = {
        "ansi": _ANSI,
        "bell": "(?<=\x07)",
        "bidi": f"(?<=[{points.DIRECTIONS}])",
        "zero_width": _ZERO_WIDTH,
        "control": _CONTROL,
    }
    common = points.JOINERS + points.VARIATIONS + points.TAGS + points.MARKS
    # First what ordinary text is full of: it is soon done with.
    return re.compile(
        f"{_FIRST}(?:(?<=[{points.JOINERS}]){group.format('joiner', _JOINER)}"
        f"|(?<=[{points.VARIATIONS}]){group.format('variation', _VARIATION)}"
        f"|(?<=[{points.MARKS}]){group.format('mark', marks)}"
        f"|(?<={_TAG}){group.format('tag_chars', _TAGS)}"
        f"|(?<![{common}])(?:{'|'.join(group.format(*kind) for kind in rest.items())}))",
        re.DOTALL,
    )


# By whether the text has right-to-left letters.
_NAMED: Final = {True: _signs(_STRAY_MARK, named=True), False: _signs("", named=True)}
_ANY: Final = {True: _signs(_STRAY_MARK, named=False), False: _signs("", named=False)}
_COUNTED_AS: Final = {
    "bell": ("ansi", "control"),
    "joiner": ("zero_width",),
    "variation": ("zero_width",),
    "mark": ("bidi",),
}
_RIGHT_TO_LEFT: Final = re2.compile(f"[{points.RIGHT_TO_LEFT}]")


def _without(before: str, sign: str, after: str = "") -> str:
    """One of `sign`, where none of `before` stands before it, and none of `after` behind it."""
    return f"(?:\\A|[^{before}])[{sign}]" + (f"(?:[^{after}]|\\z)" if after else "")


# Whether there is anything to look at, for RE2, which tells so in two nanoseconds a byte.  It has no way to look around:
# so this finds all that the patterns above find, and some more.
_SUSPECT: Final = re2.compile(
    "|".join(
        (
            f"[{points.CONTROLS}{points.DIRECTIONS}{points.INVISIBLE}{points.TAGS}{points.ANNOTATIONS}]",
            f"[A-Za-z0-9_][{points.MARKS}][A-Za-z0-9_]|[{points.MARKS}]{{2}}",
            _without(points.WITHOUT_SPACES, "\u200b"),
            f"\u200b(?:[^{points.WITHOUT_SPACES}]|\\z)",
            "[^\ufeff]\ufeff|\ufeff{2}",
            _without(f"{points.JOINING}{points.PICTURES}\ufe0f\u20e3\U000e007f", "\u200d"),
            _without(points.JOINING, "\u200c", points.ARABIC),
            _without(points.JOINING, "\u200d", points.PICTURES),
            _without(f"0-9#*{points.PICTURES}{points.HAN}", "\ufe0e\ufe0f"),
            "[0-9#*][\ufe0e\ufe0f](?:[^\u20e3]|\\z)",
            _without(points.HAN + points.VARIED, "\ufe00-\ufe0d"),
            _without(points.HAN, points.IDEOGRAPHIC_VARIATIONS),
            _without("\u1820-\u18aa", points.MONGOLIAN_FORMATS),
            "[\u115f\u1160\u17b4\u17b5\u034f]",
            _without("\u2801-\u28ff", "\u2800", "\u2801-\u28ff"),
        )
    )
)


def find_deceptive(text: str, *, is_name: bool = False) -> Mapping[str, int]:
    """Count what deceives in a text, by what it is called; of a name more does.

    Each count goes up to some MAX_COUNTED.  Total, and linear in the text.
    """
    suspect = _is_suspect(text)
    if not suspect and not is_name and text.isascii():
        return {}
    found: Counter[str] = Counter()
    if suspect:
        for sign in islice(_NAMED[_reads_right_to_left(text)].finditer(text), MAX_COUNTED):
            found[sign.lastgroup or ""] += 1
        found["control"] += sum(1 for _ in islice(_LONE_RETURN.finditer(text), MAX_COUNTED))
        for kind, names in _COUNTED_AS.items():
            found.update(dict.fromkeys(names, found.pop(kind, 0)))
    if is_name:
        found["control"] += sum(map(text.count, "\t\n\r\u2028\u2029"))
    if not text.isascii():
        found["homoglyph"] += forged_in_name(text) if is_name else forged_words(text)
    return dict(+found)


def strip_deceptive(text: str) -> str:
    """Take out what deceives; letters that pass for others stay, and what ends lines becomes a line feed.

    Linear in the text.  Raises TooDeceptive where there is more than MAX_STRIPPED, or still something after MAX_ROUNDS.
    """
    if not _is_suspect(text):
        return text
    for line_end in "\x0b\x0c\x85":
        text = text.replace(line_end, "\n")
    text, count = _LONE_RETURN.subn("\n", text, MAX_STRIPPED)
    if count == MAX_STRIPPED:
        raise TooDeceptive
    for _ in range(MAX_ROUNDS):
        # Anew each time: the only letter from right to left may have been part of what was taken out.
        text, count = _ANY[_reads_right_to_left(text)].subn("", text, MAX_STRIPPED)
        if not count:
            return text
        if count == MAX_STRIPPED:
            break
    raise TooDeceptive


def _is_suspect(text: str) -> bool:
    """May there be anything that deceives, letters aside?"""
    if "\r" in text and text.count("\r") != text.count("\r\n"):
        return True
    if text.isascii():
        return any(map(text.__contains__, _CONTROLS))
    if "\U0001f3f4" in text:
        for flag in _FLAGS:
            text = text.replace("\U0001f3f4" + flag, "\U0001f3f4")
    encoded = text.encode(errors="replace")
    if _SUSPECT.search(encoded):
        return True
    return any(map(text.__contains__, points.MARKS)) and not _RIGHT_TO_LEFT.search(encoded)


def _reads_right_to_left(text: str) -> bool:
    return not text.isascii() and _RIGHT_TO_LEFT.search(text.encode(errors="replace")) is not None
