"""The demo's tool server: a small ledger on FastMCP that checks callgate's tokens with FastMCP's own verifier.

It holds no callgate code on purpose: this is all that the owner of a tool has to write.  Each tool asks for the scope
`tool:<its name>`, so that a token made for one tool opens no other.  It runs as a process of its own, on loopback:

    python -m callgate.dev.ledger --port 0 --issuer URL --jwks-uri URL --audience URI

prints `ready <port>` once it serves `/mcp`, and ends quietly on SIGTERM.
"""

import asyncio
import os
import signal
import socket
from dataclasses import dataclass
from typing import Annotated

import click
import httpx2
import uvicorn
from fastmcp import Context, FastMCP
from fastmcp.exceptions import ToolError
from fastmcp.server.auth import RemoteAuthProvider, require_scopes
from fastmcp.server.auth.providers.jwt import JWTVerifier
from fastmcp.utilities.logging import configure_logging
from pydantic import AnyHttpUrl, TypeAdapter, UrlConstraints

HOST = "127.0.0.1"
# FastMCP asks for unknown keys every 30 s at most; a gate that has just started anew should not wait that long.
JWKS_REFRESH_INTERVAL_S = 1.0
# How long an open stream may hold up the end of the process.
SHUTDOWN_S = 1
# A plain AnyHttpUrl turns https://gate into https://gate/, which is another issuer.
_EXACT_URL = TypeAdapter(Annotated[AnyHttpUrl, UrlConstraints(preserve_empty_path=True)])
MONTH_STEPS = ("reading entries", "matching payments", "computing balances", "writing the report")

INVOICES = {
    "INV-1001": "Northwind, 1250 EUR, open",
    "INV-1002": "Contoso, 480 EUR, paid",
    "INV-1003": "Fabrikam, 9900 EUR, paid",
}


@dataclass(frozen=True, slots=True)
class Trust:
    """Whose tokens the ledger takes: the issuer, where its keys are, and the audience that tokens must name."""

    issuer: str
    jwks_uri: str
    audience: str


def build_ledger(trust: Trust, keys_client: httpx2.AsyncClient, base_url: str) -> FastMCP:
    """The server; `keys_client` fetches the issuer's keys and belongs to the caller."""
    verifier = JWTVerifier(
        jwks_uri=trust.jwks_uri,
        issuer=trust.issuer,
        audience=trust.audience,
        algorithm="ES256",  # the verifier takes one algorithm, and RS256 unless told
        jwks_refresh_interval=JWKS_REFRESH_INTERVAL_S,
        http_client=keys_client,
    )
    # RFC 9728: tells a client that comes without a token whose tokens it needs.
    auth = RemoteAuthProvider(verifier, [_EXACT_URL.validate_python(trust.issuer)], base_url)
    server: FastMCP = FastMCP("ledger", auth=auth)
    _add_reading_tools(server)
    _add_writing_tools(server)
    return server


def _add_reading_tools(server: FastMCP) -> None:
    @server.tool(auth=require_scopes("tool:list_invoices"), annotations={"readOnlyHint": True})
    def list_invoices() -> str:
        """The numbers of all invoices."""
        return ", ".join(INVOICES)

    @server.tool(auth=require_scopes("tool:get_invoice"), annotations={"readOnlyHint": True})
    def get_invoice(number: str) -> str:
        """One invoice: customer, amount, status."""
        return f"{number}: {_invoice(number)}"


def _add_writing_tools(server: FastMCP) -> None:
    @server.tool(auth=require_scopes("tool:refund"))
    def refund(number: str, amount: int, account: str = "customer") -> str:
        """Pay back part of an invoice."""
        _invoice(number)
        return f"refunded {amount} EUR of {number} to {account}"

    @server.tool(auth=require_scopes("tool:close_month"))
    async def close_month(month: str, ctx: Context) -> str:
        """Close the books of one month, reporting each step."""
        for done, step in enumerate(MONTH_STEPS, start=1):
            await ctx.report_progress(done, len(MONTH_STEPS), step)
        return f"closed {month}"

    @server.tool(auth=require_scopes("tool:wipe_ledger"), annotations={"destructiveHint": True})
    def wipe_ledger() -> str:
        """Delete every entry.  Nobody should ever get here; the demo's ledger only says that it would have."""
        return "the ledger is gone"


def _invoice(number: str) -> str:
    try:
        return INVOICES[number]
    except KeyError:
        raise ToolError(f"there is no invoice {number}") from None


class _AnnouncingServer(uvicorn.Server):
    """Says `ready <port>` on standard output when connections are accepted."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if sockets and self.started:
            click.echo(f"ready {sockets[0].getsockname()[1]}")


async def serve(listener: socket.socket, trust: Trust) -> None:
    """Serve on a bound socket until SIGTERM or SIGINT."""
    base_url = f"http://{HOST}:{listener.getsockname()[1]}"
    # Keys come straight from the gate: a proxy named in the environment has no business between the two.
    async with httpx2.AsyncClient(trust_env=False) as keys_client:
        app = build_ledger(trust, keys_client, base_url).http_app(path="/mcp")
        config = uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=SHUTDOWN_S)
        await _AnnouncingServer(config).serve(sockets=[listener])


def _end_quietly(_signal: int, _frame: object) -> None:
    # At once, since nothing is left to do: Ctrl-C reaches the whole group and the demo's own SIGTERM comes after it, and
    # a second signal that interrupts an ordinary ending makes Python complain on standard error.
    os._exit(0)


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="0 takes any free port.")
@click.option("--issuer", required=True, help="The `iss` of the tokens to accept.")
@click.option("--jwks-uri", required=True, help="Where the issuer publishes its keys.")
@click.option("--audience", required=True, help="The `aud` of the tokens to accept.")
def main(port: int, issuer: str, jwks_uri: str, audience: str) -> None:
    """Serve the demo's ledger on loopback."""
    configure_logging("WARNING")
    # uvicorn raises the signal again once it has stopped; this is where it then arrives.
    signal.signal(signal.SIGTERM, _end_quietly)
    signal.signal(signal.SIGINT, _end_quietly)
    with socket.create_server((HOST, port)) as listener:
        asyncio.run(serve(listener, Trust(issuer, jwks_uri, audience)))


if __name__ == "__main__":
    main()
