"""Text that lies: what is found, what is taken out, and that it takes no time."""

import time
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callgate.screening import deceptive, homoglyphs
from callgate.screening.deceptive import (
    MAX_COUNTED,
    MAX_STRIPPED,
    TooDeceptive,
    find_deceptive,
    lookalikes,
    strip_deceptive,
)
from callgate.screening.homoglyphs import MAX_PLACES
from callgate.screening.terms import DECEPTIONS
from support.deceptive_score import NAMES, expected_in, unambiguous

CASES = unambiguous()
# Of the largest answer that the gate takes, 4 MiB, in UTF-8; a machine under load takes a few times as long as another.
LARGEST_BYTES = 4 << 20
LONGEST_S = 2.0
ALPHABET = st.sampled_from(
    "ab1_ .@:/\t\n\r\0\x07\x08\x1b[]\\;m\x90\x9b\x9c\x9d\u00ad\u200b\u200c\u200d\u200e\u200f\u202e\u2066\u2069\ufe0f\ufeff\u2800"
    "\u0430\u0441\u0434\u03b1\u03bf\u0561\u05d0\u0645\u0915\u094d\u0e01\u4e00\u3042\uff41\U0001d41a\U0001f600\U0001f3f4"
    "\U000e0067\U000e0062\U000e007f\U000e0100\U0001d173\ud800"
)


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_finds_what_a_case_of_the_corpus_deceives_with_and_nothing_else(case: dict[str, Any]) -> None:
    found = frozenset(find_deceptive(case["text"], is_name=case["where"] in NAMES))
    assert expected_in(case) <= found <= expected_in(case) | frozenset(case["optional"])


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_takes_out_what_deceives_and_leaves_other_text_as_it_is(case: dict[str, Any]) -> None:
    clean = strip_deceptive(case["text"])
    assert not find_deceptive(clean).keys() - {"homoglyph"}
    if not expected_in(case):
        assert clean == case["text"]


def test_takes_a_control_string_out_with_what_it_says_and_leaves_text_behind_one_without_an_end() -> None:
    assert strip_deceptive("a\x1b]0;sudo password:\x07b") == "ab"
    assert strip_deceptive("a\x1b]8;;https://evil.example\x1b\\link\x1b]8;;\x1b\\b") == "alinkb"
    assert strip_deceptive("a\x1b]0;and on") == "a0;and on"


def test_leaves_a_line_where_a_line_ended() -> None:
    assert strip_deceptive("a\rb\x85c\x0cd\r\ne") == "a\nb\nc\nd\r\ne"


def test_letters_that_pass_for_others_stay() -> None:
    assert strip_deceptive("p\u0430y\u200bment") == "p\u0430yment"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("read_file", "read-file"),
        ("read_file", "Read_File"),
        ("read_file", "read_fi1e"),
        ("read_file", "read_fiIe"),
        ("list_all", "1ist_a11"),
        ("open", "0pen"),
        ("modern_search", "modem_search"),
        ("write_all", "vvrite_all"),
        ("read_file", "re\u0430d_file"),
        ("read_file", "\uff52ead_file"),
        ("pay", "\u0440\u0430\u0443"),
        ("READ_FILE", "read_fi1e"),
        ("query_10", "query_lO"),
    ],
)
def test_a_name_that_looks_like_an_earlier_one_is_a_lookalike(first: str, second: str) -> None:
    assert lookalikes([first, "other", second]) == {second}


def test_names_that_only_resemble_each_other_are_none() -> None:
    assert (
        lookalikes(["get_user", "get_users", "set_user", "getUser2", "get_mail", "get_mall", "v1", "v2"]) == frozenset()
    )


def test_a_name_that_stands_twice_is_no_lookalike_of_itself() -> None:
    assert lookalikes(["read_file", "read_file"]) == frozenset()


def test_counts_each_sign_up_to_its_bound() -> None:
    assert find_deceptive("a\0" * 5) == {"control": 5}
    assert find_deceptive("a\0" * (MAX_COUNTED + 5)) == {"control": MAX_COUNTED}


def test_more_signs_than_are_taken_out_are_refused() -> None:
    assert strip_deceptive("a\0" * (MAX_STRIPPED - 1)) == "a" * (MAX_STRIPPED - 1)
    with pytest.raises(TooDeceptive):
        strip_deceptive("a\0" * MAX_STRIPPED)


def test_more_words_than_are_looked_at_count_as_forged() -> None:
    ordinary = "USB\u0448\u043d\u044b\u0439 "
    assert find_deceptive(ordinary * MAX_PLACES) == {}
    assert find_deceptive(ordinary * (MAX_PLACES + 1)) == {"homoglyph": 1}


@given(st.text(alphabet=ALPHABET, max_size=60), st.booleans())
def test_any_text_has_an_answer_and_the_counts_are_of_known_kinds(text: str, is_name: bool) -> None:
    found = find_deceptive(text, is_name=is_name)
    assert found.keys() <= set(DECEPTIONS)
    assert all(count > 0 for count in found.values())


@given(st.text(alphabet=ALPHABET, max_size=60))
def test_nothing_that_is_found_is_left_and_what_is_clean_is_not_touched(text: str) -> None:
    found = find_deceptive(text).keys() - {"homoglyph"}
    try:
        clean = strip_deceptive(text)
    except TooDeceptive:
        assert found
        return
    assert not find_deceptive(clean).keys() - {"homoglyph"}
    assert found or clean == text


@settings(max_examples=1_000)
@given(st.text(alphabet=ALPHABET, max_size=8))
def test_the_quick_look_overlooks_nothing_that_the_long_one_finds(text: str) -> None:
    reads_right_to_left = deceptive._reads_right_to_left(text)
    if deceptive._NAMED[reads_right_to_left].search(text) or deceptive._LONE_RETURN.search(text):
        assert deceptive._is_suspect(text)


@given(st.text(alphabet=ALPHABET.filter(lambda sign: sign != "\ud800"), max_size=8))
def test_the_quick_look_at_letters_overlooks_no_place(text: str) -> None:
    encoded = text.encode()
    if not homoglyphs._ANY_SIGN.search(encoded):
        everything = (homoglyphs._MIXED, homoglyphs._WIDE_WORD, homoglyphs._FANCY_WORD, homoglyphs._IN_ADDRESS)
        assert not any(pattern.search(text) for pattern in everything)
        assert not any(homoglyphs._cyrillic_in_latin(text))


@pytest.mark.parametrize(
    "unit",
    [
        "a\0", "\x1b", "\x1b[", "\x1b]a", "\x1b]", "\x1b[31mx", "\u009d", "\u009dx", "a\u00ad", "\u200b", "\u200d", "a\u200d",
        "\u0645\u200c", "\u05d0\u200f", "\U0001f600\ufe0f", "\U0001f3f4", "\U0001f3f4\U000e0067\U000e0062", "\U000e0067",
        "a\u0430", "p\u0430y ", "\u03b1x ", "USB\u0448\u043d\u044b\u0439 ", "@", "://", "@\u00e9", "\u0440\u0430@a ", "\u0430.",
        "\U0001d41a", "\uff41", "\u4e00", "\u0430", "[", "1", "\r", "\ufeff",
    ],
)  # fmt: skip
def test_the_largest_hostile_answer_takes_no_more_than_its_time(unit: str) -> None:
    # The last characters send it the long way.
    text = unit * (LARGEST_BYTES // len(unit.encode())) + "\0p\u0430y"
    begun = time.perf_counter()
    find_deceptive(text)
    with suppress(TooDeceptive):
        strip_deceptive(text)
    assert time.perf_counter() - begun < LONGEST_S
