"""What operators count of approvals: how many wait, what becomes of them and after how long, whom no message reached.

No attribute holds a person, a workload or a request's id: a server's name and a target's are the configuration's.
"""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from opentelemetry.sdk.metrics.export import Gauge, Metric, NumberDataPoint

from callgate.telemetry import names
from callgate.telemetry.aggregate import CounterSums, HistogramBuckets, Instrument, Period
from callgate.telemetry.pending import WaitingSpan

WAITING = Instrument("callgate.approvals.waiting", "{request}", "Requests for approval that nobody has decided on yet")
APPROVALS = Instrument(
    "callgate.approvals",
    "{request}",
    "Requests for approval, by what happened to them",
    (names.APPROVAL_HAPPENING, names.SERVER),
)
WAIT_DURATION = Instrument(
    "callgate.approvals.wait.duration",
    "s",
    "From a request for approval to its decision, or to its end without one",
    (names.APPROVAL_HAPPENING,),
)
UNREACHED = Instrument(
    "callgate.approvals.notifications.failed",
    "{notification}",
    "Messages about approvals that did not reach their target",
    (names.APPROVAL_TARGET,),
)
# From a click that was waited for to the seven days that a request stands at most.
WAIT_BOUNDARIES_S = (
    *(1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0),
    *(3600.0, 4 * 3600.0, 12 * 3600.0, 24 * 3600.0, 3 * 24 * 3600.0, 7 * 24 * 3600.0),
)


def _nowhere(*_what: object) -> None:
    """Where nobody wants to know."""


@dataclass(frozen=True, slots=True)
class ApprovalTelling:
    """Where to tell, beside the log, what happens while people are asked.  None of them waits or raises.

    `waiting`: a call begins to wait (`pending.waiting_span`).  `happened`: what, to which server's request, and seconds
    from asking to the decision where there was one just now.  `unreached`: the name of a target that a message did not
    reach.  `watch`: whom to ask at each export, from another thread, how many requests wait for a person.
    """

    waiting: Callable[[WaitingSpan], None] = _nowhere
    happened: Callable[[str, str, float | None], None] = _nowhere
    unreached: Callable[[str], None] = _nowhere
    watch: Callable[[Callable[[], int]], None] = _nowhere


class ApprovalMetrics:
    """The instruments.  `collect` may be called from another thread than the rest."""

    def __init__(self) -> None:
        self._waiting: Callable[[], int] | None = None
        self._lock = threading.Lock()
        self._counts = CounterSums(APPROVALS)
        self._waits = HistogramBuckets(WAIT_DURATION, WAIT_BOUNDARIES_S)
        self._unreached = CounterSums(UNREACHED)

    def happened(self, what: str, server: str, waited_s: float | None) -> None:
        """See `ApprovalTelling`."""
        with self._lock:
            self._counts.add(1, (what, server))
            if waited_s is not None:
                self._waits.record(max(waited_s, 0.0), (what,))

    def unreached(self, target: str) -> None:
        """See `ApprovalTelling`."""
        with self._lock:
            self._unreached.add(1, (target,))

    def watch(self, waiting: Callable[[], int]) -> None:
        """See `ApprovalTelling`; from now on there is a metric of what waits."""
        self._waiting = waiting

    def collect(self, period: Period) -> Iterator[Metric]:
        """Everything up to now."""
        with self._lock:
            taken = [self._counts.take(period), self._waits.take(period), self._unreached.take(period)]
        yield from (metric() for metric in taken)
        if self._waiting is not None:
            name, unit, description, _ = WAITING
            yield Metric(name, description, unit, Gauge([NumberDataPoint({}, 0, period.ended_ns, self._waiting())]))
