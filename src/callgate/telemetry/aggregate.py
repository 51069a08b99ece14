"""Counters and histograms: what happened, summed up for each set of attributes.

Ours and not the SDK's, because every value that is recorded there takes 12 µs, and each call records four.  What comes
out are the SDK's own points, for its exporters.  Not thread-safe: who counts and who collects share a lock.
"""

from bisect import bisect_left
from collections.abc import Mapping
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

# The values of an instrument's attributes, in the order of its `labels`; "" for one that is absent.
Values = tuple[str, ...]
T = TypeVar("T")


class Instrument(NamedTuple):
    """What is counted or measured, and by which attributes."""

    name: str
    unit: str
    description: str
    labels: tuple[str, ...] = ()


class Period(NamedTuple):
    """From when to when the points count, Unix time in nanoseconds, and whether the next ones begin anew."""

    started_ns: int
    ended_ns: int
    temporality: AggregationTemporality


class CounterSums:
    """A counter that only grows."""

    def __init__(self, instrument: Instrument) -> None:
        self._instrument = instrument
        self._sums: dict[Values, int] = {}

    def add(self, amount: int, values: Values) -> None:
        """`amount` >= 0."""
        values = _room_for(values, self._sums)
        self._sums[values] = self._sums.get(values, 0) + amount

    def collect(self, period: Period) -> Metric:
        """What was counted in the period."""
        points = [
            NumberDataPoint(_attributes(self._instrument, values), period.started_ns, period.ended_ns, amount)
            for values, amount in _taken(self._sums, period).items()
        ]
        total = Sum(points, period.temporality, is_monotonic=True)
        return Metric(self._instrument.name, self._instrument.description, self._instrument.unit, total)


class _Buckets:
    """One point of a histogram."""

    __slots__ = ("counts", "highest", "lowest", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0
        self.lowest = float("inf")
        self.highest = float("-inf")


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

    def collect(self, period: Period) -> Metric:
        """What was measured in the period."""
        points = [self._point(values, point, period) for values, point in _taken(self._points, period).items()]
        found = Histogram(points, period.temporality)
        return Metric(self._instrument.name, self._instrument.description, self._instrument.unit, found)

    def _point(self, values: Values, point: _Buckets, period: Period) -> HistogramDataPoint:
        return HistogramDataPoint(
            attributes=_attributes(self._instrument, values),
            start_time_unix_nano=period.started_ns,
            time_unix_nano=period.ended_ns,
            count=sum(point.counts),
            sum=point.total,
            bucket_counts=tuple(point.counts),
            explicit_bounds=self._bounds,
            min=point.lowest,
            max=point.highest,
        )


def _room_for(values: Values, known: Mapping[Values, T]) -> Values:
    return values if values in known or len(known) < ATTRIBUTE_SETS_MAX - 1 else _OVERFLOW


def _taken(known: dict[Values, T], period: Period) -> dict[Values, T]:
    taken = dict(known)
    if period.temporality is AggregationTemporality.DELTA:
        known.clear()
    return taken


def _attributes(instrument: Instrument, values: Values) -> dict[str, str | bool]:
    if values == _OVERFLOW:
        return {"otel.metric.overflow": True}
    return {label: value for label, value in zip(instrument.labels, values, strict=True) if value}
