"""A process that uses a store of approvals as a gate's worker does, for tests that kill it or race two of them.

python approvals_child.py write PATH        writes requests without a pause; says what is durable: id, revision
python approvals_child.py use PATH          for each line `go` uses every approval that is there; says whose it got
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import trio

from callgate.approvals.model import Request, used_once, voted
from callgate.approvals.sqlite_store import SqliteStore
from callgate.approvals.store import Store
from callgate.approvals.store_thread import StoreThread
from support.approval_values import NOW, POLICY, request_of, vote_of

KEY: Final = bytes(range(32))
_WRITERS: Final = 20
_PLENTY: Final = 10**9


async def write(path: Path) -> None:
    """Ask, approve and use until killed."""
    thread = StoreThread(SqliteStore(path, KEY), 60.0)
    async with trio.open_nursery() as nursery:
        await nursery.start(thread.run)
        # Ids that no process before had.
        first = int.from_bytes(os.urandom(6), "big")
        for writer in range(_WRITERS):
            nursery.start_soon(_write, thread, first + writer)


async def _write(thread: StoreThread, number: int) -> None:
    while True:
        number += _WRITERS
        request = request_of(number)
        found = await thread.do(lambda store, request=request: store.add(request, _PLENTY, _PLENTY))  # type: ignore[misc]
        assert found == request
        _say(request)
        approved = voted(request, vote_of(), NOW, POLICY)
        assert isinstance(approved, Request)
        for change in (approved, used_once(approved, NOW, POLICY)):
            assert change is not None
            assert await thread.do(lambda store, change=change: store.save(change))  # type: ignore[misc]
            _say(change)


def _say(request: Request) -> None:
    print(request.id, request.revision, flush=True)


def use(path: Path) -> None:
    """Use each approval once, in one step and in two, in turn; for each line of standard input."""
    store = SqliteStore(path, KEY)
    for line in sys.stdin:
        ids = line.split()
        won = [id_ for number, id_ in enumerate(ids) if (_use_at_once if number % 2 else _use)(store, id_)]
        print(*won, flush=True)
    store.close()


def _use(store: Store, id_: str) -> bool:
    request = store.load(id_)
    after = used_once(request, NOW, POLICY) if request is not None else None
    return after is not None and store.save(after)


def _use_at_once(store: SqliteStore, id_: str) -> bool:
    answers: Sequence[object] = store.together([lambda store: _use(store, id_)])
    return answers == [True]


if __name__ == "__main__":
    if sys.argv[1] == "write":
        trio.run(write, Path(sys.argv[2]))
    else:
        use(Path(sys.argv[2]))
