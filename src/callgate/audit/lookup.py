"""Finding what a person names in a few characters, and the policy that was in force at a record."""

import re
from pathlib import Path
from typing import Final, Literal, TypeAlias

from callgate.audit.chain import Kind
from callgate.audit.entries import REQUESTS, Entry
from callgate.audit.segments import from_record, holding, segments
from callgate.wire.json_strict import JsonObject
from callgate.wire.members import number_of, text_of

IdName: TypeAlias = Literal["decision", "trace"]
# Fewer would be a handful of every log; git asks for four, too.
MIN_ID_CHARS: Final = 4
# Enough to choose from.
MAX_FOUND: Final = 10
# Of one session; each takes a kilobyte.  What people answered to more requests than that is in `callgate log`.
MAX_APPROVALS: Final = 20_000
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


def approvals_in(folder: Path, session: str, start: int) -> dict[str, tuple[Entry, ...]]:
    """The records about each request for approval of a session, by its id, in order, the first MAX_APPROVALS records.

    Also those of answers that came after the session's last request.  `start`: the session's first record.  Blocks.
    Raises UnreadableLog.
    """
    found: dict[str, list[Entry]] = {}
    count = 0
    for segment in from_record(segments(folder), start):
        for record in holding(segment, [b'"kind":"approval"']):
            if record.get("kind") == Kind.APPROVAL and record.get("session") == session and count < MAX_APPROVALS:
                entry = Entry(record)
                found.setdefault(entry.approval, []).append(entry)
                count += 1
    return {approval: tuple(entries) for approval, entries in found.items()}
