"""Group commit: what is written together, and who waits for it."""

import math

import trio

from callgate.audit.disk import Piece
from callgate.audit.writing import Due, Written


class Wait:
    """What the calls of one group wait for, and since when the first of them does (trio's clock)."""

    __slots__ = ("calls", "event", "refused", "since")

    def __init__(self) -> None:
        self.event = trio.Event()
        self.refused = ""
        self.calls = 0
        self.since = math.inf

    def join(self) -> None:
        """One call more waits."""
        if not self.calls:
            self.since = trio.current_time()
        self.calls += 1

    def refuse(self, problem: str) -> None:
        """Nobody of them gets a receipt, unless all have theirs."""
        if not self.event.is_set():
            self.refused = problem
            self.event.set()


class Group:
    """Records that are written together: lines by segment, and where in it they begin."""

    __slots__ = ("due", "parts", "records", "returned", "wait", "written")

    def __init__(self) -> None:
        self.parts: list[tuple[str, int, list[bytes]]] = []
        self.records = 0
        self.wait = Wait()
        self.due: Due | None = None
        self.returned = trio.Event()
        self.written = Written()

    def pieces(self) -> tuple[Piece, ...]:
        """For the thread that writes."""
        return tuple(Piece(segment, offset, b"".join(lines)) for segment, offset, lines in self.parts)
