"""Requests for approval in one SQLite file: they survive kill -9, and worker processes of one machine share them.

What stands there in clear is what rows are found by.  All else is sealed for its row, and for what stands in clear in it,
so that a row which was moved, changed or put together from others is no row: it counts as not there, and is counted.
An older copy of the whole file is not told from it: whoever can put one there has the gate's own rights.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeAlias

from callgate.approvals.model import Moment, Request
from callgate.approvals.sqlite_file import OPEN_STATES
from callgate.approvals.sqlite_room import DEFAULT_ROOM, Room, SqliteRoom
from callgate.approvals.sqlite_short_lived import STEP_S
from callgate.approvals.sqlite_steps import Value
from callgate.approvals.store import Store, TooMany
from callgate.approvals.stored import Unreadable, request_of, request_parts, with_shown, without_shown
from callgate.approvals.together import Failed

# Longer than anything stands that can be asked for or covered: a row that is older and open cannot be read.
_LONGEST_S: Final = 30 * 24 * 3600.0
# Of those with the same key: the newest tell whether one can be used, or was denied just now.
MAX_OF_KEY: Final = 100
# As many as may wait at once by default: they are looked at again and again, and reading one takes 0.1 ms.  Without
# arguments and definitions, each is a few kilobytes.
MAX_KNOWN: Final = 10_000
# At once: some 50 ms, for which nothing else is done.  The next sweep takes what is left.
MAX_FORGOTTEN: Final = 2000

# What stands in clear: the columns from `id` to `revision`.
_Place: TypeAlias = tuple[str, str, str, str, float, float | None, int]
_COLUMNS: Final = "id, key, caller, state, asked, ended, revision, requests.body"
_JOINED: Final = "FROM requests LEFT JOIN shown USING (id)"
# Where a request's other part is gone, there is something that cannot be opened, and not nothing.
_WHOLE: Final = f"SELECT {_COLUMNS}, coalesce(shown.body, x'') {_JOINED}"
_OPEN_WHOLE: Final = f"SELECT {_COLUMNS}, CASE WHEN {OPEN_STATES} THEN coalesce(shown.body, x'') END {_JOINED}"
_OLD: Final = (
    "SELECT seq FROM requests WHERE ended < ?"  # noqa: S608  # made of constants
    " UNION ALL SELECT seq FROM requests WHERE ended > ?"
    f" UNION ALL SELECT seq FROM requests WHERE {OPEN_STATES} AND asked < ? LIMIT {MAX_FORGOTTEN}"
)
_SHORT: Final = f"SELECT {_COLUMNS}, NULL FROM requests"  # noqa: S608  # made of constants


class SqliteStore(SqliteRoom):
    """A `Store` in the file `path`, sealed with `key` (32 bytes).  Raises StoreFault where it cannot be opened.

    A file that others can read, that is a link, that a newer gate wrote or that has another key is not opened.
    """

    def __init__(self, path: Path, key: bytes, room: Room = DEFAULT_ROOM) -> None:
        super().__init__(path, key, room)
        self._unreadable: set[str] = set()
        # What rows said, each for the very bytes that it was read from.
        self._known: dict[str, tuple[_Place, bytes, Request]] = {}

    @property
    def unreadable(self) -> int:
        """How many requests could not be read when they were last looked for."""
        return len(self._unreadable)

    def together(self, steps: Sequence[Callable[[Store], object]]) -> list[object]:
        """See `StoreTogether.together`."""
        with self._step():
            return [self._taken(step) for step in steps]

    def add(self, request: Request, cap: int, cap_of_workload: int) -> Request | TooMany:
        """See `Store.add`."""
        with self._step():
            same = self._requests(
                f"{_WHOLE} WHERE key = ? AND {OPEN_STATES} ORDER BY seq DESC", self._seal.name(request.key)
            )
            if same:
                return same[0]
            if self._waiting_of(request.ask.binding.caller, cap_of_workload) >= cap_of_workload:
                return TooMany(by_workload=True)
            if self.waiting() >= cap:
                return TooMany(by_workload=False)
            return self._inserted(request)

    def load(self, id_: str) -> Request | None:
        """See `Store.load`."""
        with self._step():
            return next(iter(self._requests(f"{_WHOLE} WHERE id = ?", id_)), None)

    def found(self, keys: Sequence[str]) -> tuple[Request, ...]:
        """See `Store.found`: the newest 100.  Those that ended come without arguments and definitions."""
        marks = ", ".join("?" * len(keys))
        with self._step():
            return self._requests(
                f"{_OPEN_WHOLE} WHERE key IN ({marks}) ORDER BY seq DESC LIMIT {MAX_OF_KEY}",
                *map(self._seal.name, keys),
            )

    def save(self, request: Request) -> bool:
        """See `Store.save`."""
        place = self._place(request)
        id_, key, _, state, _, ended, revision = place
        body = self._seal.sealed(request_parts(request)[0], "request", *place)
        with self._step():
            changed = self._run(
                "UPDATE requests SET key = ?, state = ?, ended = ?, revision = ?, body = ? WHERE id = ? AND revision = ?",
                *(key, state, ended, revision, body, id_, revision - 1),
            )
            if changed.rowcount == 1:
                self._know(place, body, without_shown(request))
            return changed.rowcount == 1

    def listed(self, *, is_open: bool, limit: int) -> tuple[Request, ...]:
        """See `Store.listed`."""
        which = f"{OPEN_STATES} ORDER BY seq" if is_open else "ended IS NOT NULL ORDER BY ended DESC, seq DESC"
        with self._step():
            return self._requests(f"{_SHORT} WHERE {which} LIMIT ?", limit)

    def waiting(self) -> int:
        """See `Store.waiting`."""
        with self._step():
            return self._number("SELECT waiting FROM store")

    def version(self) -> int:
        """See `Store.version`.  It grows with each request that is added, changed or deleted."""
        with self._step():
            return self._number("SELECT changes FROM store")

    def forget(self, ended_before: float, now: Moment) -> int:
        """See `Store.forget`.  2000 at once, and what cannot be read when all else of its age has ended."""
        with self._step():
            # What ended that far ahead did so by a clock that was wrong, and would be kept until it is right.
            ages = (ended_before, now.wall + (now.wall - ended_before), ended_before - _LONGEST_S)
            gone = self._run(f"DELETE FROM requests WHERE seq IN ({_OLD})", *ages)  # noqa: S608  # made of constants
            self._forget_short_lived(now)
            self._keep_last(now, max(now.wall, self._last().wall))
            self._unreadable.clear()
            still_open = {id_ for (id_,) in self._run(f"SELECT id FROM requests WHERE {OPEN_STATES}")}  # noqa: S608
            self._known = {id_: known for id_, known in self._known.items() if id_ in still_open}
            return gone.rowcount

    def began(self, now: Moment) -> bool:
        """See `Store.began`.  End what is open in the same step: who comes after finds nothing wrong any more."""
        with self._step():
            last = self._last()
            # Since the machine started, a clock that nobody can set tells how old everything is.
            is_well = last.boot in {now.boot, ""} or now.wall >= last.wall - STEP_S
            self._keep_last(now, max(now.wall, last.wall) if is_well else now.wall)
            return is_well

    def _taken(self, step: Callable[[Store], object]) -> object:
        try:
            with self._step():
                return step(self)
        except Exception as fault:  # a step's fault is for whoever wanted it
            if not self._database.in_transaction:
                raise
            return Failed(fault)

    def _waiting_of(self, caller: str, limit: int) -> int:
        waiting = "SELECT 1 FROM requests WHERE state = 'waiting' AND caller = ? LIMIT ?"
        return self._number(f"SELECT count(*) FROM ({waiting})", caller, limit)  # noqa: S608  # made of constants

    def _inserted(self, request: Request) -> Request | TooMany:
        place = self._place(request)
        part, shown = request_parts(request)
        body, sealed = self._seal.sealed(part, "request", *place), self._seal.sealed(shown, "shown", request.id)
        size = len(body) + len(sealed)
        crowded = self._make_room(request.ask.binding.caller, size)
        if crowded is not None:
            return crowded
        self._run(
            "INSERT INTO requests (id, key, caller, state, asked, ended, revision, body, size)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            *(*place, body, size),
        )
        self._run("INSERT INTO shown (id, body) VALUES (?, ?)", request.id, sealed)
        self._know(place, body, without_shown(request))
        return request

    def _requests(self, statement: str, *values: Value) -> tuple[Request, ...]:
        """The requests in these rows, without those that cannot be read."""
        rows = self._run(statement, *values).fetchall()
        found = (self._request(row[:-2], body=row[-2], shown=row[-1]) for row in rows)
        return tuple(request for request in found if request is not None)

    def _request(self, place: _Place, *, body: bytes, shown: bytes | None) -> Request | None:
        """That of one row, sealed for its `place`; `shown` is None where it is not wanted."""
        id_ = place[0]
        try:
            request = self._opened(place, body)
            if shown is not None:
                request = with_shown(request, self._seal.opened(shown, "shown", id_))
        except Unreadable:
            self._unreadable.add(id_)
            return None
        self._unreadable.discard(id_)
        return request

    def _opened(self, place: _Place, body: bytes) -> Request:
        known = self._known.get(place[0])
        if known is not None and known[:2] == (place, body):
            return known[2]
        request = request_of(self._seal.opened(body, "request", *place))
        self._know(place, body, request)
        return request

    def _know(self, place: _Place, body: bytes, request: Request) -> None:
        if place[0] not in self._known and len(self._known) >= MAX_KNOWN:
            # Not the one that has been there longest: whoever goes through all of them asks for that one next.
            self._known.popitem()
        self._known[place[0]] = (place, body, request)

    def _last(self) -> Moment:
        """When the store was last used; the wall clock's is the latest that it ever told."""
        wall, boot, since_boot = self._run("SELECT wall, boot, since_boot FROM store").fetchone()
        return Moment(wall, boot, since_boot)

    def _keep_last(self, now: Moment, wall: float) -> None:
        self._run("UPDATE store SET wall = ?, boot = ?, since_boot = ?", wall, now.boot, now.since_boot)

    def _place(self, request: Request) -> _Place:
        """What stands in clear in a request's row, in the order of its columns."""
        ended = None if request.ended is None else float(request.ended.wall)
        asked = float(request.asked.wall)
        return (
            request.id,
            self._seal.name(request.key),
            request.ask.binding.caller,
            request.state.value,
            asked,
            ended,
            request.revision,
        )
