"""Nobody can keep the others out: neither one workload with many connections, nor many strangers."""

import time
from contextlib import AsyncExitStack
from pathlib import Path

import trio

from callgate.errors import Reason
from support.gate import Gate, authority_of, context_of, running_gate
from support.pki import LEAF_FAULTS, workload
from support.raw_agent import modern_call
from support.tls_agent import CLOSED, TlsAgent, dialled, error_of, refused_by, until
from support.upstream import scripted_server

CALL = modern_call("list_invoices")
FULL = (429, -31503, Reason.TOO_MANY_CONNECTIONS_OF_WORKLOAD)


async def served(room: AsyncExitStack, gate: Gate, name: str) -> TlsAgent:
    """A connection of that workload, open until the room is left."""
    agent = await room.enter_async_context(dialled(gate, await context_of(gate.api, name)))
    assert (await agent.ask(CALL)).status == 200
    return agent


async def test_one_connection_too_many_of_a_workload_is_refused_and_the_others_go_on(tmp_path: Path) -> None:
    limits = "limits: {max_connections_per_workload: 2}\n"
    async with (
        scripted_server() as upstream,
        running_gate(tmp_path, upstream.url, more=limits) as gate,
        AsyncExitStack() as room,
    ):
        first, second = [await served(room, gate, "billing") for _ in range(2)]
        async with dialled(gate, await context_of(gate.api, "billing")) as third:
            assert error_of(await third.ask(CALL)) == FULL
            assert await third.farewell() == CLOSED
        refused = (await gate.traces_when(3))[2]
        assert refused.path == (
            "accept=ok",
            "authenticate=refused:too_many_connections_of_workload",
            "respond=ok",
        )
        assert refused.decision == "deny"
        await served(room, gate, "ops")
        for agent in (first, second):
            assert (await agent.ask(CALL)).status == 200
        assert len(await gate.traces_when(6)) == 6


async def test_workload_has_room_again_when_a_connection_ends(tmp_path: Path) -> None:
    limits = "limits: {max_connections_per_workload: 1}\n"
    async with scripted_server() as upstream, running_gate(tmp_path, upstream.url, more=limits) as gate:
        for _ in range(3):
            async with AsyncExitStack() as room:
                await served(room, gate, "billing")
                async with dialled(gate, await context_of(gate.api, "billing")) as beside:
                    assert error_of(await beside.ask(CALL)) == FULL
            await until(lambda: gate.service._connections == 0)
        assert not gate.service._callers


async def test_connection_too_many_that_never_asks_leaves_one_trace(tmp_path: Path) -> None:
    limits = "limits: {max_connections_per_workload: 1}\n"
    async with (
        scripted_server() as upstream,
        running_gate(tmp_path, upstream.url, more=limits) as gate,
        AsyncExitStack() as room,
    ):
        await served(room, gate, "billing")
        async with dialled(gate, await context_of(gate.api, "billing")) as silent:
            await silent.stream.do_handshake()
            await until(lambda: len(gate.service._open) == 2)
        traces = await gate.traces_when(2)
        assert traces[1].path == ("accept=ok", "authenticate=refused:too_many_connections_of_workload")


async def test_refused_peers_take_no_workloads_room(tmp_path: Path) -> None:
    limits = "limits: {max_connections_per_workload: 2}\n"
    async with (
        scripted_server() as upstream,
        running_gate(tmp_path, upstream.url, more=limits) as gate,
        AsyncExitStack() as room,
    ):
        bad = LEAF_FAULTS["crl_sign"](workload("spiffe://acme.test/ns/billing/sa/refund-agent", now=time.time()))
        context = authority_of(gate.api).issue(bad).client_context(tmp_path)
        for _ in range(4):
            silent = await room.enter_async_context(dialled(gate, context))
            await silent.stream.do_handshake()
        await until(lambda: len(gate.service._open) == 4)
        for name in ("billing", "billing", "ops"):
            await served(room, gate, name)


async def test_one_connection_too_many_altogether_is_dropped_and_the_others_go_on(tmp_path: Path) -> None:
    limits = "limits: {max_connections: 2}\n"
    async with (
        scripted_server() as upstream,
        running_gate(tmp_path, upstream.url, more=limits) as gate,
        AsyncExitStack() as room,
    ):
        inside = [await served(room, gate, name) for name in ("billing", "ops")]
        context = await context_of(gate.api, "partner")
        assert await refused_by(gate, context) == CLOSED
        assert (await gate.traces_when(3))[2].path == ("accept=refused:too_many_connections",)
        for agent in inside:
            assert (await agent.ask(CALL)).status == 200
        await trio.aclose_forcefully(inside[0].stream)
        await until(lambda: gate.service._connections == 1)
        await served(room, gate, "ops")
        assert len(await gate.traces_when(6)) == 6


async def test_clients_that_never_shake_hands_take_nobodys_place(tmp_path: Path) -> None:
    limits = "limits: {max_connections: 2, max_handshakes: 4, handshake_s: 600}\n"
    async with (
        scripted_server() as upstream,
        running_gate(tmp_path, upstream.url, more=limits) as gate,
        AsyncExitStack() as room,
    ):
        context = await context_of(gate.api, "billing")
        for _ in range(50):
            await room.enter_async_context(await trio.open_tcp_stream("127.0.0.1", gate.addresses.agents.port))
        # The oldest of them gave way; the rest stand there still, and are in nobody's way.
        given_way = await gate.traces_when(50 - 4)
        assert {(trace.reason, trace.records[0].detail) for trace in given_way} == {
            (Reason.TLS_HANDSHAKE_TIMEOUT, "gave way to newer ones")
        }
        async with dialled(gate, context) as agent:
            assert (await agent.ask(CALL)).status == 200


async def test_handshake_that_is_never_done_ends_in_time(tmp_path: Path) -> None:
    limits = "limits: {handshake_s: 0.1}\n"
    async with (
        scripted_server() as upstream,
        running_gate(tmp_path, upstream.url, more=limits) as gate,
        await trio.open_tcp_stream("127.0.0.1", gate.addresses.agents.port) as silent,
    ):
        with trio.fail_after(10):
            assert await silent.receive_some() == b""
        assert (await gate.traces_when(1))[0].path == ("accept=refused:tls_handshake_timeout",)
