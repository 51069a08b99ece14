"""Sums and buckets, against the SDK's own instruments where both can do the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Histogram,
    HistogramDataPoint,
    InMemoryMetricReader,
    Metric,
    Sum,
)

from callgate.telemetry.aggregate import ATTRIBUTE_SETS_MAX, CounterSums, HistogramBuckets, Instrument, Period

BOUNDS = (0.01, 0.1, 1.0)
DURATION = Instrument("duration", "s", "How long", ("method", "error"))
COUNT = Instrument("count", "{call}", "How many", ("method",))
PERIOD = Period(1, 2, AggregationTemporality.CUMULATIVE)


def _histogram(metric: Metric) -> Histogram:
    assert isinstance(metric.data, Histogram)
    return metric.data


def _of_the_sdk(amounts: list[float]) -> HistogramDataPoint:
    reader = InMemoryMetricReader()
    meter = MeterProvider([reader], shutdown_on_exit=False).get_meter("test")
    histogram = meter.create_histogram("duration", "s", "How long", explicit_bucket_boundaries_advisory=BOUNDS)
    for amount in amounts:
        histogram.record(amount, {"method": "ping"})
    found = reader.get_metrics_data()
    assert found is not None
    (point,) = found.resource_metrics[0].scope_metrics[0].metrics[0].data.data_points
    assert isinstance(point, HistogramDataPoint)
    return point


@given(st.lists(st.one_of(st.sampled_from([*BOUNDS, 0.0]), st.floats(0, 1e6)), min_size=1, max_size=20))
def test_a_histogram_has_the_buckets_of_the_sdks(amounts: list[float]) -> None:
    ours = HistogramBuckets(DURATION, BOUNDS)
    for amount in amounts:
        ours.record(amount, ("ping", ""))
    (point,) = _histogram(ours.take(PERIOD)()).data_points
    theirs = _of_the_sdk(amounts)
    assert (point.bucket_counts, point.explicit_bounds) == (tuple(theirs.bucket_counts), tuple(theirs.explicit_bounds))
    assert (point.count, point.min, point.max) == (theirs.count, theirs.min, theirs.max)
    assert point.sum == pytest.approx(theirs.sum)
    assert dict(point.attributes or {}) == dict(theirs.attributes or {}) == {"method": "ping"}


def test_more_attribute_sets_than_the_limit_share_one_point() -> None:
    counter, histogram = CounterSums(COUNT), HistogramBuckets(DURATION, BOUNDS)
    for number in range(ATTRIBUTE_SETS_MAX + 10):
        counter.add(1, (f"m/{number}",))
        histogram.record(0.5, (f"m/{number}", ""))
    counter.add(1, ("m/0",))
    counted, measured = counter.take(PERIOD)().data, _histogram(histogram.take(PERIOD)())
    assert isinstance(counted, Sum)
    assert len(counted.data_points) == len(measured.data_points) == ATTRIBUTE_SETS_MAX
    shared = {"otel.metric.overflow": True}
    assert [point.value for point in counted.data_points if point.attributes == shared] == [11]
    assert [point.count for point in measured.data_points if point.attributes == shared] == [11]
    assert [point.value for point in counted.data_points if point.attributes == {"method": "m/0"}] == [2]


def test_what_was_collected_does_not_change_afterwards() -> None:
    histogram = HistogramBuckets(DURATION, BOUNDS)
    histogram.record(0.5, ("ping", ""))
    (before,) = _histogram(histogram.take(PERIOD)()).data_points
    histogram.record(0.5, ("ping", ""))
    assert (before.count, before.bucket_counts) == (1, (0, 0, 1, 0))
