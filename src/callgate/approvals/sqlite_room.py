"""How many bytes the requests of one SQLite file may take: an agent chooses how long its arguments are, and how many."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from callgate.approvals.sqlite_short_lived import SqliteShortLived
from callgate.approvals.store import TooMany

# Deleted at once to make room: a few milliseconds, and seldom twice.
_MAX_GONE: Final = 64


@dataclass(frozen=True, slots=True)
class Room:
    """What requests may take, those that ended and are still kept among them; in bytes.

    `of_workload`: all that may wait by default (20), with the longest arguments and definitions; or 10,000 ordinary ones.
    `of_all`: what a disk has to spare, and some 200,000 ordinary ones.
    """

    of_workload: int = 64 * 1024 * 1024
    of_all: int = 1024 * 1024 * 1024


DEFAULT_ROOM: Final = Room()


class SqliteRoom(SqliteShortLived):
    """The part of a `Store` that keeps it small.  Triggers count what there is."""

    def __init__(self, path: Path, key: bytes, room: Room = DEFAULT_ROOM) -> None:
        super().__init__(path, key)
        self._room = room

    def _make_room(self, caller: str, size: int) -> TooMany | None:
        """What ended gives way, the oldest first: the log keeps it for ever.  What is open does not."""
        if not self._made("SELECT bytes FROM sizes WHERE caller = ?", self._room.of_workload - size, caller):
            return TooMany(by_workload=True)
        if not self._made("SELECT bytes FROM store", self._room.of_all - size):
            return TooMany(by_workload=False)
        return None

    def _made(self, taken: str, most: int, *caller: str) -> bool:
        """Whether no more than `most` is taken in the end; of what that `caller` asked for, or anybody."""
        which = "caller = ? AND ended IS NOT NULL" if caller else "ended IS NOT NULL"
        oldest = f"SELECT seq FROM requests WHERE {which} ORDER BY ended LIMIT {_MAX_GONE}"  # noqa: S608  # constants
        while True:
            row = self._run(taken, *caller).fetchone()
            if (row[0] if row else 0) <= most:
                return True
            if not self._run(f"DELETE FROM requests WHERE seq IN ({oldest})", *caller).rowcount:  # noqa: S608
                return False
