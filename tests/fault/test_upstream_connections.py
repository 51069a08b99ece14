"""Connections to a tool server: when one is used again, when never, and how long anything there is waited for."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

from callgate.config import load_config
from support.collector import BlackHole, DeadPort
from support.gate import WORKLOADS, context_of, running_gate
from support.raw_agent import RawAgent, legacy, modern_call, open_session
from support.tool_faults import FIRST, OK, SECOND, assert_failed, first, ok, scene
from support.upstream import Asked, Reply, Script, answer_with, said

POISON = b'{"jsonrpc":"2.0","id":2,"result":{"content":[],"resultType":"complete","poison":true}}'
POISONED = ok(b"Content-Length: %d" % len(POISON), body=POISON)
QUICK = {"timeouts": "{connect: 1s, first_byte: 1s, total: 1s}"}


async def test_a_connection_that_left_no_doubt_serves_call_after_call_of_any_agent(tmp_path: Path) -> None:
    async with scene(tmp_path, answer_with()) as at:
        async with at.agent() as one, at.agent("partner") as other:
            for agent in (one, other, one):
                assert (await agent.ask(FIRST)).message["result"] == OK
        assert at.upstream.connections == 1


@pytest.mark.parametrize("extra", [POISONED, b"\r\n", b"\0"])
async def test_bytes_after_an_answer_never_reach_another_caller(tmp_path: Path, extra: bytes) -> None:
    async def answer_and_more(asked: Asked, reply: Reply) -> None:
        await reply.json(said(asked, OK))
        await reply.raw(extra)

    async def answer_with_more(asked: Asked, reply: Reply) -> None:
        body = b'{"jsonrpc":"2.0","id":1,"result":{"content":[],"resultType":"complete"}}'
        assert asked.message["id"] == 1
        await reply.raw(ok(b"Content-Length: %d" % len(body), body=body) + extra)

    for number, script in enumerate((answer_and_more, answer_with_more)):
        (tmp_path / str(number)).mkdir()
        async with scene(tmp_path / str(number), first(script)) as at:
            async with at.agent() as one, at.agent("partner") as other:
                assert "poison" not in (await one.ask(FIRST)).message["result"]
                assert (await other.ask(SECOND)).message["result"] == OK
            assert at.upstream.connections == 2


async def test_bytes_that_come_while_a_connection_is_idle_never_reach_another_caller(tmp_path: Path) -> None:
    answered, spoilt = trio.Event(), trio.Event()

    async def speak_out_of_turn(asked: Asked, reply: Reply) -> None:
        await reply.json(said(asked, OK))
        await answered.wait()
        await reply.raw(POISONED)
        spoilt.set()

    async with scene(tmp_path, first(speak_out_of_turn)) as at:
        async with at.agent() as one, at.agent("partner") as other:
            await one.ask(FIRST)
            answered.set()
            await spoilt.wait()
            assert (await other.ask(SECOND)).message["result"] == OK
        assert at.upstream.connections == 2


@pytest.mark.parametrize("how", ["says that it closes", "closes without a word", "resets"])
async def test_a_connection_that_ended_while_idle_costs_no_call(tmp_path: Path, how: str) -> None:
    async def answer_and_leave(asked: Asked, reply: Reply) -> None:
        await reply.json(said(asked, OK), headers=[("Connection", "close")] if how == "says that it closes" else ())
        await (reply.reset() if how == "resets" else reply.close())

    async with scene(tmp_path, first(answer_and_leave)) as at, at.agent() as agent:
        # The answer may be lost to a reset that overtakes it; the call after it must not be.
        await agent.ask(FIRST)
        assert (await agent.ask(SECOND)).message["result"] == OK
        assert at.upstream.connections == 2
        assert [asked.message["id"] for asked in at.upstream.requests] == [1, 2]


async def test_a_call_that_a_kept_connection_swallows_is_not_sent_again(tmp_path: Path) -> None:
    async def play(asked: Asked, reply: Reply) -> None:
        if asked.message["id"] == 1 and asked.connection == 1:
            await reply.close()
        else:
            await reply.json(said(asked, OK))

    async with scene(tmp_path, play) as at, at.agent() as agent:
        assert (await agent.ask(modern_call("get_invoice", rpc_id=0))).message["result"] == OK
        answer = await agent.ask(FIRST)
        assert (answer.status, answer.code, answer.reason) == (200, -31502, "upstream_closed")
        assert (await agent.ask(SECOND)).message["result"] == OK
        assert [(asked.message["id"], asked.connection) for asked in at.upstream.requests] == [(0, 1), (1, 1), (2, 2)]


async def test_a_failed_call_leaves_a_legacy_session_as_it_was(tmp_path: Path) -> None:
    async def play(asked: Asked, reply: Reply) -> None:
        if asked.message.get("id") == 7:
            await reply.reset()
        else:
            await answer_with(session_id="s-1")(asked, reply)

    async with scene(tmp_path, play) as at, at.agent() as agent:
        session = await open_session(agent)
        call = partial(legacy, "tools/call", {"name": "get_invoice", "arguments": {}}, session=session)
        answer = await agent.ask(call(rpc_id=7))
        assert (answer.status, answer.code, answer.reason) == (200, -31502, "upstream_closed")
        assert (await agent.ask(call(rpc_id=8))).message["result"] == OK
        assert at.upstream.requests[-1].header("mcp-session-id") == "s-1"


# A call whose body is larger than what the sockets of a connection hold (tcp_wmem: 4 MiB).

LARGE = modern_call("get_invoice", {"number": "x" * 8_000_000}, rpc_id=1)
LARGE_ALLOWED = "limits: {max_body_bytes: 10000000}"


@pytest.mark.parametrize("then", ["reads on", "reads nothing", "hangs up"])
async def test_an_answer_that_comes_before_the_call_was_sent_whole_counts(tmp_path: Path, then: str) -> None:
    async def refuse_early(stream: trio.SocketStream) -> None:
        connections.append(stream)
        received = b""
        while b"\r\n\r\n" not in received:
            received += await stream.receive_some(4096)
        await stream.send_all(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n")
        if then == "reads on":
            async for _ in stream:
                pass
        elif then == "reads nothing":
            await trio.sleep_forever()
        await stream.aclose()

    connections: list[trio.SocketStream] = []
    listener = await small_listener()
    url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}/mcp"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(trio.serve_listeners, refuse_early, [listener]))
        async with running_gate(tmp_path, url, more=LARGE_ALLOWED) as gate:
            context = await context_of(gate.api, "billing")
            async with RawAgent(gate.addresses.agents.port, context).connected() as agent:
                for _ in range(2):
                    with trio.fail_after(20):
                        answer = await agent.ask(LARGE)
                    # A reset may overtake what was said before it.
                    reasons = ("upstream_status", "upstream_closed") if then == "hangs up" else ("upstream_status",)
                    assert (answer.status, answer.code) == (200, -31502)
                    assert answer.reason in reasons
        assert len(connections) == 2
        nursery.cancel_scope.cancel()


async def small_listener() -> trio.SocketListener:
    """Its connections hold little, so that whoever sends much to them has to wait."""
    sock = trio.socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    await sock.bind(("127.0.0.1", 0))
    sock.listen()
    return trio.SocketListener(sock)


# Waiting.


async def silent(_asked: Asked, _reply: Reply) -> None:
    await trio.sleep_forever()


async def trickle(_asked: Asked, reply: Reply) -> None:
    await reply.raw(ok(b"Content-Length: 1000000"))
    while True:
        await reply.raw(b" ")
        await trio.sleep(0.01)


async def trickle_head(_asked: Asked, reply: Reply) -> None:
    await reply.raw(b"HTTP/1.1 200 OK\r\nX-A: ")
    while True:
        await reply.raw(b"a")
        await trio.sleep(0.01)


async def trickle_interim(_asked: Asked, reply: Reply) -> None:
    await reply.raw(b"HTTP/1.1 100 Continue\r\n\r\n")
    await trio.sleep_forever()


@pytest.mark.parametrize("script", [silent, trickle, trickle_head, trickle_interim])
async def test_a_slow_tool_server_is_not_waited_for_longer_than_configured(tmp_path: Path, script: Script) -> None:
    # One limit of the two is far away, so that it is the other that ends the call.
    limits = "{first_byte: 60s, total: 1s}" if script is trickle else "{first_byte: 1s, total: 60s}"
    async with scene(tmp_path, first(script), server={"timeouts": limits}) as at, at.agent() as agent:
        await assert_failed(at, agent, "upstream_timeout")
        assert at.upstream.connections == 2


@contextmanager
def full_queue() -> Iterator[str]:
    """A listener that accepts nobody and has no room for more to wait."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        with socket.create_connection(address):
            yield f"http://127.0.0.1:{address[1]}/mcp"


async def failed_call(directory: Path, url: str, **server: str) -> tuple[int, int, str]:
    async with running_gate(directory, url, server=server) as gate:
        context = await context_of(gate.api, "billing")
        async with RawAgent(gate.addresses.agents.port, context).connected() as agent:
            with trio.fail_after(20):
                answer = await agent.ask(FIRST)
            assert not answer.closes
            return answer.status, answer.code, answer.reason


async def test_nobody_at_the_address(tmp_path: Path) -> None:
    with DeadPort() as nobody:
        assert await failed_call(tmp_path, f"{nobody.url}/mcp") == (200, -31502, "upstream_unreachable")


async def test_a_connection_that_does_not_come_about_is_given_up(tmp_path: Path) -> None:
    with full_queue() as url:
        assert await failed_call(tmp_path, url, timeouts="{connect: 1s}") == (200, -31502, "upstream_timeout")


async def test_a_handshake_that_does_not_come_about_is_given_up(tmp_path: Path) -> None:
    with BlackHole() as hole:
        url = f"{hole.url.replace('http:', 'https:')}/mcp"
        settings = {"identity": WORKLOADS["ledger"], "timeouts": "{connect: 1s}"}
        assert await failed_call(tmp_path, url, **settings) == (200, -31502, "upstream_timeout")


def test_plain_http_to_another_machine_is_refused_at_the_start() -> None:
    text = (
        "listen: 127.0.0.1:0\nissuer: https://gate.acme.test\npolicy: policy.yaml\naudit: {{}}\n"
        "servers:\n  ledger: {{url: '{}'}}\n"
    )
    for url in ("http://ledger.acme.test/mcp", "http://192.0.2.7:8080/mcp", "http://[2001:db8::7]/mcp"):
        problems = load_config(text.format(url), "callgate.yaml")
        assert isinstance(problems, tuple)
        (problem,) = problems
        assert (problem.line, "https://" in problem.message) == (6, True)
