"""How well the reading of SQL does on its corpus: must-block and must-pass, by dialect."""

from collections.abc import Mapping
from typing import Any

from callgate.screening.sql import DIALECTS, read_sql
from support.screen_score import Score, read_corpus


def score() -> Mapping[str, Score]:
    """By `sql <dialect>`: what must be blocked counts as expected, what must pass and is blocked as wrong."""
    cases = [case for case in read_corpus("sql") if not case["ambiguous"]]
    return {f"sql {dialect}": _score_of([case for case in cases if case["dialect"] == dialect]) for dialect in DIALECTS}


def _score_of(cases: list[dict[str, Any]]) -> Score:  # `Any`: the fields of a case
    blocked = {case["id"] for case in cases if read_sql(case["sql"], case["dialect"]).destructive}
    expected = [case["id"] for case in cases if case["expect"] == "destructive"]
    wrong = [case["id"] for case in cases if case["expect"] == "safe" and case["id"] in blocked]
    passed = [each for each in expected if each not in blocked]
    return Score(len(expected), len(expected) - len(passed), len(wrong), (*passed, *wrong))
