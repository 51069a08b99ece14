"""What a text says to a program or a person that reads it: escapes read, what cannot be seen taken out.

Each view knows where its characters stand in the text as given.
"""

import codecs
import html.entities
import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import accumulate
from typing import Final, NamedTuple

from callgate.screening.folding import UNSEEN, fold
from callgate.screening.telling import Told, TooLong

# Escapes that are read in one text, at 1 to 2 us each; a run of them is one.
MAX_ESCAPES: Final = 50_000
# How often what was read is read again: percent-encoded twice, JSON in JSON.
MAX_LEVELS: Final = 3


@dataclass(frozen=True, slots=True)
class Layer:
    """Where the pieces of a text came from.

    Piece by piece: where it starts here, where there, and how many characters there make one here.
    """

    starts: list[int]
    origins: list[int]
    strides: list[int] | None = None

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The characters there that the characters [start, end) here were made of."""
        return self._origin(start, 0), self._origin(end - 1, 1)

    def _origin(self, offset: int, after: int) -> int:
        piece = bisect_right(self.starts, offset) - 1
        stride = 1 if self.strides is None else self.strides[piece]
        return self.origins[piece] + (offset - self.starts[piece] + after) * stride


_UUID: Final = re.compile("[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}")


@dataclass(frozen=True)
class View:
    """A reading of a text.

    `flat` is as long as `text`, a byte a character: 0xff for any letter that is not ASCII, 0xfe for any other sign.
    """

    text: str
    layers: tuple[Layer, ...] = ()

    @cached_property
    def flat(self) -> bytes:
        """The text, a byte a character."""
        return self.text.encode("ascii", _FLAT)

    @cached_property
    def numeric(self) -> bytes:
        """The same with `-` for `_`, which is part of a word to RE2 and beside a number is none."""
        return self.flat.replace(b"_", b"-")

    @cached_property
    def told(self) -> Told:
        """Its telling words."""
        return Told(self.text, self.flat)

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Where that stands in the text as given."""
        for layer in reversed(self.layers):
            start, end = layer.span(start, end)
        return start, end

    def is_in_uuid(self, start: int, end: int) -> bool:
        """Whether it is a part of one (RFC 9562)."""
        if self.text[max(0, start - 1)] != "-" and self.text[end : end + 1] != "-":
            return False
        return _UUID.search(self.text, max(0, start - 24), end + 28) is not None

    def before(self, start: int, count: int) -> str:
        """At most that many characters before an offset."""
        return self.text[max(0, start - count) : start]


_FLAT: Final = "callgate-flat"


def _flat(fault: UnicodeError) -> tuple[bytes, int]:
    assert isinstance(fault, UnicodeEncodeError)  # noqa: S101  # the codec's own promise
    run = fault.object[fault.start : fault.end]
    return (b"\xff" * len(run) if run.isalpha() else bytes(map(_KINDS.__getitem__, run))), fault.end


class _Kinds(dict[str, int]):
    """The byte of a character, remembered for some."""

    def __missing__(self, character: str) -> int:
        # Marks are parts of letters in the scripts of India.
        kind = 0xFF if unicodedata.category(character)[0] in "LM" else 0xFE
        if len(self) < _REMEMBERED:
            self[character] = kind
        return kind


_REMEMBERED: Final = 16_384
_KINDS: Final = _Kinds()
codecs.register_error(_FLAT, _flat)


def views_of(text: str) -> tuple[View, ...]:
    """The readings of a text: with escapes read; if it may be a form's or quoted-printable, as that too.

    Raises: TooLong.
    """
    plain = _without_unseen(View(fold(text)))
    views = [_read_escapes(plain)]
    if "+" in plain.text and (" " not in plain.text or _FORM_HINT.search(plain.text)):
        views.append(_read_escapes(View(plain.text.replace("+", " "), plain.layers)))
    quoted = (_read_pieces(view, _quoted(view.text)) for view in views if _QUOTED_HINT.search(view.text))
    return (*views, *(_without_unseen(View(fold(view.text), view.layers)) for view in quoted))


def has_escapes(text: str) -> bool:
    """Whether a text may say something else when its escapes are read; quick where it has none."""
    if "+" in text and (" " not in text or _FORM_HINT.search(text)):
        return True
    if any(sign in text and hint.search(text) for sign, hint in _HINTS.items()):
        return True
    return "=" in text and _QUOTED_HINT.search(text) is not None


# A blank before a letter, one letter of a Latin word, and references to signs are let be, unless they stand where a value
# begins, ends or goes on.
_PLAIN_REFERENCE: Final = (
    r"amp|lt|gt|quot|apos|nbsp|[lr][sd]quo|[mn]dash|hellip|copy|#0?39|#34|#[xX]2[27fF]|#82(?:1[1-9]|2[0-9]|30)"
)
_QUOTE: Final = r"(?:quot|apos|#0?39|#34|#[xX]2[27]);"
_HINTS: Final = {
    "%": re.compile(r"%(?:(?!20[a-z])[0-9A-Fa-f]{2}|20is%)"),
    "\\": re.compile(
        r"\\(?:u(?:00(?:[2-7]|[aA][0dD])|20(?:0|1[0-5]|[2-6])|[fF][eEfF]|300[02]|0[6-9]|[dD]835|[0-9A-Fa-f]{4}(?:\\u|[0-9A-Za-z._-]{0,64}@|[0-9A-Za-z-]{0,62}\.[0-9A-Za-z\\]"
        r"|[A-Za-z ]{0,16}[\"':=]{0,4} ?[+(]?[0-9]|[A-Za-z]{0,12}[\"']? ?[:=])|\{)|x[2-7]|U0|\\{1,8}[nrtux])"
    ),
    "&": re.compile(
        rf"&(?:(?!(?:{_PLAIN_REFERENCE});)(?:#[0-9xX]|[A-Za-z]{{2,24}};)|amp;(?:#|[A-Za-z]+;)|lt;/|{_QUOTE} ?[:=@]"
        r"|(?:nbsp|[mn]dash|#821[1-3]);[0-9A-Z(+])"
    ),
    "=": re.compile(rf"=(?: ?&{_QUOTE}|\\{{1,8}}[rn])"),
    ":": re.compile(rf": ?&{_QUOTE}"),
}


# WHATWG URL, 5: `+` for a blank, where there are other escapes, or behind a name's `=`.
_FORM_HINT: Final = re.compile(r"%[0-9A-Fa-f]{2}|=[^\s&+]{0,256}\+")


def _without_unseen(view: View) -> View:
    if view.text.isascii() or UNSEEN not in view.text:
        return view
    parts = view.text.split(UNSEEN)
    starts = [0, *accumulate(map(len, parts))][: len(parts)]
    return View("".join(parts), (*view.layers, Layer(starts, [start + gone for gone, start in enumerate(starts)])))


def _read_escapes(view: View) -> View:
    for _ in range(MAX_LEVELS):
        plain = _LINES.sub(_as_blanks, view.text) if "\\" in view.text else view.text
        read = _read_pieces(View(plain, view.layers), _escapes(plain))
        if read.text == view.text:
            break
        # An escape may have held what is folded in turn.
        view = _without_unseen(View(fold(read.text), read.layers))
    return view


def _as_blanks(escape: re.Match[str]) -> str:
    return "\n".rjust(len(escape[0]))


class _Piece(NamedTuple):
    start: int
    end: int
    text: str
    stride: int


def _read_pieces(view: View, pieces: Iterable[_Piece]) -> View:
    """The view with these pieces of it, which are in order, read as their texts."""
    texts: list[str] = []
    starts, origins, strides = [0], [0], [1]
    at = done = 0
    for piece in pieces:
        kept = view.text[done : piece.start]
        texts += (kept, piece.text)
        at += len(kept)
        starts += (at, at + len(piece.text))
        origins += (piece.start, piece.end)
        strides += (piece.stride, 1)
        at += len(piece.text)
        done = piece.end
        if len(starts) > 2 * MAX_ESCAPES:
            raise TooLong("more escapes than are read")
    if not texts:
        return view
    texts.append(view.text[done:])
    return View("".join(texts), (*view.layers, Layer(starts, origins, strides)))


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


def _escapes(text: str) -> Iterator[_Piece]:
    spots = sorted(match.span() for sign, form in _ESCAPES.items() if sign in text for match in form.finditer(text))
    done = 0
    for start, end in spots:
        sign = text[start]
        for piece in _READERS[sign](text[start:end], start, end) if start >= done else ():
            yield _spread(text, piece, done) if sign in "[({<" else piece
            done = end


def _spread(text: str, piece: _Piece, done: int) -> _Piece:
    """With the blank on either side: `ada [at] example [dot] com`."""
    start = piece.start - (text[max(done, piece.start - 1) : piece.start] == " ")
    end = piece.end + (text[piece.end : piece.end + 1] == " ")
    return _Piece(start, end, piece.text, end - start) if piece.text else piece


def _read_percent(run: str, start: int, end: int) -> Iterator[_Piece]:
    return _read_bytes(bytes.fromhex(run.replace("%", "")), start, end)


def _read_bytes(said: bytes, start: int, end: int) -> Iterator[_Piece]:
    """Three characters a byte; what is not UTF-8, or is a control character, was no escape (`%B4`, `%02d`)."""
    try:
        text = said.decode()
    except UnicodeDecodeError:
        return
    if not text.isprintable() and any(character < " " and character not in "\t\r\n" for character in text):
        return
    if text.isascii():
        yield _Piece(start, end, text, 3)
        return
    for character in text:
        width = 3 * len(character.encode())
        yield _Piece(start, start + width, character, width)
        start += width


def _read_backslash(run: str, start: int, end: int) -> Iterator[_Piece]:
    kind = run[1]
    if kind == "u" and run[2] != "{":
        yield from _read_units(run, start)
    elif kind == "x":
        said = bytes.fromhex(run.replace("\\x", ""))
        yield _Piece(start, end, said.decode("latin-1"), 4)
    elif kind in "uU":
        code = int(run[2:].strip("{}"), 16)
        yield _Piece(start, end, chr(code) if code < 0x110000 else " ", end - start)
    else:
        yield _Piece(start, end, kind, 2)


def _read_units(run: str, start: int) -> Iterator[_Piece]:
    """UTF-16, six characters a unit; a surrogate without its other half stays one, as it would in JSON."""
    said = bytes.fromhex(run.replace("\\u", "")).decode("utf-16-be", "surrogatepass")
    if len(said) * 6 == len(run):
        yield _Piece(start, start + len(run), said, 6)
        return
    for character in said:
        width = 12 if character > "\uffff" else 6
        yield _Piece(start, start + width, character, width)
        start += width


def _read_entity(run: str, start: int, end: int) -> Sequence[_Piece]:
    text = _entity(run) if len(run) < 16 else ""
    return (_Piece(start, end, text, end - start),) if text else ()


@lru_cache(maxsize=1_024)
def _entity(run: str) -> str:
    """The character of a reference; "" if it is none, or several."""
    name = run[1:].rstrip(";")
    if name.startswith("#"):
        code = int(name[2:], 16) if name[1] in "xX" else int(name[1:])
        return chr(code) if 0 < code < 0x110000 else " "
    text = html.entities.html5.get(name + ";", "")
    return text if len(text) == 1 else ""


def _read_brackets(run: str, start: int, end: int) -> Iterator[_Piece]:
    word = run.strip("[](){}<>/ ").lower()
    text = {"dot": ".", "at": "@"}.get(word, word if word in (".", "@", ":") else "")
    yield _Piece(start, end, text, end - start)


_READERS: Final = {
    "%": _read_percent,
    "\\": _read_backslash,
    "&": _read_entity,
    **dict.fromkeys("[({<", _read_brackets),
}
# RFC 2045, 6.7, where it can matter: an encoded `@`, sign or digit beside a letter or digit, octets in a row, a soft line
# break between letters or digits.
_QUOTED_HINT: Final = re.compile(
    r"=(?:40[A-Za-z\[=]|2[A-F][0-9A-Za-z=(]|3[A-F][0-9A-Za-z\"'+(]|0[AD][0-9A-Za-z+(]|[0-9A-F]{2}=[0-9A-F]{2}"
    r"| {0,3}\r?\n ?[\w@.+(:;\[-]|20(?<=[0-9]=20)[0-9(]|20(?<=[A-Za-z,.:;]=20)[A-Za-z(+])"
)
_QUOTED: Final = re.compile(r"=(?:[0-9A-F]{2}(?:=[0-9A-F]{2})*|(?: {0,3}\r?\n){1,2})")


def _quoted(text: str) -> Iterator[_Piece]:
    for match in _QUOTED.finditer(text):
        start, end = match.span()
        if match[0].endswith("\n"):
            yield _Piece(start, end, "", 1)
        else:
            yield from _read_bytes(bytes.fromhex(match[0].replace("=", "")), start, end)
