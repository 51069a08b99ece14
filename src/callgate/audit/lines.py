"""The lines of a file that anybody may have written: plain files alone, never more than one line of them in memory."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, TypeAlias

from callgate.errors import GatewayError

# To open a FIFO that nobody writes to would take for ever; a link could lead anywhere.
_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class UnusableInput(GatewayError):  # noqa: N818  # says what the input is
    """What is to be looked at cannot be: there is no log, or a file cannot be read."""


# Its number, from 1; its bytes without the line feed, None for more than allowed; whether it has its line feed.
RawLine: TypeAlias = tuple[int, bytes | None, bool]


@dataclass(frozen=True, slots=True)
class PlainFile:
    """A file, and how many bytes it had when it was looked at: what a gate adds meanwhile is not read."""

    path: Path
    size: int

    def lines(self, max_bytes: int) -> Iterator[RawLine]:
        """Each line in turn; of one with more than `max_bytes` the rest is passed over.  Raises UnusableInput."""
        number, left = 0, self.size
        with _opened(self.path) as file:
            try:
                while left > 0 and (raw := file.readline(min(left, max_bytes + 1))):
                    left -= len(raw)
                    number += 1
                    if raw.endswith(b"\n"):
                        yield number, raw[:-1], True
                    elif len(raw) <= max_bytes:
                        yield number, raw, False
                    else:
                        passed, ended = _pass_over(file, left, max_bytes)
                        left -= passed
                        yield number, None, ended
            except OSError as error:
                raise UnusableInput(f"{self.path} cannot be read: {error.strerror}") from error


def look_at(path: Path) -> PlainFile | None:
    """The file as it is now; None for what is no plain file (a folder, a link, a device).  Raises UnusableInput."""
    try:
        found = path.lstat()
    except OSError as error:
        raise UnusableInput(f"{path} cannot be read: {error.strerror}") from error
    return PlainFile(path, found.st_size) if stat.S_ISREG(found.st_mode) else None


def _pass_over(file: BinaryIO, left: int, step: int) -> tuple[int, bool]:
    """Go on to the end of the line: how many bytes that is, and whether it has an end."""
    passed = 0
    while left > passed and (raw := file.readline(min(left - passed, step))):
        passed += len(raw)
        if raw.endswith(b"\n"):
            return passed, True
    return passed, False


def _opened(path: Path) -> BinaryIO:
    try:
        fd = os.open(path, _FLAGS)
    except OSError as error:
        raise UnusableInput(f"{path} cannot be read: {error.strerror}") from error
    file = os.fdopen(fd, "rb", buffering=1024 * 1024)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        file.close()
        raise UnusableInput(f"{path} is no plain file")
    return file
