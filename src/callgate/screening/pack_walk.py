"""What the arguments of a call hold, read once for a rule pack, within bounds.

Everything here takes time linear in the arguments: 1 MiB of them is read in some 10 ms, whatever it is made of.  What
goes beyond the bounds is not read, and told: `is_whole` is False.
"""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, TypeAlias

import re2  # type: ignore[import-untyped]  # ships no types

from callgate.screening.pack_terms import ArgumentPath
from callgate.wire.json_strict import JsonObject, JsonValue

# Texts, objects and lists altogether; numbers do not count.  Reading one takes up to 500 ns; rows of a table to be
# written seldom come to 1000.
MAX_PARTS: Final = 20_000
# Characters of all texts and names together: the largest body that the gate takes.
MAX_CHARACTERS: Final = 1024 * 1024
# Levels, as of the gate's own JSON.
MAX_DEPTH: Final = 64
# Characters that are looked at because some of them mean others in an address, at 100 ns each, and in how many runs.
MAX_FOLDED_CHARACTERS: Final = 32 * 1024
MAX_FOLDED_RUNS: Final = 1000
# RFC 1035, 2.3.4: names have 255 octets or less; in text these are 253 characters.
_LONGEST_NAME: Final = 253
# How far a run goes on each side of such a character.
_REACH: Final = 300

# UTS 46 (IDNA) maps these to nothing or to a dot before a name is looked up: `webhook。site` is webhook.site.
_IGNORED: Final = "\u00ad\u034f\u180e\u200b\u200c\u200d\u2060\u2064\ufe00\ufe01\ufe02\ufe03\ufe0e\ufe0f\ufeff"
_DOTS: Final = "\u3002\uff0e\uff61\u2024"
_OF_ADDRESSES: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789.:/\\@%-_?#&=$(){}")


def _foldings() -> dict[int, str]:
    """The characters that NFKC makes into characters of addresses, ignoring case: full-width, circled, bold …"""
    folded = {code: unicodedata.normalize("NFKC", chr(code)).lower() for code in _compatible_characters()}
    kept = {code: text for code, text in folded.items() if text and _OF_ADDRESSES.issuperset(text)}
    return kept | dict.fromkeys(map(ord, _IGNORED), "") | dict.fromkeys(map(ord, _DOTS), ".")


def _compatible_characters() -> Iterable[int]:
    """Where Unicode has compatibility characters of Latin letters, digits and signs; the rest folds to nothing here."""
    for first, last in ((0xAA, 0x2FF), (0x1D00, 0x1DBF), (0x2000, 0x24FF), (0x2C60, 0x2C7F), (0x3000, 0x33FF),
                        (0xA700, 0xA7FF), (0xFB00, 0xFB06), (0xFE00, 0xFFEF), (0x1D400, 0x1D7FF),
                        (0x1F100, 0x1F1FF), (0x1FBF0, 0x1FBF9)):  # fmt: skip
        yield from range(first, last + 1)


_FOLDED: Final = _foldings()
_LETTERS: Final = "".join(chr(code) for code, text in _FOLDED.items() if text.isalnum())
_SIGNS: Final = "".join(chr(code) for code, text in _FOLDED.items() if not text.isalnum())
# A sign counts beside a letter or digit alone: a full stop of Chinese at the end of a sentence does not.
_START: Final = re2.compile(rf"[{_LETTERS}]+|[a-zA-Z0-9][{_SIGNS}]|[{_SIGNS}][a-zA-Z0-9]")
_IN_RUN: Final = frozenset(_LETTERS + _SIGNS) | _OF_ADDRESSES | frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ")


@dataclass(frozen=True, slots=True)
class Contents:
    """What arguments hold.

    `named`: each text with the name of the member that it is the value of ("" in lists), and each name of a member
    whose value is no text with "".  `objects` and `lists`: all of them, from the root.  `numbers`: integers that are the
    values of members.
    """

    named: tuple[tuple[str, str], ...]
    objects: tuple[JsonObject, ...]
    lists: tuple[list[JsonValue], ...]
    numbers: frozenset[int]
    is_whole: bool

    def text(self) -> str:
        """All names and texts, a line each."""
        return "\n".join(f"{name}\n{text}" if name else text for name, text in self.named)


def contents_of(arguments: JsonValue) -> Contents:
    """Everything in `arguments`; up to the bounds."""
    reading = _Reading()
    level: list[JsonValue] = [arguments]
    for _ in range(MAX_DEPTH):
        if not level or reading.is_full:
            break
        level = reading.below(level)
    is_whole = not level and not reading.is_full
    return Contents(
        tuple(reading.named), tuple(reading.objects), tuple(reading.lists), frozenset(reading.numbers), is_whole
    )


class _Reading:
    """Collects what one level after the other holds."""

    def __init__(self) -> None:
        self.named: list[tuple[str, str]] = []
        self.objects: list[JsonObject] = []
        self.lists: list[list[JsonValue]] = []
        self.numbers: set[int] = set()
        self.is_full = False
        self._characters = 0

    def below(self, level: list[JsonValue]) -> list[JsonValue]:
        """Take what is in this level; what it holds is the level below."""
        below: list[JsonValue] = []
        first = len(self.named)
        for value in level:
            if type(value) is str:
                self.named.append(("", _encodable(value)))
            elif type(value) is dict:
                self._object(value, below)
            elif type(value) is list:
                self._list(value, below)
            if len(self.named) + len(below) > MAX_PARTS:
                self.is_full = True
                return below
        self._characters += sum(len(name) + len(text) for name, text in self.named[first:])
        self.is_full |= self._characters > MAX_CHARACTERS
        return below

    def _object(self, value: JsonObject, below: list[JsonValue]) -> None:
        if len(value) > MAX_PARTS:
            self.is_full = True
            return
        self.objects.append(value)
        for name, each in value.items():
            self.named.append((_encodable(name), _encodable(each) if type(each) is str else ""))
            if type(each) is dict or type(each) is list:
                below.append(each)
            elif type(each) is int:
                self.numbers.add(each)

    def _list(self, value: list[JsonValue], below: list[JsonValue]) -> None:
        self.lists.append(value)
        below.extend(each for each in value if type(each) is str or type(each) is dict or type(each) is list)


def _encodable(text: str) -> str:
    """Half of a surrogate pair is no character, and RE2 does not take it."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


@dataclass(frozen=True, slots=True)
class Missing:
    """The call has no such argument: there is nothing to look at."""


@dataclass(frozen=True, slots=True)
class Untold:
    """Something stands in the way of the argument, or could be read in its place."""


MISSING: Final = Missing()
UNTOLD: Final = Untold()
Value: TypeAlias = JsonValue | Missing | Untold


def value_at(arguments: JsonObject, path: ArgumentPath) -> Value:
    """The argument at `path`.  Null counts as missing: it is nothing that a server could run.

    A member whose name differs from the step only in case stands in the way: servers in Go take either for the other
    (encoding/json: "preferring exact matches but also accepting case-insensitive matches").
    """
    value: Value = arguments
    for step in path:
        value = _step(value, step)
    return MISSING if value is None else value


def _step(value: Value, step: str | int) -> Value:
    if value is None or isinstance(value, Missing | Untold):
        return MISSING if value is None else value
    if type(value) is dict:
        name = str(step)
        return UNTOLD if _has_double(value, name) else value.get(name, MISSING)
    if type(value) is list and str(step).isdecimal() and len(str(step)) < 8:
        return value[int(step)] if int(step) < len(value) else MISSING
    return UNTOLD


def _has_double(members: JsonObject, name: str) -> bool:
    """Whether a member's name is `name` but for its case.  A list of names would be folded at each call: few have any."""
    folded = name.casefold()
    return any(each != name and len(each) <= 3 * len(name) and each.casefold() == folded for each in members)


def fold(text: str) -> tuple[str, bool]:
    """`text`, and behind it what of it means other characters in an address; and whether that is all of it."""
    if text.isascii():
        return text, True
    folded, end, characters = [text], 0, 0
    for count, match in enumerate(_START.finditer(text)):
        if count == MAX_FOLDED_RUNS or characters > MAX_FOLDED_CHARACTERS:
            return "\n".join(folded), False
        if match.end() > end:
            start, end = _run(text, match.start())
            characters += end - start
            folded.append(text[start:end].translate(_FOLDED).lower())
            # Where a run was cut, a name may go on behind the cut.
            end -= _LONGEST_NAME if end == match.start() + _REACH else 0
    return "\n".join(folded), True


def _run(text: str, place: int) -> tuple[int, int]:
    """From where to where around `place` there are characters of addresses alone."""
    start, end = place, place + 1
    while start > max(0, place - _REACH) and text[start - 1] in _IN_RUN:
        start -= 1
    while end < min(len(text), place + _REACH) and text[end] in _IN_RUN:
        end += 1
    return start, end
