"""The newest checkpoint leaves the machine: a chain whose head lies only beside it proves nothing about its end.

Each place is followed by a task of its own: one that is dead, slow or hung keeps no other waiting, and no call.  What
counts is the newest checkpoint, for it vouches for all records before it: one that was not sent in time is left out.
"""

import logging
import ssl
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

import trio

from callgate.audit.anchor_places import CollectorPlace, Delivery, Head, Place, place_of_target
from callgate.errors import place_of
from callgate.identity.source import jittered_s
from callgate.telemetry.log_events import CheckpointEvents, LogEvent, outage_event, recovered_event
from callgate.telemetry.visible import without_credentials

_LOG = logging.getLogger(__name__)
_PROBLEM_MAX_CHARS = 200
# Of `close_s`, what is left for a request that hangs to be broken off.
_SHUTDOWN_S = 0.25


@dataclass(frozen=True, slots=True)
class AnchorLimits:
    """How often, and how patiently.

    `every_s`: a busy log makes many checkpoints a second, and the place has to keep each that it gets.  `attempt_s`: a
    file or URL that takes longer is counted as one that does not answer.  `retry_first_s` to `retry_max_s`: after a failure,
    doubling.  `refused_s`: after a collector said that it takes no logs; who sets it up for them meanwhile gets them
    within the hour.  `complain_s`: a place that comes and goes fills no log with it.  `close_s`: for the last one, all
    places at once, because a stopping gate is waited for.
    """

    every_s: float = 1.0
    attempt_s: float = 10.0
    retry_first_s: float = 1.0
    retry_max_s: float = 60.0
    refused_s: float = 3600.0
    complain_s: float = 60.0
    close_s: float = 2.0


@dataclass(slots=True)
class PlaceState:
    """How it stands with one place, as of now.

    `size`: of the last checkpoint that it has, 0 for none.  `problem`: why the last attempt failed, in a short sentence;
    "" while all is well.  `behind_since_ns`: when the first checkpoint was made that it lacks, in Unix nanoseconds; 0
    where it has the newest.  `refused`: it takes none at all, as a collector for
    traces alone.
    """

    name: str
    size: int = 0
    problem: str = ""
    behind_since_ns: int = 0
    refused: bool = False


@dataclass(slots=True)
class _Way:
    """A place, what it has, and how it went last."""

    place: Place
    state: PlaceState
    sent: Head | None = None
    failures: int = 0
    # By trio's clock, when the log last had a line about it; and whether the failure that goes on has one.
    said_at: float = float("-inf")
    is_said: bool = False
    # One delivery at a time, also at the end.
    delivering: trio.Lock = field(default_factory=trio.Lock)


class Anchors:
    """Brings checkpoints to places outside.  `offer`, `outage`, `recovered` and what is read may be on any thread."""

    def __init__(
        self,
        targets: Sequence[str],
        otlp: CheckpointEvents | None = None,
        *,
        limits: AnchorLimits | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """`targets`: paths, and http or https URLs.  `tls`: whom to trust at URLs; None: the system's certificates."""
        self._limits = limits or AnchorLimits()
        self._collector = CollectorPlace(otlp) if otlp else None
        places: list[Place] = [place_of_target(target, self._limits.attempt_s, tls) for target in targets]
        if self._collector:
            places.append(self._collector)
        self._ways = tuple(
            _Way(place, PlaceState(name)) for place, name in zip(places, _told_apart(places), strict=True)
        )
        self._newest: Head | None = None
        self._changing = threading.Lock()
        self._changed = trio.Event()
        self._token: trio.lowlevel.TrioToken | None = None
        self._running = trio.CancelScope()
        self._is_closed = False

    @property
    def states(self) -> tuple[PlaceState, ...]:
        """Of each place, in the order of the configuration, the collector last."""
        return tuple(way.state for way in self._ways)

    @property
    def notes(self) -> tuple[str, ...]:
        """What is wrong, for readiness: one sentence for each place that checkpoints do not reach."""
        return tuple(
            f"checkpoints of the log do not reach {state.name} since {_second(state.behind_since_ns)}: {state.problem}"
            for state in self.states
            if state.problem and state.behind_since_ns and not state.refused
        )

    def ages(self, now_ns: int) -> Mapping[str, float]:
        """For how many seconds each place has lacked the newest checkpoint; 0 where it has it."""
        since = {state.name: state.behind_since_ns for state in self.states if not state.refused}
        return {name: max(now_ns - when, 0) / 1e9 if when else 0.0 for name, when in since.items()}

    def offer(self, note: str, size: int, at_ns: int) -> None:
        """The newest checkpoint: it replaces what was not sent yet.  Never waits and never raises."""
        head = Head(note, size, at_ns)
        with self._changing:
            self._newest = head
            for way in self._ways:
                way.state.behind_since_ns = way.state.behind_since_ns or at_ns
        self._wake_up()

    def outage(self, error: str, at_ns: int) -> None:
        """Records cannot be written since then; `error` as in the log.  Never waits and never raises."""
        self._tell(outage_event(error, at_ns))

    def recovered(self, since_ns: int, at_ns: int) -> None:
        """The outage that began then is over.  Never waits and never raises."""
        self._tell(recovered_event(since_ns, at_ns))

    async def run(self) -> None:
        """Deliver until `close`.  Raises nothing but what cancels it; returns at once where there is no place."""
        self._token = trio.lowlevel.current_trio_token()
        with self._running:
            async with trio.open_nursery() as nursery:
                for way in self._ways:
                    nursery.start_soon(self._follow, way)

    async def close(self) -> None:
        """End `run`, and bring the last checkpoint wherever it is not yet: in `close_s` at most, cancelled or not."""
        if self._is_closed:
            return
        self._is_closed = True
        with trio.move_on_after(self._limits.close_s - _SHUTDOWN_S, shield=True):
            async with trio.open_nursery() as nursery:
                for way in self._ways:
                    if not way.state.refused:
                        nursery.start_soon(self._attempt, way)
        self._running.cancel()
        if self._collector:
            with trio.CancelScope(shield=True):
                await self._collector.shutdown()

    async def _follow(self, way: _Way) -> None:
        while True:
            while not self._lacks(way):
                await self._changed.wait()
            await self._attempt(way)
            await trio.sleep(self._pause_s(way))

    def _lacks(self, way: _Way) -> bool:
        return self._newest is not way.sent or way.place.has_more

    def _pause_s(self, way: _Way) -> float:
        limits = self._limits
        if way.state.refused:
            return limits.refused_s
        if not way.failures:
            return limits.every_s
        # From there on it is `retry_max_s`, and a power of two too large for a float is not asked for.
        doublings = min(way.failures - 1, 32)
        return jittered_s(min(limits.retry_first_s * 2.0**doublings, limits.retry_max_s))

    async def _attempt(self, way: _Way) -> None:
        """One delivery of what is newest, unless another task has brought it there meanwhile."""
        async with way.delivering:
            if self._lacks(way):
                await self._deliver(way)

    async def _deliver(self, way: _Way) -> None:
        head = self._newest
        delivery = await _delivered(way.place, head if head is not way.sent else None)
        state = way.state
        state.problem = without_credentials(delivery.problem, _PROBLEM_MAX_CHARS)
        if delivery.problem:
            way.failures += 1
        else:
            way.failures = 0
            self._reached(way, head)
        self._say(way, delivery)
        state.refused = delivery.refused

    def _reached(self, way: _Way, head: Head | None) -> None:
        if head is None or head is way.sent:
            return
        with self._changing:
            way.sent = head
            newest = self._newest
            way.state.behind_since_ns = 0 if newest is head or newest is None else newest.at_ns
        way.state.size = head.size

    def _say(self, way: _Way, delivery: Delivery) -> None:
        """A line where it begins to fail, and one where that is over."""
        state, now = way.state, trio.current_time()
        if not delivery.problem:
            if way.is_said:
                _LOG.info("checkpoints of the log reach %s again, up to record %d", state.name, state.size)
            way.is_said = False
        elif delivery.refused:
            if not state.refused:
                _LOG.info("%s takes no checkpoints of the log, and is sent none: %s", state.name, state.problem)
        elif not way.is_said and now - way.said_at >= self._limits.complain_s:
            way.is_said, way.said_at = True, now
            _LOG.warning("checkpoints of the log do not reach %s: %s", state.name, state.problem)

    def _tell(self, event: LogEvent) -> None:
        if self._collector:
            self._collector.tell(event)
            self._wake_up()

    def _wake_up(self) -> None:
        if self._token and not self._is_closed:
            # Trio has ended: there is nobody to wake.
            with suppress(trio.RunFinishedError):
                self._token.run_sync_soon(self._wake, idempotent=True)

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


async def _delivered(place: Place, head: Head | None) -> Delivery:
    try:
        return await place.deliver(head)
    except Exception as fault:  # noqa: BLE001  # the border of the task: no place may end the others, or the gate
        return Delivery(place_of(fault))


def _told_apart(places: Sequence[Place]) -> list[str]:
    """Their names; of two that are called alike, the second has a number."""
    seen: Counter[str] = Counter()
    names = []
    for place in places:
        seen[place.name] += 1
        names.append(f"{place.name} ({seen[place.name]})" if seen[place.name] > 1 else place.name)
    return names


def _second(at_ns: int) -> str:
    return datetime.fromtimestamp(at_ns // 10**9, UTC).isoformat(timespec="seconds")
