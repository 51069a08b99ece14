"""TLS contexts: what they demand, whom they believe, and that a key never lies on a disk."""

import errno
import os
import resource
import ssl
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from callgate.identity.spiffe_id import TrustDomain
from callgate.identity.trust import X509Context, parse_bundle
from callgate.identity.x509_svid import parse_x509_svid
from callgate.net.tls_context import agent_facing_context, public_context, web_context, workload_context
from support.pki import Authority, anonymous_client_context, workload

NOW = time.time()
ACME, PARTNER = TrustDomain.parse("acme.test"), TrustDomain.parse("partner.test")
ROOT, PARTNER_ROOT = Authority.root("acme.test", now=NOW), Authority.root("partner.test", now=NOW)
GATE = "spiffe://acme.test/gate"
AGENT = "spiffe://acme.test/agent"
# A name of which one attribute is a NULL: cryptography leaves it be, OpenSSL reads no further.
COMMON_NAME = b"root of partner.test"
UNREADABLE = PARTNER_ROOT.reissue(
    PARTNER_ROOT.der, b"\x0c%c%s" % (len(COMMON_NAME), COMMON_NAME), b"\x05%c%s" % (len(COMMON_NAME), COMMON_NAME)
)


def identity(spiffe_id: str = GATE, partner: bytes = PARTNER_ROOT.der) -> X509Context:
    issued = ROOT.issue(workload(spiffe_id, now=NOW))
    svid = parse_x509_svid(spiffe_id, issued.chain_der, issued.key_der, "")
    return X509Context((svid,), {ACME: parse_bundle(ACME, ROOT.der), PARTNER: parse_bundle(PARTNER, partner)})


def shaken(server: ssl.SSLContext, client: ssl.SSLContext) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """Both ends of a handshake in memory.  Raises `ssl.SSLError`, the server's where both fail."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = server.wrap_bio(up, down, server_side=True)
    theirs = client.wrap_bio(down, up, server_hostname="localhost")
    open_ends = [theirs, ours]
    for _ in range(6):
        for end in tuple(open_ends):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            open_ends.remove(end)
        if not open_ends:
            return ours, theirs
    raise AssertionError("no end of the handshake")


@contextmanager
def no_file_can_grow() -> Iterator[None]:
    """While it lasts the kernel refuses every byte that would go into a file, on disk or in memory; pipes are none."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_the_guard_of_the_next_test_holds(tmp_path: Path) -> None:
    with no_file_can_grow(), pytest.raises(OSError) as refused:  # noqa: PT011  # the number says which
        (tmp_path / "key.pem").write_bytes(b"key")
    assert refused.value.errno == errno.EFBIG


def test_no_key_is_written_to_a_file() -> None:
    known = identity()
    with no_file_can_grow():
        agent_facing_context(known)
        public_context(known)
        workload_context(known, known.bundles[ACME])


def test_no_descriptor_stays_open() -> None:
    known = identity()
    before = os.listdir("/proc/self/fd")  # noqa: PTH208  # a list of numbers
    agent_facing_context(known)
    assert os.listdir("/proc/self/fd") == before  # noqa: PTH208


def test_chain_that_no_pipe_holds_is_an_error_and_no_standstill() -> None:
    known = identity()
    endless = replace(known.svid, chain=known.svid.chain * 200)
    before = os.listdir("/proc/self/fd")  # noqa: PTH208
    with pytest.raises(OSError):  # noqa: PT011  # whichever the pipe says
        agent_facing_context(X509Context((endless,), known.bundles))
    assert os.listdir("/proc/self/fd") == before  # noqa: PTH208


def contexts() -> Sequence[ssl.SSLContext]:
    known = identity()
    return agent_facing_context(known), public_context(known), workload_context(known, known.bundles[ACME])


def test_tls_1_3_alone_is_spoken_with_workloads() -> None:
    for context in contexts():
        assert context.minimum_version is context.maximum_version is ssl.TLSVersion.TLSv1_3


def test_each_identity_update_has_a_context_of_its_own() -> None:
    known = identity()
    assert agent_facing_context(known) is not agent_facing_context(known)


def test_servers_give_out_no_tickets() -> None:
    known = identity()
    for context in (agent_facing_context(known), public_context(known)):
        assert context.num_tickets == 0


@pytest.mark.parametrize(("offered", "chosen"), [(["h2", "http/1.1"], "http/1.1"), (["h2"], None), ([], None)])
def test_http_1_1_is_the_protocol_within(offered: list[str], chosen: str | None) -> None:
    client = workload_context(identity(AGENT), identity().bundles[ACME])
    client.set_alpn_protocols(offered)
    server, _ = shaken(agent_facing_context(identity()), client)
    assert server.selected_alpn_protocol() == chosen


def test_client_asks_for_http_1_1() -> None:
    known = identity(AGENT)
    server, client = shaken(agent_facing_context(identity()), workload_context(known, known.bundles[ACME]))
    assert server.selected_alpn_protocol() == client.selected_alpn_protocol() == "http/1.1"
    assert server.version() == "TLSv1.3"


def test_agents_have_to_show_a_certificate_and_others_have_not() -> None:
    known = identity()
    with pytest.raises(ssl.SSLError, match="PEER_DID_NOT_RETURN_A_CERTIFICATE"):
        shaken(agent_facing_context(known), anonymous_client_context([ROOT]))
    shaken(public_context(known), anonymous_client_context([ROOT]))


def test_tool_server_is_believed_under_its_own_trust_domains_bundle_alone() -> None:
    known = identity()
    server = agent_facing_context(known)
    shaken(server, workload_context(identity(AGENT), known.bundles[ACME]))
    with pytest.raises(ssl.SSLCertVerificationError):
        shaken(server, workload_context(identity(AGENT), known.bundles[PARTNER]))


@pytest.mark.parametrize("partner", [b"", UNREADABLE, UNREADABLE + PARTNER_ROOT.der])
def test_bundle_that_is_of_no_use_is_no_fault_of_the_others(partner: bytes) -> None:
    known = identity(partner=partner)
    client = identity(AGENT)
    server, _ = shaken(agent_facing_context(known), workload_context(client, client.bundles[ACME]))
    assert server.getpeercert(binary_form=True) == client.svid.chain[0]


def test_readable_authority_counts_beside_one_that_is_not(tmp_path: Path) -> None:
    theirs = PARTNER_ROOT.issue(workload("spiffe://partner.test/agent", now=NOW)).client_context(tmp_path)
    shaken(agent_facing_context(identity(partner=UNREADABLE + PARTNER_ROOT.der)), theirs)
    with pytest.raises(ssl.SSLCertVerificationError):
        shaken(agent_facing_context(identity(partner=UNREADABLE)), theirs)


def test_servers_of_the_web_are_checked_by_name_and_authority() -> None:
    context = web_context()
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
