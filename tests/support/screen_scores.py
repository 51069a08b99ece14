"""How well all detectors of screening do, as `just screen-report` prints it and the documentation says it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Final

from callgate.screening.packs import PACKS
from support.screen_score import Score, read_corpus

# What it is called, its corpora, and which module of `support` has its `score()`.
_DETECTORS: Final = (
    ("Personal data and secrets", ("pii",), "personal_score"),
    ("SQL", ("sql",), "sql_score"),
    ("Shell", ("shell",), "shell_score"),
    ("Deceptive text", ("text",), "deceptive_score"),
    ("Packs", tuple(f"packs/{pack.name}" for pack in PACKS.values()), "pack_score"),
)


@dataclass(frozen=True, slots=True)
class Accuracy:
    """What one detector does on its corpus, by what it looks for.

    `cases`: how many there are; `ambiguous`: how many of them reasonable people would judge otherwise, which count in
    no figure.
    """

    detector: str
    cases: int
    ambiguous: int
    scores: Mapping[str, Score]

    @property
    def missed(self) -> tuple[str, ...]:
        """The ids of all cases that came out wrong, each once."""
        return tuple(dict.fromkeys(case for score in self.scores.values() for case in score.missed))


def accuracies() -> list[Accuracy]:
    """Every detector, in the order in which it is shown."""
    return [
        _accuracy(name, corpora, import_module(f"support.{module}").score())
        for name, corpora, module in _DETECTORS
        if find_spec(f"support.{module}") is not None
    ]


def _accuracy(detector: str, corpora: Sequence[str], scores: Mapping[str, Score]) -> Accuracy:
    cases = [case for corpus in corpora for case in read_corpus(corpus)]
    return Accuracy(detector, len(cases), sum(bool(case["ambiguous"]) for case in cases), scores)
