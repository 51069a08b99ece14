"""Characters that are read as others: one for one, so that offsets stay what they are.

Digits of every script become ASCII digits, letters and signs that are forms of ASCII ones (full-width, mathematical,
small) become those, dashes and blanks become `-` and ` `, and what cannot be seen becomes one character, UNSEEN.
"""

import unicodedata
from collections.abc import Iterator
from typing import Final

UNSEEN: Final = "\u200b"

# Unicode 17.0, DerivedNumericType.txt: the zeros of the decimal digits, whose nine others follow them.
DIGIT_ZEROS: Final = (
    0x660, 0x6F0, 0x7C0, 0x966, 0x9E6, 0xA66, 0xAE6, 0xB66, 0xBE6, 0xC66, 0xCE6, 0xD66, 0xDE6, 0xE50, 0xED0, 0xF20, 0x1040,
    0x1090, 0x17E0, 0x1810, 0x1946, 0x19D0, 0x1A80, 0x1A90, 0x1B50, 0x1BB0, 0x1C40, 0x1C50, 0xA620, 0xA8D0, 0xA900, 0xA9D0,
    0xA9F0, 0xAA50, 0xABF0, 0xFF10, 0x104A0, 0x10D30, 0x10D40, 0x11066, 0x110F0, 0x11136, 0x111D0, 0x112F0, 0x11450,
    0x114D0, 0x11650, 0x116C0, 0x116D0, 0x116DA, 0x11730, 0x118E0, 0x11950, 0x11BF0, 0x11C50, 0x11D50, 0x11DA0, 0x11DE0,
    0x11F50, 0x16130, 0x16A60, 0x16AC0, 0x16B50, 0x16D70, 0x1CCF0, 0x1D7CE, 0x1D7D8, 0x1D7E2, 0x1D7EC, 0x1D7F6, 0x1E140,
    0x1E2F0, 0x1E4F0, 0x1E5F1, 0x1E950, 0x1FBF0,
)  # fmt: skip
# UnicodeData.txt, general category Pd, the minus sign, the hyphen bullet, box drawing's line.
DASHES: Final = (
    "\u058a\u05be\u1806\u2010\u2011\u2012\u2013\u2014\u2015\u2043\u207b\u208b\u2212\u2500\u2e3a\u2e3b\u2e40\u301c\u3030\u30a0\u30fc"
    "\ufe31\ufe32\ufe58\ufe63\uff0d\uff70\U00010ead"
)
# Zs, and the separators of lines and paragraphs.
BLANKS: Final = (
    "\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
)
# RFC 3490, 3.1: the dots between labels.  Further dots and slashes that look like ASCII's.
_OTHERS: Final = {
    "\u3002": ".",
    "\uff61": ".",
    "\u2024": ".",
    "\u2044": "/",
    "\u2215": "/",
    "\u02d0": ":",
    "\ua789": ":",
    "\u2236": ":",
}
# NFKC makes these one ASCII character: letter-like symbols, small forms, full-width forms, mathematical letters.
_COMPATIBLE: Final = ((0x2100, 0x2140), (0xFE50, 0xFE70), (0xFF01, 0xFF5F), (0x1D400, 0x1D6A4))
# DerivedCoreProperties.txt, Default_Ignorable_Code_Point, with marks that are put over or around a Latin letter or digit,
# interlinear annotations, and the formats of Mongolian.
UNSEEN_RANGES: Final = (
    (0xAD, 0xAD), (0x300, 0x36F), (0x483, 0x489), (0x61C, 0x61C), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F),
    (0x1AB0, 0x1AFF), (0x1DC0, 0x1DFF), (0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F), (0x20D0, 0x20FF),
    (0x2800, 0x2800), (0x3164, 0x3164), (0xFE00, 0xFE0F), (0xFE20, 0xFE2F), (0xFEFF, 0xFEFF), (0xFFA0, 0xFFA0),
    (0xFFF0, 0xFFFB), (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A), (0xE0000, 0xE0FFF),
)  # fmt: skip

# More distinct characters than this are folded in one pass over the text; fewer, with one quick pass for each.
_FEW: Final = 24


def _pairs() -> Iterator[tuple[str, str]]:
    for low, high in _COMPATIBLE:
        for code in range(low, high):
            normal = unicodedata.normalize("NFKC", chr(code))
            if len(normal) == 1 and normal.isascii():
                yield chr(code), normal
    for zero in DIGIT_ZEROS:
        yield from ((chr(zero + digit), str(digit)) for digit in range(10))
    for low, high in UNSEEN_RANGES:
        yield from ((chr(code), UNSEEN) for code in range(low, high + 1))
    yield from ((dash, "-") for dash in DASHES)
    yield from ((blank, " ") for blank in BLANKS)
    yield from _OTHERS.items()


_FOLDS: Final = {character: plain for character, plain in _pairs() if character != UNSEEN}
_TABLE: Final = {ord(character): plain for character, plain in _FOLDS.items()}


def fold(text: str) -> str:
    """The text as it is read, as long as it was."""
    if text.isascii():
        return text
    foreign = set(text) & _FOLDS.keys()
    if len(foreign) > _FEW:
        return text.translate(_TABLE)
    for character in foreign:
        text = text.replace(character, _FOLDS[character])
    return text
