"""TLS on a real socket: the alert arrives, the end is clean, and nobody waits for ever."""

import socket
import ssl

import pytest
import trio
import trio.testing

from callgate.errors import Reason, Refusal
from callgate.net.tls_context import agent_facing_context
from callgate.net.tls_stream import LINGER_S, Stream, TlsStream
from support.pki import Authority, anonymous_client_context
from support.stream_pairs import AGENT, CLIENT, GATE, MUCH, NOW, SERVER, Pair, both, plain_pair, tcp_pair, tls_pair

either_kind = pytest.mark.parametrize("pair", [tls_pair, plain_pair])


async def test_both_ends_know_whom_they_speak_with() -> None:
    with tcp_pair() as (near, far):
        theirs, ours = TlsStream.client(near, CLIENT, "localhost"), TlsStream.server(far, SERVER)
        assert await both(theirs, ours) == (None, None)
        # As sent: leaf first, with what stands above it, and without the root.
        assert ours.peer_chain() == AGENT.svid.chain
        assert len(ours.peer_chain()) == 2
        assert theirs.peer_chain()[0] == GATE.svid.chain[0]
        version, cipher = ours.tls_attributes()
        assert version == "1.3"
        assert cipher in {"TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_GCM_SHA256"}
        theirs.close_now()
        ours.close_now()


async def test_refused_client_is_sent_its_alert() -> None:
    with tcp_pair() as (near, far):
        theirs, ours = TlsStream.client(near, anonymous_client_context(), None), TlsStream.server(far, SERVER)
        # In TLS 1.3 a client has finished before the server looks at its certificate.
        nothing_yet, refusal = await both(theirs, ours)
        assert nothing_yet is None
        assert refusal == Refusal(Reason.TLS_NO_CERTIFICATE, "PEER_DID_NOT_RETURN_A_CERTIFICATE")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ours.aclose)
            with pytest.raises(ssl.SSLError, match="ALERT_CERTIFICATE_REQUIRED"):
                await theirs.receive_some()
            theirs.close_now()


async def test_refused_server_is_sent_its_alert() -> None:
    stranger = anonymous_client_context([Authority.root("acme.test", now=NOW)])
    with tcp_pair() as (near, far):
        theirs, ours = TlsStream.client(near, stranger, None), TlsStream.server(far, SERVER)
        client_said, server_said = await both(theirs, ours)
        assert isinstance(client_said, Refusal)
        assert client_said.reason is Reason.TLS_CERTIFICATE_UNTRUSTED
        assert isinstance(server_said, Refusal)
        assert server_said.reason is Reason.TLS_HANDSHAKE_FAILED
        assert server_said.detail in {"TLSV1_ALERT_UNKNOWN_CA", "TLSV1_ALERT_DECRYPT_ERROR"}
        theirs.close_now()
        ours.close_now()


async def test_client_that_speaks_tls_1_2_alone_is_refused() -> None:
    old = anonymous_client_context()
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with tcp_pair() as (near, far):
        theirs, ours = TlsStream.client(near, old, None), TlsStream.server(far, SERVER)
        client_said, server_said = await both(theirs, ours)
        assert client_said == Refusal(Reason.TLS_HANDSHAKE_FAILED, "TLSV1_ALERT_PROTOCOL_VERSION")
        assert server_said == Refusal(Reason.TLS_PROTOCOL_VERSION, "UNSUPPORTED_PROTOCOL")
        theirs.close_now()
        ours.close_now()


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00\x05hello", bytes(100)])
async def test_what_is_no_handshake_is_refused(said: bytes) -> None:
    with tcp_pair() as (near, far):
        ours = TlsStream.server(far, SERVER)
        near.sendall(said)
        near.shutdown(socket.SHUT_WR)
        with trio.fail_after(10):
            refusal = await ours.handshake()
        assert isinstance(refusal, Refusal)
        assert refusal.reason is Reason.TLS_HANDSHAKE_FAILED
        ours.close_now()


async def test_handshake_with_a_silent_peer_can_be_cancelled(autojump_clock: trio.testing.MockClock) -> None:
    with tcp_pair() as (_, far):
        ours = TlsStream.server(far, SERVER)
        with trio.move_on_after(10) as scope:
            await ours.handshake()
        assert scope.cancelled_caught
        assert autojump_clock.current_time() == 10
        ours.close_now()


async def test_resumed_session_is_refused() -> None:
    with_tickets = agent_facing_context(GATE)
    with_tickets.num_tickets = 2
    async with tls_pair(with_tickets) as first:
        first.server.send_now(b"x")
        assert await first.client.receive_some() == b"x"
        assert isinstance(first.client, TlsStream)
        ticket = first.client._tls.session
    with tcp_pair() as (near, far):
        again, ours = TlsStream.client(near, CLIENT, "localhost"), TlsStream.server(far, with_tickets)
        again._tls.session = ticket
        client_said, server_said = await both(again, ours)
        assert client_said == Refusal(Reason.TLS_SESSION_RESUMED), "the attack of this test did not come about"
        assert server_said == Refusal(Reason.TLS_SESSION_RESUMED)
        again.close_now()
        ours.close_now()


@either_kind
async def test_much_is_sent_whole_however_slowly_it_is_read(pair: Pair) -> None:
    received = bytearray()

    async def read(stream: Stream) -> None:
        while len(received) < len(MUCH):
            received.extend(await stream.receive_some())

    async with pair() as ends:
        assert not ends.server.send_now(MUCH)
        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(read, ends.client)
                await ends.server.flush()
        assert received == MUCH


@either_kind
async def test_reading_takes_no_more_than_was_asked_for(pair: Pair) -> None:
    async with pair() as ends:
        assert ends.client.send_now(b"0123456789")
        assert await ends.server.receive_some(4) == b"0123"
        assert await ends.server.receive_some() == b"456789"


@either_kind
async def test_connection_is_quiet_until_something_comes_or_the_peer_goes(pair: Pair) -> None:
    async with pair() as ends:
        assert ends.client.is_quiet()
        assert ends.client.is_quiet()
        ends.server.send_now(b"!")
        await trio.lowlevel.wait_readable(ends.seen)
        assert not ends.client.is_quiet()
    async with pair() as ends:
        ends.server.close_now()
        await trio.lowlevel.wait_readable(ends.seen)
        assert not ends.client.is_quiet()


async def test_connection_with_nothing_but_tickets_on_it_is_quiet() -> None:
    generous = agent_facing_context(GATE)
    generous.num_tickets = 2
    async with tls_pair(generous) as ends:
        await trio.lowlevel.wait_readable(ends.seen)
        assert ends.client.is_quiet()


async def test_connection_of_a_peer_that_said_goodbye_is_not_quiet() -> None:
    async with tls_pair() as ends, trio.open_nursery() as nursery:
        nursery.start_soon(ends.server.aclose)
        await trio.lowlevel.wait_readable(ends.seen)
        assert not ends.client.is_quiet()
        ends.client.close_now()


async def test_close_says_goodbye_and_a_hasty_one_does_not() -> None:
    async with tls_pair() as ends, trio.open_nursery() as nursery:
        nursery.start_soon(ends.server.aclose)
        await trio.lowlevel.wait_readable(ends.seen)
        assert ends.seen.recv(100, socket.MSG_PEEK)
        assert await ends.client.receive_some() == b""
        ends.client.close_now()
    async with tls_pair() as ends:
        ends.server.close_now()
        await trio.lowlevel.wait_readable(ends.seen)
        assert ends.seen.recv(100) == b""


async def test_either_end_of_a_connection_reads_as_the_end() -> None:
    async with tls_pair() as ends, trio.open_nursery() as nursery:
        nursery.start_soon(ends.server.aclose)
        assert await ends.client.receive_some() == b""
        ends.client.close_now()
    async with tls_pair() as ends:
        ends.server.close_now()
        assert await ends.client.receive_some() == b""


@either_kind
async def test_last_answer_arrives_although_the_peer_still_sends(pair: Pair) -> None:
    async with pair() as ends, trio.open_nursery() as nursery:
        # Unread bytes at close make the kernel send RST, which would throw the answer away.
        ends.client.send_now(bytes(100_000))
        ends.server.send_now(b"refused")
        nursery.start_soon(ends.server.aclose)
        with trio.fail_after(10):
            assert await ends.client.receive_some() == b"refused"
            assert await ends.client.receive_some() == b""
        ends.client.close_now()


@either_kind
async def test_close_does_not_wait_for_ever_for_the_peer(pair: Pair, autojump_clock: trio.testing.MockClock) -> None:
    async with pair() as ends:
        before = autojump_clock.current_time()
        await ends.server.aclose()
        assert autojump_clock.current_time() - before == pytest.approx(LINGER_S)
        assert ends.server._socket.fileno() == -1


@either_kind
async def test_close_is_not_left_half_done_when_cancelled(pair: Pair) -> None:
    async with pair() as ends:
        ends.client.close_now()
        with trio.CancelScope() as scope:
            scope.cancel()
            await ends.server.aclose()
        assert ends.server._socket.fileno() == -1
