"""Trust ends when it ends: a connection that was let in is asked again at every request."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from callgate.dev.workload_api import DevWorkloadApi
from callgate.errors import Reason
from callgate.identity.trust import X509Context
from callgate.net.tls_context import workload_context
from callgate.trace import Stage
from support.gate import (
    WORKLOADS,
    Gate,
    WallClock,
    authority_of,
    config_of,
    context_of,
    identity_of,
    policy_of,
    running_gate,
    starting_gate,
)
from support.raw_agent import modern_call
from support.tls_agent import CLOSED, DROPPED, TlsAgent, admin_page, dialled, error_of, refused_by
from support.upstream import scripted_server

CALL = modern_call("get_invoice", {"number": "INV-1001"})
TTL_S = 300.0
SERVED = (
    "accept=ok",
    "authenticate=ok",
    "read=ok",
    "identify=ok",
    "decide=ok",
    "inspect=ok",
    "mint=ok",
    "record=ok",
    "forward=ok",
    "screen=ok",
    "respond=ok",
)


@asynccontextmanager
async def gate_and_clock(folder: Path) -> AsyncIterator[tuple[Gate, WallClock]]:
    """A gate of which exactly one call is expected to be let through."""
    wall = WallClock()
    async with scripted_server() as upstream:
        async with running_gate(folder, upstream.url, clock=wall.clock, ttl_s=TTL_S) as gate:
            yield gate, wall
        assert len(upstream.requests) == 1, "the tool server heard of a refused call"


@asynccontextmanager
async def agent_of(gate: Gate, name: str) -> AsyncIterator[TlsAgent]:
    async with dialled(gate, await context_of(gate.api, name)) as agent:
        yield agent


async def assert_served(agent: TlsAgent) -> None:
    assert (await agent.ask(CALL)).status == 200


async def assert_refused(agent: TlsAgent, status: int, code: int, reason: Reason) -> None:
    """The next request is refused for that reason, and no other is read from the connection."""
    answer = await agent.ask(CALL)
    assert error_of(answer) == (status, code, reason)
    assert await agent.farewell() == CLOSED


async def assert_last_trace(gate: Gate, count: int, reason: Reason) -> None:
    traces = await gate.traces_when(count)
    assert len(traces) == count
    assert traces[-1].path == ("accept=ok", f"authenticate=refused:{reason}", "respond=ok")
    assert traces[-1].decision == "deny"
    assert Stage.DECIDE not in {record.stage for record in traces[-1].records}


async def identity_after(gate: Gate, before: X509Context | None) -> X509Context | None:
    """The gate's identity once it is another than `before`."""
    with trio.fail_after(10):
        await gate.service._source.changed(before)
    return gate.service.identity


async def test_refuses_next_request_when_svid_expired_mid_connection(tmp_path: Path) -> None:
    async with gate_and_clock(tmp_path) as (gate, wall), agent_of(gate, "billing") as agent:
        await assert_served(agent)
        wall.ahead_s = TTL_S + 1
        await assert_refused(agent, 403, -31401, Reason.SVID_EXPIRED)
        await assert_last_trace(gate, 2, Reason.SVID_EXPIRED)


async def test_refuses_next_request_when_the_clock_says_svid_is_not_valid_yet(tmp_path: Path) -> None:
    async with gate_and_clock(tmp_path) as (gate, wall), agent_of(gate, "billing") as agent:
        await assert_served(agent)
        wall.ahead_s = -60
        await assert_refused(agent, 403, -31401, Reason.SVID_NOT_YET_VALID)
        await assert_last_trace(gate, 2, Reason.SVID_NOT_YET_VALID)


async def test_goes_by_its_own_clock_when_openssl_let_the_svid_through(tmp_path: Path) -> None:
    async with gate_and_clock(tmp_path) as (gate, wall):
        async with agent_of(gate, "billing") as agent:
            await assert_served(agent)
        wall.ahead_s = TTL_S + 1
        async with agent_of(gate, "billing") as late:
            await assert_refused(late, 403, -31401, Reason.SVID_EXPIRED)
        await assert_last_trace(gate, 2, Reason.SVID_EXPIRED)


async def test_refuses_next_request_when_trust_domain_is_no_longer_federated(tmp_path: Path) -> None:
    async with gate_and_clock(tmp_path) as (gate, _), agent_of(gate, "partner") as agent:
        await assert_served(agent)
        before = gate.service.identity
        gate.api.remove_bundle("partner.test")
        await identity_after(gate, before)
        await assert_refused(agent, 403, -31401, Reason.TRUST_DOMAIN_UNKNOWN)
        await assert_last_trace(gate, 2, Reason.TRUST_DOMAIN_UNKNOWN)


async def test_refuses_next_request_when_bundle_is_emptied(tmp_path: Path) -> None:
    async with gate_and_clock(tmp_path) as (gate, _), agent_of(gate, "partner") as agent:
        await assert_served(agent)
        before = gate.service.identity
        gate.api.empty_bundle("partner.test")
        await identity_after(gate, before)
        await assert_refused(agent, 403, -31401, Reason.TRUST_BUNDLE_EMPTY)
        await assert_last_trace(gate, 2, Reason.TRUST_BUNDLE_EMPTY)


@pytest.mark.parametrize(("name", "trust_domain"), [("billing", "acme.test"), ("partner", "partner.test")])
async def test_refuses_next_request_when_bundle_loses_its_root(tmp_path: Path, name: str, trust_domain: str) -> None:
    async with gate_and_clock(tmp_path) as (gate, _), agent_of(gate, name) as agent:
        await assert_served(agent)
        before = gate.service.identity
        gate.api.rotate_authority(trust_domain)
        between = await identity_after(gate, before)
        gate.api.drop_old_roots(trust_domain)
        await identity_after(gate, between)
        await assert_refused(agent, 403, -31401, Reason.SVID_UNTRUSTED)
        await assert_last_trace(gate, 2, Reason.SVID_UNTRUSTED)


async def test_root_that_was_dropped_is_unknown_to_new_connections(tmp_path: Path) -> None:
    async with gate_and_clock(tmp_path) as (gate, _):
        async with identity_of(gate.api, "billing") as identity:
            old = workload_context(identity, identity.bundles[identity.svid.id.trust_domain])
        # Whether it believes the gate's new SVID is not the question here.
        old.verify_mode = ssl.CERT_NONE
        before = gate.service.identity
        gate.api.rotate_authority("acme.test")
        between = await identity_after(gate, before)
        gate.api.drop_old_roots("acme.test")
        await identity_after(gate, between)
        assert await refused_by(gate, old) == "unknown_ca"
        async with agent_of(gate, "billing") as agent:
            await assert_served(agent)
        refused, _ = await gate.traces_when(2)
        assert refused.path == ("accept=refused:tls_certificate_untrusted",)


async def test_connection_goes_on_when_bundle_gains_a_root(tmp_path: Path) -> None:
    async with scripted_server() as upstream, running_gate(tmp_path, upstream.url) as gate:
        async with agent_of(gate, "billing") as ours, agent_of(gate, "partner") as theirs:
            for agent in (ours, theirs):
                await assert_served(agent)
            for trust_domain in ("acme.test", "partner.test"):
                before = gate.service.identity
                gate.api.rotate_authority(trust_domain)
                await identity_after(gate, before)
                for agent in (ours, theirs):
                    await assert_served(agent)
        traces = await gate.traces_when(6)
        assert [trace.path for trace in traces] == [SERVED] * 6


async def test_other_trust_domains_go_on_undisturbed_when_one_ends(tmp_path: Path) -> None:
    async with (
        scripted_server() as upstream,
        running_gate(tmp_path, upstream.url) as gate,
        agent_of(gate, "billing") as ours,
        agent_of(gate, "partner") as theirs,
    ):
        for agent in (ours, theirs):
            await assert_served(agent)
        before = gate.service.identity
        gate.api.remove_bundle("partner.test")
        between = await identity_after(gate, before)
        await assert_refused(theirs, 403, -31401, Reason.TRUST_DOMAIN_UNKNOWN)
        await assert_served(ours)
        gate.api.restore_bundle("partner.test")
        await identity_after(gate, between)
        async with agent_of(gate, "partner") as again:
            await assert_served(again)
        await assert_served(ours)


async def test_bundle_that_cannot_be_read_ends_its_own_trust_domain_alone(tmp_path: Path) -> None:
    async with scripted_server() as upstream, running_gate(tmp_path, upstream.url) as gate:
        root = authority_of(gate.api, "partner.test")
        # A name of which one attribute is a NULL: `cryptography` leaves it be, and OpenSSL reads no further.
        spoilt = root.reissue(root.der, b"\x0c\x16partner.test authority", b"\x05\x16partner.test authority")
        before = gate.service.identity
        message = gate.api.message("gate")
        message.federated_bundles["spiffe://partner.test"] = spoilt
        gate.api.send("gate", message.SerializeToString())
        await identity_after(gate, before)
        assert await refused_by(gate, await context_of(gate.api, "partner")) == "unknown_ca"
        async with agent_of(gate, "billing") as agent:
            await assert_served(agent)


async def test_without_identity_of_its_own_the_gate_serves_nobody_until_it_has_one_again(tmp_path: Path) -> None:
    async with scripted_server() as upstream, running_gate(tmp_path, upstream.url) as gate:
        context = await context_of(gate.api, "billing")
        async with dialled(gate, context) as agent:
            await assert_served(agent)
            assert await admin_page(gate, "/readyz") == (200, {"ready": True, "missing": []})
            gate.api.withdraw("gate")
            assert await identity_after(gate, gate.service.identity) is None
            await assert_refused(agent, 503, -31503, Reason.IDENTITY_UNAVAILABLE)
            await assert_last_trace(gate, 2, Reason.IDENTITY_UNAVAILABLE)
        status, ready = await admin_page(gate, "/readyz")
        assert (status, ready["ready"]) == (503, False)
        assert "no identity for this process" in ready["missing"][0]
        # There is no certificate to shake hands with.
        assert await refused_by(gate, context) == DROPPED
        assert (await gate.traces_when(3))[2].path == ("accept=refused:gate_not_ready",)
        gate.api.restore("gate")
        assert await identity_after(gate, None) is not None
        assert await admin_page(gate, "/readyz") == (200, {"ready": True, "missing": []})
        async with dialled(gate, context) as agent:
            await assert_served(agent)
        assert len(upstream.requests) == 2
        assert len(await gate.traces_when(4)) == 4


async def test_gate_is_not_ready_before_it_has_an_identity_and_then_serves(tmp_path: Path) -> None:
    api = DevWorkloadApi(tmp_path / "spiffe", WORKLOADS, dns_names={"gate": ["localhost"]})
    async with scripted_server() as upstream:
        config = config_of(upstream.url, endpoint=api.endpoint("gate"))
        async with starting_gate(api, config, policy_of()) as gate:
            status, ready = await admin_page(gate, "/readyz")
            assert (status, ready["ready"]) == (503, False)
            assert api.endpoint("gate") in ready["missing"][0]
            assert await admin_page(gate, "/healthz") == (200, {"alive": True})
            tcp = await trio.open_tcp_stream("127.0.0.1", gate.addresses.agents.port)
            with trio.fail_after(10):
                assert await tcp.receive_some() == b""
            await tcp.aclose()
            (refused,) = await gate.traces_when(1)
            assert refused.path == ("accept=refused:gate_not_ready",)
            with api:
                assert await identity_after(gate, None) is not None
                assert await admin_page(gate, "/readyz") == (200, {"ready": True, "missing": []})
                async with agent_of(gate, "billing") as agent:
                    await assert_served(agent)
            assert (await gate.traces_when(2))[1].path == SERVED
