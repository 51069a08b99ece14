"""How many bytes requests may take on disk: a workload that asks for much takes nobody else's room."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from callgate.approvals.model import Request, Verdict, voted
from callgate.approvals.sqlite_room import Room
from callgate.approvals.sqlite_store import SqliteStore
from callgate.approvals.store import TooMany
from support.approval_values import POLICY, after, ask_of, person_of, request_of, vote_of

KEY = bytes(range(32))
KIB = 1024
OF_WORKLOAD, OF_ALL = 100 * KIB, 250 * KIB
# Three of a workload, and seven in all, with what is around the arguments.
LONG = 30 * KIB
CAP = 10_000


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(tmp_path / "approvals" / "approvals.db", KEY, Room(OF_WORKLOAD, OF_ALL))
    yield store
    store.close()


def long_request(number: int, workload: int = 0, characters: int = LONG) -> Request:
    ask = ask_of(arguments={"number": number, "text": "x" * characters})
    caller = f"spiffe://acme.test/ns/agents/sa/{workload}"
    return request_of(number, replace(ask, binding=replace(ask.binding, caller=caller)))


def add(store: SqliteStore, *added: Request) -> list[Request | TooMany]:
    return [store.add(each, CAP, CAP) for each in added]


def end(store: SqliteStore, request: Request, seconds: float = 1.0) -> None:
    ended = voted(request, vote_of(person_of(), Verdict.DENY, "no"), after(seconds), POLICY)
    assert isinstance(ended, Request)
    assert store.save(ended)


def counted(store: SqliteStore) -> tuple[int, int, int]:
    """What was counted of all, of workloads, and what there is."""
    return tuple(  # type: ignore[return-value]
        store._number(f"SELECT coalesce(sum({column}), 0) FROM {table}")  # noqa: S608  # names of ours
        for column, table in (("bytes", "store"), ("bytes", "sizes"), ("size", "requests"))
    )


def test_refuses_a_workload_whose_waiting_requests_take_its_room(store: SqliteStore) -> None:
    asked = [long_request(number) for number in range(4)]
    assert add(store, *asked) == [*asked[:3], TooMany(by_workload=True)]
    other = long_request(9, workload=1)
    assert add(store, other) == [other]


def test_refuses_everybody_where_waiting_requests_take_all_the_room(store: SqliteStore) -> None:
    asked = [long_request(number, workload=number) for number in range(8)]
    assert add(store, *asked) == [*asked[:7], TooMany(by_workload=False)]
    assert counted(store)[0] <= OF_ALL


def test_refuses_what_would_never_fit(store: SqliteStore) -> None:
    assert add(store, long_request(0, characters=OF_WORKLOAD)) == [TooMany(by_workload=True)]


def test_what_ended_gives_way_the_oldest_first_and_of_the_same_workload(store: SqliteStore) -> None:
    others, old, young, waiting = long_request(0, workload=1), *map(long_request, (1, 2, 3))
    add(store, others, old, young, waiting)
    end(store, others, 1)
    end(store, old, 2)
    end(store, young, 3)
    after_them = long_request(4)
    assert add(store, after_them) == [after_them]
    assert store.load(old.id) is None
    assert store.load(others.id) is not None
    assert store.load(waiting.id) == waiting


def test_a_workload_that_asks_again_and_again_takes_no_more_than_its_room(store: SqliteStore) -> None:
    kept = long_request(1_000, workload=1)
    add(store, kept)
    end(store, kept)
    for number in range(40):
        asked = long_request(number)
        assert add(store, asked) == [asked]
        end(store, asked, number)
    assert store.load(kept.id) is not None
    assert counted(store)[0] <= OF_WORKLOAD + 40 * KIB


def test_what_is_counted_is_what_there_is(store: SqliteStore) -> None:
    asked = [long_request(number, workload=number % 3, characters=KIB * number) for number in range(9)]
    add(store, *asked)
    assert len(set(counted(store))) == 1
    for request in asked[:5]:
        end(store, request)
    store.forget(after(2).wall, after(3))
    assert len(set(counted(store))) == 1
    for request in asked[5:]:
        end(store, request)
    store.forget(after(2).wall, after(3))
    assert counted(store) == (0, 0, 0)
