"""What a text says to who reads it, and where that stands in it."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callgate.screening.folding import DIGIT_ZEROS, UNSEEN, fold
from callgate.screening.telling import TooLong
from callgate.screening.views import MAX_ESCAPES, views_of


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("a%40b", "a@b"),
        ("a%2540b", "a@b"),
        ("%EF%BC%94", "4"),
        ("%B4792", "%B4792"),
        ("%02d", "%02d"),
        ("a\\u0040b", "a@b"),
        ("a\\\\u0040b", "a@b"),
        ("\\ud835\\udfd2", "4"),
        ("\\ud835", "\ud835"),
        ("\\x40", "@"),
        ("\\u{40}", "@"),
        ("\\U00000040", "@"),
        ("a&#64;b&#x40;c&commat;d", "a@b@c@d"),
        ("&notareference;", "&notareference;"),
        ("&#0;", " "),
        ("ada [at] kestrel (dot) com", "ada@kestrel.com"),
        ("a<!-- x -->b<wbr>c", "abc"),
        ("<b>a</b>", "a"),
        ("a\u200bb\u2060\ufeffc", "abc"),
        ("e\u0301", "e"),
        ("\uff14\uff17\uff20\uff0e", "47@."),
        ("٤٧ ४७ ๔๗", "47 47 47"),
        ("a\u00a0b\u2013c", "a b-c"),
        ("a\\nb", "a \nb"),
        ("plain", "plain"),
    ],
)
def test_reads(text: str, read: str) -> None:
    assert views_of(text)[0].text == read


@pytest.mark.parametrize(
    ("text", "read"),
    [("a=40b", "a@b"), ("ab=\ncd", "abcd"), ("ab=\r\ncd", "abcd"), ("=EF=BC=94", "4"), ("4=E2=80=AF5", "4 5")],
)
def test_reads_quoted_printable_beside_the_text_as_it_is(text: str, read: str) -> None:
    assert [view.text for view in views_of(text)][-1] == read
    assert len(views_of(text)) == 2


def test_reads_the_blanks_of_a_form_beside_the_text_as_it_is() -> None:
    assert [view.text for view in views_of("q=a+b%2Bc")] == ["q=a+b+c", "q=a b+c"]


@given(st.text(), st.sampled_from(["%40", "\\u0040", "&#64;", "\uff20", "\u200b@", "%2540"]), st.text())
def test_says_where_what_was_read_stands(before: str, sign: str, behind: str) -> None:
    text = before + sign + behind
    for view in views_of(text):
        last = 0
        for place in range(len(view.text)):
            start, end = view.span(place, place + 1)
            assert last <= start < end <= len(text)
            last = start


@given(st.text())
def test_flat_bytes_are_as_many_as_the_characters(text: str) -> None:
    assert all(len(view.flat) == len(view.text) for view in views_of(text))


@given(st.text())
def test_folding_keeps_the_length(text: str) -> None:
    assert len(fold(text)) == len(text)


def test_digits_of_every_script_are_folded() -> None:
    zeros = [code for code in range(0x80, 0x20000) if unicodedata.decimal(chr(code), None) == 0]
    assert set(zeros) <= set(DIGIT_ZEROS)
    assert all(fold(chr(zero + digit)) == str(digit) for zero in DIGIT_ZEROS for digit in range(10))


def test_what_cannot_be_seen_is_folded_to_one_character() -> None:
    formats = [chr(code) for code in range(0x2000, 0x2070) if unicodedata.category(chr(code)) == "Cf"]
    assert {fold(character) for character in formats} == {UNSEEN}


def test_more_escapes_than_are_read_are_refused() -> None:
    with pytest.raises(TooLong):
        views_of("%41a" * (MAX_ESCAPES + 1))
