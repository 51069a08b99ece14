"""The evidence log's own events: OTLP log records as `opentelemetry-proto` and the logs data model have them."""

import os
import time
from collections.abc import Iterator

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.sdk.resources import Resource

from callgate.telemetry.export import Telemetry
from callgate.telemetry.log_events import (
    CheckpointEvents,
    checkpoint_event,
    checkpoint_events,
    outage_event,
    recovered_event,
)
from callgate.telemetry.otlp import CannotExport, Service, target_of
from support.collector import Answer, Collector
from support.decision_traces import allowed

ORIGIN = "gate.acme.test/audit"
NOTE = "gate.acme.test/audit\n3\nq1RIEjH2DdpTMTUhqpVlQ0OYRdPHWXq9Lkq+QmZFCrs=\n\n— gate.acme.test/audit AAAA\n"
AT_NS = 1_767_787_200_000_000_001
RESOURCE = Resource(
    {"service.name": "callgate", "service.instance.id": "i-1"}, "https://opentelemetry.io/schemas/1.44.0"
)


@pytest.fixture(autouse=True)
def _nothing_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("OTEL_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as running:
        yield running


def _events(collector: Collector) -> CheckpointEvents:
    events = checkpoint_events(collector.url, RESOURCE, ORIGIN)
    assert events is not None
    return events


def test_a_checkpoint_is_an_event_whose_body_is_the_note_to_the_letter(collector: Collector) -> None:
    events = _events(collector)
    before = time.time_ns()
    assert events.send([checkpoint_event(NOTE, 3, AT_NS)]).accepted
    events.shutdown()
    (found,) = collector.logs
    assert collector.received[0].target == "/v1/logs"
    assert (found.event, found.body, found.at_ns) == ("callgate.audit.checkpoint", NOTE, AT_NS)
    assert before <= found.observed_ns <= time.time_ns()
    # Logs data model, "Displaying Severity": INFO is 9 ...
    assert found.severity == (9, "INFO")
    assert found.attributes == {"callgate.audit.origin": ORIGIN, "callgate.audit.size": 3}
    assert found.resource == {"service.name": "callgate", "service.instance.id": "i-1"}


def test_an_outage_is_an_error_and_its_end_says_how_long_it_was(collector: Collector) -> None:
    events = _events(collector)
    events.send([outage_event("ENOSPC", AT_NS), recovered_event(AT_NS, AT_NS + 12_345_000_000)])
    events.shutdown()
    outage, recovered = collector.logs
    # ... and ERROR is 17.
    assert (outage.event, outage.severity) == ("callgate.audit.outage", (17, "ERROR"))
    assert outage.attributes == {"callgate.audit.origin": ORIGIN, "error.type": "ENOSPC"}
    assert outage.body == "calls are refused, because they cannot be recorded: ENOSPC"
    assert (recovered.event, recovered.severity) == ("callgate.audit.recovered", (9, "INFO"))
    assert recovered.attributes["callgate.audit.outage.duration"] == 12.345
    assert recovered.body == "calls are recorded again, after 12.3 s"


def test_what_an_outage_is_called_is_one_short_word_without_credentials(collector: Collector) -> None:
    events = _events(collector)
    events.send([outage_event("Bearer canary-canary-canary-7f3a\n" + "x" * 9000, AT_NS)])
    events.shutdown()
    (found,) = collector.logs
    assert "canary" not in str(found)
    assert len(str(found.attributes["error.type"])) <= 64
    assert found.body.isprintable()


def test_a_collector_that_takes_no_logs_is_told_by_its_status() -> None:
    with Collector(without={"/v1/logs"}) as collector:
        events = _events(collector)
        receipt = events.send([checkpoint_event(NOTE, 3, AT_NS)])
        events.shutdown()
    assert (receipt.accepted, receipt.status, receipt.why) == (False, 404, "HTTP 404 Not Found")
    assert collector.requests == 1


def test_log_records_that_a_collector_rejects_are_counted() -> None:
    partial = ExportLogsServiceResponse()
    partial.partial_success.rejected_log_records = 1
    with Collector(answers=[Answer(body=partial.SerializeToString())]) as collector:
        events = _events(collector)
        assert events.send([checkpoint_event(NOTE, 3, AT_NS)]).rejected == 1
        events.shutdown()


@pytest.mark.parametrize(
    ("url", "variables", "endpoint"),
    [
        (None, {}, None),
        ("http://c:4318", {}, "http://c:4318/v1/logs"),
        (None, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://e:4318/otlp"}, "http://e:4318/otlp/v1/logs"),
        (None, {"OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": "http://e/mine"}, "http://e/mine"),
        (None, {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://e/traces"}, None),
        ("http://c", {"OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": "http://e/mine"}, "http://c/v1/logs"),
        ("http://c", {"OTEL_LOGS_EXPORTER": "none"}, None),
        ("http://c", {"OTEL_LOGS_EXPORTER": "otlp"}, "http://c/v1/logs"),
        ("http://c", {"OTEL_TRACES_EXPORTER": "none"}, "http://c/v1/logs"),
        ("http://c", {"OTEL_SDK_DISABLED": "true"}, None),
    ],
)
def test_the_address_of_the_logs(
    url: str | None, variables: dict[str, str], endpoint: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    target = target_of(url, "logs")
    assert (target.url if target else None) == endpoint
    assert (checkpoint_events(url, RESOURCE, ORIGIN) is None) == (endpoint is None)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_LOGS_EXPORTER", "console"),
        ("OTEL_EXPORTER_OTLP_LOGS_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_LOGS_TIMEOUT", "10"),
        ("OTEL_EXPORTER_OTLP_LOGS_COMPRESSION", "br"),
        ("OTEL_EXPORTER_OTLP_LOGS_HEADERS", "authorization"),
    ],
)
def test_what_logs_cannot_do_is_an_error_at_the_start_that_names_the_variable(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(CannotExport, match=name):
        checkpoint_events("http://c:4318", RESOURCE, ORIGIN)


def test_headers_and_compression_of_the_logs_hold_for_them(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=general")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_LOGS_HEADERS", "x-tenant=logs")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_LOGS_COMPRESSION", "gzip")
    events = _events(collector)
    events.send([checkpoint_event(NOTE, size, AT_NS) for size in range(20)])
    events.shutdown()
    headers = collector.received[0].headers
    assert (headers["x-tenant"], headers["content-encoding"]) == ("logs", "gzip")
    assert len(collector.logs) == 20


def test_traces_and_log_events_of_one_gate_say_that_they_are_of_one_instance(collector: Collector) -> None:
    sender = Service("callgate", "0.1.0", "instance-1")
    telemetry = Telemetry.from_settings(collector.url, sender, with_metrics=False)
    telemetry.record(allowed())
    telemetry.close()
    events = checkpoint_events(collector.url, sender.resource(), ORIGIN)
    assert events is not None
    events.send([checkpoint_event(NOTE, 3, AT_NS)])
    events.shutdown()
    assert collector.spans[0].resource == collector.logs[0].resource
