"""Values that their own standards' algorithms make, in the ways in which people and programs write them."""

import json
import string
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from callgate.screening.iban import LENGTHS
from callgate.screening.personal import Detector, detector_of
from callgate.screening.seeking import Budget
from callgate.screening.terms import ENTITIES, Found
from callgate.screening.views import views_of
from support.personal_score import finds, unambiguous

CARDS = detector_of(frozenset({"card"}), ())
IBANS = detector_of(frozenset({"iban"}), ())
DIGITS = st.text("0123456789", min_size=24, max_size=24)
# ISO/IEC 7812 and the schemes: a prefix, and a length that its cards have.
ISSUED = [
    ("4", 16),
    ("4", 19),
    ("51", 16),
    ("55", 16),
    ("2221", 16),
    ("2720", 16),
    ("34", 15),
    ("37", 15),
    ("6011", 16),
    ("65", 16),
]
ISSUED += [("3528", 16), ("3589", 16), ("36", 14), ("38", 14), ("62", 16), ("62", 19), ("2200", 16)]
SIGNS = ["", " ", "-", ".", "\u00a0", "\u2009", "\u2011", "\u2013", " - ", "_"]


def doubled_sum(digits: str) -> int:
    """Luhn's sum, as ISO/IEC 7812-1 says it: from the right, every second digit doubled, the digits of the products added."""
    products = [int(digit) * (2 if place % 2 else 1) for place, digit in enumerate(reversed(digits))]
    return sum(product // 10 + product % 10 for product in products)


def with_check_digit(digits: str) -> str:
    return next(digits + check for check in string.digits if doubled_sum(digits + check) % 10 == 0)


def in_fours(digits: str, sign: str) -> str:
    return sign.join(digits[start : start + 4] for start in range(0, len(digits), 4))


def zero_width(value: str) -> str:
    return "\u200b".join(value)


def full_width(value: str) -> str:
    return "".join(chr(ord(character) + 0xFEE0) if "!" <= character <= "~" else character for character in value)


def arabic_indic(value: str) -> str:
    return "".join(chr(0x660 + int(character)) if character.isdigit() else character for character in value)


def references(value: str) -> str:
    return "".join(f"&#{ord(character)};" for character in value)


def escapes(value: str) -> str:
    return "".join(f"\\u{ord(character):04x}" for character in value)


def octets(value: str) -> str:
    return "".join(f"%{ord(character):02X}" for character in value)


def twice_quoted(value: str) -> str:
    return quote(quote(value, safe=""), safe="")


WAYS: list[Callable[[str], str]] = [str, zero_width, full_width, references, escapes, octets, twice_quoted]
AROUND = [
    "{}",
    "x {} y",
    '{{"a":"{}"}}',
    "7,{},x",
    "<td>{}</td>",
    "a={}&b=1",
    "({})",
    "前{}後",
    "a\\n{}\\nb",
    "[{}]",
    "{}.",
]


@given(issued=st.sampled_from(ISSUED), digits=DIGITS, sign=st.sampled_from(SIGNS), around=st.sampled_from(AROUND))
def test_finds_every_number_that_an_issuer_could_give(
    issued: tuple[str, int], digits: str, sign: str, around: str
) -> None:
    prefix, length = issued
    value = in_fours(with_check_digit((prefix + digits)[: length - 1]), sign)
    text = around.format(value)
    assert [text[find.start : find.end] for find in CARDS.find(text)] == [value]


@given(
    issued=st.sampled_from(ISSUED),
    digits=DIGITS,
    off=st.integers(1, 9),
    sign=st.sampled_from(SIGNS),
    around=st.sampled_from(AROUND),
)
def test_finds_no_number_whose_check_digit_is_wrong(
    issued: tuple[str, int], digits: str, off: int, sign: str, around: str
) -> None:
    prefix, length = issued
    good = with_check_digit((prefix + digits)[: length - 1])
    bad = good[:-1] + str((int(good[-1]) + off) % 10)
    # Sixteen digits and three: a card with the code on its back.
    assume(length != 19 or doubled_sum(bad[:16]) % 10)
    assert CARDS.find(around.format(in_fours(bad, sign))) == ()


@given(
    issued=st.sampled_from(ISSUED),
    digits=DIGITS,
    way=st.sampled_from([*WAYS, arabic_indic]),
    around=st.sampled_from(AROUND),
)
def test_finds_cards_however_they_are_encoded(
    issued: tuple[str, int], digits: str, way: Callable[[str], str], around: str
) -> None:
    prefix, length = issued
    value = way(in_fours(with_check_digit((prefix + digits)[: length - 1]), " "))
    text = around.format(value)
    (found,) = CARDS.find(text)
    assert text[found.start : found.end] == value


def iban_of(country: str, account: str) -> str:
    """ISO 13616: check digits are 98 less the remainder, with the country and 00 behind the account."""
    number = "".join(str(int(character, 36)) for character in f"{account}{country}00")
    return f"{country}{98 - int(number) % 97:02d}{account}"


ACCOUNTS = st.text(string.digits + string.ascii_uppercase, min_size=32, max_size=32)


@given(
    country=st.sampled_from(sorted(LENGTHS)),
    account=ACCOUNTS,
    sign=st.sampled_from(SIGNS),
    around=st.sampled_from(AROUND),
)
def test_finds_every_account_that_the_standard_makes(country: str, account: str, sign: str, around: str) -> None:
    value = in_fours(iban_of(country, account[: LENGTHS[country] - 4]), sign)
    text = around.format(value)
    assert [text[find.start : find.end] for find in IBANS.find(text)] == [value]


@given(
    country=st.sampled_from(sorted(LENGTHS)), account=ACCOUNTS, off=st.integers(1, 96), around=st.sampled_from(AROUND)
)
def test_finds_no_account_whose_check_digits_are_wrong(country: str, account: str, off: int, around: str) -> None:
    good = iban_of(country, account[: LENGTHS[country] - 4])
    bad = f"{country}{(int(good[2:4]) - 2 + off) % 97 + 2:02d}{good[4:]}"
    assert IBANS.find(around.format(bad)) == ()


@given(
    country=st.sampled_from(sorted(LENGTHS)),
    account=ACCOUNTS,
    way=st.sampled_from(WAYS),
    around=st.sampled_from(AROUND),
)
def test_finds_accounts_however_they_are_encoded(
    country: str, account: str, way: Callable[[str], str], around: str
) -> None:
    value = way(in_fours(iban_of(country, account[: LENGTHS[country] - 4]), " "))
    text = around.format(value)
    (found,) = IBANS.find(text)
    assert text[found.start : found.end] == value


LABELS = st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=20).filter(
    lambda label: not label.isdigit()
)


@given(local=LABELS, host=LABELS, way=st.sampled_from(WAYS), around=st.sampled_from(AROUND))
def test_finds_addresses_of_mail_however_they_are_encoded(
    local: str, host: str, way: Callable[[str], str], around: str
) -> None:
    value = way(f"{local}@{host}-quarry.com")
    text = around.format(value)
    (found,) = detector_of(frozenset({"email"}), ()).find(text)
    assert text[found.start : found.end] == value


POSITIVE = [case for case in unambiguous() if case["spans"]]


@pytest.mark.parametrize(
    "way",
    [lambda text: json.dumps(text)[1:-1], lambda text: quote(text, safe=""), quote_plus, references, escapes],
    ids=["JSON", "percent", "form", "references", "escapes"],
)
def test_finds_what_is_in_the_corpus_in_a_text_that_was_encoded_as_a_whole(way: Callable[[str], str]) -> None:
    missed = [
        case["id"] for case in POSITIVE if not set(names_in(case)) <= {find.name for find in finds(way(case["text"]))}
    ]
    # What is itself a word's escape, or a soft line break, is not read a third time.
    assert len(missed) <= 0.01 * len(POSITIVE), missed


def names_in(case: dict[str, list[dict[str, str]]]) -> list[str]:
    return [span["entity"] for span in case["spans"]]


@given(
    st.lists(st.sampled_from([case["text"] for case in unambiguous()]), min_size=1, max_size=4), st.sampled_from(WAYS)
)
def test_first_pass_lets_nothing_be_left_out(texts: list[str], way: Callable[[str], str]) -> None:
    detector = detector_of(frozenset(ENTITIES), ())
    text = way("\n\n".join(texts))
    assert detector.find(text) == found_without_first_pass(text)


def found_without_first_pass(text: str) -> tuple[Found, ...]:
    class Everything:
        def readings(self, text: str) -> object:
            return [(view, 0) for view in views_of(text)]

    unhurried = Detector(frozenset(ENTITIES))
    unhurried._suspicion = Everything()  # type: ignore[assignment]
    return unhurried.find(text)


@given(st.text(max_size=400))
def test_any_text_is_looked_through(text: str) -> None:
    for find in detector_of(frozenset(ENTITIES), ()).find(text):
        assert 0 <= find.start < find.end <= len(text)


@given(st.text(string.digits + " .-/+()@:%=&#;\\uabcdef\u200b\n", max_size=400))
def test_any_text_of_signs_and_digits_is_looked_through(text: str) -> None:
    for find in detector_of(frozenset(ENTITIES), ()).find(text):
        assert 0 <= find.start < find.end <= len(text)


def test_budget_is_spent() -> None:
    budget = Budget()
    budget.spend()
    assert budget._left < Budget()._left
