"""Lock files on disk."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final

import trio

from callgate.screening.pins import MAX_LOCK_BYTES, BadLock, Lock, read_lock, write_lock

_LOG: Final = logging.getLogger(__name__)
# Approving is a person's doing: a second is soon enough.
LOOK_S: Final = 1.0


def load_lock(path: Path, server: str) -> Lock:
    """The lock file of one server.  Raises BadLock with a whole sentence."""
    try:
        with path.open("rb") as file:
            # One byte more than may be: enough to be refused as too large.
            data = file.read(MAX_LOCK_BYTES + 1)
    except (OSError, ValueError) as error:
        raise BadLock(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    try:
        lock = read_lock(data)
    except BadLock as fault:
        raise BadLock(f"{path} {fault}") from None
    if lock.server != server:
        raise BadLock(f"{path} is the lock file of another server than '{server}'")
    return lock


def save_lock(path: Path, lock: Lock) -> None:
    """Write it whole or not at all.  Raises OSError."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    unfinished.write_bytes(write_lock(lock))
    unfinished.replace(path)


class LockSource:
    """One server's lock file, followed while the gate runs; the last good one counts where the file is broken."""

    def __init__(self, path: Path, server: str) -> None:
        """Read it.  Raises BadLock: a gate that was told of a lock file does not start without it."""
        self._path = path
        self._server = server
        self._seen = _look_of(path)
        self._lock = load_lock(path, server)
        self.problem = ""

    def current(self) -> Lock:
        """What is approved as of now."""
        return self._lock

    async def run(self, on_change: Callable[[], None]) -> None:
        """Follow the file until cancelled.  `on_change` is called whenever another lock is in force."""
        while True:
            await trio.sleep(LOOK_S)
            if await trio.to_thread.run_sync(self._look):
                on_change()

    def _look(self) -> bool:
        """Whether another lock is in force than before."""
        before, seen = self._lock, _look_of(self._path)
        if seen == self._seen:
            return False
        try:
            self._lock = load_lock(self._path, self._server)
        except BadLock as fault:
            self.problem = f"{fault}; the last good one is in force"
            _LOG.warning("lock file: %s", self.problem)
        else:
            self.problem = ""
            _LOG.info("lock file: %s is in force", self._path)
        self._seen = seen
        return self._lock is not before


def _look_of(path: Path) -> tuple[int, int, int] | None:
    """What tells one state of the file from another; a ConfigMap's link is followed to what it points to."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
