"""Whatever the bytes: a value or a refusal, never an exception, and the same however they were split."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from callgate.errors import Refusal
from callgate.wire.http1 import HttpLimits, RawRequest, parse_request_head, parse_response_head
from support.http1_vectors import AUTHORITIES, pieces_of, raw, read_answer, serve, vectors

SMALL = 2_000
REQUESTS = [
    data
    for name in ("requests_accepted", "requests_rejected")
    for vector in vectors(name)
    if len(data := raw(vector["bytes"])) < SMALL
]
RESPONSES = [
    data
    for name in ("responses_accepted", "responses_rejected")
    for vector in vectors(name)
    if len(data := raw(vector["bytes"])) < SMALL
]
# What parsers trip over.
TELLING = st.sampled_from(
    [bytes([byte]) for byte in b"\r\n\0 \t:;,0_\x0b\x7f\x85\xff"]
    + [b"\r\n", b"\r\n\r\n", b"Content-Length: 1\r\n", b"Transfer-Encoding: chunked\r\n", b"Host: evil.test\r\n"]
    + [b"0\r\n\r\n", b"HTTP/1.1"]
)
EDITS = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 3), TELLING | st.binary(max_size=3)), min_size=1, max_size=4)


def mutated(data: bytes, edits: list[tuple[float, int, bytes]]) -> bytes:
    for where, removed, inserted in edits:
        at = int(where * len(data))
        data = data[:at] + inserted + data[at + removed :]
    return data


def one_refusal_at_most(outcomes: list[RawRequest | Refusal | str]) -> bool:
    return sum(isinstance(outcome, Refusal) for outcome in outcomes) <= 1


@settings(max_examples=1500, deadline=None)
@given(st.sampled_from(REQUESTS), EDITS, st.integers())
def test_mutated_request_has_one_verdict(seed: bytes, edits: list[tuple[float, int, bytes]], chance: int) -> None:
    data = mutated(seed, edits)

    whole = serve([data] if data else [])

    assert one_refusal_at_most(whole)
    assert serve(pieces_of(data, random.Random(chance), 9)) == whole  # noqa: S311
    assert not [o for o in whole if isinstance(o, Refusal) and "h11" in o.detail]


@settings(max_examples=1500, deadline=None)
@given(st.sampled_from(RESPONSES), EDITS, st.integers())
def test_mutated_response_has_one_verdict(seed: bytes, edits: list[tuple[float, int, bytes]], chance: int) -> None:
    data = mutated(seed, edits)

    whole = read_answer([data] if data else [])

    assert read_answer(pieces_of(data, random.Random(chance), 9)) == whole  # noqa: S311


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=300))
def test_random_bytes_are_a_value_or_a_refusal(data: bytes) -> None:
    assert one_refusal_at_most(serve([data] if data else []))
    read_answer([data] if data else [])
    parse_request_head(data, HttpLimits(), AUTHORITIES)
    parse_response_head(data)


TOKENS = st.text("!#$%&'*+-.^`|~" + "abcdefghijklmnopqrstuvwxyzABCXYZ0189", min_size=1, max_size=12)
VALUES = st.text(
    st.characters(min_codepoint=0x21, max_codepoint=0xFF, exclude_characters=[chr(c) for c in range(0x7F, 0x80)]),
    max_size=20,
)


@settings(max_examples=500, deadline=None)
@given(
    st.dictionaries(TOKENS.map(lambda name: f"x-{name.lower()}"), VALUES, max_size=8),
    st.binary(max_size=200),
    st.lists(st.integers(1, 50), max_size=8),
)
def test_well_formed_request_is_read_as_it_was_written(
    fields: dict[str, str], body: bytes, chunk_sizes: list[int]
) -> None:
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items()).encode("latin-1")
    head = b"POST /ledger/mcp HTTP/1.1\r\nHost: gate.acme.test\r\n" + lines
    if chunk_sizes:
        message = head + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(body, chunk_sizes)
    else:
        message = head + b"Content-Length: %d\r\n\r\n" % len(body) + body

    request, end = serve([message])

    assert end == "closed cleanly"
    assert isinstance(request, RawRequest)
    assert request.body == body
    assert {name: value for name, value in request.headers if name.startswith("x-")} == fields


def chunked(body: bytes, sizes: list[int]) -> bytes:
    out = b""
    for size in [*sizes, len(body)]:
        piece, body = body[:size], body[size:]
        out += b"%x\r\n%s\r\n" % (len(piece), piece) if piece else b""
    return out + b"0\r\n\r\n"
