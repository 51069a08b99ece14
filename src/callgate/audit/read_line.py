"""A line of the log as a verifier sees it: anybody may have written it.  Pure."""

import re
from hashlib import sha256
from typing import Final, NamedTuple

import orjson

from callgate.audit.chain import FORMAT_VERSION, Kind, record_in
from callgate.audit.checkpoint import MAX_SIZE
from callgate.audit.merkle import HASH_BYTES
from callgate.wire.json_strict import JsonObject

# The number of a line that is no record.
NO_NUMBER: Final = -1
_KINDS: Final = frozenset(kind.value for kind in Kind)
_HASH: Final = re.compile(rf"[0-9a-f]{{{2 * HASH_BYTES}}}")
_NOTHING: Final[JsonObject] = {}


class Line(NamedTuple):
    """One line: where it stands, the number and the predecessor that it names, its hash and what it says.

    `seq` is NO_NUMBER for what is no record at all; `prev` may be any text (`is_hash`).  `told`: something was found
    wrong with it.  `is_as_written`: it stands there as a gate writes what it says, and no other tool can read something
    else in it.
    """

    file: str
    number: int
    seq: int
    prev: str
    leaf: bytes
    record: JsonObject
    told: bool = False
    is_as_written: bool = True


def read_line(file: str, number: int, octets: bytes | None) -> Line:
    """Read it as far as its place in the log goes.  `octets`: without the line feed; None for too many."""
    record = record_in(octets or b"")
    if octets is None or record is None:
        return Line(file, number, NO_NUMBER, "", b"", _NOTHING)
    seq, prev = record.get("seq"), record.get("prev")
    # bool is an int to Python, and not to JSON.
    if type(seq) is not int or not 0 <= seq < MAX_SIZE or not isinstance(prev, str):
        return Line(file, number, NO_NUMBER, "", b"", _NOTHING)
    # A name that stands there twice, a blank, an escape that none needs: parsers differ in what they make of these.
    is_as_written = orjson.dumps(record) == octets
    return Line(file, number, seq, prev, sha256(b"\x00" + octets).digest(), record, is_as_written=is_as_written)


def is_hash(text: str) -> bool:
    """Whether it can be what a record names as the one before it."""
    return _HASH.fullmatch(text) is not None


def format_fault(record: JsonObject) -> str:
    """What is wrong with the fields that all records have; "" for nothing."""
    version, kind = record.get("v"), record.get("kind")
    if type(version) is not int or version != FORMAT_VERSION:
        return f"is not of format {FORMAT_VERSION}, which is the only one known here"
    if not isinstance(kind, str) or kind not in _KINDS:
        return "is of a kind that is not known here"
    if not isinstance(record.get("time"), str):
        return "does not say when it was written"
    return ""
