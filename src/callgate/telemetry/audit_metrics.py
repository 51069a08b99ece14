"""What operators count of the evidence log: whether it takes records, how long that takes, how far its head has got."""

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from opentelemetry.sdk.metrics.export import Gauge, Metric, NumberDataPoint

from callgate.telemetry import names
from callgate.telemetry.aggregate import Collected, CounterSums, HistogramBuckets, Instrument, Period

RECORDS = Instrument("callgate.audit.records", "{record}", "Records in the evidence log", (names.AUDIT_KIND,))
SUMMARISED = Instrument(
    "callgate.audit.refusals.summarised", "{refusal}", "Refusals past the rate, which have no record of their own"
)
COMMIT_DURATION = Instrument("callgate.audit.commit.duration", "s", "Writing one group of records durably")
COMMIT_RECORDS = Instrument("callgate.audit.commit.records", "{record}", "Records in one group")
AVAILABLE = Instrument(
    "callgate.audit.available", "1", "1 where calls can be recorded, 0 where they are refused for it"
)
CHECKPOINT_SIZE = Instrument(
    "callgate.audit.checkpoint.size", "{record}", "Records that the last checkpoint vouches for"
)
CHECKPOINT_AGE = Instrument(
    "callgate.audit.checkpoint.age",
    "s",
    "For how long a place outside has not had the newest checkpoint; 0 where it has",
    (names.AUDIT_TARGET,),
)

# From a fast disk's 0.1 ms to the two seconds after which calls are refused.
COMMIT_BOUNDARIES_S = (1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1, 0.2, 0.5, 1.0, 2.0)
COMMIT_BOUNDARIES_RECORDS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0)


class Commits:
    """Groups of records that became durable: measured by the thread that writes, told of by metrics."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._duration = HistogramBuckets(COMMIT_DURATION, COMMIT_BOUNDARIES_S)
        self._records = HistogramBuckets(COMMIT_RECORDS, COMMIT_BOUNDARIES_RECORDS)

    def add(self, took_s: float, records: int) -> None:
        """One group: how long it took from the first write to the end of the sync, and how many it held."""
        with self._lock:
            self._duration.record(took_s, ())
            self._records.record(records, ())

    def take(self, period: Period) -> list[Collected]:
        """What was measured in the period."""
        with self._lock:
            return [self._duration.take(period), self._records.take(period)]


class AuditOnDisk(Protocol):
    """What metrics ask of the evidence log, from any thread: numbers since the gate started that only grow, and states.

    `records`: durable ones by their kind.  `summarised`: refusals that are in a summary alone.  `available`: whether a
    call can be recorded just now.  `checkpoint_size`: of the newest checkpoint, 0 before the first.
    """

    @property
    def commits(self) -> Commits: ...  # noqa: D102  # said above

    @property
    def records(self) -> Mapping[str, int]: ...  # noqa: D102

    @property
    def summarised(self) -> int: ...  # noqa: D102

    @property
    def available(self) -> bool: ...  # noqa: D102

    @property
    def checkpoint_size(self) -> int: ...  # noqa: D102

    def checkpoint_ages(self, now_ns: int) -> Mapping[str, float]:
        """By place outside: seconds since it last had the newest checkpoint, 0 where it has (`Anchors.ages`)."""


class AuditMetrics:
    """The instruments of one log.  For one thread: that which collects."""

    def __init__(self, log: Callable[[], AuditOnDisk | None]) -> None:
        """`log` is asked each time; None while there is none."""
        self._log = log
        self._records = CounterSums(RECORDS)
        self._summarised = CounterSums(SUMMARISED)
        self._told: Counter[str] = Counter()
        self._told_summarised = 0

    def collect(self, period: Period) -> Iterable[Metric]:
        """Everything up to now."""
        log = self._log()
        if log is None:
            return []
        self._count(log)
        taken = [self._records.take(period), self._summarised.take(period), *log.commits.take(period)]
        return [*(metric() for metric in taken), *_states(log, period.ended_ns)]

    def _count(self, log: AuditOnDisk) -> None:
        # A copy in one step: the thread that writes may add a kind meanwhile.
        for kind, now in dict(log.records).items():
            self._records.add(now - self._told[kind], (kind,))
            self._told[kind] = now
        summarised = log.summarised
        self._summarised.add(summarised - self._told_summarised, ())
        self._told_summarised = summarised


def _states(log: AuditOnDisk, now_ns: int) -> list[Metric]:
    ages = log.checkpoint_ages(now_ns)
    return [
        _gauge(AVAILABLE, {(): int(log.available)}, now_ns),
        _gauge(CHECKPOINT_SIZE, {(): log.checkpoint_size}, now_ns),
        _gauge(CHECKPOINT_AGE, {(target,): age for target, age in ages.items()}, now_ns),
    ]


def _gauge(instrument: Instrument, found: Mapping[tuple[str, ...], float], now_ns: int) -> Metric:
    name, unit, description, labels = instrument
    points = [
        NumberDataPoint(dict(zip(labels, values, strict=True)), 0, now_ns, amount) for values, amount in found.items()
    ]
    return Metric(name, description, unit, Gauge(points))
