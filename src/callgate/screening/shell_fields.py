"""What a word becomes: brace expansion, then known variables, then word splitting (bash manual, 3.5).

The result is exact where everything is known, and has HOLE, SPLIT and the like in it where it is not.
"""

import re
from collections.abc import Mapping
from itertools import pairwise, product
from typing import Final

from callgate.screening.shell_terms import (
    ANY_ONE,
    BRACE_CLOSE,
    BRACE_OPEN,
    BRACKET,
    COMMA,
    HOLE,
    MAX_FIELDS,
    NAMES,
    OPEN_HOLES,
    PLAIN,
    QUOTED_HOLES,
    SPLIT,
    STAR,
    UNBRACED,
    Budget,
    Hole,
    NotShell,
    Word,
)

# Where the text of an expansion is known: by the name of a variable.
Known = Mapping[str, str]

# In one word with a brace in it: each one is looked at for each word that it becomes.
MAX_BRACE_MARKS: Final = 64

_BRACE_MARKS: Final = re.compile(f"[{BRACE_OPEN}{BRACE_CLOSE}{COMMA}]")
_SPECIAL: Final = re.compile(f"[{BRACE_OPEN}{BRACE_CLOSE}{COMMA}\U000f0000-\U0010ffff]")
_PRIVATE: Final = re.compile("[\U000f0000-\U0010ffff]")
_SEQUENCE: Final = re.compile(r"(-?[0-9]{1,9})\.\.(-?[0-9]{1,9})(?:\.\.(-?[0-9]{1,9}))?|([A-Za-z])\.\.([A-Za-z])")
_LITERAL: Final = str.maketrans({BRACE_OPEN: "{", BRACE_CLOSE: "}", COMMA: ","})
_AS_WRITTEN: Final = str.maketrans({STAR: "*", ANY_ONE: "?", BRACKET: "["})
_UNQUOTED: Final = str.maketrans({"*": STAR, "?": ANY_ONE, "[": BRACKET, HOLE: SPLIT})
_WHITE_SPACE: Final = re.compile(r"[ \t\n]+")
# What a process substitution is replaced by, where the system has /dev/fd (3.5.6).
PIPE: Final = "/dev/fd/63"
# Set by the system or the shell to one folder or number; a text that sets one itself is destructive already.
_FOLDERS: Final = {"HOME": NAMES, "PWD": NAMES, "OLDPWD": NAMES, "UID": PLAIN, "EUID": PLAIN}
# Numbers alone (3.4.2): how many parameters, the last status, process ids.
_NUMBERS: Final = frozenset("#?$!")


def fields_of(word: Word, known: Known, budget: Budget) -> list[str]:
    """The arguments that a word becomes; NotShell where they are too many."""
    if not _SPECIAL.search(word.text):
        return [word.text]
    texts = _braces(word.text, budget) if BRACE_OPEN in word.text else [word.text]
    if len(texts) > 1 and _has_open_name(word):
        raise NotShell("unparsable")
    found: list[str] = []
    for text in texts:
        literal = text.translate(_LITERAL)
        found += _filled(literal, word, known, splits=True) if word.holes else [literal]
    return found


def _has_open_name(word: Word) -> bool:
    """Whether a name that is written without braces stands right before a part of a brace expansion."""
    return any(
        hole.detail == UNBRACED and f"{chr(OPEN_HOLES + place)}{mark}" in word.text
        for place, hole in enumerate(word.holes)
        for mark in (BRACE_OPEN, BRACE_CLOSE, COMMA)
    )


def text_of(word: Word, known: Known) -> str:
    """A word where bash neither splits nor expands braces: a value, a here-string, what is tested."""
    if not _SPECIAL.search(word.text):
        return word.text
    literal = word.text.translate(_LITERAL)
    return _filled(literal, word, known, splits=False)[0] if word.holes else literal


def as_written(text: str) -> str:
    """A text in which `*`, `?` and `[` stand for themselves again, because nothing expands them there."""
    return text.translate(_AS_WRITTEN)


def _filled(text: str, word: Word, known: Known, *, splits: bool) -> list[str]:
    """Put what is known into the place of each expansion."""
    fields = [""]
    position = 0
    for mark in _PRIVATE.finditer(text):
        fields[-1] += text[position : mark.start()]
        position = mark.end()
        code = ord(mark.group())
        quoted = code < OPEN_HOLES
        hole = word.holes[code - (QUOTED_HOLES if quoted else OPEN_HOLES)]
        _put(fields, _value(hole, known), open_to_splitting=splits and not quoted)
    fields[-1] += text[position:]
    # An expansion to nothing that was not quoted is no argument at all (3.5.7).
    return fields if word.quoted or not splits else [field for field in fields if field]


def _put(fields: list[str], value: str | None, *, open_to_splitting: bool) -> None:
    if value is None:
        fields[-1] += SPLIT if open_to_splitting else HOLE
    elif not open_to_splitting or value == PLAIN:
        fields[-1] += value
    else:
        first, *others = _WHITE_SPACE.split(value.translate(_UNQUOTED))
        fields[-1] += first
        fields += others


def _value(hole: Hole, known: Known) -> str | None:
    if hole.kind == "variable":
        return PLAIN if hole.name in _NUMBERS else known.get(hole.name, _FOLDERS.get(hole.name))
    if hole.kind == "process":
        return PIPE
    return PLAIN if hole.kind == "arithmetic" or hole.detail == "#" else None


def _braces(text: str, budget: Budget) -> list[str]:
    """Brace expansion (3.5.1) of the first pair that has a comma or a sequence in it, and of what follows."""
    if len(_BRACE_MARKS.findall(text)) > MAX_BRACE_MARKS:
        raise NotShell("too_long")
    for begin, end, commas in _pairs(text):
        cuts = [begin, *commas, end]
        parts = [text[a + 1 : b] for a, b in pairwise(cuts)] if commas else _sequence(text[begin + 1 : end])
        if parts:
            return _joined(text[:begin], parts, text[end + 1 :], budget)
    return [text]


def _joined(before: str, parts: list[str], after: str, budget: Budget) -> list[str]:
    for _ in parts:
        budget.spend()
    heads = [head for part in parts for head in _braces(part, budget)]
    tails = _braces(after, budget)
    if len(heads) * len(tails) > MAX_FIELDS:
        raise NotShell("too_long")
    return [before + head + tail for head, tail in product(heads, tails)]


def _pairs(text: str) -> list[tuple[int, int, list[int]]]:
    """The braces that close, in the order in which they open, each with the commas directly in it."""
    found: list[tuple[int, int, list[int]]] = []
    opened: list[tuple[int, list[int]]] = []
    for mark in _BRACE_MARKS.finditer(text):
        if mark.group() == BRACE_OPEN:
            opened.append((mark.start(), []))
        elif opened and mark.group() == COMMA:
            opened[-1][1].append(mark.start())
        elif opened:
            begin, commas = opened.pop()
            found.append((begin, mark.start(), commas))
    return sorted(found)


def _sequence(text: str) -> list[str]:
    found = _SEQUENCE.fullmatch(text)
    if not found:
        return []
    if found.group(4):
        first, last = ord(found.group(4)), ord(found.group(5))
        return [chr(code) for code in range(first, last + (1 if last >= first else -1), 1 if last >= first else -1)]
    if any(part.lstrip("-").startswith("0") and len(part) > 1 for part in found.groups()[:2]):
        return [PLAIN]
    first, last = int(found.group(1)), int(found.group(2))
    step = abs(int(found.group(3) or 1)) or 1
    if abs(last - first) // step >= MAX_FIELDS:
        return [PLAIN]
    return [
        str(number) for number in range(first, last + (1 if last >= first else -1), step if last >= first else -step)
    ]
