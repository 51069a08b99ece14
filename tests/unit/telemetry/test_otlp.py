"""Which address telemetry goes to: the OTLP exporter specification's rules, and our own file before them."""

import pytest
from opentelemetry.sdk.resources import Resource

from callgate.telemetry.otlp import HashedOnce, Service, span_exporter

_NAMES = (
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_SDK_DISABLED",
    "OTEL_TRACES_EXPORTER",
    "OTEL_SERVICE_NAME",
    "OTEL_RESOURCE_ATTRIBUTES",
)


@pytest.mark.parametrize(
    ("url", "environment", "endpoint"),
    [
        (None, {}, None),
        ("http://c:4318", {}, "http://c:4318/v1/traces"),
        ("http://c:4318/", {}, "http://c:4318/v1/traces"),
        ("http://c:4318/otlp", {}, "http://c:4318/otlp/v1/traces"),
        (None, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://e:4318"}, "http://e:4318/v1/traces"),
        (None, {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://e/mine"}, "http://e/mine"),
        ("http://c", {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://e/mine"}, "http://c/v1/traces"),
        ("http://c", {"OTEL_SDK_DISABLED": "true"}, None),
        ("http://c", {"OTEL_TRACES_EXPORTER": "none"}, None),
        (None, {"OTEL_EXPORTER_OTLP_ENDPOINT": " "}, None),
    ],
)
def test_the_address_of_the_traces(
    url: str | None, environment: dict[str, str], endpoint: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in _NAMES:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    exporter = span_exporter(url)
    assert getattr(exporter, "_endpoint", None) == endpoint


def test_the_service_goes_before_the_environment_and_keeps_what_that_adds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=lab,service.version=9")
    attributes = Service("callgate", "0.1.0", "i-1").resource().attributes
    assert attributes["service.version"] == "0.1.0"
    assert attributes["deployment.environment.name"] == "lab"


def test_a_resource_that_is_hashed_once_equals_the_one_it_was_made_from() -> None:
    plain = Resource({"service.name": "callgate"})
    once = HashedOnce(plain)
    assert once == plain
    assert hash(once) == hash(plain)
    assert once != Resource({"service.name": "other"})
