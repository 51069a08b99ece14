"""Whether a stretch of the log hangs together: each record names the one before it by its hash.

It is cheap, and tells that nothing within the stretch was edited, dropped, moved or put in by somebody who did not
write all of the rest anew.  Against those who did there are checkpoints: `callgate audit verify`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

from callgate.audit.merkle import leaf_hash
from callgate.audit.segments import from_record, parsed, raw_lines, segments
from callgate.wire.members import number_of, text_of


@dataclass(frozen=True, slots=True)
class Continuity:
    """What was found of the records from `first` to `last`.

    `broken`: the first record that is not there, or does not name the one before it; None where all do.  `is_last`:
    no record follows the stretch, and so none names its last one.
    """

    first: int
    last: int
    broken: int | None = None
    is_last: bool = False


def continuity(folder: Path, first: int, last: int) -> Continuity:
    """Look at the records from `first` to the one after `last`.  Blocks.  Raises UnreadableLog."""
    number, before = first, ""
    for line in islice(_lines(folder, first), last - first + 2):
        record = parsed(line)
        if record is None or number_of(record, "seq") != number or (before and text_of(record, "prev") != before):
            return Continuity(first, last, broken=number)
        number, before = number + 1, leaf_hash(line).hex()
    if number <= last:
        return Continuity(first, last, broken=number)
    return Continuity(first, last, is_last=number == last + 1)


def _lines(folder: Path, first: int) -> Iterator[bytes]:
    found = from_record(segments(folder), first)
    before = first - found[0].first if found else 0
    return islice(chain.from_iterable(map(raw_lines, found)), max(before, 0), None)
