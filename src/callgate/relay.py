"""One exchange with a tool server, and what of it reaches the agent."""

from collections.abc import Iterator
from dataclasses import replace

import trio

from callgate.answer_screen import AnswerScreen
from callgate.audit.activity import session_id as named_session
from callgate.audit.log import ForgedReceipt
from callgate.errors import Reason, Refusal
from callgate.evidence import Evidence
from callgate.net.connection import Connection
from callgate.net.upstream import Exchange
from callgate.parts import Parts, Recorded, Reply, Route
from callgate.policy.decide import Listing
from callgate.telemetry import names
from callgate.trace import AttributeValue, DecisionTrace
from callgate.wire import answers, mcp
from callgate.wire.jsonrpc import RpcFailure, RpcNotification, RpcRequest, RpcResult, ServerMessage, encode
from callgate.wire.session import NONCE_BYTES
from callgate.wire.sse import COMMENT, SseComment, SseEvent, SseReader, encode_event

JSON = ("content-type", "application/json")
EVENTS = (
    ("content-type", "text/event-stream"),
    ("cache-control", "no-store"),
    # Proxies of the nginx family buffer a stream otherwise (MCP 2026-07-28, basic/transports).
    ("x-accel-buffering", "no"),
)
# After the answer to a call, how long its stream may still take to end so that the connection can be used again.
_TAIL_S = 0.05


class Relay:
    """Lives for one call; `attributes`, `streaming` and `answered` (a stream's) say afterwards how far it came."""

    def __init__(
        self, parts: Parts, recorded: Recorded, evidence: Evidence, connection: Connection, path: DecisionTrace
    ) -> None:
        if recorded.receipt.decision != path.decision_id:
            raise ForgedReceipt("the receipt is another call's")
        self._parts = parts
        self._recorded = recorded
        self._evidence = evidence
        self._outbound = recorded.outbound
        self._request = recorded.outbound.identified.request
        self._connection = connection
        self._path = path
        self.screen = AnswerScreen(parts, recorded.outbound.inspected)
        # The agent may have been told already that it is being waited for.
        self.streaming = connection.streaming
        self.answered = False
        self.attributes: dict[str, AttributeValue] = {}

    async def exchange(self, route: Route, scope: trio.CancelScope) -> Reply | Refusal | None:
        """A reply to send, a refusal, or None once the answer was streamed to its end."""
        host, port = route.upstream.address
        self.attributes |= {names.SERVER_ADDRESS: host, names.SERVER_PORT: port}
        exchange = await route.upstream.open(self._outbound.identity)
        if isinstance(exchange, Refusal):
            return exchange
        try:
            if exchange.peer is not None:
                self.attributes[names.SERVER_SPIFFE_ID] = str(exchange.peer.id)
            return await self._converse(exchange, route, scope)
        finally:
            exchange.release()

    async def _converse(self, exchange: Exchange, route: Route, scope: trio.CancelScope) -> Reply | Refusal | None:
        deadline = scope.deadline
        scope.deadline = min(deadline, trio.current_time() + route.first_byte_s)
        head = await exchange.send(self._headers(), self._recorded.body)
        scope.deadline = deadline
        if isinstance(head, Refusal):
            return head
        self.attributes[names.HTTP_RESPONSE_STATUS_CODE] = head.status
        kind = (head.headers.one("content-type") or "").partition(";")[0].strip().lower()
        if head.status == 200 and kind == "text/event-stream":
            return await self._stream(exchange, head.headers.one("mcp-session-id"))
        body = await exchange.read_all(self._parts.limits.answer.max_bytes)
        if isinstance(body, Refusal):
            return body
        return await self._plain(head.status, kind, body, head.headers.one("mcp-session-id"))

    def _headers(self) -> tuple[tuple[str, str], ...]:
        session = self._outbound.identified.session
        return (
            *mcp.upstream_headers(
                self._request,
                trace_id=self._path.trace_id,
                span_id=self._path.client_span_id,
                session_id=session.upstream_id if session else None,
                trusted=self._path.parent is not None,
            ),
            ("authorization", f"Bearer {self._outbound.token.token}"),
        )

    async def _plain(self, status: int, kind: str, body: bytes, session_id: str | None) -> Reply | Refusal:
        """What a whole answer comes to."""
        message = self._request.message
        refusal = self._status_refusal(status)
        if refusal is not None:
            return refusal
        if not isinstance(message, RpcRequest):
            return Reply(202, (), b"") if status in {200, 202, 204} else Refusal(Reason.UPSTREAM_STATUS, str(status))
        if kind != "application/json":
            reason = Reason.UPSTREAM_MESSAGE if status == 200 else Reason.UPSTREAM_STATUS
            # Not what type it says: a tool server says there what it likes.
            return Refusal(reason, f"{status}, and no JSON")
        said = answers.read_answer(body, self._parts.limits.answer)
        shown = said if isinstance(said, Refusal) else await self._shown(said, len(body))
        session = answers.read_session_id(session_id)
        if not isinstance(shown, RpcResult | RpcFailure) or isinstance(session, Refusal):
            return _first_refusal(shown, session)
        if status != 200 and isinstance(shown, RpcResult):
            return Refusal(Reason.UPSTREAM_STATUS, str(status))
        answer = encode(shown)
        unkept = await self._evidence.passing(self._recorded, shown, answer)
        return unkept or Reply(status, (JSON, *self._session_header(shown, session)), answer)

    def _status_refusal(self, status: int) -> Refusal | None:
        if status in {401, 403}:
            return Refusal(Reason.UPSTREAM_REFUSED_TOKEN, str(status))
        if 300 <= status < 400:
            return Refusal(Reason.UPSTREAM_REDIRECT, str(status))
        if status == 404 and self._outbound.identified.session is not None:
            # The tool server has ended the session: the agent has to begin anew (2025-11-25, session management).
            return Refusal(Reason.SESSION_UNKNOWN, "ended by the tool server")
        if status not in {200, 202, 204, 400, 404}:
            return Refusal(Reason.UPSTREAM_STATUS, str(status))
        return None

    async def _stream(  # one way out for each way in which a stream ends
        self, exchange: Exchange, said_session: str | None
    ) -> Refusal | None:
        session_id = answers.read_session_id(said_session)
        if isinstance(session_id, Refusal):
            return session_id
        if not isinstance(self._request.message, RpcRequest):
            return Refusal(Reason.UPSTREAM_MESSAGE, "an event stream for a notification")
        reader = SseReader(self._parts.limits.max_event_bytes)
        while (piece := await exchange.next_piece()) is not None:
            done = piece if isinstance(piece, Refusal) else await self._pass_on_all(reader, piece, session_id)
            if isinstance(done, Refusal):
                return done
            if done:
                self.answered = True
                await self._tail(exchange)
                return None
        return Refusal(Reason.UPSTREAM_CLOSED, "the stream ended without an answer")

    async def _pass_on_all(self, reader: SseReader, piece: bytes, session_id: str | None) -> bool | Refusal:
        """Pass on the events that `piece` completes; True once one was the answer."""
        events = reader.feed(piece)
        if isinstance(events, Refusal):
            return events
        for event in _with_one_comment(events):
            if done := await self._pass_on(event, session_id):
                return done
        # What is wrong may have come together with events that were good, and nothing more may ever come.
        return reader.refusal or False

    async def _pass_on(self, event: SseEvent | SseComment, session_id: str | None) -> bool | Refusal:
        """Pass one event on; True once it was the answer."""
        if isinstance(event, SseComment):
            if self.streaming:
                await self._connection.stream_out(COMMENT)
            return False
        said = answers.read_event(event, self._parts.limits.answer)
        if said is None:
            return False
        if isinstance(said, Refusal):
            return said
        shown = await self._shown(said, len(event.data))
        if shown is None or isinstance(shown, Refusal):
            return shown if shown is not None else False
        message = encode(shown)
        unkept = await self._evidence.passing(self._recorded, shown, message)
        if unkept is not None:
            return unkept
        if not self.streaming:
            self.streaming = True
            await self._connection.start_stream(200, (*EVENTS, *self._session_header(shown, session_id)))
        await self._connection.stream_out(encode_event(message))
        return isinstance(shown, RpcResult | RpcFailure)

    async def _tail(self, exchange: Exchange) -> None:
        """Let the stream end, so that the connection serves the next call; not for long."""
        with trio.move_on_after(_TAIL_S):
            while isinstance(await exchange.next_piece(), bytes):
                pass

    async def _shown(self, said: ServerMessage, size_bytes: int) -> ServerMessage | Refusal | None:
        """What the agent may see of one message, which was so long; None for one that is not passed on."""
        request = self._request.message
        server = self._outbound.permit.call.server
        if isinstance(said, RpcNotification) and said.method == "notifications/tools/list_changed":
            self._parts.definitions.stale(server)
        verdict = answers.classify(said, self._request)
        if verdict is not answers.Verdict.PASS or not isinstance(request, RpcRequest):
            refused = verdict is answers.Verdict.REFUSE
            return Refusal(Reason.UPSTREAM_MESSAGE, "not a message for this request") if refused else None
        shown = self._shown_result(said) if isinstance(said, RpcResult) else said
        passed = shown if isinstance(shown, Refusal) else await self.screen.passed(shown, size_bytes)
        if isinstance(passed, RpcResult) and passed is not shown:
            # What nobody sees may have stood in a name: without it, that may be one of the protocol's, or of our own.
            if answers.classify(passed, self._request) is not answers.Verdict.PASS:
                return Refusal(Reason.UPSTREAM_MESSAGE, "not a message for this request")
            passed = RpcResult(passed.id, answers.without_our_marks(passed.result))
        if isinstance(passed, RpcFailure):
            self.attributes |= {names.ERROR_TYPE: str(passed.code), names.RPC_RESPONSE_STATUS_CODE: str(passed.code)}
        return passed

    def _shown_result(self, told: RpcResult) -> RpcResult | Refusal:
        said = RpcResult(told.id, answers.without_our_marks(told.result))
        match self._request.message.method:
            case "tools/list":
                policy, annotations = self._outbound.policy, self._parts.annotations
                server = self._outbound.permit.call.server
                annotations.learn(server, said.result.get("tools"))
                self._parts.definitions.learn(server, said.result.get("tools"))
                listing = Listing(policy, replace(self._outbound.permit.call, now=self._parts.clock.now()))
                result, hidden = answers.filter_tools(
                    self.screen.approved(said.result),
                    lambda tool: listing.shows(tool, annotations.of(server, tool)),
                    self._request.era,
                )
                self.attributes[names.TOOLS_HIDDEN] = hidden
                return RpcResult(said.id, result)
            case "initialize" | "server/discover":
                narrowed = answers.narrow_capabilities(said.result, self._request.era)
                return narrowed if isinstance(narrowed, Refusal) else RpcResult(said.id, narrowed)
            case "tools/call" if answers.is_tool_error(said.result):
                self.attributes[names.ERROR_TYPE] = "tool_error"
                return said
            case _:
                return said

    def _session_header(self, said: ServerMessage, session_id: str | None) -> tuple[tuple[str, str], ...]:
        """A legacy session begins with the answer to `initialize`; its handle is of use to this caller alone."""
        if self._request.message.method != "initialize" or isinstance(said, RpcFailure):
            return ()
        call, now = self._outbound.permit.call, self._parts.clock.now()
        nonce = self._parts.secret_bytes(NONCE_BYTES)
        handle = self._parts.sealer.seal(session_id, call.caller, call.server, nonce, now)
        self._path.answer["began"] = named_session(nonce)
        return (("mcp-session-id", handle),)


def _with_one_comment(events: list[SseEvent | SseComment]) -> Iterator[SseEvent | SseComment]:
    """A comment says that the tool server is alive; one of those that came together says as much as all of them."""
    comments = 0
    for event in events:
        comments += isinstance(event, SseComment)
        if comments <= 1 or isinstance(event, SseEvent):
            yield event


def _first_refusal(*found: object) -> Refusal:
    refused = (each for each in found if isinstance(each, Refusal))
    return next(refused, Refusal(Reason.UPSTREAM_MESSAGE, "not a message for this request"))
