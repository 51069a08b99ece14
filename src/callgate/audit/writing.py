"""The thread that makes the log durable.

It takes one group after the other, writes it, waits for the disk, signs a checkpoint where one is due, and says so.  It
alone waits for the disk; where the disk never comes back, this thread is all that hangs.
"""

import errno
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Final

import orjson

from callgate.audit.checkpoint import CheckpointKey
from callgate.audit.disk import Piece, SegmentWriter, add_line, replace_file
from callgate.audit.places import Places
from callgate.errors import place_of

_END: Final = None


@dataclass(frozen=True, slots=True)
class Due:
    """A checkpoint to sign once the records are durable: of `size` records with that root, the last in `segment`."""

    segment: str
    size: int
    root: bytes
    time: str


@dataclass(frozen=True, slots=True)
class Written:
    """What became of a group.  `error`: "" or the name of what went wrong, such as ENOSPC."""

    error: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Order:
    """One group, and whom to tell, in the writing thread."""

    pieces: tuple[Piece, ...]
    due: Due | None
    tell: Callable[[Written], None]


class WritingThread:
    """Takes orders in turn.  `writer` belongs to it from `start` on."""

    def __init__(self, places: Places, writer: SegmentWriter, key: CheckpointKey) -> None:
        self._places = places
        self._writer = writer
        self._key = key
        self._orders: SimpleQueue[Order | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="callgate-audit", daemon=True)

    @property
    def is_running(self) -> bool:
        """Whether it takes orders."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin to take orders."""
        self._thread.start()

    def order(self, order: Order) -> None:
        """Have a group written; returns at once."""
        self._orders.put(order)

    def end(self, timeout_s: float) -> bool:
        """Let it end after the last order; False where it did not within that time.  Blocks."""
        self._orders.put(_END)
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (order := self._orders.get()) is not None:
            order.tell(self._written(order))
        self._writer.close()

    def _written(self, order: Order) -> Written:
        try:
            self._writer.append(order.pieces)
            return Written(note=self._signed(order.due) if order.due else "")
        except OSError as error:
            return Written(error=_name_of(error))
        except Exception as fault:  # noqa: BLE001  # the border of the thread: a group that is not told of hangs calls
            return Written(error=place_of(fault))

    def _signed(self, due: Due) -> str:
        # Not with every group: it is a system call more, and each waits for its turn among Python's threads.
        self._writer.look()
        note = self._key.sign(due.size, due.root)
        # A log that goes on without its checkpoints is not told from one that somebody added to: it is kept, or nothing is.
        line = orjson.dumps({"time": due.time, "note": note}) + b"\n"
        add_line(Path(self._places.checkpoints) / due.segment, line)
        replace_file(Path(self._places.checkpoint), note.encode())
        return note


def _name_of(error: OSError) -> str:
    return errno.errorcode.get(error.errno or 0, type(error).__name__)
