"""The demo's agent: the official `mcp` client over mutual TLS, with an SVID and no secret.

`agent_context` shows the agent's SVID and accepts the gate's SPIFFE ID and nobody else's; `open_agent` gives a
connected `mcp.Client`; `run_steps` plays a list of steps on it and returns what came of each.  Runs on trio and on
asyncio.
"""

import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import cast

import httpx2
from cryptography.hazmat.primitives.serialization import Encoding
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from mcp.types import RequestParamsMeta, TextContent

from callgate.errors import GatewayError, leaves
from callgate.identity.spiffe_id import SpiffeId
from callgate.identity.trust import X509Bundle, X509Context
from callgate.net.tls_context import workload_context
from callgate.wire.params import META_PURPOSE

CONNECT_TIMEOUT_S = 10.0
# The longest silence in an answer; a step of the demo takes milliseconds.
READ_TIMEOUT_S = 30.0


class CannotReachGate(GatewayError):  # noqa: N818  # says what did not work
    """No answer came: no connection, no handshake, or the gate closed on us.  The message says which."""


@dataclass(frozen=True, slots=True)
class ListTools:
    """Ask which tools there are."""


@dataclass(frozen=True, slots=True)
class CallTool:
    """Call one tool, for a declared purpose if there is one."""

    name: str
    arguments: Mapping[str, object] = field(default_factory=dict)
    purpose: str = ""


@dataclass(frozen=True, slots=True)
class Listed:
    """The tools that the agent is shown, in the order of the answer."""

    tools: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Progress:
    """One progress notification; `total` and `message` where the tool named them."""

    done: float
    total: float | None
    message: str | None


@dataclass(frozen=True, slots=True)
class Allowed:
    """The tool was reached.  `tool_failed` is the tool's own word (`isError`), not the gate's."""

    text: str
    tool_failed: bool
    progress: tuple[Progress, ...]


@dataclass(frozen=True, slots=True)
class Denied:
    """A JSON-RPC error.  All that follows the message is "" where the error does not say it, or came from elsewhere.

    `approval`: the request for approval, and `said`: why a person denied it.
    """

    code: int
    message: str
    reason: str
    decision_id: str
    trace_id: str
    approval: str = ""
    said: str = ""


Step = ListTools | CallTool
StepResult = Listed | Allowed | Denied


def agent_context(identity: X509Context, gate: SpiffeId) -> ssl.SSLContext:
    """TLS 1.3 with the agent's SVID, to the workload `gate` and no other.

    Raises CannotReachGate when the identity knows no bundle of the gate's trust domain.
    """
    bundle = identity.bundles.get(gate.trust_domain)
    if bundle is None:
        raise CannotReachGate(f"this workload has no trust bundle of {gate.trust_domain}")
    return _expecting(gate, workload_context(identity, bundle))


def context_without_svid(bundle: X509Bundle, gate: SpiffeId) -> ssl.SSLContext:
    """What a caller has that no workload registration fits: it can check the gate and shows nothing."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.load_verify_locations(cadata=b"".join(a.public_bytes(Encoding.DER) for a in bundle.authorities))
    return _expecting(gate, context)


def _expecting(gate: SpiffeId, context: ssl.SSLContext) -> ssl.SSLContext:
    """Let no handshake end well unless the other side is `gate`.

    The context trusts the bundle of the gate's own trust domain alone, so what is left to check is the name:
    X509-SVID, section 2: "An X.509 SVID MUST contain exactly one URI SAN".  OpenSSL calls nobody back for that, and the
    HTTP client gives no access to the connection before the request has gone; its TLS object can be replaced.
    """

    class TlsToGate(ssl.SSLObject):
        def do_handshake(self) -> None:
            super().do_handshake()
            names = (self.getpeercert() or {}).get("subjectAltName", ())
            if [name for name in names if name[0] == "URI"] != [("URI", str(gate))]:
                raise ssl.SSLCertVerificationError(ssl.SSL_ERROR_SSL, f"the server is not {gate}")

    context.sslobject_class = TlsToGate
    return context


@asynccontextmanager
async def open_agent(
    url: str,
    context: ssl.SSLContext | None,
    *,
    headers: Mapping[str, str] | None = None,
    mode: str = "auto",
) -> AsyncIterator[Client]:
    """Connect to `https://gate/<server>/mcp` and yield the client.

    `context` is None for plain http.  `mode` is the client's: "auto" speaks 2026-07-28 where the server does, "legacy"
    opens a session by `initialize`.  Raises CannotReachGate, or `MCPError` where the gate or the server refuses to
    open.  An agent holds no secret: `headers` is for tests.
    """
    timeout = httpx2.Timeout(CONNECT_TIMEOUT_S, read=READ_TIMEOUT_S)
    verify = True if context is None else context
    # No proxy from the environment: mutual TLS ends at the gate or nowhere.
    http = httpx2.AsyncClient(verify=verify, headers=headers, timeout=timeout, trust_env=False)
    try:
        # No cache: each listing is a decision of its own.
        async with http, Client(streamable_http_client(url, http_client=http), mode=mode, cache=None) as client:
            yield client
    except BaseExceptionGroup as group:
        fault = _single_fault(group)
        if fault is None:
            raise
        raise fault from group


async def run_steps(agent: Client, steps: Sequence[Step]) -> list[StepResult]:
    """Play the steps in order.  A denied one does not end the session."""
    return [await run_step(agent, step) for step in steps]


async def run_step(agent: Client, step: Step) -> StepResult:
    """Play one step.  Raises CannotReachGate by way of `open_agent` when the connection is lost."""
    try:
        match step:
            case ListTools():
                return Listed(tuple(tool.name for tool in (await agent.list_tools()).tools))
            case CallTool():
                return await _call(agent, step)
    except MCPError as error:
        return denied(error)


async def _call(agent: Client, step: CallTool) -> Allowed:
    seen: list[Progress] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        seen.append(Progress(progress, total, message))

    meta = cast("RequestParamsMeta", {META_PURPOSE: step.purpose}) if step.purpose else None
    result = await agent.call_tool(step.name, dict(step.arguments), progress_callback=note, meta=meta)
    text = "\n".join(part.text for part in result.content if isinstance(part, TextContent))
    return Allowed(text, bool(result.is_error), tuple(seen))


def denied(error: MCPError) -> Denied:
    """A JSON-RPC error as a value."""
    told = error.data if isinstance(error.data, dict) else {}
    names = ("reason", "decision_id", "trace_id", "approval", "said")
    return Denied(error.code, error.message, *(str(told.get(name, "")) for name in names))


def _single_fault(group: BaseExceptionGroup[BaseException]) -> Exception | None:
    """What the client's task groups wrapped, where it is one thing that callers know."""
    faults = list(leaves(group))
    if all(isinstance(fault, httpx2.TransportError) for fault in faults):
        return CannotReachGate(_innermost(faults[0]))
    if len(faults) == 1 and isinstance(faults[0], MCPError | GatewayError):
        return faults[0]
    return None


def _innermost(error: BaseException) -> str:
    """The words of the error that started it: on trio the HTTP client's own exceptions are empty."""
    while isinstance(earlier := error.__cause__ or error.__context__, Exception):
        error = earlier
    return str(error) or type(error).__name__
