"""What agents did before in their sessions, for the people whom they ask.  Bounded, and empty after a restart."""

from collections import deque
from typing import Final

from callgate.approvals.model import Before

# What a person takes in beside the request itself.
MAX_BEFORE: Final = 20
# As many as there are workloads at work; some MiB at most.
MAX_SESSIONS: Final = 1_024


class Past:
    """The last calls of each session, the latest last."""

    def __init__(self) -> None:
        self._sessions: dict[str, deque[Before]] = {}

    def note(self, session: str, before: Before) -> None:
        """One call more."""
        found = self._sessions.pop(session, None)
        if found is None:
            found = deque(maxlen=MAX_BEFORE)
            if len(self._sessions) >= MAX_SESSIONS:
                del self._sessions[next(iter(self._sessions))]
        # At the end again: the session that was quiet for the longest goes first.
        self._sessions[session] = found
        found.append(before)

    def of(self, session: str) -> tuple[Before, ...]:
        """Those of one session."""
        return tuple(self._sessions.get(session, ()))
