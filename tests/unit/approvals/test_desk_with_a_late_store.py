"""A store that takes longer than it is waited for: nobody learns from the step what came of it, and all learn of it."""

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from callgate.approvals.desk import Desk
from callgate.approvals.happened import Happened
from callgate.approvals.model import Request, State
from callgate.approvals.moments import moment
from callgate.approvals.sqlite_store import SqliteStore
from callgate.approvals.store import StoreFault, TooMany
from callgate.approvals.store_thread import StoreThread
from support.approval_values import POLICY, ask_of, vote_of

PATIENCE_S = 0.3
ENOUGH_S = 20.0


class LateStore(SqliteStore):
    """Saves an answer only when it is let go."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, bytes(32))
        self.goes_on = threading.Event()
        self.is_late_to_add = False

    def add(self, request: Request, cap: int, cap_of_workload: int) -> Request | TooMany:
        if self.is_late_to_add:
            self.goes_on.wait(ENOUGH_S)
        return super().add(request, cap, cap_of_workload)

    def save(self, request: Request) -> bool:
        if request.votes:
            self.goes_on.wait(ENOUGH_S)
        return super().save(request)


@asynccontextmanager
async def desk_at(store: LateStore) -> AsyncIterator[Desk]:
    async def noted(_: Happened) -> bool:
        return True

    async def told(_: Happened) -> None:
        return

    thread = StoreThread(store, PATIENCE_S)
    desk = Desk(thread, moment, lambda: POLICY, noted, told, lambda: "0" * 32)
    async with trio.open_nursery() as nursery:
        await nursery.start(thread.run)
        await nursery.start(desk.run)
        yield desk
        nursery.cancel_scope.cancel()


async def test_a_call_that_waits_learns_of_an_answer_that_was_kept_too_late_to_be_told(tmp_path: Path) -> None:
    store = LateStore(tmp_path / "approvals" / "approvals.db")
    async with desk_at(store) as desk, trio.open_nursery() as nursery:
        request = await desk.ask(ask_of())
        assert isinstance(request, Request)
        found: list[Request] = []

        async def wait() -> None:
            found.append(await desk.wait(request.id))

        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked(0.05)
        with pytest.raises(StoreFault):
            await desk.answer(request.id, request.ask.binding.digest, vote_of())
        store.goes_on.set()
        nursery.cancel_scope.deadline = trio.current_time() + ENOUGH_S
    assert [each.state for each in found] == [State.APPROVED]


async def test_what_an_agent_that_went_away_asked_for_is_known_all_the_same(tmp_path: Path) -> None:
    store = LateStore(tmp_path / "approvals" / "approvals.db")
    async with desk_at(store) as desk:
        # It has looked for the first time.
        await desk.changed(0)
        store.is_late_to_add = True
        with trio.move_on_after(PATIENCE_S / 3):
            await desk.ask(ask_of())
        before = desk.version
        store.goes_on.set()
        with trio.fail_after(ENOUGH_S):
            await desk.changed(before)
        assert len(await desk.listed(is_open=True)) == 1
