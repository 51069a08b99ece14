"""The thread that waits for the store's disk, so that nothing else does.

Steps that are wanted at the same time share one transaction, and with it the wait for the disk.  What a step gave is
told once that transaction is durable.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Final, Generic, TypeVar, cast

import trio

from callgate.approvals.store import Store, StoreFault
from callgate.approvals.together import Failed, StoreTogether
from callgate.errors import place_of

_LOG: Final = logging.getLogger(__name__)
_T = TypeVar("_T")

# A call that waits for a person notices less; one that does not is told that the store cannot be used.
DEFAULT_PATIENCE_S: Final = 2.0
# More than one for each request that may wait (10 000 unless configured otherwise), and for each page that is open.
MAX_ORDERS: Final = 16_384
# Some 30 ms of work: other processes that share the store wait for as long.
MAX_TOGETHER: Final = 100
# Until the next call that asks shows whether it can be written to again.
_TOLD_S: Final = 30.0
# How long the store is left to other processes where more is wanted here than that: they look each millisecond.
_PAUSE_S: Final = 0.003


class _Given(Exception):  # noqa: N818  # never leaves this module
    """Nobody waits for that step any more."""


class _Order(Generic[_T]):
    """One step, and who waits for it."""

    __slots__ = ("_step", "answer", "answered")

    def __init__(self, step: Callable[[Store], _T]) -> None:
        self._step: Callable[[Store], _T] | None = step
        self.answer: object = None
        self.answered = trio.Event()

    def take(self, store: Store) -> _T:
        """For the thread.  Raises _Given where it was given up before."""
        step = self._step
        if step is None:
            raise _Given
        return step(store)

    def give_up(self) -> None:
        """It is not taken any more, unless it was already.

        What it holds is let go: it is as large as a call's arguments, and a disk that hangs may keep the queue for ever.
        """
        self._step = None


class StoreThread:
    """Takes steps of `store`, which belongs to its thread from `run` on.  `patience_s`: how long a step may take."""

    def __init__(self, store: StoreTogether, patience_s: float = DEFAULT_PATIENCE_S) -> None:
        self._store = store
        self._patience_s = patience_s
        self._orders: SimpleQueue[_Order[object] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="callgate-approvals", daemon=True)
        self._token: trio.lowlevel.TrioToken | None = None
        self._is_open = False
        self._problem = ""
        self._told_until = 0.0

    @property
    def problem(self) -> str:
        """What is wrong with the store, as its last steps showed; "" where all is well."""
        return self._problem if self._is_open else "the approvals store is closed"

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Take steps until cancelled; then those that were wanted before, and close the store."""
        self._token = trio.lowlevel.current_trio_token()
        self._is_open = True
        self._thread.start()
        task_status.started()
        try:
            await trio.sleep_forever()
        finally:
            self._is_open = False
            self._orders.put(None)
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(self._thread.join, self._patience_s)

    async def do(self, step: Callable[[Store], _T]) -> _T:
        """What `step` gives, once all that it changed is durable.  It is called in another thread, once at most.

        Raises what it raises, and then nothing it did is kept.  Raises StoreFault where the store cannot be used, or not
        in time: a step that had not begun is not taken then, of any other it is not known.  The same goes for
        cancellation.
        """
        if not self._is_open:
            raise StoreFault(self.problem)
        if self._orders.qsize() >= MAX_ORDERS:
            raise StoreFault("too much is wanted of the approvals store at once")
        order = _Order(step)
        self._orders.put(cast("_Order[object]", order))
        try:
            with trio.move_on_after(self._patience_s):
                await order.answered.wait()
        finally:
            order.give_up()
        if not order.answered.is_set():
            self._problem = f"the approvals store gave no answer within {self._patience_s:g} s"
            raise StoreFault(self._problem)
        if isinstance(order.answer, Failed):
            raise order.answer.fault
        return cast("_T", order.answer)

    def _work(self) -> None:
        is_last = False
        while not is_last:
            orders, is_last = self._wanted()
            if orders:
                self._tell(orders, self._answers(orders))
            if len(orders) == MAX_TOGETHER:
                time.sleep(_PAUSE_S)
        self._store.close()

    def _wanted(self) -> tuple[list[_Order[object]], bool]:
        """What is wanted now, once anything is; and whether nothing follows."""
        orders: list[_Order[object]] = []
        order = self._orders.get()
        with suppress(Empty):
            while order is not None:
                orders.append(order)
                if len(orders) == MAX_TOGETHER:
                    break
                order = self._orders.get_nowait()
        return orders, order is None

    def _answers(self, orders: Sequence[_Order[object]]) -> list[object]:
        try:
            answers = self._store.together([order.take for order in orders])
        except StoreFault as fault:
            self._stands(str(fault))
        except Exception as fault:  # noqa: BLE001  # the border of the thread: who is not told waits in vain
            self._stands(f"the approvals store failed: {place_of(fault)}")
        else:
            # Reads go on where nothing can be written; several times a second, and they are no news of that.
            self._stands(_fault_in(answers), for_s=_TOLD_S)
            return answers
        # One for each who is told: where it was raised is kept in it.
        return [Failed(StoreFault(self._problem)) for _ in orders]

    def _stands(self, problem: str, *, for_s: float = 0.0) -> None:
        """How it stands, told to the log where that is news.  A problem is told of for `for_s` seconds at least."""
        now = time.monotonic()
        if problem:
            if not self._problem:
                _LOG.warning("approvals: %s", problem)
            self._problem, self._told_until = problem, now + for_s
        elif now >= self._told_until:
            self._problem = ""

    def _tell(self, orders: Sequence[_Order[object]], answers: Sequence[object]) -> None:
        def tell() -> None:
            for order, answer in zip(orders, answers, strict=True):
                order.answer = answer
                order.answered.set()

        token = self._token
        if token is not None:
            with suppress(trio.RunFinishedError):
                token.run_sync_soon(tell)


def _fault_in(answers: Sequence[object]) -> str:
    """Why one of several steps could not be kept, though the others were; "" where all were."""
    faults = (answer.fault for answer in answers if isinstance(answer, Failed))
    return next((str(fault) for fault in faults if isinstance(fault, StoreFault)), "")
