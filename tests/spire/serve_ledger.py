"""A workload: the demo's ledger behind mutual TLS with its own SVID, for the gate and for nobody else.

Prints `{"port": …}`, reads a line with the address of the gate's keys, serves.  Of each token that comes in it prints
what matters, a JSON object a line: whose it is, the certificate it is bound to, the certificate that the connection
showed, and which of its own SVIDs the connection was made with.

uvicorn loads its certificate once and cannot show it to the application, so TLS ends here, on trio, and what is inside
goes as it came to the FastMCP server on a thread of this process.
"""

import json
import re
import socket
import sys
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from functools import partial

import httpx2
import trio
from starlette.types import ASGIApp

from callgate.addresses import Address
from callgate.dev.demo_files import AUDIENCE, GATE_ID, ISSUER
from callgate.dev.ledger import Trust, build_ledger
from callgate.errors import Reason, Refusal
from callgate.identity.source import X509Source
from callgate.identity.trust import Peer, X509Context, verify_peer
from callgate.net.listener import Listener
from callgate.net.tls_context import agent_facing_context
from callgate.net.tls_stream import TlsStream
from support.serving import app_served

_AUTHORIZATION = re.compile(rb"\r\nauthorization: Bearer [\w-]+\.([\w-]+)\.[\w-]+\r\n", re.IGNORECASE)
# A head has at most 16 KiB: no header line is longer, and none is cut in two by more than that.
_HEAD_BYTES = 16 * 1024


@dataclass(slots=True)
class Tokens:
    """Finds the tokens in the requests of one connection.  `certificate`: x5t#S256 of the client's."""

    certificate: str
    own_leaf: str
    _rest: bytes = b""

    def take(self, received: bytes) -> bool:
        """Whether each token that is complete now may be used here: RFC 8705, section 3, "MUST verify"."""
        self._rest += received
        found = list(_AUTHORIZATION.finditer(self._rest))
        self._rest = self._rest[found[-1].end() :] if found else self._rest[-_HEAD_BYTES:]
        bound = [self._is_bound(token[1]) for token in found]
        return all(bound)

    def _is_bound(self, payload: bytes) -> bool:
        claims = json.loads(urlsafe_b64decode(payload + b"=="))
        bound_to: str | None = claims.get("cnf", {}).get("x5t#S256")
        say(sub=claims["sub"], bound_to=bound_to, certificate=self.certificate, own_leaf=self.own_leaf)
        return bound_to == self.certificate


def say(**report: object) -> None:
    print(json.dumps(report), flush=True)


async def welcome(source: X509Source, ledger_port: int, sock: socket.socket, _address: Address) -> None:
    """One connection: a fresh context, so that it is made with the SVID of this moment."""
    identity = source.current
    if identity is None:
        sock.close()
        return
    stream = TlsStream.server(sock, agent_facing_context(identity))
    try:
        gate = await stream.handshake() or gate_of(stream, identity)
        if isinstance(gate, Peer):
            certificate = urlsafe_b64encode(gate.leaf_sha256).rstrip(b"=").decode()
            await splice(stream, ledger_port, Tokens(certificate, identity.svid.leaf_sha256.hex()))
        else:
            print(f"refused: {gate}", file=sys.stderr)
    except OSError:
        pass  # Either side may hang up at any time.
    finally:
        stream.close_now()


def gate_of(stream: TlsStream, identity: X509Context) -> Peer | Refusal:
    """Whoever else has an SVID has no business here."""
    peer = verify_peer(stream.peer_chain(), identity.bundles, time.time())
    if isinstance(peer, Peer) and str(peer.id) != GATE_ID:
        return Refusal(Reason.UNEXPECTED_SPIFFE_ID, str(peer.id))
    return peer


async def splice(stream: TlsStream, ledger_port: int, tokens: Tokens) -> None:
    """Carry bytes both ways until one side is done."""
    async with await trio.open_tcp_stream("127.0.0.1", ledger_port) as ledger, trio.open_nursery() as nursery:

        async def inwards() -> None:
            while (received := await stream.receive_some()) and tokens.take(received):
                await ledger.send_all(received)
            nursery.cancel_scope.cancel()

        nursery.start_soon(inwards)
        while received := await ledger.receive_some():
            await stream.send_all(received)
        nursery.cancel_scope.cancel()


def ledger_app(trust: Trust) -> ASGIApp:
    return build_ledger(trust, httpx2.AsyncClient(trust_env=False), trust.audience).http_app(path="/mcp")


async def main() -> None:
    source = X509Source()
    listener = await Listener.open("127.0.0.1", 0)
    async with trio.open_nursery() as nursery:
        await nursery.start(source.run)
        await source.wait_ready()
        say(port=listener.address.port)
        keys = (await trio.to_thread.run_sync(sys.stdin.readline)).strip()
        # On a thread, where no trio is to be seen: its locks are made for the event loop that runs when they are made.
        app = await trio.to_thread.run_sync(ledger_app, Trust(ISSUER, keys, AUDIENCE))
        with app_served(app) as port:
            await listener.serve(nursery, partial(welcome, source, port))


trio.run(main)
