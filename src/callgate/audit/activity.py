"""Which session a request belongs to, for those who read the log.

A legacy MCP session is one.  Where the protocol has none, it is what one workload does for one user without a long
pause.  Pure: `now` is Unix seconds.
"""

from collections import OrderedDict
from hashlib import sha256
from typing import Final

from callgate.identity.spiffe_id import SpiffeId
from callgate.identity.user import User

# A person who reads what an agent did takes what comes after such a pause for something new.
GAP_S: Final = 30 * 60.0
# Workloads and users that are active at the same time; the one that was quiet for longest begins a new session.
MAX_ACTIVE: Final = 10_000
_ID_BYTES: Final = 8


class Activity:
    """The stretches of activity under way."""

    def __init__(self, seed: bytes) -> None:
        """`seed`: random bytes, so that two gates never name two stretches alike."""
        self._seed = seed
        self._begun = 0
        self._active: OrderedDict[tuple[SpiffeId, str, str, bool], tuple[str, float]] = OrderedDict()

    def session_of(self, caller: SpiffeId, user: User | None, now: float, *, is_dry_run: bool = False) -> str:
        """The session of a request without one of MCP's: 16 hex digits.

        What is only asked for is no part of what was done: dry runs are sessions of their own.
        """
        key = (caller, user.issuer if user else "", user.subject if user else "", is_dry_run)
        session, last = self._active.get(key, ("", 0.0))
        if not session or now - last > GAP_S:
            session = self._next()
        self._active[key] = (session, max(now, last))
        self._active.move_to_end(key)
        if len(self._active) > MAX_ACTIVE:
            self._active.popitem(last=False)
        return session

    def _next(self) -> str:
        self._begun += 1
        return session_id(self._seed + self._begun.to_bytes(8))


def session_id(secret: bytes) -> str:
    """A name for what `secret` names, from which it cannot be told: 16 hex digits."""
    return sha256(secret).digest()[:_ID_BYTES].hex()
