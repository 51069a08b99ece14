"""A tool server behind mutual TLS: only the workload that is meant gets a token, bound to the connection it comes on."""

import socket
import ssl
import struct
import threading
import time
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import trio
from cryptography.hazmat.primitives.serialization import Encoding

from callgate.dev.workload_api import DevWorkloadApi
from callgate.telemetry import names
from callgate.trace import Stage
from support.gate import WORKLOADS, WallClock, authority_of, config_of, context_of, policy_of, starting_gate
from support.pki import LEAF_FAULTS, Authority, Issued, Profile, workload
from support.raw_agent import RawAgent, modern_call
from support.tokens import segment
from support.tool_faults import FIRST, OK, SECOND, Scene
from support.upstream import Asked, Reply, Script, said, scripted_server

LEDGER = WORKLOADS["ledger"]
GATE_TRUSTS = ("acme.test", "partner.test")


@pytest.fixture
def api(tmp_path: Path) -> Iterator[DevWorkloadApi]:
    with DevWorkloadApi(tmp_path / "spiffe", WORKLOADS, ttl_s=300, dns_names={"gate": ["localhost"]}) as running:
        yield running


def profile(spiffe_id: str = LEDGER) -> Profile:
    return workload(spiffe_id, now=time.time())


def server_context(leaf: Issued, folder: Path, api: DevWorkloadApi) -> ssl.SSLContext:
    """A tool server that shows this leaf and asks for a client certificate of acme.test."""
    file = folder / "leaf.pem"
    file.write_bytes(leaf.chain_pem + leaf.key_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    context.verify_mode = ssl.CERT_REQUIRED
    root = authority_of(api).certificate.public_bytes(Encoding.PEM).decode()
    context.load_verify_locations(cadata=root)
    return context


@asynccontextmanager
async def scene(
    api: DevWorkloadApi,
    context: ssl.SSLContext | None,
    *,
    identity: str | None = LEDGER,
    script: Script | None = None,
    clock: WallClock | None = None,
) -> AsyncIterator[Scene]:
    """A gate before that tool server, of which it expects that SPIFFE ID (None: what Web PKI says of its name)."""
    expected = {} if identity is None else {"identity": identity}
    async with scripted_server(script, tls=context) as upstream:
        url = upstream.url.replace("http:", "https:")
        config = config_of(url, endpoint=api.endpoint("gate"), server=expected)
        async with starting_gate(api, config, policy_of(), clock.clock if clock else None) as gate:
            with trio.fail_after(10):
                await gate.service.wait_ready()
            yield Scene(gate, upstream)


async def assert_not_spoken_to(at: Scene, detail: str) -> None:
    """The call fails, the agent's connection goes on, and the tool server never hears of it."""
    async with at.agent() as agent:
        for request in (FIRST, SECOND):
            with trio.fail_after(20):
                answer = await agent.ask(request)
            assert (answer.status, answer.code, answer.reason) == (200, -31502, "upstream_identity")
            assert "acme.test" not in answer.body.decode()
    assert at.upstream.requests == []
    assert at.upstream.connections == 2
    for trace in await at.gate.traces_when(2):
        assert trace.path[-4:] == ("mint=ok", "record=ok", "forward=failed:upstream_identity", "respond=ok")
        assert trace.records[-2].detail.startswith(detail)


async def test_the_workload_that_is_meant_is_called_and_named_in_the_trace(tmp_path: Path, api: DevWorkloadApi) -> None:
    leaf = authority_of(api).issue(profile())
    async with scene(api, server_context(leaf, tmp_path, api)) as at, at.agent() as agent:
        assert (await agent.ask(FIRST)).message["result"] == OK
        (trace,) = await at.gate.traces_when(1)
        (forward,) = [record for record in trace.records if record.stage is Stage.FORWARD]
        assert forward.attributes[names.SERVER_SPIFFE_ID] == LEDGER


async def test_a_tool_server_of_another_trust_domain_is_checked_by_that_domains_bundle(
    tmp_path: Path, api: DevWorkloadApi
) -> None:
    foreign = "spiffe://partner.test/tools/ledger"
    leaf = authority_of(api, "partner.test").issue(profile(foreign))
    async with scene(api, server_context(leaf, tmp_path, api), identity=foreign) as at, at.agent() as agent:
        assert (await agent.ask(FIRST)).message["result"] == OK


WRONG: dict[str, tuple[str, Callable[[Profile], Profile], str]] = {
    "another workload": ("acme.test", lambda leaf: replace(leaf, uris=(WORKLOADS["ops"],)), "unexpected_spiffe_id"),
    "a path below it": ("acme.test", lambda leaf: replace(leaf, uris=(f"{LEDGER}/x",)), "unexpected_spiffe_id"),
    "of another domain's authority": ("partner.test", lambda leaf: leaf, "tls_certificate_untrusted"),
    "expired": ("acme.test", LEAF_FAULTS["expired"], "tls_certificate_expired"),
    "not yet valid": ("acme.test", LEAF_FAULTS["not_yet_valid"], "tls_certificate_not_yet_valid"),
    "two URIs": ("acme.test", LEAF_FAULTS["two_uris"], "svid_several_uris"),
    "no SPIFFE ID": ("acme.test", LEAF_FAULTS["dns_name_only"], "svid_no_uri"),
    "an authority itself": ("acme.test", LEAF_FAULTS["ca"], "svid_is_ca"),
}


@pytest.mark.parametrize("what", WRONG)
async def test_refuses_a_tool_server_that_is(tmp_path: Path, api: DevWorkloadApi, what: str) -> None:
    trust_domain, fault, detail = WRONG[what]
    leaf = authority_of(api, trust_domain).issue(fault(profile()))
    async with scene(api, server_context(leaf, tmp_path, api)) as at:
        await assert_not_spoken_to(at, detail)


async def test_refuses_a_tool_server_of_an_authority_that_nobody_vouches_for(
    tmp_path: Path, api: DevWorkloadApi
) -> None:
    leaf = Authority.root("acme.test", now=time.time()).issue(profile())
    async with scene(api, server_context(leaf, tmp_path, api)) as at:
        await assert_not_spoken_to(at, "tls_certificate_untrusted")


async def test_refuses_tls_1_2(tmp_path: Path, api: DevWorkloadApi) -> None:
    context = server_context(authority_of(api).issue(profile()), tmp_path, api)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    async with scene(api, context) as at:
        await assert_not_spoken_to(at, "tls_")


async def test_an_svid_is_nothing_to_web_pki(tmp_path: Path, api: DevWorkloadApi) -> None:
    leaf = authority_of(api).issue(replace(profile(), dns_names=("localhost",)))
    async with scene(api, server_context(leaf, tmp_path, api), identity=None) as at:
        await assert_not_spoken_to(at, "tls_certificate_untrusted")


async def test_a_kept_connection_is_not_used_once_its_trust_has_ended(tmp_path: Path, api: DevWorkloadApi) -> None:
    leaf = authority_of(api).issue(profile())
    async with scene(api, server_context(leaf, tmp_path, api)) as at:
        async with at.agent() as agent:
            assert (await agent.ask(FIRST)).message["result"] == OK
        before = at.gate.service.identity
        api.rotate_authority("acme.test")
        api.drop_old_roots("acme.test")
        with trio.fail_after(10):
            while at.gate.service.identity is before or len(authorities(at)) > 1:
                await at.gate.service._source.changed(at.gate.service.identity)
        async with at.agent() as agent:
            assert (await agent.ask(SECOND)).reason == "upstream_identity"
        assert len(at.upstream.requests) == 1


def authorities(at: Scene) -> tuple[object, ...]:
    identity = at.gate.service.identity
    assert identity is not None
    return identity.bundles[identity.svid.id.trust_domain].authorities


async def test_a_kept_connection_is_not_used_once_the_tool_servers_svid_has_expired(
    tmp_path: Path, api: DevWorkloadApi
) -> None:
    leaf = authority_of(api).issue(replace(profile(), not_after=time.time() + 60))
    clock = WallClock()
    async with scene(api, server_context(leaf, tmp_path, api), clock=clock) as at, at.agent() as agent:
        assert (await agent.ask(FIRST)).message["result"] == OK
        clock.ahead_s = 61
        assert (await agent.ask(SECOND)).reason == "upstream_identity"
        assert len(at.upstream.requests) == 1


# What the token says of the certificate on the connection that carries it (RFC 8705, section 3.1).


def token_of(asked: Asked) -> dict[str, Any]:
    return segment((asked.header("authorization") or "").removeprefix("Bearer "), 1)


def confirmation(leaf: bytes) -> dict[str, str]:
    return {"x5t#S256": urlsafe_b64encode(sha256(leaf).digest()).rstrip(b"=").decode()}


async def test_each_token_names_the_certificate_of_its_own_connection_through_rotations(
    tmp_path: Path, api: DevWorkloadApi
) -> None:
    leaf = authority_of(api).issue(profile())
    async with scene(api, server_context(leaf, tmp_path, api)) as at, at.agent() as agent:
        for number in range(3):
            for call in range(2):
                request = modern_call("get_invoice", rpc_id=2 * number + call)
                assert (await agent.ask(request)).message["result"] == OK
            before = at.gate.service.identity
            api.rotate("gate")
            with trio.fail_after(10):
                await at.gate.service._source.changed(before)
        asked = at.upstream.requests
    assert [token_of(each)["cnf"] for each in asked] == [confirmation(each.client_leaf) for each in asked]
    # A rotation ends the old connection's use, and no other thing does.
    assert [each.connection for each in asked] == [1, 1, 2, 2, 3, 3]
    assert len({each.client_leaf for each in asked}) == 3


async def test_a_call_under_way_is_not_disturbed_by_a_rotation(tmp_path: Path, api: DevWorkloadApi) -> None:
    go_on = trio.Event()

    async def wait(asked: Asked, reply: Reply) -> None:
        await go_on.wait()
        await reply.json(said(asked, OK))

    leaf = authority_of(api).issue(profile())
    async with scene(api, server_context(leaf, tmp_path, api), script=wait) as at, at.agent() as agent:
        before = at.gate.service.identity
        await agent.say(FIRST)
        await at.upstream.requests_when(1)
        api.rotate("gate")
        with trio.fail_after(10):
            await at.gate.service._source.changed(before)
            go_on.set()
            answer = await agent.answer()
            assert answer is not None
            assert answer.message["result"] == OK
            assert (await agent.ask(SECOND)).message["result"] == OK
        assert [asked.connection for asked in at.upstream.requests] == [1, 2]


@contextmanager
def resetting() -> Iterator[str]:
    """Takes every connection and resets it at once."""

    def reset_all() -> None:
        while True:
            try:
                sock = listener.accept()[0]
            except OSError:
                return
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=reset_all)
        thread.start()
        try:
            yield f"https://127.0.0.1:{listener.getsockname()[1]}/mcp"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


async def test_a_reset_before_the_handshake_is_the_tool_servers_fault_and_not_the_gates(api: DevWorkloadApi) -> None:
    with resetting() as url:
        config = config_of(url, endpoint=api.endpoint("gate"), server={"identity": LEDGER})
        async with starting_gate(api, config, policy_of()) as gate:
            with trio.fail_after(10):
                await gate.service.wait_ready()
            async with RawAgent(gate.addresses.agents.port, await context_of(api, "billing")).connected() as agent:
                for number in range(50):
                    answer = await agent.ask(modern_call("get_invoice", rpc_id=number))
                    assert (answer.status, answer.code) == (200, -31502), answer.body
