"""The gate's own questions to a tool server: one message, and the one answer to it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from callgate.errors import Reason, Refusal
from callgate.net.upstream import Exchange
from callgate.wire import answers
from callgate.wire.http1 import ResponseHead
from callgate.wire.json_strict import JsonLimits
from callgate.wire.jsonrpc import RpcFailure, RpcRequest, RpcResult
from callgate.wire.mcp import Request
from callgate.wire.sse import SseEvent, SseReader

# What says that a notification was taken (2025-11-25, basic/transports: 202; some servers say 200 or 204).
_TAKEN: Final = frozenset({200, 202, 204})


@dataclass(frozen=True, slots=True)
class AskLimits:
    """What one answer may be: as a whole, and each of its events in bytes."""

    answer: JsonLimits
    max_event_bytes: int


@dataclass(frozen=True, slots=True)
class Answered:
    """What came: None for a notification that was taken.  `session_id`: of the session that began.  `size`: in bytes."""

    status: int
    said: RpcResult | RpcFailure | None
    session_id: str | None
    size: int


async def ask(
    exchange: Exchange, request: Request, headers: Sequence[tuple[str, str]], body: bytes, limits: AskLimits
) -> Answered | Refusal:
    """Send one message and wait for its answer; what else the server says meanwhile is for nobody.

    The caller bounds the time, and releases the exchange.
    """
    head = await exchange.send(headers, body)
    if isinstance(head, Refusal):
        return head
    session_id = answers.read_session_id(head.headers.one("mcp-session-id"))
    if isinstance(session_id, Refusal):
        return session_id
    refusal = _status_refusal(head.status)
    if refusal is not None:
        return refusal
    kind = (head.headers.one("content-type") or "").partition(";")[0].strip().lower()
    if not isinstance(request.message, RpcRequest):
        return await _taken(exchange, head, limits)
    if head.status == 200 and kind == "text/event-stream":
        return await _streamed(exchange, request, session_id, limits)
    return await _whole(exchange, request, Answered(head.status, None, session_id, 0), kind, limits)


def _status_refusal(status: int) -> Refusal | None:
    if status in {401, 403}:
        return Refusal(Reason.UPSTREAM_REFUSED_TOKEN, str(status))
    if 300 <= status < 400:
        return Refusal(Reason.UPSTREAM_REDIRECT, str(status))
    return None if status in {*_TAKEN, 400, 404} else Refusal(Reason.UPSTREAM_STATUS, str(status))


async def _taken(exchange: Exchange, head: ResponseHead, limits: AskLimits) -> Answered | Refusal:
    if head.status not in _TAKEN:
        return Refusal(Reason.UPSTREAM_STATUS, str(head.status))
    rest = await exchange.read_all(limits.answer.max_bytes)
    return rest if isinstance(rest, Refusal) else Answered(head.status, None, None, len(rest))


async def _whole(
    exchange: Exchange, request: Request, answered: Answered, kind: str, limits: AskLimits
) -> Answered | Refusal:
    body = await exchange.read_all(limits.answer.max_bytes)
    if isinstance(body, Refusal):
        return body
    if kind != "application/json":
        # Not what type it says: a tool server says there what it likes.
        return Refusal(Reason.UPSTREAM_STATUS, f"{answered.status}, and no JSON")
    said = answers.read_answer(body, limits.answer)
    if isinstance(said, Refusal):
        return said
    if not isinstance(said, RpcResult | RpcFailure) or not _is_answer(said, request, answered.status):
        return Refusal(Reason.UPSTREAM_MESSAGE, "not a message for this request")
    return Answered(answered.status, said, answered.session_id, len(body))


def _is_answer(said: RpcResult | RpcFailure, request: Request, status: int) -> bool:
    """Whether it answers this request; an error to what the server could not read has no id (JSON-RPC 2.0, section 5)."""
    if isinstance(said, RpcFailure) and (said.id is None or status != 200):
        return True
    return status == 200 and isinstance(request.message, RpcRequest) and answers.answers(said, request.message)


async def _streamed(
    exchange: Exchange, request: Request, session_id: str | None, limits: AskLimits
) -> Answered | Refusal:
    reader, size = SseReader(limits.max_event_bytes), 0
    while (piece := await exchange.next_piece()) is not None:
        events = piece if isinstance(piece, Refusal) else reader.feed(piece)
        if isinstance(events, Refusal):
            return events
        size += len(piece) if isinstance(piece, bytes) else 0
        if size > limits.answer.max_bytes:
            return Refusal(Reason.UPSTREAM_TOO_LARGE, f"more than {limits.answer.max_bytes} bytes")
        for event in events:
            said = answers.read_event(event, limits.answer) if isinstance(event, SseEvent) else None
            if isinstance(said, Refusal):
                return said
            if isinstance(said, RpcResult | RpcFailure) and _is_answer(said, request, 200):
                return Answered(200, said, session_id, size)
        if reader.refusal is not None:
            return reader.refusal
    return Refusal(Reason.UPSTREAM_CLOSED, "the stream ended without an answer")
