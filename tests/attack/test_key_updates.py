"""A peer that asks for new keys again and again holds up nobody but itself.

A KeyUpdate (RFC 8446 section 4.6.3) is work for OpenSSL and no data for us, and may ask for an answer.  Read from the
socket by OpenSSL itself, they would be worked off for as long as they come, in one call, with everybody else waiting.
"""

import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from callgate.net.tls_context import workload_context
from callgate.net.tls_stream import FruitlessPeer, TlsStream
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


async def flood(at: Line) -> None:
    """Ask for new keys, and for nothing else, without end."""
    with suppress(trio.BrokenResourceError):
        while True:
            await at.raw.send_all(b"".join(at.forger.key_update() for _ in range(100)))


async def read_on(stream: TlsStream) -> None:
    while await stream.receive_some():
        pass


async def test_peer_that_asks_for_new_keys_without_end_is_cut_off(tmp_path: Path) -> None:
    async with line(tmp_path) as at, trio.open_nursery() as nursery:
        nursery.start_soon(flood, at)
        with trio.fail_after(20), pytest.raises(FruitlessPeer):
            await at.server.receive_some()
        nursery.cancel_scope.cancel()


async def test_others_get_their_turn_while_new_keys_are_asked_for(tmp_path: Path) -> None:
    """One read of the socket is what a peer can have worked off at a time."""
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with line(tmp_path) as at, trio.open_nursery() as nursery:
        nursery.start_soon(flood, at)
        nursery.start_soon(count)
        with trio.fail_after(20), pytest.raises(FruitlessPeer):
            await at.server.receive_some()
        # A read brings 16 KiB at the most, and FRUITLESS_BYTES are four times that.
        assert turns >= 4
        nursery.cancel_scope.cancel()


async def test_writer_waits_for_a_peer_that_reads_nothing(tmp_path: Path) -> None:
    async with line(tmp_path) as at, trio.open_nursery() as nursery:
        nursery.start_soon(read_on, at.server)
        await at.raw.send_all(b"".join(at.forger.key_update() for _ in range(1000)))
        with trio.move_on_after(0.2) as scope:
            await at.server.send_all(b"x" * 1_000_000)
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
