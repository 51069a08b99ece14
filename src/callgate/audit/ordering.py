"""Puts records that may have been dropped, moved, swapped or added back into their order.

What comes is compared with the number that is due, and with the line after it: a record that jumps ahead is believed
where the next one goes on from there.  Pure.
"""

from dataclasses import dataclass
from typing import Final

from callgate.audit.findings import Code, Finding, Findings, records
from callgate.audit.headers import Headers
from callgate.audit.history import History
from callgate.audit.read_line import NO_NUMBER, Line, is_hash

# Of stretches that are missing or out of place; past that each is told of as it comes, and not put together.
MAX_STRETCHES: Final = 1000


@dataclass(slots=True)
class _Stretch:
    """Records `first` to `last`: missing before the line, or standing there in a row.  `due`: what should stand there."""

    first: int
    last: int
    file: str
    line: int
    due: int = 0
    words: str = ""


class Order:
    """Takes the lines as they stand, and gives the records to `history` in their order."""

    def __init__(self, history: History, headers: Headers, findings: Findings) -> None:
        self.due = 0
        self._history = history
        self._headers = headers
        self._findings = findings
        self._missing: list[_Stretch] = []
        self._strays: list[_Stretch] = []
        # Lines since the last record that are none: the first of them, and how many.
        self._unreadable: Line | None = None
        self._unreadable_count = 0

    def take(self, line: Line, following: Line | None) -> None:
        """The next line, and the one after it."""
        is_record = line.prev == self._history.hash or is_hash(line.prev)
        is_next = line.seq == self.due and not self._is_better(following, line)
        if is_record and (is_next or (line.seq > self.due and self._is_ahead(line, following))):
            self._accept(line)
            return
        self._headers.lose()
        if not is_record:
            self._unreadable = self._unreadable or line
            self._unreadable_count += 1
        elif line.prev == self._history.hash and (following is None or following.seq != self.due):
            # It follows the last one by its hash, and not by its number.
            text = f"record {self.due} is not what was recorded: it was edited, and has another number"
            self._findings.add(Finding(Code.EDITED, text, self.due, self.due, line.file, line.number))
            self._accept(line._replace(seq=self.due, told=True))
        elif line.seq == self.due - 1:
            self._history.add_rival(line)
        else:
            self._stray(line)

    def end(self) -> None:
        """There are no more lines."""
        unreadable = self._unreadable_count
        self._tell_unreadable(self.due, self.due + unreadable - 1)
        self._history.release()
        moved = self._moved_from_the_end() if not unreadable and self._history.is_short else 0
        self.due += unreadable + moved
        self._history.end(unreadable + moved)
        for stray in self._strays:
            self._tell_stray(stray)
        for each in self._missing:
            self._tell_missing(each)

    def _moved_from_the_end(self) -> int:
        """How many of the last records stand elsewhere: they are not cut off."""
        first = self.due
        due = first
        for stray in sorted(self._strays, key=lambda stray: stray.first):
            if stray.first == due:
                due = stray.last + 1
                self._missing.append(_Stretch(stray.first, stray.last, stray.file, stray.line))
        return due - first

    def _is_better(self, following: Line | None, line: Line) -> bool:
        """Whether the next line has the number that is due, too, and alone names the record before."""
        before = self._history.hash
        return line.prev != before and following is not None and (following.seq, following.prev) == (self.due, before)

    def _is_ahead(self, line: Line, following: Line | None) -> bool:
        if line.prev == self._history.hash:
            return False
        return following is None or following.seq == NO_NUMBER or following.seq > line.seq

    def _accept(self, line: Line) -> None:
        gap = line.seq - self.due
        if self._unreadable is not None:
            self._tell_unreadable(self.due, line.seq - 1)
        elif gap:
            files = self._headers.missing_files(line)
            words = f", and {files} whole file{'s' if files > 1 else ''} with them" if files else ""
            missing = _Stretch(self.due, line.seq - 1, line.file, line.number, words=words)
            if len(self._missing) < MAX_STRETCHES:
                self._missing.append(missing)
            else:
                self._tell_missing(missing)
        self._history.add(line, gap)
        self.due = line.seq + 1

    def _stray(self, line: Line) -> None:
        before = self._strays[-1] if self._strays else None
        if before is not None and before.due == self.due and before.last + 1 == line.seq:
            before.last = line.seq
            return
        stray = _Stretch(line.seq, line.seq, line.file, line.number, self.due)
        if len(self._strays) < MAX_STRETCHES:
            self._strays.append(stray)
        else:
            self._tell(Code.INSERTED, "out of place", stray)

    def _tell_unreadable(self, first: int, last: int) -> None:
        line, count = self._unreadable, self._unreadable_count
        self._unreadable, self._unreadable_count = None, 0
        if line is None:
            return
        lines = "a line that is no record" if count == 1 else f"{count} lines that are no records"
        if last < first:
            text = f"{lines} {'was' if count == 1 else 'were'} put in before record {first}"
            self._findings.add(Finding(Code.INSERTED, text, first, first, line.file, line.number))
        else:
            text = f"{records(first, last)} cannot be read: there {'is' if count == 1 else 'are'} {lines}"
            self._findings.add(Finding(Code.UNREADABLE, text, first, last, line.file, line.number))

    def _tell_stray(self, stray: _Stretch) -> None:
        """Moved, as far as it is missing in its place; put in, as far as it is not."""
        where = f"after record {stray.due - 1}" if stray.due else "before the first record"
        while stray.first <= stray.last:
            gap = next((each for each in self._missing if each.first <= stray.first <= each.last), None)
            later = min((each.first for each in self._missing if each.first > stray.first), default=stray.last + 1)
            last = min(stray.last, gap.last if gap else later - 1)
            part = _Stretch(stray.first, last, stray.file, stray.line, stray.due)
            if gap is None:
                self._tell(Code.INSERTED, f"put in {where}, and {_stands(part)} in the right place, too", part)
            else:
                self._take_out(gap, part)
                self._tell_moved(part, where)
            stray.first = last + 1

    def _take_out(self, gap: _Stretch, part: _Stretch) -> None:
        self._missing.remove(gap)
        for first, last in ((gap.first, part.first - 1), (part.last + 1, gap.last)):
            if first <= last:
                self._missing.append(_Stretch(first, last, gap.file, gap.line))

    def _tell_moved(self, part: _Stretch, where: str) -> None:
        if part.first == part.last == part.due + 1:
            text = f"records {part.due} and {part.first} have changed places"
            self._findings.add(Finding(Code.MOVED, text, part.due, part.first, part.file, part.line))
        else:
            self._tell(Code.MOVED, f"moved: {_stands(part)} {where}", part)

    def _tell_missing(self, gap: _Stretch) -> None:
        is_are = "is" if gap.first == gap.last else "are"
        text = f"{records(gap.first, gap.last)} {is_are} missing{gap.words}"
        self._findings.add(Finding(Code.MISSING, text, gap.first, gap.last, gap.file, gap.line))

    def _tell(self, code: Code, words: str, part: _Stretch) -> None:
        was = "was" if part.first == part.last else "were"
        text = f"{records(part.first, part.last)} {was} {words}"
        self._findings.add(Finding(code, text, part.first, part.last, part.file, part.line))


def _stands(part: _Stretch) -> str:
    return "it stands" if part.first == part.last else "they stand"
