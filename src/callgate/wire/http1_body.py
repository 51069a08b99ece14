"""The body of one HTTP/1.1 message: counted or chunked, decoded as its bytes arrive.

RFC 9112, 7.1, cut down: no chunk extensions, no trailers, sizes of at most eight digits, CRLF and nothing else.
"""

import re
from enum import Enum, auto

from callgate.errors import Reason, Refusal

# RFC 9112, 7.1: chunk-size = 1*HEXDIG; a recipient "MUST anticipate potentially large hexadecimal numerals".
_SIZE = re.compile(rb"[0-9A-Fa-f]{1,8}")
_START_OF_SIZE_LINE = re.compile(rb"[0-9A-Fa-f]{0,8}\r?")
_MAX_SIZE_LINE_BYTES = 8 + len(b"\r\n")


class _Awaiting(Enum):
    SIZE = auto()
    CONTENT = auto()
    CONTENT_END = auto()
    LAST_END = auto()


class BodyDecoder:
    """Decodes one body out of a buffer that may hold more than that body.

    `length`: bytes, or None for a chunked body.  `max_bytes` and `max_chunks` hold for chunked bodies (a counted one
    was judged by its head); None means no limit.  After `take`, look at `refusal` first, then at `done`.  Refusals use
    the reasons of requests (HTTP_FRAMING, HTTP_BODY_TOO_LARGE).
    """

    __slots__ = ("_awaiting", "_chunks", "_left", "_max_bytes", "_max_chunks", "_total", "done", "refusal")

    def __init__(self, length: int | None, *, max_bytes: int | None, max_chunks: int | None) -> None:
        self._awaiting = None if length is not None else _Awaiting.SIZE
        self._left = length or 0
        self._max_bytes = max_bytes
        self._max_chunks = max_chunks
        self._total = 0
        self._chunks = 0
        self.done = length == 0
        self.refusal: Refusal | None = None

    def take(self, buffer: bytearray) -> bytes:
        """Remove from the front of `buffer` what belongs to the body, and return it decoded.

        Bytes after the body stay.  What was good before a violation is returned; nothing is after it.
        """
        if self._awaiting is None:
            return self._take_counted(buffer)
        content = bytearray()
        while not self.done and self.refusal is None and self._step(buffer, content):
            pass
        return bytes(content)

    def _take_counted(self, buffer: bytearray) -> bytes:
        piece = bytes(buffer[: self._left])
        del buffer[: len(piece)]
        self._left -= len(piece)
        self.done = self._left == 0
        return piece

    def _step(self, buffer: bytearray, content: bytearray) -> bool:
        """Read the next element; False where it is not all there yet."""
        if self._awaiting is _Awaiting.SIZE:
            return self._read_size(buffer)
        if self._awaiting is _Awaiting.CONTENT:
            return self._read_content(buffer, content)
        return self._read_line_end(buffer)

    def _read_size(self, buffer: bytearray) -> bool:
        end = buffer.find(b"\r\n", 0, _MAX_SIZE_LINE_BYTES)
        if end < 0:
            if not _START_OF_SIZE_LINE.fullmatch(buffer, 0, _MAX_SIZE_LINE_BYTES):
                self._refuse_framing("a chunk size is not one to eight hexadecimal digits and CRLF")
            return False
        if not _SIZE.fullmatch(buffer, 0, end):
            self._refuse_framing("a chunk size is not one to eight hexadecimal digits and CRLF")
            return False
        self._begin_chunk(int(buffer[:end], 16))
        del buffer[: end + 2]
        return True

    def _begin_chunk(self, size: int) -> None:
        self._left = size
        self._awaiting = _Awaiting.CONTENT if size else _Awaiting.LAST_END
        self._total += size
        self._chunks += 1
        if self._max_bytes is not None and self._total > self._max_bytes:
            self.refusal = Refusal(Reason.HTTP_BODY_TOO_LARGE, "the chunks together are over max_body_bytes")
        elif self._max_chunks is not None and self._chunks > self._max_chunks:
            self._refuse_framing("there are more than max_chunks chunks")

    def _read_content(self, buffer: bytearray, content: bytearray) -> bool:
        piece = buffer[: self._left]
        del buffer[: len(piece)]
        content += piece
        self._left -= len(piece)
        if self._left == 0:
            self._awaiting = _Awaiting.CONTENT_END
        return self._left == 0

    def _read_line_end(self, buffer: bytearray) -> bool:
        """CRLF after a chunk's content, or after the last chunk: anything else there is a trailer field, or a lie."""
        if not b"\r\n".startswith(buffer[:2]):
            self._refuse_framing("a chunk is not followed by CRLF, or trailers follow the last")
            return False
        if len(buffer) < 2:
            return False
        del buffer[:2]
        self.done = self._awaiting is _Awaiting.LAST_END
        self._awaiting = _Awaiting.SIZE
        return True

    def _refuse_framing(self, detail: str) -> None:
        self.refusal = Refusal(Reason.HTTP_FRAMING, detail)
