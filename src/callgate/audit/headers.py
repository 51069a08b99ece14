"""What records say of the log itself: the head of each file, and which calls are under way there.  Pure."""

from collections.abc import Iterator
from typing import Final

from callgate.audit.chain import NO_RECORD, Kind
from callgate.audit.findings import Code
from callgate.audit.merkle import Tree
from callgate.audit.places import segment_name
from callgate.audit.read_line import Line, format_fault
from callgate.wire.json_strict import JsonObject

# A gate has a few thousand calls under way at the most; a log that somebody made up could have no outcomes at all.
MAX_OPEN: Final = 100_000
# As plain text: they are compared with those of every record.
_SEGMENT: Final = Kind.SEGMENT.value
_INTENT: Final = Kind.INTENT.value
_OUTCOME: Final = Kind.OUTCOME.value


class Headers:
    """Follows the records in their order, and says of each what it gets wrong."""

    def __init__(self, origin: str) -> None:
        self._origin = origin
        # The number of the last file; None after records that are missing.
        self._segment: int | None = -1
        # Intents without an outcome by their numbers; None where that cannot be known until the next file begins.
        self._open: dict[int, object] | None = {}

    def lose(self) -> None:
        """Something before the next record is not as it was: what was counted up to here, lines too, says nothing."""
        self._open, self._segment = None, None

    def missing_files(self, line: Line) -> int:
        """How many files are missing before this record, which begins one; 0 where that cannot be told."""
        number = line.record.get("segment")
        if line.record.get("kind") != Kind.SEGMENT or not isinstance(number, int) or self._segment is None:
            return 0
        return max(0, number - self._segment - 1)

    def faults(self, line: Line, gap: int) -> list[tuple[Code, str]]:
        """What is wrong with the next record, before which `gap` are missing: nothing that its hash tells."""
        kind = line.record.get("kind")
        if gap:
            self.lose()
        is_head = kind == _SEGMENT or line.number == 1
        found = [(Code.HEADER, fault) for fault in self._head_faults(line)] if is_head else []
        if fault := format_fault(line.record):
            found.append((Code.FORMAT, fault))
        if not line.is_as_written:
            found.append((Code.FORMAT, "is not written as a gate writes: another tool may read something else in it"))
        if line.seq == 0 and line.prev != NO_RECORD:
            found.append((Code.FORMAT, "is the first and names one before it"))
        if kind == _INTENT and self._open is not None:
            self._open[line.seq] = line.record.get("decision")
            if len(self._open) > MAX_OPEN:
                self._open = None
        elif kind == _OUTCOME and self._open is not None and not _closes(line.record, self._open):
            found.append((Code.FORMAT, "closes a call that is not under way, or is of another decision than the call"))
        return found

    def _head_faults(self, line: Line) -> Iterator[str]:
        record, number = line.record, line.record.get("segment")
        if record.get("kind") != Kind.SEGMENT:
            # Where its head is missing, that is told.
            if self._segment is not None:
                yield "begins a file and is not its head"
            return
        if line.number != 1 and self._segment is not None:
            yield "is the head of a file, and stands within one"
        elif not line.file.endswith(segment_name(line.seq)):
            yield "is not the one that its file is named after"
        if record.get("origin") != self._origin:
            yield "names another log than the key does"
        expected = None if self._segment is None else self._segment + 1
        if type(number) is not int or number < 0 or expected not in {None, number}:
            yield "does not number its file as the next one"
        self._segment = number if expected is None and type(number) is int else expected
        if tree_of(line) is None:
            yield "does not say what the tree is over the records before it"
        yield from self._open_faults(line)

    def _open_faults(self, line: Line) -> Iterator[str]:
        said = _open_of(line)
        if said is None:
            yield "does not list the calls that are under way"
        elif self._open is not None and said != self._open:
            yield "lists other calls under way than the records before it"
        if self._open is None:
            self._open = said


def _closes(record: JsonObject, open_intents: dict[int, object]) -> bool:
    """Take the call out that an outcome is about; whether it was there."""
    intent = record.get("intent")
    if type(intent) is not int or intent not in open_intents:
        return False
    return open_intents.pop(intent) == record.get("decision")


def tree_of(line: Line) -> Tree | None:
    """The tree over all records before the head of a file; None where it does not say."""
    peaks = line.record.get("peaks")
    try:
        return Tree(line.seq, [bytes.fromhex(str(peak)) for peak in peaks]) if isinstance(peaks, list) else None
    except ValueError:
        return None


def _open_of(line: Line) -> dict[int, object] | None:
    said = line.record.get("open")
    if not isinstance(said, list) or len(said) > MAX_OPEN:
        return None
    found: dict[int, object] = {}
    for each in said:
        if not isinstance(each, list) or len(each) != 2 or type(each[0]) is not int:
            return None
        found[each[0]] = each[1]
    return found
