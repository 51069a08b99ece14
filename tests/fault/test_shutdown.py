"""How `callgate serve` begins and ends, as its own process under signals."""

import json
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from callgate.dev.workload_api import DevWorkloadApi
from support.collector import Collector
from support.event_stream import event_stream
from support.gate import GATE, POLICY, WORKLOADS, context_of, running_gate
from support.raw_agent import RawAgent, RawConnection
from support.serve_process import CALLGATE, START_S, serving, write_files
from support.tool_faults import FIRST, OK
from support.upstream import Asked, Reply, said, scripted_server

# Beyond what the promise itself allows: for a machine that is busy.
GRACE_S = 10.0
PROGRESS = {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "at work"}}


@pytest.fixture
def api(tmp_path: Path) -> Iterator[DevWorkloadApi]:
    with DevWorkloadApi(tmp_path / "spiffe", WORKLOADS, ttl_s=300, dns_names={"gate": ["localhost"]}) as running:
        yield running


async def admin_page(port: int, path: str) -> tuple[int, dict[str, object]]:
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    async with stream:
        await stream.send_all(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join([bytes(part) async for part in stream])
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), json.loads(body)


async def until_refused(port: int) -> None:
    """Until nothing listens there any more."""
    with trio.fail_after(GRACE_S):
        while True:
            try:
                stream = await trio.open_tcp_stream("127.0.0.1", port)
            except OSError:
                return
            await stream.aclose()


class Held:
    """A script that answers when it is told to."""

    def __init__(self, *, streams: bool = False) -> None:
        self.go_on = trio.Event()
        self._streams = streams

    async def __call__(self, asked: Asked, reply: Reply) -> None:
        if self._streams:
            await reply.start_events()
            await reply.event(PROGRESS)
        await self.go_on.wait()
        if self._streams:
            await reply.event(said(asked, OK))
            await reply.end_events()
        else:
            await reply.json(said(asked, OK))


@pytest.mark.parametrize(("number", "streams"), [(signal.SIGTERM, False), (signal.SIGINT, True)])
async def test_a_call_under_way_is_answered_and_nobody_else_is_let_in(
    tmp_path: Path, api: DevWorkloadApi, number: signal.Signals, streams: bool
) -> None:
    held = Held(streams=streams)
    async with scripted_server(held) as upstream, serving(tmp_path, api.endpoint("gate"), upstream.url) as gate:
        port, admin = await gate.ready()
        context = await context_of(api, "billing")
        async with (
            RawAgent(port, context).connected() as agent,
            RawAgent(port, context).connected() as idle,
        ):
            await agent.say(FIRST)
            await upstream.requests_when(1)
            gate.process.send_signal(number)
            await until_refused(port)
            # One that does nothing holds nothing up; one that waits for its answer gets it.
            with trio.fail_after(GRACE_S):
                assert await idle.until_closed() == []
            assert await admin_page(admin, "/readyz") == (503, {"ready": False, "missing": ["shutting down"]})
            assert await admin_page(admin, "/healthz") == (200, {"alive": True})
            assert gate.process.poll() is None
            held.go_on.set()
            await assert_last_answer(agent, streams=streams)
        assert await gate.end(GRACE_S) == 0
        await until_refused(admin)
    assert gate.messages[-1] == "stopped"
    assert f"{number.name}: no new connections; finishing what is under way" in gate.messages


async def assert_last_answer(agent: RawConnection, *, streams: bool) -> None:
    with trio.fail_after(GRACE_S):
        if streams:
            *_, last = await (await event_stream(agent)).rest()
            assert last["result"] == OK
        else:
            answer = await agent.answer()
            assert answer is not None
            assert answer.message["result"] == OK
        assert await agent.until_closed() == []


async def test_a_call_that_does_not_end_is_cut_off_when_the_time_to_drain_is_over(
    tmp_path: Path, api: DevWorkloadApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The collector is on loopback; a proxy of the machine's is no part of the test.
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Collector() as collector:
        more = f"limits: {{drain_s: 1}}\ntelemetry: {{otlp: '{collector.url}'}}\n"
        async with (
            scripted_server(Held()) as upstream,
            serving(tmp_path, api.endpoint("gate"), upstream.url, more) as gate,
        ):
            port, _ = await gate.ready()
            async with RawAgent(port, await context_of(api, "billing")).connected() as agent:
                await agent.say(FIRST)
                await upstream.requests_when(1)
                started = time.monotonic()
                gate.process.send_signal(signal.SIGTERM)
                with trio.fail_after(1 + GRACE_S):
                    assert await agent.until_closed() == []
                assert time.monotonic() - started >= 1
            assert await gate.end(GRACE_S) == 0
        (server,) = [span for span in collector.spans if span.kind == "SERVER"]
    failed = "failed:gate_shutting_down"
    assert server.attributes["callgate.decision.path"][-2:] == (f"forward={failed}", f"respond={failed}")  # type: ignore[index]


async def test_whoever_is_slow_to_shake_hands_does_not_hold_up_the_end_beyond_the_time_to_drain(
    tmp_path: Path, api: DevWorkloadApi
) -> None:
    async with (
        scripted_server() as upstream,
        serving(tmp_path, api.endpoint("gate"), upstream.url, "limits: {drain_s: 1}\n") as gate,
    ):
        port, _ = await gate.ready()
        async with await trio.open_tcp_stream("127.0.0.1", port):
            gate.process.send_signal(signal.SIGTERM)
            assert await gate.end(1 + GRACE_S) == 0


async def test_whoever_shakes_hands_while_it_ends_is_not_let_in(tmp_path: Path) -> None:
    async with scripted_server() as upstream:
        async with running_gate(tmp_path, upstream.url, more="limits: {drain_s: 600}") as gate:
            context = await context_of(gate.api, "billing")
            tcp = await trio.open_tcp_stream("127.0.0.1", gate.addresses.agents.port)
            with trio.fail_after(GRACE_S):
                while not gate.service._connections:
                    await trio.lowlevel.checkpoint()
                gate.service.stop()
                late = RawConnection(tcp, context)
                async with tcp:
                    await late.shake_hands()
                    assert await late.until_closed() == []
        assert upstream.connections == 0


async def test_without_an_identity_it_says_why_on_readyz_and_in_the_log_and_still_ends_at_once(tmp_path: Path) -> None:
    nowhere = f"unix://{tmp_path}/nobody.sock"
    async with scripted_server() as upstream, serving(tmp_path, nowhere, upstream.url) as gate:
        port, admin = await gate.ports()
        assert await admin_page(admin, "/healthz") == (200, {"alive": True})
        status, document = await admin_page(admin, "/readyz")
        assert (status, document["ready"]) == (503, False)
        await gate.line("not ready")
        gate.process.send_signal(signal.SIGTERM)
        assert await gate.end(GRACE_S) == 0
        await until_refused(port)


async def test_the_second_listener_serves_health_readiness_and_keys_without_a_certificate(
    tmp_path: Path, api: DevWorkloadApi
) -> None:
    async with scripted_server() as upstream, serving(tmp_path, api.endpoint("gate"), upstream.url) as gate:
        _, admin = await gate.ready()
        assert await admin_page(admin, "/healthz") == (200, {"alive": True})
        assert await admin_page(admin, "/readyz") == (200, {"ready": True, "missing": []})
        status, keys = await admin_page(admin, "/.well-known/jwks.json")
        assert (status, list(keys)) == (200, ["keys"])
        assert (await admin_page(admin, "/ledger/mcp"))[0] == 404
        gate.process.send_signal(signal.SIGTERM)
        assert await gate.end(GRACE_S) == 0
    assert gate.output == b""
    # Every line was JSON, or it could not have been read.
    assert {frozenset(line) for line in gate.lines} == {frozenset({"time", "level", "logger", "message"})}
    assert f"ready as {GATE}" in gate.messages


# What keeps it from starting.


def serve(config: Path) -> subprocess.CompletedProcess[str]:
    command = [str(CALLGATE), "serve", "-c", str(config)]
    return subprocess.run(command, capture_output=True, text=True, timeout=START_S, check=False)


def test_refuses_to_start_with_mistakes_in_its_files_and_names_them_all(tmp_path: Path) -> None:
    policy = POLICY.replace("server: ledger", "server: leger", 1).replace("ttl: 10s", "ttl: 10 minutes", 1)
    config = write_files(tmp_path, "unix:///x.sock", "http://ledger.acme.test/mcp", "colour: blue\n", policy)
    done = serve(config)
    assert (done.returncode, done.stdout) == (1, "")
    lines = done.stderr.splitlines()
    places = [":".join(line.split(":")[:2]) for line in lines]
    assert places == [f"{config}:9", f"{config}:10", f"{tmp_path}/policy.yaml:7", f"{tmp_path}/policy.yaml:15"], lines
    assert "https://" in lines[0]
    assert "colour" in lines[1]
    assert "leger" in lines[2]


def test_refuses_to_start_without_its_files(tmp_path: Path) -> None:
    done = serve(tmp_path / "callgate.yaml")
    assert done.returncode == 1
    assert str(tmp_path / "callgate.yaml") in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("which", ["listen", "admin"])
def test_says_which_address_is_taken(tmp_path: Path, which: str) -> None:
    config = write_files(tmp_path, f"unix://{tmp_path}/nobody.sock", "http://127.0.0.1:9/mcp")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        old = {"listen": "listen: 127.0.0.1:0\n", "admin": "{listen: '127.0.0.1:0'}"}[which]
        config.write_text(config.read_text().replace(old, old.replace("127.0.0.1:0", address), 1))
        done = serve(config)
    assert done.returncode == 1
    assert address in done.stderr
    assert "in use" in done.stderr
    assert "Traceback" not in done.stderr
