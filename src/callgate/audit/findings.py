"""What a verification found: values with a stable code, the records concerned, and the place in the files.  Pure."""

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

# Enough to see what was done to a log; a file with every line changed would tell of each of them.
MAX_FINDINGS: Final = 100


class Code(StrEnum):
    """Stable codes: scripts look for them."""

    # Single records.
    EDITED = "edited"
    UNREADABLE = "unreadable"
    MISSING = "missing"
    MOVED = "moved"
    INSERTED = "inserted"
    FORMAT = "format"
    HEADER = "header"
    # Against checkpoints.
    REWRITTEN = "rewritten"
    CUT_OFF = "cut_off"
    FORKED = "forked"
    CHECKPOINT_BACKWARDS = "checkpoint_backwards"
    CHECKPOINT_BAD = "checkpoint_bad"
    UNSIGNED = "unsigned"
    # Files.
    NOT_A_FILE = "not_a_file"
    NO_RECORDS = "no_records"
    # What is worth knowing, and happens to logs that nobody has changed.
    TORN = "torn"
    OPEN_END = "open_end"
    UNCHECKED = "unchecked"
    CHECKPOINT_TORN = "checkpoint_torn"
    OTHER_FILE = "other_file"


# A log with nothing else is whole.
REMARKS: Final = frozenset({Code.TORN, Code.OPEN_END, Code.UNCHECKED, Code.CHECKPOINT_TORN, Code.OTHER_FILE})


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, or worth knowing.

    `first` to `last`: the records concerned, -1 where it is about none.  `file` and `line` (from 1; 0: all of it): where
    to look.  `text` is a sentence of ours without anything that the log says.
    """

    code: Code
    text: str
    first: int = -1
    last: int = -1
    file: str = ""
    line: int = 0


class Findings:
    """The first MAX_FINDINGS of them, and of the others the number."""

    def __init__(self) -> None:
        self._told: list[Finding] = []
        self.counts: Counter[Code] = Counter()

    def add(self, finding: Finding) -> None:
        """Take one up."""
        self.counts[finding.code] += 1
        if finding.code in REMARKS or len(self._told) < MAX_FINDINGS:
            self._told.append(finding)

    @property
    def more(self) -> int:
        """How many there are that were only counted."""
        return self.counts.total() - len(self._told)

    def findings(self) -> tuple[Finding, ...]:
        """What is wrong, in the order of the records."""
        wrong = [finding for finding in self._told if finding.code not in REMARKS]
        return tuple(sorted(wrong, key=lambda finding: (finding.first < 0, finding.first, finding.last)))

    def remarks(self) -> tuple[Finding, ...]:
        """What is worth knowing."""
        return tuple(finding for finding in self._told if finding.code in REMARKS)


def records(first: int, last: int) -> str:
    """The words for a range of records."""
    return f"record {first}" if first == last else f"records {first} to {last}"
