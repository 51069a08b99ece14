"""Where requests for approval are kept: the one small interface, which a shared store can implement, too."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from callgate.approvals.model import Moment, Person, Request
from callgate.errors import GatewayError


class StoreFault(GatewayError):  # noqa: N818  # says what it is
    """The store cannot be read or written now."""


@dataclass(frozen=True, slots=True)
class TooMany:
    """There is no room for one more; `by_workload`: for one of this workload."""

    by_workload: bool


@dataclass(frozen=True, slots=True)
class Session:
    """One signed-in browser.  `digest`: SHA-256 of its cookie, in hex; `csrf` is told to the page alone.

    `began` and `last` are by both clocks: a session never gets longer by a clock that is set back.
    """

    digest: str
    person: Person
    csrf: str
    began: Moment
    last: Moment


@dataclass(frozen=True, slots=True)
class Secret:
    """Something that is good for one use: a link, or a sign-in under way.

    `digest`: SHA-256 of what its bearer has, in hex.  `body`: what it stands for.
    """

    digest: str
    kind: str
    body: bytes
    since: Moment
    lasts_s: float


@dataclass(frozen=True, slots=True)
class Notice:
    """A message that is still to be delivered to `target`.  `due`: Unix seconds; `tries`: how often it failed."""

    id: str
    target: str
    body: bytes
    due: float
    tries: int = 0


class Store(Protocol):
    """Blocking, for one thread.  Each method is one whole step, seen by other processes all at once or not at all.

    Every method raises StoreFault where the store is gone, locked or broken, and then nothing is changed.
    """

    def add(self, request: Request, cap: int, cap_of_workload: int) -> Request | TooMany:
        """Keep a new request, unless one of the same `key` is open: then that one.

        TooMany where `cap` are waiting, or `cap_of_workload` of the same workload (`ask.binding.caller`).
        """
        ...

    def load(self, id_: str) -> Request | None:
        """One request, with all that a person is shown."""
        ...

    def found(self, keys: Sequence[str]) -> tuple[Request, ...]:
        """All requests with one of these keys, the newest first: the open ones, and those that ended and are still kept."""
        ...

    def save(self, request: Request) -> bool:
        """Keep what became of a request; False, and nothing is changed, where another change came before it.

        `request.revision` is one more than that of the one it was made from.
        """
        ...

    def listed(self, *, is_open: bool, limit: int) -> tuple[Request, ...]:
        """The open ones, the oldest first; or those that ended, the newest first.  Without arguments and definitions."""
        ...

    def waiting(self) -> int:
        """How many wait for an answer."""
        ...

    def version(self) -> int:
        """Another number whenever a request was added or changed, by whatever process."""
        ...

    def forget(self, ended_before: float, now: Moment) -> int:
        """Delete what ended before that moment (Unix seconds), and sessions, secrets that are over; how many requests."""
        ...

    def began(self, now: Moment) -> bool:
        """A process begins to use the store; False where the clock was set back since it was last used.

        Then nothing that was open may be used any more: how old it is cannot be told.
        """
        ...

    def keep_session(self, session: Session) -> None:
        """Keep it, or what became of it."""
        ...

    def session(self, digest: str) -> Session | None:
        """One of them."""
        ...

    def drop_session(self, digest: str) -> None:
        """It is signed out."""
        ...

    def keep_secret(self, secret: Secret) -> None:
        """Keep it until it is taken."""
        ...

    def take_secret(self, digest: str, kind: str, now: Moment) -> bytes | None:
        """Its body, once; None where there is none, it is over, or it was taken."""
        ...

    def put_notices(self, notices: Sequence[Notice]) -> None:
        """Keep messages until they are delivered."""
        ...

    def notices_due(self, now: float, limit: int) -> tuple[Notice, ...]:
        """Those that are due, the oldest first."""
        ...

    def keep_notice(self, notice: Notice) -> None:
        """What became of one that failed."""
        ...

    def drop_notice(self, id_: str) -> None:
        """It was delivered, or given up."""
        ...

    def close(self) -> None:
        """The process is done with it."""
        ...
