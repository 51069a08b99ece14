"""A disk that fails as a test says: what the system's calls do to the segments of logs, or other files alone.

disk = FailingDisk(monkeypatch)
disk.fail(errno.ENOSPC)          # each write, until disk.mend()
disk.tear(100, errno.EIO)        # the next write: so many bytes of it, and then that
disk.lose()                      # the next fdatasync fails, and what was not durable is gone
with disk.hanging(): ...         # no fdatasync comes back
"""

import errno
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

_PWRITE: Final = os.pwrite
_FDATASYNC: Final = os.fdatasync
# A hang that a test forgot to end.
_TOO_LONG_S: Final = 60.0


class FailingDisk:
    """`syncs`: how many came back well; `durable`: how many bytes each file had then."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: str = "log") -> None:
        self._folder = f"/{folder}/"
        self.syncs = 0
        self.durable: dict[str, int] = {}
        self._write: Callable[[int, bytes, int], int] = _PWRITE
        self._sync: Callable[[int], None] = _FDATASYNC
        self._go_on = threading.Event()
        self._go_on.set()
        self.waiting = threading.Event()
        monkeypatch.setattr(os, "pwrite", self._pwrite)
        monkeypatch.setattr(os, "fdatasync", self._fdatasync)

    def mend(self) -> None:
        """From now on all is well."""
        self._write, self._sync = _PWRITE, _FDATASYNC
        self._go_on.set()

    def fail(self, number: int) -> None:
        """No write is taken."""

        def write(_fd: int, _octets: bytes, _offset: int) -> int:
            raise OSError(number, os.strerror(number))

        self._write = write

    def fill_up(self, room: int) -> None:
        """There is room for so many bytes, then ENOSPC; the last write is cut short, as a real one is."""
        left = [room]

        def write(fd: int, octets: bytes, offset: int) -> int:
            if not left[0]:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            written = _PWRITE(fd, bytes(octets)[: left[0]], offset)
            left[0] -= written
            return written

        self._write = write

    def tear(self, count: int, number: int) -> None:
        """Of the next write so many bytes, and then an error."""

        def write(fd: int, octets: bytes, offset: int) -> int:
            _PWRITE(fd, bytes(octets)[:count], offset)
            self._write = _PWRITE
            raise OSError(number, os.strerror(number))

        self._write = write

    def lose(self, number: int = errno.EIO) -> None:
        """The next fdatasync fails, and the kernel takes what was written for written: a second one would succeed."""

        def sync(fd: int) -> None:
            self._sync = _FDATASYNC
            size = os.fstat(fd).st_size
            durable = self.durable.get(_path(fd), 0)
            _PWRITE(fd, b"\0" * (size - durable), durable)
            raise OSError(number, os.strerror(number))

        self._sync = sync

    def fail_syncs(self, number: int) -> None:
        """No fdatasync comes back well."""

        def sync(_fd: int) -> None:
            raise OSError(number, os.strerror(number))

        self._sync = sync

    def hang(self) -> None:
        """No fdatasync comes back before `mend`."""
        self.waiting.clear()
        self._go_on.clear()

    def go_on(self) -> None:
        """The end of `hang`, and of nothing else."""
        self._go_on.set()

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """The same, for as long as this lasts."""
        self.hang()
        try:
            yield
        finally:
            self.mend()

    def _is_ours(self, fd: int) -> bool:
        return self._folder in _path(fd)

    def _pwrite(self, fd: int, octets: bytes, offset: int) -> int:
        return self._write(fd, octets, offset) if self._is_ours(fd) else _PWRITE(fd, octets, offset)

    def _fdatasync(self, fd: int) -> None:
        if not self._is_ours(fd):
            _FDATASYNC(fd)
            return
        if not self._go_on.is_set():
            self.waiting.set()
            assert self._go_on.wait(_TOO_LONG_S), "nobody let it go on"
        self._sync(fd)
        self.syncs += 1
        self.durable[_path(fd)] = os.fstat(fd).st_size


def _path(fd: int) -> str:
    return str(Path(f"/proc/self/fd/{fd}").readlink())
