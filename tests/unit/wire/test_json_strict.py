import json
import math
import time
from pathlib import Path
from typing import Any

import orjson
import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from callgate.errors import Reason, Refusal
from callgate.wire.json_strict import (
    MAX_SAFE_INTEGER,
    JsonLimits,
    JsonValue,
    canonical,
    dumps,
    find_confusable,
    fold_names,
    loads,
)
from support.mcp_corpus import CORPUS

LIMITS = JsonLimits()
ANSWERS = JsonLimits(safe_integers=False)
MIB = 1024 * 1024


Entry = dict[str, Any]


def _corpus(name: str) -> list[Entry]:
    entries: list[Entry] = json.loads(Path(CORPUS / "json" / name).read_text())
    return entries


def _named(entry: Entry) -> str:
    return str(entry["name"])


def _refusal(data: bytes, limits: JsonLimits = LIMITS) -> Refusal:
    found = loads(data, limits)
    assert isinstance(found, Refusal)
    return found


def _exactly(value: JsonValue) -> str:
    """Tells 1 from 1.0 and True, and 0.0 from -0.0."""
    return repr(value)


@pytest.mark.parametrize("entry", _corpus("must_reject.json"), ids=_named)
def test_refuses_what_two_parsers_could_read_in_two_ways(entry: Entry) -> None:
    data = bytes.fromhex(entry["hex"]) if "hex" in entry else entry["text"].encode()
    assert _refusal(data).reason == entry["reason"]


@pytest.mark.parametrize("entry", _corpus("must_accept.json"), ids=_named)
def test_reads_what_has_one_reading(entry: Entry) -> None:
    assert _exactly(loads(entry["text"].encode(), LIMITS)) == _exactly(entry["value"])  # type: ignore[arg-type]


def test_takes_a_text_of_exactly_max_bytes() -> None:
    limits = JsonLimits(max_bytes=10)
    assert loads(b'"12345678"', limits) == "12345678"
    assert _refusal(b'"123456789"', limits).reason is Reason.JSON_TOO_LARGE


@pytest.mark.parametrize(("opened", "closed"), [(b"[", b"]"), (b'{"a":[', b"]}")])
def test_takes_exactly_max_depth(opened: bytes, closed: bytes) -> None:
    levels = opened.count(b"[") + opened.count(b"{")
    at_limit = opened * (64 // levels) + closed * (64 // levels)
    assert not isinstance(loads(at_limit, LIMITS), Refusal)
    assert _refusal(b"[" + at_limit + b"]").reason is Reason.JSON_TOO_DEEP


def test_takes_exactly_max_values_and_does_not_count_commas_in_strings() -> None:
    limits = JsonLimits(max_values=4)
    assert loads(b'[1,{"a":",,,[[[{{{"}]', limits) == [1, {"a": ",,,[[[{{{"}]
    assert _refusal(b"[1,2,3,4]", limits).reason is Reason.JSON_TOO_LARGE


@pytest.mark.parametrize("value", [2**53, 2**63 - 1, -(2**63), 2**64 - 1, 9007199254740993])
def test_takes_integers_of_64_bits_exactly_where_they_need_not_be_safe(value: int) -> None:
    assert loads(b'{"id":%d}' % value, ANSWERS) == {"id": value}
    assert _refusal(b'{"id":%d}' % value).reason is Reason.JSON_NUMBER


@pytest.mark.parametrize("value", [2**64, -(2**63) - 1, 10**30, -(10**309), 10**400])
@pytest.mark.parametrize("limits", [LIMITS, ANSWERS])
def test_never_rounds_an_integer(value: int, limits: JsonLimits) -> None:
    assert _refusal(b'{"x":1e300,"id":[%d ]}' % value, limits).reason is Reason.JSON_NUMBER


@pytest.mark.parametrize("literal", ["1e22", "-1.5e300", "18446744073709551616.0", "18446744073709551616e0"])
def test_a_float_may_be_as_big_as_a_double(literal: str) -> None:
    assert loads(literal.encode(), LIMITS) == float(literal)


def test_a_refusal_holds_nothing_of_the_text() -> None:
    for text in (b'{"secret":1,"secret":2}', b'{"secret": x}', b'["secret\xff"]'):
        assert "secret" not in _refusal(text).detail


BOMBS = {
    "opened arrays": b"[" * MIB,
    "opened objects": b'{"a":' * (MIB // 5),
    "closed deep": b"[" * (MIB // 2) + b"]" * (MIB // 2),
    "object of 10^5 keys": b"{" + b",".join(b'"%d":1' % n for n in range(100_000)) + b"}",
    "object of 99 000 keys": b"{" + b",".join(b'"%d":1' % n for n in range(99_000)) + b"}",
    "one key 10^5 times": b"{" + b",".join([b'"a":1'] * 100_000) + b"}",
    "one key 99 000 times": b"{" + b",".join([b'"a":1'] * 99_000) + b"}",
    "empty lists": b"[" + b",".join([b"[]"] * 340_000) + b"]",
    "empty strings": b"[" + b",".join([b'""'] * 340_000) + b"]",
    "escaped quotes": b'["' + b'\\"' * 500_000 + b'"]',
    "escaped backslashes": b'["' + b"\\\\" * 500_000 + b'"]',
    "a million digits": b"[1e300," + b"9" * 1_000_000 + b"]",
    "a million decimals": b"0." + b"9" * 1_000_000,
    "long integers": b"[" + b",".join([b"123456789012345678901"] * 47_000) + b"]",
    "huge floats": b"[" + b",".join([b"1e300"] * 99_000) + b"]",
    "unclosed string": b'"' + b"a" * 1_000_000,
    "broken UTF-8 at the end": b'"' + b"a" * 1_000_000 + b"\xff",
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_costs_less_than_50_ms(name: str) -> None:
    spent = []
    for _ in range(5):
        began = time.thread_time()
        loads(BOMBS[name], LIMITS)
        spent.append(time.thread_time() - began)
    assert min(spent) < 0.050


@pytest.mark.parametrize("name", ["opened arrays", "opened objects", "object of 10^5 keys", "one key 99 000 times"])
def test_a_bomb_is_refused(name: str) -> None:
    assert _refusal(BOMBS[name]).reason in {Reason.JSON_TOO_LARGE, Reason.JSON_DUPLICATE_KEY, Reason.JSON_TOO_DEEP}


# Surrogates are no characters: UTF-8 cannot carry them.
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-MAX_SAFE_INTEGER, MAX_SAFE_INTEGER)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4), max_leaves=20
)
NO_FLOATS = st.recursive(
    st.none() | st.booleans() | st.integers(-MAX_SAFE_INTEGER, MAX_SAFE_INTEGER) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_reads_back_what_it_writes(value: JsonValue) -> None:
    assert _exactly(loads(dumps(value), LIMITS)) == _exactly(value)  # type: ignore[arg-type]


@given(VALUES, st.booleans())
def test_reads_what_the_standard_library_writes(value: JsonValue, escaped: bool) -> None:
    text = json.dumps(value, ensure_ascii=escaped, indent=1)
    assert _exactly(loads(text.encode(), LIMITS)) == _exactly(value)  # type: ignore[arg-type]


def _oracle(data: bytes) -> object:
    """The same rules on top of the standard library's parser; raises ValueError to refuse."""

    def integer(text: str) -> int:
        if abs(int(text)) > MAX_SAFE_INTEGER:
            raise ValueError(text)
        return int(text)

    def real(text: str) -> float:
        if not math.isfinite(float(text)):
            raise ValueError(text)
        return float(text)

    def constant(text: str) -> float:
        raise ValueError(text)

    def members(pairs: list[tuple[str, object]]) -> dict[str, object]:
        if len(dict(pairs)) != len(pairs):
            raise ValueError("duplicate key")
        return dict(pairs)

    value = json.loads(
        data.decode(), parse_int=integer, parse_float=real, parse_constant=constant, object_pairs_hook=members
    )
    json.dumps(value, ensure_ascii=False).encode()  # a lone surrogate cannot be encoded
    return value


PIECES = st.sampled_from(
    [
        *(
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            " ",
            "\n",
            '"',
            "\\",
            '"a"',
            '"b"',
            '"\\u0061"',
            '"a:"',
            '":"',
            '"\\""',
            '"\\\\"',
        ),
        *('"a":', '"a":1,', '"\\u0061":2', '"\\ud800"', '"\\ud83d\\ude00"', '"\ufeff"', "\ufeff", "\0", '"\\u0000"'),
        *("0", "-0", "-", "1", "01", "1.5", ".5", "1e3", "1e999", "NaN", "Infinity", "true", "null", "tru"),
        *("9007199254740991", "9007199254740992", "18446744073709551616", "99999999999999999999", "1e300", "\u00e9"),
        *('{"a":1}', "[]", "{}", '{"a":1,"a":2}', '{"b":[{"a":1}]}'),
    ]
)


@given(st.lists(PIECES, max_size=12).map("".join))
def test_agrees_with_the_standard_library_under_the_same_rules(text: str) -> None:
    found = loads(text.encode(), LIMITS)
    try:
        expected = _oracle(text.encode())
    except (ValueError, RecursionError):
        assert isinstance(found, Refusal)
    else:
        # "-0" is the integer 0 to both, and each writes floats its own way.
        assert not isinstance(found, Refusal)
        assert _exactly(found) == repr(expected)


@given(st.lists(st.tuples(TEXTS, SCALARS, st.booleans()), max_size=6))
def test_finds_a_duplicate_key_however_it_is_escaped(members: list[tuple[str, JsonValue, bool]]) -> None:
    def key(text: str, *, escaped: bool) -> str:
        if not escaped:
            return json.dumps(text, ensure_ascii=False)
        units = text.encode("utf-16-be")
        return '"' + "".join(f"\\u{units[at] << 8 | units[at + 1]:04X}" for at in range(0, len(units), 2)) + '"'

    body = ",".join(key(name, escaped=escaped) + ":" + json.dumps(value) for name, value, escaped in members)
    found = loads(b'[{"x":{' + body.encode() + b"}}]", LIMITS)
    duplicated = len({name for name, _, _ in members}) < len(members)
    assert (isinstance(found, Refusal) and found.reason is Reason.JSON_DUPLICATE_KEY) == duplicated


@given(st.binary(max_size=200))
def test_any_bytes_are_a_value_or_a_refusal(data: bytes) -> None:
    found = loads(data, LIMITS)
    assert isinstance(found, Refusal) or loads(dumps(found), LIMITS) == found


@given(st.integers(0, 10**6), st.integers(1, 200), st.binary(min_size=1, max_size=3))
def test_a_damaged_message_is_a_value_or_a_refusal(at: int, cut: int, new: bytes) -> None:
    whole = dumps({"jsonrpc": "2.0", "id": 1, "params": {"name": 'a"\\:é', "arguments": {"n": [1, 2.5, None]}}})
    at %= len(whole)
    found = loads(whole[:at] + new + whole[at + cut % 4 :], LIMITS)
    assert isinstance(found, Refusal) or loads(dumps(found), LIMITS) == found


def test_canonical_form_of_the_example_in_rfc_8785() -> None:
    # Section 3.2.2 and its result in 3.2.4.
    value = orjson.loads(
        r"""{"numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
             "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/", "literals": [null, true, false]}"""
    )
    assert (
        canonical(value)
        == (
            '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
            '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
        ).encode()
    )


def test_canonical_form_sorts_keys_by_utf_16_units() -> None:
    # RFC 8785, 3.2.3: its example, in the order of the standard.
    keys = ["\r", "1", "\u0080", "\u00f6", "\u20ac", "\U0001f600", "\ufb33"]
    value: JsonValue = dict.fromkeys(sorted(keys), 0)
    found = orjson.loads(canonical(value))
    assert list(found) == keys


@given(NO_FLOATS)
def test_canonical_form_is_that_of_the_reference_library_without_floats(value: JsonValue) -> None:
    assert canonical(value) == rfc8785.dumps(value)


@given(VALUES)
def test_canonical_form_is_that_of_the_reference_library(value: JsonValue) -> None:
    assert canonical(value) == rfc8785.dumps(value)


@given(st.dictionaries(st.text(st.characters(max_codepoint=127), max_size=8), NO_FLOATS, max_size=5))
def test_canonical_form_is_that_of_the_reference_library_for_ascii_keys(value: dict[str, JsonValue]) -> None:
    assert canonical(value) == rfc8785.dumps(value)


@pytest.mark.parametrize("value", [2**53, -(2**53), [1, {"a": 2**60}], math.nan, math.inf])
def test_what_has_no_canonical_form_is_a_value_error(value: JsonValue) -> None:
    with pytest.raises(ValueError, match=r".*"):
        canonical(value)


FOLDED = fold_names(("name", "_meta", "io.x/protocolVersion"))


@pytest.mark.parametrize(
    "key",
    ["Name", "NAME", "name\0", "name\0x", "NAME\0", "\uff4eame", "na\uff4de", "_Meta", "_META", "IO.x/protocolversion"],
)
def test_finds_a_key_that_another_parser_would_take_for_a_name(key: str) -> None:
    assert find_confusable({"a": 1, "name": 2, key: 3}, FOLDED) == key
    assert find_confusable({key: 3}, FOLDED) == key


@pytest.mark.parametrize(
    "key", ["name", "_meta", "io.x/protocolVersion", "names", "nam", "", "\0name", "na me", "n\u0430me"]
)
def test_leaves_other_keys_alone(key: str) -> None:
    assert find_confusable({"other": 1, key: 2}, FOLDED) is None
