"""TLS on a non-blocking socket, a bounded piece at a time.

trio's `SSLStream` keeps the alert of a failed handshake to itself and costs some 20 µs and 9 KiB a connection more;
`ssl.SSLSocket` reads for as long as records come that hold no data, and stops everybody else meanwhile
(docs/adr/0005).  Here OpenSSL works on memory, is given one read of the socket at a time, and what it has to say goes
out even when a handshake fails.

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
# What may come in a row without any data in it: the longest chain of certificates that is accepted fits, and a peer
# that asks for new keys without end (RFC 8446 section 4.6.3) is cut off.
FRUITLESS_BYTES = 64 * 1024

# X509_V_ERR_* of OpenSSL's x509_vfy.h.
_NOT_YET_VALID, _EXPIRED = 9, 10


class _Certificate(Protocol):
    def public_bytes(self, form: int) -> bytes: ...


class FruitlessPeer(OSError):  # noqa: N818  # says what the peer is
    """Much came and no data in it; the connection is of no more use."""


class PlainStream:
    """One TCP connection in the clear, for tool servers on loopback and the admin listener.

    Not for use by two readers, or by two writers, at a time.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._unsent = bytearray()

    async def receive_some(self, max_bytes: int = _READ_BYTES) -> bytes:
        """At least one byte, or b"" at the end.  Raises OSError where the connection broke."""
        while True:
            try:
                return self._socket.recv(max_bytes)
            except BlockingIOError:
                await trio.lowlevel.wait_readable(self._socket)

    def send_now(self, data: bytes) -> bool:
        """Send what goes without waiting, and keep the rest for `flush`; True if there is none.

        Raises OSError where the connection broke.
        """
        if not self._unsent:
            # The usual case, without a copy.
            with contextlib.suppress(BlockingIOError):
                data = data[self._socket.send(data) :]
        self._unsent += data
        return not self._unsent or self._send_some()

    async def flush(self) -> None:
        """Send what is left.  Raises OSError where the connection broke; on cancellation part of it may be sent."""
        while not self._send_some():
            await trio.lowlevel.wait_writable(self._socket)

    async def send_all(self, data: bytes) -> None:
        """Send all of it; as `flush`."""
        if not self.send_now(data):
            await self.flush()

    def is_quiet(self) -> bool:
        """Whether nothing has come in and the peer has not gone: what an idle pooled connection must be."""
        try:
            self._socket.recv(1)
        except BlockingIOError:
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

    def _send_some(self) -> bool:
        with contextlib.suppress(BlockingIOError):
            while self._unsent:
                del self._unsent[: self._socket.send(self._unsent)]
        return not self._unsent


class TlsStream(PlainStream):
    """One TLS connection."""

    def __init__(
        self, sock: socket.socket, context: ssl.SSLContext, *, server_side: bool, hostname: str | None
    ) -> None:
        super().__init__(sock)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=server_side, server_hostname=hostname)
        self._fruitless_bytes = 0

    @classmethod
    def server(cls, sock: socket.socket, context: ssl.SSLContext) -> "TlsStream":
        """On an accepted, non-blocking socket."""
        return cls(sock, context, server_side=True, hostname=None)

    @classmethod
    def client(cls, sock: socket.socket, context: ssl.SSLContext, hostname: str | None) -> "TlsStream":
        """On a connected, non-blocking socket; `hostname` is for SNI and, where the context checks it, the name."""
        return cls(sock, context, server_side=False, hostname=hostname)

    async def handshake(self) -> Refusal | None:
        """Shake hands; a refusal says why it failed, and the peer has been sent its alert.

        On cancellation the connection is of no more use and is to be closed.
        """
        try:
            while not self._shake():
                await self.flush()
                await self._feed()
            await self.flush()
        except (OSError, ValueError) as error:
            with contextlib.suppress(OSError):
                await self.flush()
            return handshake_refusal(error)
        self._fruitless_bytes = 0
        # No ticket was given out, so this cannot happen; a resumed session was never authenticated, so it must not.
        return Refusal(Reason.TLS_SESSION_RESUMED) if self._tls.session_reused else None

    def _shake(self) -> bool:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def peer_chain(self) -> tuple[bytes, ...]:
        """The peer's certificates as sent, DER, leaf first."""
        if hasattr(self._tls, "get_unverified_chain"):  # Python 3.13
            return tuple(self._tls.get_unverified_chain())
        chain = self._tls._sslobj.get_unverified_chain() or ()  # type: ignore[attr-defined]  # noqa: SLF001
        return tuple(cast("_Certificate", certificate).public_bytes(2) for certificate in chain)  # 2: ENCODING_DER

    def tls_attributes(self) -> tuple[str, str]:
        """Protocol version ("1.3") and cipher name."""
        cipher = self._tls.cipher()
        return (self._tls.version() or "").removeprefix("TLSv"), cipher[0] if cipher else ""

    async def receive_some(self, max_bytes: int = _READ_BYTES) -> bytes:
        """At least one byte, or b"" once the peer is done (with or without close_notify: HTTP has its own framing).

        Raises OSError (`ssl.SSLError` is one) where the connection broke, and FruitlessPeer.
        """
        content = self._read(max_bytes)
        while content is None:
            # What OpenSSL answers on its own account goes out as far as it goes; the rest goes before the next answer.
            self._send_some()
            await self._feed()
            content = self._read(max_bytes)
            if content is None:
                # It took work and was no data: the others get their turn before the next piece.
                await trio.lowlevel.checkpoint()
        return content

    def _read(self, max_bytes: int) -> bytes | None:
        try:
            content = self._tls.read(max_bytes)
        except ssl.SSLWantReadError:
            return None
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b""
        self._fruitless_bytes = 0
        return content

    async def _feed(self) -> None:
        """Give OpenSSL one read of the socket."""
        received = await super().receive_some()
        self._fruitless_bytes += len(received)
        if self._fruitless_bytes > FRUITLESS_BYTES:
            raise FruitlessPeer(f"{self._fruitless_bytes} bytes without data")
        if received:
            self._incoming.write(received)
        else:
            self._incoming.write_eof()

    def send_now(self, data: bytes) -> bool:
        """Send what goes without waiting, and keep the rest for `flush`; True if there is none.

        Raises OSError where the connection broke.
        """
        rest = memoryview(data)
        while rest:
            rest = rest[self._tls.write(rest) :]
        return super().send_now(self._outgoing.read())

    def is_quiet(self) -> bool:
        """Whether no data has come in and the peer has not gone: what an idle pooled connection must be."""
        try:
            received = self._socket.recv(_READ_BYTES)
        except BlockingIOError:
            return True
        except OSError:
            return False
        # A session ticket may have come, which is no data.
        self._incoming.write(received)
        try:
            return bool(received) and self._read(1) is None
        except OSError:
            return False

    async def aclose(self) -> None:
        """Say close_notify, swallow for at most `LINGER_S` what is still on its way, and close."""
        with contextlib.suppress(OSError, ValueError):
            self._tls.unwrap()
        with contextlib.suppress(OSError):
            self._send_some()
        await super().aclose()

    def _send_some(self) -> bool:
        if self._outgoing.pending:
            self._unsent += self._outgoing.read()
        return super()._send_some()


Stream = TlsStream | PlainStream


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
    swallowed = 0
    while swallowed < LINGER_BYTES:
        try:
            received = len(sock.recv(_READ_BYTES))
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
