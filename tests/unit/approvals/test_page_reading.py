"""A call's arguments, line by line, within what a page may hold."""

import json
from typing import Final

import pytest

from callgate.approvals.site.reading import MAX_CHARACTERS, MAX_DEPTH, MAX_LINES, Arguments, Line, read_arguments
from callgate.approvals.site.visible import Allowance, Pieces
from callgate.wire.json_strict import JsonObject, JsonValue

MEBIBYTE: Final = 1024 * 1024


def read(arguments: JsonObject, **more: tuple[tuple[str | int, ...], ...]) -> Arguments:
    return read_arguments(arguments, Allowance(MAX_CHARACTERS), **more)


def text_of(pieces: Pieces) -> str:
    return "".join(piece.text for piece in pieces)


def written(line: Line) -> str:
    """One line as a reader sees it."""
    name = ""
    if line.label is not None:
        name = f"{text_of(line.label.name) if line.label.number is None else line.label.number}: "
    text = text_of(line.text.head + line.text.middle + line.text.tail) if line.text else ""
    return " " * line.depth + name + line.sign + text


def test_every_value_has_its_line() -> None:
    found = read({"account": "a-17", "amount": 12.5, "dry": False, "tags": ["x", None], "more": {"a": {}, "b": []}})

    assert [written(line) for line in found.lines] == [
        "account: a-17", "amount: 12.5", "dry: false", "tags: [", " 0: x", " 1: null", "]", "more: {", " a: {}", " b: []",
        "}",
    ]  # fmt: skip
    assert found.is_whole


@pytest.mark.parametrize("number", ["9007199254740991", "-9007199254740991", "0.1", "1e+22", "5e-324", "-0.0"])
def test_numbers_are_those_of_the_call(number: str) -> None:
    value = json.loads(number)

    (line,) = read({"amount": value}).lines

    assert json.loads(line.sign) == value
    assert line.kind == "value"


def test_a_text_cannot_pass_for_another_member() -> None:
    (line,) = read({"note": 'x"\n  "approved": true, "y": "'}).lines

    assert line.kind == "text"


def test_names_that_look_the_same_are_told() -> None:
    found = read({"account": 1, "acc\u043eunt": 2, "amount": 3, "Account": 4, "other": 5})

    assert [line.label.twin for line in found.lines if line.label] == [False, True, False, True, False]


def test_a_hidden_sign_in_a_name_is_written_out() -> None:
    (line,) = read({"acc\u200bount": 1}).lines

    assert written(line) == "acc⟨U+200B⟩ount: 1"


@pytest.mark.parametrize(
    "arguments",
    [
        {"list": list(range(100_000))},
        {f"k{number}": number for number in range(50_000)},
        {"lists": [[[number] * 50] * 50 for number in range(50)]},
        {"texts": ["x" * 1_500] * 600},
    ],
    ids=["entries", "members", "nested", "texts"],
)
def test_a_mebibyte_of_arguments_is_read_within_bounds(arguments: JsonObject) -> None:
    found = read(arguments)

    assert len(found.lines) <= MAX_LINES + MAX_DEPTH
    assert sum(len(written(line)) for line in found.lines) < 2 * MAX_CHARACTERS + 200 * MAX_LINES
    assert not found.is_whole


def test_what_is_left_out_is_counted_and_the_last_entry_is_shown() -> None:
    found = read({"rows": list(range(5_000))})

    shown = [line for line in found.lines if line.label and line.label.number is not None]
    (gap,) = (line for line in found.lines if line.kind == "gap")
    assert gap.sign == f"{5_000 - len(shown):,} more, not shown here"
    assert written(shown[-1]) == " 4999: 4999"


def test_a_large_member_does_not_hide_those_behind_it() -> None:
    rows: list[JsonValue] = [{"id": number, "tags": [1, 2, 3]} for number in range(2_000)]

    found = read({"rows": rows, "delete_everything": True})

    assert written(found.lines[-1]) == "delete_everything: true"


def test_what_is_nested_too_deeply_is_told() -> None:
    deep: JsonValue = "bottom"
    for _ in range(60):
        deep = [deep]

    found = read({"deep": deep})

    assert not found.is_whole
    assert max(line.depth for line in found.lines) <= MAX_DEPTH
    assert any(line.sign == "1 entry, not shown here" for line in found.lines)


def test_a_name_that_is_too_long_shows_both_its_ends_and_what_is_between() -> None:
    (line,) = read({"begin" + "." * 5_000 + "end": 1}).lines

    assert line.label is not None
    assert text_of(line.label.name).startswith("begin")
    assert text_of(line.label.tail).endswith("end")
    assert line.label.cut == 5_008 - len(text_of(line.label.name + line.label.tail))


def test_a_program_is_named_where_it_stands_and_not_shown_twice() -> None:
    found = read({"options": {"sql": "SELECT 1"}, "dry": True}, programs=(("options", "sql"),))

    (line,) = (line for line in found.lines if line.kind == "program")
    assert line.program == 1
    assert line.text is None
    assert found.is_whole


def test_arguments_of_one_mebibyte_of_text_are_said_not_to_be_whole() -> None:
    found = read({"text": "x" * MEBIBYTE})

    assert found.size > MEBIBYTE
    assert not found.is_whole
