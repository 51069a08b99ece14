"""How well a detector of screening does on its corpus."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CORPORA = Path(__file__).parent.parent / "corpus" / "screening"


@dataclass(frozen=True, slots=True)
class Score:
    """What one detector found of what it should have.

    `expected`: what is to be found in the unambiguous cases.  `found`: how much of that was.  `wrong`: what was found
    and should not have been.  `missed`: the ids of the cases with either, in the order of the corpus.
    """

    expected: int
    found: int
    wrong: int
    missed: tuple[str, ...] = ()

    @property
    def precision(self) -> float:
        """How much of what was found is right; 1 where nothing was."""
        said = self.found + self.wrong
        return self.found / said if said else 1.0

    @property
    def recall(self) -> float:
        """How much of what is there was found; 1 where nothing is."""
        return self.found / self.expected if self.expected else 1.0


def read_corpus(name: str) -> list[dict[str, Any]]:  # `Any`: the fields differ with the detector
    """Read the cases of `tests/corpus/screening/<name>.jsonl`, as many as there are."""
    lines = (CORPORA / f"{name}.jsonl").read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines if line.strip()]
