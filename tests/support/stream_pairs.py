"""Two ends of a connection on loopback, as the gate's own streams hold them: TLS between two workloads, or plain."""

import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass

import trio

from callgate.errors import Refusal
from callgate.identity.spiffe_id import TrustDomain
from callgate.identity.trust import X509Context, parse_bundle
from callgate.identity.x509_svid import parse_x509_svid
from callgate.net.tls_context import agent_facing_context, workload_context
from callgate.net.tls_stream import PlainStream, Stream, TlsStream
from support.pki import Authority, signer, workload

NOW = time.time()
ACME = TrustDomain.parse("acme.test")
ROOT = Authority.root("acme.test", now=NOW)
MIDDLE = ROOT.intermediate(signer("middle", "acme.test", now=NOW))
# More than the socket buffers of both ends hold together: 16 MiB.
MUCH = bytes(range(256)) * 64 * 1024


def identity(path: str, authority: Authority = ROOT) -> X509Context:
    spiffe_id = f"spiffe://acme.test/{path}"
    issued = authority.issue(workload(spiffe_id, now=NOW))
    svid = parse_x509_svid(spiffe_id, issued.chain_der, issued.key_der, "")
    return X509Context((svid,), {ACME: parse_bundle(ACME, ROOT.der)})


GATE, AGENT = identity("gate"), identity("agent", MIDDLE)
SERVER, CLIENT = agent_facing_context(GATE), workload_context(AGENT, GATE.bundles[ACME])


@contextmanager
def tcp_pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two ends of a TCP connection, non-blocking."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    for end in (near, far):
        end.setblocking(False)
        # As on the gate's own connections: nothing waits for an acknowledgement, and virtual time may jump.
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        yield near, far
    finally:
        near.close()
        far.close()


@dataclass(frozen=True, slots=True)
class Ends:
    """A connection as the two sides hold it.  `seen`: the client's TLS socket below its stream."""

    server: Stream
    client: Stream
    seen: socket.socket


@asynccontextmanager
async def tls_pair(server: ssl.SSLContext = SERVER, client: ssl.SSLContext = CLIENT) -> AsyncIterator[Ends]:
    """Two ends of a TLS connection after the handshake, which has to succeed on both."""
    with tcp_pair() as (near, far):
        theirs, ours = TlsStream.client(near, client, "localhost"), TlsStream.server(far, server)
        try:
            assert await both(theirs, ours) == (None, None)
            yield Ends(ours, theirs, theirs._socket)
        finally:
            theirs.close_now()
            ours.close_now()


@asynccontextmanager
async def plain_pair() -> AsyncIterator[Ends]:
    with tcp_pair() as (near, far):
        yield Ends(PlainStream(far), PlainStream(near), near)


async def both(theirs: TlsStream, ours: TlsStream) -> tuple[Refusal | None, Refusal | None]:
    """What each end says of the handshake: the client, the server."""
    found: dict[str, Refusal | None] = {}

    async def shake(name: str, stream: TlsStream) -> None:
        found[name] = await stream.handshake()

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(shake, "client", theirs)
            nursery.start_soon(shake, "server", ours)
    return found["client"], found["server"]


Pair = Callable[[], AbstractAsyncContextManager[Ends]]
