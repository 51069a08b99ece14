"""Server-sent events (WHATWG HTML, 9.2), read as they arrive and written one by one.

The reader follows the standard's algorithm with two differences: text that is not UTF-8 is refused, not mended, and
an event has a limit.  Comments are returned too, because they are how a tool server says that it is alive.
"""

import re
from dataclasses import dataclass

from callgate.errors import Reason, Refusal

# A comment that holds a connection open: 9.2.7 advises one "every 15 seconds or so".
COMMENT = b":\n\n"

_BOM = b"\xef\xbb\xbf"
# 9.2.5: end-of-line = ( cr lf / cr / lf ).
_LINE_END = re.compile(rb"\r\n|\r|\n")
# 9.2.6: "only ASCII digits"; more than nine of them would be a wait of weeks, and are ignored.
_MILLISECONDS = re.compile(rb"[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class SseEvent:
    """One event.

    `data`: the values of its data fields, joined by LF; b"" where a field was there and empty.  `id`: the last event
    id that the stream named up to here ("" for none).  `retry_ms`: the reconnection time that came with this event.
    """

    data: bytes
    event: str = "message"
    id: str = ""
    retry_ms: int | None = None


@dataclass(frozen=True, slots=True)
class SseComment:
    """A line that begins with a colon, without it."""

    text: str


class SseReader:
    """Turns the bytes of an event stream into events; never raises.

    `max_event_bytes` holds for the data of one event and for any single line; the official Python client takes 1 MiB
    for an event.  However the bytes are split, the events are the same.  What the stream holds after its last empty
    line is no event (9.2.6: "any pending data must be discarded").
    """

    def __init__(self, max_event_bytes: int = 1 << 20) -> None:
        self._max_event_bytes = max_event_bytes
        self._line = bytearray()
        self._after_cr = False
        self._at_start = True
        self._data = bytearray()
        self._event = ""
        self._id = ""
        self._retry_ms: int | None = None
        self._refusal: Refusal | None = None

    @property
    def refusal(self) -> Refusal | None:
        """Why the stream is read no further.  Ask after the last `feed`: there it may be known, but not returned."""
        return self._refusal

    def feed(self, data: bytes) -> list[SseEvent | SseComment] | Refusal:
        """The events and comments that `data` completes.

        Those that came before a violation are returned, and UPSTREAM_MALFORMED or UPSTREAM_TOO_LARGE by the next call.
        """
        if self._refusal is not None:
            return self._refusal
        found: list[SseEvent | SseComment] = []
        for line in self._complete_lines(data):
            item = self._read_line(line)
            if isinstance(item, Refusal):
                self._refusal = item
                break
            if item is not None:
                found.append(item)
        else:
            self._refusal = self._refuse_if_longer(len(self._line))
        return self._refusal if self._refusal is not None and not found else found

    def _complete_lines(self, data: bytes) -> list[bytes]:
        if self._after_cr and data:
            data = data.removeprefix(b"\n")
            self._after_cr = False
        if not data:
            return []
        self._after_cr = data.endswith(b"\r")
        first, *rest = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        self._line += first
        if not rest:
            return []
        lines = [bytes(self._line), *rest[:-1]]
        self._line = bytearray(rest[-1])
        return lines

    def _read_line(self, line: bytes) -> SseEvent | SseComment | Refusal | None:
        """9.2.6, "interpreting an event stream", for one line."""
        if refusal := self._refuse_if_longer(len(line)) or _refuse_if_not_utf8(line):
            return refusal
        if self._at_start:
            line = line.removeprefix(_BOM)
            self._at_start = False
        if not line:
            return self._dispatch()
        name, _, value = line.partition(b":")
        if not name:
            return SseComment(value.decode())
        return self._read_field(name, value.removeprefix(b" "))

    def _read_field(self, name: bytes, value: bytes) -> Refusal | None:
        if name == b"data":
            self._data += value + b"\n"
        elif name == b"event":
            self._event = value.decode()
        elif name == b"id" and b"\0" not in value:
            self._id = value.decode()
        elif name == b"retry" and _MILLISECONDS.fullmatch(value):
            self._retry_ms = int(value)
        return self._refuse_if_longer(len(self._data) - 1)

    def _dispatch(self) -> SseEvent | None:
        """9.2.6: no event without data; event type and data are forgotten, the last event id is not."""
        event = None
        if self._data:
            event = SseEvent(bytes(self._data[:-1]), self._event or "message", self._id, self._retry_ms)
        self._data.clear()
        self._event, self._retry_ms = "", None
        return event

    def _refuse_if_longer(self, length: int) -> Refusal | None:
        if length <= self._max_event_bytes:
            return None
        return Refusal(Reason.UPSTREAM_TOO_LARGE, "an event is over max_event_bytes")


def _refuse_if_not_utf8(line: bytes) -> Refusal | None:
    try:
        line.decode()
    except UnicodeDecodeError:
        return Refusal(Reason.UPSTREAM_MALFORMED, "the event stream is not UTF-8")
    return None


def encode_event(data: bytes, event: str = "message", *, event_id: str | None = None) -> bytes:
    """The bytes of one event; every line of `data` becomes a data field.

    Raises ValueError where `event` or `event_id` would end its own line.
    """
    head = (
        f"event: {_one_line(event)}\n"
        if event_id is None
        else f"event: {_one_line(event)}\nid: {_one_line(event_id)}\n"
    )
    lines = b"".join([b"data: " + line + b"\n" for line in _LINE_END.split(data)])
    return head.encode() + lines + b"\n"


def _one_line(value: str) -> str:
    if "\n" in value or "\r" in value or "\0" in value:
        raise ValueError("the value of an event's field has a line end or NUL in it")
    return value
