"""One record after the other: each says where it stands and what came before it.

A record is one line of JSON.  Its hash is the leaf of the tree (`merkle.leaf_hash` of the line without its line feed),
and the next record names it in `prev`; the tree and the chain say the same in two ways.  Pure.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from typing import Final, NamedTuple

import orjson

from callgate.audit.merkle import HASH_BYTES, Tree, leaf_hash
from callgate.wire.json_strict import JsonObject
from callgate.wire.members import is_deeper

FORMAT_VERSION: Final = 1
# What the first record names as the one before it.
NO_RECORD: Final = "0" * (2 * HASH_BYTES)
# More than any record needs: a reader holds one line at a time, and stops where a line has no end.
MAX_LINE_BYTES: Final = 1024 * 1024
# Lists and objects within each other: a record has three.  What is deeper could not be shown by every tool.
MAX_DEPTH: Final = 64
# What is left of a record that would be longer: of each list so many, of each text so many characters.  That is 600 KB
# where the list is one of hashes with a name beside each, the longest that there is.
_MAX_LISTED: Final = 2048
_MAX_TEXT_CHARACTERS: Final = 256
_NS_IN_S: Final = 1_000_000_000


class Kind(StrEnum):
    """What a record tells of."""

    # The first record of each file.
    SEGMENT = "segment"
    # The gate's own doings.
    START = "start"
    STOP = "stop"
    POLICY = "policy"
    RECOVERY = "recovery"
    OUTAGE = "outage"
    CLOCK = "clock"
    RETENTION = "retention"
    # Requests.
    INTENT = "intent"
    OUTCOME = "outcome"
    REFUSAL = "refusal"
    ABSORBED = "absorbed"
    SUMMARY = "summary"
    # What people were asked, and what they said.
    APPROVAL = "approval"


class Moment(NamedTuple):
    """Both clocks: Unix nanoseconds, and microseconds of the machine's monotonic clock, which nobody can set."""

    wall_ns: int
    mono_us: int


class Chain:
    """Where the log ends: the next record's number, the hash of the last one, the tree over all of them."""

    __slots__ = ("prev", "tree")

    def __init__(self, tree: Tree | None = None, prev: str = NO_RECORD) -> None:
        self.tree = tree or Tree()
        self.prev = prev

    @property
    def size(self) -> int:
        """How many records there are; also the number of the next one."""
        return self.tree.size

    def extend(self, kind: Kind, fields: Mapping[str, object], at: Moment) -> bytes:
        """The next record's line, with its line feed; from now on it is the last one."""
        said = {
            "v": FORMAT_VERSION,
            "seq": self.tree.size,
            "prev": self.prev,
            "time": time_text(at.wall_ns),
            "mono_us": at.mono_us,
            "kind": kind.value,
            **fields,
        }
        try:
            line = orjson.dumps(said)
        except orjson.JSONEncodeError:
            line = orjson.dumps(_writable(said))
        if len(line) > MAX_LINE_BYTES:
            line = orjson.dumps(_shortened(orjson.loads(line)))
        self.take(leaf_hash(line))
        return line + b"\n"

    def take(self, leaf: bytes) -> None:
        """A record with that hash is the last one from now on."""
        self.tree.append(leaf)
        self.prev = leaf.hex()


def time_text(wall_ns: int) -> str:
    """RFC 3339 in UTC, to the nanosecond."""
    second, ns = divmod(wall_ns, _NS_IN_S)
    return f"{_second_text(second)}.{ns:09d}Z"


@lru_cache(maxsize=4)
def _second_text(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _writable(value: object) -> object:
    """The same, with what is no Unicode text replaced: a record may say less than all, but it is there."""
    match value:
        case str():
            return value.encode("utf-8", "replace").decode()
        case Mapping():
            return {str(_writable(name)): _writable(each) for name, each in value.items()}
        case list() | tuple():
            return [_writable(each) for each in value]
        case int() | float() | None:
            return value if not isinstance(value, int) or value.bit_length() < 64 else str(value)
        case _:
            return _writable(str(value))


def _shortened(value: object) -> object:
    """The same, cut to what readers take: after a record that they do not, nothing could be read of the log."""
    match value:
        case str():
            return value[:_MAX_TEXT_CHARACTERS]
        case dict():
            return {name: _shortened(each) for name, each in value.items()}
        case list():
            return [_shortened(each) for each in value[:_MAX_LISTED]]
        case _:
            return value


def record_in(line: bytes) -> JsonObject | None:
    """What a line says that anybody may have written; None for what is no JSON object, or deeper than MAX_DEPTH."""
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(found, dict):
        return None
    # In a text a bracket means nothing: only where there are many is it looked at what they are.
    return None if line.count(b"[") + line.count(b"{") > MAX_DEPTH and is_deeper(found, MAX_DEPTH) else found
