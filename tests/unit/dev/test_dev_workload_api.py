import socket
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from spiffe import TrustDomain as TheirTrustDomain
from spiffe import WorkloadApiClient
from spiffe.errors import PySpiffeError

from callgate.dev.issuance import DevWorkloadApiError
from callgate.dev.workload_api import MAX_STREAMS_PER_WORKLOAD, STOP_GRACE_S, DevWorkloadApi
from callgate.identity.endpoint import InvalidEndpoint, parse_endpoint
from callgate.identity.workload_api import SECURITY_METADATA, X509SVIDResponse

PATIENCE_S = 10.0
WORKLOADS = {"gate": "spiffe://acme.test/gate", "agent": "spiffe://partner.test/agent"}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "api"


@pytest.fixture
def api(directory: Path) -> Iterator[DevWorkloadApi]:
    with DevWorkloadApi(directory, WORKLOADS, dns_names={"gate": ("localhost",)}) as running:
        yield running


@pytest.fixture
def channel(api: DevWorkloadApi) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(parse_endpoint(api.endpoint("gate")).grpc_target) as connected:
        yield connected


def opened(
    channel: grpc.Channel, method: str = "FetchX509SVID", metadata: tuple[tuple[str, str], ...] = (SECURITY_METADATA,)
) -> Iterator[bytes]:
    call: grpc.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(f"/SpiffeWorkloadAPI/{method}")
    return call(b"", metadata=metadata, timeout=PATIENCE_S)


def code_of(channel: grpc.Channel, method: str, *metadata: tuple[str, str]) -> grpc.StatusCode:
    with pytest.raises(grpc.RpcError) as raised:
        next(opened(channel, method, metadata))
    return raised.value.code()


def test_spiffe_client_gets_svid_key_and_all_bundles(api: DevWorkloadApi) -> None:
    with WorkloadApiClient(api.endpoint("gate")) as client:
        context = client.fetch_x509_context(timeout=PATIENCE_S)
    assert str(context.default_svid.spiffe_id) == "spiffe://acme.test/gate"
    bundles = {str(bundle.trust_domain): bundle for bundle in context.x509_bundle_set.bundles}
    assert set(bundles) == {"acme.test", "partner.test"}
    assert len(bundles["partner.test"].x509_authorities) == 1


def test_each_socket_has_its_own_identity(api: DevWorkloadApi) -> None:
    with WorkloadApiClient(api.endpoint("agent")) as client:
        assert str(client.fetch_x509_svid(timeout=PATIENCE_S).spiffe_id) == "spiffe://partner.test/agent"


def test_spiffe_client_gets_bundles_alone(api: DevWorkloadApi) -> None:
    with WorkloadApiClient(api.endpoint("gate")) as client:
        found = client.fetch_x509_bundles(timeout=PATIENCE_S)
    assert found.get_bundle_for_trust_domain(TheirTrustDomain("acme.test")) is not None
    assert found.get_bundle_for_trust_domain(TheirTrustDomain("partner.test")) is not None


def test_spiffe_client_follows_a_rotation(api: DevWorkloadApi) -> None:
    serials: list[int] = []
    first, second = threading.Event(), threading.Event()

    def take(context: object) -> None:
        serials.append(context.default_svid.leaf.serial_number)  # type: ignore[attr-defined]
        (second if first.is_set() else first).set()

    with WorkloadApiClient(api.endpoint("gate")) as client:
        following = client.stream_x509_contexts(take, serials.append)  # type: ignore[arg-type]
        assert first.wait(PATIENCE_S)
        api.rotate("gate")
        assert second.wait(PATIENCE_S)
        following.cancel()
    assert len(set(serials)) == 2


def test_spiffe_client_is_denied_a_withdrawn_identity(api: DevWorkloadApi) -> None:
    api.withdraw("gate")
    with WorkloadApiClient(api.endpoint("gate")) as client, pytest.raises(PySpiffeError, match="no identity issued"):
        client.fetch_x509_svid(timeout=PATIENCE_S)


@pytest.mark.parametrize("method", ["FetchJWTSVID", "FetchJWTBundles", "ValidateJWTSVID", "FetchWITSVID"])
def test_what_is_not_served_is_unimplemented(channel: grpc.Channel, method: str) -> None:
    assert code_of(channel, method, SECURITY_METADATA) is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("method", ["FetchX509SVID", "FetchX509Bundles"])
@pytest.mark.parametrize("metadata", [(), (("workload.spiffe.io", "True"),), (("workload.spiffe.io", "1"),)])
def test_request_without_the_security_metadata_is_an_invalid_argument(
    channel: grpc.Channel, method: str, metadata: tuple[tuple[str, str], ...]
) -> None:
    assert code_of(channel, method, *metadata) is grpc.StatusCode.INVALID_ARGUMENT


def test_svid_is_pushed_at_half_of_its_life(directory: Path) -> None:
    api = DevWorkloadApi(directory, WORKLOADS, ttl_s=2.0)
    with api, grpc.insecure_channel(parse_endpoint(api.endpoint("gate")).grpc_target) as channel:
        stream = opened(channel)
        first, second = next(stream), next(stream)
    assert first != second


def test_dns_names_are_in_the_svid_of_their_workload_alone(api: DevWorkloadApi) -> None:
    names = {}
    for name in WORKLOADS:
        leaf = x509.load_der_x509_certificate(api.message(name).svids[0].x509_svid)
        found = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names[name] = found.get_values_for_type(x509.DNSName)
    assert names == {"gate": ["localhost"], "agent": []}


def test_only_the_user_can_reach_the_sockets(api: DevWorkloadApi, directory: Path) -> None:
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert stat.S_IMODE((directory / "gate.sock").stat().st_mode) == 0o600
    assert api.endpoint("gate") == f"unix://{directory}/gate.sock"


def test_directory_that_others_can_enter_is_refused(directory: Path) -> None:
    directory.mkdir()
    directory.chmod(0o755)
    with pytest.raises(DevWorkloadApiError, match="other users can reach"):
        DevWorkloadApi(directory, WORKLOADS).start()
    assert list(directory.iterdir()) == []


def test_directory_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DevWorkloadApiError, match="cannot use the directory"):
        DevWorkloadApi(tmp_path / "file", WORKLOADS).start()


def test_directory_may_hold_characters_that_an_address_must_encode(tmp_path: Path) -> None:
    with DevWorkloadApi(tmp_path / "my 100% api", WORKLOADS) as api:
        assert api.endpoint("gate").endswith("/my%20100%25%20api/gate.sock")
        with grpc.insecure_channel(parse_endpoint(api.endpoint("gate")).grpc_target) as channel:
            raw = next(opened(channel))
    assert X509SVIDResponse.FromString(raw).svids[0].spiffe_id == "spiffe://acme.test/gate"


def test_sockets_and_threads_are_gone_after_stop(directory: Path) -> None:
    api = DevWorkloadApi(directory, WORKLOADS)
    api.start()
    api.stop()
    api.stop()
    assert list(directory.iterdir()) == []
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("callgate-dev")]


def test_stop_does_not_wait_for_open_streams(api: DevWorkloadApi, channel: grpc.Channel) -> None:
    streams = [opened(channel) for _ in range(3)]
    for stream in streams:
        next(stream)
    started = time.monotonic()
    api.stop()
    assert time.monotonic() - started < STOP_GRACE_S
    for stream in streams:
        with pytest.raises(grpc.RpcError) as raised:
            next(stream)
        assert raised.value.code() is grpc.StatusCode.UNAVAILABLE


def test_streams_beyond_the_limit_are_refused_and_not_kept_waiting(api: DevWorkloadApi, channel: grpc.Channel) -> None:
    streams = [opened(channel) for _ in range(MAX_STREAMS_PER_WORKLOAD)]
    for stream in streams:
        next(stream)
    assert code_of(channel, "FetchX509SVID", SECURITY_METADATA) is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert api.streams_opened("gate") == MAX_STREAMS_PER_WORKLOAD


def test_authorities_outlive_a_restart_and_svids_do_not(api: DevWorkloadApi) -> None:
    before = api.message("gate")
    api.stop()
    api.start()
    after = api.message("gate")
    assert after.svids[0].bundle == before.svids[0].bundle
    assert after.svids[0].x509_svid != before.svids[0].x509_svid


def test_socket_that_a_killed_server_left_behind_is_replaced(directory: Path) -> None:
    directory.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(directory / "gate.sock"))
    with DevWorkloadApi(directory, WORKLOADS) as api, WorkloadApiClient(api.endpoint("gate")) as client:
        assert str(client.fetch_x509_svid(timeout=PATIENCE_S).spiffe_id) == "spiffe://acme.test/gate"


def test_socket_that_another_server_serves_is_left_alone(api: DevWorkloadApi, directory: Path) -> None:
    with pytest.raises(DevWorkloadApiError, match=r"another process serves .*gate\.sock already"):
        DevWorkloadApi(directory, WORKLOADS).start()
    with WorkloadApiClient(api.endpoint("gate")) as client:
        assert str(client.fetch_x509_svid(timeout=PATIENCE_S).spiffe_id) == "spiffe://acme.test/gate"


def test_file_in_the_place_of_a_socket_is_left_alone(directory: Path) -> None:
    directory.mkdir(mode=0o700)
    (directory / "gate.sock").write_text("precious")
    with pytest.raises(DevWorkloadApiError, match="is no socket"):
        DevWorkloadApi(directory, WORKLOADS).start()
    assert (directory / "gate.sock").read_text() == "precious"


@pytest.mark.parametrize("name", ["", "../gate", "a/b", ".hidden", "gate\n", "g" * 64])
def test_name_that_cannot_be_a_file_is_refused(directory: Path, name: str) -> None:
    with pytest.raises(DevWorkloadApiError, match="cannot name a socket"):
        DevWorkloadApi(directory, {name: "spiffe://acme.test/gate"})


def test_path_too_long_for_a_socket_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidEndpoint, match="107 bytes"):
        DevWorkloadApi(tmp_path / ("d" * 100), WORKLOADS)


def test_says_which_workloads_there_are(api: DevWorkloadApi) -> None:
    with pytest.raises(DevWorkloadApiError, match="there are gate, agent"):
        api.endpoint("gaet")
