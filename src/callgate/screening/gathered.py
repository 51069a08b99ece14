"""Every text and number of one JSON value, gathered so that detectors go over them once.

A call of a detector costs more than the few characters that most texts have: short ones are joined, each with the name
that it stands under ("ssn: 219465028" is telling, 219465028 is not), by something that no find and no telling word
reaches across.
"""

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Final, TypeAlias

from callgate.screening.key_text import normalised
from callgate.screening.mask import Masked
from callgate.screening.mcp_places import (
    KNOWN_NAMES,
    LEGAL_NAMES,
    ROOT,
    Kind,
    is_base64,
    is_legal,
    is_of_protocol,
    is_own_member,
    kind_of_entry,
    kind_within,
)
from callgate.screening.replacing import decimal_of
from callgate.screening.terms import Found
from callgate.wire.json_strict import JsonObject, JsonValue

Container: TypeAlias = list[JsonValue] | JsonObject
Step: TypeAlias = str | int

# Words that tell what a number is do so up to the next number: here is one, and nobody's.
SEPARATOR: Final = "\n~000~\n"
# Longer texts, and those that may be tables, are looked at alone: what a column is called is told by the first line.
_LONGEST_JOINED: Final = 256
_TABLE: Final = re.compile(r"[^\n]*[,;\t|][^\n]*\n")
# Joined up to here and scanned at once: so a flood of finds is noticed before all of it was looked for.
CHUNK_CHARACTERS: Final = 256 * 1024
# No entity is a number of fewer digits; own patterns are shown every number.
_FEW_DIGITS: Final = 10**6
# No entity is a word of so few letters and nothing else.
_LONGEST_WORD: Final = 12
# Of the name that members of an object and entries of a list stand under, as much as tells what they are.
_CONTEXT_CHARACTERS: Final = 32


# A container, what it is, the name that it stands under, the number of the frame that it stands in (-1: in none).
Frame: TypeAlias = tuple[Container, Kind, str, int]
# A text, the frame that it stands in, its step there, and how many of its first characters are the names that it stands
# under: all of them where that is -1.  The last two of them are ": ", and in front of these is the step, if it is a name.
Entry: TypeAlias = tuple[str, int, Step, int]


class Gathered:
    """What stands in one value.

    Frames by their numbers: `roots` have the member that pointers begin at, `encoded` ones with base64, `keyed` ones with
    names that a rule has.  `size`: characters.
    """

    __slots__ = ("encoded", "entries", "frames", "keyed", "roots", "size", "texts")

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.entries: list[Entry] = []
        self.roots: list[int] = []
        self.encoded: list[int] = []
        self.keyed: list[int] = []
        self.texts: list[str] = []
        self.size = 0

    def around(self, frame: int, known: set[int]) -> None:
        """Take into `known` the identity of a frame's container, and of all those around it."""
        while frame >= 0 and id(self.frames[frame][0]) not in known:
            known.add(id(self.frames[frame][0]))
            frame = self.frames[frame][3]


class Gatherer:
    """Goes through one value, level by level.  `keys`: the names of rules; `thorough`: short words and numbers too."""

    def __init__(self, keys: Mapping[str, Masked], *, thorough: bool) -> None:
        self._keys = keys
        self._thorough = thorough
        self._known: dict[str, bool] = {}
        self._found = Gathered()

    def gather(self, value: Container, kind: Kind) -> Gathered:
        """All texts and numbers.  Takes some 200 ns for each value."""
        found = self._found
        found.frames.append((value, kind, "", -1))
        for index, (container, inner, name, _) in enumerate(found.frames):
            if isinstance(container, dict):
                self._members(index, container, inner, f"{name[-_CONTEXT_CHARACTERS:]} " if name else "")
            else:
                self._entries(index, container, kind_of_entry(inner), name)
        found.texts = [entry[0] for entry in found.entries]
        found.size = sum(map(len, found.texts))
        return found

    def _members(self, index: int, members: JsonObject, kind: Kind, around: str) -> None:
        found, add = self._found, self._found.entries.append
        of_protocol = is_of_protocol(kind)
        if of_protocol and ROOT in members:
            found.roots.append(index)
        for name, item in members.items():
            is_known = name in KNOWN_NAMES
            if self._keys and not (of_protocol and is_known) and self._is_keyed(name) and is_own_member(kind, name):
                found.keyed.append(index)
            number = self._shown(item) if type(item) is int or type(item) is float else ""
            if type(item) is str or number:
                text = number or item
                if not is_known:
                    add((f"{around}{name}: {text}", index, name, len(around) + len(name) + 2))
                elif of_protocol and not number and is_base64(members, kind, name):
                    found.encoded.append(index)
                elif not (name in LEGAL_NAMES and is_legal(kind, name, text)):
                    add((str(text), index, name, 0))
                continue
            if (type(item) is dict or type(item) is list) and not (name in LEGAL_NAMES and is_legal(kind, name, item)):
                found.frames.append((item, kind_within(kind, name), "" if is_known else name, index))
            if not is_known and (self._thorough or len(name) > _LONGEST_WORD or not name.isalpha()):
                add((name, index, name, -1))

    def _entries(self, index: int, entries: list[JsonValue], inner: Kind, name: str) -> None:
        add, frames = self._found.entries.append, self._found.frames
        head = f"{name[-_CONTEXT_CHARACTERS:]}: " if name else ""
        for step, item in enumerate(entries):
            if type(item) is str:
                add((head + item, index, step, len(head)))
            elif type(item) is dict or type(item) is list:
                frames.append((item, inner, name, index))
            elif (type(item) is int or type(item) is float) and (number := self._shown(item)):
                add((head + number, index, step, len(head)))

    def _is_keyed(self, name: str) -> bool:
        known = self._known.get(name)
        if known is None:
            known = self._known[name] = normalised(name) in self._keys
        return known

    def _shown(self, item: float) -> str:
        """A number as it is looked at; "" for one that nothing can be found in."""
        return decimal_of(item) if self._thorough or not -_FEW_DIGITS < item < _FEW_DIGITS else ""


def chunks(texts: Sequence[str]) -> Iterator[tuple[int, Sequence[str]]]:
    """Texts in runs of some CHUNK_CHARACTERS, each with the number of its first; a longer text is a run of its own."""
    if len(texts) <= 1 or sum(map(len, texts)) + len(texts) * len(SEPARATOR) <= CHUNK_CHARACTERS:
        if texts:
            yield 0, texts
        return
    begin = size = 0
    for index, text in enumerate(texts):
        if size and size + len(text) > CHUNK_CHARACTERS:
            yield begin, texts[begin:index]
            begin, size = index, 0
        size += len(text) + len(SEPARATOR)
    yield begin, texts[begin:]


def finds(texts: Sequence[str], find: Callable[[str], Sequence[Found]]) -> Iterator[tuple[int, Found]]:
    """What is found in some texts: the number of the text, and the find in it.

    A find that should reach across texts after all is one in each of them.
    """
    joined: list[int] = []
    for index, text in enumerate(texts):
        if len(text) <= _LONGEST_JOINED and not ("\n" in text and _TABLE.match(text)):
            joined.append(index)
        else:
            yield from ((index, found) for found in find(text))
    for first, run in chunks([texts[index] for index in joined]):
        # A line of its own first, which is the head of no table.
        found = find(SEPARATOR + SEPARATOR.join(run))
        if found:
            yield from ((joined[first + index], each) for index, each in _apart(run, found))


def _apart(run: Sequence[str], found: Iterable[Found]) -> Iterator[tuple[int, Found]]:
    """Finds in joined texts as finds in each."""
    starts = list(accumulate((len(text) + len(SEPARATOR) for text in run), initial=len(SEPARATOR)))
    for each in found:
        index = max(bisect_right(starts, each.start) - 1, 0)
        while index < len(run) and starts[index] < each.end:
            start, end = max(0, each.start - starts[index]), min(len(run[index]), each.end - starts[index])
            if start < end:
                yield index, Found(each.name, start, end)
            index += 1
