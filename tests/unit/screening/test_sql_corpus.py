"""The corpus of SQL: what must be blocked is, what must pass does, and what is told about each is true."""

from typing import Any

import pytest

from callgate.screening.sql import DIALECTS, SQL_RULES, read_sql
from support.screen_score import read_corpus
from support.sql_score import score

CASES = read_corpus("sql")
# The project's own definitions come with 166 examples; the corpus is to have five times as many.
LEAST_CASES = 5 * 166
GROUPS = {
    "admin", "attach", "client", "comment", "control", "cte", "cte_dml", "ddl", "dml", "explain", "file", "into", "json",
    "lookalike", "merge", "meta", "multi", "nosemi", "nowhere", "place", "privilege", "proc", "quote", "select",
    "tautology", "trigger", "unicode", "unparsable", "window",
}  # fmt: skip


def _cases(dialect: str, expect: str) -> list[dict[str, Any]]:
    return [case for case in CASES if case["dialect"] == dialect and case["expect"] == expect and not case["ambiguous"]]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_no_statement_passes_that_must_be_blocked(dialect: str) -> None:
    assert [
        case["sql"] for case in _cases(dialect, "destructive") if not read_sql(case["sql"], dialect).destructive
    ] == []


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_statement_passes_that_must(dialect: str) -> None:
    assert [case["sql"] for case in _cases(dialect, "safe") if read_sql(case["sql"], dialect).destructive] == []


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_statement_writes_exactly_if_the_corpus_says_so(dialect: str) -> None:
    asserted = [case for case in CASES if case["dialect"] == dialect and case["writes"] is not None]
    wrong = [case["sql"] for case in asserted if read_sql(case["sql"], dialect).writes != case["writes"]]
    assert wrong == []


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_tables_are_those_that_the_corpus_names(dialect: str) -> None:
    asserted = [case for case in CASES if case["dialect"] == dialect and case["tables"] is not None]
    found = [(case["sql"], sorted(read_sql(case["sql"], dialect).tables), sorted(case["tables"])) for case in asserted]
    assert [case for case in found if case[1] != case[2]] == []


def test_a_reading_is_destructive_exactly_if_it_says_why_and_every_code_has_its_sentence() -> None:
    for case in CASES:
        reading = read_sql(case["sql"], case["dialect"])
        assert reading.destructive == bool(reading.why)
        assert set(reading.why) <= SQL_RULES.keys()


def test_the_corpus_is_five_times_the_examples_and_each_case_tells_its_source() -> None:
    assert len(CASES) >= LEAST_CASES
    assert all(case["source"] for case in CASES)
    assert len({case["id"] for case in CASES}) == len(CASES)


def test_every_group_of_the_definitions_and_every_dialect_is_in_the_corpus() -> None:
    assert {case["group"] for case in CASES} == GROUPS
    assert {case["dialect"] for case in CASES} == set(DIALECTS)


def test_the_score_has_nothing_missed_and_nothing_wrong() -> None:
    assert {name: found.missed for name, found in score().items() if found.missed} == {}
