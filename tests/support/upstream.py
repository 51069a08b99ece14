"""A tool server on loopback that records every request and answers as a test scripts it.

    async with scripted_server() as upstream, running_gate(tmp_path, upstream.url) as gate: ...
    async with scripted_server(answer_with(result={...})) as upstream: ...

    async def slow(asked: Asked, reply: Reply) -> None:
        await reply.events(progress, said(asked, {...}))

A script may answer in full (`reply.json`, `reply.events`), say any bytes (`reply.raw`), hang up (`reply.close`), or
say nothing.  When it returns, the next request of the connection is read, unless it hung up.
"""

import json
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import trio

TOOLS = ("list_invoices", "get_invoice", "refund", "wipe_ledger", "close_month")
ANSWER_TEXT = "done"
HeaderList = Sequence[tuple[str, str]]
Stream = trio.SocketStream | trio.SSLStream[trio.SocketStream]


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as it arrived.

    `raw`: all its bytes; `headers`: names in lower case, in order; `body` is decoded; `client_leaf`: the certificate
    that the gate showed on this connection (DER), b"" without TLS.
    """

    raw: bytes
    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    connection: int
    client_leaf: bytes = b""

    def header(self, name: str) -> str | None:
        """The value of the first header of that name (lower case)."""
        return next((value for found, value in self.headers if found == name), None)

    @property
    def message(self) -> dict[str, Any]:
        """The JSON-RPC message."""
        found: dict[str, Any] = json.loads(self.body)
        return found


class Reply:
    """Where a script says its answer."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    async def raw(self, content: bytes) -> None:
        """These bytes and no others."""
        await self._stream.send_all(content)

    async def json(self, value: object, status: int = 200, headers: HeaderList = ()) -> None:
        """One complete answer."""
        body = json.dumps(value).encode()
        await self.raw(head(status, [("Content-Type", "application/json"), *headers], len(body)) + body)

    async def start_events(self, headers: HeaderList = ()) -> None:
        """Begin a stream of server-sent events, in chunks; end it with `end_events`, or with `close` too early."""
        await self.raw(head(200, [("Content-Type", "text/event-stream"), *headers], None))

    async def event(self, value: object) -> None:
        """One event with one message."""
        data = f"event: message\ndata: {json.dumps(value)}\n\n".encode()
        await self.raw(b"%x\r\n%s\r\n" % (len(data), data))

    async def end_events(self) -> None:
        """The last chunk."""
        await self.raw(b"0\r\n\r\n")

    async def events(self, *values: object, headers: HeaderList = ()) -> None:
        """A whole stream of events, one message each."""
        await self.start_events(headers)
        for value in values:
            await self.event(value)
        await self.end_events()

    async def empty(self, status: int, headers: HeaderList = ()) -> None:
        """An answer without a body, as to a notification (202)."""
        await self.raw(head(status, headers, None if status == 204 else 0))

    async def close(self) -> None:
        """Hang up."""
        await self._stream.aclose()

    async def reset(self) -> None:
        """Hang up as a machine does that has forgotten the connection (RST)."""
        tcp = self._stream if isinstance(self._stream, trio.SocketStream) else self._stream.transport_stream
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await trio.aclose_forcefully(self._stream)

    async def until_hung_up(self) -> None:
        """Wait until the gate hangs up; what it says instead fails the test."""
        try:
            assert await self._stream.receive_some(1) == b""
        except trio.BrokenResourceError:
            return


Script = Callable[[Asked, Reply], Awaitable[None]]


@dataclass
class ScriptedServer:
    """A running one.  `requests`: all that arrived whole, in order; `connections`: how many were accepted."""

    url: str
    requests: list[Asked] = field(default_factory=list)
    connections: int = 0
    arrived: trio.Event = field(default_factory=trio.Event)
    serving: trio.CancelScope = field(default_factory=trio.CancelScope)

    def stop(self) -> None:
        """Go down: nothing listens any more, and connections break off."""
        self.serving.cancel()

    @property
    def heard(self) -> bytes:
        """Every byte of every request."""
        return b"".join(asked.raw for asked in self.requests)

    async def requests_when(self, count: int) -> Sequence[Asked]:
        """All requests, once there are `count`."""
        with trio.fail_after(10):
            while len(self.requests) < count:
                await self.arrived.wait()
                self.arrived = trio.Event()
        return self.requests

    def take(self, asked: Asked) -> None:
        self.requests.append(asked)
        self.arrived.set()


def said(asked: Asked, result: Mapping[str, object]) -> dict[str, object]:
    """The JSON-RPC answer to a request."""
    return {"jsonrpc": "2.0", "id": asked.message["id"], "result": dict(result)}


def answer_with(
    result: Mapping[str, object] | None = None, *, events: bool = False, session_id: str | None = None
) -> Script:
    """The default script with another result for tools/call, answers as events, or sessions of the legacy kind.

    `session_id` goes out with each answer to `initialize`.
    """

    async def answer(asked: Asked, reply: Reply) -> None:
        message = asked.message
        if "id" not in message:
            await reply.empty(202)
            return
        if message["method"] not in RESULTS:
            error = {"code": -32601, "message": "Method not found"}
            await reply.json({"jsonrpc": "2.0", "id": message["id"], "error": error}, 404)
            return
        opens = message["method"] == "initialize" and session_id is not None
        headers = [("Mcp-Session-Id", session_id or "")] if opens else []
        given = result if result is not None and message["method"] == "tools/call" else RESULTS[message["method"]]
        speak = reply.events if events else reply.json
        await speak(said(asked, given), headers=headers)

    return answer


@asynccontextmanager
async def scripted_server(
    script: Script | None = None, *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[ScriptedServer]:
    """Serve on a free port of loopback; what still runs at the end is cancelled."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    scheme = "http" if tls is None else "https"
    server = ScriptedServer(f"{scheme}://127.0.0.1:{listeners[0].socket.getsockname()[1]}/mcp")
    converse = partial(_welcome, server, script or answer_with(), tls)

    async def serve() -> None:
        with server.serving:
            await trio.serve_listeners(converse, listeners)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        yield server
        nursery.cancel_scope.cancel()


def head(status: int, headers: HeaderList, length: int | None) -> bytes:
    """A response head; `length` None is a chunked body, or none for 204."""
    framing = [("Content-Length", str(length))] if length is not None else [("Transfer-Encoding", "chunked")]
    lines = [f"{name}: {value}\r\n" for name, value in (*headers, *([] if status == 204 else framing))]
    return f"HTTP/1.1 {status} Scripted\r\n{''.join(lines)}\r\n".encode("latin-1")


async def _welcome(server: ScriptedServer, script: Script, tls: ssl.SSLContext | None, tcp: trio.SocketStream) -> None:
    server.connections += 1
    number = server.connections
    try:
        if tls is None:
            await _converse(server, script, tcp, number, b"")
            return
        stream = trio.SSLStream(tcp, tls, server_side=True, https_compatible=True)
        await stream.do_handshake()
        await _converse(server, script, stream, number, stream.getpeercert(binary_form=True) or b"")
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        # The gate went away, or the script hung up.
        return


async def _converse(server: ScriptedServer, script: Script, stream: Stream, number: int, leaf: bytes) -> None:
    buffer = bytearray()
    while (asked := await _read(stream, buffer, number, leaf)) is not None:
        server.take(asked)
        await script(asked, Reply(stream))


async def _read(stream: Stream, buffer: bytearray, connection: int, leaf: bytes) -> Asked | None:
    """One request with a Content-Length, which is all that the gate ever sends; None at the end of the connection."""
    while (end := buffer.find(b"\r\n\r\n")) < 0:
        if not await _more(stream, buffer):
            return None
    first, *lines = bytes(buffer[:end]).decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ")
    split = (line.partition(":") for line in lines)
    headers = tuple((name.lower(), value.strip(" \t")) for name, _, value in split)
    whole = end + 4 + int(dict(headers).get("content-length", "0"))
    while len(buffer) < whole:
        if not await _more(stream, buffer):
            return None
    raw = bytes(buffer[:whole])
    del buffer[:whole]
    return Asked(raw, method, target, headers, raw[end + 4 :], connection, leaf)


async def _more(stream: Stream, buffer: bytearray) -> bool:
    received = await stream.receive_some(65536)
    buffer += received
    return bool(received)


_INFO = {"serverInfo": {"name": "scripted", "version": "1"}}
# What both eras ask of a result: a legacy client ignores what it does not know.
_CACHE = {"resultType": "complete", "ttlMs": 0, "cacheScope": "public"}
RESULTS: Mapping[str, Mapping[str, object]] = {
    "initialize": {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, **_INFO},
    "server/discover": {"supportedVersions": ["2026-07-28", "2025-11-25"], "capabilities": {"tools": {}}, **_CACHE},
    "ping": {},
    "tools/list": {"tools": [{"name": name, "inputSchema": {"type": "object"}} for name in TOOLS], **_CACHE},
    "tools/call": {"content": [{"type": "text", "text": ANSWER_TEXT}], "isError": False, "resultType": "complete"},
}
