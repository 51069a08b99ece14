"""Values that stand under a name in plain text: `name: value`, `name=value`, broken JSON, XML elements, CSV columns.

As far as it is sensible: what people and programs write, not every notation that there is.  Names are compared without
regard to case, `_`, `-` and spaces.  Everything here is linear in the text.
"""

import re
import unicodedata
from dataclasses import dataclass
from typing import Final

import re2  # type: ignore[import-untyped]  # ships no types

from callgate.screening.mask import Budget

_BETWEEN: Final = "[-_ ]*"
_SEPARATORS: Final = str.maketrans("", "", "-_ \t")
# What a name may be closed by, and what divides it from its value: quotes (escaped ones too), brackets, bold type.
_DIVISION: Final = re.compile(r"""(?:\\*["'`]|\]|\*{1,2})?[ \t]{0,8}(?::=|=>|[:=])(?:\*{1,2})?[ \t]{0,64}""")
_OPENING: Final = re.compile(r"""\\*["'`]""")
_QUOTED: Final = {sign: re.compile(rf"(?>[^{sign}\\]|\\.)*", re.DOTALL) for sign in ('"', "'", "`")}
_WORD: Final = re.compile(r"""[^\s&;,"'<>)\]}]*""")
_ENTRY: Final = re.compile(r"[^,}\]\r\n]*")
_LINE: Final = re.compile(r"[^\r\n]*")
_ELEMENT: Final = re.compile(r"(?:\s[^<>]{0,256})?>([^<]*)<")
_BRACKETS: Final = re.compile(r"[\[\]{}]")
_INDENT: Final = re.compile(r"[ \t]*(?:- )?")
_DELIMITERS: Final = ",;\t|"
_CELLS: Final = {sign: re.compile(rf'[ \t]*(?:"(?>[^"]|"")*")?[^{re.escape(sign)}\r\n]*') for sign in _DELIMITERS}
# Cells of a table that are gone over in the time that one find takes.
_CELLS_A_FIND: Final = 8
_RULER: Final = re.compile(r"[-:=+ \t]*")
_MAX_NAME_CHARACTERS: Final = 256


def normalised(name: str) -> str:
    """A name as names are compared: lower case, without `_`, `-`, spaces and what cannot be seen."""
    if not name.isascii() and len(name) <= _MAX_NAME_CHARACTERS:
        name = "".join(sign for sign in unicodedata.normalize("NFKC", name) if unicodedata.category(sign) != "Cf")
    return name.translate(_SEPARATORS).lower()


@dataclass(frozen=True, slots=True)
class Keyed:
    """A value in a text, and the normalised name that it stands under."""

    key: str
    start: int
    end: int


class KeyWords:
    """Some normalised names, to be looked for in texts."""

    def __init__(self, keys: frozenset[str]) -> None:
        spelled = sorted((_BETWEEN.join(map(re2.escape, key)) for key in keys if key), key=len, reverse=True)
        self._keys = keys
        self._words = re2.compile("(?i)" + "|".join(spelled)) if spelled else None

    def occur(self, text: str) -> bool:
        """Whether one of the names stands anywhere; quick."""
        return self._words is not None and self._words.search(text) is not None

    def values(self, text: str, budget: Budget) -> list[Keyed]:
        """The values of those names, in order of their names.  Raises TooMuch."""
        found: list[Keyed] = []
        line = seen = done = 0
        table = -1
        for match in self._words.finditer(text) if self._words is not None else ():
            budget.find()
            start, end = match.span()
            # Where the line begins, found without going over a character twice.
            line = text.rfind("\n", seen, start) + 1 or line
            seen = start
            if start < done or not _is_whole_name(text, start, end):
                continue
            told = _value_behind(text, line, start, end)
            if told is not None:
                found.append(Keyed(normalised(text[start:end]), *told))
                done = told[1]
            elif line != table and (delimiter := _delimiter_beside(text, start, end)):
                table = line
                cells, done = self._columns(text, line, delimiter, budget)
                found += cells
        return found

    def _columns(self, text: str, line: int, delimiter: str, budget: Budget) -> tuple[list[Keyed], int]:
        """The cells below a header in which a name is one of several, and where the table ends."""
        header, position = _row(text, line, delimiter)
        budget.find(len(header) // _CELLS_A_FIND)
        named = {
            i: key for i, cell in enumerate(header) if (key := normalised(_bare(text[slice(*cell)]))) in self._keys
        }
        cells: list[Keyed] = []
        while named and position < len(text):
            row, position = _row(text, position, delimiter)
            if len(row) == 1:
                break
            budget.find(len(named) + len(row) // _CELLS_A_FIND)
            cells += [Keyed(named[i], *row[i]) for i in named if i < len(row) and not _RULER.fullmatch(text, *row[i])]
        return cells, position


def _is_whole_name(text: str, start: int, end: int) -> bool:
    while start and text[start - 1] in "-_":
        start -= 1
    return not (start and text[start - 1].isalnum()) and not (
        end < len(text) and (text[end].isalnum() or text[end] == "_")
    )


def _value_behind(text: str, line: int, start: int, end: int) -> tuple[int, int] | None:
    """Where the value of the name at [start, end) stands; None where it has none beside it."""
    if start and text[start - 1] == "<":
        element = _ELEMENT.match(text, end)
        return element.span(1) if element else None
    division = _DIVISION.match(text, end)
    if division is None:
        return None
    begin = division.end()
    if opening := _OPENING.match(text, begin):
        return _quoted(text, opening.group(), opening.end())
    if text[begin : begin + 1] in ("{", "["):
        return begin, _end_of_brackets(text, begin)
    return _unquoted(text, line, (start, begin), is_line=":" in division.group())


def _unquoted(text: str, line: int, between: tuple[int, int], *, is_line: bool) -> tuple[int, int] | None:
    """To the end of the line behind a colon, of the entry within braces, of the word behind an equals sign."""
    start, begin = between
    if not is_line:
        return begin, _end_of(_WORD, text, begin)
    end = _end_of(_ENTRY if _is_within_braces(text, start) else _LINE, text, begin)
    return (begin, end) if end > begin else _indented(text, line, begin)


def _end_of(pattern: re.Pattern[str], text: str, begin: int) -> int:
    match = pattern.match(text, begin)
    return match.end() if match else begin


def _is_within_braces(text: str, start: int) -> bool:
    """Whether a name is quoted, or right behind a brace or comma: then its value ends at the next of these."""
    before = text[max(0, start - 4) : start].rstrip()
    return before.endswith(('"', "{", '",', "[")) and not before.endswith("**")


def _quoted(text: str, opening: str, begin: int) -> tuple[int, int]:
    """To the same quotes again; to the end where they do not close."""
    if len(opening) > 1:
        end = text.find(opening, begin)
        return begin, len(text) if end < 0 else end
    return begin, _end_of(_QUOTED[opening], text, begin)


def _end_of_brackets(text: str, begin: int) -> int:
    depth = 0
    for bracket in _BRACKETS.finditer(text, begin):
        depth += 1 if bracket.group() in "[{" else -1
        if depth <= 0:
            return bracket.end()
    return len(text)


def _indented(text: str, line: int, begin: int) -> tuple[int, int] | None:
    """The lines below that stand further in, as YAML writes what a name holds."""
    own = _indent_at(text, line)
    end = text.find("\n", begin)
    last = begin
    while 0 <= end < len(text) - 1 and _indent_at(text, end + 1) > own:
        following = text.find("\n", end + 1)
        last = end = len(text) if following < 0 else following
    return (begin, last) if last > begin else None


def _indent_at(text: str, position: int) -> int:
    return _end_of(_INDENT, text, position) - position


def _delimiter_beside(text: str, start: int, end: int) -> str | None:
    """What divides this cell of a header from the one behind or in front."""
    behind = text[end : end + 8].lstrip(' "')[:1]
    before = text[max(0, start - 8) : start].rstrip(' "')[-1:]
    return next((sign for sign in (behind, before) if sign and sign in _DELIMITERS), None)


def _row(text: str, position: int, delimiter: str) -> tuple[list[tuple[int, int]], int]:
    """The cells of the row that begins there, and where the next one begins."""
    cells: list[tuple[int, int]] = []
    while (cell := _CELLS[delimiter].match(text, position)) is not None:
        cells.append(cell.span())
        position = cell.end()
        if text[position : position + 1] != delimiter:
            break
        position += 1
    position = _end_of(_LINE, text, position)
    return cells, position + (2 if text.startswith("\r\n", position) else 1)


def _bare(cell: str) -> str:
    return cell[: 2 * _MAX_NAME_CHARACTERS].strip(' \t"*`')
