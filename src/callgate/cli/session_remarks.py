"""What a reader of a session must know of its log: whether it hangs together, and what befell the gate meanwhile."""

from dataclasses import dataclass
from typing import Final

from callgate.audit.chain import Kind
from callgate.audit.continuity import Continuity
from callgate.audit.entries import Entry
from callgate.audit.verify import Verdict
from callgate.cli.words import counted, duration, moment, told
from callgate.wire.members import number_of, objects_of, text_of

# More of them is for the report of `callgate audit verify`.
_MAX_FINDINGS: Final = 5
_NOT_SIGNED: Final = "Against somebody who wrote all of the log anew only a checkpoint helps: none was looked at."


@dataclass(frozen=True, slots=True)
class LogVerdict:
    """Whether the log is what was recorded, as far as anybody looked; sentences for people."""

    is_good: bool
    sentences: tuple[str, ...]


def of_continuity(found: Continuity) -> LogVerdict:
    """What it means that the records hang together, or do not."""
    stretch = f"records {found.first} to {found.last}"
    if found.broken is not None:
        words = (
            f"No: record {found.broken} is missing or does not name the one before it, so the {stretch} are not as they "
            "were written. What is told here may be false."
        )
        return LogVerdict(is_good=False, sentences=(words,))
    words = f"As far as the {stretch} go: each names the one before it by its hash, checked when this page was made."
    last = ("No record follows yet that names the last of them.",) if found.is_last else ()
    return LogVerdict(is_good=True, sentences=(words, *last, _NOT_SIGNED))


def of_verification(found: Verdict, key: str, last_seq: int) -> LogVerdict:
    """What came of verifying the whole log with that key.  `last_seq`: where the session ends."""
    if not found.is_whole:
        findings = (told(finding.text) for finding in found.findings[:_MAX_FINDINGS])
        return LogVerdict(is_good=False, sentences=("No: the log was verified, and is not whole.", *findings))
    sentences = [f"Yes: all {found.records:,} records were verified when this page was made, with the key {told(key)}."]
    if found.covered.size <= last_seq:
        sentences.append(f"The records from {found.covered.size} on are not signed by a checkpoint yet.")
    if found.covered.kept <= last_seq:
        sentences.append("No checkpoint that was kept elsewhere covers all of this session.")
    return LogVerdict(is_good=True, sentences=tuple(sentences))


def remark_words(entry: Entry) -> str:
    """What the gate noted of itself, as a sentence."""
    return f"{moment(entry.time_ns)}  {_words(entry)} (record {entry.seq})"


def _words(entry: Entry) -> str:
    record = entry.record
    match entry.kind:
        case Kind.CLOCK:
            step_us = number_of(record, "step_us", 0)
            return f"the clock was set {'forward' if step_us > 0 else 'back'} by {duration(abs(step_us))}"
        case Kind.OUTAGE:
            return (
                f"the log could not be written ({told(text_of(record, 'error'))}) from {told(text_of(record, 'since'))}: "
                f"calls were refused, {_counted(entry)} without a record of their own"
            )
        case Kind.RECOVERY:
            orphans = counted(max(number_of(record, "orphans", 0), 0), "call")
            return f"the gate started after a crash: the outcome of {orphans} is unknown"
        case _:
            return f"{_counted(entry)} were refused without a record of their own: there were too many at once"


def _counted(entry: Entry) -> str:
    return counted(sum(max(number_of(each, "count", 0), 0) for each in objects_of(entry.record, "counts")), "request")
