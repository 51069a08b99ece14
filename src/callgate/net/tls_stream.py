"""TLS straight on a non-blocking socket.

trio's `SSLStream` keeps the alert of a failed handshake to itself and costs some 20 µs and 9 KiB a connection more
(docs/adr/0005).  Here OpenSSL writes to the socket, so a refused peer is told why.

Unlike trio's own streams, `receive_some` and `send_all` are checkpoints only where they have to wait.
"""

import contextlib
import socket
import ssl
from typing import Protocol, cast

import trio

from callgate.errors import Reason, Refusal

# How long, and for how many bytes, a closing connection still swallows what the peer has already sent: closing a
# socket with unread bytes sends RST, which can overtake the answer (RFC 9112 section 9.6).
LINGER_S = 1.0
LINGER_BYTES = 256 * 1024
_READ_BYTES = 16 * 1024

# X509_V_ERR_* of OpenSSL's x509_vfy.h.
_NOT_YET_VALID, _EXPIRED = 9, 10


class _Certificate(Protocol):
    def public_bytes(self, form: int) -> bytes: ...


class _SocketStream:
    """What a connection does alike with TLS and without.  Not for use by two readers, or by two writers, at a time."""

    # What the socket raises where it would have to wait.
    _want_read: type[OSError] = BlockingIOError
    _want_write: type[OSError] = BlockingIOError

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._waiting_to_write = trio.Lock()

    def send_now(self, data: bytes) -> memoryview:
        """Send what goes without waiting; returns the rest."""
        rest = memoryview(data)
        with contextlib.suppress(self._want_write):
            while rest:
                rest = rest[self._socket.send(rest) :]
        return rest

    async def send_all(self, data: bytes | memoryview) -> None:
        """Send all of it.  Raises OSError where the connection broke; on cancellation part of it may be sent."""
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[self._socket.send(rest) :]
            except self._want_write:
                await self._wait_writable()

    async def _wait_writable(self) -> None:
        """For the writer, and for the reader of a peer that asks for new keys and takes nothing off the line.

        RFC 8446 section 4.6.3: such a KeyUpdate has to be answered before anything else is written.  The two may wait
        at the same time, and trio lets only one task wait for a socket.
        """
        async with self._waiting_to_write:
            await trio.lowlevel.wait_writable(self._socket)

    def is_quiet(self) -> bool:
        """Whether nothing has come in and the peer has not gone: what an idle pooled connection must be."""
        try:
            self._socket.recv(1)
        except self._want_read:
            return True
        except OSError:
            return False
        return False

    def close_now(self) -> None:
        """Close without a word."""
        self._socket.close()

    async def aclose(self) -> None:
        """Swallow for at most `LINGER_S` what is still on its way, and close."""
        await linger(self._socket)


class TlsStream(_SocketStream):
    """One TLS connection."""

    _want_read = ssl.SSLWantReadError
    _want_write = ssl.SSLWantWriteError
    _socket: ssl.SSLSocket

    def __init__(self, sock: ssl.SSLSocket) -> None:
        super().__init__(sock)

    @classmethod
    def server(cls, sock: socket.socket, context: ssl.SSLContext) -> "TlsStream":
        """Wrap an accepted, non-blocking socket."""
        return cls(_wrap(sock, context, server_side=True))

    @classmethod
    def client(cls, sock: socket.socket, context: ssl.SSLContext, hostname: str | None) -> "TlsStream":
        """Wrap a connected, non-blocking socket; `hostname` is for SNI and, where the context checks it, the name."""
        return cls(_wrap(sock, context, hostname=hostname))

    async def handshake(self) -> Refusal | None:
        """Shake hands; a refusal says why it failed, and the peer has been sent its alert.

        On cancellation the connection is of no more use and is to be closed.
        """
        while True:
            try:
                self._socket.do_handshake()
            except ssl.SSLWantReadError:
                await trio.lowlevel.wait_readable(self._socket)
            except ssl.SSLWantWriteError:
                await trio.lowlevel.wait_writable(self._socket)
            except (OSError, ValueError) as error:
                return handshake_refusal(error)
            else:
                return self._resumption()

    def _resumption(self) -> Refusal | None:
        # No ticket was given out, so this cannot happen; a resumed session was never authenticated, so it must not.
        return Refusal(Reason.TLS_SESSION_RESUMED) if self._socket.session_reused else None

    def peer_chain(self) -> tuple[bytes, ...]:
        """The peer's certificates as sent, DER, leaf first."""
        if hasattr(self._socket, "get_unverified_chain"):  # Python 3.13
            return tuple(self._socket.get_unverified_chain())
        chain = self._socket._sslobj.get_unverified_chain() or ()  # type: ignore[attr-defined]  # noqa: SLF001
        return tuple(cast("_Certificate", certificate).public_bytes(2) for certificate in chain)  # 2: ENCODING_DER

    def tls_attributes(self) -> tuple[str, str]:
        """Protocol version ("1.3") and cipher name."""
        cipher = self._socket.cipher()
        return (self._socket.version() or "").removeprefix("TLSv"), cipher[0] if cipher else ""

    async def receive_some(self, max_bytes: int = _READ_BYTES) -> bytes:
        """At least one byte, or b"" once the peer is done (with or without close_notify: HTTP has its own framing).

        Raises OSError (`ssl.SSLError` is one) where the connection broke.
        """
        while True:
            try:
                return self._socket.recv(max_bytes)
            except ssl.SSLWantReadError:
                await trio.lowlevel.wait_readable(self._socket)
            except ssl.SSLWantWriteError:
                await self._wait_writable()
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                return b""

    async def aclose(self) -> None:
        """Say close_notify, swallow for at most `LINGER_S` what is still on its way, and close."""
        with contextlib.suppress(OSError, ValueError):
            self._socket.unwrap()
        await super().aclose()


class PlainStream(_SocketStream):
    """One TCP connection in the clear, for tool servers on loopback and the admin listener."""

    async def receive_some(self, max_bytes: int = _READ_BYTES) -> bytes:
        """At least one byte, or b"" at the end.  Raises OSError where the connection broke."""
        while True:
            try:
                return self._socket.recv(max_bytes)
            except BlockingIOError:
                await trio.lowlevel.wait_readable(self._socket)


Stream = TlsStream | PlainStream


def _wrap(
    sock: socket.socket, context: ssl.SSLContext, *, server_side: bool = False, hostname: str | None = None
) -> ssl.SSLSocket:
    # Raises where the peer has hung up already.  So would the next line, but only after it has taken the socket over,
    # which then stays open until it is collected.
    sock.getpeername()
    return context.wrap_socket(
        sock,
        server_side=server_side,
        server_hostname=hostname,
        do_handshake_on_connect=False,
        suppress_ragged_eofs=False,
    )


async def linger(sock: socket.socket) -> None:
    """Send FIN, read until the peer's (bounded in time and bytes), close.  Shielded: a close is never left half done."""
    try:
        with contextlib.suppress(OSError, ValueError):
            sock.shutdown(socket.SHUT_WR)
            with trio.CancelScope(shield=True, deadline=trio.current_time() + LINGER_S):
                await _swallow(sock)
    finally:
        sock.close()


async def _swallow(sock: socket.socket) -> None:
    # socket.socket.recv: below TLS, since nothing of it is read any more.
    swallowed = 0
    while swallowed < LINGER_BYTES:
        try:
            received = len(socket.socket.recv(sock, _READ_BYTES))
        except BlockingIOError:
            await trio.lowlevel.wait_readable(sock)
            continue
        if not received:
            return
        swallowed += received


def handshake_refusal(error: Exception) -> Refusal:
    """Which of our reasons a failed handshake is."""
    detail = getattr(error, "reason", None) or type(error).__name__
    if isinstance(error, ssl.SSLCertVerificationError):
        reason = {
            _EXPIRED: Reason.TLS_CERTIFICATE_EXPIRED,
            _NOT_YET_VALID: Reason.TLS_CERTIFICATE_NOT_YET_VALID,
        }.get(error.verify_code, Reason.TLS_CERTIFICATE_UNTRUSTED)
        return Refusal(reason, error.verify_message)
    reason = {
        "PEER_DID_NOT_RETURN_A_CERTIFICATE": Reason.TLS_NO_CERTIFICATE,
        "UNSUPPORTED_PROTOCOL": Reason.TLS_PROTOCOL_VERSION,
    }.get(str(detail), Reason.TLS_HANDSHAKE_FAILED)
    return Refusal(reason, str(detail))
