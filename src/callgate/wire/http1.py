"""HTTP/1.1 heads in exactly one reading.

h11 is a good protocol engine and no border against request smuggling: it takes Content-Length beside
Transfer-Encoding, folded lines, bare LF, trailers and more.  This profile stands in front of it and refuses whatever
two parsers could read in two ways.  It is narrower than RFC 9112 on purpose: a client of ours needs no more.  The same
grammar judges the heads of tool servers' answers.
"""

import re
from dataclasses import dataclass

from callgate.errors import Reason, Refusal
from callgate.wire.http1_grammar import (
    FRAMING_FIELDS,
    RESPONSE_LIMITS,
    TOKEN,
    Headers,
    HttpLimits,
    body_length,
    connection_option,
    parse_fields,
    refuse_repeated,
    refuse_switching,
    split_head,
)

__all__ = [
    "RESPONSE_LIMITS",
    "Headers",
    "HttpLimits",
    "RawRequest",
    "RequestHead",
    "ResponseHead",
    "parse_request_head",
    "parse_response_head",
    "upstream_refusal",
]

# RFC 9110, 9.1 defines more; MCP over Streamable HTTP uses POST, GET and DELETE, and browsers ask OPTIONS first.
METHODS = frozenset({"POST", "GET", "DELETE", "OPTIONS"})
# RFC 9110, 9.3.1: "content received in a GET request has no generally defined semantics", so there is none.
METHODS_WITHOUT_BODY = METHODS - {"POST"}

# RFC 9112, 3.2.1: origin-form = absolute-path [ "?" query ], characters of RFC 3986, 3.3 and 3.4.  "//" at the start
# would be an authority to a URL parser.
TARGET = re.compile(r"/(?!/)(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/?]|%[0-9A-Fa-f]{2})*")
# RFC 9112, 2.3: HTTP-version is HTTP-name "/" DIGIT "." DIGIT.
_VERSION = re.compile(r"HTTP/[0-9]\.[0-9]")
# RFC 9110, 7.2: Host = uri-host [ ":" port ].
AUTHORITY = re.compile(r"(?:[A-Za-z0-9.\-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
# RFC 9112, 4: status-line = HTTP-version SP status-code SP [ reason-phrase ].
_STATUS_LINE = re.compile(r"HTTP/1\.1 ([1-5][0-9]{2}) [\t\x20-\x7e\x80-\xff]*")

_SINGLE_IN_REQUEST = FRAMING_FIELDS | {
    "accept",
    "authorization",
    "connection",
    "content-encoding",
    "content-type",
    "expect",
    "host",
    "origin",
}
_SINGLE_IN_RESPONSE = FRAMING_FIELDS | {"connection", "content-encoding", "content-type", "location"}


@dataclass(frozen=True, slots=True)
class RequestHead:
    """A request's head that the profile accepted.  `body_length` in bytes; None for a chunked body."""

    method: str
    target: str
    headers: Headers
    body_length: int | None
    keep_alive: bool


@dataclass(frozen=True, slots=True)
class RawRequest:
    """One whole request.  `target` is in origin-form, `body` is decoded."""

    method: str
    target: str
    headers: Headers
    body: bytes


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """A response's head that the profile accepted.  `body_length` in bytes; None for a chunked body."""

    status: int
    headers: Headers
    body_length: int | None
    keep_alive: bool


def parse_request_head(head: bytes, limits: HttpLimits, authorities: frozenset[str] | None) -> RequestHead | Refusal:
    """Read one request head.

    `authorities`: what Host may say, each `name` or `name:port` in lower case; None for anything well-formed.  Never raises; of several violations
    one is named.
    """
    lines = split_head(head, limits)
    if isinstance(lines, Refusal):
        return lines
    start = _parse_request_line(lines[0])
    if isinstance(start, Refusal):
        return start
    headers = parse_fields(lines)
    if isinstance(headers, Refusal):
        return headers
    method, target = start
    refusal = (
        refuse_repeated(headers, _SINGLE_IN_REQUEST)
        or _refuse_host(headers, authorities)
        or refuse_switching(headers)
        or _refuse_expectation(headers)
    )
    if refusal is not None:
        return refusal
    length = _request_body_length(method, headers, limits)
    if isinstance(length, Refusal):
        return length
    return RequestHead(method, target, headers, length, connection_option(headers) != "close")


def parse_response_head(head: bytes, limits: HttpLimits = RESPONSE_LIMITS) -> ResponseHead | Refusal:
    """Read one head of a tool server's answer, interim answers (1xx) included.

    Never raises.  A refusal is UPSTREAM_MALFORMED, or UPSTREAM_TOO_LARGE where a limit was passed.
    """
    parsed = _parse_response_head(head, limits)
    return upstream_refusal(parsed) if isinstance(parsed, Refusal) else parsed


def upstream_refusal(refusal: Refusal) -> Refusal:
    """The same violation, committed by a tool server."""
    too_large = refusal.reason in (Reason.HTTP_HEAD_TOO_LARGE, Reason.HTTP_BODY_TOO_LARGE)
    reason = Reason.UPSTREAM_TOO_LARGE if too_large else Reason.UPSTREAM_MALFORMED
    return Refusal(reason, refusal.detail)


def _parse_request_line(line: str) -> tuple[str, str] | Refusal:
    """RFC 9112, 3: request-line = method SP request-target SP HTTP-version."""
    words = line.split(" ")
    if len(words) != 3:
        return Refusal(Reason.HTTP_MALFORMED, "the request line is not three words with one space between")
    method, target, version = words
    # The version first: of another version we know neither the methods nor the targets.
    if version != "HTTP/1.1":
        known = _VERSION.fullmatch(version)
        return Refusal(Reason.HTTP_VERSION if known else Reason.HTTP_MALFORMED, "the version is not HTTP/1.1")
    if method not in METHODS:
        known = TOKEN.fullmatch(method)
        return Refusal(Reason.HTTP_METHOD if known else Reason.HTTP_MALFORMED, "the method is not served")
    if not TARGET.fullmatch(target):
        return Refusal(Reason.HTTP_TARGET, "the target is not in origin-form")
    return method, target


def _refuse_host(headers: Headers, authorities: frozenset[str] | None) -> Refusal | None:
    """RFC 9112, 3.2: 400 for a request without exactly one valid Host; RFC 9110, 15.5.20: 421 for another's."""
    host = headers.one("host")
    if host is None:
        return Refusal(Reason.HTTP_HEADER, "host is missing")
    if (authorities is None and AUTHORITY.fullmatch(host)) or (authorities is not None and host.lower() in authorities):
        return None
    if not AUTHORITY.fullmatch(host):
        return Refusal(Reason.HTTP_HEADER, "host is not a name and port")
    return Refusal(Reason.HTTP_HOST, f"this gate is not {host[:128]}")


def _refuse_expectation(headers: Headers) -> Refusal | None:
    """RFC 9110, 10.1.1: 417 for an expectation that is not met.  A client then asks again without one."""
    if headers.one("expect") is None:
        return None
    return Refusal(Reason.HTTP_EXPECTATION, "no expectation is met here")


def _request_body_length(method: str, headers: Headers, limits: HttpLimits) -> int | Refusal | None:
    length = body_length(headers, limits)
    if method in METHODS_WITHOUT_BODY and not isinstance(length, Refusal) and length != 0:
        return Refusal(Reason.HTTP_BODY_UNEXPECTED, f"{method} with a body")
    return length


def _parse_response_head(head: bytes, limits: HttpLimits) -> ResponseHead | Refusal:
    lines = split_head(head, limits)
    if isinstance(lines, Refusal):
        return lines
    status_line = _STATUS_LINE.fullmatch(lines[0])
    if status_line is None:
        return Refusal(Reason.HTTP_MALFORMED, "the status line is not HTTP/1.1, three digits and a phrase")
    headers = parse_fields(lines)
    if isinstance(headers, Refusal):
        return headers
    status = int(status_line[1])
    refusal = refuse_repeated(headers, _SINGLE_IN_RESPONSE) or refuse_switching(headers) or _refuse_coding(headers)
    if refusal is not None:
        return refusal
    length = _response_body_length(status, headers, limits)
    if isinstance(length, Refusal):
        return length
    return ResponseHead(status, headers, length, connection_option(headers) != "close")


def _refuse_coding(headers: Headers) -> Refusal | None:
    """We ask for no content coding, and what is compressed cannot be screened."""
    if headers.one("content-encoding") in (None, "identity"):
        return None
    return Refusal(Reason.HTTP_CONTENT_ENCODING, "content-encoding is not identity")


def _response_body_length(status: int, headers: Headers, limits: HttpLimits) -> int | Refusal | None:
    """RFC 9112, 6.3, for answers to POST, GET and DELETE.

    Rule 1: 1xx, 204 and 304 have no body, whatever the fields say; where they say otherwise, we refuse.  Rule 8, "read
    until the connection is closed", is refused: a cut-off answer would look whole.
    """
    length = body_length(headers, limits)
    if isinstance(length, Refusal):
        return length
    if status < 200 or status in (204, 304):
        return 0 if length == 0 else Refusal(Reason.HTTP_FRAMING, f"status {status} announces a body")
    if length == 0 and headers.one("content-length") is None:
        return Refusal(Reason.HTTP_FRAMING, "the body has neither a length nor chunks")
    return length
