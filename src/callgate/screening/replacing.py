"""What becomes of one value that was found: another in its place, what is left of it, or nothing."""

import hmac
import re
import string
import unicodedata
from base64 import b32encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from typing import Final, TypeAlias

from callgate.screening.mask import Masked, Span
from callgate.screening.terms import ENTITIES, Mode
from callgate.wire.json_strict import MAX_SAFE_INTEGER, JsonValue, canonical, dumps

# What `partial` leaves, and of short values half at the most: enough to tell two cards apart, not to pay with one.
KEPT_CHARACTERS: Final = 4
# Base32 characters of a pseudonym: 50 bits.  Of a million values two have the same name once in two thousand times.
PSEUDONYM_CHARACTERS: Final = 10
# Beyond this a value is no number or name of anybody's, and is not gone through character by character.
MAX_VALUE_CHARACTERS: Final = 4_096
_KEPT_SIGNS: Final = frozenset(string.punctuation + string.whitespace)
# Written in many ways, and the same whatever stands between the letters and digits.
_SPELLED: Final = frozenset(ENTITIES) - {"email", "secret", "ipv4", "ipv6", "birth_date"}
_FOLDED: Final = frozenset({"email", "ipv4", "ipv6"})
# An at sign as URLs, quoted-printable, HTML and JSON write it (RFC 3986, 2.1; RFC 2045, 6.7; RFC 8259, 7).
_AT_SIGN: Final = re.compile(r"%(?:25){0,3}40|=40|&#(?:64|x40);|&commat;|\\u0040", re.IGNORECASE)
_SOFT_BREAK: Final = re.compile(r"=\r?\n")
_INT64: Final = 2**63
_UINT64: Final = 2**64


class Gone(Enum):
    """That nothing is left of a value."""

    GONE = "gone"


GONE: Final = Gone.GONE
Number: TypeAlias = int | float


class Form(Enum):
    """By what a value is replaced: as its mode says, or in its own shape, so that an output schema holds.

    `BARE`: characters by `x` and `0`, numbers by 0, lists and objects by empty ones.  `FULL`: numbers by ones of as
    many digits, lists by as many entries, and objects by ones with the same names of members.
    """

    MODE = "mode"
    BARE = "bare"
    FULL = "full"


def decimal_of(value: Number) -> str:
    """A number as people write it: without sign and exponent; an integer without a fraction."""
    size = abs(value)
    if isinstance(size, int) or size.is_integer():
        return str(int(size))
    return format(Decimal(repr(size)), "f")


@dataclass(frozen=True, slots=True)
class Replacing:
    """Puts something in a value's place.  `key`: 32 bytes, of which pseudonyms are made."""

    key: bytes
    form: Form = Form.MODE

    def text(self, text: str, spans: Sequence[Span]) -> str | Gone:
        """The text with other words in the place of its spans; GONE where one of them says `drop`."""
        pieces, end = [], 0
        for span in spans:
            word = self._word(text[span.start : span.end], span.masked)
            if word is GONE:
                return GONE
            pieces += [text[end : span.start], word]
            end = span.end
        return "".join((*pieces, text[end:]))

    def number(self, value: Number, masked: Masked) -> Number | Gone:
        """Another number of the same kind."""
        if self.form is not Form.MODE:
            return self._of_kind(value, 0 if self.form is Form.BARE else 10 ** (len(decimal_of(int(value))) - 1))
        match masked.mode:
            case Mode.PARTIAL:
                digits = [each for each in decimal_of(value) if each.isdigit()]
                kept = digits[len(digits) - min(KEPT_CHARACTERS, len(digits) // 2) :]
                return self._of_kind(value, int("".join(kept) or "0"))
            case Mode.PSEUDONYM:
                return self._of_kind(value, self._other_number(int(value), masked.name))
            case Mode.DROP:
                return GONE
            case _:
                return self._of_kind(value, 0)

    def whole(self, value: JsonValue, masked: Masked) -> JsonValue | Gone:
        """What stands in the place of a member that is masked as a whole, whatever its type."""
        if self.form is Form.MODE and masked.mode is Mode.DROP:
            return GONE
        if value is None or isinstance(value, bool):
            return None if value is None else False
        if isinstance(value, int | float):
            return self.number(value, masked)
        if isinstance(value, str):
            return self._word(value, masked) if value else value
        return self._container(value, masked)

    def _container(self, value: JsonValue, masked: Masked) -> JsonValue | Gone:
        match self.form:
            case Form.MODE if masked.mode is Mode.PSEUDONYM:
                return f"[{masked.name}:{self._pseudonym(masked.name, _written(value))}]"
            case Form.MODE:
                return f"[{masked.name}]"
            case Form.BARE:
                return [] if isinstance(value, list) else {}
            case Form.FULL:
                return self._filled(value, masked)

    def _filled(self, value: JsonValue, masked: Masked) -> JsonValue:
        parts = {name: self.whole(each, masked) for name, each in _parts(value)}
        kept: dict[str | int, JsonValue] = {name: each for name, each in parts.items() if each is not GONE}
        if isinstance(value, list):
            return list(kept.values())
        return {str(name): each for name, each in kept.items()}

    def _word(self, value: str, masked: Masked) -> str | Gone:
        if self.form is not Form.MODE:
            return _shape(value)
        match masked.mode:
            case Mode.PARTIAL:
                return _partial(value)
            case Mode.PSEUDONYM:
                return f"[{masked.name}:{self._pseudonym(masked.name, _canonical(masked.name, value))}]"
            case Mode.DROP:
                return GONE
            case _:
                return f"[{masked.name}]"

    def _pseudonym(self, name: str, value: str) -> str:
        digest = self._digest(name, value)
        return b32encode(digest).decode()[:PSEUDONYM_CHARACTERS].lower()

    def _digest(self, name: str, value: str) -> bytes:
        return hmac.digest(self.key, f"{name}\0{value}".encode(), "sha256")

    def _other_number(self, value: int, name: str) -> int:
        """Of as many digits, and no other than what JSON writers and readers take as it stands."""
        digits = decimal_of(value)
        lowest: int = 10 ** (len(digits) - 1) if len(digits) > 1 else 0
        end: int = 10 ** len(digits)
        for limit in (MAX_SAFE_INTEGER + 1, _INT64, _UINT64):
            if abs(value) < limit:
                end = min(end, limit)
                break
        other = int.from_bytes(self._digest(name, digits)) % (end - lowest) + lowest
        return other if other != abs(value) else lowest + (other - lowest + 1) % (end - lowest)

    @staticmethod
    def _of_kind(value: Number, other: int) -> Number:
        return float(other) if isinstance(value, float) else other


def _parts(value: JsonValue) -> Iterable[tuple[str | int, JsonValue]]:
    if isinstance(value, dict):
        return list(value.items())
    return list(enumerate(value)) if isinstance(value, list) else []


def _written(value: JsonValue) -> str:
    try:
        return canonical(value).decode()
    except ValueError:
        return dumps(value).decode()


def _partial(value: str) -> str:
    """All but the last four letters and digits become `*`, and whatever else is no sign of ASCII does too."""
    kept = min(KEPT_CHARACTERS, sum(map(str.isalnum, value[-MAX_VALUE_CHARACTERS:])) // 2)
    if len(value) > MAX_VALUE_CHARACTERS:
        return "*" * (2 * KEPT_CHARACTERS)
    signs: list[str] = []
    for sign in reversed(value):
        if sign in _KEPT_SIGNS:
            signs.append(sign)
            continue
        is_kept = kept > 0 and sign.isalnum()
        kept -= is_kept
        signs.append(sign if is_kept else "*")
    return "".join(reversed(signs))


def _shape(value: str) -> str:
    """Of the same length, letters and digits in the same places, signs as they were."""
    if len(value) > MAX_VALUE_CHARACTERS:
        return "x" * len(value)
    return "".join(map(_shape_of, value))


def _shape_of(sign: str) -> str:
    if sign in _KEPT_SIGNS:
        return sign
    if sign.isdigit():
        return "0"
    return "X" if sign.isupper() else "x"


def _canonical(name: str, value: str) -> str:
    """One text for all the ways to write one value."""
    if len(value) > MAX_VALUE_CHARACTERS:
        return value
    plain = unicodedata.normalize("NFKC", value)
    if name == "email":
        plain = _AT_SIGN.sub("@", _SOFT_BREAK.sub("", plain))
    if name in _SPELLED:
        return "".join(filter(str.isalnum, plain)).casefold()
    seen = "".join(sign for sign in plain if unicodedata.category(sign) != "Cf").strip()
    return seen.casefold() if name in _FOLDED else seen
