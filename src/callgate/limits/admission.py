"""Is there room for one more call?  All that limits it says yes, and then all of it counts it, or nothing does.

The rates of a tool server and the limits of grants are about `tools/call`; every request to a tool server takes one of
its places and goes by its breaker.  Nothing here awaits: between the question and the count, nothing else happens.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from callgate.errors import Reason, Refusal
from callgate.identity.spiffe_id import SpiffeId
from callgate.limits.breaker import Breaker, BreakerLimits, Passage
from callgate.limits.rates import Gcra, Rate, WindowLog
from callgate.policy.call import Call
from callgate.policy.limit import Limit

# A tool server that answers in 100 ms then serves 2 560 calls a second; one that hangs cannot take all of the gate.
DEFAULT_MAX_CONCURRENT: Final = 256
_EVERYBODY: Final = ""
# Before any clock.
NEVER: Final = float("-inf")
_NO_ROOM: Final = "; there is no room to count another caller or tool"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerLimits:
    """What one tool server takes; None: no such limit.  `rate` is of all workloads together."""

    rate: Rate | None = None
    rate_per_workload: Rate | None = None
    max_concurrent: int = DEFAULT_MAX_CONCURRENT
    max_concurrent_per_workload: int | None = None
    breaker: BreakerLimits | None = field(default_factory=BreakerLimits)


@dataclass(frozen=True, slots=True)
class _Want:
    """What a call lacks, in an operator's words, and for how many seconds at least."""

    what: str
    wait_s: float


class _Server:
    """What is counted for one tool server."""

    def __init__(self, name: str, limits: ServerLimits) -> None:
        self.name: Final = name
        self.limits: Final = limits
        self.in_flight = 0
        self._places: Counter[SpiffeId] = Counter()
        self.breaker: Final = Breaker(limits.breaker) if limits.breaker else None
        rates = (("rate", limits.rate), ("rate_per_workload", limits.rate_per_workload))
        self._rates: Final = tuple(
            (f"{key} of server {name}: {rate.calls} in {rate.per_s} s, {rate.burst} at once", Gcra(rate), key != "rate")
            for key, rate in rates
            if rate is not None
        )

    def refusal(self, caller: SpiffeId, now: float) -> Refusal | None:
        """Why no request at all can go there now."""
        if self.breaker is not None and (wait_s := self.breaker.wait(now, caller)):
            return _refusal(Reason.UPSTREAM_BREAKER_OPEN, _Want(f"server {self.name} failed too often", wait_s))
        if self.in_flight >= self.limits.max_concurrent:
            detail = f"max_concurrent of server {self.name}: {self.limits.max_concurrent}"
            return Refusal(Reason.TOO_MANY_CALLS, detail)
        share = self.limits.max_concurrent_per_workload
        if share is not None and self._places[caller] >= share:
            return Refusal(Reason.TOO_MANY_CALLS, f"max_concurrent_per_workload of server {self.name}: {share}")
        return None

    def occupy(self, caller: SpiffeId) -> None:
        """Take a place."""
        self.in_flight += 1
        self._places[caller] += 1

    def vacate(self, caller: SpiffeId) -> None:
        """Give it back."""
        self.in_flight -= 1
        self._places[caller] -= 1
        if not self._places[caller]:
            del self._places[caller]

    def wants(self, caller: SpiffeId, now: float) -> Iterator[_Want]:
        """Which rates stand in the way."""
        for words, gcra, per_workload in self._rates:
            key = caller if per_workload else _EVERYBODY
            if wait_s := gcra.wait(key, now):
                yield _Want(words if key in gcra else words + _NO_ROOM, wait_s)

    def charge(self, caller: SpiffeId, now: float) -> None:
        """Count one call under each rate."""
        for _, gcra, per_workload in self._rates:
            gcra.charge(caller if per_workload else _EVERYBODY, now)


class _SteadyClock:
    """Goes on where a clock is set back: whoever waits for a limit does not wait for the clock to catch up, too."""

    def __init__(self) -> None:
        self._last = NEVER
        self._behind_s = 0.0

    def at(self, now: float) -> float:
        """The steady time at `now`; it never goes back."""
        if now < self._last:
            self._behind_s += self._last - now
        self._last = now
        return now + self._behind_s


@dataclass(slots=True)
class Slot:
    """One of a tool server's places.  Whoever is given one gives it back, however the call ends."""

    _server: _Server
    _passage: Passage | None
    _caller: SpiffeId
    _clock: _SteadyClock
    _released: bool = field(default=False, init=False)

    def release(self, *, failed: bool | None, now: float, own_doing: bool = False) -> None:
        """Give the place back; only the first time counts.

        `failed`: whether the tool server did; None where the call tells nothing of it, for instance if it was
        cancelled or never sent.  `own_doing`: the failure may be the call's own, such as one that takes too long.
        """
        if self._released:
            return
        self._released = True
        self._server.vacate(self._caller)
        if self._server.breaker is not None and self._passage is not None:
            by = self._caller if own_doing else None
            self._server.breaker.leave(self._passage, failed=failed, now=self._clock.at(now), by=by)


class Admission:
    """The limits of all tool servers and grants.  For one thread."""

    def __init__(self, servers: Mapping[str, ServerLimits]) -> None:
        self._servers: Final = MappingProxyType({name: _Server(name, limits) for name, limits in servers.items()})
        self._log: Final = WindowLog()
        self._clock: Final = _SteadyClock()

    def admit(self, call: Call, limits: tuple[Limit, ...], now: float) -> Slot | Refusal:
        """A place for this call, or why there is none; then nothing was counted.

        `limits` are those of the grants that allow it.  `call.server` is one that this was made with, else KeyError.
        """
        server = self._servers[call.server]
        now = self._clock.at(now)
        if refusal := server.refusal(call.caller, now):
            return refusal
        if call.tool is not None:
            wants = [*server.wants(call.caller, now), *self._wants(call.caller, call.tool, limits, now)]
            if wants:
                return _refusal(Reason.RATE_LIMITED, _longest(wants))
            server.charge(call.caller, now)
            self._log.charge(call.caller, call.tool, limits, now)
        server.occupy(call.caller)
        passage = server.breaker.enter(now, call.caller) if server.breaker else None
        return Slot(server, passage, call.caller, self._clock)

    def beside(self, call: Call) -> Slot:
        """A place whatever the limits are: for what the gate itself asks a server so that it can let a call pass that
        has a place already.  Otherwise the last place, or a breaker's one trial, would wait for itself.
        """
        server = self._servers[call.server]
        server.occupy(call.caller)
        return Slot(server, None, call.caller, self._clock)

    def _wants(self, caller: SpiffeId, tool: str, limits: tuple[Limit, ...], now: float) -> Iterator[_Want]:
        lack = self._log.lack(caller, tool, limits, now) if limits else None
        if lack is not None:
            words = f"limit of grant {lack.limit.rule}: {lack.limit.calls} in {lack.limit.per_s} s"
            yield _Want(words if lack.counted else words + _NO_ROOM, lack.wait_s)


def _longest(wants: Iterable[_Want]) -> _Want:
    return max(wants, key=lambda want: want.wait_s)


def _refusal(reason: Reason, want: _Want) -> Refusal:
    # Rounded up: a caller that comes back then must not be a moment too early.
    return Refusal(reason, want.what, MappingProxyType({"retry_after_ms": int(want.wait_s * 1000) + 1}))
