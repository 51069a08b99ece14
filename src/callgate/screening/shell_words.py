"""One word of a shell's text: quotes, escapes, `$'…'` and expansions, as bash reads them (manual, 3.1.2 and 3.5).

What bash reads in a way that depends on what surrounds it is refused, not guessed.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from callgate.screening.shell_terms import (
    ANY_ONE,
    BRACE_CLOSE,
    BRACE_OPEN,
    BRACKET,
    COMMA,
    CONTROL,
    OPEN_HOLES,
    QUOTED_HOLES,
    STAR,
    UNBRACED,
    Block,
    Budget,
    Hole,
    NotShell,
    Redirect,
    Word,
)

_RUN: Final = re.compile(r"[^ \t\n|&;<>()'\"`$\\*?\[{},]+")
_RUN_IN_TEST: Final = re.compile(r"[^ \t\n;<>'\"`$\\*?\[{},]+")
_RUN_IN_BRACES: Final = re.compile(r"[^'\"`$\\}]+")
_RUN_QUOTED: Final = re.compile(r"[^\"\\$`]+")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|[0-9@*#?$!-]")
_IN_BRACES: Final = re.compile(r"([!#]?)([A-Za-z_][A-Za-z0-9_]*|[0-9]+|[@*#?$!-])")
_BACKQUOTED: Final = re.compile(r"((?:[^`\\]|\\.)*+)`", re.DOTALL)
_UNESCAPED: Final = re.compile(r"\\([\\`$])")
_UNESCAPED_IN_QUOTES: Final = re.compile(r"\\([\\`$\"])")
_ANSI_C: Final = re.compile(r"((?:[^'\\]|\\.)*+)'", re.DOTALL)
_ANSI_C_ESCAPE: Final = re.compile(
    r"\\(?:([0-7]{1,3})|x([0-9A-Fa-f]{1,2})|u([0-9A-Fa-f]{1,4})|U([0-9A-Fa-f]{1,8})|c(.)|(.))", re.DOTALL
)
_ANSI_C_LETTERS: Final = {
    "a": CONTROL, "b": CONTROL, "e": CONTROL, "E": CONTROL, "f": CONTROL, "v": CONTROL, "r": CONTROL, "n": "\n",
    "t": "\t", "\\": "\\", "'": "'", '"': '"', "?": "?",
}  # fmt: skip
_OLD_ARITHMETIC: Final = re.compile(r"[^\]\[$`'\"\\()\n]*\]")
_OPEN: Final = {"*": STAR, "?": ANY_ONE, "[": BRACKET, "{": BRACE_OPEN, "}": BRACE_CLOSE, ",": COMMA}
_ENDS_WORD: Final = frozenset(" \t\n|&;<>()")
_ENDS_WORD_IN_TEST: Final = frozenset(" \t\n;")


@dataclass(slots=True)
class HereDocument:
    """One that was begun on this line; its body comes after the line's end."""

    end: str
    expands: bool
    strips_tabs: bool
    redirect: Redirect


@dataclass(slots=True)
class Source:
    """A text, and how far it was read.  `commands` reads the commands of a substitution up to its `)`."""

    text: str
    budget: Budget
    commands: Callable[["Source"], Block]
    program: Callable[[str, Budget], Block]
    position: int = 0
    waiting: list[HereDocument] = field(default_factory=list)

    def next(self) -> str:
        """The next character, "" at the end."""
        return self.text[self.position : self.position + 1]

    def starts(self, text: str) -> bool:
        """Whether `text` comes next."""
        return self.text.startswith(text, self.position)

    def take(self, text: str) -> bool:
        """Step over `text` if it comes next."""
        if not self.text.startswith(text, self.position):
            return False
        self.position += len(text)
        return True

    def match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """Step over what the pattern matches here."""
        found = pattern.match(self.text, self.position)
        if found:
            self.position = found.end()
        return found


@dataclass(slots=True)
class _Pieces:
    """What a word has so far."""

    text: list[str] = field(default_factory=list)
    holes: list[Hole] = field(default_factory=list)
    quoted: bool = False
    bare: bool = True
    dollar: bool = False

    def add(self, hole: Hole, *, quoted: bool) -> None:
        base = QUOTED_HOLES if quoted else OPEN_HOLES
        self.text.append(chr(base + len(self.holes)))
        self.holes.append(hole)
        self.bare = False

    def word(self) -> Word:
        return Word("".join(self.text), tuple(self.holes), self.quoted, self.bare)


def read_word(source: Source, *, in_test: bool = False) -> Word | None:
    """Read the word that begins here; None where an operator or the end stands.

    In `[[ … ]]` operators are taken for parts of words: what they do there runs nothing.
    """
    run, ends = (_RUN_IN_TEST, _ENDS_WORD_IN_TEST) if in_test else (_RUN, _ENDS_WORD)
    pieces = _Pieces()
    begin = source.position
    source.budget.spend()
    while found := source.next():
        plain = source.match(run)
        if plain:
            pieces.text.append(plain.group())
        elif found in ends and not source.text.startswith(("<(", ">("), source.position):
            break
        else:
            _special(source, pieces, found)
    # With a lone $ in a word bash does not split what is expanded in it (5.2), and says so nowhere.
    if pieces.dollar and pieces.holes:
        raise NotShell("unparsable")
    return pieces.word() if source.position > begin else None


def _special(source: Source, pieces: _Pieces, found: str) -> None:
    """Read what one special character begins."""
    source.budget.spend()
    if found in _OPEN:
        source.position += 1
        pieces.text.append(_OPEN[found])
        return
    source.position += 1
    if found == "\\":
        _escape(source, pieces)
    elif found == "'":
        pieces.quoted, pieces.bare = True, False
        pieces.text.append(_until(source, "'"))
    elif found == '"':
        pieces.quoted, pieces.bare = True, False
        _in_quotes(source, pieces, '"')
    elif found == "$":
        _dollar(source, pieces, quoted=False)
    elif found == "`":
        pieces.add(_backquoted(source, _UNESCAPED), quoted=False)
    elif source.take("("):
        pieces.add(_substitution(source, "process"), quoted=True)
    else:
        pieces.text.append(found)


def _until(source: Source, mark: str) -> str:
    end = source.text.find(mark, source.position)
    if end < 0:
        raise NotShell("unparsable")
    text = source.text[source.position : end]
    source.position = end + 1
    return text


def _escape(source: Source, pieces: _Pieces) -> None:
    """Outside quotes a backslash quotes any character, and with a line end it is nothing (3.1.2.1)."""
    escaped = source.next()
    source.position += 1
    pieces.bare = False
    if not escaped:
        raise NotShell("unparsable")
    if escaped == "\n":
        _joined(pieces)
    else:
        pieces.quoted = True
        pieces.text.append(escaped)


def _joined(pieces: _Pieces) -> None:
    """After a name or a `$` bash would read on in the next line: what that gives is not guessed."""
    if pieces.text and (pieces.text[-1] == "$" or ord(pieces.text[-1][-1:] or "a") >= QUOTED_HOLES):
        raise NotShell("unparsable")


def read_text(source: Source) -> Word:
    """Read a here-document's text, in which expansions are made and quotes are themselves (3.6.6)."""
    pieces = _Pieces(quoted=True)
    _in_quotes(source, pieces, "")
    return pieces.word()


def _in_quotes(source: Source, pieces: _Pieces, end: str) -> None:
    """What stands in double quotes, or in a here-document (`end` is "" then)."""
    while found := source.next():
        plain = source.match(_RUN_QUOTED)
        if plain:
            pieces.text.append(plain.group())
            continue
        source.budget.spend()
        source.position += 1
        if found == end:
            return
        if found == "\\":
            _escape_in_quotes(source, pieces, end)
        elif found == "$":
            _dollar(source, pieces, quoted=True)
        elif found == "`":
            pieces.add(_backquoted(source, _UNESCAPED_IN_QUOTES if end else _UNESCAPED), quoted=True)
        else:
            pieces.text.append(found)
    if end:
        raise NotShell("unparsable")


def _escape_in_quotes(source: Source, pieces: _Pieces, end: str) -> None:
    escaped = source.next()
    if escaped == "\n":
        source.position += 1
        _joined(pieces)
    elif escaped and escaped in "$`\\" + end:
        source.position += 1
        pieces.text.append(escaped)
    else:
        pieces.text.append("\\")


def _dollar(source: Source, pieces: _Pieces, *, quoted: bool) -> None:
    """What a `$` begins; alone it is itself."""
    if source.take("(("):
        pieces.add(_arithmetic(source), quoted=quoted)
    elif source.take("("):
        pieces.add(_substitution(source, "command"), quoted=quoted)
    elif source.take("{"):
        hole = _braced(source, quoted=quoted)
        pieces.add(hole, quoted=quoted and not _is_several(hole))
    elif source.take("["):
        pieces.add(_old_arithmetic(source), quoted=quoted)
    elif not quoted and source.take("'"):
        pieces.quoted, pieces.bare = True, False
        pieces.text.append(_ansi_c(source))
    elif not quoted and source.take('"'):
        pieces.quoted, pieces.bare = True, False
        _in_quotes(source, pieces, '"')
    elif name := source.match(_NAME):
        pieces.add(Hole("variable", name.group(), UNBRACED), quoted=quoted and name.group() != "@")
    elif source.starts("\\\n"):
        raise NotShell("unparsable")
    else:
        pieces.text.append("$")
        pieces.dollar = pieces.dollar or not quoted


def _is_several(hole: Hole) -> bool:
    """Whether it gives several arguments even in quotes: `$@`, `${a[@]}`, `${!a@}` (3.5.3)."""
    return hole.name == "@" or "@]" in hole.detail or hole.detail.startswith("!")


def _substitution(source: Source, kind: str) -> Hole:
    source.budget.deeper()
    body = source.commands(source)
    source.budget.depth -= 1
    if not source.take(")"):
        raise NotShell("unparsable")
    return Hole(kind, body=body)


def _backquoted(source: Source, unescaped: re.Pattern[str]) -> Hole:
    """Read the text between two backquotes, which is taken out of its quotes and read by itself (3.5.4)."""
    found = source.match(_BACKQUOTED)
    if not found:
        raise NotShell("unparsable")
    source.budget.deeper()
    body = source.program(unescaped.sub(r"\1", found.group(1)), source.budget)
    source.budget.depth -= 1
    return Hole("command", body=body)


def _old_arithmetic(source: Source) -> Hole:
    """Read `$[…]`, which bash still knows and its manual does not."""
    found = source.match(_OLD_ARITHMETIC)
    if not found:
        raise NotShell("unparsable")
    return Hole("arithmetic", detail=found.group()[:-1])


def _arithmetic(source: Source) -> Hole:
    pieces = arithmetic_until(source, "))")
    return Hole("arithmetic", detail="".join(pieces.text), inner=tuple(pieces.holes))


def arithmetic_until(source: Source, end: str) -> Word:
    """Read the text of `((…))` up to `end`; other parentheses in it come in pairs.

    Where it ends otherwise, bash reads commands in parentheses instead: refused.
    """
    pieces = _Pieces()
    depth = 0
    while found := source.next():
        if depth == 0 and source.take(end):
            return pieces.word()
        source.budget.spend()
        source.position += 1
        if found == "$":
            _dollar(source, pieces, quoted=True)
        elif found == "`":
            pieces.add(_backquoted(source, _UNESCAPED), quoted=True)
        elif found in "'\"\\":
            break
        else:
            depth += (found == "(") - (found == ")")
            if depth < 0:
                break
            pieces.text.append(found)
    raise NotShell("unparsable")


def _braced(source: Source, *, quoted: bool) -> Hole:
    """Read `${…}` after its brace."""
    head = source.match(_IN_BRACES)
    if not head:
        raise NotShell("unparsable")
    pieces = _Pieces()
    source.budget.deeper()
    while found := source.next():
        plain = source.match(_RUN_IN_BRACES)
        if plain:
            pieces.text.append(plain.group())
            continue
        if found == "}":
            break
        # Whether a ' quotes in here depends on what surrounds the braces and on the operator (POSIX, 2.6.2).
        if (quoted and source.text.startswith(("'", "$'"), source.position)) or source.starts("\\\n"):
            raise NotShell("unparsable")
        _special(source, pieces, found)
    source.budget.depth -= 1
    if not source.take("}"):
        raise NotShell("unparsable")
    mark, name = head.groups()
    detail = mark + "".join(pieces.text)
    if "<(" in detail or ">(" in detail:
        raise NotShell("unparsable")
    return Hole("expansion" if detail else "variable", name, detail, inner=tuple(pieces.holes))


def _ansi_c(source: Source) -> str:
    """Decode the text of `$'…'` (3.1.2.4); what is no ASCII letter, digit or mark in it becomes CONTROL."""
    found = source.match(_ANSI_C)
    if not found:
        raise NotShell("unparsable")
    source.budget.spend(found.group(1).count("\\"))
    if "\\x{" in found.group(1):
        raise NotShell("unparsable")
    text = _ANSI_C_ESCAPE.sub(_decoded, found.group(1))
    return text.partition("\x00")[0]


def _decoded(escape: re.Match[str]) -> str:
    octal, hexadecimal, short, long, control, letter = escape.groups()
    if letter is not None:
        return _ANSI_C_LETTERS.get(letter, "\\" + letter)
    if control is not None:
        return CONTROL
    number = int(octal, 8) & 0xFF if octal else int(hexadecimal or short or long, 16)
    if number == 0 or 0x20 <= number < 0x7F or number in {0x09, 0x0A}:
        return chr(number)
    return CONTROL if number < 0xA0 or hexadecimal or octal or number >= 0xD800 else chr(number)
