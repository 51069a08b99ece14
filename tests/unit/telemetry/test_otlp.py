"""Where telemetry goes and how: the OTLP exporter specification's rules, and our own file before them."""

import os
import ssl
from pathlib import Path

import pytest
import trustme
from opentelemetry.sdk.resources import Resource

from callgate.telemetry.export import Telemetry
from callgate.telemetry.metric_export import metric_export
from callgate.telemetry.otlp import EXPORT_TIMEOUT_S, CannotExport, Service, Target, target_of

URL = "http://127.0.0.1:4318"


@pytest.fixture(autouse=True)
def _nothing_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("OTEL_"):
            monkeypatch.delenv(name)


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    return monkeypatch


def _target() -> Target:
    target = target_of(URL, "traces")
    assert target is not None
    return target


@pytest.mark.parametrize(
    ("url", "variables", "endpoint"),
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
        ("http://c", {"OTEL_TRACES_EXPORTER": "otlp"}, "http://c/v1/traces"),
        (None, {"OTEL_EXPORTER_OTLP_ENDPOINT": " "}, None),
    ],
)
def test_the_address_of_the_traces(
    url: str | None, variables: dict[str, str], endpoint: str | None, environment: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        environment.setenv(name, value)
    target = target_of(url, "traces")
    assert (target.url if target else None) == endpoint


def test_without_settings_a_target_has_the_defaults() -> None:
    assert _target() == Target("http://127.0.0.1:4318/v1/traces", {}, EXPORT_TIMEOUT_S)


def test_headers_are_percent_decoded_and_those_of_the_signal_replace_the_general_ones(
    environment: pytest.MonkeyPatch,
) -> None:
    environment.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=a%20b , Authorization=Basic%20eHg6eXk%3D,")
    assert _target().headers == {"x-tenant": "a b", "authorization": "Basic eHg6eXk="}
    environment.setenv("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "x-tenant=c=d")
    assert _target().headers == {"x-tenant": "c=d"}


def test_timeouts_are_milliseconds_as_the_specification_has_them(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "2500")
    assert _target().timeout_s == 2.5
    environment.setenv("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "700")
    assert _target().timeout_s == 0.7


@pytest.mark.parametrize(("value", "compressed"), [("gzip", True), ("none", False), ("GZIP", True)])
def test_compression_is_asked_for(value: str, compressed: bool, environment: pytest.MonkeyPatch) -> None:
    environment.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", value)
    assert _target().gzip is compressed


def test_certificates_are_read_for_https_and_left_alone_for_http(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    authority = trustme.CA()
    client = authority.issue_cert("gate.acme.test")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    client.private_key_and_cert_chain_pem.write_to_path(tmp_path / "client.pem")
    environment.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", str(tmp_path / "ca.pem"))
    environment.setenv("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", str(tmp_path / "client.pem"))
    secure = target_of("https://c:4318", "traces")
    assert secure is not None
    context = secure.tls()
    assert context is not None
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert len(context.get_ca_certs()) == 1
    assert _target().tls() is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_TRACES_EXPORTER", "zipkin"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "deflate"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "10"),  # it was meant as seconds
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "2.5"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "0"),
        ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "60001"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a b=c"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x=1%0D%0Ay: 2"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "Content-Length=1"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "host=other"),
        ("OTEL_PYTHON_EXPORTER_OTLP_HTTP_TRACES_CREDENTIAL_PROVIDER", "gcp"),
        ("OTEL_PYTHON_EXPORTER_OTLP_HTTP_CREDENTIAL_PROVIDER", "gcp"),
    ],
)
def test_what_cannot_be_done_is_an_error_at_the_start_that_names_the_variable(
    name: str, value: str, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv(name, value)
    with pytest.raises(CannotExport, match=name.replace("_TRACES_CREDENTIAL", "(_TRACES)?_CREDENTIAL")):
        Telemetry.from_settings(URL, Service("callgate", "", ""))


@pytest.mark.parametrize(
    "url", ["ftp://c", "c:4318", "http://", "http://c:0", "http://c:99999", "http://u:p@c:4318", "http://c/a b", "//c"]
)
def test_an_address_that_is_none_is_an_error_at_the_start(url: str, environment: pytest.MonkeyPatch) -> None:
    environment.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", url)
    with pytest.raises(CannotExport, match="OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"):
        target_of(None, "traces")


@pytest.mark.parametrize("variable", ["CERTIFICATE", "CLIENT_CERTIFICATE"])
@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_certificate_that_cannot_be_used_is_an_error_at_the_start(
    variable: str, content: str | None, environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "given.pem"
    if content is not None:
        file.write_text(content)
    environment.setenv(f"OTEL_EXPORTER_OTLP_{variable}", str(file))
    with pytest.raises(CannotExport, match=r"given\.pem"):
        target_of("https://c:4318", "traces")


def test_a_key_without_its_certificate_is_an_error_at_the_start(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("OTEL_EXPORTER_OTLP_CLIENT_KEY", "key.pem")
    with pytest.raises(CannotExport, match="CLIENT_KEY"):
        target_of("https://c:4318", "traces")


def test_no_message_and_no_text_form_holds_a_credential(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=canary-7f3a")
    assert "canary" not in repr(_target())
    environment.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer canary-7f3a%0A")
    environment.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://user:canary-7f3a@c")
    for signal, url in (("traces", None), ("metrics", URL)):
        with pytest.raises(CannotExport) as refused:
            target_of(url, signal)
        assert "canary" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_METRICS_EXPORTER", "prometheus"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "1 min"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "0"),
        ("OTEL_METRIC_EXPORT_TIMEOUT", "-1"),
        ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "sometimes"),
        ("OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION", "base2_exponential_bucket_histogram"),
    ],
)
def test_what_metrics_cannot_do_is_an_error_at_the_start(
    name: str, value: str, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv(name, value)
    with pytest.raises(CannotExport, match=name):
        metric_export(URL, Resource({}), lambda: None)


def test_the_service_goes_before_the_environment_and_keeps_what_that_adds(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=lab,service.version=9")
    attributes = Service("callgate", "0.1.0", "i-1").resource().attributes
    assert attributes["service.version"] == "0.1.0"
    assert attributes["deployment.environment.name"] == "lab"
