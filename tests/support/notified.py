"""A desk with notifiers over a real store, and requests to put to it.

async with notified(tmp_path, clock, lambda store: [Webhook(settings, clock.moment)]) as desk:
    request = await desk.ask()
    await desk.say(request, Verdict.DENY)
"""

import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import trio

from callgate.approvals.desk import Desk
from callgate.approvals.happened import Happened
from callgate.approvals.model import Ask, Binding, Means, Moment, Person, Request, Verdict, Vote, VoteRefusal
from callgate.approvals.notify.notifiers import Fate, Notifiers
from callgate.approvals.notify.outbox import NoticeLimits
from callgate.approvals.notify.target import Target
from callgate.approvals.sqlite_store import SqliteStore
from callgate.approvals.store_thread import StoreThread
from callgate.policy.approval import Approval

SITE: Final = "https://gate.acme.test:8444"
CALLER: Final = "spiffe://acme.test/ns/billing/sa/agent"
CANARY: Final = "canary-4111111111111111"
KEY: Final = bytes(range(32))
LEADS: Final = Approval("refunds-over-500", frozenset({"payments-leads"}), frozenset())
ALICE: Final = Person("alice@acme.test", frozenset({"payments-leads"}), Means.OIDC, 1_700_000_000.0)
# Looks so often that nothing waits for it.
QUICK: Final = NoticeLimits(poll_s=0.02, tell_s=5.0)


@dataclass
class Clock:
    """Both clocks of a machine; a test sets them forward."""

    wall: float = 1_700_000_000.0
    boot: str = "0000"

    def moment(self) -> Moment:
        return Moment(self.wall, self.boot, self.wall - 1_699_000_000.0)


def ask_of(tool: str = "refund", approval: Approval = LEADS, **changes: object) -> Ask:
    """A call whose every argument is a canary."""
    binding = Binding(CALLER, "payments", tool, "0" * 64, "1" * 64, "policy-1")
    ask = Ask(binding, {"card": CANARY}, (approval,), definition=f'{{"name": "{CANARY}"}}', found=(CANARY,))
    return replace(ask, **changes)  # type: ignore[arg-type]


@dataclass
class NotifiedDesk:
    """One process: its desk, its store, and what it tells people."""

    desk: Desk
    store: StoreThread
    notifiers: Notifiers
    clock: Clock
    unreached: list[str]
    told: list[Happened] = field(default_factory=list)

    async def ask(self, tool: str = "refund", approval: Approval = LEADS, **changes: object) -> Request:
        found = await self.desk.ask(ask_of(tool, approval, **changes))
        assert isinstance(found, Request)
        return found

    async def say(
        self, request: Request, verdict: Verdict = Verdict.APPROVE, person: Person = ALICE, reason: str = ""
    ) -> Request | VoteRefusal:
        vote = Vote(person, verdict, reason, self.clock.wall)
        return await self.desk.answer(request.id, request.ask.binding.digest, vote)

    def count(self, target: str, fate: Fate) -> int:
        return self.notifiers.counts.get((target, fate), 0)

    async def counted(self, target: str, fate: Fate, times: int = 1) -> None:
        """Return once that became of so many notices."""
        await self.until(lambda: self.count(target, fate) >= times)

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Return once it is so; counts tell nobody that they grow."""
        while not is_so():  # noqa: ASYNC110  # as said
            await trio.sleep(0.005)

    async def noted(self, happened: Happened) -> bool:
        self.told.append(happened)
        await self.notifiers.tell(happened)
        return True


@asynccontextmanager
async def notified(
    folder: Path,
    clock: Clock,
    targets: Callable[[StoreThread], Sequence[Target]],
    *,
    limits: NoticeLimits = QUICK,
    delivers: bool = True,
) -> AsyncIterator[NotifiedDesk]:
    """`delivers`: whether what is told goes out, too."""
    store = StoreThread(SqliteStore(folder / "approvals.db", KEY), patience_s=20)
    unreached: list[str] = []
    notifiers = Notifiers(store, targets(store), SITE, clock.moment, unreached.append, limits)

    async def noted(_: Happened) -> bool:
        return True

    async def told(happened: Happened) -> None:
        await found.noted(happened)

    desk = Desk(store, clock.moment, lambda: "policy-1", noted, told, lambda: os.urandom(16).hex())
    found = NotifiedDesk(desk, store, notifiers, clock, unreached)
    async with trio.open_nursery() as nursery:
        await nursery.start(store.run)
        if delivers:
            nursery.start_soon(notifiers.run)
        yield found
        nursery.cancel_scope.cancel()
