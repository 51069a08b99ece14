"""The tree over the records, followed through a log that may have been changed, and held against checkpoints.

Where a record does not have the hash that the next one names, either may be the one that was edited.  Each such reading
of the log gets a tree of its own, which goes on with the hash that it takes for the true one; the next checkpoint tells
which it was.  So a record that was edited is found as that, and all the others are still proved.  Pure.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from callgate.audit.chain import NO_RECORD, Kind
from callgate.audit.checkpoint import MAX_SIZE
from callgate.audit.findings import Code, Finding, Findings, records
from callgate.audit.headers import Headers, tree_of
from callgate.audit.merkle import Tree
from callgate.audit.read_line import Line
from callgate.audit.readings import Reading
from callgate.audit.signed import Signed

# Two for each pair of neighbours that do not fit, until the next checkpoint; where every record is edited the first,
# which believes what records say of those before them, is the true one.
MAX_READINGS: Final = 4
# Of records that claim the same number; whoever adds more of them gets less exact an answer.
MAX_RIVALS: Final = 16
# As plain text: it is compared with that of every record.
_SEGMENT: Final = Kind.SEGMENT.value


@dataclass(slots=True)
class Covered:
    """What checkpoints have confirmed.

    `size`: the records up to there are those that were signed; `kept`: by a checkpoint that was kept elsewhere; `seen`:
    the size of the last checkpoint over records that are there, whether it fits or not.
    `checked`, `checked_kept`: how many fitted; `unchecked`: how many fell into a stretch where records are missing.
    """

    size: int = 0
    kept: int = 0
    seen: int = 0
    checked: int = 0
    checked_kept: int = 0
    unchecked: int = 0


class History:
    """Takes the records in their order.

    The last one is held back until the next has named it.  `hash`: its hash in hex; `count`: how many have come.
    """

    def __init__(self, checkpoints: Iterator[Signed], headers: Headers, findings: Findings) -> None:
        self.hash = NO_RECORD
        self.count = 0
        self._count_at_checkpoint = 0
        self.covered = Covered()
        self._checkpoints = checkpoints
        self._headers = headers
        self._findings = findings
        self._size = 0
        self._held: Line | None = None
        self._faults: list[tuple[Code, str]] = []
        self._rivals: list[Line] = []
        self._readings = [Reading(Tree())]
        self._refuted: Signed | None = None
        self._due = next(checkpoints, None)
        self._due_size = -1
        self._check()

    def add(self, line: Line, gap: int) -> None:
        """The next record, before which `gap` are missing."""
        held = self._held
        if held is not None and line.prev == self.hash and self._is_plain and not gap:
            self._append(held.leaf)
        elif held is not None:
            self._settle(held, line, gap)
        if gap:
            self._skip(line, gap)
        if line.record.get("kind") == _SEGMENT:
            self._take_peaks(line)
        self._faults = self._headers.faults(line, gap)
        self._held, self.hash = line, line.leaf.hex()
        self.count += 1

    def add_rival(self, line: Line) -> None:
        """Another record with the number of the last one: the next record tells which of them is the true one."""
        if len(self._rivals) < MAX_RIVALS:
            self._rivals.append(line)
        else:
            self._findings.add(_inserted(line))

    @property
    def _is_plain(self) -> bool:
        """Whether there is nothing to be said of the last record: so it is with nearly all."""
        return not self._faults and not self._rivals and len(self._readings) == 1

    @property
    def uncovered(self) -> int:
        """How many have come after the last checkpoint."""
        return self.count - self._count_at_checkpoint

    @property
    def is_short(self) -> bool:
        """Whether there is a checkpoint over more records than have come."""
        return self._due is not None

    def release(self) -> None:
        """No record names the last one."""
        held, self._held = self._held, None
        if held is None:
            return
        if not self._rivals:
            self._take(held)
            return
        # Only a checkpoint can tell which of them it is.
        lines = [held, *self._rivals]
        chosen = []
        for line in lines:
            others = [_inserted(each) for each in lines if each is not line]
            chosen += [(each.fork(*others), line.leaf) for each in self._readings]
        self._read_as(chosen)

    def end(self, unknown: int) -> None:
        """There are no more records, but for so many in the end that are not known.  After `release`."""
        if unknown:
            self._lose(unknown)
        self._readings[0].tell(self._findings)
        if self._refuted is not None:
            self._findings.add(self._rewritten(self._refuted.size, self._refuted))
        self._tell_what_is_cut_off()

    def _settle(self, held: Line, line: Line, gap: int) -> None:
        """The last record is now known by what the next one says of it."""
        if gap or line.prev == self.hash:
            if self._rivals:
                self._drop_rivals(None)
            if len(self._readings) > 1 and not gap:
                self._readings = [each for each in self._readings if each.doubt != held.seq] or self._readings
            self._take(held)
            return
        true = next((rival for rival in self._rivals if rival.leaf.hex() == line.prev), None)
        self._drop_rivals(true)
        self._headers.lose()
        if true is not None:
            self._findings.add(_inserted(held))
            self._append(true.leaf)
        else:
            self._read_both_ways(held, line)

    def _take(self, held: Line) -> None:
        """Nothing speaks against it."""
        if not held.told:
            for code, fault in self._faults:
                self._findings.add(_finding(code, f"record {held.seq} {fault}", held))
        self._append(held.leaf)

    def _read_both_ways(self, held: Line, line: Line) -> None:
        """The next record names another hash: this one was edited, or that one in what it names."""
        named = bytes.fromhex(line.prev)
        edited, misnaming = (
            _finding(Code.EDITED, f"record {each.seq} is not what was recorded: it was edited", each)
            for each in (held, line)
        )
        believing, doubting = [], []
        for each in self._readings:
            is_known = held.told or each.doubt == held.seq
            believing.append((each.fork(*(() if is_known else (edited,))), named))
            if not is_known:
                doubting.append((each.fork(misnaming, doubt=line.seq), held.leaf))
        self._read_as([*believing, *doubting])

    def _read_as(self, readings: list[tuple[Reading, bytes]]) -> None:
        """Go on with these, and the hash that each takes for the next one."""
        chosen = readings[:MAX_READINGS]
        for reading, leaf in chosen:
            if reading.tree is not None:
                reading.tree.append(leaf)
        self._readings = [reading for reading, _ in chosen]
        self._advance(1)

    def _append(self, leaf: bytes) -> None:
        for reading in self._readings:
            if reading.tree is not None:
                reading.tree.append(leaf)
        self._advance(1)

    def _skip(self, line: Line, gap: int) -> None:
        """One record that is missing is known by the hash that the next one names; several are not."""
        if gap == 1:
            self._append(bytes.fromhex(line.prev))
        else:
            self._lose(gap)

    def _lose(self, gap: int) -> None:
        self._readings = self._readings[:1]
        self._readings[0].tree = None
        self._advance(gap)

    def _take_peaks(self, line: Line) -> None:
        """The head of a file says what the tree is, which is needed where it was lost."""
        said = tree_of(line)
        if said is None:
            return
        known = [each.tree for each in self._readings if each.tree is not None]
        if not known:
            self._readings[0].tree, self._readings[0].since = said, self._size
        elif all(tree.peaks != said.peaks for tree in known):
            text = f"record {line.seq} says that the tree over the records before it is another than it is"
            for each in self._readings:
                each.note(_finding(Code.HEADER, text, line))
            replacing = Reading(said, self._size, replaces=True)
            self._readings = [*self._readings[: MAX_READINGS - 1], replacing]

    def _advance(self, number: int) -> None:
        self._size += number
        if self._size >= self._due_size:
            self._check()

    def _check(self) -> None:
        """Hold the tree against the checkpoints that are due."""
        found: dict[bytes, Signed] = {}
        while self._due is not None and self._due.size <= self._size:
            self.covered.seen = self._due.size
            self._count_at_checkpoint = self.count
            if self._due.size < self._size or all(each.tree is None for each in self._readings):
                self.covered.unchecked += 1
            else:
                found[self._due.root] = self._due
                self._hold_against(self._due)
            self._due = next(self._checkpoints, None)
        self._due_size = self._due.size if self._due is not None else MAX_SIZE + 1
        if len(found) > 1:
            *_, signed = found.values()
            text = f"two checkpoints over {signed.size} records are signed and differ: the log has two histories"
            self._findings.add(Finding(Code.FORKED, text, signed.size - 1, signed.size - 1, signed.file, signed.line))

    def _hold_against(self, signed: Signed) -> None:
        fitting = [each for each in self._readings if each.tree is not None and each.tree.root() == signed.root]
        if fitting:
            self._confirm(signed, fitting[0])
        elif self._refuted is None and self.covered.size < max(signed.size, 1):
            self._refuted = signed

    def _confirm(self, signed: Signed, reading: Reading) -> None:
        refuted = self._refuted
        if refuted is not None and reading.since < refuted.size < signed.size:
            self._findings.add(_forked(refuted))
        elif reading.replaces or (refuted is not None and refuted.size < signed.size):
            self._findings.add(self._rewritten(reading.since, refuted or signed))
        reading.tell(self._findings)
        reading.replaces = False
        self._readings, self._refuted = [reading], None
        covered = self.covered
        covered.size = signed.size
        covered.checked += 1
        if signed.kept:
            covered.kept = signed.size
            covered.checked_kept += 1

    def _rewritten(self, size: int, signed: Signed) -> Finding:
        first = self.covered.size
        last = max(first, min(size, signed.size) - 1)
        one = "is not what was signed" if first == last else "are not what was signed: at least one of them was changed"
        text = f"{records(first, last)} {one}, and the hashes after it were made anew"
        return Finding(Code.REWRITTEN, text, first, last, signed.file, signed.line)

    def _tell_what_is_cut_off(self) -> None:
        largest = self._due
        while self._due is not None:
            largest = self._due
            self._due = next(self._checkpoints, None)
        if largest is not None:
            ends = f"ends after {self._size} records" if self._size else "has no records"
            text = f"the log {ends}, and a signed checkpoint says that there were {largest.size}: its end is cut off"
            self._findings.add(Finding(Code.CUT_OFF, text, self._size, largest.size - 1, largest.file, largest.line))

    def _drop_rivals(self, true: Line | None) -> None:
        for rival in self._rivals:
            if rival is not true:
                self._findings.add(_inserted(rival))
        self._rivals.clear()


def _finding(code: Code, text: str, line: Line) -> Finding:
    return Finding(code, text, line.seq, line.seq, line.file, line.number)


def _inserted(line: Line) -> Finding:
    return _finding(Code.INSERTED, f"a second record {line.seq} was put in here", line)


def _forked(signed: Signed) -> Finding:
    text = f"this checkpoint over {signed.size} records is signed, and it is of another history than those around it"
    return Finding(Code.FORKED, text, signed.size - 1, signed.size - 1, signed.file, signed.line)
