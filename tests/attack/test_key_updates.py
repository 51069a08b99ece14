"""A peer that asks for new keys again and again and takes nothing off the line makes the gate wait, and no more.

OpenSSL answers a KeyUpdate while it reads.  Where the line is full, the task that reads has to wait until it can write,
as does the one that answers requests: an agent could bring down its connection's task, and with it the gate.
"""

import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trio
from trio.testing import wait_all_tasks_blocked

from callgate.net.tls_context import workload_context
from callgate.net.tls_stream import TlsStream
from support.stream_pairs import ACME, AGENT, GATE, SERVER, both, tcp_pair
from support.tls13_records import Forger

SMALL = 4096


@dataclass
class Line:
    """`server`: the gate's end.  `raw`: the peer's socket, below its TLS."""

    server: TlsStream
    client: TlsStream
    raw: trio.SocketStream
    forger: Forger


@asynccontextmanager
async def line(directory: Path) -> AsyncIterator[Line]:
    """A TLS connection over which little can be under way."""
    log = directory / "keys"
    context = workload_context(AGENT, GATE.bundles[ACME])
    context.keylog_filename = str(log)
    with tcp_pair() as (near, far):
        near.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
        far.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
        raw = trio.SocketStream(trio.socket.from_stdlib_socket(near.dup()))
        client, server = TlsStream.client(near, context, "localhost"), TlsStream.server(far, SERVER)
        try:
            assert await both(client, server) == (None, None)
            yield Line(server, client, raw, Forger.of(log, client.tls_attributes()[1], records_sent=0))
        finally:
            client.close_now()
            server.close_now()
            await raw.aclose()


async def ask_until_stuck(at: Line) -> None:
    """Until the gate's end reads no further, because it cannot answer."""
    while True:
        with trio.move_on_after(0.5) as scope:
            await at.raw.send_all(b"".join(at.forger.key_update() for _ in range(100)))
        if scope.cancelled_caught:
            return


async def read_on(stream: TlsStream) -> None:
    while await stream.receive_some():
        pass


async def test_reader_and_writer_can_both_wait_for_a_peer_that_reads_nothing(tmp_path: Path) -> None:
    async with line(tmp_path) as at, trio.open_nursery() as nursery:
        nursery.start_soon(read_on, at.server)
        await ask_until_stuck(at)
        with trio.move_on_after(0.2) as scope:
            await at.server.send_all(b"x" * 100_000)
        assert scope.cancelled_caught
        nursery.cancel_scope.cancel()


async def test_answer_arrives_once_the_peer_reads(tmp_path: Path) -> None:
    async def drain() -> bytes:
        received = b""
        while not received.endswith(b"done"):
            received += await at.client.receive_some()
        return received

    async with line(tmp_path) as at, trio.open_nursery() as nursery:
        nursery.start_soon(read_on, at.server)
        for _ in range(3):
            await at.raw.send_all(at.forger.key_update())
        nursery.start_soon(at.server.send_all, b"x" * 100_000 + b"done")
        await wait_all_tasks_blocked()
        with trio.fail_after(20):
            assert await drain() == b"x" * 100_000 + b"done"
        nursery.cancel_scope.cancel()


async def test_forged_records_are_well_formed(tmp_path: Path) -> None:
    """Without which the tests above would show nothing."""
    async with line(tmp_path) as at:
        await at.raw.send_all(at.forger.application_data(b"before") + at.forger.key_update())
        assert await at.server.receive_some() == b"before"
        await at.raw.send_all(at.forger.application_data(b"after"))
        with trio.fail_after(20):
            assert await at.server.receive_some() == b"after"
        await at.raw.send_all(bytes(40))
        try:
            await at.server.receive_some()
        except ssl.SSLError:
            return
        raise AssertionError("garbage was taken for a record")
