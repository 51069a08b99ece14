"""How well the readings of shell do on their corpus, label by label."""

from collections.abc import Mapping
from typing import Any

from callgate.screening.shell import ShellReading, read_argv, read_shell
from support.screen_score import Score, read_corpus

LABELS = ("destructive", "writes", "network", "privileged")


def reading_of(case: Mapping[str, Any]) -> ShellReading:  # `Any`: a command is text, or a list of texts
    """The reading of a case of the corpus."""
    return read_argv(case["command"]) if case["form"] == "argv" else read_shell(case["command"])


def labels_of(reading: ShellReading) -> set[str]:
    """The labels that a reading has."""
    return {label for label in LABELS if getattr(reading, label)}


def score() -> Mapping[str, Score]:
    """By `shell <label>`: a label that has to be set counts as expected, one that may not be set as wrong."""
    cases = [(case, labels_of(reading_of(case))) for case in read_corpus("shell") if not case["ambiguous"]]
    return {f"shell {label}": _score_of(label, cases) for label in LABELS}


def _score_of(label: str, cases: list[tuple[dict[str, Any], set[str]]]) -> Score:
    expected = [case["id"] for case, _ in cases if label in case["labels"]]
    missing = [case["id"] for case, found in cases if label in case["labels"] and label not in found]
    wrong = [
        case["id"] for case, found in cases if label in found and label not in {*case["labels"], *case["optional"]}
    ]
    return Score(len(expected), len(expected) - len(missing), len(wrong), (*missing, *wrong))
