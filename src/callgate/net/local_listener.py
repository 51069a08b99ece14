"""Accepting connections from this machine, where the kernel tells which user is at the other end."""

import contextlib
import fcntl
import os
import socket
import stat
import struct
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trio

from callgate.errors import GatewayError

_BACKLOG: Final = 64
# As long as file descriptors lack; nothing tells when one is free.
_SHORTAGE_PAUSE_S: Final = 0.1
# Another gate that starts holds the lock for a millisecond; together these are one second.
_LOCK_TRIES: Final = 100
_LOCK_PAUSE_S: Final = 0.01
# unix(7): sun_path has 108 bytes, and the last is NUL.
MAX_PATH_BYTES: Final = 107
# struct ucred of socket(7), SO_PEERCRED: pid_t, uid_t, gid_t.
_CREDENTIALS: Final = struct.Struct("iII")


class CannotListenLocally(GatewayError):  # noqa: N818  # says what cannot be done
    """There can be no socket at that path; the message says why."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who was at the other end when it connected, as the kernel says.  `uid` is the effective one."""

    pid: int
    uid: int
    gid: int


Accepted = Callable[[socket.socket, Credentials], Awaitable[None]]


class LocalListener:
    """One listening UNIX socket, at a path that is removed when it closes."""

    def __init__(self, sock: socket.socket, path: Path) -> None:
        self.path = path
        self._socket = sock
        self._closed = trio.CancelScope()
        made = path.lstat()
        self._file = (made.st_dev, made.st_ino)

    @classmethod
    def open(cls, path: Path, *, shared: bool = False) -> "LocalListener":
        """Bind and listen.  `shared`: any user may connect, and is told apart by `Credentials`; else this one alone.

        What an earlier process left there is replaced where nobody listens any more.  Raises CannotListenLocally.
        """
        if len(os.fsencode(path)) > MAX_PATH_BYTES:
            raise CannotListenLocally(f"the path of a socket has at most {MAX_PATH_BYTES} bytes: {path}")
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            with _only_one_starts(path.parent):
                _remove_stale(path)
                _bind(sock, path, 0o666 if shared else 0o600)
                return cls(sock, path)
        except BaseException as error:
            sock.close()
            if isinstance(error, OSError):
                raise CannotListenLocally(f"cannot listen at {path}: {error.strerror or error}") from error
            raise

    async def serve(self, nursery: trio.Nursery, accepted: Accepted) -> None:
        """Accept until `close`; each connection is a task of `nursery`, which must outlive this call.

        `accepted` owns the socket and must not raise.
        """
        with self._closed:
            while True:
                sock = await self._accept()
                nursery.start_soon(accepted, sock, _credentials(sock))
                # Those who were accepted, and the limits on them, get their turn.
                await trio.lowlevel.checkpoint()

    async def _accept(self) -> socket.socket:
        while True:
            try:
                sock, _ = self._socket.accept()
            except BlockingIOError:
                await trio.lowlevel.wait_readable(self._socket)
            except OSError:
                # Without a file descriptor to spare it fails at once, and for as long as that lasts.
                await trio.sleep(_SHORTAGE_PAUSE_S)
            else:
                sock.setblocking(False)
                return sock

    def close(self) -> None:
        """Stop accepting, at once; connections that were accepted go on.  Removes the path if it is still this socket."""
        self._closed.cancel()
        with contextlib.suppress(OSError):
            found = self.path.lstat()
            if (found.st_dev, found.st_ino) == self._file:
                self.path.unlink()
        self._socket.close()


def _credentials(sock: socket.socket) -> Credentials:
    return Credentials(*_CREDENTIALS.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)))


@contextlib.contextmanager
def _only_one_starts(folder: Path) -> Iterator[None]:
    """Of two processes that find a stale socket, the second would remove the first one's new one."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _lock(opened, folder)
        yield
    finally:
        os.close(opened)


def _lock(opened: int, folder: Path) -> None:
    """Whoever may read a folder can lock it, and must not hold up the start for ever."""
    for _ in range(_LOCK_TRIES):
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_LOCK_PAUSE_S)
        else:
            return
    raise CannotListenLocally(f"another process holds a lock on {folder}, where the socket is to be")


def _remove_stale(path: Path) -> None:
    """Make room for a new socket.  Raises CannotListenLocally where what is there is not for us to remove."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode) or found.st_uid != os.geteuid():
        raise CannotListenLocally(
            f"something else than a socket of this user is at {path}; remove it, or choose another"
        )
    if _is_listening(path):
        raise CannotListenLocally(f"another process listens at {path}")
    path.unlink()


def _is_listening(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        # A full queue is somebody's, too.
        probe.setblocking(False)
        try:
            probe.connect(os.fsencode(path))
        except ConnectionRefusedError:
            return False
        except BlockingIOError:
            return True
    return True


def _bind(sock: socket.socket, path: Path, mode: int) -> None:
    """unix(7): the file gets what the umask leaves; a chmod afterwards would come too late for one who is quick."""
    before = os.umask(0o777 & ~mode)
    try:
        sock.bind(os.fsencode(path))
    finally:
        os.umask(before)
    sock.listen(_BACKLOG)
