"""The thread of its own: real threads and a real file, so time is the machine's here."""

import gc
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing

from callgate.approvals import store_thread
from callgate.approvals.model import Request
from callgate.approvals.sqlite_store import SqliteStore
from callgate.approvals.store import Store, StoreFault
from callgate.approvals.store_thread import StoreThread
from support.approval_values import NOW, request_of

KEY = bytes(32)
CAP = 10_000
# For what must come, on a machine that is busy with something else.
SOON_S = 20.0
SHORT_S = 0.1


@dataclass
class Opened:
    """A running thread, its store's file, and every statement that went to SQLite."""

    path: Path
    thread: StoreThread
    nursery: trio.Nursery
    statements: list[str] = field(default_factory=list)

    def commits(self) -> int:
        return self.statements.count("COMMIT")


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncIterator[Opened]:
    path = tmp_path / "approvals" / "approvals.db"
    store = SqliteStore(path, KEY)
    async with trio.open_nursery() as nursery:
        found = Opened(path, StoreThread(store, SOON_S), nursery)
        store._database.set_trace_callback(found.statements.append)
        await nursery.start(found.thread.run)
        yield found
        nursery.cancel_scope.cancel()


def adding(request: Request) -> Callable[[Store], object]:
    return lambda store: store.add(request, CAP, CAP)


@contextmanager
def busy(opened: Opened) -> Iterator[threading.Event]:
    """The thread is in the middle of a step; it goes on at the end of this."""
    begun, go_on = threading.Event(), threading.Event()

    def step(_store: Store) -> None:
        begun.set()
        assert go_on.wait(SOON_S)

    opened.nursery.start_soon(partial(opened.thread.do, step))
    try:
        yield begun
    finally:
        go_on.set()


async def begun_in(begun: threading.Event) -> None:
    assert await trio.to_thread.run_sync(begun.wait, SOON_S)


async def test_what_was_answered_is_on_disk(opened: Opened) -> None:
    request = request_of()
    assert await opened.thread.do(adding(request)) == request
    other = SqliteStore(opened.path, KEY)
    assert other.load(request.id) == request
    other.close()


async def test_steps_that_are_wanted_at_the_same_time_share_one_transaction(opened: Opened) -> None:
    async with trio.open_nursery() as nursery:
        with busy(opened) as begun:
            await begun_in(begun)
            for number in range(100):
                nursery.start_soon(opened.thread.do, adding(request_of(number)))
            await trio.testing.wait_all_tasks_blocked()
            assert opened.commits() == 0
    assert await opened.thread.do(lambda store: store.waiting()) == 100
    # That of the step which kept the thread busy, that of the hundred, and that of the count.
    assert opened.commits() == 3


async def test_a_thousand_calls_that_begin_to_wait_at_once_are_kept_within_the_usual_patience(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "approvals" / "approvals.db", KEY)
    thread = StoreThread(store)
    async with trio.open_nursery() as nursery:
        await nursery.start(thread.run)
        async with trio.open_nursery() as calls:
            for number in range(1000):
                calls.start_soon(thread.do, adding(request_of(number)))
        assert await thread.do(lambda store: store.waiting()) == 1000
        nursery.cancel_scope.cancel()


async def test_what_a_step_raises_is_for_whoever_wanted_it_and_nothing_of_it_is_kept(opened: Opened) -> None:
    def broken(store: Store) -> None:
        store.add(request_of(1), CAP, CAP)
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await opened.thread.do(broken)
    assert await opened.thread.do(lambda store: store.waiting()) == 0
    assert opened.thread.problem == ""


async def test_a_step_that_nobody_waits_for_any_more_is_not_taken(opened: Opened) -> None:
    taken: list[str] = []
    with busy(opened) as begun:
        await begun_in(begun)
        with trio.move_on_after(SHORT_S) as scope:
            await opened.thread.do(lambda _store: taken.append("cancelled"))
        assert scope.cancelled_caught
    await opened.thread.do(lambda _store: taken.append("next"))
    assert taken == ["next"]


async def test_a_step_that_was_given_up_holds_nothing_while_the_disk_hangs(opened: Opened) -> None:
    class Large:
        pass

    large = Large()
    alive = weakref.ref(large)
    with busy(opened) as begun:
        await begun_in(begun)
        with trio.move_on_after(SHORT_S):
            await opened.thread.do(lambda _store, large=large: large)  # type: ignore[misc]
        del large
        # trio itself remembers the last cancellation until the next checkpoint.
        await trio.lowlevel.checkpoint()
        gc.collect()
        assert alive() is None


async def test_a_store_that_is_slow_is_a_fault_that_readiness_tells_until_it_answers_again(opened: Opened) -> None:
    taken: list[str] = []
    with busy(opened) as begun:
        await begun_in(begun)
        opened.thread._patience_s = SHORT_S
        with pytest.raises(StoreFault, match=r"no answer within 0\.1 s"):
            await opened.thread.do(lambda _store: taken.append("late"))
        assert "no answer" in opened.thread.problem
        opened.thread._patience_s = SOON_S
    await opened.thread.do(lambda store: store.began(NOW))
    assert opened.thread.problem == ""
    assert taken == []


async def test_of_a_step_that_had_begun_the_fault_says_nothing_and_what_it_did_stays(opened: Opened) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow(store: Store) -> None:
        begun.set()
        assert go_on.wait(SOON_S)
        store.add(request_of(), CAP, CAP)

    opened.thread._patience_s = SHORT_S
    with pytest.raises(StoreFault):
        await opened.thread.do(slow)
    assert begun.is_set()
    opened.thread._patience_s = SOON_S
    go_on.set()
    assert await opened.thread.do(lambda store: store.waiting()) == 1


async def test_cancelled_while_its_step_is_taken_the_caller_goes_at_once(opened: Opened) -> None:
    with busy(opened) as begun:
        await begun_in(begun)
        with trio.fail_after(SOON_S), trio.move_on_after(0):
            await opened.thread.do(adding(request_of()))


async def test_more_than_may_be_wanted_at_once_is_refused_at_once(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_thread, "MAX_ORDERS", 3)
    with busy(opened) as begun:
        await begun_in(begun)
        for number in range(3):
            opened.nursery.start_soon(opened.thread.do, adding(request_of(number)))
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(StoreFault, match="too much"):
            await opened.thread.do(adding(request_of(4)))
    monkeypatch.undo()
    assert await opened.thread.do(lambda store: store.waiting()) == 3


async def test_what_was_wanted_before_the_end_is_done_and_told_and_then_the_store_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "approvals" / "approvals.db"
    answers: list[object] = []
    async with trio.open_nursery() as callers:
        async with trio.open_nursery() as nursery:
            opened = Opened(path, StoreThread(SqliteStore(path, KEY), SOON_S), callers)
            await nursery.start(opened.thread.run)
            with busy(opened) as begun:
                await begun_in(begun)
                callers.start_soon(_keep_answer, opened, answers)
                await trio.testing.wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()
        with pytest.raises(StoreFault, match="closed"):
            await opened.thread.do(lambda store: store.waiting())
        assert opened.thread.problem == "the approvals store is closed"
    assert answers == [request_of(1)]
    other = SqliteStore(path, KEY)
    assert other.waiting() == 1
    other.close()


async def _keep_answer(opened: Opened, answers: list[object]) -> None:
    answers.append(await opened.thread.do(adding(request_of(1))))


async def test_before_it_runs_it_takes_nothing(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "approvals" / "approvals.db", KEY)
    thread = StoreThread(store)
    assert thread.problem == "the approvals store is closed"
    with pytest.raises(StoreFault, match="closed"):
        await thread.do(lambda store: store.waiting())
    store.close()
