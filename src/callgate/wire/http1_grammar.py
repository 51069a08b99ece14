"""What request heads and response heads have in common: lines, fields, framing.

One head is the bytes from the first of the start line to CRLF CRLF, both included.  Nothing here raises.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from callgate.errors import Reason, Refusal

HEAD_END = b"\r\n\r\n"

# RFC 9110, 5.6.2 token, without "_": CGI-style servers read X_Y and X-Y as the same name.
_TOKEN = r"[!#$%&'*+\-.^`|~0-9A-Za-z]+"  # noqa: S105  # a grammar rule, no secret
TOKEN = re.compile(_TOKEN)
# RFC 9110, 5.5: field-value is VCHAR / obs-text with SP / HTAB between; values with CR, LF or NUL "are invalid and
# dangerous", and we count the other controls in.
_FIELD_VALUE = r"[\t\x20-\x7e\x80-\xff]*"
FIELD_VALUE = re.compile(_FIELD_VALUE)
# Name and value in classes that do not overlap, so that matching is linear; the white space is stripped afterwards.
_FIELD = re.compile(rf"({_TOKEN}):({_FIELD_VALUE})")
# RFC 9110, 8.6: Content-Length = 1*DIGIT; canonical, because "010" is eight to some and ten to others.
_CONTENT_LENGTH = re.compile(r"0|[1-9][0-9]*")

# More digits than this are over any limit, and never given to int().
_MAX_LENGTH_DIGITS = 15

FRAMING_FIELDS = frozenset({"content-length", "transfer-encoding"})
_MCP_PREFIX = "mcp-"


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """What one message may cost."""

    # Start line and fields together.  16 KiB holds every MCP client's head many times over.
    max_head_bytes: int = 16_384
    max_fields: int = 100
    # After decoding.  An MCP request is a JSON object that fits the JSON limit.
    max_body_bytes: int = 1 << 20
    # Of one request.  A body of one-byte chunks would cost a second of CPU a megabyte.
    max_chunks: int = 1024
    # What a client may send ahead while its request is still being answered.
    max_pipelined_bytes: int = 65_536


# A tool server may send bigger heads (cookies, policies) and bigger answers (images in base64).
RESPONSE_LIMITS = HttpLimits(max_head_bytes=32_768, max_body_bytes=4 << 20)


@dataclass(frozen=True, slots=True)
class Headers:
    """Field lines in the order in which they came: lower-case names, values without white space around them.

    Values are text in which each character stands for one byte (ISO 8859-1).
    """

    fields: tuple[tuple[str, str], ...] = ()
    repeated: frozenset[str] = field(init=False, repr=False, compare=False)
    _index: dict[str, str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        fields = tuple([(name.lower(), value) for name, value in self.fields])
        index = dict(fields)
        repeated: frozenset[str] = frozenset()
        if len(index) != len(fields):
            names = [name for name, _ in fields]
            repeated = frozenset(name for name in names if names.count(name) > 1)
        object.__setattr__(self, "fields", fields)
        object.__setattr__(self, "_index", index)
        object.__setattr__(self, "repeated", repeated)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self.fields)

    def __len__(self) -> int:
        return len(self.fields)

    def one(self, name: str) -> str | None:
        """The value of the only field line called `name` (lower case); None where there is none, or several."""
        return None if name in self.repeated else self._index.get(name)

    def all(self, name: str) -> tuple[str, ...]:
        """The values of every field line called `name` (lower case), in order."""
        return tuple(value for key, value in self.fields if key == name)


_BARE_LINE_END = Refusal(Reason.HTTP_MALFORMED, "a line of the head ends with bare CR or LF")
_HEAD_TOO_LARGE = Refusal(Reason.HTTP_HEAD_TOO_LARGE, "the head is over max_head_bytes")


def find_head_end(buffer: bytearray, max_head_bytes: int) -> int | Refusal | None:
    """Where the head at the start of `buffer` ends; None where more bytes are needed.

    Refuses as soon as the bytes at hand cannot become a head, so that nobody waits for a terminator that never comes.
    The verdict does not depend on how the bytes were split.
    """
    # A start line begins with a token.  An empty line before it is refused too, although RFC 9112, 2.2 lets a server
    # skip one: what is skipped is where two parsers part.
    if buffer and buffer[0] <= 0x20:
        return Refusal(Reason.HTTP_MALFORMED, "the message does not begin with a start line")
    found = buffer.find(HEAD_END, 0, max_head_bytes)
    end = found + len(HEAD_END) if found >= 0 else min(len(buffer), max_head_bytes)
    if not _lines_end_with_crlf(buffer, end):
        return _BARE_LINE_END
    if found >= 0:
        return end
    return _HEAD_TOO_LARGE if len(buffer) >= max_head_bytes else None


def _lines_end_with_crlf(buffer: bytes | bytearray, end: int) -> bool:
    """RFC 9112, 2.2: a bare CR is invalid; a recipient "MAY" take a bare LF, and we do not.

    A CR that is the last byte may still be followed by its LF.
    """
    pairs = buffer.count(b"\r\n", 0, end)
    waiting = buffer[end - 1 : end] == b"\r"
    return buffer.count(b"\n", 0, end) == pairs and buffer.count(b"\r", 0, end) - waiting == pairs


def split_head(head: bytes, limits: HttpLimits) -> list[str] | Refusal:
    """The lines of a head, without their ends and without the empty line that closes it."""
    if len(head) > limits.max_head_bytes:
        return _HEAD_TOO_LARGE
    if not head.endswith(HEAD_END):
        return Refusal(Reason.HTTP_MALFORMED, "the head does not end with an empty line")
    if not _lines_end_with_crlf(head, len(head)):
        return _BARE_LINE_END
    lines = head[: -len(HEAD_END)].decode("latin-1").split("\r\n")
    if len(lines) - 1 > limits.max_fields:
        return Refusal(Reason.HTTP_HEAD_TOO_LARGE, "there are more than max_fields fields")
    return lines


def parse_fields(lines: list[str]) -> Headers | Refusal:
    """RFC 9112, 5: field-line = field-name ":" OWS field-value OWS.

    5.1: no white space before the colon.  5.2: a folded line (obs-fold) begins with white space, so is no field line.
    """
    fields = []
    for number, line in enumerate(lines[1:], start=1):
        match = _FIELD.fullmatch(line)
        if match is None:
            return Refusal(Reason.HTTP_HEADER, f"field line {number} is not name, colon, value")
        name, value = match.groups()
        fields.append((name, value.strip(" \t")))
    return Headers(tuple(fields))


def refuse_repeated(headers: Headers, single: frozenset[str]) -> Refusal | None:
    """RFC 9110, 5.3: a sender MUST NOT repeat a field that is not a list; two parsers take two different ones."""
    for name in sorted(headers.repeated):
        if name in FRAMING_FIELDS:
            return Refusal(Reason.HTTP_FRAMING, f"{name} is repeated")
        if name in single:
            return Refusal(Reason.HTTP_HEADER_REPEATED, f"{name} is repeated")
        # MCP 2026-07-28, "Server Validation": these mirror the body, so two of them cannot both agree with it.
        if name.startswith(_MCP_PREFIX):
            return Refusal(Reason.HEADER_MISMATCH, f"{name[:64]} is repeated")
    return None


def refuse_switching(headers: Headers) -> Refusal | None:
    """No other protocol, no fields that only hold for one hop, no trailers.

    RFC 9110, 7.6.1: what Connection names is taken out by the next hop.  A caller that names Authorization there
    would choose what that hop sees.
    """
    for name in ("upgrade", "trailer"):
        if headers.one(name) is not None or name in headers.repeated:
            return Refusal(Reason.HTTP_HEADER, f"{name} is not accepted")
    if connection_option(headers) not in (None, "close", "keep-alive"):
        return Refusal(Reason.HTTP_HEADER, "connection says more than close or keep-alive")
    return None


def connection_option(headers: Headers) -> str | None:
    """RFC 9110, 7.6.1: "Connection options are case-insensitive"."""
    value = headers.one("connection")
    return None if value is None else value.lower()


def body_length(headers: Headers, limits: HttpLimits) -> int | Refusal | None:
    """RFC 9112, 6.3, without the ways out: one of the two fields or none, and only the plain form of each."""
    length, coding = headers.one("content-length"), headers.one("transfer-encoding")
    if coding is not None:
        if length is not None:
            return Refusal(Reason.HTTP_FRAMING, "content-length and transfer-encoding together")
        return None if coding == "chunked" else Refusal(Reason.HTTP_FRAMING, "transfer-encoding is not chunked")
    if length is None:
        return 0
    if not _CONTENT_LENGTH.fullmatch(length):
        return Refusal(Reason.HTTP_FRAMING, "content-length is not a canonical decimal number")
    if len(length) > _MAX_LENGTH_DIGITS or int(length) > limits.max_body_bytes:
        return Refusal(Reason.HTTP_BODY_TOO_LARGE, "content-length is over max_body_bytes")
    return int(length)
