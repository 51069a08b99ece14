import base64
import hmac
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callgate.screening.mask import Masked, Span, merged, strictest
from callgate.screening.replacing import GONE, MAX_VALUE_CHARACTERS, Form, Replacing, decimal_of
from callgate.screening.terms import Mode
from callgate.wire.json_strict import JsonValue, dumps

KEY = b"k" * 32


def word(value: str, name: str, mode: Mode, form: Form = Form.MODE, key: bytes = KEY) -> object:
    return Replacing(key, form).text(value, [Span(0, len(value), Masked(name, mode))])


def pseudonym(value: str, name: str) -> object:
    return word(value, name, Mode.PSEUDONYM)


@pytest.mark.parametrize(
    ("value", "left"),
    [
        ("4111 1111 1111 1234", "**** **** **** 1234"),
        ("ada@x.org", "***@*.org"),
        ("+44 20 7946 0958", "+** ** **** 0958"),
        ("12345", "***45"),
        ("ab", "*b"),
        ("a", "*"),
        ("4\u200b111-1234", "*****-1234"),
        ("ada%40x.org", "***%**x.org"),
        ("\uff11\uff12\uff13\uff14\uff15\uff16\uff17\uff18\uff19", "*****\uff16\uff17\uff18\uff19"),
        ("-", "-"),
    ],
)
def test_partial_leaves_four_letters_or_digits_and_never_more_than_half(value: str, left: str) -> None:
    assert word(value, "card", Mode.PARTIAL) == left


@given(st.text(min_size=1))
def test_partial_leaves_no_more_than_it_may(value: str) -> None:
    left = word(value, "x", Mode.PARTIAL)
    assert isinstance(left, str)
    kept = sum(map(str.isalnum, left))
    assert kept <= min(4, sum(map(str.isalnum, value)) // 2)


def test_a_pseudonym_is_keyed_and_says_what_it_stands_for() -> None:
    digest = hmac.digest(KEY, b"email\0ada@x.org", "sha256")
    name = base64.b32encode(digest).decode()[:10].lower()
    assert pseudonym("ada@x.org", "email") == f"[email:{name}]"
    assert word("ada@x.org", "email", Mode.PSEUDONYM, key=b"l" * 32) != f"[email:{name}]"


@pytest.mark.parametrize(
    ("name", "spellings"),
    [
        (
            "email",
            [
                "Ada@X.org",
                "ada@x.org",
                "ada%40x.org",
                "ada%2540x.org",
                "ada=40x.org",
                "ada\u200b@x.org",
                "\uff41da@x.org",
            ],
        ),
        (
            "card",
            ["4111 1111 1111 1111", "4111111111111111", "4111-1111-1111-1111", "\uff14\uff11\uff11\uff11111111111111"],
        ),
        ("iban", ["GB33 BUKB 2020 1555 5555 55", "gb33bukb20201555555555"]),
        ("phone", ["+44 20 7946 0958", "+442079460958", "+44\u202f20\u20607946-0958"]),
        ("ipv6", ["2001:DB8::1", "2001:db8::1"]),
    ],
)
def test_one_value_has_one_pseudonym_however_it_is_spelled(name: str, spellings: list[str]) -> None:
    assert len({pseudonym(value, name) for value in spellings}) == 1


@pytest.mark.parametrize(
    ("name", "one", "other"),
    [
        ("secret", "ghp_AbC", "ghp_abc"),
        ("ipv6", "2001:db8::1", "2001:db8:1::"),
        ("customer", "Ada", "ada"),
        ("email", "ada@x.org", "ada@x.com"),
    ],
)
def test_two_values_have_two_pseudonyms(name: str, one: str, other: str) -> None:
    assert pseudonym(one, name) != pseudonym(other, name)


def test_pseudonyms_tell_kinds_of_values_apart() -> None:
    assert str(pseudonym("1", "a"))[3:] != str(pseudonym("1", "b"))[3:]


@pytest.mark.parametrize(
    ("value", "shape"), [("Ada@x.org", "Xxx@x.xxx"), ("GB33 é", "XX00 x"), ("12\u200b3", "00x0"), ("\U0001f600", "x")]
)
def test_a_shape_keeps_length_case_and_signs(value: str, shape: str) -> None:
    assert word(value, "x", Mode.REDACT, Form.BARE) == shape


@pytest.mark.parametrize("mode", list(Mode))
def test_values_of_any_length_are_replaced(mode: Mode) -> None:
    value = "a1" * MAX_VALUE_CHARACTERS
    for form in Form:
        left = word(value, "x", mode, form)
        assert left is GONE or value not in str(left)


NUMBERS = st.one_of(st.integers(-(2**63), 2**64 - 1), st.floats(allow_nan=False, allow_infinity=False))


@given(NUMBERS, st.sampled_from(list(Mode)), st.sampled_from(list(Form)))
def test_a_number_stays_one_that_json_can_write(value: float, mode: Mode, form: Form) -> None:
    other = Replacing(KEY, form).number(value, Masked("card", mode))
    if other is GONE:
        assert (mode, form) == (Mode.DROP, Form.MODE)
        return
    assert type(other) is type(value)
    assert dumps(other)


@given(st.integers(10**6, 2**64 - 1))
def test_a_number_under_another_name_is_another_of_as_many_digits(value: int) -> None:
    other = Replacing(KEY).number(value, Masked("card", Mode.PSEUDONYM))
    assert other != value
    assert len(str(other)) == len(str(value))
    assert not (value < 2**53 <= other)  # type: ignore[operator]


@given(st.integers(10**6, 2**64 - 1))
def test_of_a_number_its_last_digits_are_left(value: int) -> None:
    digits = str(value)
    kept = min(4, len(digits) // 2)
    assert Replacing(KEY).number(value, Masked("card", Mode.PARTIAL)) == int(digits[-kept:])


@pytest.mark.parametrize(
    ("value", "shown"),
    [(12, "12"), (-12, "12"), (12.0, "12"), (1e16, "10000000000000000"), (0.5, "0.5"), (1.5e-7, "0.00000015")],
)
def test_a_number_is_looked_at_as_people_write_it(value: float, shown: str) -> None:
    assert decimal_of(value) == shown


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(JSON_VALUES, st.sampled_from(list(Mode)))
def test_a_full_shape_has_the_types_and_names_of_what_it_stands_for(value: JsonValue, mode: Mode) -> None:
    def same(one: JsonValue, other: JsonValue) -> bool:
        if isinstance(one, dict) and isinstance(other, dict):
            return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
        if isinstance(one, list) and isinstance(other, list):
            return len(one) == len(other) and all(map(same, one, other))
        return type(one) is type(other)

    shown = Replacing(KEY, Form.FULL).whole(value, Masked("x", mode))
    assert shown is not GONE
    assert same(value, shown)


def test_strictness_goes_from_partial_to_deny() -> None:
    order = [Mode.PARTIAL, Mode.PSEUDONYM, Mode.REDACT, Mode.DROP, Mode.HOLD, Mode.DENY]
    for one, other in pairwise(order):
        assert strictest((Masked("a", one), Masked("b", other))).mode is other


def test_spans_that_overlap_are_one_and_the_strictest_counts() -> None:
    one, other = Masked("a", Mode.REDACT), Masked("b", Mode.DROP)
    assert merged([Span(4, 9, one), Span(0, 5, other), Span(9, 10, one), Span(3, 3, one)]) == [
        Span(0, 9, other),
        Span(9, 10, one),
    ]
