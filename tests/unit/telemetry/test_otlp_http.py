"""The client for OTLP over HTTP, against real sockets.  What is quoted is OTLP 1.10's section on OTLP/HTTP."""

import gzip
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
import trustme
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from callgate.telemetry.otlp import CannotExport, Target
from callgate.telemetry.otlp_http import OtlpClient, Receipt
from support.collector import Answer, BlackHole, Collector, DeadPort

BODY = b""
SHORT_S = 0.3


@pytest.fixture(autouse=True)
def _no_proxy_of_the_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def clients() -> Iterator[list[OtlpClient]]:
    made: list[OtlpClient] = []
    yield made
    for client in made:
        client.shutdown()


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


def _client(clients: list[OtlpClient], url: str, timeout_s: float = 10.0, **settings: object) -> OtlpClient:
    client = OtlpClient(Target(f"{url}/v1/traces", timeout_s=timeout_s, **settings))  # type: ignore[arg-type]
    clients.append(client)
    return client


def test_a_request_is_a_post_of_protobuf_with_the_headers_that_were_asked_for(clients: list[OtlpClient]) -> None:
    with Collector() as collector:
        client = _client(clients, collector.url, headers={"authorization": "Bearer x", "x-tenant": "é"})
        assert client.send(BODY) == Receipt(accepted=True)
    (request,) = collector.received
    assert request.target == "/v1/traces"
    sent = {name: request.headers.get(name) for name in ("content-type", "authorization", "x-tenant", "host")}
    host = collector.url.removeprefix("http://")
    assert sent == {
        "content-type": "application/x-protobuf", "authorization": "Bearer x", "x-tenant": "é", "host": host,
    }  # fmt: skip
    assert "content-encoding" not in request.headers


def test_requests_share_one_connection(clients: list[OtlpClient]) -> None:
    with Collector() as collector:
        client = _client(clients, collector.url)
        assert all(client.send(BODY).accepted for _ in range(5))
    assert len({request.peer for request in collector.received}) == 1


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_status_that_will_pass_is_tried_again(status: int, clients: list[OtlpClient]) -> None:
    with Collector(answers=[Answer(status)]) as collector:
        assert _client(clients, collector.url).send(BODY).accepted
    assert [request.body for request in collector.received] == [BODY, BODY]


@pytest.mark.parametrize("status", [301, 307, 400, 401, 404, 408, 413, 500, 501, 505])
def test_no_other_status_is_tried_again(status: int, clients: list[OtlpClient]) -> None:
    with Collector(status=status) as collector:
        receipt = _client(clients, collector.url).send(BODY)
    assert not receipt.accepted
    assert receipt.why.startswith(f"HTTP {status}")
    assert collector.requests == 1


def test_the_collectors_retry_after_is_waited_for(clients: list[OtlpClient]) -> None:
    with Collector(answers=[Answer(503, {"Retry-After": "1"})]) as collector:
        started = time.monotonic()
        assert _client(clients, collector.url).send(BODY).accepted
    assert time.monotonic() - started >= 1.0


@pytest.mark.parametrize(
    "when",
    ["3600", "99999999999999999999", format_datetime(datetime.now(UTC) + timedelta(days=1))],
    ids=["an hour", "for ever", "a date"],
)
def test_a_retry_after_that_the_timeout_does_not_allow_ends_it_at_once(when: str, clients: list[OtlpClient]) -> None:
    with Collector(answers=[Answer(429, {"Retry-After": when})]) as collector:
        started = time.monotonic()
        receipt = _client(clients, collector.url, timeout_s=30).send(BODY)
    assert receipt.why.startswith("HTTP 429")
    assert time.monotonic() - started < 10
    assert collector.requests == 1


@pytest.mark.parametrize("when", ["0", "soon", "-1", "Sat, 01 Jan 2000 00:00:00 GMT"])
def test_a_retry_after_that_says_nothing_is_replaced_by_the_backoff(when: str, clients: list[OtlpClient]) -> None:
    with Collector(answers=[Answer(503, {"Retry-After": when})]) as collector:
        assert _client(clients, collector.url).send(BODY).accepted
    assert collector.requests == 2


def test_what_stays_unavailable_is_given_up_within_the_timeout(clients: list[OtlpClient]) -> None:
    with Collector(status=503) as collector:
        started = time.monotonic()
        receipt = _client(clients, collector.url, timeout_s=1.0).send(BODY)
    assert receipt.why.startswith("HTTP 503")
    assert time.monotonic() - started < 10


def test_a_connection_that_the_collector_closed_meanwhile_is_replaced_at_once(clients: list[OtlpClient]) -> None:
    with Collector(answers=[Answer(headers={"Connection": "close"})]) as collector:
        client = _client(clients, collector.url, timeout_s=SHORT_S)
        assert client.send(BODY).accepted
        assert client.send(BODY).accepted
    assert len({request.peer for request in collector.received}) == 2


def test_a_connection_that_dies_without_a_word_is_replaced_at_once(clients: list[OtlpClient]) -> None:
    """A collector that restarts: its connections are gone, and nobody was told."""
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"

        def serve() -> None:
            for _ in range(2):
                connection = listening.accept()[0]
                with connection:
                    connection.recv(65536)
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            ended.set()

        serving = threading.Thread(target=serve, daemon=True)
        serving.start()
        client = _client(clients, url, timeout_s=10)
        assert client.send(BODY).accepted
        assert client.send(BODY).accepted
        assert ended.wait(10)
        serving.join()


def test_an_answer_that_is_too_long_does_not_run_into_the_next(clients: list[OtlpClient]) -> None:
    with Collector(answers=[Answer(400, body=b"x" * 200_000)]) as collector:
        client = _client(clients, collector.url)
        assert not client.send(BODY).accepted
        assert client.send(BODY).accepted


def test_what_a_partial_success_rejects_is_told(clients: list[OtlpClient]) -> None:
    partial = ExportTraceServiceResponse()
    partial.partial_success.rejected_spans = 3
    partial.partial_success.error_message = "too old"
    with Collector(answers=[Answer(body=partial.SerializeToString())]) as collector:
        receipt = _client(clients, collector.url).send(BODY)
    assert (receipt.accepted, receipt.rejected) == (True, 3)
    assert "too old" in receipt.why
    # "The client MUST NOT retry the request when it receives a partial success response".
    assert collector.requests == 1


@pytest.mark.parametrize("body", [b"", b"{}", b"\xff\xff\xff"])
def test_an_accepted_request_needs_no_well_formed_answer(body: bytes, clients: list[OtlpClient]) -> None:
    with Collector(answers=[Answer(body=body)]) as collector:
        assert _client(clients, collector.url).send(BODY) == Receipt(accepted=True)


def test_only_what_is_worth_it_is_compressed(clients: list[OtlpClient]) -> None:
    with Collector() as collector:
        # Field 15 of the message is unknown to every collector, which has to skip it.
        small, large = b"\x7a\x02ab", b"\x7a\x80\x20" + b"a" * 4096
        client = _client(clients, collector.url, gzip=True)
        assert client.send(small).accepted
        assert client.send(large).accepted
    first, second = collector.received
    assert (first.body, first.headers.get("content-encoding")) == (small, None)
    assert (gzip.decompress(second.body), second.headers.get("content-encoding")) == (large, "gzip")
    assert len(second.body) < len(large)


def test_a_dead_collector_is_given_up_within_the_timeout(clients: list[OtlpClient]) -> None:
    with DeadPort() as dead:
        receipt = _client(clients, dead.url, timeout_s=SHORT_S).send(BODY)
    assert not receipt.accepted
    assert "ConnectionRefused" in receipt.why


def test_a_silent_collector_is_given_up_within_the_timeout(clients: list[OtlpClient]) -> None:
    with BlackHole() as hole:
        receipt = _client(clients, hole.url, timeout_s=SHORT_S).send(BODY)
    assert not receipt.accepted
    assert "Timeout" in receipt.why


def test_shutdown_ends_a_request_that_waits_for_a_silent_collector(clients: list[OtlpClient]) -> None:
    with BlackHole() as hole:
        client = _client(clients, hole.url, timeout_s=60)
        receipts: list[Receipt] = []
        sending = threading.Thread(target=lambda: receipts.append(client.send(BODY)), daemon=True)
        sending.start()
        assert hole.connected.wait(10)
        client.shutdown()
        sending.join(10)
    assert [receipt.accepted for receipt in receipts] == [False]


def test_shutdown_ends_the_wait_for_another_attempt(clients: list[OtlpClient]) -> None:
    with Collector(answers=[Answer(503, {"Retry-After": "3000"})]) as collector:
        client = _client(clients, collector.url, timeout_s=3600)
        sending = threading.Thread(target=client.send, args=(BODY,), daemon=True)
        sending.start()
        collector.wait_for_requests(1)
        client.shutdown()
        sending.join(10)
    assert not sending.is_alive()


def _tls_collector(authority: trustme.CA, *, of_client: trustme.CA | None = None) -> Collector:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    if of_client is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        of_client.configure_trust(context)
    return Collector(tls=context)


def test_https_is_verified_by_the_certificates_that_were_given(
    authority: trustme.CA, tmp_path: Path, clients: list[OtlpClient]
) -> None:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    with _tls_collector(authority) as collector:
        client = _client(clients, collector.url, ca_file=str(tmp_path / "ca.pem"))
        assert client.send(BODY).accepted
        stranger = _client(clients, collector.url, timeout_s=SHORT_S).send(BODY)
    assert not stranger.accepted
    assert "CERTIFICATE_VERIFY_FAILED" in stranger.why


def test_a_client_certificate_is_presented(authority: trustme.CA, tmp_path: Path, clients: list[OtlpClient]) -> None:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    authority.issue_cert("gate.acme.test").private_key_and_cert_chain_pem.write_to_path(tmp_path / "client.pem")
    with _tls_collector(authority, of_client=authority) as collector:
        ca, own = (str(tmp_path / name) for name in ("ca.pem", "client.pem"))
        assert _client(clients, collector.url, ca_file=ca, certificate_file=own).send(BODY).accepted


def test_the_environments_proxy_is_used_as_metrics_use_it(
    clients: list[OtlpClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Collector() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url.replace("http://", "http://me:pass%20word@"))
        assert _client(clients, "http://collector.test:4318").send(BODY).accepted
    (request,) = proxy.received
    assert request.target == "http://collector.test:4318/v1/traces"
    assert request.headers["host"] == "collector.test:4318"
    assert request.headers["proxy-authorization"] == "Basic bWU6cGFzcyB3b3Jk"


def test_https_goes_through_a_tunnel_of_the_proxys(clients: list[OtlpClient], monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.getsockname()[1]}")
        heard: list[bytes] = []

        def refuse() -> None:
            connection = proxy.accept()[0]
            with connection:
                heard.append(connection.recv(65536))
                connection.sendall(b"HTTP/1.1 403 Forbidden\r\n\r\n")

        refusing = threading.Thread(target=refuse, daemon=True)
        refusing.start()
        receipt = _client(clients, "https://collector.test:4318", timeout_s=SHORT_S).send(BODY)
        refusing.join(10)
    assert heard[0].startswith(b"CONNECT collector.test:4318 HTTP/1.")
    assert "403" in receipt.why


def test_no_proxy_leaves_a_collector_out(clients: list[OtlpClient], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.test:3128")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Collector() as collector:
        assert _client(clients, collector.url).send(BODY).accepted


def test_a_proxy_that_is_not_spoken_to_is_an_error_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://proxy.test:1080")
    with pytest.raises(CannotExport, match="NO_PROXY"):
        OtlpClient(Target("http://collector.test:4318/v1/traces"))
