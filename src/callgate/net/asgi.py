"""An ASGI 3 application (asgi.readthedocs.io, HTTP & WebSocket specification) served over our own connections.

The strict HTTP profile and its limits stay in front: an application sees only requests that were read whole.  It is not
cancelled when the client goes away, as ASGI has it: what it began to do for a person, it finishes.
"""

import logging
import math
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any, Final, TypeAlias
from urllib.parse import unquote_to_bytes

import trio

from callgate.addresses import Address
from callgate.errors import GatewayError, Reason, place_of
from callgate.net.connection import ClientLost, Connection
from callgate.wire.http1 import RawRequest

_LOG = logging.getLogger(__name__)
# ASGI's own types: "events are dictionaries".
Message: TypeAlias = MutableMapping[str, Any]
Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
AsgiApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

# 2.3: what is sent to a client that has gone is dropped, and the application learns of it from `receive`.
_VERSION: Final = {"version": "3.0", "spec_version": "2.3"}
# How a message is framed is for the connection to say, whatever the application thinks.
_OURS_TO_SAY: Final = frozenset(
    {b"connection", b"content-length", b"keep-alive", b"trailer", b"transfer-encoding", b"upgrade"}
)
_FAULT_HEADERS: Final = (
    ("content-type", "text/plain; charset=utf-8"),
    ("cache-control", "no-store"),
    ("x-content-type-options", "nosniff"),
    ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
)


class AsgiMisuseError(GatewayError):
    """The application sent what ASGI does not allow at this point, or left an answer incomplete."""


async def serve_asgi(
    app: AsgiApp,
    found: RawRequest,
    connection: Connection,
    *,
    scheme: str,
    client: Address | None,
    extensions: Mapping[str, object],
    server: Address | None = None,
) -> None:
    """Have one request answered by `app`.

    A fault of the application is answered 500 without any detail, and logged without its message.  Raises ClientLost where
    the client cannot be answered, and whatever the application raised once part of an answer was sent.
    """
    exchange = _Exchange(found.body, connection)
    scope = _scope(found, scheme, client, server) | {"extensions": dict(extensions)}
    try:
        await app(scope, exchange.receive, exchange.send)
        exchange.check_whole()
    except Exception as fault:
        if exchange.begun and not exchange.whole and exchange.lost is None:
            # The rest of it will never come: the connection is cut, so that nobody takes a part for the whole.
            raise
        # Not the message: it could hold what a caller sent.
        _LOG.error("a page failed: %s", place_of(fault))  # a traceback could hold it, too
        if not exchange.begun and exchange.lost is None:
            await connection.reply(500, _FAULT_HEADERS, b"Something went wrong inside the gate.\n")
    if exchange.lost is not None:
        raise exchange.lost


def _scope(found: RawRequest, scheme: str, client: Address | None, server: Address | None) -> dict[str, object]:
    path, _, query = found.target.partition("?")
    return {
        "type": "http",
        "asgi": dict(_VERSION),
        "http_version": "1.1",
        "method": found.method,
        "scheme": scheme,
        # "percent-encoded sequences and UTF-8 byte sequences decoded"; what is not UTF-8 matches no path of ours.
        "path": unquote_to_bytes(path).decode("utf-8", "replace"),
        "raw_path": path.encode("ascii"),
        "query_string": query.encode("ascii"),
        "root_path": "",
        "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in found.headers],
        "client": tuple(client) if client else None,
        "server": tuple(server) if server else None,
    }


class _Exchange:
    """One request and its answer, as an application takes and gives them."""

    def __init__(self, body: bytes, connection: Connection) -> None:
        self.begun = False
        self.whole = False
        self.lost: ClientLost | None = None
        self._connection = connection
        self._unread: bytes | None = body
        self._start: Message | None = None
        # A connection tells one task at a time that the client has gone.
        self._listening = trio.Lock()
        self._over = trio.Event()

    async def receive(self) -> Message:
        """The whole body, once; then nothing until the exchange is over or the client has gone."""
        body, self._unread = self._unread, None
        if body is not None:
            return {"type": "http.request", "body": body, "more_body": False}
        async with self._listening:
            with self._connection.call(math.inf):
                await self._over.wait()
        if not self._over.is_set():
            self.lost = ClientLost(Reason.CLIENT_GONE)
            self._over.set()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """Send the head, or part of the body."""
        if self.lost is not None:
            # "should be treated as no-op": the application learns of it from `receive`.
            await trio.lowlevel.checkpoint()
            return
        try:
            await self._send(message)
        except ClientLost as error:
            self.lost = error
            self._over.set()

    def check_whole(self) -> None:
        """Raises AsgiMisuseError where the application returned before its answer was complete."""
        if not self.whole and self.lost is None:
            raise AsgiMisuseError("the application left its answer incomplete")

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start" and self._start is None:
            # "a server must not send the head until there is a body": until then, the answer can still become a 500.
            self._start = message
            return
        if message["type"] != "http.response.body" or self._start is None or self.whole:
            raise AsgiMisuseError(f"{message['type']} is not due now")
        body, more = message.get("body", b""), message.get("more_body", False)
        if not self.begun and not more:
            await self._reply(self._start, body)
        else:
            await self._stream(self._start, body, more=more)

    async def _reply(self, start: Message, body: bytes) -> None:
        await self._connection.reply(start["status"], _headers(start.get("headers", ())), body)
        # Not before: what cannot be sent at all, as a header with a line's end in it, is answered as a fault.
        self.begun = self.whole = True
        self._over.set()

    async def _stream(self, start: Message, body: bytes, *, more: bool) -> None:
        if not self.begun:
            await self._connection.start_stream(start["status"], _headers(start.get("headers", ())))
            self.begun = True
        if body:
            await self._connection.stream_out(body)
        if not more:
            await self._connection.end_stream()
            self.whole = True
            self._over.set()


def _headers(raw: Iterable[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in raw if name not in _OURS_TO_SAY]
