"""Which recorded content has to go, by its age and by how much there is.

The log itself is never deleted from: it holds the digests of what is gone, and verifies as before.  Pure; `sweep` does
the deleting.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

# What was written within the same slot counts as equally old, so that a million objects take no memory each.
_SLOTS: Final = 50_000

Cause: TypeAlias = Literal["age", "size"]


@dataclass(frozen=True, slots=True)
class Keep:
    """How long content is kept, in seconds, and how much of it, in bytes of files."""

    # Most incidents are found within 90 days, and what is gone cannot leak.
    age_s: int = 90 * 24 * 3600
    # A disk that is full stops every call.
    size: int = 10 * 1024**3

    @property
    def slot_s(self) -> int:
        """How finely ages are told apart: a minute or so for most, and never more than `_SLOTS` of them."""
        return max(1, self.age_s // _SLOTS)

    def slot_of(self, stored: "Stored", now_s: int) -> int:
        """What seems to come from the future, because a clock was set back, is the newest."""
        return min(stored.written_s, now_s) // self.slot_s


@dataclass(frozen=True, slots=True)
class Stored:
    """One object: its hash, when it was written (Unix seconds), and the size of its file."""

    digest: str
    written_s: int
    size: int


class Survey:
    """Adds up what there is, in memory that does not grow with the number of objects.  Pure."""

    def __init__(self, keep: Keep, now_s: int) -> None:
        self._keep = keep
        self._now_s = now_s
        self._too_old = 0
        self._sizes: Counter[int] = Counter()

    def add(self, stored: Stored) -> None:
        """Count one object, once."""
        if stored.written_s < self._now_s - self._keep.age_s:
            self._too_old += 1
        else:
            self._sizes[self._keep.slot_of(stored, self._now_s)] += stored.size

    def plan(self) -> "Plan | None":
        """What has to go: all that is too old, then the oldest until the rest fits; None where all may stay."""
        excess = self._sizes.total() - self._keep.size
        if not self._too_old and excess <= 0:
            return None
        for slot in sorted(self._sizes):
            if excess <= self._sizes[slot]:
                return Plan(self._keep, self._now_s, slot, excess)
            excess -= self._sizes[slot]
        return Plan(self._keep, self._now_s, 0, 0)


class Plan:
    """Tells of each object, asked once, whether it has to go.  Pure.

    All from before `slot` goes, and of `slot` itself as much as makes up `excess` bytes.
    """

    def __init__(self, keep: Keep, now_s: int, slot: int, excess: int) -> None:
        self._keep = keep
        self._now_s = now_s
        self._slot = slot
        self._excess = excess

    def why(self, stored: Stored) -> Cause | None:
        """Why it goes; None where it stays."""
        if stored.written_s < self._now_s - self._keep.age_s:
            return "age"
        slot = self._keep.slot_of(stored, self._now_s)
        if slot == self._slot and self._excess > 0:
            self._excess -= stored.size
            return "size"
        return "size" if slot < self._slot else None
