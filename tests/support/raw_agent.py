"""An agent that speaks HTTP on a TLS connection of its own, and hears what no client library would tell.

    async with dialled(gate, context) as agent:
        answer = await agent.ask(modern_call("get_invoice"))
        assert await agent.farewell() == CLOSED

It verifies nothing of the gate unless its context does.
"""

import json
import re
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import h11
import trio

from support.gate import Gate

CLOSED = "closed"
DROPPED = "dropped"
_JSON = ("Content-Type", "application/json")
_BOTH = ("Accept", "application/json, text/event-stream")
HeaderList = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Ask:
    """One POST: what is said and under which headers."""

    message: Mapping[str, object]
    headers: tuple[tuple[str, str], ...] = ()

    def with_headers(self, *more: tuple[str, str]) -> "Ask":
        return Ask(self.message, (*self.headers, *more))


def modern(method: str, params: Mapping[str, object] | None = None, meta: Mapping[str, object] | None = None) -> Ask:
    """A request of 2026-07-28."""
    said = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
        **(meta or {}),
    }
    message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**(params or {}), "_meta": said}}
    headers = [_JSON, _BOTH, ("MCP-Protocol-Version", "2026-07-28"), ("Mcp-Method", method)]
    name = (params or {}).get("name")
    return Ask(message, (*headers, *([("Mcp-Name", str(name))] if name is not None else [])))


def modern_call(
    tool: str, arguments: Mapping[str, object] | None = None, meta: Mapping[str, object] | None = None
) -> Ask:
    """A tools/call of 2026-07-28."""
    return modern("tools/call", {"name": tool, "arguments": dict(arguments or {})}, meta)


def legacy(method: str, params: Mapping[str, object] | None = None, *, session: str | None = None) -> Ask:
    """A request of 2025-11-25; a notification where the method says so."""
    message: dict[str, object] = {"jsonrpc": "2.0", "method": method, "params": dict(params or {})}
    if not method.startswith("notifications/"):
        message["id"] = 1
    headers = [_JSON, _BOTH, ("MCP-Protocol-Version", "2025-11-25")]
    return Ask(message, (*headers, *([("Mcp-Session-Id", session)] if session is not None else [])))


def legacy_initialize() -> Ask:
    """The opening of a legacy session."""
    client = {"name": "raw", "version": "1"}
    ask = legacy("initialize", {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client})
    return Ask(ask.message, (_JSON, _BOTH))


@dataclass(frozen=True, slots=True)
class Answer:
    """One whole answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def message(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found

    @property
    def error(self) -> tuple[int, int, str]:
        """HTTP status, JSON-RPC code, `data.reason`."""
        error = self.message["error"]
        return self.status, error["code"], error["data"]["reason"]


@dataclass
class RawAgent:
    """One connection to the gate."""

    stream: trio.SSLStream[trio.SocketStream]
    host: str
    path: str
    _http: h11.Connection = field(default_factory=lambda: h11.Connection(h11.CLIENT))

    async def ask(self, ask: Ask) -> Answer:
        """Send it, and read the whole answer."""
        if self._http.our_state is h11.DONE:
            self._http.start_next_cycle()
        body = json.dumps(ask.message).encode()
        headers = [("Host", self.host), ("Content-Length", str(len(body))), *ask.headers]
        head = self._http.send(h11.Request(method="POST", target=self.path, headers=headers)) or b""
        await self.stream.send_all(head + (self._http.send(h11.Data(data=body)) or b""))
        self._http.send(h11.EndOfMessage())
        return await self._answer()

    async def _answer(self) -> Answer:
        head = await self._event()
        assert isinstance(head, h11.Response), head
        body = b""
        while isinstance(event := await self._event(), h11.Data):
            body += event.data
        headers = {name.decode(): value.decode("latin-1") for name, value in head.headers}
        return Answer(head.status_code, headers, body)

    async def _event(self) -> object:
        with trio.fail_after(10):
            while (event := self._http.next_event()) is h11.NEED_DATA:
                self._http.receive_data(bytes(await self.stream.receive_some(65536)))
        return event

    async def farewell(self) -> str:
        """How the gate ends the connection: CLOSED (close_notify), DROPPED, or the TLS alert in lower case.

        Fails where it says anything more first, or does not end it.
        """
        try:
            with trio.fail_after(10):
                received = await self.stream.receive_some(65536)
        except trio.BrokenResourceError as broken:
            return alert_of(broken)
        assert received == b""
        return CLOSED

    @property
    def tls(self) -> ssl.SSLObject:
        found: ssl.SSLObject = self.stream._ssl_object
        return found


def alert_of(broken: BaseException) -> str:
    """The alert that the peer sent, as RFC 8446 section 6 names it; DROPPED where it sent none."""
    cause = broken.__cause__
    if isinstance(cause, ssl.SSLError):
        match = re.fullmatch(r"(?:SSLV3|TLSV1|TLSV13)_ALERT_(\w+)", cause.reason or "")
        if match:
            return match[1].lower()
    return DROPPED


@asynccontextmanager
async def dialled(
    gate: Gate, context: ssl.SSLContext, *, server: str = "ledger", session: ssl.SSLSession | None = None
) -> AsyncIterator[RawAgent]:
    """A connection to the gate, its handshake not yet begun; `session` is one to resume."""
    port = gate.addresses.agents.port
    tcp = await trio.open_tcp_stream("127.0.0.1", port)
    stream = trio.SSLStream(tcp, context, server_hostname="localhost")
    if session is not None:
        stream._ssl_object.session = session
    try:
        yield RawAgent(stream, f"localhost:{port}", f"/{server}/mcp")
    finally:
        await trio.aclose_forcefully(stream)


async def refused_by(gate: Gate, context: ssl.SSLContext) -> str:
    """The alert (or other end) that a client meets when it tries to connect and listens."""
    async with dialled(gate, context) as agent:
        try:
            with trio.fail_after(10):
                await agent.stream.do_handshake()
        except trio.BrokenResourceError as broken:
            return alert_of(broken)
        return await agent.farewell()
