import pytest

from callgate.errors import Reason, Refusal
from callgate.wire.http1 import HttpLimits, ResponseHead
from callgate.wire.http1_client import ResponseReader, encode_request

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n"


def reading(data: bytes, limits: HttpLimits | None = None) -> ResponseReader:
    reader = ResponseReader(limits) if limits else ResponseReader()
    reader.receive(data)
    return reader


def test_request_is_written_with_host_first_and_its_length_last() -> None:
    assert encode_request("POST", "/mcp", "ledger.acme.test:8443", [("Accept", "a/b")], b"{}") == (
        b"POST /mcp HTTP/1.1\r\nhost: ledger.acme.test:8443\r\nAccept: a/b\r\ncontent-length: 2\r\n\r\n{}"
    )


def test_request_without_body_has_length_zero() -> None:
    assert encode_request("DELETE", "/mcp", "[::1]:80", []).endswith(b"\r\ncontent-length: 0\r\n\r\n")


@pytest.mark.parametrize(
    ("method", "target", "host"),
    [
        ("PO ST", "/", "a"),
        ("POST\r\n", "/", "a"),
        ("", "/", "a"),
        ("POST", "/a b", "a"),
        ("POST", "/\r\nX: a", "a"),
        ("POST", "/\n", "a"),
        ("POST", "//evil.test/", "a"),
        ("POST", "http://evil.test/", "a"),
        ("POST", "", "a"),
        ("POST", "/é", "a"),
        ("POST", "/", ""),
        ("POST", "/", "a\r\nX: b"),
        ("POST", "/", "a\n"),
        ("POST", "/", "a, b"),
        ("POST", "/", "user@a"),
    ],
)
def test_start_line_that_could_be_read_as_more_is_not_written(method: str, target: str, host: str) -> None:
    with pytest.raises(ValueError, match="cannot be sent"):
        encode_request(method, target, host, [], b"")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x-a", "a\r\nb: c"),
        ("x-a", "a\n"),
        ("x-a", "\ra"),
        ("x-a", "a\0"),
        ("x-a", "a\x7f"),
        ("x-a", "☃"),
        ("x-a\n", "b"),
        ("x_a", "b"),
        ("", "b"),
        ("é", "b"),
        ("Host", "b"),
        ("Content-Length", "3"),
        ("Transfer-Encoding", "chunked"),
        ("Connection", "authorization"),
        ("Upgrade", "h2c"),
        ("TE", "trailers"),
        ("Trailer", "x-a"),
        ("Expect", "100-continue"),
    ],
)
def test_field_that_could_be_read_as_more_is_not_written(name: str, value: str) -> None:
    with pytest.raises(ValueError, match="cannot be sent"):
        encode_request("POST", "/", "a", [(name, value)], b"")


def test_head_is_there_before_the_body() -> None:
    reader = reading(CHUNKED + b"Mcp-Session-Id: a\r\n\r\n")

    head = reader.head()

    assert isinstance(head, ResponseHead)
    assert (head.status, head.body_length, head.headers.one("mcp-session-id")) == (200, None, "a")
    assert reader.body() == b""
    assert not reader.done
    assert not reader.reusable


def test_body_comes_in_pieces_as_it_arrives() -> None:
    reader = reading(CHUNKED + b"\r\n5\r\nhel")
    reader.head()
    pieces = [reader.body()]
    for data in (b"lo\r\n3", b"\r\nabc\r\n0\r\n", b"\r\n"):
        reader.receive(data)
        pieces.append(reader.body())

    assert pieces == [b"hel", b"lo", b"abc", b""]
    assert reader.done
    assert reader.reusable


def test_what_came_before_a_violation_is_returned_before_the_refusal() -> None:
    reader = reading(CHUNKED + b"\r\n5\r\nhello\r\n5;ext\r\n")
    reader.head()

    assert reader.body() == b"hello"
    refusal = reader.body()
    assert isinstance(refusal, Refusal)
    assert refusal.reason is Reason.UPSTREAM_MALFORMED
    assert reader.body() == reader.head() == refusal
    assert not reader.done
    assert not reader.reusable


@pytest.mark.parametrize("late", [b"x", b"\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison", b""])
def test_connection_is_not_reused_after_anything_that_follows_the_answer(late: bytes) -> None:
    reader = reading(OK + b"Content-Length: 2\r\n\r\n{}")
    reader.head()
    assert reader.body() == b"{}"
    assert reader.reusable

    reader.receive(late)

    assert reader.done
    assert reader.body() == b""
    assert not reader.reusable


def test_connection_is_not_reused_before_the_body_was_taken() -> None:
    reader = reading(OK + b"Content-Length: 2\r\n\r\n{}")

    assert not reader.reusable


def test_answer_that_is_whole_when_the_stream_ends_is_whole() -> None:
    reader = reading(OK + b"Content-Length: 2\r\n\r\n{}")
    reader.receive(b"")
    reader.head()

    assert reader.body() == b"{}"
    assert reader.done
    assert not reader.reusable


def test_body_is_bounded_unless_it_is_an_event_stream() -> None:
    limits = HttpLimits(max_body_bytes=4)
    body = b"\r\n5\r\nhello\r\n0\r\n\r\n"
    for media_type, expected in (
        (b"text/event-stream", b"hello"),
        (b"Text/Event-Stream ; charset=utf-8", b"hello"),
        (b"application/json", Reason.UPSTREAM_TOO_LARGE),
        (b"text/event-streams", Reason.UPSTREAM_TOO_LARGE),
    ):
        reader = reading(CHUNKED + b"Content-Type: " + media_type + b"\r\n" + body, limits)
        reader.head()
        outcome = reader.body()
        assert (outcome.reason if isinstance(outcome, Refusal) else outcome) == expected


def test_nothing_is_held_after_a_refusal() -> None:
    reader = reading(b"HTTP/1.0 200 OK\r\n\r\n")
    assert isinstance(reader.head(), Refusal)

    reader.receive(b"x" * 1_000_000)

    assert len(reader._buffer) == 0
