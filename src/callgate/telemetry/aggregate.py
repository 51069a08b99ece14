"""Counters and histograms: what happened, summed up for each set of attributes.

Ours and not the SDK's, because every value that is recorded there takes 12 µs, and each call records four.  What comes
out are the SDK's own points, for its exporters.  Not thread-safe: who counts and who collects share a lock.
"""

from bisect import bisect_left
from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple, TypeVar

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Histogram,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
    Sum,
)

# Metrics SDK, "Cardinality limits": 2000 where nothing else is configured, and what is beyond it shares one point.
ATTRIBUTE_SETS_MAX = 2000
_OVERFLOW = ()

# The values of an instrument's attributes, in the order of its `labels`; "" for one that is absent.  Without labels: ().
Values = tuple[str, ...]
T = TypeVar("T")
# Makes the metric.
Collected = Callable[[], Metric]


class Instrument(NamedTuple):
    """What is counted or measured, and by which attributes."""

    name: str
    unit: str
    description: str
    labels: tuple[str, ...] = ()


class Period(NamedTuple):
    """From when to when the points count, Unix time in nanoseconds."""

    started_ns: int
    ended_ns: int
    temporality: AggregationTemporality

    @property
    def begins_anew(self) -> bool:
        """The next period starts from nothing."""
        return self.temporality is AggregationTemporality.DELTA


class CounterSums:
    """A counter that only grows."""

    def __init__(self, instrument: Instrument) -> None:
        self._instrument = instrument
        self._sums: dict[Values, int] = {}

    def add(self, amount: int, values: Values) -> None:
        """`amount` >= 0."""
        values = _room_for(values, self._sums)
        self._sums[values] = self._sums.get(values, 0) + amount

    def take(self, period: Period) -> Collected:
        """What was counted in the period: a copy, of which the metric can be made without a lock."""
        taken = dict(self._sums)
        if period.begins_anew:
            self._sums.clear()
        return partial(self._metric, taken, period)

    def _metric(self, taken: dict[Values, int], period: Period) -> Metric:
        points = [
            NumberDataPoint(_attributes(self._instrument, values), period.started_ns, period.ended_ns, amount)
            for values, amount in taken.items()
        ]
        name, unit, description, _ = self._instrument
        return Metric(name, description, unit, Sum(points, period.temporality, is_monotonic=True))


class _Buckets:
    """One point of a histogram."""

    __slots__ = ("counts", "highest", "lowest", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0
        self.lowest = float("inf")
        self.highest = float("-inf")


class _Measured(NamedTuple):
    """A copy of one."""

    counts: tuple[int, ...]
    total: float
    lowest: float
    highest: float


class HistogramBuckets:
    """A histogram with fixed boundaries: a bucket holds what is above the boundary before and up to its own."""

    def __init__(self, instrument: Instrument, bounds: tuple[float, ...]) -> None:
        self._instrument = instrument
        self._bounds = bounds
        self._points: dict[Values, _Buckets] = {}

    def record(self, amount: float, values: Values) -> None:
        """One measurement."""
        point = self._points.get(values)
        if point is None:
            point = self._points.setdefault(_room_for(values, self._points), _Buckets(self._bounds))
        point.counts[bisect_left(self._bounds, amount)] += 1
        point.total += amount
        point.lowest = min(point.lowest, amount)
        point.highest = max(point.highest, amount)

    def take(self, period: Period) -> Collected:
        """What was measured in the period: a copy, of which the metric can be made without a lock."""
        taken = {
            values: _Measured(tuple(point.counts), point.total, point.lowest, point.highest)
            for values, point in self._points.items()
        }
        if period.begins_anew:
            self._points.clear()
        return partial(self._metric, taken, period)

    def _metric(self, taken: dict[Values, _Measured], period: Period) -> Metric:
        points = [
            HistogramDataPoint(
                attributes=_attributes(self._instrument, values),
                start_time_unix_nano=period.started_ns,
                time_unix_nano=period.ended_ns,
                count=sum(point.counts),
                sum=point.total,
                bucket_counts=point.counts,
                explicit_bounds=self._bounds,
                min=point.lowest,
                max=point.highest,
            )
            for values, point in taken.items()
        ]
        name, unit, description, _ = self._instrument
        return Metric(name, description, unit, Histogram(points, period.temporality))


def _room_for(values: Values, known: Mapping[Values, T]) -> Values:
    return values if values in known or len(known) < ATTRIBUTE_SETS_MAX - 1 else _OVERFLOW


def _attributes(instrument: Instrument, values: Values) -> dict[str, str | bool]:
    # To an instrument without attributes, it is the one set that there is.
    if values == _OVERFLOW and instrument.labels:
        return {"otel.metric.overflow": True}
    return {label: value for label, value in zip(instrument.labels, values, strict=True) if value}
