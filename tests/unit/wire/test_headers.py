import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callgate.errors import Reason, Refusal
from callgate.wire.headers import (
    decode_value,
    encode_value,
    only,
    read_param_headers,
    refuse_mirrors,
    refuse_transport,
)
from callgate.wire.http1 import Headers
from callgate.wire.json_strict import JsonObject

# MCP 2026-07-28, basic/transports/streamable-http, "Value Encoding", "Encoding examples".
STANDARD = [
    ("us-west1", "us-west1"),
    ("Hello, 世界", "=?base64?SGVsbG8sIOS4lueVjA==?="),
    (" padded ", "=?base64?IHBhZGRlZCA=?="),
    ("line1\nline2", "=?base64?bGluZTEKbGluZTI=?="),
    ("=?base64?literal?=", "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?="),
]


@pytest.mark.parametrize(("value", "header"), STANDARD)
def test_encodes_as_the_standard_does(value: str, header: str) -> None:
    assert encode_value(value) == header
    assert decode_value(header) == value


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_decodes_what_it_encodes_and_writes_nothing_that_a_header_cannot_carry(value: str) -> None:
    header = encode_value(value)
    assert decode_value(header) == value
    assert all(" " <= character <= "~" or character == "\t" for character in header)
    assert header == header.strip()


@given(st.text(st.characters(max_codepoint=255)))
def test_any_header_decodes_to_text_or_to_nothing(header: str) -> None:
    decoded = decode_value(header)
    assert decoded is None or isinstance(decoded, str)


@given(st.binary(max_size=12))
def test_no_two_sentinels_decode_alike(payload: bytes) -> None:
    text = base64.b64encode(payload).decode()
    variants = {text, text.rstrip("="), text + "=", text.replace("+", "-"), text.swapcase(), text + "\n", " " + text}
    decoded = [decode_value(f"=?base64?{variant}?=") for variant in variants]
    known = [each for each in decoded if each is not None]
    assert len(known) == len(set(known))


@pytest.mark.parametrize(
    "header",
    ["=?base64?////?=", "=?base64?QQ?=", "=?base64?QR==?=", "=?base64?Q Q==?=", "é", "a\x00", "a\nb", "\x7f"],
)
def test_decodes_nothing_that_is_broken(header: str) -> None:
    assert decode_value(header) is None


def test_a_repeated_header_has_no_value() -> None:
    found = only(Headers((("mcp-name", "a"), ("Mcp-Name", "a"))), "mcp-name")
    assert isinstance(found, Refusal)
    assert found.reason is Reason.HEADER_MISMATCH
    assert only(Headers((("mcp-name", "a"),)), "mcp-name") == "a"
    assert only(Headers(), "mcp-name") is None


def test_legacy_requests_need_no_mirrors_but_must_not_lie() -> None:
    assert refuse_mirrors(Headers(), "tools/call", "a", required=False) is None
    assert refuse_mirrors(Headers((("mcp-name", "a"),)), "tools/call", "a", required=False) is None
    assert refuse_mirrors(Headers((("mcp-name", "b"),)), "tools/call", "a", required=False) is not None
    assert refuse_mirrors(Headers((("mcp-method", "x"),)), "tools/call", "a", required=False) is not None


def test_transport_demands_are_checked_in_the_order_type_encoding_accept() -> None:
    def refused(*fields: tuple[str, str]) -> Reason | None:
        refusal = refuse_transport(Headers(fields))
        return refusal.reason if refusal is not None else None

    json_type, encoding = ("content-type", "application/json"), ("content-encoding", "gzip")
    assert refused(encoding) is Reason.HTTP_CONTENT_TYPE
    assert refused(json_type, encoding) is Reason.HTTP_CONTENT_ENCODING
    assert refused(json_type) is Reason.HTTP_ACCEPT
    assert refused(json_type, ("accept", "*/*")) is None


ARGUMENTS: JsonObject = {"text": "42", "number": 7, "real": 8.0, "half": 1.5, "deep": {"a": {"b": "x"}}, "many": ["y"]}


def _params(header: str) -> object:
    return read_param_headers(Headers((("mcp-param-p", header),)), ARGUMENTS)


@pytest.mark.parametrize("header", ["42", "7", "7.0", "7.00", "8", "8.0", "x", "=?base64?NDI=?="])
def test_a_param_header_that_stands_in_the_arguments_passes_as_it_came(header: str) -> None:
    assert _params(header) == (("mcp-param-p", header),)


@pytest.mark.parametrize("header", ["42.0", "042", "8.5", "1.5", "y", "", "text", "7 ", "true"])
def test_a_param_header_that_the_arguments_do_not_hold_is_refused(header: str) -> None:
    refusal = _params(header)
    assert isinstance(refusal, Refusal)
    assert refusal.reason is Reason.HEADER_MISMATCH
