"""What a text says to a program or a person that reads it: escapes read, what cannot be seen taken out.

Each view knows where its characters stand in the text as given.
"""

import codecs
import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Final

from callgate.screening.escapes import QUOTED_HINT, Piece, escapes, in_lines, may_be_form, quoted
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
    if may_be_form(plain.text):
        views.append(_read_escapes(View(plain.text.replace("+", " "), plain.layers)))
    mail = (_read_pieces(view, quoted(view.text)) for view in views if QUOTED_HINT.search(view.text))
    return (*views, *(_without_unseen(View(fold(view.text), view.layers)) for view in mail))


def _without_unseen(view: View) -> View:
    if view.text.isascii() or UNSEEN not in view.text:
        return view
    parts = view.text.split(UNSEEN)
    starts = [0, *accumulate(map(len, parts))][: len(parts)]
    return View("".join(parts), (*view.layers, Layer(starts, [start + gone for gone, start in enumerate(starts)])))


def _read_escapes(view: View) -> View:
    for _ in range(MAX_LEVELS):
        plain = in_lines(view.text)
        read = _read_pieces(View(plain, view.layers), escapes(plain))
        if read.text == view.text:
            break
        # An escape may have held what is folded in turn.
        view = _without_unseen(View(fold(read.text), read.layers))
    return view


def _read_pieces(view: View, pieces: Iterable[Piece]) -> View:
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
