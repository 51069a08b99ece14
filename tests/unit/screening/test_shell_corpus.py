"""The corpus of shell: what has to be called destructive is, and what may not be called anything is not."""

from collections import Counter

import pytest

from support.screen_score import read_corpus
from support.shell_score import labels_of, reading_of, score

CASES = read_corpus("shell")
GROUPS = sorted({case["group"] for case in CASES})
# The project's own definitions come with 215 examples; the corpus is to have five times as many.
LEAST_CASES = 5 * 215


@pytest.mark.parametrize("group", GROUPS)
def test_every_case_has_the_labels_that_it_must_and_no_label_that_it_may_not(group: str) -> None:
    wrong = []
    for case in CASES:
        if case["group"] != group:
            continue
        found = labels_of(reading_of(case))
        must = set(case["labels"]) - {"safe"}
        if not must <= found <= must | set(case["optional"]):
            wrong.append((case["id"], case["command"], sorted(found)))
    assert wrong == []


def test_a_reading_is_destructive_exactly_if_it_says_why() -> None:
    assert all(reading_of(case).destructive == bool(reading_of(case).why) for case in CASES)


def test_the_corpus_is_five_times_the_examples_and_each_case_tells_its_source() -> None:
    assert len(CASES) >= LEAST_CASES
    assert all(case["source"] for case in CASES)
    assert max(Counter(case["id"] for case in CASES).values()) == 1


def test_every_group_of_the_definitions_is_in_the_corpus() -> None:
    assert {
        "argv", "safe_read", "interpreter", "wrapper", "privileged", "indirect", "safe_ops", "spelling", "context", "direct",
        "system", "network", "writes", "ambiguous", "safe_lookalike", "cluster", "parse", "git", "safe_git", "chars",
    } == set(GROUPS)  # fmt: skip


def test_the_score_has_nothing_missed_and_nothing_wrong() -> None:
    assert {name: found.missed for name, found in score().items() if found.missed} == {}
