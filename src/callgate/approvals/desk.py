"""Where calls wait for people, and people's answers come in: one for a gate, over a store that others may share.

What counts is what the store says.  This process only remembers who waits here, and looks several times a second
whether another one has changed something.
"""

from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final, TypeVar
from weakref import WeakValueDictionary

import trio

from callgate.approvals.happened import Happened, Happening
from callgate.approvals.model import (
    Ask,
    Deadline,
    Moment,
    Person,
    Request,
    State,
    Verdict,
    Vote,
    VoteRefusal,
    asked_again,
    keys_of,
    looked_at,
    new_request,
    settled,
    used_once,
    voted,
)
from callgate.approvals.store import Store, StoreFault, TooMany
from callgate.approvals.store_thread import StoreThread
from callgate.errors import Reason, Refusal

T = TypeVar("T")

# What another process decided is known here after as long; nobody notices that beside a person's own time.
_LOOK_S: Final = 0.2
_FORGET_S: Final = 60.0
# Who looked is of interest for the first of them; a page that is open with more people is a meeting.
_MAX_SEEN: Final = 32
# More than any page shows; `max_waiting` bounds what can be open.
_MAX_LISTED: Final = 100_000

# Ended at once: some 0.1 s, or 2 s with the longest arguments, in which the store does nothing else.
_MAX_SWEPT: Final = 100
# Other processes, and whoever only looks, can change a request between reading and saving it.
_MAX_RACES: Final = 8

_ENDS: Final = {State.EXPIRED: Happening.EXPIRED, State.VOID: Happening.VOID}


@dataclass(frozen=True, slots=True)
class DeskLimits:
    """How many calls may wait, and for how long (seconds) a denied one is denied again, and what ended is kept."""

    max_waiting: int = 10_000
    max_waiting_per_workload: int = 20
    cool_down_s: float = 300.0
    keep_s: float = 24 * 3600.0


@dataclass(slots=True)
class _Watch:
    """Calls of this process that wait for one request."""

    calls: int = 0
    found: Request | None = None
    news: trio.Event = field(default_factory=trio.Event)

    @property
    def revision(self) -> int | None:
        """Of what was found last."""
        return self.found.revision if self.found else None

    def tell(self) -> None:
        """Wake all of them."""
        self.news.set()
        self.news = trio.Event()


class Desk:
    """`run` it in a nursery.  Every method that asks the store raises StoreFault where that fails."""

    def __init__(
        self,
        store: StoreThread,
        moment: Callable[[], Moment],
        policy: Callable[[], str],
        noted: Callable[[Happened], Awaitable[bool]],
        told: Callable[[Happened], Awaitable[None]],
        new_id: Callable[[], str],
        limits: DeskLimits | None = None,
    ) -> None:
        """`policy`: the digest of the one in force.  `noted`: puts it on record; whether that was done.  `told`: tells others."""
        self._store = store
        self._moment = moment
        self._policy = policy
        self._noted = noted
        self._told = told
        # Answers to one request come one after the other: what is recorded of each is then what it comes to.
        self._answering: WeakValueDictionary[str, trio.Lock] = WeakValueDictionary()
        self._new_id = new_id
        self._limits = limits or DeskLimits()
        self._watches: dict[str, _Watch] = {}
        # When workloads were denied, as long as that counts.
        self._denials: dict[str, deque[Moment]] = {}
        # Those that are open, as far as this process knows: when they end, and under which policy they were asked for.
        self._open: dict[str, tuple[Deadline, str]] = {}
        self._version = 0
        # Changes by this process, counted in the store's thread, and by others as they were last looked at.
        self._own_changes = 0
        self._others_version: int | None = None
        self._changed = trio.Event()
        self._closing = False
        # How many requests wait for an answer, whoever asked; a fifth of a second old at most.
        self.waiting = 0

    @property
    def version(self) -> int:
        """Another number after each change."""
        return self._version

    async def changed(self, since: int) -> int:
        """Wait for another version than `since`."""
        while self._version == since:
            await self._changed.wait()
        return self._version

    def left_s(self, request: Request) -> float:
        """How long a request still stands, in seconds."""
        return request.deadline.left_s(self._moment()) if request.is_open else 0.0

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Notice what ends and what other processes do, until cancelled."""
        await self._begin()
        task_status.started()
        forget_at = 0.0
        while True:
            try:
                await self._look()
                await self._sweep()
                if trio.current_time() >= forget_at:
                    forget_at = trio.current_time() + _FORGET_S
                    await self._forget()
            except StoreFault:
                # The store's own state tells readiness; calls that need it are refused meanwhile.
                pass
            await trio.sleep(_LOOK_S)

    def close(self) -> None:
        """The gate stops: calls that wait are told to come back."""
        self._closing = True
        for watch in self._watches.values():
            watch.tell()

    # For the gate.

    async def ask(self, ask: Ask) -> Request | Refusal:
        """The request that decides on this call: an approval that is there, one that waits already, or a new one.

        Also a denial of the same call that has not cooled down.
        """
        now, policy = self._moment(), self._policy()
        new = new_request(self._new_id(), ask, now)
        keys = keys_of(ask.binding, ask.arguments, ask.approvals)
        found, over = await self._do(lambda store: self._found_or_added(store, new, keys, policy))
        for request in over:
            self._news_of(request)
            await self._tell(self._happened(_ENDS[request.state], request))
        if isinstance(found, TooMany):
            whose = "of this workload wait" if found.by_workload else "wait"
            return Refusal(Reason.TOO_MANY_APPROVALS, f"too many requests {whose} for a person")
        if found is new:
            self._news_of(found)
            await self._tell(self._happened(Happening.ASKED, found, decision=ask.decision, trace=ask.trace))
        return found

    async def wait(self, id_: str, beat: Callable[[], Awaitable[None]] | None = None, every_s: float = 10.0) -> Request:
        """The request once it waits no longer; as it is where the gate stops.  Calls `beat` every so many seconds."""
        watch = self._watches.setdefault(id_, _Watch())
        watch.calls += 1
        try:
            self._wake(id_, await self._do(lambda store: store.load(id_)))
            while watch.found is not None and watch.found.state is State.WAITING and not self._closing:
                news = watch.news
                with trio.move_on_after(every_s) as scope:
                    await news.wait()
                if scope.cancelled_caught and beat is not None:
                    await beat()
            if watch.found is None:
                raise StoreFault("the request is not there any more")
            return watch.found
        finally:
            watch.calls -= 1
            if not watch.calls:
                self._watches.pop(id_, None)

    async def use(self, id_: str, decision: str, trace: str) -> Request | None:
        """Let one call through, durably; None where the request lets none through any more."""

        def step(store: Store) -> Request | None:
            request = store.load(id_)
            # At the moment at which it is done, and not at that at which it was wanted.
            after = used_once(request, self._moment(), self._policy()) if request is not None else None
            return after if after is not None and self._saved(store, after) else None

        # Not between an answer's record and its effect: what is on record would not be what happened.
        async with self._turn(id_):
            used = await self._do(step)
        if used is not None:
            self._news_of(used)
            await self._tell(self._happened(Happening.USED, used, decision=decision, trace=trace))
        return used

    # For people.

    async def listed(self, *, is_open: bool, limit: int = 1000) -> tuple[Request, ...]:
        """The open ones, the oldest first, or those that ended, the newest first; without arguments and definitions."""
        now, policy = self._moment(), self._policy()
        found = await self._do(lambda store: store.listed(is_open=is_open, limit=limit))
        return tuple(request for request in found if not is_open or settled(request, now, policy) is request)

    async def opened(self, id_: str, person: Person | None) -> Request | None:
        """One request, whole, as it stands now.  That `person` looked at it is noted once."""
        now, policy = self._moment(), self._policy()

        def step(store: Store) -> tuple[Request | None, bool]:
            request = store.load(id_)
            if request is None:
                return None, False
            request = settled(request, now, policy)
            if person is None or not request.is_open or not _is_new_to(request, person):
                return request, False
            after = looked_at(request, person.name)
            return (after, True) if self._saved(store, after) else (request, False)

        request, is_news = await self._do(step)
        if request is not None and is_news and person is not None:
            self._news_of(request)
            await self._tell(self._happened(Happening.SEEN, request, person=person.name))
        return request

    async def answer(self, id_: str, binding: str, vote: Vote) -> Request | VoteRefusal:
        """What somebody says to the request whose binding they saw.  It is on record before it counts."""
        async with self._turn(id_):
            # Whoever goes away after that has answered all the same; log and store have bounds of their own.
            with trio.CancelScope(shield=True):
                found = await self._answered(id_, binding, vote)
        if isinstance(found, Request):
            if found.state is State.DENIED and found.ended is not None:
                # No more than may wait at once: further ones are not asked for before the first has cooled down.
                most = self._limits.max_waiting_per_workload
                self._denials.setdefault(found.ask.binding.caller, deque(maxlen=most)).append(found.ended)
            self._news_of(found)
            await self._told(self._happened(_happening(found, vote), found, vote=vote))
        return found

    def _turn(self, id_: str) -> trio.Lock:
        """Whoever answers or uses a request has it for itself meanwhile, in this process."""
        return self._answering.setdefault(id_, trio.Lock())

    async def _answered(self, id_: str, binding: str, vote: Vote) -> Request | VoteRefusal:
        recorded: Happening | None = None
        for _ in range(_MAX_RACES):
            request = await self._do(lambda store: store.load(id_))
            if request is None:
                return VoteRefusal.UNKNOWN
            if binding != request.ask.binding.digest:
                return VoteRefusal.BINDING_MISMATCH
            after = voted(request, vote, self._moment(), self._policy())
            if isinstance(after, VoteRefusal):
                return after
            happening = _happening(after, vote)
            if happening is not recorded and not await self._noted(self._happened(happening, after, vote=vote)):
                return VoteRefusal.UNAVAILABLE
            recorded = happening
            found = await self._do(partial(self._kept, id_, vote, happening))
            if found is not None:
                return found
        return VoteRefusal.UNAVAILABLE

    def _kept(self, id_: str, vote: Vote, recorded: Happening, store: Store) -> Request | VoteRefusal | None:
        """In the store's thread: the answer, kept.  None where it came to something else than what is on record.

        From what the store holds now: an agent that asks again and again changes the request each time, and must not
        keep people from answering by that.
        """
        request = store.load(id_)
        if request is None:
            return VoteRefusal.UNKNOWN
        after = voted(request, vote, self._moment(), self._policy())
        if isinstance(after, VoteRefusal):
            return after
        return after if _happening(after, vote) is recorded and self._saved(store, after) else None

    # How it goes on by itself.

    async def _do(self, step: Callable[[Store], T]) -> T:
        """One step of the store.  Raises StoreFault."""
        try:
            return await self._store.do(step)
        except (StoreFault, trio.Cancelled):
            # It may have been taken all the same: everything is looked at again.
            self._others_version = None
            raise

    def _found_or_added(
        self, store: Store, new: Request, keys: tuple[str, ...], policy: str
    ) -> tuple[Request | TooMany, list[Request]]:
        """The request for this call, and those that were found to be over."""
        now = new.asked
        found = store.found(keys)
        over = [
            after for each in found if (after := settled(each, now, policy)) is not each and self._saved(store, after)
        ]
        kept = [each for each in found if settled(each, now, policy) is each]
        for request in kept:
            if request.state is State.APPROVED:
                return request, over
        for request in kept:
            if request.state is State.WAITING and request.key == new.key:
                again = asked_again(request)
                return (again if self._saved(store, again) else request), over
            if request.state is State.DENIED and request.key == new.key and self._is_warm(request, now):
                return request, over
        # Who was denied and asks for something a little different wears people down as well.
        room = self._limits.max_waiting_per_workload - self._warm_denials(new.ask.binding.caller, now)
        added = store.add(new, self._limits.max_waiting, room) if room > 0 else TooMany(by_workload=True)
        self._own_changes += added is new
        return added, over

    def _warm_denials(self, caller: str, now: Moment) -> int:
        """How many of the workload's requests were denied here and have not cooled down."""
        denials = self._denials.get(caller)
        while denials and Deadline(denials[0], self._limits.cool_down_s).passed(now):
            denials.popleft()
        if denials is not None and not denials:
            del self._denials[caller]
        return len(denials or ())

    def _is_warm(self, denied: Request, now: Moment) -> bool:
        return denied.ended is not None and not Deadline(denied.ended, self._limits.cool_down_s).passed(now)

    async def _look(self) -> None:
        """Whether another process changed something, and what of it calls wait for here."""
        version, own, self.waiting = await self._do(lambda store: (store.version(), self._own_changes, store.waiting()))
        if version - own == self._others_version:
            return
        listed = await self._do(lambda store: store.listed(is_open=True, limit=_MAX_LISTED))
        self._open = {request.id: (request.deadline, request.ask.binding.policy) for request in listed}
        revisions = {request.id: request.revision for request in listed}
        ids = [id_ for id_, watch in self._watches.items() if watch.revision != revisions.get(id_)]
        for id_, request in zip(ids, await self._do(lambda store: [*map(store.load, ids)]), strict=True):
            self._wake(id_, request)
        self._others_version = version - own
        self._bump()

    async def _sweep(self) -> None:
        """End what is over, and say so."""
        now, policy = self._moment(), self._policy()
        over = [id_ for id_, (deadline, asked) in self._open.items() if asked != policy or deadline.passed(now)]
        if not over:
            return

        for begin in range(0, len(over), _MAX_SWEPT):
            await self._end(over[begin : begin + _MAX_SWEPT], now, policy)

    async def _end(self, over: list[str], now: Moment, policy: str) -> None:
        def step(store: Store) -> list[Request]:
            whole = [request for id_ in over if (request := store.load(id_)) is not None]
            ended = [after for each in whole if (after := settled(each, now, policy)) is not each]
            return [after for after in ended if self._saved(store, after)]

        for request in await self._do(step):
            self._news_of(request)
            await self._tell(self._happened(_ENDS[request.state], request))
        for id_ in over:
            self._open.pop(id_, None)

    async def _begin(self) -> None:
        """Where the clock was set back while nobody looked, nothing that was open is as young as it looks."""
        now = self._moment()

        def step(store: Store) -> list[Request]:
            if store.began(now):
                return []
            whole = [store.load(each.id) for each in store.listed(is_open=True, limit=_MAX_LISTED)]
            ended = [_void(each, now) for each in whole if each is not None]
            return [each for each in ended if self._saved(store, each)]

        for request in await self._do(step):
            await self._tell(self._happened(Happening.VOID, request))

    def _saved(self, store: Store, request: Request) -> bool:
        """Keep a change; in the store's thread.  Counted, so that it is told from what other processes do."""
        is_kept = store.save(request)
        self._own_changes += is_kept
        return is_kept

    async def _forget(self) -> None:
        now = self._moment()

        def step(store: Store) -> None:
            self._own_changes += store.forget(now.wall - self._limits.keep_s, now)

        await self._do(step)

    def _news_of(self, request: Request) -> None:
        if request.is_open:
            self._open[request.id] = (request.deadline, request.ask.binding.policy)
        else:
            self._open.pop(request.id, None)
        self._wake(request.id, request)
        self._bump()

    def _wake(self, id_: str, request: Request | None) -> None:
        watch = self._watches.get(id_)
        # What was read a moment ago may come in after news of a moment later.
        is_old = watch is not None and watch.found and request and request.revision < watch.found.revision
        if watch is not None and not is_old:
            watch.found = request
            watch.tell()

    def _bump(self) -> None:
        self._version += 1
        self._changed.set()
        self._changed = trio.Event()

    async def _tell(self, happened: Happened) -> None:
        # It has happened, whoever goes away now; log and outbox have bounds of their own.
        with trio.CancelScope(shield=True):
            await self._noted(happened)
            await self._told(happened)

    def _happened(
        self,
        happening: Happening,
        request: Request,
        *,
        vote: Vote | None = None,
        person: str = "",
        decision: str = "",
        trace: str = "",
    ) -> Happened:
        return Happened(happening, request, self._moment().wall, vote, person, decision, trace)


def _is_new_to(request: Request, person: Person) -> bool:
    return person.name not in request.seen and len(request.seen) < _MAX_SEEN


def _happening(request: Request, vote: Vote) -> Happening:
    if vote.verdict is Verdict.DENY:
        return Happening.DENIED
    return Happening.APPROVED if request.state is State.APPROVED else Happening.AGREED


def _void(request: Request, now: Moment) -> Request:
    return replace(request, state=State.VOID, ended=now, revision=request.revision + 1)
