"""How much of a call goes on record, beside the decision itself, which always does."""

from collections.abc import Iterable
from typing import Final, Literal, TypeAlias

# none: not even the digests of arguments, request and answer.  digest: those.  full: all that passed the gate, for auditors alone.
RecordLevel: TypeAlias = Literal["none", "digest", "full"]

_ASCENDING: Final[tuple[RecordLevel, ...]] = ("none", "digest", "full")


def strongest(levels: Iterable[RecordLevel | None]) -> RecordLevel | None:
    """The one that keeps most; None where none says."""
    return max((level for level in levels if level is not None), key=_ASCENDING.index, default=None)
