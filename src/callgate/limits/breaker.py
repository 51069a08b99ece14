"""A circuit breaker: a tool server that keeps failing is left alone for a moment, then tried with one call.

    closed --(`failures` in a row)--> open --(`open_s` later, one call)--> half open --(it succeeds)--> closed
                                       ^                                    |
                                       +------------(it fails)--------------+

A probe of which nothing is heard for `open_s` no longer stands in the way of the next: it may have been cancelled, or
be a stream that lasts.  Should it succeed after all, the breaker closes; should it fail, the later probe decides.

A failure may be the doing of the call itself: one that takes too long, or makes the server drop the connection.  So
that no caller can close the way for the others, such failures open the breaker only where two callers had them, and a
probe that fails so is followed by the next at once.  The next is another caller's, if there is one: whose probe told
nothing stands back for `open_s`, or whoever asks the oftenest would keep all others out.
"""

from collections.abc import Hashable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

# What fails so often in a row fails for everybody; a server that restarts loses no more calls than that.
DEFAULT_FAILURES: Final = 5
# Long enough for a process to come back, and short enough that nobody notices that it had been away.
DEFAULT_OPEN_S: Final = 2
_SEVERAL: Final = 2


@dataclass(frozen=True, slots=True)
class BreakerLimits:
    """After how many failures in a row, and for how many seconds."""

    failures: int = DEFAULT_FAILURES
    open_s: int = DEFAULT_OPEN_S


class BreakerState(StrEnum):
    """Whether calls go through."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True)
class Passage:
    """One call that was let through: since which change of the breaker, and as which probe (0: none)."""

    epoch: int
    probe: int


class Breaker:
    """The state of one tool server."""

    def __init__(self, limits: BreakerLimits) -> None:
        self._limits: Final = limits
        self.state = BreakerState.CLOSED
        self._failures = 0
        self._blamed: set[Hashable] = set()
        # Counts openings and closings: what was let through before the last one has nothing to say any more.
        self._epoch = 0
        self._probe = 0
        self._until = 0.0
        # Whose probe was the last; None where it said that nobody gets through.
        self._prober: Hashable = None

    def wait(self, now: float, by: Hashable = None) -> float:
        """Seconds until a call of `by` can go through; 0.0 if one can now.  None: of anyone who had no probe yet."""
        if self.state is BreakerState.CLOSED:
            return 0.0
        # A clock that stepped back must not keep it open for longer than it ever is.
        self._until = min(self._until, now + self._limits.open_s)
        stands_back_s = self._limits.open_s if by is not None and by == self._prober else 0
        return max(0.0, self._until + stands_back_s - now)

    def enter(self, now: float, by: Hashable = None) -> Passage:
        """Let a call through for which there was nothing to `wait`."""
        if self.state is BreakerState.CLOSED:
            return Passage(self._epoch, 0)
        self.state = BreakerState.HALF_OPEN
        self._probe += 1
        self._prober = by
        self._until = now + self._limits.open_s
        return Passage(self._epoch, self._probe)

    def leave(self, passage: Passage, *, failed: bool | None, now: float, by: Hashable = None) -> None:
        """How that call ended; None where that tells nothing of the server, such as a call that was cancelled.

        `by`: whose call it was, where the failure may be its own doing; None where it cannot.
        """
        if passage.epoch != self._epoch:
            return
        if failed is False:
            self._succeed()
        elif self.state is BreakerState.CLOSED:
            self._fail(failed=failed, now=now, by=by)
        elif passage.probe == self._probe:
            is_down = failed is True and by is None
            self._prober = None if is_down else self._prober
            self._open(now if is_down else now - self._limits.open_s)

    def _fail(self, *, failed: bool | None, now: float, by: Hashable) -> None:
        if failed is None:
            return
        self._failures += 1
        # No more than it takes to tell one from several.
        if by is None or len(self._blamed) < _SEVERAL:
            self._blamed.add(by)
        if self._failures >= self._limits.failures and (None in self._blamed or len(self._blamed) >= _SEVERAL):
            self._epoch += 1
            self._open(now)

    def _succeed(self) -> None:
        self._failures = 0
        self._blamed.clear()
        if self.state is not BreakerState.CLOSED:
            self._epoch += 1
            self.state = BreakerState.CLOSED

    def _open(self, since: float) -> None:
        self.state = BreakerState.OPEN
        self._until = since + self._limits.open_s
