"""Agents that are slow, or want too much: each is cut off at its limit, leaves nothing behind and disturbs nobody."""

import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
import trio

from callgate.errors import ANSWERS, Reason
from support.raw_agent import HOST, MODERN, RawConnection, modern, modern_call, request, transport_headers
from support.siege import PATIENCE_S, Siege, siege
from support.tls_agent import until
from support.upstream import Asked, Reply

LIMITS = {"head_s": 0.4, "body_s": 0.4, "write_stall_s": 0.4}
CALL = modern_call("get_invoice")
FIELDS = "".join(
    f"{name}: {value}\r\n"
    for name, value in transport_headers(MCP_Protocol_Version=MODERN, Mcp_Method="tools/call", Mcp_Name="get_invoice")
)
HEAD = f"POST /ledger/mcp HTTP/1.1\r\nHost: {HOST}\r\n{FIELDS}".encode()
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


def held(scene: Siege) -> tuple[int, int]:
    """The gate's connections, and the files that are open for anything but its idle connections to the tool server.

    Both ends of those are in this process.
    """
    idle = len(scene.gate.service._routes["ledger"].upstream._idle)
    return scene.gate.service._connections, len(os.listdir("/proc/self/fd")) - 2 * idle  # noqa: PTH208  # a count


@asynccontextmanager
async def leaving_nothing(scene: Siege) -> AsyncIterator[None]:
    """Afterwards the gate holds what it held before."""
    before = held(scene)
    yield
    await until(lambda: held(scene) == before)


async def trickle(connection: RawConnection, content: bytes) -> None:
    """A byte now and then, so that the connection is never silent."""
    for at in range(len(content)):
        await connection.say(content[at : at + 1])
        await trio.sleep(0.02)


async def cut_off(scene: Siege, connection: RawConnection, reason: Reason) -> None:
    """One refusal, then the end; one trace."""
    with trio.fail_after(PATIENCE_S):
        (answer,) = await connection.until_closed()
    assert (answer.status, answer.reason, answer.closes) == (ANSWERS[reason].http_status, reason, True)
    (trace,) = await scene.traces_when(connection, 1)
    assert trace.path == ("accept=ok", "authenticate=ok", f"read=refused:{reason}", "respond=ok")
    assert scene.reached() == []


SLOW = {
    "head": (b"", HEAD + b"X: " + b"x" * 10_000),
    "field after field": (HEAD, b"X: y\r\n" * 2_000),
    "counted body": (HEAD + b"Content-Length: 9999\r\n\r\n", b"{" * 9_999),
    "chunked body": (CHUNKED, b"1\r\n{\r\n" * 1_000),
    "chunk size": (CHUNKED, b"1"),
    "silence in the head": (HEAD, b""),
    "silence in the body": (HEAD + b"Content-Length: 2\r\n\r\n{", b""),
}


@pytest.mark.parametrize("slow", SLOW)
async def test_slow_request_is_cut_off_and_told_so(tmp_path: Path, slow: str) -> None:
    at_once, slowly = SLOW[slow]
    async with siege(tmp_path, limits=LIMITS) as scene, leaving_nothing(scene), scene.connected() as connection:
        await connection.say(at_once)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trickle, connection, slowly)
            await cut_off(scene, connection, Reason.HTTP_TIMEOUT)
            nursery.cancel_scope.cancel()


async def test_idle_connection_is_closed_without_a_word(tmp_path: Path) -> None:
    async with (
        siege(tmp_path, limits={"idle_s": 1.0}) as scene,
        leaving_nothing(scene),
        scene.connected() as connection,
    ):
        assert (await connection.ask(CALL)).status == 200
        with trio.fail_after(PATIENCE_S):
            assert await connection.until_closed() == []
        assert len(scene.traces_of(connection)) == 1


GREEDY = {
    "head of a megabyte": (HEAD + b"X: " + b"x" * (1 << 20), Reason.HTTP_HEAD_TOO_LARGE),
    "a whole head of 200 kB": (HEAD + b"X: " + b"x" * 200_000 + b"\r\n\r\n", Reason.HTTP_HEAD_TOO_LARGE),
    "fields without end": (HEAD + b"X: y\r\n" * 50_000, Reason.HTTP_HEAD_TOO_LARGE),
    "body of ten gigabytes": (HEAD + b"Content-Length: 10737418240\r\n\r\n{", Reason.HTTP_BODY_TOO_LARGE),
    "chunk of two gigabytes": (CHUNKED + b"7fffffff\r\n{", Reason.HTTP_BODY_TOO_LARGE),
    "chunks over the limit": (CHUNKED + (b"10000\r\n%s\r\n" % (b"x" * 65_536)) * 40, Reason.HTTP_BODY_TOO_LARGE),
    "chunks of one byte": (CHUNKED + b"1\r\n \r\n" * 20_000, Reason.HTTP_FRAMING),
    "chunk extension of 200 kB": (CHUNKED + b"1;" + b"x" * 200_000 + b"\r\n \r\n0\r\n\r\n", Reason.HTTP_FRAMING),
    "20 000 trailers": (CHUNKED + b"1\r\n \r\n0\r\n" + b"X: y\r\n" * 20_000 + b"\r\n", Reason.HTTP_FRAMING),
    "chunk size of zeros": (CHUNKED + b"0" * 200_000, Reason.HTTP_FRAMING),
}


@pytest.mark.parametrize("greedy", GREEDY)
async def test_request_that_is_too_large_is_refused_at_once(tmp_path: Path, greedy: str) -> None:
    content, reason = GREEDY[greedy]
    async with siege(tmp_path) as scene, leaving_nothing(scene), scene.connected() as connection:
        await connection.say(content)
        await cut_off(scene, connection, reason)


async def test_many_pipelined_requests_are_answered_in_order_and_one_at_a_time(tmp_path: Path) -> None:
    count = 400
    pipelined = b"".join(modern_call("no_such_tool", {"x": "x" * 200}, rpc_id=at) for at in range(count))
    async with siege(tmp_path) as scene, leaving_nothing(scene), scene.connected() as connection:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.say, pipelined)
            with trio.fail_after(PATIENCE_S):
                answers = [await connection.answer() for _ in range(count)]
        assert [answer.message["id"] for answer in answers if answer] == list(range(count))
        assert len(await scene.traces_when(connection, count)) == count


async def test_requests_sent_ahead_of_a_slow_answer_are_held_back(tmp_path: Path) -> None:
    """However much is sent ahead, the gate holds a few reads of it, and TCP the rest."""
    asked, go = trio.Event(), trio.Event()

    async def wait(request: Asked, reply: Reply) -> None:
        asked.set()
        await go.wait()
        await reply.json({"jsonrpc": "2.0", "id": request.message["id"], "result": {"content": []}})

    async with (
        siege(tmp_path, wait) as scene,
        leaving_nothing(scene),
        scene.connected() as connection,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(connection.say, CALL + modern("ping") * 100_000)
        await asked.wait()
        calls = scene.neighbour.calls
        await until(lambda: scene.neighbour.calls >= calls + 5)
        assert 0 < max(each.http.buffered for each in scene.gate.service._open) <= 64 * 1024
        go.set()
        with trio.fail_after(PATIENCE_S):
            first = await connection.answer()
        assert first is not None
        assert first.status == 200
        nursery.cancel_scope.cancel()


async def test_agent_that_never_reads_a_streamed_answer_is_dropped(tmp_path: Path) -> None:
    async def without_end(_: Asked, reply: Reply) -> None:
        await reply.start_events()
        while True:
            await reply.event({"jsonrpc": "2.0", "method": "notifications/message", "params": {"data": "x" * 60_000}})

    async with siege(tmp_path, without_end, limits=LIMITS) as scene, leaving_nothing(scene):
        async with scene.connected() as connection:
            await connection.say(CALL)
            (trace,) = await scene.traces_when(connection, 1)
        assert trace.path[-2:] == ("forward=failed:client_stalled", "respond=failed:client_stalled")


async def test_agent_that_never_reads_a_whole_answer_is_dropped(tmp_path: Path) -> None:
    async def large(asked: Asked, reply: Reply) -> None:
        result = {"content": [{"type": "text", "text": "x" * 3_000_000}]}
        await reply.json({"jsonrpc": "2.0", "id": asked.message["id"], "result": result})

    async with siege(tmp_path, large, limits=LIMITS) as scene, leaving_nothing(scene):
        async with scene.connected() as connection:
            connection.tcp.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            await connection.say(CALL * 8)
            traces = await scene.traces_when(connection, 1)
            with trio.fail_after(PATIENCE_S):
                while traces[-1].path[-1] != "respond=failed:client_stalled":
                    traces = await scene.traces_when(connection, len(traces) + 1)
        assert len(traces) <= 8


def hello() -> bytes:
    """The first flight of a TLS client, which then says no more."""
    return bytes.fromhex("16030100c8010000c40303") + bytes(100)


GREETINGS = {"silence": b"", "half a hello": hello(), "http": CALL, "garbage": bytes(range(256)) * 64}


@pytest.mark.parametrize("greeting", GREETINGS)
async def test_handshake_that_comes_to_nothing_ends_and_leaves_a_trace(tmp_path: Path, greeting: str) -> None:
    async with siege(tmp_path, limits={"handshake_s": 1.0}) as scene, leaving_nothing(scene):
        before = len(scene.traces_of_attackers())
        async with AsyncExitStack() as room:
            for _ in range(5):
                tcp = await room.enter_async_context(await trio.open_tcp_stream("127.0.0.1", scene.attacker.port))
                await tcp.send_all(GREETINGS[greeting])
            await until(lambda: len(scene.traces_of_attackers()) >= before + 5)
        found = scene.traces_of_attackers()[before:]
        expected = {
            Reason.TLS_HANDSHAKE_TIMEOUT if greeting in {"silence", "half a hello"} else Reason.TLS_HANDSHAKE_FAILED
        }
        assert {trace.path for trace in found} == {(f"accept=refused:{reason}",) for reason in expected}


def connections_to(port: int, count: int) -> Iterator[socket.socket]:
    for _ in range(count):
        sock = socket.socket()
        sock.setblocking(False)
        sock.connect_ex(("127.0.0.1", port))
        yield sock


async def test_flood_of_silent_connections_keeps_nobody_out_and_ends(tmp_path: Path) -> None:
    async with (
        siege(tmp_path, limits={"handshake_s": 1.0, "max_connections": 20}) as scene,
        leaving_nothing(scene),
    ):
        calls = scene.neighbour.calls
        flood = list(connections_to(scene.attacker.port, 300))
        await until(lambda: len(scene.traces_of_attackers()) >= 300 - 20)
        # As many as the gate takes on are still there, silent; whoever does say something comes before them.
        async with scene.connected() as connection:
            assert (await connection.ask(CALL)).status == 200
        await until(lambda: len(scene.traces_of_attackers()) >= 300 + 1)
        for sock in flood:
            sock.close()
        paths = [trace.path for trace in scene.traces_of_attackers() if trace.reason]
        assert paths == [(f"accept=refused:{Reason.TLS_HANDSHAKE_TIMEOUT}",)] * 300
        assert scene.neighbour.calls > calls


async def test_one_workload_cannot_hold_all_connections(tmp_path: Path) -> None:
    """Those over its share are told so if they ask, and let go soon if they do not."""
    limits = {"max_connections": 16, "max_connections_per_workload": 3}
    async with siege(tmp_path, limits=limits) as scene, leaving_nothing(scene), AsyncExitStack() as room:
        taken = [await room.enter_async_context(scene.connected()) for _ in range(15)]
        # The neighbour's, and the attacker's share.
        await until(lambda: scene.gate.service._connections == 1 + 3)
        partner = await scene.agent("partner")
        async with scene.connected(partner) as connection:
            assert (await connection.ask(CALL)).status == 200
        assert (await taken[0].ask(CALL)).status == 200
        refused = [trace for trace in scene.traces_of_attackers() if trace.reason]
        assert {trace.reason for trace in refused} == {Reason.TOO_MANY_CONNECTIONS_OF_WORKLOAD}
        assert len(refused) == 15 - 3


async def test_connections_broken_off_at_any_point_leave_nothing(tmp_path: Path) -> None:
    """Reset before, during and after the handshake, inside a request, and while it is answered."""
    content = request(b"{" * 2_000, transport_headers())

    async def break_off(at: int) -> None:
        if at % 2:
            (sock,) = connections_to(scene.attacker.port, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes([1, 0, 0, 0, 0, 0, 0, 0]))
            sock.close()
            return
        async with scene.connected() as connection:
            await connection.say((content + CALL)[: at * 40])
            connection.tcp.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes([1, 0, 0, 0, 0, 0, 0, 0]))

    async with siege(tmp_path) as scene, leaving_nothing(scene):
        await scene.for_each(range(120), break_off)
