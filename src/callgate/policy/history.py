"""What each workload did, for conditions to ask: which tools it called, and how often it was denied.

A window of `window_s` seconds is half-open, `now - window_s < moment`: what happened exactly `window_s` ago is outside,
so that no more than N in a minute means N in any sixty seconds.  It has no upper end.  A clock that steps back makes
nothing disappear: moments that are ahead of it count, and what a workload does next is put no earlier than what it did
before.

Memory is bounded, and what was dropped is never taken for what did not happen: a question whose window reaches back to
something dropped raises `Forgotten`, unless what is kept answers it.  A restart of the gate begins with an empty
history.
"""

from array import array
from bisect import bisect_right
from collections import OrderedDict
from dataclasses import dataclass, field
from itertools import repeat
from operator import lt, sub
from typing import Final, TypeAlias

from callgate.errors import GatewayError
from callgate.identity.spiffe_id import SpiffeId
from callgate.policy.model import MAX_LIMIT_CALLS, MAX_WINDOW_S
from callgate.policy.patterns import ToolPattern
from callgate.policy.tags import ToolTags

Pair: TypeAlias = tuple[str, str]

NEVER: Final = float("-inf")
# A clock may step back by that much before a window of 24 h reaches what is no longer kept: beyond any correction of
# one that was about right, a wrong time zone's hour included.
STEP_BACK_S: Final = 3_600
MAX_CALL_AGE_S: Final = MAX_WINDOW_S + STEP_BACK_S
# A lockout that lasts 24 h may have begun with denials that are 24 h older still.
MAX_DENIAL_AGE_S: Final = 2 * MAX_WINDOW_S + STEP_BACK_S
# What a time, a pair and a workload weigh in bytes, beside the text of their names, with what lists and dicts hold in
# reserve; tests/unit/policy/test_history.py measures that a store is not heavier than its sum.
_TIME_BYTES: Final = 9
_PAIR_BYTES: Final = 400
_WORKLOAD_BYTES: Final = 1_100


class Forgotten(GatewayError):  # noqa: N818  # says what happened
    """The answer depends on what was dropped to keep memory bounded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryBounds:
    """How much is kept.

    The least recently active goes first.  `times` are those of one list: the calls of one tool by one workload, or its
    denials.  `total_bytes` is for everything together: without it, the other bounds would let 20 GB through.
    """

    workloads: int = 10_000
    pairs: int = 256
    times: int = MAX_LIMIT_CALLS
    total_bytes: int = 128 * 1024 * 1024


class Times:
    """Moments in order, and the newest of those that were dropped."""

    __slots__ = ("kept", "lost")

    def __init__(self, lost: float) -> None:
        self.kept = array("d")
        self.lost = lost

    def add(self, moment: float, at_most: int, since: float) -> int:
        """Put `moment` last, and drop what is not after `since`.  Returns by how many the list has grown."""
        before = len(self.kept)
        self.kept.append(moment)
        surplus = max(bisect_right(self.kept, since), len(self.kept) - at_most)
        if surplus > 0:
            self.lost = max(self.lost, self.kept[surplus - 1])
            del self.kept[:surplus]
        return len(self.kept) - before

    def after(self, start: float) -> int:
        """How many there are.  Raises Forgotten."""
        if self.lost > start:
            raise Forgotten
        return len(self.kept) - bisect_right(self.kept, start)


class Past:
    """What is kept of one workload.

    `lost` is the newest moment that is not kept of any pair without an entry, `newest` that of the last activity.
    """

    __slots__ = ("bytes", "denials", "lost", "newest", "pairs")

    def __init__(self, lost: float, weight: int = 0) -> None:
        # In the order of last use.
        self.pairs: dict[Pair, Times] = {}
        self.denials = Times(lost)
        self.lost = lost
        self.newest = NEVER
        self.bytes = weight

    def add_call(self, pair: Pair, bounds: HistoryBounds, now: float) -> int:
        """A call at `newest`.  Returns by how many bytes this has grown."""
        before, since = self.bytes, now - MAX_CALL_AGE_S
        times = self.pairs.pop(pair, None)
        if times is None:
            times = Times(self.lost)
            self.bytes += _PAIR_BYTES + len(pair[0]) + len(pair[1])
        self.pairs[pair] = times
        self.bytes += _TIME_BYTES * times.add(self.newest, bounds.times, since)
        self._drop_pairs(bounds.pairs, since)
        return self.bytes - before

    def add_denial(self, bounds: HistoryBounds, now: float) -> int:
        """A denial at `newest`.  Returns by how many bytes this has grown."""
        grown = _TIME_BYTES * self.denials.add(self.newest, bounds.times, now - MAX_DENIAL_AGE_S)
        self.bytes += grown
        return grown

    def _drop_pairs(self, at_most: int, since: float) -> None:
        while True:
            pair, times = next(iter(self.pairs.items()))
            if len(self.pairs) <= at_most and times.kept[-1] > since:
                return
            del self.pairs[pair]
            self.lost = max(self.lost, times.kept[-1])
            self.bytes -= _PAIR_BYTES + len(pair[0]) + len(pair[1]) + _TIME_BYTES * len(times.kept)


@dataclass(frozen=True, slots=True)
class WorkloadHistory:
    """What one workload did: a view, which sees what is recorded after it was made.

    Windows are in seconds, at most MAX_WINDOW_S; `now` is in Unix seconds.
    """

    history: "History"
    caller: SpiffeId
    # Whether it is asked as if nothing had ever been denied.
    is_forgiven: bool = False

    @property
    def forgiven(self) -> "WorkloadHistory":
        """The same without its denials."""
        return WorkloadHistory(self.history, self.caller, is_forgiven=True)

    def calls(self, server: str, pattern: ToolPattern, window_s: float, now: float) -> int:
        """How many calls of the tools that `pattern` names were allowed.  Raises Forgotten."""
        past, start = self.history.past(self.caller), now - window_s
        if pattern.is_exact:
            times = past.pairs.get((server, pattern.text))
            if times is not None:
                return times.after(start)
        if past.lost > start:
            raise Forgotten
        if pattern.is_exact:
            return 0
        return sum(
            times.after(start)
            for (its_server, tool), times in past.pairs.items()
            if its_server == server and times.kept[-1] > start and pattern.matches(tool)
        )

    def used(self, tag: str, tags: ToolTags, window_s: float, now: float) -> bool:
        """Whether a call of any tool that bears `tag` was allowed; `tags` are of the policy in force now.

        Raises Forgotten.
        """
        past, start = self.history.past(self.caller), now - window_s
        for pair, times in reversed(past.pairs.items()):
            if times.kept[-1] <= start:
                break
            if tag in tags.of(*pair):
                return True
        if past.lost > start:
            raise Forgotten
        return False

    def denials(self, window_s: float, now: float) -> int:
        """How many requests were denied.  Raises Forgotten."""
        if self.is_forgiven:
            return 0
        return self.history.past(self.caller).denials.after(now - window_s)

    def lockout(self, count: int, within_s: float, lasting_s: float, now: float) -> bool:
        """Whether there was a moment in the last `lasting_s` at which the `count`-th denial within `within_s` came.

        `count` is at least 1.  Raises Forgotten.
        """
        if self.is_forgiven:
            return False
        denials = self.history.past(self.caller).denials
        first = max(bisect_right(denials.kept, now - lasting_s), count - 1)
        # The newest first: whoever is locked out now was denied just now.
        last_ones = denials.kept[first:][::-1]
        first_ones = denials.kept[first - count + 1 : len(denials.kept) - count + 1][::-1]
        if any(map(lt, map(sub, last_ones, first_ones), repeat(within_s))):
            return True
        if denials.lost > now - lasting_s - within_s:
            raise Forgotten
        return False


@dataclass(slots=True)
class History:
    """What all workloads did, as far as it is kept.  For one thread.

    Full, it takes no more than 128 MiB, whatever fills it.  Resident memory measured with CPython 3.11: 119 MiB of lists
    with 1 000 calls each, 102 MiB of pairs with one call each, 86 MiB of 1 000 denials of each of 10 000 workloads.
    """

    bounds: HistoryBounds = field(default_factory=HistoryBounds)
    # In the order of last activity.  A dict would look for its first entry among all that were taken out before.
    _pasts: OrderedDict[SpiffeId, Past] = field(default_factory=OrderedDict)
    _lost: float = NEVER
    _bytes: int = 0

    def of(self, caller: SpiffeId) -> WorkloadHistory:
        """What `caller` did."""
        return WorkloadHistory(self, caller)

    def past(self, caller: SpiffeId) -> Past:
        """What is kept of `caller`; of one without an entry, since when that is all there is to know."""
        return self._pasts.get(caller) or Past(self._lost)

    def record_call(self, caller: SpiffeId, server: str, tool: str, now: float) -> None:
        """`caller` was allowed to call `tool`; `now` is in Unix seconds."""
        past = self._active(caller, now)
        self._bytes += past.add_call((server, tool), self.bounds, now)
        self._make_room(now)

    def record_denial(self, caller: SpiffeId, _server: str, _tool: str | None, now: float) -> None:
        """A request of `caller` was denied.  Of what it was about, nothing is kept."""
        past = self._active(caller, now)
        self._bytes += past.add_denial(self.bounds, now)
        self._make_room(now)

    def _active(self, caller: SpiffeId, now: float) -> Past:
        past = self._pasts.get(caller)
        if past is None:
            past = self._pasts[caller] = Past(self._lost, _weight(caller))
            self._bytes += past.bytes
        else:
            self._pasts.move_to_end(caller)
        past.newest = max(now, past.newest)
        return past

    def _make_room(self, now: float) -> None:
        while self._pasts:
            caller, past = next(iter(self._pasts.items()))
            is_full = len(self._pasts) > self.bounds.workloads or self._bytes > self.bounds.total_bytes
            if not is_full and past.newest > now - MAX_DENIAL_AGE_S:
                return
            del self._pasts[caller]
            self._bytes -= past.bytes
            self._lost = max(self._lost, past.newest)


def _weight(caller: SpiffeId) -> int:
    return _WORKLOAD_BYTES + len(caller.trust_domain.name) + len(caller.path)
