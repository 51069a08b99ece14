"""How well the detector of deceptive text does on its corpus."""

from collections.abc import Iterable
from typing import Any

from callgate.screening.deceptive import find_deceptive
from callgate.screening.terms import DECEPTIONS
from support.screen_score import Score, read_corpus

NAMES = frozenset({"tool_name"})
NOTHING = "none"
# Look-alike names are found in lists of names, and have tests of their own.
KINDS = tuple(kind for kind in DECEPTIONS if kind != "lookalike")


def score() -> dict[str, Score]:
    """Each kind of deception, over the unambiguous cases of the whole corpus."""
    cases = [(case, _found(case)) for case in unambiguous()]
    return {kind: _score(kind, cases) for kind in KINDS}


def _found(case: dict[str, Any]) -> frozenset[str]:
    return frozenset(find_deceptive(case["text"], is_name=case["where"] in NAMES))


def _score(kind: str, cases: list[tuple[dict[str, Any], frozenset[str]]]) -> Score:
    expected = [case["id"] for case, _ in cases if kind in expected_in(case)]
    missed = [case["id"] for case, found in cases if kind in expected_in(case) - found]
    wrong = [case["id"] for case, found in cases if kind in found - expected_in(case) - set(case["optional"])]
    return Score(len(expected), len(expected) - len(missed), len(wrong), (*missed, *wrong))


def unambiguous() -> list[dict[str, Any]]:
    return [case for case in read_corpus("text") if not case["ambiguous"]]


def expected_in(case: dict[str, Any]) -> frozenset[str]:
    names: Iterable[str] = case["expect"]
    return frozenset(names) - {NOTHING}
