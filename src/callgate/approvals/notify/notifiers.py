"""Tells whoever wants to know what happens to requests for approval.

What is to be told is in the store before `tell` returns, so that it survives the process; a delivery that fails is
tried again for days, and is seen in readiness, in metrics and in one log line.  Nothing here decides anything.
"""

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import trio

from callgate.approvals.happened import Happened
from callgate.approvals.model import Moment
from callgate.approvals.notify.notices import notice_of
from callgate.approvals.notify.outbox import DEFAULT_NOTICE_LIMITS, Claimed, NoticeLimits, claim, retry_of
from callgate.approvals.notify.target import Delivered, Failed, Gone, Outcome, Pointless, Target
from callgate.approvals.store import Notice, StoreFault
from callgate.approvals.store_thread import StoreThread
from callgate.errors import place_of

_LOG: Final = logging.getLogger(__name__)


class Fate(StrEnum):
    """What became of a notice, or of one try; for metrics."""

    DELIVERED = "delivered"
    FAILED = "failed"
    # Tried as often as the schedule says.
    GIVEN_UP = "given_up"
    # Nobody wants to know it any more.
    DROPPED = "dropped"
    # The store did not take it, and there was no room for it elsewhere.
    LOST = "lost"


@dataclass(slots=True)
class _Standing:
    """How it stands with one target."""

    problem: str = ""
    is_gone: bool = False
    under_way: int = 0
    paused_until: float = 0.0

    def room(self, at_once: int) -> int:
        """How many more notices can go now."""
        return 0 if trio.current_time() < self.paused_until else at_once - self.under_way


class Notifiers:
    """`run` it in a nursery.  All attributes and methods belong to trio's thread."""

    def __init__(
        self,
        store: StoreThread,
        targets: Sequence[Target],
        url: str,
        moment: Callable[[], Moment],
        unreached: Callable[[str], None] = lambda _: None,
        limits: NoticeLimits = DEFAULT_NOTICE_LIMITS,
    ) -> None:
        """`url`: where people reach the site, without a slash at its end.  ValueError where a name is used twice.

        `unreached` is called with a target's name for each try that failed; it must neither wait nor raise.
        """
        self._targets = {target.name: target for target in targets}
        if len(self._targets) < len(targets):
            raise ValueError("each target needs a name of its own")
        self._standing = {name: _Standing() for name in self._targets}
        self._store = store
        self._url = url
        self._moment = moment
        self._unreached = unreached
        self._limits = limits
        self._news = trio.Event()
        self._unkept: list[Notice] = []
        self._counts: Counter[tuple[str, Fate]] = Counter()

    @property
    def problems(self) -> Mapping[str, str]:
        """What is wrong, one sentence by target; empty where all is well."""
        return {name: standing.problem for name, standing in self._standing.items() if standing.problem}

    @property
    def counts(self) -> Mapping[tuple[str, Fate], int]:
        """How often what became of a notice, by target; they only grow."""
        return self._counts

    async def tell(self, happened: Happened) -> None:
        """Keep a notice for each target that wants it.  Raises nothing but what cancels it; waits `tell_s` at most.

        What the store does not take in that time waits in memory, and is lost only where the process ends before.
        """
        notices = self._wanted(happened)
        if notices and not await self._put(notices):
            for notice in notices:
                self._stands(notice.target, "Notices wait for the store.")
            free = self._limits.unkept - len(self._unkept)
            self._unkept += notices[:free]
            for notice in notices[free:]:
                self._missed(notice.target, Fate.LOST)
        self._news.set()

    async def run(self) -> None:
        """Deliver what is due, until cancelled; then what was under way is sent again by whoever runs next."""
        async with trio.open_nursery() as nursery:
            while True:
                self._news = trio.Event()
                await self._put_again()
                claimed = await self._claimed()
                for notice in claimed.notices:
                    self._standing[notice.target].under_way += 1
                    nursery.start_soon(self._attend, notice)
                if claimed.is_more:
                    continue
                with trio.move_on_after(self._limits.poll_s):
                    await self._news.wait()

    def _wanted(self, happened: Happened) -> list[Notice]:
        wanting = [name for name, each in self._targets.items() if happened.happening in each.events]
        try:
            return [notice_of(happened, name, self._url) for name in wanting if not self._standing[name].is_gone]
        except Exception as fault:  # noqa: BLE001  # a notice that cannot be made must not stop who tells of it
            _LOG.error("a notice failed inside the gate: %s", place_of(fault))
            for name in wanting:
                self._missed(name, Fate.LOST)
            return []

    async def _put(self, notices: Sequence[Notice]) -> bool:
        """Whether they are in the store now.  Those that are kept already stay as they are."""
        with trio.move_on_after(self._limits.tell_s):
            try:
                await self._store.do(lambda store: store.put_notices(notices))
            except StoreFault:
                return False
            return True
        return False

    async def _put_again(self) -> None:
        waiting = self._unkept[: self._limits.look_at]
        if waiting and await self._put(waiting):
            del self._unkept[: len(waiting)]

    async def _claimed(self) -> Claimed:
        """Those that are to be sent now.  The store's own state tells readiness where it is not there."""
        room = {name: self._standing[name].room(target.at_once) for name, target in self._targets.items()}
        room = {name: free for name, free in room.items() if not self._standing[name].is_gone}
        now, limits = self._moment().wall, self._limits
        try:
            claimed = await self._store.do(lambda store: claim(store, now, room, limits))
        except StoreFault:
            return Claimed((), (), is_more=False)
        for name in claimed.dropped:
            self._counts[name if name in self._targets else "", Fate.DROPPED] += 1
        return claimed

    async def _attend(self, notice: Notice) -> None:
        """One delivery, and what becomes of the notice."""
        try:
            await self._settle(notice, await self._delivered(notice))
        except StoreFault:
            # It is still claimed, and due again when that is over.
            self._missed(notice.target, Fate.FAILED)
        finally:
            self._standing[notice.target].under_way -= 1
            self._news.set()

    async def _delivered(self, notice: Notice) -> Outcome:
        try:
            return await self._targets[notice.target].deliver(notice)
        except StoreFault:
            raise
        except Exception as fault:  # noqa: BLE001  # the border of a task: what others answer must not end the gate
            _LOG.error("a delivery to %s failed inside the gate: %s", notice.target, place_of(fault))
            return Failed("a fault of the gate")

    async def _settle(self, notice: Notice, outcome: Outcome) -> None:
        match outcome:
            case Failed(why, pause_s):
                await self._failed(notice, why, pause_s)
                return
            case Gone(why):
                self._counts[notice.target, Fate.DROPPED] += 1
                self._stands(notice.target, f"{why}; it is told nothing more until the gate starts anew.")
                self._standing[notice.target].is_gone = True
            case Delivered():
                self._counts[notice.target, Fate.DELIVERED] += 1
                self._stands(notice.target, "")
            case Pointless():
                self._counts[notice.target, Fate.DROPPED] += 1
        await self._store.do(lambda store: store.drop_notice(notice.id))

    async def _failed(self, notice: Notice, why: str, pause_s: float) -> None:
        self._missed(notice.target, Fate.FAILED)
        self._stands(notice.target, f"Notices are not delivered: {why}.")
        pause_s = min(pause_s, self._limits.pause_most_s)
        standing = self._standing[notice.target]
        standing.paused_until = max(standing.paused_until, trio.current_time() + pause_s)
        again = retry_of(notice, self._moment().wall, pause_s, self._limits)
        if again is None:
            self._counts[notice.target, Fate.GIVEN_UP] += 1
            _LOG.error("a notice to %s was given up after %d tries", notice.target, notice.tries + 1)
            await self._store.do(lambda store: store.drop_notice(notice.id))
        else:
            await self._store.do(lambda store: store.keep_notice(again))

    def _missed(self, name: str, fate: Fate) -> None:
        self._counts[name, fate] += 1
        self._unreached(name)

    def _stands(self, name: str, problem: str) -> None:
        """Say so once, where it is another state than before.  Whoever is gone stays gone, whatever was under way."""
        standing = self._standing[name]
        if standing.is_gone or problem == standing.problem:
            return
        standing.problem = problem
        if problem:
            _LOG.warning("%s: %s", name, problem)
        else:
            _LOG.info("%s: notices are delivered again", name)
