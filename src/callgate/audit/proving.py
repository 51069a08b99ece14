"""Making the proof of one record from a log: reads one file of it, and what follows up to the next checkpoint."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

from callgate.audit.chain import MAX_LINE_BYTES
from callgate.audit.checkpoint import Checkpoint, VerifierKey
from callgate.audit.findings import Findings
from callgate.audit.headers import tree_of
from callgate.audit.lines import UnusableInput, look_at
from callgate.audit.merkle import Tree, leaf_hash
from callgate.audit.proof import BadProof, Proof, check, inclusion_ranges, peak_ranges
from callgate.audit.read_line import read_line
from callgate.audit.segments import Segment, from_record, segments
from callgate.audit.signed import CheckpointSource

_VERIFY: Final = "callgate audit verify tells more"


def prove(folder: Path, key: VerifierKey, index: int) -> tuple[Proof, Checkpoint]:
    """The proof of record number `index`, under the first checkpoint that covers it.

    Blocks.  Raises UnusableInput and UnreadableLog where there is no such record, no checkpoint over it yet, or where
    the log is not what was signed.
    """
    found = from_record(segments(folder), index)
    if not found or found[0].first > index:
        raise UnusableInput(f"there is no record {index} in the log in {folder}")
    checkpoints = CheckpointSource(folder, (), key, Findings(), start=found[0].first)
    signed = next((signed for signed in checkpoints if signed.size > index), None)
    if signed is None:
        raise UnusableInput(_why_not(folder, found, index))
    record, path = _record_and_path(found, index, signed.size)
    proof = Proof(index, record, path, signed.note)
    checkpoint = check(proof, key)
    if isinstance(checkpoint, BadProof):
        raise UnusableInput(f"the log is not what the checkpoint over {signed.size} records signs; {_VERIFY}")
    return proof, checkpoint


def _why_not(folder: Path, found: list[Segment], index: int) -> str:
    """Nothing covers it: it is not there, or not yet signed, or not by this key."""
    if next(islice(_lines(found), index - found[0].first, None), None) is None:
        return f"there is no record {index} in the log in {folder}"
    return f"no checkpoint of this key covers record {index}: a gate makes one within a second; is it the right key?"


def _record_and_path(found: list[Segment], index: int, size: int) -> tuple[bytes, tuple[bytes, ...]]:
    """The line, and the hashes of the subtrees beside it: of those before it, from the head of its file."""
    head = read_line("", 1, next(_lines(found), None))
    tree = tree_of(head)
    if tree is None or tree.size != found[0].first:
        raise UnusableInput(f"{found[0].path} does not begin with the head of a file; {_VERIFY}")
    lines = _lines(found)
    for line in islice(lines, index - tree.size):
        tree.append(leaf_hash(line))
    record = next(lines, None)
    if record is None:
        raise UnusableInput(f"the log ends before record {index}, and a checkpoint tells of {size}; {_VERIFY}")
    hashes = dict(zip(peak_ranges(index), tree.peaks, strict=True))
    ranges = inclusion_ranges(index, size)
    for first, last in sorted(each for each in ranges if each[0] > index):
        after = Tree()
        for line in islice(lines, last - first):
            after.append(leaf_hash(line))
        hashes[first, last] = after.root()
    return record, tuple(hashes[each] for each in ranges)


def _lines(found: list[Segment]) -> Iterator[bytes]:
    for segment in found:
        file = look_at(segment.path)
        if file is None:
            raise UnusableInput(f"{segment.path} is no plain file; {_VERIFY}")
        for _, octets, ended in file.lines(MAX_LINE_BYTES):
            if ended and octets is not None:
                yield octets
