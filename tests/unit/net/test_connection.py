"""One agent's connection: what it does when the agent does not read."""

import pytest
import trio
import trio.testing

from callgate.errors import Reason, Refusal
from callgate.net.connection import ClientLost, Connection, ConnectionLimits
from callgate.net.tls_stream import Stream
from callgate.wire.http1 import HttpLimits, RawRequest
from callgate.wire.http1_server import ServerConnection
from support.raw_agent import modern
from support.stream_pairs import MUCH, Pair, plain_pair, tls_pair

either_kind = pytest.mark.parametrize("pair", [tls_pair, plain_pair])
CUT = b"; what comes after it"


async def all_of(stream: Stream) -> bytes:
    received = bytearray()
    while part := await stream.receive_some():
        received += part
    return bytes(received)


@either_kind
async def test_says_no_more_after_a_piece_that_was_cut_short(
    pair: Pair, autojump_clock: trio.testing.MockClock
) -> None:
    refused = trio.Event()

    async def answer(_found: RawRequest | Refusal) -> None:
        started = autojump_clock.current_time()
        await connection.start_stream(200, [])
        with connection.call(1.0) as scope:
            await connection.stream_out(MUCH)
        assert scope.cancelled_caught, "all of it went out"
        assert autojump_clock.current_time() - started == pytest.approx(1.0)
        with pytest.raises(ClientLost) as lost:
            await connection.stream_out(CUT)
        assert lost.value.reason is Reason.CLIENT_STALLED
        refused.set()
        raise lost.value

    async with pair() as ends:
        connection = Connection(ends.server, ServerConnection(HttpLimits(), None), ConnectionLimits())
        ends.client.send_now(modern("ping"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.run, answer)
            await refused.wait()
            head, _, content = (await all_of(ends.client)).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        size, _, begun = content.partition(b"\r\n")
        assert int(size, 16) == len(MUCH)
        assert MUCH.startswith(begun), "something else was taken for the rest of the piece"


@either_kind
async def test_gives_up_on_client_that_reads_nothing(pair: Pair, autojump_clock: trio.testing.MockClock) -> None:
    reasons: list[Reason] = []

    async def answer(_found: RawRequest | Refusal) -> None:
        try:
            await connection.reply(200, [], MUCH)
        except ClientLost as lost:
            reasons.append(lost.reason)
            assert autojump_clock.current_time() - started == pytest.approx(30.0)
            raise

    async with pair() as ends:
        started = autojump_clock.current_time()
        limits = ConnectionLimits(write_stall_s=30.0)
        connection = Connection(ends.server, ServerConnection(HttpLimits(), None), limits)
        ends.client.send_now(modern("ping"))
        await connection.run(answer)
        assert reasons == [Reason.CLIENT_STALLED]
