"""What an attacker writes, as the approvals pages show it: nothing hidden, nothing moved, nothing left out in silence."""

import re

import pytest

from callgate.approvals.site.visible import (
    HEAD_CHARACTERS,
    MAX_MARKS,
    MAX_OPEN_CHARACTERS,
    TAIL_CHARACTERS,
    Allowance,
    Pieces,
    folded,
    is_hidden,
    shown,
)

# One of each kind that Unicode lets vanish, turn or push aside (UAX 9, UAX 44: Default_Ignorable_Code_Point, Cc, Cf, Z*).
UNSEEN = (
    "\0\t\x07\r\x1b\x7f\x85\x9b\u00a0\u00ad\u034f\u061c\u115f\u1160\u1680\u17b4\u180e\u2000\u200b\u200d\u200e\u2028\u2029"
    "\u202a\u202e\u2060\u2066\u2069\u206a\u2800\u3000\u3164\ufe0f\ufeff\uffa0\ufff9\U0001d173\U000e0001\U000e0041\U000e0100"
    "\ue000\ufdd0\ud800"
)


def allowance(characters: int = 100_000) -> Allowance:
    return Allowance(characters)


def text_of(pieces: Pieces) -> str:
    return "".join(piece.text for piece in pieces)


@pytest.mark.parametrize("sign", UNSEEN, ids=lambda sign: f"U+{ord(sign):04X}")
def test_a_sign_that_cannot_be_seen_is_written_out(sign: str) -> None:
    pieces = shown(f"pay{sign}pal", allowance())

    assert text_of(pieces) == f"pay⟨U+{ord(sign):04X}⟩pal"
    assert [piece.kind for piece in pieces] == ["text", "unseen", "text"]
    assert pieces[1].note.startswith(f"U+{ord(sign):04X} ")


@pytest.mark.parametrize("text", ["plain", "Grüße", "naïve", "漢字", "привет мир", "a € b", "1 + 1 = 2", "π", "😀"])
def test_ordinary_text_is_shown_as_it_is(text: str) -> None:
    assert {piece.kind for piece in shown(text, allowance())} == {"text"}
    assert text_of(shown(text, allowance())) == text


def test_an_override_says_that_it_turns_the_direction_of_text() -> None:
    (_, override, _) = shown("exe\u202egnp", allowance())

    assert override.note == "U+202E right-to-left override, turns the direction of text"


def test_line_ends_are_kept_and_marked() -> None:
    assert [(piece.kind, piece.text) for piece in shown("a\nb", allowance())] == [
        ("text", "a"), ("line", "↵"), ("text", "b"),
    ]  # fmt: skip


@pytest.mark.parametrize("filler", ["\n", " ", "\u200b", "\u3000", "a\u0301\u0301\u0301\u0301"[-1]])
def test_nothing_is_pushed_out_of_sight_by_repetition(filler: str) -> None:
    pieces = shown(f"pay 1{filler * 900}00000", allowance())

    assert len(pieces) < 8
    assert len(text_of(pieces)) < 80
    assert "900" in text_of(pieces) or "897" in text_of(pieces)


def test_indentation_is_no_repetition() -> None:
    assert text_of(shown("if x:\n" + " " * 16 + "y", allowance())) == "if x:↵" + " " * 16 + "y"


def test_an_accent_at_the_beginning_cannot_stand_on_what_the_page_says() -> None:
    assert text_of(shown("\u0338yes", allowance())) == "⟨U+0338⟩yes"


def test_right_to_left_text_is_a_piece_of_its_own_so_that_it_moves_no_amount() -> None:
    pieces = shown("pay 100 שלום עולם 999 now", allowance())

    assert [(piece.kind, piece.text) for piece in pieces] == [
        ("text", "pay 100 "), ("rtl", "שלום עולם"), ("text", " 999 now"),
    ]  # fmt: skip


@pytest.mark.parametrize("word", ["p\u0430ypal", "\u0430dmin", "\uff50\uff41\uff59\uff50\uff41\uff4c", "g\u03bfogle"])
def test_a_word_that_passes_for_another_says_so(word: str) -> None:
    (piece,) = shown(word, allowance(), is_name=True)

    assert piece.kind == "forged"
    assert re.match(r"U\+[0-9A-F]{4} ", piece.note)


def test_telling_words_are_marked_where_they_stand() -> None:
    pieces = shown("then DROP it", allowance(), re.compile("DROP"))

    assert [(piece.kind, piece.text) for piece in pieces] == [
        ("text", "then "), ("telling", "DROP"), ("text", " it"),
    ]  # fmt: skip


def test_when_there_are_too_many_marks_the_rest_is_written_out_all_the_same() -> None:
    pieces = shown("a\u202eb\u202d" * MAX_MARKS, allowance())

    assert len(pieces) <= 2 * MAX_MARKS + 2
    assert not any(is_hidden(sign) for sign in text_of(pieces))
    assert text_of(pieces).count("⟨U+202E⟩") == MAX_MARKS


def test_long_text_is_folded_and_its_end_is_in_sight() -> None:
    text = "a" * 5_000 + "and pay Mallory"

    found = folded(text, allowance())

    assert found.is_folded
    assert text_of(found.tail).endswith("and pay Mallory")
    assert text_of(found.head + found.middle + found.tail) == text
    assert (found.characters, found.cut) == (len(text), 0)


def test_a_text_that_fits_is_not_folded() -> None:
    assert not folded("a" * MAX_OPEN_CHARACTERS, allowance()).is_folded
    assert folded("a" * (MAX_OPEN_CHARACTERS + 1), allowance()).is_folded


def test_what_there_is_no_room_for_is_counted() -> None:
    found = folded("a" * 100_000, allowance(10_000))

    in_sight = HEAD_CHARACTERS + TAIL_CHARACTERS
    assert len(text_of(found.head + found.middle + found.tail)) + found.cut == 100_000
    assert len(text_of(found.middle)) == (10_000 - in_sight) // 2


def test_a_text_after_the_room_is_gone_still_shows_both_its_ends() -> None:
    spent = allowance(0)

    found = folded("begin" + "." * 1_000 + "end", spent)

    assert text_of(found.head).startswith("begin")
    assert text_of(found.tail).endswith("end")
    assert found.cut > 0
    assert spent.characters == 0


def test_short_texts_are_whole_even_where_the_page_is_full() -> None:
    assert text_of(folded("yes, delete it", allowance(0)).head) == "yes, delete it"
