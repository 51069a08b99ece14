"""Personal data and secrets: the corpus, and what the detector promises about what it finds."""

from itertools import pairwise
from typing import Any

import pytest

from callgate.screening.personal import (
    BIRTH_DATE_KEYS,
    MAX_TEXT_CHARACTERS,
    Detector,
    TooLong,
    detector_of,
    pattern_problem,
)
from callgate.screening.terms import ENTITIES, Found
from support.personal_score import finds, is_found, strays, unambiguous
from support.screen_score import read_corpus

EVERYTHING = detector_of(frozenset(ENTITIES), ())
CASES = unambiguous()


def test_corpus_is_large_has_all_entities_and_says_where_each_case_comes_from() -> None:
    cases = read_corpus("pii")
    assert len(cases) >= 725
    assert len({case["id"] for case in cases}) == len(cases)
    assert all(case["source"] for case in cases)
    assert sum(not case["spans"] for case in cases) >= 0.4 * len(cases)
    assert {span["entity"] for case in cases for span in case["spans"]} == set(ENTITIES)


@pytest.mark.parametrize("group", sorted({case["group"] for case in CASES}))
def test_finds_every_value_of_the_corpus_and_nothing_else(group: str) -> None:
    assert [problem for case in CASES if case["group"] == group for problem in problems(case)] == []


def problems(case: dict[str, Any]) -> list[str]:
    found = finds(case["text"])
    missed = [span["entity"] for span in case["spans"] if not is_found(case["text"], span, found)]
    return [f"{case['id']} missed {name}" for name in missed] + [
        f"{case['id']} stray {find.name}" for find in strays(case, found)
    ]


def test_finds_are_in_order_and_do_not_overlap() -> None:
    for case in CASES:
        ends = [(find.start, find.end) for find in finds(case["text"])]
        assert all(start < end for start, end in ends)
        assert all(one[1] <= other[0] for one, other in pairwise(ends))


def test_offsets_are_code_points_of_the_text_as_given() -> None:
    text = "😀 \u200b é ada%40kestrel-quarry.com 😀"
    (found,) = EVERYTHING.find(text)
    assert text[found.start : found.end] == "ada%40kestrel-quarry.com"


def test_finds_nothing_that_was_not_asked_for() -> None:
    text = "ada@kestrel-quarry.com +46 70-174 06 05 4033530085275877048 219-46-5028"
    for entity in ENTITIES:
        assert {find.name for find in Detector(frozenset({entity})).find(text)} <= {entity}


def test_finds_nothing_without_entities_and_patterns() -> None:
    assert Detector(frozenset()).find("ada@kestrel-quarry.com") == ()


def test_finds_own_patterns_under_their_names() -> None:
    detector = Detector(frozenset({"email"}), (("employee", "EMP-[0-9]{6}"), ("room", "R[0-9]+")))
    assert detector.find("EMP-904233 in R12 é R7") == (
        Found("employee", 0, 10),
        Found("room", 14, 17),
        Found("room", 20, 22),
    )


def test_own_pattern_names_what_an_entity_would_find_too() -> None:
    detector = Detector(frozenset({"email"}), (("staff", "[a-z]+@kestrel-quarry[.]com"),))
    assert detector.find("ada@kestrel-quarry.com") == (Found("staff", 0, 22),)


def test_finds_that_overlap_become_one_that_covers_both() -> None:
    text = "https://ada:s3cr3t-pw-7@kestrel-quarry.com/x"
    assert EVERYTHING.find(text) == (Found("secret", 0, len(text)),)


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        ("EMP-[0-9]{6}", ""),
        ("(?i)emp", ""),
        ("a*", "matches the empty text"),
        ("", "matches the empty text"),
        ("(", "is not RE2"),
        (r"(a)\1", "is not RE2"),
        ("(?=a)", "is not RE2"),
        ("a" * 2_000, "is longer than 1024 characters"),
        ("[0-9A-Za-z]{1000}", "is too large"),
    ],
)
def test_says_why_an_own_pattern_is_not_taken(pattern: str, problem: str) -> None:
    assert pattern_problem(pattern) == problem


def test_remembers_detectors() -> None:
    assert detector_of(frozenset({"email"}), ()) is detector_of(frozenset({"email"}), ())


def test_refuses_text_that_is_too_long() -> None:
    with pytest.raises(TooLong):
        EVERYTHING.find("a" * (MAX_TEXT_CHARACTERS + 1))


def test_takes_the_longest_text_that_the_gate_reads() -> None:
    assert EVERYTHING.find("a " * (2 * 1024 * 1024)) == ()


def test_a_lone_surrogate_changes_nothing() -> None:
    (found,) = EVERYTHING.find("\ud800 ada@kestrel-quarry.com \udfff")
    assert found == Found("email", 2, 24)


def test_keys_of_birth_dates_are_written_as_they_are_compared() -> None:
    assert {"dob", "dateofbirth", "birthdate", "geburtsdatum"} <= BIRTH_DATE_KEYS
    assert all(key == key.casefold() and not set(key) & set("_- ") for key in BIRTH_DATE_KEYS)


def test_values_are_in_no_error() -> None:
    with pytest.raises(TooLong) as raised:
        EVERYTHING.find("ada@kestrel-quarry.com " * 50_000)
    assert "ada" not in str(raised.value)
