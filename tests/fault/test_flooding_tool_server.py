"""A tool server that never pauses: it costs its own call its time, and no other call anything."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

from callgate.errors import Reason
from support.raw_agent import modern_call
from support.siege import PATIENCE_S, siege

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
TOTAL = "1s"
# No flood goes on for longer, whatever becomes of the gate.
MOST_S = 15.0


def chunk(content: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(content), content)


def event(message: dict[str, object]) -> bytes:
    return chunk(b"data: " + json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n\n")


ANSWER = event({"id": 1, "result": {"content": []}})
FLOODS = {
    "comments before the answer": (b"", chunk(b":\n\n")),
    "comments in one chunk": (b"", chunk(b":\n\n" * 5_000)),
    "notifications that nobody asked for": (b"", event({"method": "notifications/tools/list_changed"})),
    "empty events": (b"", chunk(b"\n")),
    "log messages": (b"", event({"method": "notifications/message", "params": {"data": "x" * 500}})),
    "comments after the answer": (ANSWER, chunk(b":\n\n")),
    "events after the answer": (ANSWER, event({"method": "notifications/message", "params": {"data": "x"}})),
}


@contextmanager
def flooding(first: bytes, then: bytes) -> Iterator[str]:
    """A tool server on a thread of its own, which sends as fast as it can; its URL."""
    over = threading.Event()

    def flood(client: socket.socket) -> None:
        client.recv(65_536)
        client.sendall(HEAD + first)
        piece = then * (1 + 65_536 // len(then))
        end = time.monotonic() + MOST_S
        while not over.is_set() and time.monotonic() < end:
            client.sendall(piece)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_each, args=(listener, over, flood))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/mcp"
        finally:
            over.set()
            # Wakes the thread that accepts.
            socket.create_connection(listener.getsockname()).close()
            thread.join(PATIENCE_S)


def _each(listener: socket.socket, over: threading.Event, serve: Callable[[socket.socket], None]) -> None:
    while not over.is_set():
        client, _ = listener.accept()
        with client:
            client.settimeout(PATIENCE_S)
            try:
                serve(client)
            except OSError:
                # The gate has hung up.
                continue


@pytest.mark.parametrize("flood", FLOODS)
async def test_flood_ends_with_the_time_of_its_own_call(tmp_path: Path, flood: str) -> None:
    first, then = FLOODS[flood]
    with flooding(first, then) as url:
        servers = f"  flooding:\n    url: {url}\n    timeouts: {{total: {TOTAL}}}\n"
        policy = (
            "version: 1\ntrust_domains: [acme.test]\ngrants:\n"
            "  - {id: one, workloads: ['spiffe://acme.test/**'], server: flooding, tools: [get_invoice]}\n"
            "  - {id: two, workloads: ['spiffe://acme.test/**'], server: ledger, tools: [list_invoices]}\n"
        )
        async with siege(tmp_path, policy=policy, more=servers) as scene, scene.connected() as connection:
            calls = scene.neighbour.calls
            with trio.fail_after(PATIENCE_S):
                await connection.say(modern_call("get_invoice", target="/flooding/mcp"))
                answer = await connection.answer()
            assert answer is not None
            assert answers_in(answer.body) == (["result"] if first else ["error"])
            (trace,) = await scene.traces_when(connection, 1)
            assert trace.reason == ("" if first else Reason.UPSTREAM_TIMEOUT)
            if not first:
                # A second of it: without a turn for the others there would be none.
                assert scene.neighbour.calls > calls


def answers_in(body: bytes) -> list[str]:
    """What answers there are to the call, in a stream or alone: one, whatever happens."""
    lines = body.splitlines() if body.startswith((b"data:", b"event:", b":")) else [b"data: " + body]
    messages = [json.loads(line.removeprefix(b"data: ")) for line in lines if line.startswith(b"data: ")]
    return [kind for message in messages if "id" in message for kind in ("result", "error") if kind in message]
