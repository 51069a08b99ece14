"""The end of the log on disk: what it takes to add to it so that it survives a power failure.

Blocking, and for one thread.  A write that failed may have left part of itself behind: the next one cuts that off and
writes anew from where the log was last known to be whole.
"""

import errno
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from callgate.errors import GatewayError

_MODE: Final = 0o600
_FLAGS: Final = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
# A checkpoint is a few hundred bytes.
_LAST_LINE_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Piece:
    """Lines of one segment, and at which of its bytes they begin."""

    segment: str
    offset: int
    lines: bytes


class Gap(GatewayError):  # noqa: N818  # says what is wrong
    """Records are missing before those that are to be written: a fault in the gate's own code."""


class SegmentWriter:
    """Writes segments in `folder`, one after the other.

    `segment` and `size` are the last one and how many of its bytes are whole and durable; "" where there is none.
    """

    def __init__(self, folder: Path, segment: str = "", size: int = 0) -> None:
        self._folder = folder
        self._segment = segment
        self._size = size
        self._fd = -1
        # Whether the file ends exactly after what is durable.
        self._is_clean = False

    def append(self, pieces: tuple[Piece, ...]) -> None:
        """Make the pieces durable, in order.  Raises OSError; called again with the same ones, it goes on from there."""
        for piece in pieces:
            if piece.segment > self._segment:
                self.close()
                self._segment, self._size = piece.segment, 0
            if piece.segment < self._segment or piece.offset < self._size:
                # Durable already.
                continue
            if piece.offset > self._size:
                raise Gap(
                    f"{piece.segment}: {self._size} bytes are whole, and {piece.offset} are to be before the next"
                )
            self._write(piece.lines)

    def look(self) -> None:
        """Is what was written still where others find it?  Raises OSError for a segment that was deleted or moved."""
        if not self._segment:
            return
        try:
            if self._fd < 0:
                # It was not there before, or could not be written to.
                self._reopen()
            if not os.path.samestat(os.fstat(self._fd), os.lstat(self._folder / self._segment)):
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self._segment)
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the file."""
        fd, self._fd, self._is_clean = self._fd, -1, False
        if fd >= 0:
            # Closed even where that fails, and its number soon somebody else's; what counts was synced before.
            with suppress(OSError):
                os.close(fd)

    def _write(self, lines: bytes) -> None:
        if not self._is_clean:
            self._reopen()
        self._is_clean = False
        at, rest = self._size, memoryview(lines)
        while rest:
            written = os.pwrite(self._fd, rest, at)
            at, rest = at + written, rest[written:]
        os.fdatasync(self._fd)
        self._size, self._is_clean = at, True

    def _reopen(self) -> None:
        """What was not known to be durable is written again: after a failed sync the kernel may have dropped it."""
        self.close()
        # One that should be there is not made anew: what it held would be zeros.
        self._fd = os.open(self._folder / self._segment, _FLAGS if self._size else _FLAGS | os.O_CREAT, _MODE)
        if os.fstat(self._fd).st_size < self._size:
            raise OSError(errno.ENODATA, os.strerror(errno.ENODATA), self._segment)
        os.ftruncate(self._fd, self._size)
        if not self._size:
            sync_folder(self._folder)


def sync_folder(folder: Path) -> None:
    """Make the names in it durable.  Raises OSError."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def replace_file(path: Path, content: bytes) -> None:
    """Put `content` in place of a file, durably, whole or not at all.  Raises OSError."""
    beside = path.with_name(f"{path.name}.new")
    with suppress(FileNotFoundError):
        beside.unlink()
    fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, _MODE)
    try:
        write_whole(fd, content)
        os.fdatasync(fd)
    finally:
        os.close(fd)
    beside.replace(path)
    sync_folder(path.parent)


def add_line(path: Path, line: bytes) -> None:
    """Add a line to a file; part of one that an earlier fault left at its end is taken off first.  Raises OSError."""
    fd = os.open(path, _FLAGS | os.O_CREAT | os.O_APPEND, _MODE)
    try:
        size = os.fstat(fd).st_size
        tail = os.pread(fd, _LAST_LINE_BYTES, max(0, size - _LAST_LINE_BYTES))
        if not tail.endswith(b"\n"):
            os.ftruncate(fd, size - len(tail) + tail.rfind(b"\n") + 1)
        write_whole(fd, line)
    finally:
        os.close(fd)


def write_whole(fd: int, content: bytes) -> None:
    """Write all of it, however many writes that takes.  Raises OSError."""
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(fd, rest) :]
