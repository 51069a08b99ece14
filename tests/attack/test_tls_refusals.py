"""Whoever is not a workload with a good SVID gets no further than the door, is told why, and leaves one trace."""

import socket
import ssl
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import trio

from callgate.errors import Reason
from callgate.trace import DecisionTrace, Stage
from support.gate import Gate, authority_of, context_of, running_gate
from support.pki import LEAF_FAULTS, Authority, Profile, anonymous_client_context, p256, signer, workload
from support.raw_agent import modern, modern_call
from support.tls_agent import CLOSED, dialled, error_of, refused_by, until, with_headers
from support.upstream import ScriptedServer, scripted_server

AGENT = "spiffe://acme.test/ns/billing/sa/refund-agent"

# What OpenSSL itself refuses, and the alert by which it says so (RFC 8446, section 6.2).
REFUSED_BY_ALERT = {
    "expired": ("certificate_expired", Reason.TLS_CERTIFICATE_EXPIRED),
    "not_yet_valid": ("bad_certificate", Reason.TLS_CERTIFICATE_NOT_YET_VALID),
    "rsa_1024": ("bad_certificate", Reason.TLS_CERTIFICATE_UNTRUSTED),
    "server_auth_only": ("unsupported_certificate", Reason.TLS_CERTIFICATE_UNTRUSTED),
    "any_purpose_only": ("unsupported_certificate", Reason.TLS_CERTIFICATE_UNTRUSTED),
    "unknown_critical_extension": ("certificate_unknown", Reason.TLS_CERTIFICATE_UNTRUSTED),
    # TLS 1.3 has no signature scheme for these curves: such a client has nothing to show.
    "p192": ("certificate_required", Reason.TLS_NO_CERTIFICATE),
    "secp256k1": ("certificate_required", Reason.TLS_NO_CERTIFICATE),
}
# What OpenSSL lets through and SPIFFE does not (X509-SVID, sections 2 to 5).
REFUSED_BY_ANSWER = {
    "no_san": Reason.SVID_NO_URI,
    "dns_name_only": Reason.SVID_NO_URI,
    "two_uris": Reason.SVID_SEVERAL_URIS,
    "same_uri_twice": Reason.SVID_SEVERAL_URIS,
    "second_uri_not_spiffe": Reason.SVID_SEVERAL_URIS,
    "https_uri": Reason.SVID_ID_INVALID,
    "misspelt_scheme": Reason.SVID_ID_INVALID,
    "upper_case_scheme": Reason.SVID_ID_INVALID,
    "upper_case_trust_domain": Reason.SVID_ID_INVALID,
    "port_in_id": Reason.SVID_ID_INVALID,
    "user_in_id": Reason.SVID_ID_INVALID,
    "query_in_id": Reason.SVID_ID_INVALID,
    "newline_in_id": Reason.SVID_ID_INVALID,
    "nul_in_id": Reason.SVID_ID_INVALID,
    "id_too_long": Reason.SVID_ID_INVALID,
    "root_path": Reason.SVID_ROOT_PATH,
    "ca": Reason.SVID_IS_CA,
    "no_key_usage": Reason.SVID_KEY_USAGE,
    "key_usage_not_critical": Reason.SVID_KEY_USAGE,
    "no_digital_signature": Reason.SVID_KEY_USAGE,
    "key_cert_sign": Reason.SVID_KEY_USAGE,
    "crl_sign": Reason.SVID_KEY_USAGE,
    "client_auth_only": Reason.SVID_EXTENDED_KEY_USAGE,
    "empty_subject": Reason.SVID_SUBJECT,
    "name_constraints_in_leaf": Reason.SVID_CRITICAL_EXTENSION,
    "ed448": Reason.SVID_WEAK_KEY,
}


@dataclass(frozen=True, slots=True)
class Door:
    """A gate before a tool server, and where the certificates of this test lie."""

    gate: Gate
    upstream: ScriptedServer
    folder: Path

    def context(self, leaf: Profile, authority: Authority | None = None) -> ssl.SSLContext:
        return (authority or authority_of(self.gate.api)).issue(leaf).client_context(self.folder)


@asynccontextmanager
async def door(folder: Path, more: str = "") -> AsyncIterator[Door]:
    """A gate of which every visitor is expected to be turned away."""
    async with scripted_server() as upstream:
        async with running_gate(folder, upstream.url, more=more) as gate:
            yield Door(gate, upstream, folder)
        assert upstream.connections == 0, "the tool server was reached"


def leaf(spiffe_id: str = AGENT) -> Profile:
    return workload(spiffe_id, now=time.time())


async def assert_refused_by_alert(at: Door, context: ssl.SSLContext, alert: str, reason: Reason) -> None:
    """Twice: for a client that listens, and for one that has already sent a call when the alert arrives."""
    assert await refused_by(at.gate, context) == alert
    assert await refused_by(at.gate, context, modern_call("get_invoice")) == alert
    for trace in await traces_in_the_end(at.gate, 2):
        assert trace.path == (f"accept=refused:{reason}",)
        assert_undecided(trace)


async def assert_refused_by_answer(at: Door, context: ssl.SSLContext, reason: Reason) -> None:
    async with dialled(at.gate, context) as agent:
        answer = await agent.ask(modern_call("get_invoice"))
        assert error_of(answer) == (403, -31401, reason)
        assert await agent.farewell() == CLOSED
    (trace,) = await traces_in_the_end(at.gate, 1)
    assert trace.path == ("accept=ok", f"authenticate=refused:{reason}", "respond=ok")
    assert_undecided(trace)
    told = answer.message["error"]["data"]
    assert told == {"reason": reason, "decision_id": trace.decision_id, "trace_id": f"{trace.trace_id:032x}"}


def assert_undecided(trace: DecisionTrace) -> None:
    assert trace.decision == "deny"
    assert Stage.DECIDE not in {record.stage for record in trace.records}


async def traces_in_the_end(gate: Gate, count: int) -> Sequence[DecisionTrace]:
    """All traces when no connection is left to leave one more."""
    traces = await gate.traces_when(count)
    gate.service.stop()
    await until(lambda: gate.service._connections == 0)
    assert len(traces) == count
    return traces


def test_the_tables_name_every_faulty_leaf() -> None:
    assert REFUSED_BY_ALERT.keys() | REFUSED_BY_ANSWER.keys() == LEAF_FAULTS.keys()


@pytest.mark.parametrize("fault", REFUSED_BY_ALERT)
async def test_refuses_leaf_by_its_tls_alert(tmp_path: Path, fault: str) -> None:
    async with door(tmp_path) as at:
        await assert_refused_by_alert(at, at.context(LEAF_FAULTS[fault](leaf())), *REFUSED_BY_ALERT[fault])


@pytest.mark.parametrize("fault", REFUSED_BY_ANSWER)
async def test_refuses_leaf_by_its_reason(tmp_path: Path, fault: str) -> None:
    async with door(tmp_path) as at:
        await assert_refused_by_answer(at, at.context(LEAF_FAULTS[fault](leaf())), REFUSED_BY_ANSWER[fault])


async def test_refuses_client_without_certificate(tmp_path: Path) -> None:
    async with door(tmp_path) as at:
        context = anonymous_client_context()
        await assert_refused_by_alert(at, context, "certificate_required", Reason.TLS_NO_CERTIFICATE)


async def test_refuses_leaf_of_an_authority_that_nobody_vouches_for(tmp_path: Path) -> None:
    async with door(tmp_path) as at:
        stranger = at.context(leaf(), Authority.root("acme.test", now=time.time()))
        await assert_refused_by_alert(at, stranger, "unknown_ca", Reason.TLS_CERTIFICATE_UNTRUSTED)


async def test_refuses_leaf_that_signed_itself(tmp_path: Path) -> None:
    async with door(tmp_path) as at:
        profile = replace(leaf(), key=p256())
        own = Authority.self_signed(profile)
        await assert_refused_by_alert(at, at.context(profile, own), "unknown_ca", Reason.TLS_CERTIFICATE_UNTRUSTED)


async def test_refuses_tls_1_2(tmp_path: Path) -> None:
    async with door(tmp_path) as at:
        context = at.context(leaf())
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        assert await refused_by(at.gate, context) == "protocol_version"
        (trace,) = await traces_in_the_end(at.gate, 1)
        assert trace.path == ("accept=refused:tls_protocol_version",)


async def test_refuses_leaf_of_one_trust_domain_that_claims_an_id_in_another(tmp_path: Path) -> None:
    async with door(tmp_path) as at:
        forged = at.context(leaf(AGENT), authority_of(at.gate.api, "partner.test"))
        await assert_refused_by_answer(at, forged, Reason.SVID_UNTRUSTED)


async def test_refuses_id_in_a_trust_domain_without_a_bundle(tmp_path: Path) -> None:
    async with door(tmp_path) as at:
        foreign = at.context(leaf("spiffe://elsewhere.test/ns/billing/sa/refund-agent"))
        await assert_refused_by_answer(at, foreign, Reason.TRUST_DOMAIN_UNKNOWN)


async def test_refuses_an_authority_that_comes_itself(tmp_path: Path) -> None:
    async with door(tmp_path) as at:
        now = time.time()
        above = replace(signer("above", "acme.test", now=now), uris=())
        usage = frozenset({"key_cert_sign", "digital_signature"})
        comes = at.context(replace(above, uris=(AGENT,), key_usage=usage))
        await assert_refused_by_answer(at, comes, Reason.SVID_IS_CA)


async def test_refuses_chain_of_more_than_eight_certificates(tmp_path: Path) -> None:
    async with door(tmp_path) as at:
        authority = authority_of(at.gate.api)
        for number in range(8):
            authority = authority.intermediate(signer(f"level {number}", "acme.test", now=time.time()))
        await assert_refused_by_answer(at, at.context(leaf(), authority), Reason.SVID_CHAIN_TOO_LONG)


async def test_refused_peer_that_never_asks_for_anything_leaves_one_trace(tmp_path: Path) -> None:
    async with door(tmp_path) as at:
        async with dialled(at.gate, at.context(LEAF_FAULTS["two_uris"](leaf()))) as agent:
            await agent.stream.do_handshake()
            await agent.stream.aclose()
        (trace,) = await traces_in_the_end(at.gate, 1)
        assert trace.path == ("accept=ok", "authenticate=refused:svid_several_uris")
        assert_undecided(trace)


async def test_refused_peer_is_told_nothing_about_its_request(tmp_path: Path) -> None:
    async with door(tmp_path) as at:
        async with dialled(at.gate, at.context(LEAF_FAULTS["root_path"](leaf()))) as agent:
            answer = await agent.ask(with_headers(modern("no/such/method"), ("Host", "elsewhere.test")))
            assert error_of(answer) == (403, -31401, Reason.SVID_ROOT_PATH)
        (trace,) = await traces_in_the_end(at.gate, 1)
        assert trace.path == ("accept=ok", "authenticate=refused:svid_root_path", "respond=ok")


@pytest.mark.parametrize(
    "said", [b"", b"POST /ledger/mcp HTTP/1.1\r\nHost: localhost\r\n\r\n", b"\x16\x03\x01\x00\xff", bytes(64)]
)
async def test_refuses_what_is_no_tls(tmp_path: Path, said: bytes) -> None:
    async with door(tmp_path) as at:
        tcp = await trio.open_tcp_stream("127.0.0.1", at.gate.addresses.agents.port)
        await tcp.send_all(said)
        await tcp.send_eof()
        (trace,) = await traces_in_the_end(at.gate, 1)
        assert trace.path == ("accept=refused:tls_handshake_failed",)
        await tcp.aclose()


async def test_hangs_up_on_client_that_says_nothing(tmp_path: Path) -> None:
    async with door(tmp_path, more="limits: {handshake_s: 0.05}\n") as at:
        tcp = await trio.open_tcp_stream("127.0.0.1", at.gate.addresses.agents.port)
        with trio.fail_after(10):
            assert await tcp.receive_some() == b""
        (trace,) = await traces_in_the_end(at.gate, 1)
        assert trace.path == ("accept=refused:tls_handshake_timeout",)
        await tcp.aclose()


async def test_the_gate_outlives_client_that_resets_the_connection(tmp_path: Path) -> None:
    async with scripted_server() as upstream, running_gate(tmp_path, upstream.url) as gate:
        rude = socket.create_connection(("127.0.0.1", gate.addresses.agents.port))
        rude.sendall(b"\x16\x03\x01")
        # SO_LINGER with no time: close sends RST.
        rude.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        rude.close()
        (refused,) = await gate.traces_when(1)
        assert refused.path == ("accept=refused:tls_handshake_failed",)
        async with dialled(gate, await context_of(gate.api, "billing")) as agent:
            assert (await agent.ask(modern_call("get_invoice"))).status == 200
