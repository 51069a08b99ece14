"""Escapes in a text, and what they say: of URLs, of strings in programs, of HTML and of mail; and what people write so
that no program reads it.
"""

import html.entities
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Final, NamedTuple


class Piece(NamedTuple):
    """A part of a text, what it says, and how many of its characters make one of that."""

    start: int
    end: int
    text: str
    stride: int


def may_be_form(text: str) -> bool:
    """Whether `+` may stand for a blank."""
    return "+" in text and _PLUS.search(text) is not None and (" " not in text or _FORM_HINT.search(text) is not None)


def has_escapes(text: str) -> bool:
    """Whether a text may say something else when its escapes are read, other than those of `QUOTED_HINT`."""
    if "+" in text and " " not in text:
        return True
    return any(sign in text and any(hint.search(text) for hint in hints) for sign, hints in _HINTS.items())


# A blank before a letter, one letter of a Latin word, and references to signs are let be, unless they stand where a value
# begins, ends or goes on.
_PLAIN_REFERENCE: Final = (
    r"amp|lt|gt|quot|apos|nbsp|[lr][sd]quo|[mn]dash|hellip|copy|#0?39|#34|#[xX]2[27fF]|#82(?:1[1-9]|2[0-9]|30)"
)
_QUOTE: Final = r"(?:quot|apos|#0?39|#34|#[xX]2[27]);"
_HINTS: Final = {
    "%": (re.compile(r"%(?:(?!20[a-z])[0-9A-Fa-f]{2}|20is%)"),),
    "\\": (
        re.compile(
            r"\\(?:u(?:00(?:[2-7]|[aA][0dD])|20(?:0|1[0-5]|[2-6])|[fF][eEfF]|300[02]|0[6-9]|[dD]835|[0-9A-Fa-f]{4}(?:\\u|[0-9A-Za-z._-]{0,64}@"
            r"|[0-9A-Za-z-]{0,62}\.[0-9A-Za-z\\]|[A-Za-z ]{0,16}[\"':=]{0,4} ?[+(]?[0-9]|[A-Za-z]{0,12}[\"']? ?[:=])|\{)|x[2-7]|U0|\\{1,8}[nrtux])"
        ),
        re.compile(r"=\\{1,8}[rn]"),
    ),
    "&": (
        re.compile(
            rf"&(?:(?!(?:{_PLAIN_REFERENCE});)(?:#[0-9xX]|[A-Za-z]{{2,24}};)|amp;(?:#|[A-Za-z]+;)|lt;/|{_QUOTE} ?[:=@]"
            r"|(?:nbsp|[mn]dash|#821[1-3]);[0-9A-Z(+])"
        ),
        re.compile(rf"= ?&{_QUOTE}"),
        re.compile(rf": ?&{_QUOTE}"),
    ),
}


# WHATWG URL, 5: `+` for a blank, where there are other escapes, or behind a name's `=`.
_PLUS: Final = re.compile(r"\+[^\s+](?<=[^\s+]\+.)")
_FORM_HINT: Final = re.compile(r"%[0-9A-Fa-f]{2}|=[^\s&+]{0,256}\+")


def in_lines(text: str) -> str:
    """With the escapes of ends of lines as such, as long as it was."""
    return _LINES.sub(_as_blanks, text) if "\\" in text else text


def _as_blanks(escape: re.Match[str]) -> str:
    return "\n".rjust(len(escape[0]))


# Escapes of lines beside a value, in strings of JSON, C, shells: as many blanks as characters.
_LINES: Final = re.compile(r"\\{1,8}[nrt]")
# RFC 3986, 2.1; RFC 8259, 7 and its like in programming languages; HTML 13.5; what people write for `@` and `.` so that
# no program finds it; comments, and elements that only change how text looks, in the middle of a value.  By the sign that each starts
# with, which `re` finds quickly; linear, as none is longer than 80 characters but runs of the same, which are taken whole.
_ESCAPES: Final = {
    sign: re.compile(form)
    for sign, form in {
        "%": r"%[0-9A-Fa-f]{2}(?:%[0-9A-Fa-f]{2})*",
        "\\": r"\\(?:u[0-9A-Fa-f]{4}(?:\\u[0-9A-Fa-f]{4})*|u\{[0-9A-Fa-f]{1,6}\}|U[0-9A-Fa-f]{8}|x[0-9A-Fa-f]{2}(?:\\x[0-9A-Fa-f]{2})*|[\\/])",
        "&": r"&(?:#[0-9]{1,7};?|#[xX][0-9A-Fa-f]{1,6};?|[A-Za-z]{2,24};)",
        "[": r"\[ ?(?:\.|@|:|[dD][oO][tT]|[aA][tT]) ?\]",
        "(": r"\( ?(?:\.|@|[dD][oO][tT]|[aA][tT]) ?\)",
        "{": r"\{ ?(?:\.|@|[dD][oO][tT]|[aA][tT]) ?\}",
        "<": r"<(?:!--[^<>]{0,64}-->|[wW][bB][rR] ?/?>|/?[aA][tT]>|[dD][oO][tT]>|/?(?:b|i|u|em|strong|span|font|mark|small|sup|sub|code|tt|bdi|bdo)(?: [^<>]{0,80})?>)",
    }.items()
}


def escapes(text: str) -> Iterator[Piece]:
    """What is read as something else, in order."""
    spots = sorted(match.span() for sign, form in _ESCAPES.items() if sign in text for match in form.finditer(text))
    done = 0
    for start, end in spots:
        sign = text[start]
        for piece in _READERS[sign](text[start:end], start, end) if start >= done else ():
            yield _spread(text, piece, done) if sign in "[({<" else piece
            done = end


def _spread(text: str, piece: Piece, done: int) -> Piece:
    """With the blank on either side: `ada [at] example [dot] com`."""
    start = piece.start - (text[max(done, piece.start - 1) : piece.start] == " ")
    end = piece.end + (text[piece.end : piece.end + 1] == " ")
    return Piece(start, end, piece.text, end - start) if piece.text else piece


def _read_percent(run: str, start: int, end: int) -> Iterator[Piece]:
    return _read_bytes(bytes.fromhex(run.replace("%", "")), start, end)


def _read_bytes(said: bytes, start: int, end: int) -> Iterator[Piece]:
    """Three characters a byte; what is not UTF-8, or is a control character, was no escape (`%B4`, `%02d`)."""
    try:
        text = said.decode()
    except UnicodeDecodeError:
        return
    if not text.isprintable() and any(character < " " and character not in "\t\r\n" for character in text):
        return
    if text.isascii():
        yield Piece(start, end, text, 3)
        return
    for character in text:
        width = 3 * len(character.encode())
        yield Piece(start, start + width, character, width)
        start += width


def _read_backslash(run: str, start: int, end: int) -> Iterator[Piece]:
    kind = run[1]
    if kind == "u" and run[2] != "{":
        yield from _read_units(run, start)
    elif kind == "x":
        said = bytes.fromhex(run.replace("\\x", ""))
        yield Piece(start, end, said.decode("latin-1"), 4)
    elif kind in "uU":
        code = int(run[2:].strip("{}"), 16)
        yield Piece(start, end, chr(code) if code < 0x110000 else " ", end - start)
    else:
        yield Piece(start, end, kind, 2)


def _read_units(run: str, start: int) -> Iterator[Piece]:
    """UTF-16, six characters a unit; a surrogate without its other half stays one, as it would in JSON."""
    said = bytes.fromhex(run.replace("\\u", "")).decode("utf-16-be", "surrogatepass")
    if len(said) * 6 == len(run):
        yield Piece(start, start + len(run), said, 6)
        return
    for character in said:
        width = 12 if character > "\uffff" else 6
        yield Piece(start, start + width, character, width)
        start += width


def _read_entity(run: str, start: int, end: int) -> Sequence[Piece]:
    text = _entity(run) if len(run) < 16 else ""
    return (Piece(start, end, text, end - start),) if text else ()


@lru_cache(maxsize=1_024)
def _entity(run: str) -> str:
    """The character of a reference; "" if it is none, or several."""
    name = run[1:].rstrip(";")
    if name.startswith("#"):
        code = int(name[2:], 16) if name[1] in "xX" else int(name[1:])
        return chr(code) if 0 < code < 0x110000 else " "
    text = html.entities.html5.get(name + ";", "")
    return text if len(text) == 1 else ""


def _read_brackets(run: str, start: int, end: int) -> Iterator[Piece]:
    word = run.strip("[](){}<>/ ").lower()
    text = {"dot": ".", "at": "@"}.get(word, word if word in (".", "@", ":") else "")
    yield Piece(start, end, text, end - start)


_READERS: Final = {
    "%": _read_percent,
    "\\": _read_backslash,
    "&": _read_entity,
    **dict.fromkeys("[({<", _read_brackets),
}
# RFC 2045, 6.7, where it can matter: an encoded `@`, sign or digit beside a letter or digit, octets in a row, a soft line
# break between letters or digits.
QUOTED_HINT: Final = re.compile(
    r"=(?:40[A-Za-z\[=]|2[A-F][0-9A-Za-z=(]|3[A-F][0-9A-Za-z\"'+(]|0[AD][0-9A-Za-z+(]|[0-9A-F]{2}=[0-9A-F]{2}"
    r"| {0,3}\r?\n ?[\w@.+(:;\[-]|20(?<=[0-9]=20)[0-9(]|20(?<=[A-Za-z,.:;]=20)[A-Za-z(+])"
)
_QUOTED: Final = re.compile(r"=(?:[0-9A-F]{2}(?:=[0-9A-F]{2})*|(?: {0,3}\r?\n){1,2})")


def quoted(text: str) -> Iterator[Piece]:
    """What quoted-printable text reads as something else, in order."""
    for match in _QUOTED.finditer(text):
        start, end = match.span()
        if match[0].endswith("\n"):
            yield Piece(start, end, "", 1)
        else:
            yield from _read_bytes(bytes.fromhex(match[0].replace("=", "")), start, end)
