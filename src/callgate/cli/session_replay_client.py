"""An agent that says to a gate exactly what it is given: mutual TLS with a workload's SVID, one request at a time.

It stands on the gate's own client for tool servers, which is as strict about what comes back.
"""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import urlsplit

import trio

from callgate.audit.replay import Headers
from callgate.errors import GatewayError, Reason, Refusal
from callgate.identity.spiffe_id import SpiffeId
from callgate.identity.trust import X509Context
from callgate.net.upstream import Exchange, ToolServer, Upstream
from callgate.wire.http1 import RESPONSE_LIMITS, ResponseHead
from callgate.wire.sse import SseEvent, SseReader

# A whole answer: a gate gives up on a tool server after 300 s, unless it is configured otherwise, and says so.
ANSWER_S: Final = 310.0
# All messages of one answer.  What is replayed was recorded, and one message is no larger than 1 MiB by default.
MAX_ANSWER_BYTES: Final = 64 * 1024 * 1024
_MAX_EVENT_BYTES: Final = 8 * 1024 * 1024
_WORDS: Final = {
    Reason.UPSTREAM_UNREACHABLE: "the gate cannot be reached",
    Reason.UPSTREAM_IDENTITY: "what answers did not prove to be the gate",
    Reason.UPSTREAM_TIMEOUT: "the gate did not answer in time",
    Reason.UPSTREAM_CLOSED: "the gate closed the connection: does it accept this workload's SVID?",
}


class CannotReplay(GatewayError):  # noqa: N818  # says what cannot be done
    """No request can be sent, or no answer was had that says anything; the message says why."""


@dataclass(frozen=True, slots=True)
class GateAnswer:
    """An answer: its messages in their bytes, and the handle of a legacy session that began with it."""

    status: int
    messages: tuple[bytes, ...]
    handle: str | None


class GateClient:
    """A gate at `https://host:port`, which must prove to be `gate`."""

    def __init__(self, base: str, gate: SpiffeId, identity: X509Context) -> None:
        self._base = base
        self._gate = gate
        self._identity = identity
        self._servers: dict[str, Upstream] = {}

    async def ask(self, server: str, headers: Headers, body: bytes) -> GateAnswer:
        """Send one request to `<base>/<server>/mcp`, never twice.  Raises CannotReplay where no answer comes."""
        upstream = self._servers.get(server) or self._add(server)
        with trio.move_on_after(ANSWER_S):
            exchange = await upstream.open(self._identity)
            if isinstance(exchange, Refusal):
                raise self._fault(exchange)
            try:
                return await self._converse(exchange, headers, body)
            finally:
                exchange.release()
        raise CannotReplay(_WORDS[Reason.UPSTREAM_TIMEOUT])

    def close(self) -> None:
        """Hang up."""
        for upstream in self._servers.values():
            upstream.close()

    def _add(self, server: str) -> Upstream:
        limits = replace(RESPONSE_LIMITS, max_body_bytes=MAX_ANSWER_BYTES)
        found = ToolServer(server, f"{self._base}/{server}/mcp", self._gate, response=limits)
        self._servers[server] = Upstream(found, lambda: self._identity, time.time)
        return self._servers[server]

    async def _converse(self, exchange: Exchange, headers: Headers, body: bytes) -> GateAnswer:
        head = await exchange.send(headers, body)
        if isinstance(head, Refusal):
            raise self._fault(head)
        kind = (head.headers.one("content-type") or "").partition(";")[0].strip().lower()
        messages = await (self._events(exchange) if kind == "text/event-stream" else self._whole(exchange))
        return GateAnswer(head.status, messages, _handle(head))

    async def _whole(self, exchange: Exchange) -> tuple[bytes, ...]:
        body = await exchange.read_all(MAX_ANSWER_BYTES)
        if isinstance(body, Refusal):
            raise self._fault(body)
        return (body,) if body else ()

    async def _events(self, exchange: Exchange) -> tuple[bytes, ...]:
        reader, found, size = SseReader(_MAX_EVENT_BYTES), list[bytes](), 0
        while (piece := await exchange.next_piece()) is not None:
            events = piece if isinstance(piece, Refusal) else reader.feed(piece)
            if isinstance(events, Refusal) or reader.refusal is not None:
                raise self._fault(events if isinstance(events, Refusal) else Refusal(Reason.UPSTREAM_MALFORMED))
            found += (event.data for event in events if isinstance(event, SseEvent) and event.data)
            size += len(piece) if isinstance(piece, bytes) else 0
            if size > MAX_ANSWER_BYTES:
                raise CannotReplay(f"an answer is larger than {MAX_ANSWER_BYTES} bytes")
        return tuple(found)

    def _fault(self, refusal: Refusal) -> CannotReplay:
        words = _WORDS.get(refusal.reason, f"the gate's answer cannot be read ({refusal.reason})")
        detail = f": {refusal.detail}" if refusal.detail and refusal.reason is not Reason.UPSTREAM_CLOSED else ""
        return CannotReplay(f"{words}{detail}")


@asynccontextmanager
async def open_gate(base: str, gate: SpiffeId, identity: X509Context) -> AsyncIterator[GateClient]:
    """A client for as long as it is needed."""
    client = GateClient(base, gate, identity)
    try:
        yield client
    finally:
        client.close()


def base_of(url: str) -> str:
    """The address of a gate, without the path of a server.  Raises ValueError with words for people."""
    parts = urlsplit(url)
    is_gate = parts.scheme == "https" and parts.hostname and parts.path in {"", "/"} and not parts.query
    if not is_gate or parts.username is not None or parts.fragment:
        raise ValueError(
            "must be the gate alone, such as https://localhost:8443; the record says which server is asked"
        )
    return f"https://{parts.netloc}"


def _handle(head: ResponseHead) -> str | None:
    return head.headers.one("mcp-session-id")
