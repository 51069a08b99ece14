import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callgate.errors import Reason, Refusal
from callgate.wire.sse import COMMENT, SseComment, SseEvent, SseReader, encode_event

Items = list[SseEvent | SseComment]


def read(*pieces: bytes) -> Items:
    reader, items = SseReader(), []
    for piece in pieces:
        found = reader.feed(piece)
        assert not isinstance(found, Refusal)
        items += found
    return items


# WHATWG HTML 9.2.6 has the first four as examples, with what they mean.
@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (b"data: YHOO\ndata: +2\ndata: 10\n\n", [SseEvent(b"YHOO\n+2\n10")]),
        (
            b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event",
            [SseComment(" test stream"), SseEvent(b"first event", id="1"), SseEvent(b"second event")],
        ),
        (b"data\n\ndata\ndata\n\ndata:", [SseEvent(b""), SseEvent(b"\n")]),
        (b"data:test\n\ndata: test\n\n", [SseEvent(b"test"), SseEvent(b"test")]),
        (b"event: add\ndata: 1\n\ndata: 2\n\n", [SseEvent(b"1", "add"), SseEvent(b"2")]),
        (b"event: add\n\ndata: 2\n\n", [SseEvent(b"2")]),
        (b"event:\ndata: 1\n\n", [SseEvent(b"1")]),
        (b"data: a\r\n\r\ndata: b\r\rdata: c\n\n", [SseEvent(b"a"), SseEvent(b"b"), SseEvent(b"c")]),
        (b"data: a\r\ndata: b\rdata: c\ndata: d\r\n\n", [SseEvent(b"a\nb\nc\nd")]),
        (b"\xef\xbb\xbfdata: a\n\n", [SseEvent(b"a")]),
        (b"data: a\n\n\xef\xbb\xbfdata: b\n\n", [SseEvent(b"a")]),
        (b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\n", []),
        (b"id: 7\ndata: a\n\ndata: b\n\nid: 8\0\ndata: c\n\n", [SseEvent(b, id="7") for b in (b"a", b"b", b"c")]),
        (b"retry: 3000\ndata: a\n\ndata: b\n\n", [SseEvent(b"a", retry_ms=3000), SseEvent(b"b")]),
        (b"retry: 3s\nretry: -1\nretry: \xd9\xa3\nretry:\ndata: a\n\n", [SseEvent(b"a")]),
        (b"DATA: a\nData: b\ndata : c\n data: d\nxdata: e\n\n", []),
        (b"data: a: b\ndata::c\n\n", [SseEvent(b"a: b\n:c")]),
        (b"data:   a  \n\n", [SseEvent(b"  a  ")]),
        (b"data: \xe2\x98\x83\n\n", [SseEvent("☃".encode())]),
        (b"data: a\0b\n\n", [SseEvent(b"a\0b")]),
        (b"data: a\n:ping\ndata: b\n\n", [SseComment("ping"), SseEvent(b"a\nb")]),
        (b"id: 1\ndata:\n\n", [SseEvent(b"", id="1")]),
        (b"\n\n\r\n\r\n", []),
        (b"data: a\n", []),
        (b"data: a\n\ndata: cut off", [SseEvent(b"a")]),
        (b"", []),
    ],
)
def test_reads_as_the_standard_says(stream: bytes, expected: Items) -> None:
    assert read(stream) == expected
    assert read(*[stream[i : i + 1] for i in range(len(stream))]) == expected


def test_event_is_there_as_soon_as_its_empty_line_is() -> None:
    reader = SseReader()

    assert reader.feed(b"data: a\r") == []
    assert reader.feed(b"\n\r") == [SseEvent(b"a")]
    assert reader.feed(b"") == []
    assert reader.feed(b"\ndata: b\n\n") == [SseEvent(b"b")]


@pytest.mark.parametrize(
    "line", [b"data: \xff", b"data: \xc3", b": \xed\xa0\x80", b"\xc0\xaf", b"event: \xfe\xff", b"id: \xf5\x80\x80\x80"]
)
def test_refuses_what_is_not_utf_8(line: bytes) -> None:
    reader = SseReader()

    assert reader.feed(b"data: a\n\n" + line + b"\n\ndata: b\n\n") == [SseEvent(b"a")]
    refusal = reader.feed(b"data: c\n\n")
    assert isinstance(refusal, Refusal)
    assert refusal.reason is Reason.UPSTREAM_MALFORMED
    assert reader.refusal == refusal


def test_utf_8_may_be_split_inside_a_character() -> None:
    assert read(b"data: \xe2", b"\x98", b"\x83\n", b"\n") == [SseEvent("☃".encode())]


@pytest.mark.parametrize(
    "stream",
    [
        b"data: " + b"a" * 100,
        b"data: " + b"a" * 100 + b"\n\n",
        b"data: 12345678\n" * 10,
        b"data\n" * 66,
        b":" + b"a" * 100 + b"\n",
        b"event: " + b"a" * 100 + b"\n",
        b"x" * 65,
    ],
)
def test_refuses_event_over_its_limit_however_split(stream: bytes) -> None:
    for size in (1, 7, len(stream)):
        reader = SseReader(max_event_bytes=64)
        outcomes = [reader.feed(stream[position : position + size]) for position in range(0, len(stream), size)]

        assert isinstance(outcomes[-1], Refusal)
        assert outcomes[-1].reason is Reason.UPSTREAM_TOO_LARGE


def test_limit_is_each_events_own() -> None:
    reader = SseReader(max_event_bytes=16)

    assert reader.feed(b"data: 0123456789\n\n" * 1000) == [SseEvent(b"0123456789")] * 1000
    assert reader.feed(b":0123456789\n" * 1000) == [SseComment("0123456789")] * 1000


PARTS = st.lists(
    st.sampled_from([b"data", b"event", b"id", b"retry", b":", b" ", b"\r", b"\n", b"\r\n", b"a", b"1", b"\0"])
    | st.sampled_from([b"\xef\xbb\xbf", b"\xe2\x98\x83", b"data: x\n\n", b"\n\n"]),
    max_size=60,
)


def whole_stream(stream: bytes) -> Items:
    """The standard's algorithm over a stream that is all there."""
    items: Items = []
    data: list[str] = []
    event, last_id = "", ""
    retry: int | None = None
    text = stream.decode().removeprefix("\ufeff")
    for line in re.split("\r\n|\r|\n", text)[:-1]:
        name, colon, value = line.partition(":")
        value = value[1:] if value[:1] == " " else value
        if line == "":
            if data:
                items.append(SseEvent("\n".join(data).encode(), event or "message", last_id, retry))
            data, event, retry = [], "", None
        elif colon and not name:
            items.append(SseComment(line[1:]))
        elif name == "data":
            data.append(value)
        elif name == "event":
            event = value
        elif name == "id" and "\0" not in value:
            last_id = value
        elif name == "retry" and value.isascii() and value.isdigit() and len(value) < 10:
            retry = int(value)
    return items


@settings(max_examples=1000, deadline=None)
@given(PARTS, st.lists(st.integers(1, 9), min_size=1, max_size=30))
def test_split_does_not_change_the_events(parts: list[bytes], sizes: list[int]) -> None:
    stream, pieces = b"".join(parts), []
    rest = stream
    for size in sizes:
        pieces.append(rest[:size])
        rest = rest[size:]

    assert read(*pieces, rest) == whole_stream(stream)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.integers(1, 64))
def test_random_bytes_are_events_or_a_refusal(stream: bytes, limit: int) -> None:
    reader, byte_wise = SseReader(limit), SseReader(limit)
    items = reader.feed(stream)
    one_by_one: Items = []
    for i in range(len(stream)):
        found = byte_wise.feed(stream[i : i + 1])
        one_by_one += [] if isinstance(found, Refusal) else found

    assert ([] if isinstance(items, Refusal) else items) == one_by_one
    assert reader.refusal == byte_wise.refusal


def test_event_is_encoded_with_a_data_field_for_each_line() -> None:
    assert encode_event(b'{"a": 1}') == b'event: message\ndata: {"a": 1}\n\n'
    assert encode_event(b"a\nb\r\nc\rd", "x", event_id="7") == (
        b"event: x\nid: 7\ndata: a\ndata: b\ndata: c\ndata: d\n\n"
    )
    assert encode_event(b"") == b"event: message\ndata: \n\n"


@given(st.text(max_size=100))
def test_encoded_event_is_read_back(text: str) -> None:
    expected = re.sub("\r\n|\r", "\n", text).encode()

    assert read(encode_event(text.encode()), COMMENT) == [SseEvent(expected), SseComment("")]


@pytest.mark.parametrize("value", ["a\nb", "a\rdata: b", "a\0"])
def test_name_or_id_that_would_end_its_line_is_not_written(value: str) -> None:
    with pytest.raises(ValueError, match="line end"):
        encode_event(b"", value)
    with pytest.raises(ValueError, match="line end"):
        encode_event(b"", event_id=value)
