"""The processes of the benchmark: a tool server, a trace sink, the plain forwarder, the gate, and the load.

    python -m bench.actors tool-server | sink | forwarder … | gate … | load …

Each prints one line of JSON when it is ready (and `load` one with its figures), and ends when its standard input does.
"""

import functools
import json
import ssl
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import h11
import trio

from bench.unrecorded import take_the_record_away
from callgate.audit.keys import make_key
from callgate.audit.places import Places
from callgate.cli.interpreter import settle
from callgate.config import Config, load_config
from callgate.dev.agent import agent_context
from callgate.identity.source import X509Source
from callgate.identity.spiffe_id import SpiffeId
from callgate.identity.trust import X509Context
from callgate.net.tls_context import agent_facing_context
from callgate.policy.compile import Policy, load_policy
from callgate.service import Service
from callgate.telemetry.export import Telemetry
from callgate.telemetry.otlp import Service as Sender
from callgate.trace import DecisionTrace

GATE = "spiffe://acme.test/gate"
# The sizes of `performance.md`'s scenario: a call of some 420 bytes, an answer of some 970.
RESULT = json.dumps({"content": [{"type": "text", "text": "x" * 860}], "isError": False, "resultType": "complete"})
Conversation = Callable[[trio.SocketStream], Awaitable[None]]


def announce(**facts: object) -> None:
    print(json.dumps(facts), flush=True)


async def until_stdin_ends() -> None:
    stdin = trio.lowlevel.FdStream(0)
    while await stdin.receive_some(1024):
        pass


async def listen(conversation: Conversation) -> None:
    """Serve on a free port of loopback until standard input ends."""

    async def guarded(stream: trio.SocketStream) -> None:
        try:
            await conversation(stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            await stream.aclose()

    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(functools.partial(trio.serve_listeners, guarded, listeners))
        announce(port=listeners[0].socket.getsockname()[1])
        await until_stdin_ends()
        nursery.cancel_scope.cancel()


async def read_message(stream: trio.SocketStream, buffer: bytearray) -> bytes | None:
    """One message with a Content-Length, as the benchmark's own peers write it; returns its body."""
    while (end := buffer.find(b"\r\n\r\n")) < 0:
        if not await _more(stream, buffer):
            return None
    head = bytes(buffer[:end]).lower()
    start = head.find(b"content-length:") + len(b"content-length:")
    length = int(head[start:].split(b"\r\n", 1)[0])
    while len(buffer) < end + 4 + length:
        if not await _more(stream, buffer):
            return None
    body = bytes(buffer[end + 4 : end + 4 + length])
    del buffer[: end + 4 + length]
    return body


async def _more(stream: trio.SocketStream, buffer: bytearray) -> bool:
    received = await stream.receive_some(65536)
    buffer += received
    return bool(received)


async def answer_calls(stream: trio.SocketStream) -> None:
    buffer = bytearray()
    while (body := await read_message(stream, buffer)) is not None:
        start = body.find(b'"id":') + 5
        number = body[start : start + 20].split(b",", 1)[0].split(b"}", 1)[0]
        answer = b'{"jsonrpc":"2.0","id":' + number + b',"result":' + RESULT.encode() + b"}"
        await stream.send_all(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(answer) + answer
        )


async def swallow_traces(stream: trio.SocketStream) -> None:
    buffer = bytearray()
    while await read_message(stream, buffer) is not None:
        await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")


async def identity_from(endpoint: str) -> X509Context:
    source = X509Source(endpoint)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(source.run)
        await source.wait_ready()
        found = source.current
        nursery.cancel_scope.cancel()
    assert found is not None
    return found


async def forward(endpoint: str, upstream_port: int) -> None:
    """What anybody would write first: trio's SSLStream, h11 on both sides, no decision, no token, no trace."""
    context = agent_facing_context(await identity_from(endpoint))
    idle: list[tuple[trio.SocketStream, h11.Connection]] = []

    async def conversation(stream: trio.SocketStream) -> None:
        tls: trio.SSLStream[trio.SocketStream] = trio.SSLStream(
            stream, context, server_side=True, https_compatible=True
        )
        agent = h11.Connection(h11.SERVER)
        while (request := await _h11_message(tls, agent)) is not None:
            head, body = request
            connection = idle.pop() if idle else (await trio.open_tcp_stream("127.0.0.1", upstream_port), None)
            upstream, server = connection[0], connection[1] or h11.Connection(h11.CLIENT)
            fields = [*head.headers]
            assert isinstance(head, h11.Request)
            sent = server.send(h11.Request(method=head.method, target=head.target, headers=fields))
            await upstream.send_all((sent or b"") + (server.send(h11.Data(data=body)) or b""))
            server.send(h11.EndOfMessage())
            answer = await _h11_message(upstream, server)
            assert answer is not None
            server.start_next_cycle()
            idle.append((upstream, server))
            response, content = answer
            assert isinstance(response, h11.Response)
            out = agent.send(h11.Response(status_code=response.status_code, headers=[*response.headers])) or b""
            await tls.send_all(out + (agent.send(h11.Data(data=content)) or b""))
            agent.send(h11.EndOfMessage())
            agent.start_next_cycle()

    await listen(conversation)


async def _h11_message(
    stream: trio.abc.Stream, protocol: h11.Connection
) -> tuple[h11.Request | h11.Response, bytes] | None:
    head: h11.Request | h11.Response | None = None
    body = b""
    while True:
        event = protocol.next_event()
        if event is h11.NEED_DATA:
            protocol.receive_data(bytes(await stream.receive_some(65536)))
        elif isinstance(event, h11.Request | h11.Response):
            head = event
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage) and head is not None:
            return head, body
        else:
            return None


async def gate(path: Path, *, on_record: bool = True) -> None:
    """The gate as `callgate serve` runs it; says at the end how long each stage took at the median, in µs."""
    config = load_config(await trio.Path(path).read_text(), path.name)
    policy = load_policy(await trio.Path(path.parent / "policy.yaml").read_text(), "policy.yaml")
    assert isinstance(config, Config), config
    assert isinstance(policy, Policy), policy
    telemetry = Telemetry.from_settings(config.telemetry.otlp, Sender("bench", "", ""))
    last: list[DecisionTrace] = []

    def record(trace: DecisionTrace) -> None:
        telemetry.record(trace)
        if len(last) < 2000:
            last.append(trace)

    make_key(Path(Places(path.parent / config.audit.folder).key), config.audit.origin)
    service = Service(config, policy, record, folder=path.parent)
    if not on_record:
        take_the_record_away(service)
    settle()
    async with trio.open_nursery() as nursery:
        addresses = await nursery.start(service.run)
        await service.wait_ready()
        announce(port=addresses.agents.port)
        await until_stdin_ends()
        service.stop()
    telemetry.close()
    announce(stages=_stage_medians(last), lost=telemetry.drops.total)


def _stage_medians(traces: list[DecisionTrace]) -> dict[str, float]:
    took: dict[str, list[int]] = {}
    for trace in traces:
        if trace.decision == "allow":
            for record in trace.records:
                took.setdefault(record.stage, []).append(record.ended_ns - record.started_ns)
    return {stage: round(statistics.median(values) / 1000, 1) for stage, values in took.items()}


async def load(endpoint: str, port: int, connections: int, calls: int) -> None:
    """`connections` agents, each with one connection kept alive; `calls` in all, spread evenly."""
    context = agent_context(await identity_from(endpoint), SpiffeId.parse(GATE))
    took: list[float] = []
    ready = trio.Event()
    async with trio.open_nursery() as nursery:
        for _ in range(connections):
            await nursery.start(_agent, context, port, calls // connections, took, ready)
        started = time.monotonic()
        ready.set()
    elapsed = time.monotonic() - started
    took.sort()
    announce(
        calls=len(took),
        per_s=round(len(took) / elapsed),
        p50_us=round(took[len(took) // 2] * 1e6),
        p99_us=round(took[int(len(took) * 0.99)] * 1e6),
    )


async def _agent(
    context: ssl.SSLContext,
    port: int,
    calls: int,
    took: list[float],
    ready: trio.Event,
    task_status: trio.TaskStatus[None],
) -> None:
    tcp = await trio.open_tcp_stream("127.0.0.1", port)
    stream: trio.SSLStream[trio.SocketStream] = trio.SSLStream(
        tcp, context, server_hostname="localhost", https_compatible=True
    )
    buffer = bytearray()
    for number in range(-20, calls):
        if number == 0:
            task_status.started()
            await ready.wait()
        began = time.perf_counter()
        await stream.send_all(request_bytes(port, number))
        answer = await read_message(stream, buffer)  # type: ignore[arg-type]
        if answer is None or b'"result"' not in answer:
            raise SystemExit(f"a call failed: {answer!r}")
        if number >= 0:
            took.append(time.perf_counter() - began)
    await stream.aclose()


def request_bytes(port: int, number: int) -> bytes:
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": {"name": "bench", "version": "1"},
    }
    arguments = {"number": "INV-1001", "fields": ["amount", "customer", "due"], "limit": 20}
    body = json.dumps(
        {
            "jsonrpc": "2.0",
            "id": number + 1000,
            "method": "tools/call",
            "params": {"name": "get_invoice", "arguments": arguments, "_meta": meta},
        },
        separators=(",", ":"),
    ).encode()
    head = (
        f"POST /ledger/mcp HTTP/1.1\r\nhost: localhost:{port}\r\ncontent-type: application/json\r\n"
        "accept: application/json, text/event-stream\r\nmcp-protocol-version: 2026-07-28\r\n"
        f"mcp-method: tools/call\r\nmcp-name: get_invoice\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def main(role: str, *arguments: str) -> None:
    match role:
        case "tool-server":
            trio.run(listen, answer_calls)
        case "sink":
            trio.run(listen, swallow_traces)
        case "forwarder":
            trio.run(forward, arguments[0], int(arguments[1]))
        case "gate":
            trio.run(gate, Path(arguments[0]))
        case "gate-unrecorded":
            trio.run(functools.partial(gate, Path(arguments[0]), on_record=False))
        case "load":
            trio.run(load, arguments[0], int(arguments[1]), int(arguments[2]), int(arguments[3]))
        case _:
            raise SystemExit(f"no such role: {role}")


if __name__ == "__main__":
    main(*sys.argv[1:])
