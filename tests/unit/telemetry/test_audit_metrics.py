"""What operators see of the evidence log's health."""

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from opentelemetry.sdk.metrics.export import AggregationTemporality
from opentelemetry.sdk.resources import Resource

from callgate.telemetry.audit_metrics import AuditOnDisk, Commits
from callgate.telemetry.export import Telemetry
from callgate.telemetry.metrics import Metrics
from callgate.telemetry.otlp import Service
from support.collector import Collector


@dataclass
class _Log:
    """As many records, commits and refusals as a test says."""

    commits: Commits = field(default_factory=Commits)
    records: Counter[str] = field(default_factory=Counter)
    summarised: int = 0
    available: bool = True
    checkpoint_size: int = 0
    ages: dict[str, float] = field(default_factory=dict)

    def checkpoint_ages(self, now_ns: int) -> Mapping[str, float]:
        assert now_ns > 0
        return self.ages


def _collected(metrics: Metrics) -> dict[str, list[Any]]:
    (group,) = metrics.collect().resource_metrics
    (scope,) = group.scope_metrics
    found = {metric.name: list(metric.data.data_points) for metric in scope.metrics}
    return {name: points for name, points in found.items() if name.startswith("callgate.audit.")}


def _values(points: list[Any]) -> dict[tuple[object, ...], float]:
    return {tuple(dict(point.attributes or {}).values()): point.value for point in points}


def _metrics(
    log: AuditOnDisk | None, temporality: AggregationTemporality = AggregationTemporality.CUMULATIVE
) -> Metrics:
    return Metrics(Resource({}), temporality=temporality, audit=lambda: log)


def test_records_are_counted_by_kind_and_add_up() -> None:
    log = _Log()
    metrics = _metrics(log)
    log.records.update({"intent": 2, "outcome": 1})
    _collected(metrics)
    log.records.update({"intent": 2, "outcome": 1})
    points = _collected(metrics)["callgate.audit.records"]
    assert _values(points) == {("intent",): 4, ("outcome",): 2}
    assert {key for point in points for key in point.attributes} == {"callgate.audit.kind"}


def test_a_collector_that_wants_differences_gets_them() -> None:
    log = _Log()
    metrics = _metrics(log, AggregationTemporality.DELTA)
    told = []
    for count in (3, 1):
        log.records["intent"] += count
        log.summarised += count
        log.commits.add(0.001, count)
        found = _collected(metrics)
        told.append(
            (
                _values(found["callgate.audit.records"])[("intent",)],
                _values(found["callgate.audit.refusals.summarised"])[()],
                found["callgate.audit.commit.duration"][0].count,
            )
        )
    assert told == [(3, 3, 1), (1, 1, 1)]


def test_commits_are_measured_in_seconds_and_in_records() -> None:
    log = _Log()
    log.commits.add(0.00015, 1)
    log.commits.add(1.5, 100)
    found = _collected(_metrics(log))
    (took,), (held,) = found["callgate.audit.commit.duration"], found["callgate.audit.commit.records"]
    assert (took.count, took.sum, took.min, took.max) == (2, pytest.approx(1.50015), 0.00015, 1.5)
    assert (held.count, held.sum) == (2, 101)
    # Beyond the last boundary is what calls are refused for.
    assert took.explicit_bounds[-1] == 2.0
    # An instrument without attributes is no instrument with too many.
    assert (dict(took.attributes), dict(held.attributes)) == ({}, {})


def test_whether_calls_can_be_recorded_is_one_or_zero() -> None:
    log = _Log(checkpoint_size=77)
    metrics = _metrics(log)
    assert _values(_collected(metrics)["callgate.audit.available"]) == {(): 1}
    log.available = False
    found = _collected(metrics)
    assert _values(found["callgate.audit.available"]) == {(): 0}
    assert _values(found["callgate.audit.checkpoint.size"]) == {(): 77}


def test_each_place_has_the_age_of_what_it_lacks() -> None:
    log = _Log(ages={"/mnt/other/checkpoint": 0.0, "witness.acme.test": 61.5})
    points = _collected(_metrics(log))["callgate.audit.checkpoint.age"]
    assert _values(points) == {("/mnt/other/checkpoint",): 0.0, ("witness.acme.test",): 61.5}
    assert set(points[0].attributes) == {"callgate.audit.target"}


def test_without_a_log_or_a_place_there_is_nothing_to_tell() -> None:
    assert _collected(_metrics(None)) == {}
    assert "callgate.audit.checkpoint.age" not in _collected(_metrics(_Log()))


def test_commits_may_be_added_while_metrics_are_collected() -> None:
    log = _Log()
    metrics = _metrics(log)

    def write() -> None:
        for number in range(2000):
            log.commits.add(0.001, 1)
            log.records[f"kind-{number % 50}"] += 1

    writing = threading.Thread(target=write)
    writing.start()
    while writing.is_alive():
        _collected(metrics)
    writing.join()
    found = _collected(metrics)
    assert found["callgate.audit.commit.duration"][0].count == 2000
    assert sum(_values(found["callgate.audit.records"]).values()) == 2000


def test_they_reach_a_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    log = _Log(records=Counter(intent=5), ages={"collector": 1.5})
    log.commits.add(0.002, 5)
    with Collector() as collector:
        telemetry = Telemetry.from_settings(collector.url, Service("callgate", "", ""), audit=lambda: log)
        telemetry.close()
        counted = collector.wait_for_metric("callgate.audit.records")
        names = {metric.name for metric in collector.metrics}
    assert counted.sum.data_points[0].as_int == 5
    assert {
        "callgate.audit.available",
        "callgate.audit.checkpoint.age",
        "callgate.audit.checkpoint.size",
        "callgate.audit.commit.duration",
        "callgate.audit.commit.records",
    } <= names
