"""The records of a log as they stand in its files, from either end, also while a gate writes them.

Nothing here tells whether a log was changed: that is `callgate audit verify`.  But a reader that finds a line which is
no record, or records missing in between, says so (`UnreadableLog`) and does not go on as if nothing were there.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from callgate.audit.chain import Kind
from callgate.audit.entries import MAX_WAITING, REQUESTS, Entry, join
from callgate.audit.query import CLOCK_STEP_S
from callgate.audit.segments import (
    VERIFY,
    Segment,
    UnreadableLog,
    check_first,
    ends_amid_line,
    first_moment,
    from_record,
    holding,
    lines_backwards,
    lines_from,
    parsed,
    raw_lines,
    segments,
)
from callgate.wire.json_strict import JsonObject
from callgate.wire.members import number_of, text_of

# What stands before an id, as the log writes it, compact; whatever a caller could put into a text has its quotes
# escaped.
_BEFORE: Final = {
    "decision": ('"decision":', '"asked_by":'),
    "approval": ('"approval":', '"approval":{"id":'),
}
# Of these an outcome names none: it is found by its decision.
_NOT_IN_OUTCOMES: Final = frozenset({"jti", "approval"})

__all__ = [
    "UnreadableLog",
    "find_entries",
    "find_entry",
    "follow",
    "has_torn_end",
    "read_entries",
    "read_last",
    "read_records",
    "size_of",
    "start_of",
]


def read_records(folder: Path, *, start: int = 0) -> Iterator[JsonObject]:
    """The records from number `start` on, in order, up to where the log ends now.

    A line without an end is one that the gate is writing, or did not get to write: it is no record yet.  Raises
    UnreadableLog where the next record should be and is not; the records before have been given out.
    """
    yield from _records(from_record(segments(folder), start), start)


def read_entries(folder: Path, *, start: int = 0, others: frozenset[str] = frozenset()) -> Iterator[Entry]:
    """The requests from record `start` on, each with its outcome, however much later that came (see `join`).

    Raises UnreadableLog as `read_records`, after what was read before.
    """
    fault: UnreadableLog | None = None

    def readable() -> Iterator[JsonObject]:
        nonlocal fault
        try:
            yield from read_records(folder, start=start)
        except UnreadableLog as error:
            # Entries that wait for their outcomes are given out first.
            fault = error

    yield from join(readable(), late=_Late(folder), others=others)
    if fault is not None:
        raise fault


def read_last(folder: Path, *, others: frozenset[str] = frozenset()) -> Iterator[Entry]:
    """The same from the end: the latest first."""
    outcomes: dict[int, JsonObject] = {}
    for record in _backwards(segments(folder)):
        kind = text_of(record, "kind")
        if kind == Kind.OUTCOME:
            # The first that was written counts, as in `join`.
            outcomes[number_of(record, "intent")] = record
        elif kind in REQUESTS or kind in others:
            yield Entry(record, outcomes.pop(number_of(record, "seq"), None) if kind == Kind.INTENT else None)


def follow(folder: Path, pause: Callable[[], bool], *, start: int = 0) -> Iterator[JsonObject]:
    """The records from number `start` on, and then each as it is written, from one file into the next.

    `pause` is called whenever there is no more for now; it waits, and ends this with False.  Raises as `read_records`.
    """
    at: Segment | None = None
    number, offset = 0, 0
    while True:
        # Listed before the reading: what belongs before a file that is there has all been written.
        known = segments(folder)
        if at is None and known:
            at = from_record(known, start)[0]
            number = at.first
        before = number
        for record, end in lines_from(at, number, offset, is_last=True) if at else ():
            number, offset = number + 1, end
            if number > start:
                yield record
        after = next((segment for segment in known if at and segment.first > at.first), None)
        if number > before:
            continue
        if after is not None:
            check_first(after, number)
            at, offset = after, 0
        elif not pause():
            return


def start_of(folder: Path, since_s: float) -> int:
    """The number of a record before which there is none of that moment (Unix seconds) or later.

    By the first record of each file, with room for a clock that was set back a little.
    """
    start, before = 0, 0.0
    for segment in segments(folder):
        moment = first_moment(segment)
        if moment is None or not before <= moment <= since_s - CLOCK_STEP_S:
            # Where a file is older than the one before it, the clock was set back: what follows can be of any time.
            break
        start, before = segment.first, moment
    return start


def find_entry(
    folder: Path,
    *,
    decision: str | None = None,
    trace: str | None = None,
    seq: int | None = None,
    jti: str | None = None,
) -> Entry | None:
    """The latest request of that decision id, trace id, token id or record number; None where there is none.

    A trace can hold several: `find_entries` has all.  `seq` may be the outcome's number, too.  Raises UnreadableLog.
    """
    if seq is not None:
        return _numbered(folder, seq)
    wanted = {"decision": decision, "trace": trace, "jti": jti}
    ((name, value),) = ((name, value) for name, value in wanted.items() if value is not None)
    found = [entry for entry in find_entries(folder, name, value) if getattr(entry, name) == value]
    return found[-1] if found else None


def find_entries(folder: Path, name: str, beginning: str, *, others: frozenset[str] = frozenset()) -> list[Entry]:
    """Every request whose `name` (decision, trace, jti or approval) begins so, in order.

    `others`: further kinds of records in which that stands.  Lines in which it does not are not read: quick, and what is
    wrong with those does not show.
    """
    needles = [f'{before}"{beginning}'.encode() for before in _BEFORE.get(name, (f'"{name}":',))]
    found: dict[int, Entry] = {}
    for segment in segments(folder):
        for record in holding(segment, needles):
            entry, intent = Entry(record), number_of(record, "intent")
            if entry.kind in others:
                found[entry.seq] = entry
            elif entry.kind in REQUESTS and getattr(entry, name).startswith(beginning):
                found[entry.seq] = entry
                if name in _NOT_IN_OUTCOMES:
                    needles.append(f'"decision":"{entry.decision}"'.encode())
            elif entry.kind == Kind.OUTCOME and intent in found and found[intent].outcome is None:
                found[intent] = Entry(found[intent].record, record)
    return list(found.values())


def size_of(folder: Path) -> int:
    """How many records the log has now; also the number of the next one."""
    last = next(_backwards(segments(folder)), None)
    return number_of(last, "seq") + 1 if last is not None else 0


def has_torn_end(folder: Path) -> bool:
    """Whether the log ends amid a record: the gate is writing it just now, or stopped before it was whole."""
    found = segments(folder)
    return bool(found) and ends_amid_line(found[-1])


def _numbered(folder: Path, seq: int) -> Entry | None:
    record = next(read_records(folder, start=seq), None)
    if record is None:
        return None
    entry = Entry(record)
    if entry.kind == Kind.OUTCOME:
        return _numbered(folder, number_of(record, "intent"))
    if entry.kind != Kind.INTENT:
        return entry if entry.kind in REQUESTS else None
    return next((each for each in find_entries(folder, "decision", entry.decision) if each.seq == seq), entry)


class _Late:
    """The outcomes that came so much later than their intents that `join` could not wait; looked for when needed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._found: dict[int, bytes] | None = None

    def __call__(self, intent: int) -> JsonObject | None:
        if self._found is None:
            self._found = dict(self._search(intent))
        line = self._found.pop(intent, None)
        return parsed(line) if line is not None else None

    def _search(self, start: int) -> Iterator[tuple[int, bytes]]:
        for segment in from_record(segments(self._folder), start):
            for line in raw_lines(segment):
                if b'"kind":"outcome"' in line and (record := parsed(line)) is not None:
                    intent = number_of(record, "intent")
                    if number_of(record, "seq") - intent > MAX_WAITING:
                        yield intent, line


def _records(found: list[Segment], start: int) -> Iterator[JsonObject]:
    number = found[0].first if found else 0
    for segment in found:
        check_first(segment, number)
        for record, _ in lines_from(segment, number, 0, is_last=segment is found[-1]):
            number += 1
            if number > start:
                yield record


def _backwards(found: list[Segment]) -> Iterator[JsonObject]:
    """The records of all of the files, the last first."""
    after: int | None = None
    for segment in reversed(found):
        for line in lines_backwards(segment):
            record = parsed(line)
            seq = number_of(record, "seq") if record is not None else -1
            if record is None or (after is not None and seq != after - 1):
                where = "no record" if after is None else f"no record {after - 1}"
                raise UnreadableLog(f"{segment.path}: there is {where} where it should be; {VERIFY}")
            after = seq
            yield record
