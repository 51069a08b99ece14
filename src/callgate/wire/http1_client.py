"""The gate's side of one exchange with a tool server: a strict writer, and a reader as strict as the one for agents.

A connection carries one exchange at a time, and is kept only if the answer left no doubt about where it ended:
RFC 9112, 11.1, response splitting, lives on bytes that one exchange leaves to the next.
"""

from collections.abc import Sequence

from callgate.errors import Reason, Refusal
from callgate.wire.http1 import (
    AUTHORITY,
    RESPONSE_LIMITS,
    TARGET,
    HttpLimits,
    ResponseHead,
    parse_response_head,
    upstream_refusal,
)
from callgate.wire.http1_body import BodyDecoder
from callgate.wire.http1_grammar import FIELD_VALUE, TOKEN, find_head_end

# Written here, or never.
_OURS_TO_SAY = frozenset(
    {
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
# RFC 9110, 15.2: "A client MUST be able to parse one or more 1xx responses"; no server of tools needs more than this.
_MAX_INTERIM = 3
# Continue, Processing (RFC 2518), Early Hints (RFC 8297).  101 would make the connection speak something else.
_INTERIM = frozenset({100, 102, 103})


def encode_request(method: str, target: str, host: str, headers: Sequence[tuple[str, str]], body: bytes = b"") -> bytes:
    """The bytes of one request, always with Content-Length.

    Raises ValueError for anything that could be read as more than one request, and for fields that are ours to say.
    """
    if not TOKEN.fullmatch(method) or not TARGET.fullmatch(target) or not AUTHORITY.fullmatch(host):
        raise ValueError("the method, target or host cannot be sent")
    for name, value in headers:
        if not TOKEN.fullmatch(name) or name.lower() in _OURS_TO_SAY:
            raise ValueError(f"the field {name[:64]!r} cannot be sent")
        if not FIELD_VALUE.fullmatch(value):
            raise ValueError(f"the value of {name} cannot be sent")
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers])
    head = f"{method} {target} HTTP/1.1\r\nhost: {host}\r\n{lines}content-length: {len(body)}\r\n\r\n"
    return head.encode("latin-1") + body


class ResponseReader:
    """Reads one answer to one request; never raises.

    Give it bytes with `receive`, then ask `head` until there is one, then `body` until `done`.  Ask for all of the
    body between two calls of `receive`: that keeps what is held here to one read.  A refusal is final.
    """

    def __init__(self, limits: HttpLimits = RESPONSE_LIMITS) -> None:
        self._limits = limits
        self._buffer = bytearray()
        self._eof = False
        self._interim = 0
        self._head: ResponseHead | None = None
        self._decoder: BodyDecoder | None = None
        self._refusal: Refusal | None = None
        self._extra = False
        self._nothing_came = True

    @property
    def done(self) -> bool:
        """True once the body is whole and was returned."""
        return self._refusal is None and self._decoder is not None and self._decoder.done

    @property
    def reusable(self) -> bool:
        """True where another request may follow on this connection."""
        clean = not self._extra and not self._eof and not self._buffer
        return self.done and clean and self._head is not None and self._head.keep_alive

    def receive(self, data: bytes) -> None:
        """Take what the tool server sent; b"" is the end of its stream."""
        self._eof = self._eof or not data
        if self.done or self._refusal is not None:
            self._extra = self._extra or bool(data)
            return
        self._nothing_came = self._nothing_came and not data
        self._buffer += data

    def head(self) -> ResponseHead | Refusal | None:
        """The head of the answer, interim answers skipped; None where more bytes are needed."""
        while self._head is None and self._refusal is None:
            head = self._next_head()
            if head is None:
                return None
            if isinstance(head, Refusal):
                self._refuse(head)
            elif head.status < 200:
                self._skip_interim(head)
            else:
                self._begin_body(head)
        return self._refusal or self._head

    def body(self) -> bytes | Refusal:
        """What has come of the body since the last call; b"" where nothing has, or all was returned (`done`).

        What was good before a violation is returned first, the refusal by the next call: so a stream's verdict does
        not depend on how its bytes were split.
        """
        if self._refusal is not None:
            return self._refusal
        if self._decoder is None:
            return b""
        content = self._decoder.take(self._buffer)
        if content or self.done:
            return content
        if self._decoder.refusal is not None:
            return self._refuse(upstream_refusal(self._decoder.refusal))
        return self._refuse(_cut_off("body")) if self._eof else b""

    def _next_head(self) -> ResponseHead | Refusal | None:
        end = find_head_end(self._buffer, self._limits.max_head_bytes)
        if isinstance(end, Refusal):
            return upstream_refusal(end)
        if end is None:
            return self._refuse_if_cut_off()
        raw = bytes(self._buffer[:end])
        del self._buffer[:end]
        return parse_response_head(raw, self._limits)

    def _refuse_if_cut_off(self) -> Refusal | None:
        if not self._eof:
            return None
        if self._nothing_came:
            return Refusal(Reason.UPSTREAM_CLOSED, "the tool server closed the connection without an answer")
        return _cut_off("head")

    def _skip_interim(self, head: ResponseHead) -> None:
        self._interim += 1
        if head.status not in _INTERIM:
            self._refuse(Refusal(Reason.UPSTREAM_MALFORMED, f"status {head.status} was not asked for"))
        elif self._interim > _MAX_INTERIM:
            self._refuse(Refusal(Reason.UPSTREAM_MALFORMED, "too many interim answers"))

    def _begin_body(self, head: ResponseHead) -> None:
        # An event stream has no end to wait for; each of its events is bounded by the reader of events.
        max_bytes = None if _is_event_stream(head) else self._limits.max_body_bytes
        self._head = head
        self._decoder = BodyDecoder(head.body_length, max_bytes=max_bytes, max_chunks=None)

    def _refuse(self, refusal: Refusal) -> Refusal:
        self._refusal = refusal
        self._buffer.clear()
        return refusal


def _is_event_stream(head: ResponseHead) -> bool:
    # RFC 9110, 8.3.1: type and subtype are case-insensitive; parameters follow a semicolon.
    media_type = (head.headers.one("content-type") or "").partition(";")[0]
    return media_type.strip(" \t").lower() == "text/event-stream"


def _cut_off(part: str) -> Refusal:
    """RFC 9112, 8: an answer that ends before its time is incomplete, and must not pass for a whole one."""
    return Refusal(Reason.UPSTREAM_CLOSED, f"the tool server closed the connection inside the {part}")
