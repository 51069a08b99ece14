"""What passed in one request, read back from its content objects."""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson

from callgate.audit.age import Identity
from callgate.audit.chain import Kind
from callgate.audit.content import UnreadableContent, Why, read
from callgate.audit.entries import Entry
from callgate.audit.recording import MessageKind
from callgate.wire.json_strict import JsonObject, JsonValue
from callgate.wire.members import is_deeper, text_of, texts_of

# A line as `Recording` writes it.  64-bit microseconds have 20 digits.
_LINE: Final = re.compile(rb'\{"at_us":([0-9]{1,20}),"kind":"([a-z]{1,16})","body":(.*)\}')

# The gate lets no message pass that is deeper than 64; what is much deeper could not be shown.
_MAX_DEPTH: Final = 128


@dataclass(frozen=True, slots=True)
class Passed:
    """One message as it passed the gate.  `at_us`: microseconds since the call began."""

    at_us: int
    kind: MessageKind
    body: JsonValue


@dataclass(frozen=True, slots=True)
class Unread:
    """In place of what one object held: why it cannot be shown."""

    why: Why
    object: str

    @property
    def words(self) -> str:
        """For people."""
        return str(UnreadableContent(self.why, self.object))


def content_of(entry: Entry) -> tuple[str, ...]:
    """The hashes of its content objects, the request's first, in the order in which the messages passed."""
    request = text_of(entry.part("request"), "object")
    return (*((request,) if request else ()), *texts_of(entry.answer, "objects"))


def read_passed(
    folder: Path, entry: Entry, identities: Sequence[Identity], deleted: Collection[str] = frozenset()
) -> Iterator[Passed | Unread]:
    """What passed, in order, one object in memory at a time; in place of an object that cannot be read, why not.

    Empty where nothing was recorded in full.  `folder`: the log's.  `deleted`: objects of which the log says that
    retention deleted them (`deletions`).  Blocks.  Raises OSError for a file that is there and cannot be opened.
    """
    for digest in content_of(entry):
        try:
            messages = _messages(read(folder, digest, identities))
        except UnreadableContent as fault:
            yield Unread(Why.DELETED if fault.why is Why.MISSING and digest in deleted else fault.why, digest)
            continue
        if not messages:
            yield Unread(Why.MALFORMED, digest)
        yield from messages


def deletions(records: Iterable[JsonObject], objects: Collection[str]) -> frozenset[str]:
    """Those of `objects` that retention deleted, as the log's records say."""
    lists = (texts_of(record, "deleted") for record in records if record.get("kind") == Kind.RETENTION)
    return frozenset(digest for deleted in lists for digest in deleted if digest in objects)


def _messages(plaintext: bytes) -> list[Passed]:
    """Nothing where one of the lines is none: an object is read whole or not at all."""
    try:
        return [_message(line) for line in plaintext.removesuffix(b"\n").split(b"\n")]
    except ValueError:
        return []


def _message(line: bytes) -> Passed:
    found = _LINE.fullmatch(line)
    if found is None:
        raise ValueError("is no line of a recording")
    body = orjson.loads(found[3])
    if is_deeper(body, _MAX_DEPTH):
        raise ValueError("is deeper than a message that passed")
    return Passed(int(found[1]), MessageKind(found[2].decode()), body)
