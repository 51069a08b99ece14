"""JSON in exactly one reading.

Parsers disagree about duplicate keys, big integers, NaN, lone surrogates and byte order marks, and whoever they let
disagree about a body can be shown one tool call and run another.  So what is read here is I-JSON (RFC 7493), bounded,
and what leaves the gate is `dumps` of the value that was decided on, never the bytes that came in.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from math import isfinite
from typing import Final, TypeAlias

import orjson

from callgate.errors import Reason, Refusal

JsonValue: TypeAlias = bool | int | float | str | list["JsonValue"] | dict[str, "JsonValue"] | None
JsonObject: TypeAlias = dict[str, JsonValue]
_Container: TypeAlias = list[JsonValue] | JsonObject

# RFC 7493, 2.2: "an I-JSON sender cannot expect a receiver to treat an integer whose absolute value is greater than
# 9007199254740991 (i.e., that is outside the range [-(2**53)+1, (2**53)-1]) as an exact value".
MAX_SAFE_INTEGER: Final = 2**53 - 1
# What orjson reads and writes as an integer.  It turns anything bigger into a float, silently.
_MIN_INTEGER: Final = -(2**63)
_MAX_INTEGER: Final = 2**64 - 1

_BOM: Final = b"\xef\xbb\xbf"
# What `find_confusable` guards: `io.modelcontextprotocol/clientCapabilities` has 42 characters.
_MAX_NAME_CHARS: Final = 64
# Of an object whose members' names are guarded: the envelope has 4, params up to 3 and `_meta` a handful, and each name
# that is not ASCII takes up to 0.2 ms to fold.
MAX_GUARDED_MEMBERS: Final = 64
# An integer of 16 digits or more in text without strings: no fraction, no exponent, and no exponent's digits.
_LONG_INTEGER: Final = re.compile(rb"(?<![0-9.eE+\-])-?[0-9]{16,}(?![0-9.eE])")


@dataclass(frozen=True, slots=True)
class JsonLimits:
    """What one text may cost."""

    # An MCP message is a few hundred bytes; 1 MiB leaves room for a document as an argument.
    max_bytes: int = 1024 * 1024
    # Containers within containers.  Tool arguments rarely pass 10; 64 is far below any parser's stack.
    max_depth: int = 64
    # Refuse integers that a JavaScript peer would round (requests).  Without it (answers: a database's row ids) every
    # integer of 64 bits is taken.  A wider one is refused in either case: the only alternative would be to round it.
    safe_integers: bool = True
    # Values altogether.  An empty list costs 3 bytes in the text and 64 in memory, and a value up to 300 ns to read and
    # check: 100 000 are 30 ms at the most.
    max_values: int = 100_000


def loads(data: bytes, limits: JsonLimits) -> JsonValue | Refusal:
    """Read one JSON text.  Never raises; every refusal is one of the JSON_* reasons.

    Duplicate keys are found after unescaping, at any depth, by counting: a text has as many member colons outside its
    strings as the value has members, or else a key was lost.
    """
    if len(data) > limits.max_bytes:
        return Refusal(Reason.JSON_TOO_LARGE, f"{len(data)} bytes")
    if _has_too_many_values(data, limits.max_values):
        return Refusal(Reason.JSON_TOO_LARGE, f"more than {limits.max_values} values")
    try:
        value: JsonValue = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        return _refuse_unreadable(data, error)
    surveyed = _survey(value, limits.max_depth)
    if isinstance(surveyed, Refusal):
        return surveyed
    return _refuse_number(data, surveyed, limits) or _refuse_lost_key(data, surveyed) or value


def dumps(value: object) -> bytes:
    """The gate's own serialisation: compact UTF-8, members in the order in which they stand."""
    return orjson.dumps(value)


def canonical(value: JsonValue) -> bytes:
    """RFC 8785 (JCS).  ValueError for what has no canonical form: an integer that is not safe, NaN.

    orjson writes texts as that document does.  Where sorted names or numbers would differ, they are made ready for it:
    to write a body of 1 MiB in Python takes 200 ms of everybody's time.
    """
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS) if _is_plain(value) else orjson.dumps(_prepared(value))
    except orjson.JSONEncodeError as error:
        raise ValueError("a text is not Unicode") from error


def fold_names(names: Iterable[str]) -> Mapping[str, str]:
    """Names for `find_confusable`, found by themselves and by what is left of them when case and the like are gone.

    They are ASCII, of at most 64 characters; ValueError for others.
    """
    listed = tuple(names)
    if not all(name.isascii() and len(name) <= _MAX_NAME_CHARS for name in listed):
        raise ValueError("a guarded name is ASCII, and not long")
    return {_fold(name): name for name in listed} | {name: name for name in listed}


def find_confusable(value: JsonObject, folded_names: Mapping[str, str]) -> str | None:
    """A key that is not one of the names and that another parser would take for one; None where there is none.

    Go's encoding/json matches fields without regard to case, C strings end at NUL, databases and file systems
    normalise.
    """
    for key in value:
        if folded_names.get(key) != key and _fold(key) in folded_names:
            return key
    return None


def _fold(key: str) -> str:
    if key.isascii() and "\0" not in key:
        return key.lower()
    begin = key[: _MAX_NAME_CHARS + 1].partition("\0")[0]
    if len(begin) > _MAX_NAME_CHARS:
        # No character folds to nothing, and what composes is not ASCII: this is none of the names.  Folding all of it
        # could take a second, since some characters stand for eighteen.
        return key
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", begin).casefold())


@dataclass(slots=True)
class _Survey:
    """What a value is made of: members of all its objects, and its widest number."""

    members: int = 0
    smallest: int = 0
    biggest: int = 0
    has_huge_float: bool = False


def _survey(value: JsonValue, max_depth: int) -> _Survey | Refusal:
    """Look at every value once, level by level: no recursion, so no stack to exhaust."""
    found, depth = _Survey(), 0
    level: list[_Container] = []
    _look(found, (value,), level)
    while level:
        depth += 1
        if depth > max_depth:
            return Refusal(Reason.JSON_TOO_DEEP, f"deeper than {max_depth}")
        below: list[_Container] = []
        for container in level:
            if type(container) is dict:
                found.members += len(container)
                _look(found, container.values(), below)
            else:
                _look(found, container, below)
        level = below
    return found


def _look(found: _Survey, values: Iterable[JsonValue], containers: list[_Container]) -> None:
    for value in values:
        # The commonest type first.  `type` and not isinstance: a bool is an int, and this is the hot loop.
        if type(value) is str:
            continue
        if type(value) is dict or type(value) is list:
            containers.append(value)
        elif type(value) is int:
            if value > found.biggest:
                found.biggest = value
            elif value < found.smallest:
                found.smallest = value
        elif type(value) is float and abs(value) > MAX_SAFE_INTEGER:
            found.has_huge_float = True


def _refuse_number(data: bytes, found: _Survey, limits: JsonLimits) -> Refusal | None:
    if limits.safe_integers and (found.biggest > MAX_SAFE_INTEGER or found.smallest < -MAX_SAFE_INTEGER):
        return Refusal(Reason.JSON_NUMBER, "an integer outside +-(2^53-1)")
    # A float this big was either written as one, or is an integer of more than 64 bits that was rounded.
    if found.has_huge_float and _has_wide_integer(_outside_strings(data)):
        return Refusal(Reason.JSON_NUMBER, "an integer of more than 64 bits")
    return None


def _has_wide_integer(text: bytes) -> bool:
    return any(_is_wide(match[0]) for match in _LONG_INTEGER.finditer(text))


def _is_wide(literal: bytes) -> bool:
    # 21 digits are more than 64 bits, and a literal of a million digits is not for int() to read.
    return len(literal) > 21 or not _MIN_INTEGER <= int(literal) <= _MAX_INTEGER


def _refuse_lost_key(data: bytes, found: _Survey) -> Refusal | None:
    # Colons within strings only add: where no colon is left over there cannot be a lost key.
    if data.count(b":") == found.members or _outside_strings(data).count(b":") == found.members:
        return None
    return Refusal(Reason.JSON_DUPLICATE_KEY, "a key is repeated in one object")


def _outside_strings(data: bytes) -> bytes:
    """A valid text without its strings.  Without escaped backslashes and quotes, every quote begins or ends one."""
    return b"".join(data.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')[::2])


def _has_too_many_values(data: bytes, max_values: int) -> bool:
    # A value follows a comma or the start of a container, or is the whole text; colons stand between two of one pair.
    return _count_values(data) > max_values and _count_values(_outside_strings(data)) > max_values


def _count_values(text: bytes) -> int:
    return 1 + text.count(b",") + text.count(b"[") + text.count(b"{")


def _refuse_unreadable(data: bytes, error: orjson.JSONDecodeError) -> Refusal:
    """The reason for a text that is refused in any case; orjson's message only chooses between names for it."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return Refusal(Reason.JSON_ENCODING, "not UTF-8")
    if data.startswith(_BOM):
        # RFC 8259, 8.1: "Implementations MUST NOT add a byte order mark".
        return Refusal(Reason.JSON_ENCODING, "begins with a byte order mark")
    message = str(error)
    if "surrogate" in message:
        return Refusal(Reason.JSON_ENCODING, "a lone surrogate")
    if "depth limit" in message:
        return Refusal(Reason.JSON_TOO_DEEP, "deeper than the parser goes")
    if "infinity" in message:
        return Refusal(Reason.JSON_NUMBER, "a number beyond a double")
    return Refusal(Reason.JSON_MALFORMED, f"at byte {error.pos}")


def _is_plain(value: JsonValue) -> bool:
    """Whether orjson's sorted output is canonical as it is.

    Below the surrogates, keys sort alike in UTF-8 and UTF-16.  Safe integers, and numbers with a fraction that are
    neither huge nor tiny, are written alike (RFC 8785, 3.2.2.3).
    """
    containers: list[JsonValue] = [value]
    for each in containers:
        if isinstance(each, dict):
            if not all(map(str.isascii, each)) and not all(max(key, default="") < "\ud800" for key in each):
                return False
            containers.extend(each.values())
        elif isinstance(each, list):
            containers.extend(each)
        elif not _is_plain_scalar(each):
            return False
    return True


def _is_plain_scalar(value: JsonValue) -> bool:
    if isinstance(value, float):
        return 1e-4 <= abs(value) < MAX_SAFE_INTEGER and not value.is_integer()
    return not isinstance(value, int) or abs(value) <= MAX_SAFE_INTEGER


def _prepared(value: JsonValue) -> object:
    """What orjson writes in canonical form as it stands; no deeper than what `loads` takes.  Raises ValueError."""
    if isinstance(value, dict):
        return {name: _prepared(value[name]) for name in sorted(value, key=_utf_16)}
    if isinstance(value, list):
        return [_prepared(each) for each in value]
    if isinstance(value, float):
        return _prepared_number(value)
    if isinstance(value, int) and abs(value) > MAX_SAFE_INTEGER:
        raise ValueError("an integer outside +-(2^53-1)")
    return value


def _utf_16(name: str) -> bytes:
    # RFC 8785, 3.2.3: "Property name strings to be sorted are formatted as arrays of UTF-16 code units".
    return name.encode("utf-16-be")


def _prepared_number(value: float) -> object:
    """RFC 8785, 3.2.2.3: as ECMAScript writes numbers, which is without an exponent from 1e-6 to below 1e21."""
    if not isfinite(value):
        raise ValueError("not a number of JSON")
    if _is_plain_scalar(value) or abs(value) >= 1e21 or 0 < abs(value) < 1e-6:
        return value
    if abs(value) <= MAX_SAFE_INTEGER and value.is_integer():
        return int(value)
    return orjson.Fragment(f"{Decimal(orjson.dumps(value).decode()):f}".removesuffix(".0"))
