"""Several steps of a store at once: what a store can do beside `Store`, so that they wait for its disk once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from callgate.approvals.store import Store


@dataclass(frozen=True, slots=True)
class Failed:
    """What one of several steps raised: nothing of that step was kept."""

    fault: Exception


class StoreTogether(Store, Protocol):
    """A `Store` that takes several steps in one transaction."""

    def together(self, steps: Sequence[Callable[[Store], object]]) -> list[object]:
        """Take them one after the other: what each gave, or `Failed`.  All that was not undone is durable then.

        What one step raises undoes that step alone.  Raises StoreFault where nothing at all is kept.
        """
        ...
