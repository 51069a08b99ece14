"""An agent that says any bytes: mutual TLS by the book, HTTP by its own lights.

    agent = RawAgent(gate.addresses.agents.port, await context_of(gate.api, "billing"))
    async with agent.connected() as connection:
        await connection.say(b"GET / HTTP/1.1\\r\\n\\r\\n")
        answers = await connection.until_closed()

Answers are parsed here, strictly and without the gate's own code: a byte that is no part of a well-formed answer fails
the test.
"""

import json
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import trio

HOST = "gate.acme.test"
MODERN = "2026-07-28"
LEGACY = "2025-11-25"
_META = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientInfo": {"name": "raw", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}
HeaderList = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Answer:
    """One response.  `headers`: names in lower case; `body` is decoded."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @property
    def closes(self) -> bool:
        return ("connection", "close") in self.headers

    @cached_property
    def message(self) -> dict[str, Any]:
        """The JSON-RPC message of the body."""
        found: dict[str, Any] = json.loads(self.body)
        return found

    @property
    def reason(self) -> str:
        """The gate's reason in an error; "" in any other answer."""
        if not self.body.startswith(b"{") or "error" not in self.message:
            return ""
        return str((self.message["error"].get("data") or {}).get("reason", ""))

    @property
    def code(self) -> int:
        return int(self.message["error"]["code"])


class RawConnection:
    """One TLS connection to the gate."""

    def __init__(self, tcp: trio.SocketStream, context: ssl.SSLContext) -> None:
        self.tcp = tcp
        self.port: int = tcp.socket.getsockname()[1]
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname="localhost")
        self._buffer = bytearray()
        self._ended = False

    async def shake_hands(self) -> None:
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                received = await self.tcp.receive_some(65536)
                assert received, "the gate hung up during the handshake"
                self._incoming.write(received)
            else:
                await self._flush()
                return

    async def say(self, content: bytes) -> None:
        """Send it, as far as the gate still listens."""
        for start in range(0, len(content), 65536):
            self.tls.write(content[start : start + 65536])
            if not await self._flush():
                # It has refused already; what it said can still be read.
                return

    async def half_close(self) -> None:
        """No more from here (close_notify); answers can still come."""
        with suppress(ssl.SSLWantReadError):
            self.tls.unwrap()
        await self._flush()

    async def _flush(self) -> bool:
        try:
            await self.tcp.send_all(self._outgoing.read())
        except trio.BrokenResourceError:
            return False
        return True

    async def answer(self) -> Answer | None:
        """The next answer; None where the connection ended instead.  Fails on an answer cut off in the middle."""
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            if not await self._more():
                assert not self._buffer, f"cut off: {bytes(self._buffer)!r}"
                return None
        status, headers = _parse_head(bytes(self._buffer[:end]))
        del self._buffer[: end + 4]
        return Answer(status, headers, await self._body(status, dict(headers)))

    async def until_closed(self) -> list[Answer]:
        """All answers up to the end of the connection."""
        answers = []
        while (answer := await self.answer()) is not None:
            answers.append(answer)
        return answers

    async def ask(self, content: bytes) -> Answer:
        """Send one request and have its answer."""
        await self.say(content)
        answer = await self.answer()
        assert answer is not None, "closed without an answer"
        return answer

    async def _body(self, status: int, headers: Mapping[str, str]) -> bytes:
        if headers.get("transfer-encoding") == "chunked":
            return await self._chunks()
        assert "transfer-encoding" not in headers
        assert status == 204 or "content-length" in headers
        return await self._exactly(int(headers.get("content-length", "0")))

    async def _chunks(self) -> bytes:
        body = bytearray()
        while True:
            line = await self._line()
            size = int(line, 16)
            body += await self._exactly(size)
            assert await self._line() == b"", "a chunk is longer than it says"
            if size == 0:
                return bytes(body)

    async def _line(self) -> bytes:
        while (end := self._buffer.find(b"\r\n")) < 0:
            assert await self._more(), "cut off"
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        return line

    async def _exactly(self, count: int) -> bytes:
        while len(self._buffer) < count:
            assert await self._more(), "cut off"
        content = bytes(self._buffer[:count])
        del self._buffer[:count]
        return content

    async def _more(self) -> bool:
        while not self._ended:
            try:
                received = self.tls.read(65536)
            except ssl.SSLWantReadError:
                await self._receive()
                continue
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                received = b""
            self._ended = not received
            self._buffer += received
            return not self._ended
        return False

    async def _receive(self) -> None:
        try:
            received = await self.tcp.receive_some(65536)
        except trio.BrokenResourceError:
            received = b""
        if received:
            self._incoming.write(received)
        else:
            self._incoming.write_eof()


@dataclass(frozen=True)
class RawAgent:
    """A workload that can connect to the gate: the gate's port, and a TLS context with the workload's SVID."""

    port: int
    context: ssl.SSLContext

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[RawConnection]:
        """One connection, hung up without ceremony at the end."""
        tcp = await trio.open_tcp_stream("127.0.0.1", self.port)
        async with tcp:
            connection = RawConnection(tcp, self.context)
            await connection.shake_hands()
            yield connection


def request(
    body: bytes, headers: HeaderList = (), *, method: str = "POST", target: str = "/ledger/mcp", host: str = HOST
) -> bytes:
    """One well-formed HTTP request with these headers and no others but Host and Content-Length."""
    fields = [("Host", host), *headers, ("Content-Length", str(len(body)))]
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields)
    return f"{method} {target} HTTP/1.1\r\n{lines}\r\n".encode("latin-1") + body


def transport_headers(**more: str) -> HeaderList:
    """What every MCP request carries, and `more` (with "_" for "-")."""
    base = [("Accept", "application/json, text/event-stream"), ("Content-Type", "application/json")]
    return [*base, *[(name.replace("_", "-"), value) for name, value in more.items()]]


def modern(method: str, params: Mapping[str, Any] | None = None, *, rpc_id: object = 1, **at: str) -> bytes:
    """A whole request of revision 2026-07-28.

    `params` may hold more of `_meta`; `rpc_id` None makes it a notification; `at`: target, host.
    """
    given = dict(params or {})
    meta = {**_META, **given.pop("_meta", {})}
    message = {"jsonrpc": "2.0", "id": rpc_id, "method": method, "params": {**given, "_meta": meta}}
    if rpc_id is None:
        del message["id"]
    headers = transport_headers(MCP_Protocol_Version=MODERN, Mcp_Method=method)
    name = (params or {}).get("name")
    mirrored = [("Mcp-Name", str(name))] if name is not None else []
    return request(json.dumps(message).encode(), [*headers, *mirrored], **at)


def modern_call(tool: str, arguments: Mapping[str, object] | None = None, *, rpc_id: object = 1, **at: str) -> bytes:
    """tools/call of revision 2026-07-28."""
    return modern("tools/call", {"name": tool, "arguments": dict(arguments or {})}, rpc_id=rpc_id, **at)


def legacy(
    method: str,
    params: Mapping[str, object] | None = None,
    *,
    session: str | None = None,
    rpc_id: object = 1,
    **at: str,
) -> bytes:
    """A whole request of revision 2025-11-25, with a session handle unless that is None."""
    message: dict[str, object] = {"jsonrpc": "2.0", "id": rpc_id, "method": method, "params": dict(params or {})}
    if rpc_id is None:
        del message["id"]
    handle = [("Mcp-Session-Id", session)] if session is not None else []
    return request(json.dumps(message).encode(), [*transport_headers(MCP_Protocol_Version=LEGACY), *handle], **at)


INITIALIZE = {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": {"name": "raw", "version": "1"}}


async def open_session(connection: RawConnection, **at: str) -> str:
    """The handle of a new legacy session."""
    answer = await connection.ask(legacy("initialize", INITIALIZE, **at))
    assert answer.status == 200, answer
    return dict(answer.headers)["mcp-session-id"]


def _parse_head(head: bytes) -> tuple[int, tuple[tuple[str, str], ...]]:
    first, *lines = head.decode("latin-1").split("\r\n")
    version, status, _ = first.split(" ", 2)
    assert version == "HTTP/1.1", first
    fields = []
    for line in lines:
        name, colon, value = line.partition(":")
        assert colon, line
        assert name == name.strip(), line
        fields.append((name.lower(), value.strip(" \t")))
    return int(status), tuple(fields)
