"""Text that somebody else wrote, as a person who decides on it must see it: nothing in it is hidden, nothing moves.

What cannot be seen is written out, as in `⟨U+202E⟩`; runs of blanks and line ends that would push the rest out of sight
are counted; words whose letters pass for others say so; what is written from right to left is kept apart, so that it
moves nothing beside it.  Long text is folded, with its beginning and its end in sight.  Pure.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal, NamedTuple, TypeAlias

from callgate.screening import code_points as points
from callgate.screening.homoglyphs import forged_in_name, forged_words

# Longer texts are folded: it is what a desktop screen shows without scrolling.
MAX_OPEN_CHARACTERS: Final = 2_000
# Of a folded text, what is in sight before the fold and behind it.
HEAD_CHARACTERS: Final = 1_200
TAIL_CHARACTERS: Final = 600
# Texts that are shown whole even where the page is full; and what is shown of others then.
_BRIEF_CHARACTERS: Final = 200
_BRIEF_ENDS: Final = (120, 60)
# Signs of one page that get an element of their own, at some 4 us each; further ones are written out in plain text.
MAX_MARKS: Final = 1_000
# Words of one page that are not ASCII and are looked at for letters that pass for others, at some 5 us each.
MAX_WORDS: Final = 500
# More of the same sign in a row are counted instead.
_MAX_SAME: Final = 3
# Indentation is shorter.
_MAX_BLANKS: Final = 40
# Accents upon one letter.  Vietnamese has two, Hebrew with cantillation three; a tower of them covers the lines above.
_MAX_ACCENTS: Final = 3

# `line`: the end of one.  `unseen`: a sign that cannot be seen, written out.  `rtl`: from right to left.  `forged`: a word
# with letters that pass for others.  `telling`: what screening took offence at.
Kind: TypeAlias = Literal["text", "line", "unseen", "rtl", "forged", "telling"]


class Piece(NamedTuple):
    """A part of a text as it is shown; `note`: what it is, for those who point at it or have it read out."""

    kind: Kind
    text: str
    note: str = ""


Pieces: TypeAlias = tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class Text:
    """A text as it is shown: all of it in `head`, unless it is folded.

    `characters`: how many it has.  `cut`: how many stand between `middle` and `tail` and are not on the page.
    """

    head: Pieces
    characters: int
    middle: Pieces = ()
    tail: Pieces = ()
    cut: int = 0

    @property
    def is_folded(self) -> bool:
        """Whether only its beginning and its end are in sight."""
        return bool(self.tail)


@dataclass(slots=True)
class Allowance:
    """What one page may still show: characters of texts, signs on their own, and words that are looked at."""

    characters: int
    marks: int = MAX_MARKS
    words: int = MAX_WORDS


# Ignorable by Unicode, though they count as letters or marks (Default_Ignorable_Code_Point, and the blank of Braille).
_IGNORED: Final = re.compile(
    f"[{points.INVISIBLE}{points.VARIATIONS}{points.IDEOGRAPHIC_VARIATIONS}{points.MONGOLIAN_FORMATS}"
    "\u034f\u115f\u1160\u17b4\u17b5\u2800]"
)
_ODD: Final = re.compile(r"[^\x20-\x7e]+|\x20{41,}")
# One sign that may have to be written out; line ends need not.
_CANDIDATE: Final = re.compile(r"[^\x20-\x7e\n]|\x20{41,}")
_WORD: Final = re.compile(r"\w*[^\W\x00-\x7f]\w*")
_RTL: Final = re.compile(f"[{points.RIGHT_TO_LEFT}](?:[^\x00-\x7f]| (?=[{points.RIGHT_TO_LEFT}]))*")
_DIRECTION: Final = re.compile(f"[{points.DIRECTIONS}{points.MARKS}]")


def shown(
    text: str, allowance: Allowance | None = None, telling: re.Pattern[str] | None = None, *, is_name: bool = False
) -> Pieces:
    """A text in pieces, whole; `telling` matches what is to be marked, and of a name more passes for something else."""
    if text.isascii() and text.isprintable() and telling is None and " " * (_MAX_BLANKS + 1) not in text:
        return (Piece("text", text),) if text else ()
    allowed = allowance or Allowance(0)
    pieces: list[Piece] = []
    for piece in _visible(text, allowed):
        if piece.kind == "text":
            pieces += _read(piece.text, allowed, telling, is_name=is_name)
        else:
            pieces.append(piece)
    return tuple(pieces)


def folded(text: str, allowance: Allowance, telling: re.Pattern[str] | None = None) -> Text:
    """A text with its beginning and its end in sight, and what is between as far as the page has room for it.

    Of what room there is, a fold takes half at the most: others follow.
    """
    size, room = len(text), allowance.characters
    if size <= _BRIEF_CHARACTERS or size <= min(room, MAX_OPEN_CHARACTERS):
        allowance.characters = max(0, room - size)
        return Text(shown(text, allowance, telling), size)
    ends = (HEAD_CHARACTERS, TAIL_CHARACTERS) if room >= MAX_OPEN_CHARACTERS else _BRIEF_ENDS
    between = size - sum(ends)
    told = min(between, max(0, room - sum(ends)) // 2)
    allowance.characters = max(0, room - sum(ends) - told)
    head, stop = ends[0], size - ends[1]
    return Text(
        head=shown(text[:head], allowance, telling),
        tail=shown(text[stop:], allowance, telling),
        middle=shown(text[head : head + told], allowance, telling),
        characters=size,
        cut=between - told,
    )


@lru_cache(maxsize=1024)
def is_hidden(sign: str) -> bool:
    """Whether a character is not to be seen as what it is, wherever it stands."""
    return (not sign.isprintable() and sign != "\n") or _IGNORED.match(sign) is not None


def _visible(text: str, allowed: Allowance) -> Iterator[Piece]:
    """What is seen as it is, in pieces of kind `text`, and signs between."""
    end = 0
    for run in _ODD.finditer(text):
        for start, stop in _signs(text, run.start(), run.end()):
            if end < start:
                yield Piece("text", text[end:start])
            if allowed.marks <= 0:
                # So many are no text that anybody reads: what is left is written out without further ado.
                yield Piece("text", _CANDIDATE.sub(_written_out, text[start:]))
                return
            allowed.marks -= 1
            yield _sign(text[start], stop - start)
            end = stop
    if end < len(text):
        yield Piece("text", text[end:])


def _signs(text: str, begin: int, stop: int) -> Iterator[tuple[int, int]]:
    """Where signs stand that are not to be seen, each with its repetitions, from `begin` on."""
    if text[begin] == " ":
        yield begin, stop
        return
    at, accents = begin, 0
    while at < stop:
        sign = text[at]
        accents = accents + 1 if unicodedata.combining(sign) else 0
        # An accent at the beginning would stand upon what the page itself says.
        if not (sign == "\n" or accents > _MAX_ACCENTS or (accents and at == 0) or is_hidden(sign)):
            at += 1
            continue
        same = at + 1
        while same < stop and text[same] == sign:
            same += 1
        if same - at > _MAX_SAME or accents > _MAX_ACCENTS:
            yield at, same
        else:
            yield from ((each, each + 1) for each in range(at, same))
        at = same


def _sign(sign: str, count: int) -> Piece:
    times = f", {count:,} times" if count > 1 else ""
    if sign == "\n":
        return Piece("line", f"↵ {count:,} line ends" if times else "↵", "line end")
    if sign == " ":
        return Piece("unseen", f"⟨{count:,} blanks⟩", f"{count:,} blanks in a row")
    return Piece("unseen", f"⟨{_code(sign)}{times}⟩", f"{_code(sign)} {_told(sign)}{times}")


def _told(sign: str) -> str:
    return _name(sign) + (", turns the direction of text" if _DIRECTION.match(sign) else "")


def _written_out(found: re.Match[str]) -> str:
    return _written(found[0])


@lru_cache(maxsize=1024)
def _written(signs: str) -> str:
    if signs[0] == " ":
        return f"⟨{len(signs):,} blanks⟩"
    return f"⟨{_code(signs)}⟩" if is_hidden(signs) else signs


def _code(sign: str) -> str:
    return f"U+{ord(sign):04X}"


def _name(sign: str) -> str:
    return unicodedata.name(sign, _NAMES.get(sign, "a character without a name")).lower()


_NAMES: Final[Mapping[str, str]] = {
    "\0": "null", "\x07": "bell", "\x08": "backspace", "\t": "tab", "\x0b": "vertical tab", "\x0c": "form feed",
    "\r": "carriage return", "\x1b": "escape", "\x7f": "delete", "\x85": "next line", "\x9b": "control sequence",
}  # fmt: skip


def _read(text: str, allowed: Allowance, telling: re.Pattern[str] | None, *, is_name: bool) -> Iterator[Piece]:
    """The words of a text without hidden signs: those that pass for others, those that run backwards, those that tell."""
    end = 0
    for start, piece in sorted(_words(text, allowed, telling, is_name=is_name), key=_place):
        if start < end:
            continue
        if end < start:
            yield Piece("text", text[end:start])
        yield piece
        end = start + len(piece.text)
    if end < len(text):
        yield Piece("text", text[end:])


def _place(found: tuple[int, Piece]) -> tuple[int, int]:
    return found[0], -len(found[1].text)


def _words(
    text: str, allowed: Allowance, telling: re.Pattern[str] | None, *, is_name: bool
) -> Iterator[tuple[int, Piece]]:
    if not text.isascii():
        yield from _backwards(text, allowed)
        if (forged_in_name if is_name else forged_words)(text):
            yield from _forged(text, allowed)
    if telling is not None:
        for word in telling.finditer(text):
            if allowed.marks <= 0:
                return
            allowed.marks -= 1
            yield word.start(), Piece("telling", word[0])


def _backwards(text: str, allowed: Allowance) -> Iterator[tuple[int, Piece]]:
    for run in _RTL.finditer(text):
        if allowed.marks <= 0:
            return
        allowed.marks -= 1
        yield run.start(), Piece("rtl", run[0], "written from right to left")


def _forged(text: str, allowed: Allowance) -> Iterator[tuple[int, Piece]]:
    """The words that pass for others, in a text that has such."""
    for word in _WORD.finditer(text):
        if allowed.words <= 0:
            return
        allowed.words -= 1
        if forged_in_name(word[0]):
            odd = list(dict.fromkeys(sign for sign in word[0] if not sign.isascii()))[:4]
            yield word.start(), Piece("forged", word[0], ", ".join(f"{_code(sign)} {_name(sign)}" for sign in odd))
