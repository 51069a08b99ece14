"""An agent that hears what TLS says: the alert that it is sent, and how the connection ends.

    async with dialled(gate, context) as agent:
        answer = await agent.ask(modern_call("get_invoice"))
        assert await agent.farewell() == CLOSED
    assert await refused_by(gate, other_context) == "unknown_ca"

It verifies nothing of the gate unless its context does.
"""

import json
import re
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import h11
import trio

from support.gate import Gate
from support.raw_agent import Answer

CLOSED = "closed"
DROPPED = "dropped"
PATIENCE_S = 10.0


class TlsAgent:
    """One connection to the gate, which shakes hands by itself when it is first used."""

    def __init__(self, stream: trio.SSLStream[trio.SocketStream]) -> None:
        self.stream = stream

    async def ask(self, request: bytes) -> Answer:
        """Send it, and read the whole answer, which h11 judges."""
        with trio.fail_after(PATIENCE_S):
            await self.stream.send_all(request)
            http = h11.Connection(h11.CLIENT)
            http.send(h11.Request(method="POST", target="/", headers=[("Host", "gate")]))
            head = await self._event(http)
            assert isinstance(head, h11.Response), head
            body = b""
            while isinstance(event := await self._event(http), h11.Data):
                body += event.data
        assert http.trailing_data[0] == b"", "more than one answer"
        headers = tuple((name.decode(), value.decode("latin-1")) for name, value in head.headers)
        return Answer(head.status_code, headers, body)

    async def _event(self, http: h11.Connection) -> object:
        while (event := http.next_event()) is h11.NEED_DATA:
            http.receive_data(bytes(await self.stream.receive_some(65536)))
        return event

    async def farewell(self) -> str:
        """How the gate ends the connection: CLOSED (close_notify), DROPPED, or by which TLS alert.

        Fails where it says anything more first, or does not end it.
        """
        try:
            with trio.fail_after(PATIENCE_S):
                received = await self.stream.receive_some(65536)
        except trio.BrokenResourceError as broken:
            return alert_of(broken)
        assert received == b""
        return CLOSED

    @property
    def tls(self) -> ssl.SSLObject:
        found: ssl.SSLObject = self.stream._ssl_object
        return found


async def until(true: Callable[[], bool]) -> None:
    """Wait for something that the gate tells nobody of."""
    with trio.fail_after(PATIENCE_S):
        while not true():  # noqa: ASYNC110  # there is no event for it
            await trio.sleep(0.001)


def error_of(answer: Answer) -> tuple[int, int, str]:
    """HTTP status, JSON-RPC code and reason of a refusal."""
    return answer.status, answer.code, answer.reason


def with_headers(request: bytes, *headers: tuple[str, str]) -> bytes:
    """The same request with further headers, before the others."""
    first, _, rest = request.partition(b"\r\n")
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    return first + b"\r\n" + lines.encode("latin-1") + rest


def alert_of(broken: BaseException) -> str:
    """The alert that the peer sent, as RFC 8446 section 6 names it; DROPPED where it sent none."""
    reason = getattr(broken.__cause__, "reason", None) or ""
    match = re.fullmatch(r"(?:SSLV3|TLSV1|TLSV13)_ALERT_(\w+)", reason)
    return match[1].lower() if match else DROPPED


@asynccontextmanager
async def dialled(
    gate: Gate, context: ssl.SSLContext, *, session: ssl.SSLSession | None = None
) -> AsyncIterator[TlsAgent]:
    """A connection to the gate, hung up without ceremony at the end; `session` is one to resume."""
    tcp = await trio.open_tcp_stream("127.0.0.1", gate.addresses.agents.port)
    stream = trio.SSLStream(tcp, context, server_hostname="localhost")
    if session is not None:
        stream._ssl_object.session = session
    try:
        yield TlsAgent(stream)
    finally:
        await trio.aclose_forcefully(stream)


async def refused_by(gate: Gate, context: ssl.SSLContext, request: bytes = b"") -> str:
    """The alert (or other end) that a client meets when it connects, sends that much, and listens."""
    async with dialled(gate, context) as agent:
        try:
            with trio.fail_after(PATIENCE_S):
                await agent.stream.do_handshake()
        except trio.BrokenResourceError as broken:
            return alert_of(broken)
        if request:
            await agent.stream.send_all(request)
        return await agent.farewell()


async def admin_page(gate: Gate, path: str) -> tuple[int, dict[str, Any]]:
    """Status and document of a page on the admin listener."""
    tcp = await trio.open_tcp_stream("127.0.0.1", gate.addresses.admin.port)
    async with tcp:
        await tcp.send_all(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        with trio.fail_after(PATIENCE_S):
            said = b"".join([bytes(part) async for part in tcp])
    head, _, body = said.partition(b"\r\n\r\n")
    found: dict[str, Any] = json.loads(body)
    return int(head.split(b" ")[1]), found
