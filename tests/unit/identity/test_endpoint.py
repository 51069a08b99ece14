import pytest

from callgate.identity.endpoint import InvalidEndpoint, endpoint_or_default, parse_endpoint


@pytest.mark.parametrize(
    ("address", "socket_path", "grpc_target"),
    [
        ("unix:///run/spire/agent.sock", "/run/spire/agent.sock", "unix:/run/spire/agent.sock"),
        ("unix:/run/spire/agent.sock", "/run/spire/agent.sock", "unix:/run/spire/agent.sock"),
        ("unix:///run/a%20b/s.sock", "/run/a b/s.sock", "unix:/run/a%20b/s.sock"),
        ("unix:///run/100%25/s.sock", "/run/100%/s.sock", "unix:/run/100%25/s.sock"),
        ("unix:///" + "x" * 106, "/" + "x" * 106, "unix:/" + "x" * 106),
        ("tcp://127.0.0.1:8000", "", "ipv4:127.0.0.1:8000"),
        ("tcp://[::1]:8000", "", "ipv6:[::1]:8000"),
    ],
)
def test_reads_what_the_workload_endpoint_standard_allows(address: str, socket_path: str, grpc_target: str) -> None:
    endpoint = parse_endpoint(address)
    assert (endpoint.socket_path, endpoint.grpc_target, str(endpoint)) == (socket_path, grpc_target, address)


@pytest.mark.parametrize(
    "address",
    [
        "/run/spire/agent.sock",
        "http://127.0.0.1:8000",
        "UNIX:///run/agent.sock",
        "unix:",
        "unix://",
        "unix:///",
        "unix:run/agent.sock",
        "unix://run/agent.sock",
        "unix://john:doe@run/agent.sock",
        "unix:////run/agent.sock",
        "unix:///run/agent.sock?x",
        "unix:///run/agent.sock#x",
        "unix:///run/agent.sock\n",
        "unix:///run/a b.sock",
        "unix:///run/%zz.sock",
        "unix:///run/%00.sock",
        "unix:///" + "x" * 107,
        "tcp:127.0.0.1:8000",
        "tcp://",
        "tcp://127.0.0.1",
        "tcp://127.0.0.1:",
        "tcp://127.0.0.1:0",
        "tcp://127.0.0.1:65536",
        "tcp://127.0.0.1:8000/",
        "tcp://127.0.0.1:8000/foo",
        "tcp://127.0.0.1:8000?x",
        "tcp://127.0.0.1:8000#x",
        "tcp://john:doe@127.0.0.1:8000",
        "tcp://localhost:8000",
        "tcp://::1:8000",
        "tcp://[127.0.0.1]:8000",
        "tcp://127.0.0.01:8000",
        "tcp://127.0.0.1:8000\n",
        "tcp://127.0.0.1:\u0661",
    ],
)
def test_refuses_what_the_workload_endpoint_standard_does_not_allow(address: str) -> None:
    with pytest.raises(InvalidEndpoint) as raised:
        parse_endpoint(address)
    assert repr(address) in str(raised.value)


def test_configuration_comes_before_the_environment() -> None:
    environment = {"SPIFFE_ENDPOINT_SOCKET": "unix:///run/environment.sock"}
    assert endpoint_or_default("unix:///run/configured.sock", environment).socket_path == "/run/configured.sock"
    assert endpoint_or_default(None, environment).socket_path == "/run/environment.sock"


@pytest.mark.parametrize("environment", [{}, {"SPIFFE_ENDPOINT_SOCKET": ""}])
def test_no_address_at_all_is_told_with_the_variable_to_set(environment: dict[str, str]) -> None:
    with pytest.raises(InvalidEndpoint, match="SPIFFE_ENDPOINT_SOCKET"):
        endpoint_or_default(None, environment)
