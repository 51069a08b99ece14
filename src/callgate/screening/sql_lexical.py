"""A SQL text in parts: words, names, strings, numbers, signs.  No grammar, but every dialect's quotes and comments.

Where a statement ends is settled here and nowhere else: what goes on to the parser is written anew from these parts.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from callgate.screening.sql_characters import has_controls, is_deceptive_comment, is_deceptive_word
from callgate.screening.sql_lexicon import LEXICONS, Known, Lexicon
from callgate.screening.sql_patterns import pattern_of

# Each part costs some 1 µs: 6 ms for the most.  A statement of so many parts is an INSERT of a thousand rows.
MAX_PARTS: Final = 6_000
# Longer texts are cut up part by part, so that it can be stopped.
_MAX_USUAL_CHARACTERS: Final = 16_384


class Part(NamedTuple):
    """One part of a text.

    `kind`: word, name (in quotes), string, number, sign.  `text`: of a name or string what stands between the quotes,
    else as written.  `word`: of a word in lower case, of a sign itself, else "", so that nothing in quotes is ever taken
    for either.  `apart`: whether a blank or comment stands in front of it.
    """

    kind: str
    text: str
    word: str
    apart: bool


@dataclass(slots=True)
class Parts:
    """A text in parts, and the codes of what is wrong with it."""

    parts: list[Part] = field(default_factory=list)
    why: set[str] = field(default_factory=set)


def parts_of(text: str, dialect: str) -> Parts:
    """The parts of a text, of at most MAX_PARTS; `dialect` is one of LEXICONS.  Linear in the text; never raises."""
    found = Parts()
    text = text.rstrip(" \t\r\n")
    if len(text) <= _MAX_USUAL_CHARACTERS and _UNUSUAL.search(text) is None and text.count("'") % 2 == 0:
        usual = _usual_parts(text)
        if usual is not None:
            return Parts(usual) if len(usual) <= MAX_PARTS else Parts(why={"too_long"})
    if has_controls(text):
        found.why.add("control_character")
    _Reader(text, LEXICONS[dialect], pattern_of(dialect), found).read()
    return found


# What most texts do without: comments, quotes of other kinds, escapes, anything but ASCII; and, as is seen on the way,
# prefixes of strings and digits in front of letters.  Without them all dialects are cut up alike, in half the time.
_UNUSUAL: Final = re.compile(r"[^\t\n\r -~]|--|/[*/]|[#$\\`\[\"@]|''")
_USUAL: Final = re.compile(r"([ \t\r\n]*+)([A-Za-z_][A-Za-z0-9_]*+|'[^']*+'|[0-9]++(?:\.[0-9]*+)?|\.[0-9]++|[!-~])")


def _usual_parts(text: str) -> list[Part] | None:
    parts: list[Part] = []
    add, before = parts.append, ""
    for blank, written in _USUAL.findall(text):
        first = written[0]
        if first.isalpha() or first == "_":
            if before == "number" and not blank:
                return None
            before = "word"
            add(_new(Part, ("word", written, written.lower(), blank != "")))
        elif first == "'":
            if not blank and (before == "word" or (parts and parts[-1].text == "&")):
                return None
            before = "string"
            add(_new(Part, ("string", written[1:-1], "", blank != "")))
        elif first.isdigit() or written[-1].isdigit():
            before = "number"
            add(_new(Part, ("number", written, "", blank != "")))
        else:
            before = "sign"
            add(_new(Part, ("sign", written, written, blank != "")))
    return parts


# What `Part(…)` comes to, in half the time: the parts of a text are what most of its reading goes into.
_new: Final = tuple.__new__


_WORDS: Final = frozenset({"word", "odd_word"})
_PLAIN: Final = frozenset({"sign", "number"})


class _Reader:
    """Reads one text."""

    __slots__ = ("apart", "found", "lexicon", "pattern", "quotes", "read_so_far", "text")

    def __init__(self, text: str, lexicon: Lexicon, pattern: re.Pattern[str], found: Parts) -> None:
        self.text, self.lexicon, self.pattern, self.found = text, lexicon, pattern, found
        self.apart, self.read_so_far = False, 0
        self.quotes = {*lexicon.string_quotes, *(pair[0] for pair in lexicon.name_quotes)}

    def read(self) -> None:
        at: int | None = 0
        while at is not None:
            at = self._read_from(at)

    def _read_from(self, begin: int) -> int | None:
        """Read until something ends where the pattern cannot tell; from where to go on, None at the end."""
        ascii_only, expected, add = self.text.isascii(), begin, self.found.parts.append
        for one in self.pattern.finditer(self.text, begin):
            kind = one.lastgroup
            if kind is None:
                return None
            self.read_so_far += 1
            if self.read_so_far > MAX_PARTS:
                self.found.why.add("too_long")
                return None
            written, stop = one[kind], one.end()
            apart = self.apart or stop - len(written) > expected
            expected, self.apart = stop, False
            if kind in _WORDS:
                add(_new(Part, ("word", written, written.lower(), apart)))
                if not ascii_only and "lookalike" not in self.found.why and is_deceptive_word(written):
                    self.found.why.add("lookalike")
            elif kind in _PLAIN:
                add(_new(Part, (kind, written, written if kind == "sign" else "", apart)))
            else:
                expected = self._read_rare(kind, written, stop - len(written), apart)
                if expected != stop:
                    # To begin anew takes as long as some parts do.
                    self.read_so_far += 12
                    return expected
        return None

    def _read_rare(self, kind: str, written: str, start: int, apart: bool) -> int:
        """Read what is not a word, a number or a sign; where it ends."""
        stop = start + len(written)
        match kind:
            case "odd_sign" if written not in self.quotes:
                self.found.parts.append(Part("sign", written, written, apart))
                if written == "#" and "#!" in self.lexicon.comments:
                    # It starts a comment in ClickHouse, or nothing.
                    self.found.why.add("unparsable")
            case "odd_sign":
                # It is never closed, and to look for its end again and again would take ever longer.
                self.found.why.add("unparsable")
                return len(self.text)
            case "line":
                self._take_line(written)
            case "block":
                return self._take_block(start)
            case "dollar":
                return self._take_until(stop, written, apart)
            case "alternative":
                closing = _CLOSING.get(written[-1], written[-1]) + "'"
                return self._take_until(stop, closing, apart)
            case "name" | "unicode":
                self._take_name(written, apart)
            case "string" | "escaped" | "raw" | "triple":
                self._take_string(kind, written, apart)
            case _:
                self._take_other(written)
        return stop

    def _add(self, kind: str, text: str, apart: bool) -> None:
        self.found.parts.append(Part(kind, text, "", apart))

    def _take_line(self, written: str) -> None:
        self.apart = True
        self._check_comment(written)
        if self.lexicon.carriage_return is Known.UNCLEAR and _lone_return(written):
            self.found.why.add("unclear_comment")
        if self.lexicon.parser in {"spark", "databricks"} and written.rstrip("\r").endswith("\\"):
            self.found.why.add("unclear_comment")

    def _take_block(self, start: int) -> int:
        self.apart = True
        stop, nests = _block_end(self.text, start, nested=self.lexicon.nested is Known.YES)
        if stop < 0:
            self.found.why.add("unparsable")
            return len(self.text)
        comment = self.text[start:stop]
        self._check_comment(comment)
        if self.lexicon.executable_comments and comment[2:4].lstrip("mM").startswith("!"):
            self.found.why.add("executable_comment")
        if nests and self.lexicon.nested is Known.UNCLEAR:
            self.found.why.add("unclear_comment")
        return stop

    def _check_comment(self, comment: str) -> None:
        if not comment.isascii() and is_deceptive_comment(comment):
            self.found.why.add("lookalike")

    def _take_until(self, start: int, closing: str, apart: bool) -> int:
        stop = self.text.find(closing, start)
        if stop < 0:
            self.found.why.add("unparsable")
            return len(self.text)
        self._add("string", self.text[start:stop], apart)
        return stop + len(closing)

    def _take_name(self, written: str, apart: bool) -> None:
        if written[0] in "uU":
            decoded = _decoded_name(written[3:-1].replace('""', '"'))
            self.found.why.update(() if decoded else ("unparsable",))
            self._add("name", decoded or "_", apart)
            return
        closing = written[-1]
        self._add("name", written[1:-1].replace(closing * 2, closing), apart)

    def _take_string(self, kind: str, written: str, apart: bool) -> None:
        width = 3 if kind == "triple" else 1
        quote = written[-1]
        body = written[written.index(quote) + width : -width]
        if self.lexicon.backslash is Known.UNCLEAR and "\\" in body:
            self.found.why.add("unparsable")
        self._add("string", body.replace(quote * 2, quote), apart)

    def _take_other(self, written: str) -> None:
        """A character that belongs to nothing: a quote that is never closed, or one that only looks like a sign."""
        self.apart = True
        self.found.why.add("unparsable" if written.isascii() else "lookalike")


# Oracle: "If the opening quote_delimiter is one of [, {, <, or (, then the closing quote_delimiter must be the
# corresponding ], }, >, or )".
_CLOSING: Final[Mapping[str, str]] = {"[": "]", "{": "}", "<": ">", "(": ")"}
_BLOCK_EDGE: Final = re.compile(r"/\*|\*/")
_NAME_ESCAPE: Final = re.compile(r"\\(?:\\|([0-9a-fA-F]{4})|\+([0-9a-fA-F]{6})|.?)", re.DOTALL)


def _block_end(text: str, start: int, *, nested: bool) -> tuple[int, bool]:
    """Where the comment that starts there ends, -1 if nowhere; and whether another starts within."""
    depth, seen = 0, False
    at = start
    while edge := _BLOCK_EDGE.search(text, at):
        at = edge.end()
        if edge.group() == "*/":
            depth = depth - 1 if nested else 0
        elif depth == 0 or nested:
            depth += 1
        seen = seen or (edge.group() == "/*" and edge.start() > start)
        if depth == 0:
            return at, seen
    return -1, seen


def _lone_return(comment: str) -> bool:
    """Whether something stands behind a carriage return within the comment."""
    _, found, rest = comment.partition("\r")
    return bool(found and rest.strip())


def _decoded_name(written: str) -> str:
    """What U&"…" stands for, "" if an escape is not one."""
    broken = False

    def decode(escape: re.Match[str]) -> str:
        nonlocal broken
        digits = escape[1] or escape[2]
        if digits and int(digits, 16) <= 0x10FFFF:
            return chr(int(digits, 16))
        broken = broken or escape[0] != "\\\\"
        return "\\"

    decoded = _NAME_ESCAPE.sub(decode, written)
    return "" if broken else decoded
