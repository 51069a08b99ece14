"""A gate without a file descriptor to spare: alive, quiet about it, and back as soon as there is one."""

import resource
import socket
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import trio

from callgate.dev.workload_api import DevWorkloadApi
from support.gate import WORKLOADS, context_of
from support.raw_agent import Answer, RawAgent, modern_call
from support.serve_process import ServeProcess, serving
from support.tls_agent import until
from support.upstream import scripted_server

# Room for the gate itself and some connections.
FILES = 80
PATIENCE_S = 30.0
CALL = modern_call("list_invoices")


@asynccontextmanager
async def short_of_files(folder: Path) -> AsyncIterator[tuple[ServeProcess, RawAgent]]:
    """`callgate serve` that may open few files, and an agent of it."""
    api = DevWorkloadApi(folder / "spiffe", WORKLOADS, ttl_s=300, dns_names={"gate": ["localhost"]})
    with api:
        limits = "limits: {handshake_s: 60, idle_s: 60}\n"
        async with scripted_server() as upstream, serving(folder, api.endpoint("gate"), upstream.url, limits) as gate:
            port, _ = await gate.ready()
            resource.prlimit(gate.process.pid, resource.RLIMIT_NOFILE, (FILES, FILES))
            yield gate, RawAgent(port, await context_of(api, "ops"))
            gate.process.terminate()
            assert await gate.end(PATIENCE_S) == 0


async def answered(agent: RawAgent) -> Answer:
    """A call on a connection of its own; it waits in the queue until the gate can accept it."""
    with trio.fail_after(PATIENCE_S):
        async with agent.connected() as connection:
            return await connection.ask(CALL)


def open_files(gate: ServeProcess) -> int:
    return len(list(Path(f"/proc/{gate.process.pid}/fd").iterdir()))


@asynccontextmanager
async def crowd_of_silent_connections(gate: ServeProcess, port: int) -> AsyncIterator[None]:
    """As many as take all the files there are; more of them wait."""
    with ExitStack() as room:
        for _ in range(4 * FILES):
            sock = room.enter_context(socket.socket())
            sock.setblocking(False)
            sock.connect_ex(("127.0.0.1", port))
        await until(lambda: open_files(gate) >= FILES)
        yield


def shortages(gate: ServeProcess) -> list[str]:
    return [message for message in gate.messages if "cannot accept" in message]


async def test_gate_outlives_a_shortage_of_files_and_accepts_again(tmp_path: Path) -> None:
    async with short_of_files(tmp_path) as (gate, agent), agent.connected() as neighbour:
        assert (await neighbour.ask(CALL)).status == 200
        before = open_files(gate)
        async with crowd_of_silent_connections(gate, agent.port):
            await gate.line("cannot accept connections")
            # Who is connected is served, by a connection to the tool server that is there already.
            for _ in range(10):
                with trio.fail_after(PATIENCE_S):
                    assert (await neighbour.ask(CALL)).status == 200
        assert (await answered(agent)).status == 200
        await until(lambda: open_files(gate) <= before)
        # The shortage was met many times, and said once.
        assert shortages(gate) == ["cannot accept connections: Too many open files"]
        assert [line for line in gate.lines if line["level"] == "error"] == []


async def test_call_that_needs_a_new_connection_fails_as_the_tool_servers_failure_would(tmp_path: Path) -> None:
    async with short_of_files(tmp_path) as (gate, agent), agent.connected() as neighbour:
        assert (await neighbour.ask(modern_call("no_such_tool"))).status == 200
        async with crowd_of_silent_connections(gate, agent.port):
            with trio.fail_after(PATIENCE_S):
                answer = await neighbour.ask(CALL)
            assert (answer.status, answer.code, answer.reason) == (200, -31502, "upstream_unreachable")
        assert (await answered(agent)).status == 200
        assert [line for line in gate.lines if line["level"] == "error"] == []


async def test_gate_takes_as_many_files_as_it_may(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))
    try:
        async with serving(tmp_path, f"unix://{tmp_path}/nobody.sock", "http://127.0.0.1:9/mcp") as gate:
            await gate.ports()
            assert resource.prlimit(gate.process.pid, resource.RLIMIT_NOFILE) == (hard, hard)
            gate.process.terminate()
            assert await gate.end(PATIENCE_S) == 0
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
