"""The tree over the log: RFC 6962, section 2.1, with SHA-256.

    leaf  = SHA-256(0x00 || record)            node = SHA-256(0x01 || left || right)

A log only ever appends, and for that the roots of the perfect subtrees over all leaves so far are enough: as many as
the size has ones in binary.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import Final

HASH_BYTES: Final = 32
# "The hash of an empty list is the hash of an empty string" (RFC 6962, section 2.1).
EMPTY_ROOT: Final = sha256(b"").digest()


def leaf_hash(record: bytes) -> bytes:
    """The hash of one record, in 32 bytes."""
    return sha256(b"\x00" + record).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of two neighbouring subtrees, in 32 bytes."""
    return sha256(b"\x01" + left + right).digest()


class Tree:
    """Grows by one leaf at a time, in constant memory.

    `peaks`: the roots of the perfect subtrees, the largest first.
    """

    __slots__ = ("_peaks", "size")

    def __init__(self, size: int = 0, peaks: Sequence[bytes] = ()) -> None:
        """Continue a tree of `size` leaves.  ValueError for peaks that no tree of that size has."""
        if size < 0 or len(peaks) != size.bit_count() or any(len(peak) != HASH_BYTES for peak in peaks):
            raise ValueError(f"a tree of {size} leaves has {max(size, 0).bit_count()} peaks of {HASH_BYTES} bytes")
        self.size = size
        self._peaks = list(peaks)

    @property
    def peaks(self) -> tuple[bytes, ...]:
        """What it takes to continue this tree elsewhere."""
        return tuple(self._peaks)

    def append(self, leaf: bytes) -> None:
        """Add one leaf, by its hash."""
        size, peaks = self.size, self._peaks
        while size & 1:
            leaf = sha256(b"\x01" + peaks.pop() + leaf).digest()
            size >>= 1
        peaks.append(leaf)
        self.size += 1

    def root(self) -> bytes:
        """The hash of the whole tree as it is now."""
        if not self._peaks:
            return EMPTY_ROOT
        *others, root = self._peaks
        for peak in reversed(others):
            root = node_hash(peak, root)
        return root


def root_from_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes | None:
    """The root that an inclusion proof comes to (RFC 9162, section 2.1.3.2); None for a proof of the wrong shape.

    `path`: the hashes on the way up, the leaf's neighbour first.
    """
    if not 0 <= index < size or len(path) != path_length(index, size):
        return None
    node, last, found = index, size - 1, leaf
    for sibling in path:
        if node & 1 or node == last:
            found = node_hash(sibling, found)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            found = node_hash(found, sibling)
        node, last = node >> 1, last >> 1
    return found


def path_length(index: int, size: int) -> int:
    """How many hashes the inclusion proof of a leaf has."""
    # Up to where the ways of the leaf and of the last one part, then one for each subtree to the left.
    inner = (index ^ (size - 1)).bit_length()
    return inner + (index >> inner).bit_count()
