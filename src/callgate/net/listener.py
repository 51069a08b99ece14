"""Accepting connections: bounded in number, and alive through a shortage of file descriptors."""

import errno
import logging
import math
import socket
from collections.abc import Awaitable, Callable

import trio

from callgate.addresses import Address

_LOG = logging.getLogger(__name__)
_BACKLOG = 1024
# Without a file descriptor to spare, accept() fails at once and for as long as that lasts; trio waits as long.
_SHORTAGE_PAUSE_S = 0.1
# A shortage lasts as long as an attack does: one line of log a minute says as much as ten a second.
_LOG_PAUSE_S = 60.0
_SHORTAGES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})


class Listener:
    """One listening TCP socket.  Bound by `open`, before anything is served, so that a taken port fails at start."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._closed = trio.CancelScope()
        self._silent_until = -math.inf

    @classmethod
    async def open(cls, host: str, port: int) -> "Listener":
        """Bind and listen.  Raises OSError where the address cannot be had.  Port 0 takes a free one."""
        found = await trio.socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_NUMERICSERV
        )
        family, kind, protocol, _, address = found[0]
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.setblocking(False)
            sock.bind(address)
            sock.listen(_BACKLOG)
        except BaseException:
            sock.close()
            raise
        return cls(sock)

    @property
    def address(self) -> Address:
        """Where it listens; the port that was taken, if 0 was asked for."""
        host, port = self._socket.getsockname()[:2]
        return Address(host, port)

    async def serve(self, nursery: trio.Nursery, accepted: Callable[[socket.socket, Address], Awaitable[None]]) -> None:
        """Accept until `close`; each connection is a task of `nursery`, which must outlive this call.

        `accepted` owns the socket and must not raise.
        """
        with self._closed:
            while True:
                sock, address = await self._accept()
                nursery.start_soon(accepted, sock, address)
                # A flood can keep the queue full: those who were accepted, and the limits on them, get their turn.
                await trio.lowlevel.checkpoint()

    async def _accept(self) -> tuple[socket.socket, Address]:
        while True:
            try:
                sock, address = self._socket.accept()
                sock.setblocking(False)
                # On some systems this fails for a peer that has gone already.
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            except BlockingIOError:
                await trio.lowlevel.wait_readable(self._socket)
            except OSError as error:
                if error.errno not in _SHORTAGES:
                    # The connection died in the queue (accept(2)): the next one is as good as any.
                    await trio.lowlevel.checkpoint()
                    continue
                self._complain(error)
                await trio.sleep(_SHORTAGE_PAUSE_S)
            else:
                return sock, Address(address[0], address[1])

    def _complain(self, error: OSError) -> None:
        now = trio.current_time()
        if now >= self._silent_until:
            self._silent_until = now + _LOG_PAUSE_S
            _LOG.warning("cannot accept connections: %s", error.strerror)

    def close(self) -> None:
        """Stop accepting, at once; connections that were accepted go on."""
        self._closed.cancel()
        self._socket.close()
