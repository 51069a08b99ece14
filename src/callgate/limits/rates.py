"""How often: a steady rate (`Gcra`), and no more than so many in any window (`WindowLog`).

Both count exactly, in whole nanoseconds.  `now` is in seconds of any clock; one that steps back never lets more through
than one that stands still.
"""

from array import array
from collections.abc import Collection, Hashable
from dataclasses import dataclass
from typing import Final

from callgate.identity.spiffe_id import SpiffeId
from callgate.limits.table import Key, Table
from callgate.policy.limit import Limit

NS_PER_S: Final = 1_000_000_000
# Workloads that call one tool server at about the same time, and some MiB at the very most.
MAX_KEYS: Final = 16_384
# Grants with a limit times tools that one workload calls within the window: it cannot use up the room of others.
MAX_KEYS_OF_WORKLOAD: Final = 256


def nanoseconds(now: float) -> int:
    """`now` in whole nanoseconds, rounded down.

    The seconds apart from their fraction: a product of both has 256 ns for its last digit.
    """
    seconds = int(now)
    return seconds * NS_PER_S + int((now - seconds) * NS_PER_S)


@dataclass(frozen=True, slots=True)
class Rate:
    """`calls` in `per_s` seconds, evenly spread, but for `burst` of them that may come at once.

    In any W seconds that is at most burst + W * calls / per_s.
    """

    calls: int
    per_s: int
    burst: int


class Gcra:
    """The Generic Cell Rate Algorithm of ITU-T I.371, as a virtual schedule: for each key, one moment is kept.

    That is the theoretical arrival time: when the next call would come if all came evenly.  A call conforms unless it
    is ahead of it by more than the tolerance.  A tick is a `calls`-th of a nanosecond, so that the interval between two
    calls is a whole number of them.
    """

    def __init__(self, rate: Rate, max_keys: int = MAX_KEYS) -> None:
        self._ticks_per_ns: Final = rate.calls
        self._interval: Final = rate.per_s * NS_PER_S
        self._tolerance: Final = self._interval * (rate.burst - 1)
        self._arrivals: Table[int] = Table(int, max_keys, max_keys)

    def __contains__(self, key: Hashable) -> bool:
        return (key,) in self._arrivals

    def wait(self, key: Hashable, now: float) -> float:
        """Seconds until a call of `key` can conform; 0.0 if it does now.

        Above 0.0 for a `key` that is not in here: there is no room for another.
        """
        at = self._ticks(now)
        arrival = self._arrivals.get((key,))
        ticks = self._arrivals.wait([(key,)], at) if arrival is None else max(0, arrival - self._tolerance - at)
        return ticks / (self._ticks_per_ns * NS_PER_S)

    def charge(self, key: Hashable, now: float) -> None:
        """Count a call for which there was nothing to `wait`."""
        at = self._ticks(now)
        self._arrivals.put((key,), max(at, self._arrivals.get((key,)) or at) + self._interval)

    def take(self, key: Hashable, now: float) -> float:
        """Count a call and return 0.0, or count nothing and return how many seconds there are to wait."""
        wait_s = self.wait(key, now)
        if not wait_s:
            self.charge(key, now)
        return wait_s

    def _ticks(self, now: float) -> int:
        return nanoseconds(now) * self._ticks_per_ns


@dataclass(frozen=True, slots=True)
class Lack:
    """What stands in the way, and for how many seconds at least.  `counted` is false where there is no room to count."""

    limit: Limit
    wait_s: float
    counted: bool


@dataclass(slots=True)
class _Window:
    """The last calls in order, no more than the limit allows, in nanoseconds."""

    times: "array[int]"
    length: int

    @property
    def expires(self) -> int:
        return self.times[-1] + self.length


class WindowLog:
    """The `limit` of grants: of each workload and tool, the times of the last calls are kept, and none is guessed.

    A window is half-open: a call exactly `per_s` seconds after another is not in one window with it.  Where a reload
    changes a limit, the calls that were kept under the old one count.  MAX_KEYS lists of 1 000 times are 128 MiB.
    """

    def __init__(self, max_keys: int = MAX_KEYS, max_of_workload: int = MAX_KEYS_OF_WORKLOAD) -> None:
        self._windows: Table[_Window] = Table(lambda window: window.expires, max_keys, max_of_workload)

    def lack(self, caller: SpiffeId, tool: str, limits: Collection[Limit], now: float) -> Lack | None:
        """The limit with the longest wait, or None if all of them have room for one more call."""
        at = nanoseconds(now)
        keys = {limit: _key(caller, tool, limit) for limit in limits}
        waits = [Lack(limit, self._wait(key, limit, at) / NS_PER_S, counted=True) for limit, key in keys.items()]
        if no_room := self._windows.wait(keys.values(), at):
            waits += [Lack(limit, no_room / NS_PER_S, False) for limit, key in keys.items() if key not in self._windows]
        longest = max(waits, key=lambda lack: lack.wait_s, default=None)
        return longest if longest is not None and longest.wait_s else None

    def charge(self, caller: SpiffeId, tool: str, limits: Collection[Limit], now: float) -> None:
        """Count a call that nothing was lacking for."""
        for limit in limits:
            self._add(_key(caller, tool, limit), limit, nanoseconds(now))

    def take(self, caller: SpiffeId, tool: str, limits: Collection[Limit], now: float) -> Lack | None:
        """Count a call under all limits, or under none and say what is lacking."""
        lack = self.lack(caller, tool, limits, now)
        if lack is None:
            self.charge(caller, tool, limits, now)
        return lack

    def _wait(self, key: Key, limit: Limit, at: int) -> int:
        window = self._windows.get(key)
        if window is None or len(window.times) < limit.calls:
            return 0
        return max(0, window.times[-limit.calls] + limit.per_s * NS_PER_S - at)

    def _add(self, key: Key, limit: Limit, at: int) -> None:
        window = self._windows.get(key) or _Window(array("q"), 0)
        window.length = limit.per_s * NS_PER_S
        window.times.append(max(at, window.times[-1]) if window.times else at)
        del window.times[: -limit.calls]
        self._windows.put(key, window)


def _key(caller: SpiffeId, tool: str, limit: Limit) -> Key:
    return (caller, limit.rule, tool)
