"""What a workload sees of its identity, state by state."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from spire.workloads import Json, Spire, Workload, running

_WATCH = Path(__file__).with_name("watch_identity.py")


@asynccontextmanager
async def watching(spire: Spire, workload: str) -> AsyncIterator[Workload]:
    async with running(spire.command(workload, _WATCH), spire.environment) as watcher:
        yield watcher


async def until(watcher: Workload, wanted: Callable[[Json], bool]) -> Json:
    """The first state that is wanted."""
    while not wanted(state := await watcher.next_line()):
        pass
    return state


def has_identity(state: Json) -> bool:
    return state["id"] is not None
