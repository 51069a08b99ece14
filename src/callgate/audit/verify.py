"""Is a log what the gate wrote?  Reads it once from its first record to its last, in the memory of a few lines.

What it takes: the log's folder, the verifier key, and checkpoints that were kept elsewhere.  What it needs from the
gate, its disk or this program's authors: nothing (docs/reference/audit.md says how to do the same with other tools).
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from callgate.audit.chain import MAX_LINE_BYTES
from callgate.audit.checkpoint import MAX_UNSIGNED, VerifierKey
from callgate.audit.findings import Code, Finding, Findings
from callgate.audit.headers import Headers
from callgate.audit.history import Covered, History
from callgate.audit.lines import PlainFile, UnusableInput, look_at
from callgate.audit.ordering import Order
from callgate.audit.places import Places, first_of
from callgate.audit.read_line import Line, read_line
from callgate.audit.signed import CheckpointSource
from callgate.telemetry.visible import visible

_NAME_CHARS: Final = 100
# Often enough to be seen to move, and a hundredth of the time.
_PROGRESS_LINES: Final = 5_000
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found.

    `records`: how many were read; `size`: how many there should be, by their numbers.  `first_time`, `last_time`: of the
    first and the last of them as they say it, "" where they do not.  `more`: findings that were only counted.
    """

    records: int
    size: int
    segments: int
    first_time: str
    last_time: str
    covered: Covered
    findings: tuple[Finding, ...]
    more: int
    remarks: tuple[Finding, ...]

    @property
    def is_whole(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings


def verify(
    folder: Path,
    key: VerifierKey,
    kept: Sequence[Path] = (),
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> Verdict:
    """Look at all of it.  `kept`: files of checkpoints; `progress`: bytes read, and bytes in all.

    Blocks.  What a gate writes meanwhile is left out.  Raises UnusableInput.
    """
    findings = Findings()
    checkpoints = CheckpointSource(folder, kept, key, findings)
    lines = _Lines(folder, findings, progress)
    headers = Headers(key.origin)
    history = History(iter(checkpoints), headers, findings)
    order = Order(history, headers, findings)
    for line, following in _in_pairs(iter(lines)):
        order.take(line, following)
    order.end()
    _tell_the_rest(findings, history)
    return Verdict(
        history.count,
        order.due,
        len(lines.files),
        *lines.times,
        history.covered,
        findings.findings(),
        findings.more,
        findings.remarks(),
    )


class _Lines:
    """The lines of all files, in the order of their names."""

    def __init__(self, folder: Path, findings: Findings, progress: Callable[[int, int], None]) -> None:
        self._findings = findings
        self._progress = progress
        self.files = list(self._found(Path(Places(folder).log)))
        self.times = ("", "")

    def __iter__(self) -> Iterator[Line]:
        size, done = sum(file.size for file in self.files), 0
        first = last = None
        for file in self.files:
            name = str(file.path)
            number = 0
            for number, octets, ended in file.lines(MAX_LINE_BYTES):
                if not ended and self._is_torn(file, number):
                    break
                last = read_line(name, number, octets)
                first = first or last
                done += len(octets or b"") + 1
                if not number % _PROGRESS_LINES:
                    self._progress(done, size)
                yield last
            if not number:
                self._tell_empty(file)
        self._progress(size, size)
        self.times = (_time_of(first), _time_of(last))

    def _found(self, log: Path) -> Iterator[PlainFile]:
        try:
            names = sorted(path.name for path in log.iterdir())
        except OSError as error:
            raise UnusableInput(f"there is no log to read: {log}: {error.strerror}") from error
        for name in names:
            found = look_at(log / name) if first_of(name) is not None else None
            if found is not None:
                yield found
            elif first_of(name) is not None:
                text = "this is no plain file, and was not read"
                self._findings.add(Finding(Code.NOT_A_FILE, text, file=str(log / name)))
            else:
                text = f"'{visible(name, _NAME_CHARS)}' is no file of the log, and was not read"
                self._findings.add(Finding(Code.OTHER_FILE, text, file=str(log)))

    def _is_torn(self, file: PlainFile, number: int) -> bool:
        """A line without an end is no record at the end of the log; elsewhere its line feed was taken away."""
        if file is self.files[-1]:
            text = "the last line has no end: it was being written, and is not part of the log"
            self._findings.add(Finding(Code.TORN, text, file=str(file.path), line=number))
            return True
        text = "the last line of this file has no end, and there are files after it"
        self._findings.add(Finding(Code.FORMAT, text, file=str(file.path), line=number))
        return False

    def _tell_empty(self, file: PlainFile) -> None:
        if file is self.files[-1]:
            self._findings.add(Finding(Code.TORN, "this file was begun, and nothing is in it", file=str(file.path)))
        else:
            self._findings.add(Finding(Code.NO_RECORDS, "there is nothing in this file", file=str(file.path)))


def _in_pairs(lines: Iterator[Line]) -> Iterator[tuple[Line, Line | None]]:
    line = next(lines, None)
    while line is not None:
        following = next(lines, None)
        yield line, following
        line = following


def _tell_the_rest(findings: Findings, history: History) -> None:
    covered, rest = history.covered, history.uncovered
    if covered.unchecked:
        what = "checkpoint falls" if covered.unchecked == 1 else "checkpoints fall"
        text = f"{covered.unchecked} {what} into a stretch where records are missing, and could not be checked"
        findings.add(Finding(Code.UNCHECKED, text))
    if findings.counts[Code.CUT_OFF]:
        return
    if rest and not covered.seen:
        findings.add(Finding(Code.UNSIGNED, "no checkpoint is about any of the records: nothing is proved"))
    elif rest > MAX_UNSIGNED:
        text = f"the last {rest} records are under no checkpoint: no gate leaves so many behind"
        findings.add(Finding(Code.UNSIGNED, text, covered.seen, covered.seen + rest - 1))
    elif rest:
        text = f"not yet under a checkpoint: {rest}"
        findings.add(Finding(Code.OPEN_END, text, covered.seen, covered.seen + rest - 1))


def _time_of(line: Line | None) -> str:
    time = line.record.get("time") if line is not None else None
    return time if isinstance(time, str) and _TIME.fullmatch(time) else ""
