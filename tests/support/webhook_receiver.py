"""A receiver of HTTP POSTs on a loopback socket, with answers at will; it keeps what came.

async with Receiver.open() as receiver:
    receiver.answers = [answer(500), answer(204)]
    await receiver.came(2)
"""

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Self

import trio


@dataclass(frozen=True)
class Received:
    """One request; header names in lower case.  `at`: seconds of trio's clock."""

    path: str
    headers: dict[str, str]
    body: bytes
    at: float


def answer(status: int, *lines: str, body: bytes = b"") -> bytes:
    """A whole response; `lines` are header lines."""
    head = [f"HTTP/1.1 {status} Said", f"Content-Length: {len(body)}", "Connection: close", *lines]
    return "\r\n".join([*head, "", ""]).encode() + body


@dataclass
class Receiver:
    """`answers`: one for each request, the last for all that follow; b"" hangs up.  `held`: wait for it before answering.

    `reply` decides instead where it is set.  `endless`: never stop sending the body.
    """

    port: int
    scheme: str
    received: list[Received] = field(default_factory=list)
    answers: list[bytes] = field(default_factory=lambda: [answer(204)])
    reply: Callable[[Received], bytes] | None = None
    held: trio.Event | None = None
    endless: bool = False
    at_once: int = 0
    most_at_once: int = 0
    _more: trio.Event = field(default_factory=trio.Event)

    @property
    def url(self) -> str:
        return f"{self.scheme}://localhost:{self.port}/hook"

    async def came(self, times: int) -> list[Received]:
        """What came, once there were so many."""
        while len(self.received) < times:
            await self._more.wait()
        return self.received

    @classmethod
    @asynccontextmanager
    async def open(cls, tls: ssl.SSLContext | None = None) -> AsyncIterator[Self]:
        async with trio.open_nursery() as nursery:
            listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
            port = listeners[0].socket.getsockname()[1]
            receiver = cls(port, "http" if tls is None else "https")
            nursery.start_soon(trio.serve_listeners, partial(receiver._serve, tls), listeners)
            yield receiver
            nursery.cancel_scope.cancel()

    async def _serve(self, tls: ssl.SSLContext | None, tcp: trio.SocketStream) -> None:
        stream: trio.abc.Stream = tcp if tls is None else trio.SSLStream(tcp, tls, server_side=True)
        async with tcp:
            try:
                await self._answer(stream)
            except (trio.BrokenResourceError, trio.ClosedResourceError, ssl.SSLError):
                # A client that does not trust it, or that has read enough.
                return

    async def _answer(self, stream: trio.abc.Stream) -> None:
        found = await _read(stream)
        if found is None:
            return
        self.received.append(found)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self._more.set()
        self._more = trio.Event()
        try:
            if self.held is not None:
                await self.held.wait()
            said = self._said(found)
        finally:
            self.at_once -= 1
        await stream.send_all(said)
        while self.endless:
            await stream.send_all(b"x" * 65536)

    def _said(self, found: Received) -> bytes:
        if self.reply is not None:
            return self.reply(found)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


async def _read(stream: trio.abc.Stream) -> Received | None:
    octets = bytearray()
    while b"\r\n\r\n" not in octets:
        if not (piece := await stream.receive_some()):
            return None
        octets += piece
    head, _, body = bytes(octets).partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    while len(body) < int(headers.get("content-length", "0")):
        if not (piece := await stream.receive_some()):
            return None
        body += piece
    return Received(first.split(" ")[1], headers, body, trio.current_time())
