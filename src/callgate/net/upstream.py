"""Tool servers: pooled connections, and one exchange at a time on each.

A call is never sent twice.  An idle connection is looked at before it is used again, and one that misbehaved in any
way is closed; what fails after that is the caller's to repeat, because only the caller knows whether it may.
"""

import errno
import ipaddress
import os
import socket
import ssl
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from urllib.parse import SplitResult, urlsplit

import trio

from callgate.errors import Reason, Refusal
from callgate.identity.spiffe_id import SpiffeId
from callgate.identity.trust import Peer, X509Context, still_trusted, verify_peer
from callgate.net.tls_context import web_context, workload_context
from callgate.net.tls_stream import PlainStream, Stream, TlsStream
from callgate.wire.http1 import RESPONSE_LIMITS, HttpLimits, ResponseHead
from callgate.wire.http1_client import ResponseReader, encode_request


@dataclass(frozen=True, slots=True)
class UpstreamLimits:
    """How long to wait for a connection, and how long to keep one.

    `idle_s` is below the five seconds after which common Python servers hang up on an idle connection.  `age_s`: a
    server known by Web PKI is looked at again, and a name that moved is followed.  `lookups`: a resolver that hangs
    keeps this many threads, and no other server's.
    """

    connect_s: float = 5.0
    idle_s: float = 4.0
    age_s: float = 600.0
    idle_connections: int = 32
    lookups: int = 4


@dataclass(frozen=True, slots=True)
class ToolServer:
    """Where a tool server is, and who it must prove to be.

    `identity`: its SPIFFE ID, or None for Web PKI.  `url` with the scheme http is for loopback alone.
    """

    name: str
    url: str
    identity: SpiffeId | None
    limits: UpstreamLimits = field(default_factory=UpstreamLimits)
    response: HttpLimits = RESPONSE_LIMITS


@dataclass(slots=True)
class _Link:
    """One connection to the tool server.  `leaf_sha256`: of the SVID it was made with (None without mTLS)."""

    stream: Stream
    leaf_sha256: bytes | None
    peer: Peer | None
    opened: float
    idle_since: float = 0.0


class Exchange:
    """One request and its answer on one connection.  Always `release` it."""

    def __init__(self, upstream: "Upstream", link: _Link) -> None:
        self._upstream = upstream
        self._link = link
        self._reader = ResponseReader(upstream.server.response)
        self._started = False
        # True where part of the request was never sent.
        self._sending = False

    @property
    def peer(self) -> Peer | None:
        """The tool server's verified identity, where it has one."""
        return self._link.peer

    async def send(self, headers: Sequence[tuple[str, str]], body: bytes) -> ResponseHead | Refusal:
        """POST `body`, and wait for the head of the answer."""
        self._started = True
        target, host = self._upstream.target, self._upstream.host
        try:
            sent = self._link.stream.send_now(encode_request("POST", target, host, headers, body))
        except OSError:
            # It may have answered early and hung up (413, 401): what it said counts.
            self._sending = True
            return await self._head()
        return await (self._head() if sent else self._head_while_sending())

    async def _head_while_sending(self) -> ResponseHead | Refusal:
        # RFC 9112, 9.5: "A client sending a message body SHOULD monitor the open connection for an error response
        # while it is transmitting the message.  [...] it SHOULD immediately cease transmitting the body".
        self._sending = True
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._send_rest)
            head = await self._head()
            if isinstance(head, Refusal) or head.status >= 300:
                nursery.cancel_scope.cancel()
        return head

    async def _send_rest(self) -> None:
        with suppress(OSError):
            await self._link.stream.flush()
            self._sending = False

    async def _head(self) -> ResponseHead | Refusal:
        while (head := self._reader.head()) is None:
            if isinstance(lost := await self._receive(), Refusal):
                return lost
        return head

    async def next_piece(self) -> bytes | Refusal | None:
        """The next bytes of the body, None at its end."""
        while True:
            piece = self._reader.body()
            if piece:
                return piece
            if isinstance(piece, Refusal):
                return piece
            if self._reader.done:
                return None
            # `receive_some` does not wait while there is something to read: a tool server that never pauses would
            # keep every other call waiting, and this one from its deadline.
            await trio.lowlevel.checkpoint()
            if isinstance(lost := await self._receive(), Refusal):
                return lost

    async def read_all(self, max_bytes: int) -> bytes | Refusal:
        """The whole body, at most `max_bytes`."""
        body = bytearray()
        while (piece := await self.next_piece()) is not None:
            if isinstance(piece, Refusal):
                return piece
            body += piece
            if len(body) > max_bytes:
                return Refusal(Reason.UPSTREAM_TOO_LARGE, f"more than {max_bytes} bytes")
        return bytes(body)

    async def _receive(self) -> Refusal | None:
        try:
            received = await self._link.stream.receive_some()
        except OSError as error:
            return Refusal(Reason.UPSTREAM_CLOSED, type(error).__name__)
        self._reader.receive(received)
        return None

    def release(self) -> None:
        """Keep the connection for the next call, or close it if this one did not end cleanly."""
        if not self._started or (self._reader.reusable and not self._sending):
            self._upstream.keep(self._link)
        else:
            self._link.stream.close_now()


class Upstream:
    """One tool server's connections."""

    def __init__(
        self, server: ToolServer, identity: Callable[[], X509Context | None], wall_clock: Callable[[], float]
    ) -> None:
        self.server = server
        url = urlsplit(server.url)
        self._url = url
        self._identity = identity
        self._wall_clock = wall_clock
        self._idle: deque[_Link] = deque()
        # Its own: a lookup that hangs keeps its place even when nobody waits for it any more.
        self._lookups = trio.CapacityLimiter(server.limits.lookups)
        self._web: ssl.SSLContext | None = None
        self._workload: tuple[X509Context, ssl.SSLContext] | None = None
        self.target = url.path or "/"
        self.host = url.netloc

    @property
    def address(self) -> tuple[str, int]:
        """Host name and port, as configured."""
        return _address(self._url)

    def binding(self) -> X509Context | None:
        """The identity the next connection will present, None where the leg has no client certificate.

        Taken before the token is minted and given to `open`, so that `cnf` names the certificate that is used.
        """
        return self._identity() if self.server.identity is not None else None

    async def open(self, identity: X509Context | None) -> Exchange | Refusal:
        """A connection to the tool server, from the pool or new, with `identity` as given by `binding`."""
        while self._idle:
            link = self._idle.pop()
            if self._is_usable(link, identity):
                return Exchange(self, link)
            link.stream.close_now()
        with trio.move_on_after(self.server.limits.connect_s):
            link_or_refusal = await self._connect(identity)
            return link_or_refusal if isinstance(link_or_refusal, Refusal) else Exchange(self, link_or_refusal)
        return Refusal(Reason.UPSTREAM_TIMEOUT, f"no connection within {self.server.limits.connect_s:g} s")

    def keep(self, link: _Link) -> None:
        """Take a connection back into the pool."""
        link.idle_since = trio.current_time()
        self._idle.append(link)
        if len(self._idle) > self.server.limits.idle_connections:
            self._idle.popleft().stream.close_now()

    def close(self) -> None:
        """Close what is idle."""
        while self._idle:
            self._idle.pop().stream.close_now()

    def _is_usable(self, link: _Link, identity: X509Context | None) -> bool:
        now, limits = trio.current_time(), self.server.limits
        if now - link.idle_since > limits.idle_s or now - link.opened > limits.age_s:
            return False
        if link.leaf_sha256 != _leaf(identity):
            return False
        if link.peer is not None and identity is not None:
            verdict = still_trusted(link.peer, identity.bundles, self._wall_clock())
            if isinstance(verdict, Refusal):
                return False
            link.peer = verdict
        return link.stream.is_quiet()

    async def _connect(self, identity: X509Context | None) -> _Link | Refusal:
        sock = await _connect_tcp(self._url, self._lookups)
        if isinstance(sock, Refusal):
            return sock
        try:
            link = await self._secure(sock, identity)
        except BaseException:
            sock.close()
            raise
        if isinstance(link, Refusal):
            sock.close()
        return link

    async def _secure(self, sock: socket.socket, identity: X509Context | None) -> _Link | Refusal:
        if self._url.scheme == "http":
            return _Link(PlainStream(sock), None, None, trio.current_time())
        if self.server.identity is None:
            self._web = self._web or web_context()
            return await self._shake_hands(sock, self._web, None)
        if identity is None:
            return Refusal(Reason.IDENTITY_UNAVAILABLE, "no SVID to present to the tool server")
        context = self._workload_context(identity, self.server.identity)
        if isinstance(context, Refusal):
            return context
        return await self._shake_hands(sock, context, identity)

    def _workload_context(self, identity: X509Context, expected: SpiffeId) -> ssl.SSLContext | Refusal:
        bundle = identity.bundles.get(expected.trust_domain)
        if bundle is None:
            return Refusal(Reason.UPSTREAM_IDENTITY, f"no bundle for {expected.trust_domain}")
        if self._workload is None or self._workload[0] is not identity:
            self._workload = (identity, workload_context(identity, bundle))
        return self._workload[1]

    async def _shake_hands(
        self, sock: socket.socket, context: ssl.SSLContext, identity: X509Context | None
    ) -> _Link | Refusal:
        try:
            stream = TlsStream.client(sock, context, self._url.hostname)
        except OSError as error:
            return Refusal(Reason.UPSTREAM_CLOSED, f"before the handshake: {type(error).__name__}")
        try:
            failed = await stream.handshake()
            peer = None if failed else self._verify(stream, identity)
        except BaseException:
            stream.close_now()
            raise
        if failed or isinstance(peer, Refusal):
            stream.close_now()
            why = peer if isinstance(peer, Refusal) else failed
            return Refusal(Reason.UPSTREAM_IDENTITY, f"{why.reason}: {why.detail}" if why else "")
        return _Link(stream, _leaf(identity), peer, trio.current_time())

    def _verify(self, stream: TlsStream, identity: X509Context | None) -> Peer | Refusal | None:
        if identity is None or self.server.identity is None:
            return None
        peer = verify_peer(stream.peer_chain(), identity.bundles, self._wall_clock())
        if isinstance(peer, Peer) and peer.id != self.server.identity:
            return Refusal(Reason.UNEXPECTED_SPIFFE_ID, f"it is {peer.id}")
        return peer


def _leaf(identity: X509Context | None) -> bytes | None:
    return None if identity is None else identity.svid.leaf_sha256


def _address(url: SplitResult) -> tuple[str, int]:
    return url.hostname or "", url.port or (443 if url.scheme == "https" else 80)


async def _connect_tcp(url: SplitResult, lookups: trio.CapacityLimiter) -> socket.socket | Refusal:
    look_up = partial(socket.getaddrinfo, *_address(url), type=socket.SOCK_STREAM)
    try:
        found = await trio.to_thread.run_sync(look_up, abandon_on_cancel=True, limiter=lookups)
    except OSError as error:
        return Refusal(Reason.UPSTREAM_UNREACHABLE, f"name not resolved: {error.strerror}")
    why = "no address"
    for family, kind, protocol, _, address in found:
        # The name may have changed its mind since the start (DNS rebinding): what is connected to is what counts.
        if url.scheme == "http" and not ipaddress.ip_address(address[0]).is_loopback:
            why = "plain http to an address that is not loopback"
            continue
        try:
            sock = socket.socket(family, kind, protocol)
        except OSError as error:
            # The gate has no file descriptor left.
            return Refusal(Reason.UPSTREAM_UNREACHABLE, f"no socket: {error.strerror}")
        attempt = await _connect_one(sock, address)
        if isinstance(attempt, socket.socket):
            return attempt
        why = attempt
    return Refusal(Reason.UPSTREAM_UNREACHABLE, why)


async def _connect_one(sock: socket.socket, address: tuple[object, ...]) -> socket.socket | str:
    try:
        sock.setblocking(False)
        code = sock.connect_ex(address)
        if code == errno.EINPROGRESS:
            await trio.lowlevel.wait_writable(sock)
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            sock.close()
            return os.strerror(code)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError as error:
        sock.close()
        return error.strerror or type(error).__name__
    except BaseException:
        sock.close()
        raise
    return sock
