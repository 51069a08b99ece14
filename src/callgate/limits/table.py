"""States by key, in bounded memory, without ever forgetting one that still limits somebody.

A state that no longer says anything (it has expired) makes room.  Where all of them still do, a new key finds none: it
waits, because to forget an old one would let its owner begin anew.
"""

from collections import Counter
from collections.abc import Callable, Collection, Hashable
from heapq import heappop, heappush, heapreplace
from itertools import count
from typing import Final, Generic, TypeAlias, TypeVar

V = TypeVar("V")
# The first part is the owner's: one owner cannot use up all the room.
Key: TypeAlias = tuple[Hashable, ...]


class Table(Generic[V]):
    """At most `max_keys` states, and `max_of_owner` of each owner.

    Time is in ticks of any length.  `expiry` says when a state is like none at all; it may move on as the state
    changes, never back.
    """

    def __init__(self, expiry: Callable[[V], int], max_keys: int, max_of_owner: int) -> None:
        self._expiry: Final = expiry
        self._max_keys: Final = max_keys
        self._max_of_owner: Final = max_of_owner
        self._states: dict[Key, V] = {}
        self._of_owner: Counter[Hashable] = Counter()
        # One entry for each key, no later than its state expires.
        self._queue: list[tuple[int, int, Key]] = []
        self._numbers = count()

    def __contains__(self, key: Key) -> bool:
        return key in self._states

    def __len__(self) -> int:
        return len(self._states)

    def get(self, key: Key) -> V | None:
        """The state of `key`."""
        return self._states.get(key)

    def put(self, key: Key, state: V) -> None:
        """Room is the caller's to see to: `wait`."""
        if key not in self._states:
            self._of_owner[key[0]] += 1
            heappush(self._queue, (self._expiry(state), next(self._numbers), key))
        self._states[key] = state

    def wait(self, keys: Collection[Key], now: int) -> int:
        """How many ticks it takes at least until there is room for all of `keys`, which are one owner's; 0: now."""
        new = sum(key not in self._states for key in keys)
        if not new:
            return 0
        owner = next(iter(keys))[0]
        while self._is_over(owner, new):
            if not self._queue or self._queue[0][0] > now:
                return max(1, self._queue[0][0] - now) if self._queue else 1
            self._look_at_first(now)
        return 0

    def _is_over(self, owner: Hashable, new: int) -> bool:
        return len(self._states) + new > self._max_keys or self._of_owner[owner] + new > self._max_of_owner

    def _look_at_first(self, now: int) -> None:
        """Drop the state whose turn it is, or give it a later turn."""
        key = self._queue[0][2]
        expires = self._expiry(self._states[key])
        if expires > now:
            heapreplace(self._queue, (expires, next(self._numbers), key))
            return
        heappop(self._queue)
        del self._states[key]
        self._of_owner[key[0]] -= 1
        if not self._of_owner[key[0]]:
            del self._of_owner[key[0]]
