import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callgate.telemetry.visible import redacted, visible, without_credentials


@given(text=st.text(st.characters()), limit=st.integers(1, 300))
def test_the_result_is_one_printable_line_within_the_limit(text: str, limit: int) -> None:
    shown = visible(text, limit)
    assert shown.isprintable()
    assert len(shown) <= limit
    shown.encode("utf-8")


@given(text=st.text(st.characters(codec="utf-8")).filter(str.isprintable))
def test_printable_text_within_the_limit_is_left_alone(text: str) -> None:
    assert visible(text, max(len(text), 1)) == text


@pytest.mark.parametrize(
    ("char", "shown"),
    [
        ("\x1b", "\\x1b"),
        ("\x00", "\\x00"),
        ("\n", "\\n"),
        ("\x7f", "\\x7f"),
        ("\x9b", "\\x9b"),  # CSI in one byte: an escape sequence without ESC
        ("\u202e", "\\u202e"),  # right-to-left override
        ("\u2066", "\\u2066"),
        ("\u200b", "\\u200b"),
        ("\u2028", "\\u2028"),
        ("\ufeff", "\\ufeff"),
        ("\ud800", "\\ud800"),
        ("\U000e0041", "\\U000e0041"),  # a tag character, invisible
    ],
)
def test_shows_what_would_move_a_cursor_or_hide(char: str, shown: str) -> None:
    assert visible(f"a{char}b", 100) == f"a{shown}b"


def test_says_that_something_was_cut() -> None:
    assert visible("x" * 11, 10) == "x" * 9 + "…"


@pytest.mark.parametrize(
    "text", ["eyJ" * 100_000, "-----BEGIN " * 50_000, "bearer " * 50_000, "-----BEGIN A-----" * 9000]
)
def test_hostile_text_is_searched_in_linear_time(text: str) -> None:
    started = time.process_time()
    redacted(text)
    assert time.process_time() - started < 1.0


def test_ordinary_sentences_pass_the_search_for_credentials() -> None:
    sentence = "the bearer token expired 3 s ago; basic checks passed; tool matches get_*"
    assert without_credentials(sentence, 200) == sentence
