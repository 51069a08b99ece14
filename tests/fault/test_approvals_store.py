"""The store of approvals when processes are killed or race, and when its disk is full, locked or broken."""

import os
import random
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

from callgate.approvals.model import Cover, Request, State, voted
from callgate.approvals.sqlite_store import SqliteStore
from callgate.approvals.store import StoreFault
from callgate.approvals.store_thread import StoreThread
from support.approval_values import ARGUMENTS, NOW, POLICY, ask_of, request_of, vote_of, with_repeat
from support.approvals_child import KEY

CHILD = Path(__file__).parents[1] / "support" / "approvals_child.py"
LIVES = 8
APPROVALS = 300
ROUNDS = 5
CAP = 10**9
# The contract of the store, and a margin for a machine that is busy with something else.
FAULT_WITHIN_S = 2.0
MARGIN_S = 1.0
SEED = 20260728


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "approvals" / "approvals.db"


def child(what: str, path: Path) -> subprocess.Popen[str]:
    env = {**os.environ, "PYTHONPATH": str(CHILD.parents[1])}
    command = [sys.executable, str(CHILD), what, str(path)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)


def listed(store: SqliteStore) -> dict[str, Request]:
    return {each.id: each for is_open in (True, False) for each in store.listed(is_open=is_open, limit=CAP)}


def approve(store: SqliteStore, request: Request, cover: Cover | None = None) -> Request:
    assert store.add(request, CAP, CAP) == request
    approved = voted(request, vote_of(cover=cover), NOW, POLICY)
    assert isinstance(approved, Request)
    assert store.save(approved)
    return approved


# kill -9.


def test_after_kill_9_in_the_middle_of_many_changes_all_that_was_acknowledged_is_there_and_nothing_half(
    path: Path,
) -> None:
    chance = random.Random(SEED)  # noqa: S311  # to be repeated
    acknowledged: dict[str, int] = {}
    for _ in range(LIVES):
        with child("write", path) as process:
            assert process.stdout is not None
            said = [process.stdout.readline()]
            time.sleep(chance.uniform(0, 0.3))  # when it is killed is the point
            process.send_signal(signal.SIGKILL)
            said += process.stdout.readlines()
        for line in said:
            if line.endswith("\n"):
                id_, revision = line.split()
                acknowledged[id_] = max(int(revision), acknowledged.get(id_, 0))
        store = SqliteStore(path, KEY)
        found = listed(store)
        assert store.unreadable == 0
        assert all(store.load(id_) is not None for id_ in found)
        store.close()
        assert {id_ for id_, revision in acknowledged.items() if id_ not in found} == set()
        assert all(found[id_].revision >= revision for id_, revision in acknowledged.items())
        check_whole(found)
    print(f"\n{len(acknowledged)} requests acknowledged over {LIVES} lives")
    assert len(acknowledged) > LIVES


def check_whole(found: dict[str, Request]) -> None:
    """Each stands as one of the three changes left it."""
    for request in found.values():
        state = [State.WAITING, State.APPROVED, State.USED][request.revision]
        assert (request.state, len(request.votes), request.used) == (
            state,
            min(request.revision, 1),
            request.revision // 2,
        )


def test_a_log_cut_off_anywhere_as_by_a_power_failure_leaves_whole_requests_and_the_oldest(
    tmp_path: Path, path: Path
) -> None:
    chance = random.Random(SEED)  # noqa: S311
    store = SqliteStore(path, KEY)
    for number in range(20):
        approve(store, request_of(number))
    size = path.with_name("approvals.db-wal").stat().st_size
    counts = []
    for cut in sorted(chance.randrange(size) for _ in range(40)):
        copy = tmp_path / f"cut-{cut}" / "approvals.db"
        shutil.copytree(path.parent, copy.parent)
        copy.with_name("approvals.db-shm").unlink()
        os.truncate(copy.with_name("approvals.db-wal"), cut)
        try:
            again = SqliteStore(copy, KEY)
        except StoreFault:
            # The tables themselves are not whole.
            continue
        found = listed(again)
        again.close()
        assert [int(id_, 16) for id_ in sorted(found)] == list(range(len(found)))
        check_whole(found)
        counts.append(len(found))
        shutil.rmtree(copy.parent)
    store.close()
    assert counts == sorted(counts)
    assert len(set(counts)) > 2


# Races.


def used_by_two(path: Path, ids: list[str]) -> Counter[str]:
    """How often each was used, where two processes use all of them as often and as fast as they can."""
    won: Counter[str] = Counter()
    with child("use", path) as one, child("use", path) as two:
        for _ in range(ROUNDS):
            for process in (one, two):
                assert process.stdin is not None
                print(*ids, file=process.stdin, flush=True)
            for process in (one, two):
                assert process.stdout is not None
                won.update(process.stdout.readline().split())
        for process in (one, two):
            assert process.stdin is not None
            process.stdin.close()
    return won


def test_of_two_processes_that_use_one_approval_at_once_exactly_one_does(path: Path) -> None:
    store = SqliteStore(path, KEY)
    ids = [approve(store, request_of(number)).id for number in range(APPROVALS)]
    won = used_by_two(path, ids)
    found = listed(store)
    store.close()
    assert won == Counter(dict.fromkeys(ids, 1))
    assert {request.state for request in found.values()} == {State.USED}


def test_an_approval_for_three_calls_lets_three_through_whoever_races(path: Path) -> None:
    store = SqliteStore(path, KEY)
    asks = [ask_of(with_repeat(), arguments={**ARGUMENTS, "number": number}) for number in range(50)]
    ids = [approve(store, request_of(number, ask), Cover(3, 600)).id for number, ask in enumerate(asks)]
    won = used_by_two(path, ids)
    store.close()
    assert won == Counter(dict.fromkeys(ids, 3))


def test_processes_that_open_a_new_store_at_once_all_get_it(path: Path) -> None:
    processes = [child("use", path) for _ in range(6)]
    for process in processes:
        process.communicate(input="\n", timeout=30)
    assert [process.returncode for process in processes] == [0] * 6


def read_from(process: subprocess.Popen[str], lines: int) -> None:
    assert process.stdout is not None
    for _ in zip(range(lines), process.stdout, strict=False):
        pass


async def test_a_process_that_writes_without_a_pause_keeps_no_other_from_the_store(path: Path) -> None:
    thread = StoreThread(SqliteStore(path, KEY))
    took = []
    with child("write", path) as process:
        try:
            await trio.to_thread.run_sync(read_from, process, 1)
            async with trio.open_nursery() as nursery:
                await nursery.start(thread.run)
                nursery.start_soon(partial(trio.to_thread.run_sync, read_from, process, CAP))
                for number in range(100):
                    begun = trio.current_time()
                    await thread.do(lambda store, n=number: store.add(request_of(n), CAP, CAP))  # type: ignore[misc]
                    took.append(trio.current_time() - begun)
                process.kill()
                nursery.cancel_scope.cancel()
        finally:
            process.kill()
    print(f"\n{max(took) * 1000:.0f} ms at most, {sorted(took)[50] * 1000:.1f} ms as a rule")


# Locked, full, broken.


async def test_a_locked_store_is_a_fault_within_two_seconds_and_serves_again_afterwards(path: Path) -> None:
    store = SqliteStore(path, KEY)
    thread = StoreThread(store)
    async with trio.open_nursery() as nursery:
        await nursery.start(thread.run)
        locker = sqlite3.connect(path, isolation_level=None)
        locker.execute("BEGIN EXCLUSIVE")
        begun = time.perf_counter()
        with pytest.raises(StoreFault):
            await thread.do(lambda store: store.add(request_of(), CAP, CAP))
        assert time.perf_counter() - begun < FAULT_WITHIN_S + MARGIN_S
        assert "locked" in thread.problem
        locker.execute("ROLLBACK")
        locker.close()
        assert await thread.do(lambda store: store.waiting()) == 0
        assert thread.problem == ""
        nursery.cancel_scope.cancel()


def test_a_store_that_is_locked_when_it_is_opened_is_a_fault(path: Path) -> None:
    SqliteStore(path, KEY).close()
    locker = sqlite3.connect(path, isolation_level=None)
    locker.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StoreFault, match="locked"):
        SqliteStore(path, KEY)
    locker.close()


@contextmanager
def full_at(size: int) -> Iterator[None]:
    """No file grows beyond that size: a full disk, as SQLite sees it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_on_a_full_disk_each_change_is_a_fault_or_kept_and_it_goes_on_when_there_is_room(path: Path) -> None:
    store = SqliteStore(path, KEY)
    kept, faults = [], 0
    with full_at(300_000):
        for number in range(200):
            try:
                store.add(request_of(number), CAP, CAP)
                kept.append(number)
            except StoreFault:
                faults += 1
    assert faults > 0
    assert len(kept) > 0
    assert store.add(request_of(1000), CAP, CAP) == request_of(1000)
    found = listed(store)
    store.close()
    again = SqliteStore(path, KEY)
    assert {int(id_, 16) for id_ in found} == {*kept, 1000} == {int(id_, 16) for id_ in listed(again)}
    assert all(again.load(id_) == request_of(int(id_, 16)) for id_ in found)
    again.close()


def test_on_a_full_disk_none_of_several_steps_is_told_as_done_that_is_not(path: Path) -> None:
    store = SqliteStore(path, KEY)
    before = store.version()
    with full_at(200_000), pytest.raises(StoreFault):
        store.together([lambda store, n=n: store.add(request_of(n), CAP, CAP) for n in range(500)])  # type: ignore[misc]
    assert (store.waiting(), store.version()) == (0, before)
    assert store.together([lambda store: store.add(request_of(), CAP, CAP)]) == [request_of()]
    store.close()


def test_whatever_page_of_the_file_is_broken_no_request_reads_as_another_one(tmp_path: Path, path: Path) -> None:
    chance = random.Random(SEED)  # noqa: S311
    store = SqliteStore(path, KEY)
    originals = {request.id: request for request in map(request_of, range(40))}
    for request in originals.values():
        assert store.add(request, CAP, CAP) == request
    store.close()
    content = path.read_bytes()
    faults = 0
    copy = tmp_path / "broken" / "approvals.db"
    copy.parent.mkdir(mode=0o700)
    for begin in range(0, len(content), 4096):
        copy.touch(mode=0o600)
        copy.write_bytes(content[:begin] + chance.randbytes(4096) + content[begin + 4096 :])
        try:
            broken = SqliteStore(copy, KEY)
        except StoreFault:
            faults += 1
        else:
            faults += changed_in(broken, originals)
            broken.close()
        for file in copy.parent.iterdir():
            file.unlink()
    assert faults > 0


def changed_in(store: SqliteStore, originals: dict[str, Request]) -> int:
    """How many could not be read; any that can be is the one that was written."""
    faults = 0
    for id_, original in originals.items():
        try:
            found = store.load(id_)
            assert found is None or found == original
            faults += found is None
            assert all(each.state is State.WAITING for each in store.found([original.key]))
        except StoreFault:
            faults += 1
    return faults
