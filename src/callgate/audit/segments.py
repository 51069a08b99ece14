"""The files of a log, and the lines in them, from either end."""

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from callgate.audit.chain import MAX_LINE_BYTES, record_in
from callgate.audit.entries import Entry, moment_of
from callgate.audit.places import Places, first_of
from callgate.errors import GatewayError
from callgate.wire.json_strict import JsonObject

# How much is read at once.  More than the longest line, so that each read comes at least to the end of one.
_BLOCK_BYTES: Final = 4 * MAX_LINE_BYTES
# Read from the end, a screenful is a few dozen kilobytes.
_LAST_BLOCK_BYTES: Final = 256 * 1024
VERIFY: Final = "callgate audit verify tells more"


class UnreadableLog(GatewayError):  # noqa: N818  # what it is about is no error of ours
    """There is no log, or what stands at one place of it cannot be a record."""


@dataclass(frozen=True, slots=True)
class Segment:
    """One file, and the number of its first record."""

    first: int
    path: Path


def segments(folder: Path) -> list[Segment]:
    """The files of a log as there are just now, in order.  Raises UnreadableLog where there is no log."""
    log = Path(Places(folder).log)
    try:
        found = [Segment(first, path) for path in log.iterdir() if (first := first_of(path.name)) is not None]
    except OSError as error:
        raise UnreadableLog(f"there is no log to read in {folder}: {log}: {error.strerror}") from error
    return sorted(found, key=lambda segment: segment.first)


def from_record(found: list[Segment], start: int) -> list[Segment]:
    """Those that hold record `start` and what comes after it."""
    skipped = sum(1 for segment in found if segment.first <= start)
    return found[max(0, skipped - 1) :]


def check_first(segment: Segment, number: int) -> None:
    """A file begins with the record that comes after the last one of the file before it."""
    if segment.first < number:
        raise UnreadableLog(f"{segment.path} begins with a record that the file before it holds, too; {VERIFY}")
    if segment.first > number:
        raise UnreadableLog(f"the records {number} to {segment.first - 1} are missing before {segment.path}; {VERIFY}")


def first_moment(segment: Segment) -> float | None:
    """When a file's first record was written, in Unix seconds; None where it holds none yet, or no moment."""
    with _opened(segment.path) as file:
        record = parsed(file.readline(MAX_LINE_BYTES + 1))
    found = moment_of(Entry(record).time_text) if record is not None else None
    return found.timestamp() if found is not None else None


def lines_from(segment: Segment, number: int, offset: int, *, is_last: bool) -> Iterator[tuple[JsonObject, int]]:
    """Each whole record from `offset` (bytes) on, which is where record `number` begins; and where it ends."""
    for block in _blocks(segment, offset):
        *lines, rest = block.split(b"\n")
        for line in lines:
            record = parsed(line)
            if record is None or record.get("seq") != number:
                raise UnreadableLog(f"{segment.path}: there is no record {number} where it should be; {VERIFY}")
            number, offset = number + 1, offset + len(line) + 1
            yield record, offset
        if rest and not is_last:
            raise UnreadableLog(f"{segment.path}: record {number} breaks off, and others follow it; {VERIFY}")


def raw_lines(segment: Segment) -> Iterator[bytes]:
    """The whole lines of one file, unread."""
    for block in _blocks(segment, 0):
        yield from block.split(b"\n")[:-1]


def holding(segment: Segment, needles: Sequence[bytes]) -> Iterator[JsonObject]:
    """The records that have one of these texts in them somewhere; more texts may come up on the way."""
    for block in _blocks(segment, 0):
        if any(needle in block for needle in needles):
            for line in block.split(b"\n")[:-1]:
                if any(needle in line for needle in needles) and (record := parsed(line)) is not None:
                    yield record


def _blocks(segment: Segment, offset: int) -> Iterator[bytes]:
    """The bytes from `offset` on, in blocks that end with a line; the last one ends where the file does."""
    with _opened(segment.path) as file:
        file.seek(offset)
        rest = b""
        while block := file.read(_BLOCK_BYTES):
            end = block.rfind(b"\n") + 1
            if end:
                yield rest + block[:end]
                rest = block[end:]
            else:
                rest += block
            if len(rest) > MAX_LINE_BYTES:
                raise UnreadableLog(f"{segment.path}: a line is longer than a record can be; {VERIFY}")
        if rest:
            yield rest


def lines_backwards(segment: Segment) -> Iterator[bytes]:
    """The lines of one file, the last first."""
    with _opened(segment.path) as file:
        end = file.seek(0, os.SEEK_END)
        # What follows the last line feed is no record yet.
        rest, is_torn = b"", True
        while end:
            begin = max(0, end - _LAST_BLOCK_BYTES)
            file.seek(begin)
            rest, *lines = (file.read(end - begin) + rest).split(b"\n")
            if lines and is_torn:
                lines.pop()
                is_torn = False
            yield from reversed(lines)
            end = begin
            if len(rest) > MAX_LINE_BYTES:
                raise UnreadableLog(f"{segment.path}: a line is longer than a record can be; {VERIFY}")
        if rest and not is_torn:
            yield rest


def ends_amid_line(segment: Segment) -> bool:
    """Whether there is something after the last line feed."""
    with _opened(segment.path) as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 1))
        return size > 0 and file.read(1) != b"\n"


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """Raises UnreadableLog, also for what goes wrong while it is read."""
    try:
        # To open a FIFO that nobody writes to would take for ever.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise UnreadableLog(f"{path} is no plain file; {VERIFY}")
            yield file
    except OSError as error:
        raise UnreadableLog(f"{path} cannot be read: {error.strerror}") from error


def parsed(line: bytes) -> JsonObject | None:
    """The record in a line; None for what is none."""
    return record_in(line)
