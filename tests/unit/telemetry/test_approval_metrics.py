"""What operators count of approvals."""

from opentelemetry.sdk.metrics.export import AggregationTemporality, Metric
from opentelemetry.sdk.resources import Resource

from callgate.telemetry.aggregate import Period
from callgate.telemetry.approval_metrics import WAIT_BOUNDARIES_S, ApprovalMetrics, ApprovalTelling
from callgate.telemetry.metrics import Metrics

PERIOD = Period(1, 2, AggregationTemporality.CUMULATIVE)


def collected(metrics: ApprovalMetrics) -> dict[str, Metric]:
    return {metric.name: metric for metric in metrics.collect(PERIOD) if metric.data.data_points}


def values(metric: Metric) -> dict[tuple[object, ...], object]:
    found: dict[tuple[object, ...], object] = {}
    for point in metric.data.data_points:
        key = tuple((point.attributes or {}).values())
        found[key] = point.value if hasattr(point, "value") else (point.count, point.sum)
    return found


def test_counts_what_happens_by_server_and_measures_how_long_people_took() -> None:
    metrics = ApprovalMetrics()
    metrics.happened("asked", "ledger", None)
    metrics.happened("asked", "ledger", None)
    metrics.happened("approved", "ledger", 12.5)
    metrics.happened("denied", "web", 0.5)

    found = collected(metrics)

    assert values(found["callgate.approvals"]) == {
        ("asked", "ledger"): 2,
        ("approved", "ledger"): 1,
        ("denied", "web"): 1,
    }
    assert values(found["callgate.approvals.wait.duration"]) == {("approved",): (1, 12.5), ("denied",): (1, 0.5)}


def test_a_clock_that_was_set_back_makes_no_wait_negative() -> None:
    metrics = ApprovalMetrics()
    metrics.happened("approved", "ledger", -3.0)
    assert values(collected(metrics)["callgate.approvals.wait.duration"]) == {("approved",): (1, 0.0)}


def test_counts_the_messages_that_reached_nobody_by_the_name_of_their_target() -> None:
    metrics = ApprovalMetrics()
    for target in ("ops", "slack", "ops"):
        metrics.unreached(target)
    assert values(collected(metrics)["callgate.approvals.notifications.failed"]) == {("ops",): 2, ("slack",): 1}


def test_how_many_wait_is_asked_at_each_export() -> None:
    metrics = ApprovalMetrics()
    assert "callgate.approvals.waiting" not in collected(metrics)
    waiting = [3, 0]
    metrics.watch(lambda: waiting.pop(0))
    assert values(collected(metrics)["callgate.approvals.waiting"]) == {(): 3}
    assert values(collected(metrics)["callgate.approvals.waiting"]) == {(): 0}


def test_a_wait_of_seven_days_is_still_measured() -> None:
    # A request for approval stands for seven days at most.
    assert WAIT_BOUNDARIES_S[-1] == 7 * 86_400
    assert list(WAIT_BOUNDARIES_S) == sorted(set(WAIT_BOUNDARIES_S))


def test_no_attribute_has_room_for_a_person_a_workload_or_an_id() -> None:
    metrics = ApprovalMetrics()
    metrics.happened("approved", "ledger", 1.0)
    metrics.unreached("ops")
    metrics.watch(lambda: 1)
    labels = {
        name
        for metric in collected(metrics).values()
        for point in metric.data.data_points
        for name in (point.attributes or {})
    }
    assert labels == {"callgate.approval.happening", "callgate.server", "callgate.approval.target"}


def test_the_gates_metrics_have_those_of_approvals_among_them() -> None:
    metrics = Metrics(Resource({}))
    metrics.approvals.happened("asked", "ledger", None)
    metrics.approvals.unreached("ops")
    metrics.approvals.watch(lambda: 1)
    (of_resource,) = metrics.collect().resource_metrics
    found = {metric.name for metric in of_resource.scope_metrics[0].metrics}
    assert found >= {"callgate.approvals", "callgate.approvals.waiting", "callgate.approvals.notifications.failed"}


def test_without_telemetry_everything_is_told_to_nobody() -> None:
    telling = ApprovalTelling()
    telling.happened("asked", "ledger", None)
    telling.unreached("ops")
    telling.watch(lambda: 1)
