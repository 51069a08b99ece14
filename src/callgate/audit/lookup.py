"""Finding what a person names in a few characters, and the policy that was in force at a record."""

import re
from pathlib import Path
from typing import Final, Literal, TypeAlias

from callgate.audit.chain import Kind
from callgate.audit.entries import REQUESTS
from callgate.audit.segments import holding, segments
from callgate.wire.json_strict import JsonObject
from callgate.wire.members import number_of, text_of

IdName: TypeAlias = Literal["decision", "trace"]
# Fewer would be a handful of every log; git asks for four, too.
MIN_ID_CHARS: Final = 4
# Enough to choose from.
MAX_FOUND: Final = 10
_ID: Final = re.compile(rf"[0-9a-f]{{{MIN_ID_CHARS},32}}")


def is_id(text: str) -> bool:
    """Whether it is an id or the beginning of one: 4 to 32 hexadecimal digits in lower case."""
    return _ID.fullmatch(text) is not None


def ids_beginning(folder: Path, name: IdName, beginning: str) -> list[str]:
    """The ids of requests that begin so (`is_id`), in order, no more than MAX_FOUND; one that is all of an id is alone.

    Blocks.  Raises UnreadableLog.
    """
    # As the log writes it: compact, and whoever was quoted has escaped quotes.
    needles = [f'"{name}":"{beginning}'.encode()]
    found: dict[str, None] = {}
    for segment in segments(folder):
        for record in holding(segment, needles):
            each = text_of(record, name)
            if text_of(record, "kind") in REQUESTS and each.startswith(beginning):
                found[each] = None
            if beginning in found:
                return [beginning]
            if len(found) > MAX_FOUND:
                return list(found)[:MAX_FOUND]
    return list(found)


def policy_record(folder: Path, digest: str, before: int) -> JsonObject | None:
    """The last `policy` record with that digest before record number `before`.  Blocks.  Raises UnreadableLog."""
    last = None
    for segment in segments(folder):
        if segment.first >= before:
            break
        for record in holding(segment, [b'"kind":"policy"']):
            is_it = record.get("kind") == Kind.POLICY and record.get("digest") == digest
            if is_it and number_of(record, "seq") < before:
                last = record
    return last
