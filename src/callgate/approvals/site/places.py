"""How many streams of live updates are open, and for whom."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

# Each holds a connection of the admin listener; a team's open pages, and not all connections that there are.
MAX_STREAMS: Final = 64
# Of one person's sign-in; a browser opens no more than six to one host (over HTTP/1.1).
MAX_STREAMS_OF_SESSION: Final = 8


@dataclass(slots=True)
class Places:
    """Streams that are open now, by whom they are told."""

    _taken: Counter[str] = field(default_factory=Counter)

    def has_room(self, whose: str) -> bool:
        """Whether one more may be opened."""
        return self._taken.total() < MAX_STREAMS and self._taken[whose] < MAX_STREAMS_OF_SESSION

    @contextmanager
    def taken(self, whose: str) -> Iterator[None]:
        """One of them is open."""
        self._taken[whose] += 1
        try:
            yield
        finally:
            self._taken[whose] -= 1
            if not self._taken[whose]:
                del self._taken[whose]
