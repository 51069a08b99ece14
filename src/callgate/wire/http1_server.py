"""The server's side of one HTTP/1.1 connection, without the connection.

Bytes go in by `receive`, requests come out of `next_request`, answers are turned into bytes.  The profile (http1.py)
reads first; what it accepted goes, byte for byte, through h11 as well, which keeps the protocol's state.  Where the
two do not read the same, there are two readings, and the request is refused.

After a refusal nothing more is read; one answer may be sent, then the connection must be closed.
"""

from collections.abc import Sequence
from enum import StrEnum

import h11

from callgate.errors import GatewayError, Reason, Refusal
from callgate.wire.http1 import HttpLimits, RawRequest, RequestHead, parse_request_head
from callgate.wire.http1_body import BodyDecoder
from callgate.wire.http1_grammar import FIELD_VALUE, TOKEN, find_head_end

# How a message is framed, and whether the connection stays open, is said here and nowhere else.
_OURS_TO_SAY = frozenset({"connection", "content-length", "keep-alive", "trailer", "transfer-encoding", "upgrade"})
# RFC 9110, 8.6 and 15.4.5: no Content-Length in a 204; in a 304 it would speak of another response.
_WITHOUT_CONTENT = frozenset({204, 304})


class ConnectionMisuseError(GatewayError):
    """Our own caller asked for what HTTP does not allow at this point."""


class Phase(StrEnum):
    """What the connection waits for; each has a deadline of its own."""

    IDLE = "idle"  # the first byte of a request
    HEAD = "head"  # the rest of a head
    BODY = "body"  # the rest of a body
    ANSWER = "answer"  # our own answer
    CLOSED = "closed"  # nothing: the connection is to be closed


class ServerConnection:
    """One connection from an agent.

    `authorities`: what Host may say (`name` or `name:port`), None for anything well-formed.  A cycle is `next_request`, then `respond` or
    `start_stream`, `stream`…, `end_stream`, then `finish`.
    """

    def __init__(self, limits: HttpLimits, authorities: frozenset[str] | None) -> None:
        self._limits = limits
        self._authorities = None if authorities is None else frozenset(authority.lower() for authority in authorities)
        self._protocol = h11.Connection(h11.SERVER, max_incomplete_event_size=limits.max_head_bytes)
        self._buffer = bytearray()
        self._head: RequestHead | None = None
        self._decoder: BodyDecoder | None = None
        self._body = bytearray()
        self._eof = False
        # True from the moment when bytes were thrown away: what follows them has no known beginning.
        self._deaf = False
        self._closing = False
        # A request or a refusal was read, and its answer is not complete.
        self._answering = False
        self._untaken: RawRequest | Refusal | None = None
        self._closed = False

    @property
    def phase(self) -> Phase:
        """What is awaited now."""
        if self._closed:
            return Phase.CLOSED
        if self._answering:
            return Phase.ANSWER
        if self._head is not None:
            return Phase.BODY
        return Phase.HEAD if self._buffer else Phase.IDLE

    @property
    def buffered(self) -> int:
        """How many received bytes no request has used yet.  Stop reading in phase ANSWER while there are any."""
        return len(self._buffer)

    @property
    def closed_cleanly(self) -> bool:
        """True where the client ended the connection between two requests."""
        return self._eof and self.phase is Phase.IDLE

    @property
    def must_close(self) -> bool:
        """True where the connection is to be closed once the present answer is sent."""
        return self._closing or self._eof or self._deaf

    def close_after_response(self) -> None:
        """Make this request the connection's last."""
        self._closing = True

    def receive(self, data: bytes) -> None:
        """Take what the client sent; b"" is the end of its stream.

        Reads as far as the end of one request, so that what is held is bounded by the limits, however often this is
        called before `next_request`.
        """
        if self._deaf or self._closed:
            return
        self._eof = self._eof or not data
        self._buffer += data
        if not self._answering:
            self._advance()
        if self._answering and len(self._buffer) > self._limits.max_pipelined_bytes:
            self._ignore_input()

    def next_request(self) -> RawRequest | Refusal | None:
        """The next whole request, or why there is none.

        None: more bytes are needed, or the last request is not answered yet.  There is at most one refusal on a
        connection.
        """
        outcome, self._untaken = self._untaken, None
        return outcome

    def respond(self, status: int, headers: Sequence[tuple[str, str]], body: bytes = b"") -> bytes:
        """The bytes of a whole answer.

        Before a request is whole (a refusal, a deadline) it is the connection's last.  Raises ValueError for a field
        that cannot be sent, ConnectionMisuseError where no answer is due.
        """
        framing = [] if status in _WITHOUT_CONTENT else [("content-length", str(len(body)))]
        head = self._send_head(status, headers, framing)
        content = self._send(h11.Data(data=body)) if body else b""
        return head + content + self._send(h11.EndOfMessage())

    def start_stream(self, status: int, headers: Sequence[tuple[str, str]]) -> bytes:
        """The head of an answer whose length is not known; raises as `respond`."""
        if self._decoder is None or not self._decoder.done:
            raise ConnectionMisuseError("a stream answers a whole request")
        return self._send_head(status, headers, [("transfer-encoding", "chunked")])

    def stream(self, data: bytes) -> bytes:
        """One chunk.  Nothing for no data: an empty chunk would be the last."""
        return self._send(h11.Data(data=data)) if data else b""

    def end_stream(self) -> bytes:
        """The last chunk."""
        return self._send(h11.EndOfMessage())

    def finish(self) -> None:
        """Begin the next cycle once an answer is complete; the next request may be here already."""
        if self._protocol.our_state not in (h11.DONE, h11.MUST_CLOSE):
            raise ConnectionMisuseError("the answer is not complete")
        if self.must_close:
            self._closed = True
            self._buffer.clear()
            return
        self._protocol.start_next_cycle()
        self._answering = False
        self._head = self._decoder = None
        self._advance()

    def _advance(self) -> None:
        outcome = self._read() or self._refuse_if_cut_off()
        if isinstance(outcome, Refusal):
            self._ignore_input()
        self._untaken = outcome
        self._answering = outcome is not None

    def _ignore_input(self) -> None:
        self._deaf = True
        self._buffer.clear()
        self._body.clear()

    def _read(self) -> RawRequest | Refusal | None:
        if self._head is None:
            refusal = self._read_head()
            if refusal is not None:
                return refusal
        if self._head is None or self._decoder is None:
            return None
        refusal = self._read_body(self._decoder)
        if refusal is not None:
            return refusal
        return self._take_request(self._head) if self._decoder.done else None

    def _read_head(self) -> Refusal | None:
        end = find_head_end(self._buffer, self._limits.max_head_bytes)
        if end is None or isinstance(end, Refusal):
            return end
        raw = bytes(self._buffer[:end])
        head = parse_request_head(raw, self._limits, self._authorities)
        if isinstance(head, Refusal):
            return head
        del self._buffer[:end]
        self._head = head
        self._decoder = BodyDecoder(
            head.body_length, max_bytes=self._limits.max_body_bytes, max_chunks=self._limits.max_chunks
        )
        return second_opinion_on_head(self._protocol, raw, head)

    def _read_body(self, decoder: BodyDecoder) -> Refusal | None:
        received = bytes(self._buffer)
        content = decoder.take(self._buffer)
        if decoder.refusal is not None:
            return decoder.refusal
        self._body += content
        raw = received[: len(received) - len(self._buffer)]
        return second_opinion_on_body(self._protocol, raw, content, whole=decoder.done)

    def _take_request(self, head: RequestHead) -> RawRequest:
        self._closing = self._closing or not head.keep_alive
        body = bytes(self._body)
        self._body.clear()
        return RawRequest(head.method, head.target, head.headers, body)

    def _refuse_if_cut_off(self) -> Refusal | None:
        """RFC 9112, 8: a request that ends before its time is incomplete; what came of it is not acted on."""
        if not self._eof or self.phase is Phase.IDLE:
            return None
        return Refusal(Reason.HTTP_MALFORMED, "the request was cut off")

    def _send_head(self, status: int, headers: Sequence[tuple[str, str]], framing: Sequence[tuple[str, str]]) -> bytes:
        if not self._answering or self._untaken is not None:
            self._closing = self._answering = True
            self._untaken = None
            self._ignore_input()
        fields = [*_checked(headers), *framing]
        if self.must_close:
            fields.append(("connection", "close"))
        try:
            event = h11.Response(status_code=status, headers=fields)
        except h11.LocalProtocolError as fault:
            raise ConnectionMisuseError(str(fault)) from fault
        return self._send(event)

    def _send(self, event: h11.Response | h11.Data | h11.EndOfMessage) -> bytes:
        try:
            return self._protocol.send(event)
        except h11.LocalProtocolError as fault:
            raise ConnectionMisuseError(str(fault)) from fault


def second_opinion_on_head(protocol: h11.Connection, raw: bytes, head: RequestHead) -> Refusal | None:
    """Give h11 the head that we accepted; refuse where it does not read the same."""
    try:
        protocol.receive_data(raw)
        event = protocol.next_event()
    except h11.RemoteProtocolError as fault:
        # Its message may hold a line of the request.
        return _disagreement(type(fault).__name__)
    if not isinstance(event, h11.Request) or event.http_version != b"1.1":
        return _disagreement("another kind of message")
    if event.method.decode("latin-1") != head.method or event.target.decode("latin-1") != head.target:
        return _disagreement("another method or target")
    read = event.headers.raw_items()
    fields = tuple([(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in read])
    return None if fields == head.headers.fields else _disagreement("other fields")


def second_opinion_on_body(protocol: h11.Connection, raw: bytes, content: bytes, *, whole: bool) -> Refusal | None:
    """Give h11 the bytes of the body that we decoded to `content`; refuse where it does not read the same."""
    read = bytearray()
    try:
        if raw:
            protocol.receive_data(raw)
        event = protocol.next_event()
        while isinstance(event, h11.Data):
            read += event.data
            event = protocol.next_event()
    except h11.RemoteProtocolError as fault:
        # Its message may hold a line of the request.
        return _disagreement(type(fault).__name__)
    ended = isinstance(event, h11.EndOfMessage) and not event.headers
    agreed = read == content and ended == whole and protocol.trailing_data[0] == b""
    return None if agreed else _disagreement("another body")


def _disagreement(what: str) -> Refusal:
    return Refusal(Reason.HTTP_MALFORMED, f"h11 and the profile read differently: {what}")


def _checked(headers: Sequence[tuple[str, str]]) -> Sequence[tuple[str, str]]:
    """RFC 9110, 5.5: a CR, LF or NUL in a value would let it end the line, and begin another."""
    for name, value in headers:
        if not TOKEN.fullmatch(name) or name.lower() in _OURS_TO_SAY:
            raise ValueError(f"the field {name[:64]!r} cannot be sent")
        if not FIELD_VALUE.fullmatch(value):
            raise ValueError(f"the value of {name} cannot be sent")
    return headers
