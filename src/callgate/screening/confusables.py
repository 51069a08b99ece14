"""Characters that look like ASCII: facts from confusables.txt of Unicode UTS 39, version 17.0.

Those alone whose compatibility form (UAX 15, NFKC) is not ASCII already: full-width, mathematical, enclosed and
ligature letters are found by that.  Left out: what no reader takes for the other (thorn, infinity, multiplication
sign), what common words are full of (Cyrillic ge, sha, hard sign), and scripts beyond those that names are forged with.
Taken in: kappa and ka, which UTS 39 has as a small capital K, and the macrons and dashes that stand for `_` and `-`.
"""

import unicodedata
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final

_BY_LOOK: Final = {
    "!": "\u01c3\u2d51",
    "&": "\ua778",
    "'": "\u02b9\u02bb\u02bc\u02bd\u02c8\u02ca\u02cb\u02f4\u055a\u055d\u144a\u2018\u2019\u201b\u2032\u2035\ua78c",
    "(": "\ufd3e",
    ")": "\ufd3f",
    "*": "\u204e",
    "+": "\u16ed",
    ",": "\u201a\ua4f9",
    "-": "\u02d7\u2010\u2012\u2013\u2014\u2015\u2043\u2212\u2cba\u2cbb",
    ".": "\ua4f8",
    "/": "\u1735\u2041\u2044\u2215\u27cb\u29f8\u2cc6\u2cc7",
    "2": "\u01a7\u03e8\u14bf\ua644\ua75a",
    "3": "\u01b7\u021c\u2c9c\u2cc4\u2ccc\ua76a\ua7ab",
    "4": "\u13ce",
    "5": "\u01bc",
    "6": "\u03ec\u13ee\u2cd2\u2cd3\u2cdc",
    "7": "\U000104d2",
    "9": "\u2cca\u2ccb\ua76e",
    ":": "\u02d0\u02f8\u0589\u16ec\u1803\u205a\u2236\ua4fd\ua789",
    "<": "\u02c2\u1438",
    "=": "\u1400\u2e40\ua4ff",
    ">": "\u02c3\u1433",
    "?": "\u13ae",
    "A": "\u0391\u0410\u13aa\u15c5\ua4ee",
    "B": "\u0392\u0412\u13f4\u15f7\u2c82\ua4d0\ua7b4",
    "C": "\u0421\u13df\u2ca4\ua4da\U00010415",
    "D": "\u13a0\u15de\u15ea\ua4d3",
    "E": "\u0395\u0415\u13ac\u2d39\ua4f0",
    "F": "\u03dc\u15b4\ua4dd\ua798",
    "G": "\u050c\u13c0\u13f3\ua4d6",
    "H": "\u0397\u041d\u13bb\u157c\u2c8e\ua4e7",
    "J": "\u037f\u0408\u13ab\u148d\ua4d9\ua7b2",
    "K": "\u039a\u041a\u13e6\u2c94\ua4d7",
    "L": "\u13de\u14aa\u2cd0\ua4e1\U0001041b",
    "M": "\u039c\u03fa\u041c\u13b7\u15f0\u2c98\ua4df",
    "N": "\u039d\u2c9a\ua4e0",
    "O": "\u039f\u041e\u0555\u12d0\u2c9e\u2d54\ua4f3\U00010404\U000104c2",
    "P": "\u03a1\u0420\u13e2\u146d\u2ca2\u2cce\ua4d1",
    "Q": "\u2d55",
    "R": "\u01a6\u13a1\u13d2\u1587\ua4e3\U000104b4",
    "S": "\u0405\u054f\u13d5\u13da\ua4e2\U00010420",
    "T": "\u03a4\u0422\u13a2\u2ca6\ua4d4",
    "U": "\u054d\u1200\u144c\ua4f4\U000104ce",
    "V": "\u0474\u13d9\u142f\u2d38\ua4e6",
    "W": "\u051c\u13b3\u13d4\ua4ea",
    "X": "\u03a7\u0425\u166d\u2cac\u2d5d\ua4eb\ua7b3",
    "Y": "\u03a5\u0423\u04ae\u13a9\u13bd\u2ca8\ua4ec",
    "Z": "\u0396\u13c3\ua4dc",
    "\\": "\u2216\u27cd\u29f5\u29f9",
    "^": "\u02c4",
    "_": "\u02cd\u2017",
    "a": "\u0251\u03b1\u0430\u237a",
    "b": "\u0184\u13cf\u1472\u15af",
    "c": "\u0441\u1d04\u2ca5\uabaf\U0001043d",
    "d": "\u0501\u13e7\u146f\ua4d2",
    "e": "\u0435\u04bd\uab32",
    "f": "\u0192\u0584\u1e9d\ua799\uab35",
    "g": "\u018d\u0261\u0581\u1d83",
    "h": "\u04bb\u0570\u13c2",
    "i": "\u0131\u0269\u026a\u03b9\u0456\u0582\u13a5\u2373\u2c93\ua647\uab75",
    "j": "\u03f3\u0458",
    "k": "\u0138\u03ba\u043a",
    "l": "\u0196\u01c0\u0399\u0406\u04c0\u04cf\u2c92\u2d4f\ua4f2",
    "n": "\u0578\u057c",
    "o": "\u03bf\u03c3\u03ed\u043e\u0585\u10ff\u1d0f\u1d11\u2c9f\uab3d\U0001042c\U000104ea",
    "p": "\u01bf\u03c1\u03f8\u0440\u2374\u2ca3\u2ccf",
    "q": "\u051b\u0563\u0566",
    "r": "\u1d26\u2c85\uab47\uab48\uab81",
    "s": "\u01bd\u0455\ua731\uabaa\U00010448",
    "u": "\u028b\u03c5\u057d\u1d1c\ua79f\uab4e\uab52\U000104f6",
    "v": "\u03bd\u0475\u1d20\uaba9",
    "w": "\u026f\u0461\u051d\u0561\u1d21\u2cbd\uab83",
    "x": "\u0445\u1541\u157d\u166e",
    "y": "\u0263\u028f\u03b3\u0443\u04af\u10e7\u1d8c\u1eff\u2ca9\uab5a",
    "z": "\u1d22\uab93",
    "{": "\u2774",
    "}": "\u2775",
    "~": "\u2053\u223c",
}
CONFUSABLES: Final[Mapping[str, str]] = MappingProxyType(
    {sign: look for look, signs in _BY_LOOK.items() for sign in signs}
)
# Whoever sees one sees the other, in some typeface; within ASCII (UTS 39: m is `rn`; 1, I and | are l; 0 is O).
_WITHIN_ASCII: Final = str.maketrans({"1": "l", "I": "l", "|": "l", "0": "O", "-": "_", " ": "_"})
_PAIRS: Final = (("rn", "m"), ("vv", "w"))
# One text a character: names and addresses ask again and again for the same few.
_REMEMBERED: Final = 4096


@lru_cache(maxsize=_REMEMBERED)
def ascii_look(sign: str) -> str:
    """Tell what one character that is not ASCII looks like in ASCII, "" if like nothing there."""
    plain = unicodedata.normalize("NFKC", sign)
    look = "".join(CONFUSABLES.get(part, part) for part in plain)
    return look if look.isascii() else ""


def skeletons(name: str) -> frozenset[str]:
    """What a name looks like: as it is written, and whatever the case.  Two that share one look alike."""
    seen = "".join(sign if sign.isascii() else ascii_look(sign) or sign for sign in name)
    return frozenset((_folded(seen), _folded(seen.casefold()).casefold()))


def _folded(text: str) -> str:
    text = text.translate(_WITHIN_ASCII)
    for pair, one in _PAIRS:
        text = text.replace(pair, one)
    return text
