"""The demo's ledger, as its own process, behind a real gate; what passes between the two is recorded.

    with ledger_behind_gate(folder) as running:
        context = running.context("billing")

The gate runs on a thread with an event loop of its own, so that tests on any event loop may share one.
"""

import re
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import trio
from anyio.from_thread import BlockingPortal, start_blocking_portal

from callgate.dev.agent import agent_context
from callgate.dev.demo import free_ports
from callgate.dev.identity import workload_identity
from callgate.identity.spiffe_id import SpiffeId
from callgate.identity.trust import X509Context
from callgate.trace import DecisionTrace
from support.gate import GATE, Gate, running_gate
from support.permits import LEDGER_AUDIENCE
from support.serving import LedgerProcess, ledger_served

TOKEN_TTL_S = 60
_BEARER = re.compile(rb"authorization: Bearer ([!-~]+)\r\n")


@dataclass(frozen=True, slots=True)
class LedgerGate:
    """Everything of it.  `wire`: all bytes that the gate sent towards the ledger."""

    gate: Gate
    ledger: LedgerProcess
    issuer: str
    wire: bytearray
    portal: BlockingPortal

    @property
    def url(self) -> str:
        """Where agents find the ledger."""
        return self.gate.url()

    @property
    def jwks_uri(self) -> str:
        return jwks_uri_of(self.issuer)

    @property
    def tokens(self) -> list[str]:
        """Every token that went to the ledger, in order."""
        return [found.decode() for found in _BEARER.findall(bytes(self.wire))]

    def identity(self, name: str) -> X509Context:
        """What the Workload API gives to that workload.  Not for tests that run on a loop."""
        return self.portal.call(workload_identity, self.gate.api.endpoint(name))

    def context(self, name: str) -> ssl.SSLContext:
        """A TLS client context with that workload's SVID, which expects the gate."""
        return agent_context(self.identity(name), SpiffeId.parse(GATE))

    def trace(self, trace_id: str) -> DecisionTrace:
        """The one trace of that id (32 hexadecimal digits)."""
        (found,) = [trace for trace in tuple(self.gate.traces) if f"{trace.trace_id:032x}" == trace_id]
        return found


def jwks_uri_of(issuer: str) -> str:
    return f"{issuer}/.well-known/jwks.json"


@contextmanager
def ledger_behind_gate(directory: Path, server: Mapping[str, str] | None = None) -> Iterator[LedgerGate]:
    """Start both, each knowing the other's address; `server`: more of its configuration, as in `config_of`."""
    (admin_port,) = free_ports(1)
    issuer = f"http://127.0.0.1:{admin_port}"
    # FastMCP shows a tool in its list only to a token with the tool's scope.  The longest life there is: no token ends
    # under a test on a slow machine.
    token = f'{{audience: "{LEDGER_AUDIENCE}", list_scopes: granted, ttl: {TOKEN_TTL_S}s}}'
    with (
        ledger_served(issuer, jwks_uri_of(issuer), LEDGER_AUDIENCE) as ledger,
        start_blocking_portal("trio") as portal,
    ):
        wire = bytearray()
        parts = _running(directory, ledger, wire, issuer, {"token": token, **(server or {})})
        with portal.wrap_async_context_manager(parts) as gate:
            yield LedgerGate(gate, ledger, issuer, wire, portal)


@asynccontextmanager
async def _running(
    directory: Path, ledger: LedgerProcess, wire: bytearray, issuer: str, server: Mapping[str, str]
) -> AsyncIterator[Gate]:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}/mcp"
    admin = issuer.removeprefix("http://")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(trio.serve_listeners, partial(_pass_on, ledger.port, wire), listeners))
        async with running_gate(directory, url, admin=admin, issuer=issuer, server=server) as gate:
            yield gate
        nursery.cancel_scope.cancel()


async def _pass_on(port: int, wire: bytearray, gate: trio.SocketStream) -> None:
    """One connection, until either side ends it: every byte goes on as it came, those to the ledger are recorded."""
    ledger = await trio.open_tcp_stream("127.0.0.1", port)
    async with gate, ledger, trio.open_nursery() as nursery:
        nursery.start_soon(_pump, gate, ledger, wire, nursery.cancel_scope)
        nursery.start_soon(_pump, ledger, gate, bytearray(), nursery.cancel_scope)


async def _pump(
    source: trio.SocketStream, sink: trio.SocketStream, record: bytearray, both_ways: trio.CancelScope
) -> None:
    with suppress(trio.BrokenResourceError):
        async for received in source:
            record += received
            await sink.send_all(received)
    both_ways.cancel()
