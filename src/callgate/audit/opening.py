"""Finding the end of a log that a gate wrote before, whatever it was doing when it ended.

A process that is killed leaves at most a record that is not whole, and intents that nobody closed.  Neither is lost:
what is cut off is kept beside the log, and the gate then writes down that it was.  A log that was changed up to its last
checkpoint is not taken further: that is for people to look at.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, Final

import orjson

from callgate.audit.chain import MAX_LINE_BYTES, NO_RECORD, Chain, Kind
from callgate.audit.checkpoint import MAX_UNSIGNED, Checkpoint, CheckpointKey
from callgate.audit.disk import replace_file, sync_folder
from callgate.audit.merkle import Tree, leaf_hash
from callgate.audit.note import MAX_NOTE_BYTES, BadNote
from callgate.audit.places import Places, first_of
from callgate.errors import GatewayError

_FOLDER_MODE: Final = 0o700
_FILE_MODE: Final = 0o600
_LOCK: Final = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
_LOCK_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
# No file here is a link, and a FIFO must not keep the gate from starting.
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_SERVED: Final = frozenset({Kind.INTENT, Kind.REFUSAL, Kind.ABSORBED, Kind.SUMMARY, Kind.APPROVAL})
_CUT: Final = "cut"


class CannotOpenLog(GatewayError):  # noqa: N818  # says what cannot be done
    """The log cannot be written to, or must not be: in words for whoever starts the gate."""


@dataclass(slots=True)
class End:
    """Where a log ends.  `open_intents`: number and decision of each that has no outcome."""

    chain: Chain = field(default_factory=Chain)
    segment: str = ""
    segments: int = 0
    segment_bytes: int = 0
    open_intents: dict[int, str] = field(default_factory=dict)
    last_time_ns: int = 0
    # Whether the last checkpoint is over a gate's end: whatever serves after that signs its start first.
    is_signed_end: bool = False


@dataclass(frozen=True, slots=True)
class Cut:
    """What was taken off the end: bytes that were no whole record."""

    size: int
    sha256: str


@dataclass(slots=True)
class Opened:
    """A log that is this process's to write to, until the descriptors `locks` are closed."""

    end: End
    cut: Cut | None
    locks: tuple[int, ...]

    def close(self) -> None:
        """Let others have it."""
        for lock in self.locks:
            os.close(lock)


class _BadLine(Exception):  # noqa: N818  # never leaves this module
    """A line that is not the next record; `offset` is where it begins."""

    def __init__(self, offset: int) -> None:
        super().__init__(offset)
        self.offset = offset


def open_log(folder: Path, key: CheckpointKey) -> Opened:
    """Take the log in `folder`, a new one where there is none.  Blocks.  Raises CannotOpenLog."""
    places = Places(folder)
    try:
        for each in (folder, Path(places.log), Path(places.checkpoints)):
            each.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
            sync_folder(each.parent)
        with ExitStack() as opened:
            locks = tuple(_locked(places, opened))
            end, cut = _found(places, key)
            opened.pop_all()
    except OSError as error:
        raise CannotOpenLog(f"cannot open the log in {folder}: {error.strerror or error}") from error
    return Opened(end, cut, locks)


def _locked(places: Places, opened: ExitStack) -> Iterator[int]:
    """The file for that, and the folder of the records: people delete lock files that seem to be left over."""
    for path, flags in ((places.lock, _LOCK), (places.log, _LOCK_FOLDER)):
        lock = os.open(path, flags, _FILE_MODE)
        opened.callback(os.close, lock)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CannotOpenLog(
                f"another gate writes to the log in {places.folder}; each gate needs a folder of its own"
            ) from None
        except OSError:
            # NFS locks what was opened for writing alone: there the file has to do.
            if flags == _LOCK:
                raise
        yield lock


def _found(places: Places, key: CheckpointKey) -> tuple[End, Cut | None]:
    """Read from the segment that the last checkpoint falls into, and hold what is there against it."""
    checkpoint = _last_checkpoint(places, key)
    known = checkpoint.size if checkpoint else 0
    names = sorted(path.name for path in Path(places.log).iterdir() if first_of(path.name) is not None)
    if not names:
        if known:
            raise _changed(places, f"there are no records, and the last checkpoint tells of {known}")
        return End(), None
    begin = max((index for index, name in enumerate(names) if (first_of(name) or 0) < max(known, 1)), default=0)
    end = End()
    cut: Cut | None = None
    for name in names[begin:]:
        is_last = name == names[-1]
        cut = _read_segment(places, name, end, checkpoint, is_last=is_last)
    if end.chain.size < known:
        raise _changed(places, f"it ends after {end.chain.size} records, and the last checkpoint tells of {known}")
    if known and end.chain.size - known > MAX_UNSIGNED:
        # What is taken over is signed with the next checkpoint, whoever wrote it.
        raise _changed(places, f"{end.chain.size - known} records follow the last checkpoint, more than a gate leaves")
    return end, cut


def _last_checkpoint(places: Places, key: CheckpointKey) -> Checkpoint | None:
    """The latest one beside the log; None where there is none, or one that a power failure left empty."""
    try:
        with _opened(Path(places.checkpoint)) as file:
            note = file.read(MAX_NOTE_BYTES + 1).decode()
    except (FileNotFoundError, UnicodeDecodeError):
        return None
    if not note.strip("\0\n"):
        return None
    found = key.verifier.verify(note)
    if isinstance(found, BadNote):
        raise CannotOpenLog(
            f"the checkpoint in {places.folder} is not this key's ({found.why}): is it the right key and origin?"
        )
    return found


def _read_segment(places: Places, name: str, end: End, checkpoint: Checkpoint | None, *, is_last: bool) -> Cut | None:
    path = Path(places.log) / name
    before = end.segment, end.segments
    try:
        offset = _follow(path, name, end, checkpoint, places)
        if offset:
            return None
    except _BadLine as bad:
        offset = bad.offset
    if not is_last or end.chain.size < (checkpoint.size if checkpoint else 0):
        raise _changed(places, f"record {end.chain.size} in {name} is not the one that was written")
    cut = _taken_off(places, path, offset)
    if not offset:
        # Not even its first record: the segment before it is the last.
        end.segment, end.segments = before
        path.unlink()
        sync_folder(path.parent)
    return cut


def _follow(path: Path, name: str, end: End, checkpoint: Checkpoint | None, places: Places) -> int:
    """Read the records of one segment to its end; its size."""
    offset = 0
    with _opened(path) as file:
        for line in _lines(file):
            record = _record(line, offset)
            if not offset:
                _begin_segment(end, name, record, offset)
            _take(end, line, record, offset)
            offset += len(line)
            end.segment_bytes = offset
            if checkpoint and end.chain.size == checkpoint.size:
                if end.chain.tree.root() != checkpoint.root:
                    raise _changed(places, f"its first {checkpoint.size} records are not those of the last checkpoint")
                end.is_signed_end = record.get("kind") == Kind.STOP
            elif end.is_signed_end and record.get("kind") in _SERVED:
                raise _changed(places, f"record {end.chain.size - 1} tells of a request after the gate had ended")
    return offset


def _lines(file: BinaryIO) -> Iterator[bytes]:
    while line := file.readline(MAX_LINE_BYTES + 1):
        yield line


def _record(line: bytes, offset: int) -> dict[str, object]:
    if not line.endswith(b"\n"):
        raise _BadLine(offset)
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:
        raise _BadLine(offset) from None
    if not isinstance(record, dict):
        raise _BadLine(offset)
    return record


def _begin_segment(end: End, name: str, record: dict[str, object], offset: int) -> None:
    """Take up the tree where the segment says that it stands; the checkpoint tells whether that is so."""
    try:
        number = record["segment"]
        if record["kind"] != Kind.SEGMENT or record["seq"] != first_of(name) or not isinstance(number, int):
            raise _BadLine(offset)
        if not end.segment:
            peaks = [bytes.fromhex(peak) for peak in record["peaks"]]  # type: ignore[attr-defined]
            end.chain = Chain(Tree(record["seq"], peaks), str(record["prev"]) if record["seq"] else NO_RECORD)  # type: ignore[arg-type]
            end.open_intents = dict(record["open"])  # type: ignore[call-overload]
    except (KeyError, TypeError, ValueError):
        raise _BadLine(offset) from None
    end.segment = name
    end.segments = number + 1


def _take(end: End, line: bytes, record: dict[str, object], offset: int) -> None:
    chain = end.chain
    if record.get("seq") != chain.size or record.get("prev") != chain.prev:
        raise _BadLine(offset)
    end.last_time_ns = _nanoseconds(str(record.get("time")), offset)
    kind, intent = record.get("kind"), record.get("intent")
    if kind == Kind.INTENT:
        end.open_intents[chain.size] = str(record.get("decision"))
    elif kind == Kind.OUTCOME and isinstance(intent, int):
        end.open_intents.pop(intent, None)
    chain.take(leaf_hash(line[:-1]))


def _nanoseconds(time: str, offset: int) -> int:
    try:
        return int(datetime.fromisoformat(time).timestamp() * 1e6) * 1000
    except ValueError:
        raise _BadLine(offset) from None


def _taken_off(places: Places, path: Path, offset: int) -> Cut | None:
    """What follows is no part of the log; it is kept where it can be looked at.

    The segment itself is cut by whoever writes the record that tells of it: in a process that is killed before that,
    the next one finds it again.
    """
    with _opened(path) as file:
        file.seek(offset)
        rest = file.read()
    if not rest.strip(b"\0"):
        # Space that was never written to.
        return None
    found = Cut(len(rest), sha256(rest).hexdigest())
    kept = Path(places.folder) / _CUT
    kept.mkdir(mode=_FOLDER_MODE, exist_ok=True)
    replace_file(kept / f"{found.sha256}.bin", rest)
    return found


def _opened(path: Path) -> BinaryIO:
    return os.fdopen(os.open(path, _READ), "rb")


def _changed(places: Places, what: str) -> CannotOpenLog:
    return CannotOpenLog(
        f"the log in {places.folder} is not as the gate left it: {what}.  `callgate audit verify` tells more; to go on, "
        "move the folder aside and keep it"
    )
