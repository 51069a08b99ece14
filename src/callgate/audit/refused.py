"""Which refusals, and notifications that end at the gate, get a record of their own; how the others are counted.

Whoever is refused costs the gate a record on disk, and can ask for that as fast as it likes.  So each workload has a
rate, those whom nobody knows share one, and what is beyond it is counted by reason and told in one record for all.
Pure: `now` is in seconds of a clock that nobody sets.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Final

from callgate.limits.rates import Gcra, Rate

# Of the rate of all together: what those get whom nobody knows, and what one workload can use up.  The others have what
# is left.
_STRANGERS_SHARE: Final = 5
_WORKLOADS_SHARE: Final = 2
# So many seconds' worth may come at once: an agent that lost its way is understood from its first refusals.
_BURST_S: Final = 10
# Kinds of refusals that one summary tells apart; what is beyond is counted without the caller.
MAX_KINDS: Final = 256
_ALL: Final = ""


@dataclass(frozen=True, slots=True)
class RefusalKind:
    """What a summary counts by; `caller` is "" where there is none, or no room to tell it."""

    stage: str
    reason: str
    caller: str


class RefusalRates:
    """Whether there is room for one more refusal's record, of `per_second` for all together."""

    def __init__(self, per_second: int) -> None:
        of_strangers = max(1, per_second // _STRANGERS_SHARE)
        self._of_strangers = Gcra(_rate(of_strangers))
        self._of_workload = Gcra(_rate(max(1, per_second // _WORKLOADS_SHARE)))
        self._of_workloads = Gcra(_rate(max(1, per_second - of_strangers)))

    def take(self, caller: str, now: float) -> bool:
        """Count one, if there is room.  `caller` is "" before anybody proved who it is."""
        if not caller:
            return not self._of_strangers.take(_ALL, now)
        if self._of_workload.wait(caller, now) or self._of_workloads.take(_ALL, now):
            return False
        self._of_workload.charge(caller, now)
        return True


class Tally:
    """How many refusals of each kind have no record of their own."""

    def __init__(self) -> None:
        self._counts: Counter[RefusalKind] = Counter()
        self.since_ns = 0

    def __bool__(self) -> bool:
        return bool(self._counts)

    def count(self, kind: RefusalKind, now_ns: int) -> None:
        """One more."""
        if not self._counts:
            self.since_ns = now_ns
        if kind not in self._counts and len(self._counts) >= MAX_KINDS:
            kind = RefusalKind(kind.stage, kind.reason, "")
        self._counts[kind] += 1

    def taken(self) -> list[dict[str, object]]:
        """All counts, as a record holds them; from now on there are none."""
        counts, self._counts = self._counts, Counter()
        return [_entry(kind, count) for kind, count in counts.items()]


def _entry(kind: RefusalKind, count: int) -> dict[str, object]:
    said: dict[str, object] = {"stage": kind.stage, "reason": kind.reason, "count": count}
    return said | ({"caller": kind.caller} if kind.caller else {})


def _rate(per_second: int) -> Rate:
    return Rate(calls=per_second, per_s=1, burst=per_second * _BURST_S)
