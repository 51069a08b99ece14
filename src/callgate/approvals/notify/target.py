"""Where notices go, and what a delivery comes to."""

from dataclasses import dataclass
from typing import Protocol, TypeAlias

from callgate.approvals.happened import Happening
from callgate.approvals.store import Notice
from callgate.errors import GatewayError


class UnusableTarget(GatewayError):  # noqa: N818  # says what it is
    """A target that cannot be used as it is configured: its secret, its authorities or its URL."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """It was taken."""


@dataclass(frozen=True, slots=True)
class Pointless:
    """There is nothing to say any more."""


@dataclass(frozen=True, slots=True)
class Failed:
    """It is to be tried again.  `why`: half a sentence without anything that the other side sent.

    `pause_s`: the target asks to be left alone so long, with all notices.
    """

    why: str
    pause_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Gone:
    """The target wants no more notices."""

    why: str


Outcome: TypeAlias = Delivered | Pointless | Failed | Gone


class Target(Protocol):
    """One place to which notices go.  `at_once`: how many at the same time."""

    @property
    def name(self) -> str:
        """What people call it; unique, and part of each notice."""
        ...

    @property
    def events(self) -> frozenset[Happening]:
        """What it wants to hear of."""
        ...

    @property
    def at_once(self) -> int:
        """How many notices may be on their way to it at once."""
        ...

    async def deliver(self, notice: Notice) -> Outcome:
        """Send it, within a bounded time.  Raises StoreFault, and nothing else but what cancels it."""
        ...
