"""Proof that a record is in the log, in the C2SP format (c2sp.org/tlog-proof), for who does not have the log.

    c2sp.org/tlog-proof@v1
    extra <the record's line, in Base64>
    index <its number>
    <a hash in Base64, one a line: the leaf's neighbour first>

    <the checkpoint, a signed note>

The file holds the record itself, as the extra data that it takes "to reconstruct the record hash": with the verifier key
it is all that is needed.  Nothing of it is believed before the proof fits.  Pure.
"""

from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

from callgate.audit.chain import MAX_LINE_BYTES
from callgate.audit.checkpoint import MAX_SIZE, Checkpoint, VerifierKey
from callgate.audit.merkle import HASH_BYTES, leaf_hash, root_from_inclusion
from callgate.audit.note import MAX_NOTE_BYTES, BadNote, decoded
from callgate.audit.read_line import read_line

# A record, its Base64, and 63 hashes with a note.
MAX_PROOF_BYTES: Final = 2 * MAX_LINE_BYTES + MAX_NOTE_BYTES
MAX_PATH: Final = 63
_FIRST_LINE: Final = "c2sp.org/tlog-proof@v1"

# The leaves of a subtree: from the first up to, and without, the second.
Range: TypeAlias = tuple[int, int]


@dataclass(frozen=True, slots=True)
class BadProof:
    """What proves nothing.  `why` is a sentence of ours, without anything that the file says."""

    why: str


@dataclass(frozen=True, slots=True)
class Proof:
    """Record number `index` is `record` (its line without the line feed), under the checkpoint in `note`.

    `path`: the hashes on the way up from the leaf.
    """

    index: int
    record: bytes
    path: tuple[bytes, ...]
    note: str

    def __str__(self) -> str:
        """The text of its file."""
        lines = [_FIRST_LINE, f"extra {_encoded(self.record)}", f"index {self.index}", *map(_encoded, self.path)]
        return "\n".join([*lines, "", self.note])

    @classmethod
    def parse(cls, text: str) -> "Proof | BadProof":
        """Read a file of that form, and of no other."""
        if len(text) > MAX_PROOF_BYTES:
            return BadProof(f"it has more than {MAX_PROOF_BYTES} bytes")
        # "After the inclusion proof lines and an empty line, the checkpoint issued by the log is included verbatim"
        head, _, note = text.partition("\n\n")
        first, *lines = head.split("\n")
        if first != _FIRST_LINE:
            return BadProof(f"it does not begin with the line {_FIRST_LINE}")
        if len(lines) < 2 or not lines[0].startswith("extra ") or not lines[1].startswith("index "):
            return BadProof("its second line must be 'extra' and the record, its third 'index' and the record's number")
        record, index = decoded(lines[0].removeprefix("extra ")), _number(lines[1].removeprefix("index "))
        path = [decoded(line) for line in lines[2 : 3 + MAX_PATH]]
        hashes = tuple(each for each in path if each is not None and len(each) == HASH_BYTES)
        if record is None or index is None or len(hashes) != len(lines) - 2:
            return BadProof("the record, its number or a hash is not written as it must be")
        return cls(index, record, hashes, note)


def check(proof: Proof, key: VerifierKey) -> Checkpoint | BadProof:
    """The checkpoint under which the record is proved to be in the key's log; or why nothing is proved."""
    checkpoint = key.verify(proof.note)
    if isinstance(checkpoint, BadNote):
        return BadProof(f"its checkpoint proves nothing: {checkpoint.why}")
    root = root_from_inclusion(leaf_hash(proof.record), proof.index, checkpoint.size, proof.path)
    if root != checkpoint.root:
        return BadProof("the record is not in the tree that the checkpoint signs, at that number and with those hashes")
    line = read_line("", 0, proof.record)
    if line.seq != proof.index:
        return BadProof("what stands there in the log is no record, or gives itself another number")
    if not line.is_as_written:
        return BadProof("the record is not written as a gate writes: another tool may read something else in it")
    return checkpoint


def inclusion_ranges(index: int, size: int) -> list[Range]:
    """The subtrees whose hashes prove a leaf, its neighbour first (RFC 6962, section 2.1.1)."""
    first, last, found = 0, size, []
    while last - first > 1:
        middle = first + _split(last - first)
        if index < middle:
            found.append((middle, last))
            last = middle
        else:
            found.append((first, middle))
            first = middle
    return found[::-1]


def _split(size: int) -> int:
    """RFC 6962, section 2.1: "let k be the largest power of two smaller than n"."""
    return 1 << ((size - 1).bit_length() - 1)


def peak_ranges(size: int) -> Iterator[Range]:
    """The subtrees whose hashes are the peaks of a tree, in their order."""
    first = 0
    for bit in range(size.bit_length() - 1, -1, -1):
        if size >> bit & 1:
            yield first, first + (1 << bit)
            first += 1 << bit


def _encoded(octets: bytes) -> str:
    return b64encode(octets).decode()


def _number(text: str) -> int | None:
    """It is "represented as an ASCII decimal with no leading zeroes (unless the index is `0`)"."""
    is_one = text.isascii() and text.isdecimal() and len(text) < len(str(MAX_SIZE)) and str(int(text)) == text
    return int(text) if is_one else None
