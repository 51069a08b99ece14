"""Where things are in the folder of a log.

log/<number of its first record>.jsonl            the records, one a line
checkpoints/<the same>.jsonl                       the checkpoints made meanwhile, one a line
checkpoint                                         the latest of them
content/<first two of the hash>/<hash>.age         what passed the gate, encrypted to the auditors
policies/<hash>.yaml                               the policy files that were in force
key.pem, key.pub                                   unless the configuration keeps the key elsewhere
lock                                               held by the gate that writes
"""

from dataclasses import dataclass
from pathlib import PurePath
from typing import Final

_DIGITS: Final = 16
SUFFIX: Final = ".jsonl"


@dataclass(frozen=True, slots=True)
class Places:
    """The paths within one log's folder."""

    folder: PurePath

    @property
    def log(self) -> PurePath:
        """The segments."""
        return self.folder / "log"

    @property
    def checkpoints(self) -> PurePath:
        """The checkpoints, by segment."""
        return self.folder / "checkpoints"

    @property
    def checkpoint(self) -> PurePath:
        """The latest checkpoint."""
        return self.folder / "checkpoint"

    @property
    def content(self) -> PurePath:
        """What was recorded in full."""
        return self.folder / "content"

    @property
    def policies(self) -> PurePath:
        """The policy files that were in force."""
        return self.folder / "policies"

    @property
    def key(self) -> PurePath:
        """The private key."""
        return self.folder / "key.pem"

    @property
    def public_key(self) -> PurePath:
        """The verifier key."""
        return self.folder / "key.pub"

    @property
    def lock(self) -> PurePath:
        """Whose lock says that a gate writes here."""
        return self.folder / "lock"

    def object(self, digest: str) -> PurePath:
        """Where a content object is, by the SHA-256 of its file in hex."""
        return self.content / digest[:2] / f"{digest}.age"


def segment_name(first: int) -> str:
    """The name of the file that begins with that record."""
    return f"{first:0{_DIGITS}d}{SUFFIX}"


def first_of(name: str) -> int | None:
    """The number of the record with which a file begins; None for a name that is no segment's."""
    stem = name.removesuffix(SUFFIX)
    is_segment = name.endswith(SUFFIX) and len(stem) == _DIGITS and stem.isascii() and stem.isdecimal()
    return int(stem) if is_segment else None
