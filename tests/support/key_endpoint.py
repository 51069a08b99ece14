"""An issuer's metadata and keys on a socket, with faults at will; it counts what it is asked.

async with KeyEndpoint.open(jwks_of(key)) as endpoint, verifying(endpoint) as verifier:
    found = await verifier.verify(token, LEAF, NOW)
"""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Final

import orjson
import trio

from callgate.users.discovery import IssuerSettings
from callgate.users.issuers import UserVerifier
from callgate.users.key_source import KeyLimits, KeysEvent
from support.user_tokens import RULES

KEYS: Final = "/keys"
OPENID: Final = "/.well-known/openid-configuration"
OAUTH: Final = "/.well-known/oauth-authorization-server"
HERE: Final = Path()


def answer(body: bytes, *more: str, status: str = "200 OK") -> bytes:
    """A whole response; `more` are header lines."""
    lines = [f"HTTP/1.1 {status}", "Content-Type: application/json", f"Content-Length: {len(body)}", *more]
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode() + body


NOT_FOUND: Final = answer(b"", status="404 Not Found")


@dataclass
class KeyEndpoint:
    """`answers`: what stands at each path, b"" to hang up at once; what stands nowhere is not found.

    `held`: paths whose answers, though they are decided at once, wait for an event.
    """

    port: int
    scheme: str
    answers: dict[str, bytes] = field(default_factory=dict)
    held: dict[str, trio.Event] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    heads: list[bytes] = field(default_factory=list)
    _more: trio.Event = field(default_factory=trio.Event)

    @property
    def issuer(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def url(self, path: str) -> str:
        return f"{self.issuer}{path}"

    def publish(self, octets: bytes, *headers: str) -> None:
        """These keys from now on."""
        self.answers[KEYS] = answer(octets, *headers)

    def times(self, path: str = KEYS) -> int:
        return self.asked.count(path)

    async def was_asked(self, times: int, path: str = KEYS) -> None:
        """Return when it was asked for that so many times."""
        while self.times(path) < times:
            await self._more.wait()

    @classmethod
    @asynccontextmanager
    async def open(cls, jwks: bytes = b"", tls: ssl.SSLContext | None = None) -> AsyncIterator["KeyEndpoint"]:
        """An issuer with metadata and these keys."""
        async with trio.open_nursery() as nursery:
            listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
            port = listeners[0].socket.getsockname()[1]
            endpoint = cls(port, "http" if tls is None else "https")
            metadata = {"issuer": endpoint.issuer, "jwks_uri": endpoint.url(KEYS)}
            endpoint.answers[OPENID] = answer(orjson.dumps(metadata))
            endpoint.publish(jwks)
            nursery.start_soon(trio.serve_listeners, partial(endpoint._serve, tls), listeners)
            yield endpoint
            nursery.cancel_scope.cancel()

    async def _serve(self, tls: ssl.SSLContext | None, tcp: trio.SocketStream) -> None:
        stream: trio.abc.Stream = tcp if tls is None else trio.SSLStream(tcp, tls, server_side=True)
        async with tcp:
            try:
                await self._answer(stream)
            except (trio.BrokenResourceError, ssl.SSLError):
                # A client that found no reason to trust it, or that has read enough.
                return

    async def _answer(self, stream: trio.abc.Stream) -> None:
        head = bytearray()
        while b"\r\n\r\n" not in head:
            if not (received := await stream.receive_some()):
                return
            head += received
        path = head.split(b" ", 2)[1].decode()
        self.asked.append(path)
        self.heads.append(bytes(head))
        self._more.set()
        self._more = trio.Event()
        reply = self.answers.get(path, NOT_FOUND)
        if path in self.held:
            await self.held[path].wait()
        await stream.send_all(reply)


@dataclass
class Told:
    """What a verifier told of its keys."""

    events: list[tuple[KeysEvent, str]] = field(default_factory=list)
    _more: trio.Event = field(default_factory=trio.Event)

    def hear(self, event: KeysEvent, detail: str) -> None:
        self.events.append((event, detail))
        self._more.set()
        self._more = trio.Event()

    async def heard(self, event: KeysEvent, times: int = 1) -> str:
        """The detail of the last such event, once there were so many."""
        while len(found := [detail for kind, detail in self.events if kind is event]) < times:
            await self._more.wait()
        return found[-1]


def settings_of(endpoint: KeyEndpoint, **changes: object) -> IssuerSettings:
    return replace(IssuerSettings(replace(RULES, issuer=endpoint.issuer)), **changes)  # type: ignore[arg-type]


@asynccontextmanager
async def verifying(
    endpoint: KeyEndpoint,
    settings: IssuerSettings | None = None,
    *,
    told: Told | None = None,
    limits: KeyLimits | None = None,
    folder: Path = HERE,
) -> AsyncIterator[UserVerifier]:
    """A running verifier that trusts this one issuer."""
    verifier = UserVerifier([settings or settings_of(endpoint)], folder, (told or Told()).hear, limits)
    async with trio.open_nursery() as nursery:
        await nursery.start(verifier.run)
        yield verifier
        nursery.cancel_scope.cancel()
