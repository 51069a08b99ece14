"""Which sessions of each person this process has begun: so that nobody collects them."""

from collections import deque
from dataclasses import dataclass, field
from typing import Final

# A person has a few browsers; each further sign-in ends the oldest session.
MAX_SESSIONS_OF_PERSON: Final = 8
# Of all people; 1,000 approvers at work, and what is forgotten here still ends by its time.
_MAX_PEOPLE: Final = 1_000


@dataclass(slots=True)
class Recent:
    """Digests of sessions by the person's name, the oldest first."""

    _digests: dict[str, deque[str]] = field(default_factory=dict)

    def add(self, name: str, digest: str) -> tuple[str, ...]:
        """One more; those of the same person that are too many now."""
        digests = self._digests.pop(name, deque())
        # The latest to sign in stands last.
        self._digests[name] = digests
        digests.append(digest)
        if len(self._digests) > _MAX_PEOPLE:
            del self._digests[next(iter(self._digests))]
        return tuple(digests.popleft() for _ in range(len(digests) - MAX_SESSIONS_OF_PERSON))

    def drop(self, name: str, digest: str) -> None:
        """It is signed out."""
        digests = self._digests.get(name)
        if digests is not None and digest in digests:
            digests.remove(digest)
