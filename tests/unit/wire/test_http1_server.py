import json

import h11
import pytest

from callgate.errors import Reason, Refusal
from callgate.wire.http1 import Headers, HttpLimits, RawRequest, RequestHead, ResponseHead, parse_request_head
from callgate.wire.http1_client import ResponseReader, encode_request
from callgate.wire.http1_server import (
    ConnectionMisuseError,
    Phase,
    ServerConnection,
    second_opinion_on_body,
    second_opinion_on_head,
)
from support.http1_vectors import AUTHORITIES, answer_all, serve

HEAD = b"POST /ledger/mcp HTTP/1.1\r\nHost: gate.acme.test\r\n"
POST = HEAD + b"Content-Length: 2\r\n\r\n{}"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
# What one read from the network brings at most.
READ_BYTES = 16_384


def opened(data: bytes = b"", limits: HttpLimits | None = None) -> ServerConnection:
    connection = ServerConnection(limits or HttpLimits(), AUTHORITIES)
    if data:
        connection.receive(data)
    return connection


def asked(data: bytes = POST, limits: HttpLimits | None = None) -> ServerConnection:
    connection = opened(data, limits)
    assert connection.next_request() is not None
    return connection


def test_request_carries_method_target_fields_and_body() -> None:
    connection = opened(HEAD + b"Mcp-Name:  get_invoice \r\nX-A: 1\r\nx-a: 2\r\nContent-Length: 2\r\n\r\n{}")

    request = connection.next_request()

    assert request == RawRequest(
        "POST",
        "/ledger/mcp",
        Headers(
            (
                ("host", "gate.acme.test"),
                ("mcp-name", "get_invoice"),
                ("x-a", "1"),
                ("x-a", "2"),
                ("content-length", "2"),
            )
        ),
        b"{}",
    )
    assert isinstance(request, RawRequest)
    assert request.headers.one("mcp-name") == "get_invoice"
    assert request.headers.one("x-a") is None
    assert request.headers.all("x-a") == ("1", "2")
    assert request.headers.one("absent") is None


def test_phase_says_what_is_awaited() -> None:
    connection = opened()
    phases = [connection.phase]
    for piece in (b"P", POST[1:-2], b"{", b"}"):
        connection.receive(piece)
        connection.next_request()
        phases.append(connection.phase)
    connection.respond(200, [])
    connection.finish()
    phases.append(connection.phase)

    assert phases == [Phase.IDLE, Phase.HEAD, Phase.BODY, Phase.BODY, Phase.ANSWER, Phase.IDLE]


def test_end_of_stream_between_requests_is_clean() -> None:
    connection = asked()
    connection.respond(200, [])
    connection.finish()
    connection.receive(b"")

    assert connection.next_request() is None
    assert connection.closed_cleanly


def test_client_that_closed_its_side_still_gets_its_answer_and_no_further_one() -> None:
    connection = asked()
    connection.receive(b"")

    assert not connection.closed_cleanly
    assert connection.must_close
    assert b"connection: close" in connection.respond(200, [])
    connection.finish()
    assert connection.phase is Phase.CLOSED


def test_pipelined_request_waits_for_the_answer_before_it() -> None:
    connection = asked(POST + POST)

    assert connection.next_request() is None
    assert connection.buffered == len(POST)
    connection.respond(200, [])
    connection.finish()
    assert isinstance(connection.next_request(), RawRequest)
    assert connection.buffered == 0


def test_client_that_pipelines_too_much_loses_the_connection_and_not_its_answer() -> None:
    connection = asked()
    for _ in range(5):
        connection.receive(b"x" * READ_BYTES)

    assert connection.buffered == 0
    assert connection.must_close
    connection.receive(POST)
    assert connection.respond(200, [], b"ok").endswith(b"\r\n\r\nok")
    connection.finish()
    assert connection.next_request() is None
    assert connection.phase is Phase.CLOSED


def test_answer_has_its_length_and_the_fields_given() -> None:
    answer = asked().respond(200, [("content-type", "application/json")], b"[1]")

    assert answer == b"HTTP/1.1 200 \r\ncontent-type: application/json\r\ncontent-length: 3\r\n\r\n[1]"


@pytest.mark.parametrize("status", [204, 304])
def test_answer_without_content_has_no_length(status: int) -> None:
    assert asked().respond(status, []) == b"HTTP/1.1 %d \r\n\r\n" % status


def test_stream_is_chunked_and_ends_once() -> None:
    connection = asked()

    sent = connection.start_stream(200, [("content-type", "text/event-stream")])
    sent += connection.stream(b"a" * 10) + connection.stream(b"") + connection.stream(b"b")
    sent += connection.end_stream()
    connection.finish()

    assert sent == (
        b"HTTP/1.1 200 \r\ncontent-type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"a\r\naaaaaaaaaa\r\n1\r\nb\r\n0\r\n\r\n"
    )
    assert connection.phase is Phase.IDLE


def test_refusal_can_be_answered_and_ends_the_connection() -> None:
    connection = opened(b"BREW /pot HTTP/1.1\r\nHost: gate.acme.test\r\n\r\n" + POST)

    assert isinstance(connection.next_request(), Refusal)
    assert connection.must_close
    assert connection.respond(405, [("allow", "POST")], b"no") == (
        b"HTTP/1.1 405 \r\nallow: POST\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno"
    )
    connection.finish()
    connection.receive(POST)
    assert connection.next_request() is None
    assert connection.phase is Phase.CLOSED


def test_answer_before_the_request_is_whole_is_the_last() -> None:
    connection = opened(POST[:-1])
    assert connection.next_request() is None

    assert b"connection: close" in connection.respond(408, [])
    connection.receive(b"}" + POST)
    assert connection.next_request() is None
    connection.finish()
    assert connection.phase is Phase.CLOSED


def test_connection_closes_after_the_response_when_asked_to() -> None:
    connection = asked(POST + POST)
    connection.close_after_response()

    assert b"connection: close" in connection.respond(200, [])
    connection.finish()
    assert connection.next_request() is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x-a", "a\r\nset-cookie: b"),
        ("x-a", "a\nb"),
        ("x-a", "a\rb"),
        ("x-a", "a\0b"),
        ("x-a", "a\x1bb"),
        ("x-a", "☃"),
        ("x a", "b"),
        ("x-a:", "b"),
        ("", "b"),
        ("Content-Length", "5"),
        ("transfer-encoding", "chunked"),
        ("connection", "keep-alive"),
    ],
)
def test_field_that_would_change_the_answers_framing_is_not_sent(name: str, value: str) -> None:
    with pytest.raises(ValueError, match="cannot be sent"):
        asked().respond(200, [(name, value)])


def test_misuse_is_a_fault_of_ours() -> None:
    with pytest.raises(ConnectionMisuseError):
        opened(POST[:-1]).start_stream(200, [])
    with pytest.raises(ConnectionMisuseError):
        asked().finish()
    with pytest.raises(ConnectionMisuseError):
        asked().respond(99, [])
    answered = asked()
    answered.respond(200, [])
    with pytest.raises(ConnectionMisuseError):
        answered.respond(200, [])


def fed_until_refused(data: bytes, limits: HttpLimits | None = None) -> tuple[int, Refusal]:
    connection = opened(limits=limits)
    for position in range(0, len(data), READ_BYTES):
        connection.receive(data[position : position + READ_BYTES])
        outcome = connection.next_request()
        if isinstance(outcome, Refusal):
            assert connection.buffered == 0
            return position + READ_BYTES, outcome
    raise AssertionError("accepted, or still waiting")


HUGE = {
    "head": (HEAD + b"X-A: " + b"a" * 200_000 + b"\r\n\r\n", Reason.HTTP_HEAD_TOO_LARGE),
    "fields": (HEAD + b"X-A: a\r\n" * 20_000 + b"\r\n", Reason.HTTP_HEAD_TOO_LARGE),
    "extension": (CHUNKED + b"5;a=" + b"b" * 200_000 + b"\r\nhello\r\n0\r\n\r\n", Reason.HTTP_FRAMING),
    "trailers": (CHUNKED + b"0\r\n" + b"X-A: a\r\n" * 20_000 + b"\r\n", Reason.HTTP_FRAMING),
}


@pytest.mark.parametrize("kind", HUGE)
def test_refuses_the_huge_within_the_limit_and_one_read(kind: str) -> None:
    data, reason = HUGE[kind]

    taken, refusal = fed_until_refused(data)

    assert refusal.reason is reason
    assert taken <= HttpLimits().max_head_bytes + READ_BYTES


@pytest.mark.parametrize("kind", HUGE)
def test_refuses_the_huge_when_it_comes_in_one_piece(kind: str) -> None:
    data, reason = HUGE[kind]
    connection = opened(data)

    outcome = connection.next_request()

    assert isinstance(outcome, Refusal)
    assert outcome.reason is reason
    assert connection.buffered == 0


@pytest.mark.parametrize(
    ("begun", "more"),
    [(HEAD, b"a"), (HEAD + b"Content-Length: 1048576\r\n\r\n", b"a"), (CHUNKED + b"fffff\r\n", b"a"), (b"", POST)],
)
def test_holds_no_more_than_its_limits_though_nobody_takes_the_request(begun: bytes, more: bytes) -> None:
    connection = opened(begun)
    most = 0
    for _ in range(1000):
        connection.receive(more * (READ_BYTES // len(more)))
        most = max(most, connection.buffered)

    assert most <= HttpLimits().max_pipelined_bytes
    assert len(connection._body) <= HttpLimits().max_body_bytes
    assert connection.next_request() is not None
    assert connection.must_close


def test_answer_to_a_deadline_is_the_last_though_the_request_came_after_all() -> None:
    connection = opened(POST + POST)

    assert b"connection: close" in connection.respond(408, [])
    connection.finish()
    assert connection.next_request() is None


def test_limits_are_the_ones_given() -> None:
    limits = HttpLimits(max_head_bytes=100, max_fields=2, max_body_bytes=2)

    assert isinstance(serve([POST], limits)[0], RawRequest)
    for data, reason in (
        (HEAD + b"X-A: " + b"a" * 50 + b"\r\n\r\n", Reason.HTTP_HEAD_TOO_LARGE),
        (HEAD + b"X:a\r\nY:b\r\n\r\n", Reason.HTTP_HEAD_TOO_LARGE),
        (HEAD + b"Content-Length: 3\r\n\r\n[1]", Reason.HTTP_BODY_TOO_LARGE),
    ):
        refusal = serve([data], limits)[0]
        assert isinstance(refusal, Refusal)
        assert refusal.reason is reason


def test_refusal_does_not_repeat_the_callers_secrets() -> None:
    refusal = serve([HEAD + b"Authorization: Bearer s3cret\x01\r\nCookie: s3cret\r\n\r\n"])[0]

    assert isinstance(refusal, Refusal)
    assert "s3cret" not in refusal.detail


def accepted(raw: bytes) -> RequestHead:
    head = parse_request_head(raw, HttpLimits(), AUTHORITIES)
    assert isinstance(head, RequestHead)
    return head


@pytest.mark.parametrize(
    "other",
    [
        POST[:-2].replace(b"POST", b"GET").replace(b"2", b"0"),
        POST[:-2].replace(b"/ledger", b"/other"),
        POST[:-2].replace(b"\r\n\r\n", b"\r\nX-A: b\r\n\r\n"),
        POST[:-2].replace(b"gate.acme.test", b"gate.acme.test:8443"),
    ],
)
def test_refuses_where_h11_reads_another_head(other: bytes) -> None:
    refusal = second_opinion_on_head(h11.Connection(h11.SERVER), other, accepted(POST[:-2]))

    assert isinstance(refusal, Refusal)
    assert refusal.reason is Reason.HTTP_MALFORMED


def test_refuses_where_h11_sees_an_error() -> None:
    refusal = second_opinion_on_head(h11.Connection(h11.SERVER), b"nonsense\r\n\r\n", accepted(POST[:-2]))

    assert isinstance(refusal, Refusal)


@pytest.mark.parametrize(
    ("raw", "content", "whole"),
    [(b"{}", b"[]", True), (b"{}", b"{}", False), (b"{", b"{", True), (b"{}x", b"{}", True)],
)
def test_refuses_where_h11_reads_another_body(raw: bytes, content: bytes, whole: bool) -> None:
    protocol = h11.Connection(h11.SERVER)
    assert second_opinion_on_head(protocol, POST[:-2], accepted(POST[:-2])) is None

    assert isinstance(second_opinion_on_body(protocol, raw, content, whole=whole), Refusal)


def test_own_client_and_own_server_understand_each_other() -> None:
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "ping"}).encode()
    connection = opened(encode_request("POST", "/a?b=c", "gate.acme.test", [("Mcp-Method", "ping")], body))

    request = connection.next_request()

    assert isinstance(request, RawRequest)
    assert (request.target, request.headers.one("mcp-method"), request.body) == ("/a?b=c", "ping", body)
    reader = ResponseReader()
    reader.receive(connection.start_stream(200, [("content-type", "text/event-stream")]))
    reader.receive(connection.stream(b"data: a\n\n") + connection.stream(b"data: b\n\n") + connection.end_stream())
    head = reader.head()
    assert isinstance(head, ResponseHead)
    assert head.headers.one("content-type") == "text/event-stream"
    assert reader.body() == b"data: a\n\ndata: b\n\n"
    assert reader.done
    assert reader.reusable


def test_two_hundred_requests_pass_over_one_connection() -> None:
    connection = opened(POST * 200)

    assert len(answer_all(connection)) == 200
    assert connection.phase is Phase.IDLE
