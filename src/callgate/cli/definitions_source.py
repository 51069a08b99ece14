"""Where the definitions that `callgate pin` looks at come from: a file, a tool server, or a gate."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import SystemRandom
from typing import Final

import trio

from callgate.addresses import Url
from callgate.dev.identity import workload_identity
from callgate.errors import GatewayError, Reason, Refusal
from callgate.identity.spiffe_id import SpiffeId
from callgate.identity.trust import X509Context
from callgate.net.asking import Answered, AskLimits, ask
from callgate.net.upstream import ToolServer, Upstream
from callgate.telemetry.visible import visible
from callgate.tool_lists import MAX_TOOL_LIST_BYTES, read_listed
from callgate.wire.json_strict import JsonLimits, JsonValue
from callgate.wire.jsonrpc import encode
from callgate.wire.list_walk import ListWalk
from callgate.wire.mcp import Request, upstream_headers

# All pages together: a server that is alive answers in milliseconds, and a check in CI must end.
ASKING_S: Final = 30.0
_LIMITS: Final = AskLimits(JsonLimits(max_bytes=MAX_TOOL_LIST_BYTES, safe_integers=False), MAX_TOOL_LIST_BYTES)
_WORDS: Final = {
    Reason.UPSTREAM_UNREACHABLE: "it cannot be reached",
    Reason.UPSTREAM_IDENTITY: "what answers did not prove to be what is expected",
    Reason.UPSTREAM_TIMEOUT: "it does not answer in time",
    Reason.UPSTREAM_CLOSED: "it closed the connection",
    Reason.UPSTREAM_REFUSED_TOKEN: "it asks for a token: --token FILE, or --through the gate",
}


class NoDefinitions(GatewayError):  # noqa: N818  # says what there is not
    """There is no list to look at; the message is a sentence."""


@dataclass(frozen=True, slots=True)
class AskedServer:
    """A server to ask: `gate` and `identity` where it is a gate that is asked for it.  `token`: a secret."""

    url: str
    gate: SpiffeId | None = None
    identity: X509Context | None = None
    token: str | None = field(default=None, repr=False)


def read_definitions(path: Path) -> Sequence[JsonValue]:
    """The list that stands in a file.  Raises NoDefinitions."""
    try:
        with path.open("rb") as file:
            # One byte more than may be: enough to be refused as too large.
            listed = read_listed(file.read(MAX_TOOL_LIST_BYTES + 1))
    except (OSError, ValueError) as error:
        why = (
            f"cannot be read: {getattr(error, 'strerror', None) or error}" if isinstance(error, OSError) else str(error)
        )
        raise NoDefinitions(f"{path} {why}") from error
    if not isinstance(listed, list):
        raise NoDefinitions(f"{path} has no list 'tools'")
    return listed


def check_url(text: str) -> str:
    """The URL of a tool server; raises ValueError with words for people."""
    url = Url.parse(text)
    if url.scheme == "http" and not url.is_loopback:
        raise ValueError("must start with https://; http is for this machine alone")
    return url.text


async def ask_for_definitions(asked: AskedServer) -> Sequence[JsonValue]:
    """Ask for the whole list, in whichever revision the server speaks.  Raises NoDefinitions."""
    upstream = Upstream(ToolServer("", asked.url, asked.gate), lambda: asked.identity, time.time)
    walk = ListWalk("server")
    try:
        with trio.fail_after(ASKING_S):
            while (request := walk.next()) is not None:
                found = await _answer(upstream, asked, request, walk.session_id)
                if isinstance(found, Refusal):
                    refusal = walk.take(found)
                else:
                    refusal = walk.take(found.said, found.session_id, found.size)
                if refusal is not None:
                    raise NoDefinitions(_words(asked.url, refusal))
    except trio.TooSlowError:
        raise NoDefinitions(_words(asked.url, Refusal(Reason.UPSTREAM_TIMEOUT))) from None
    finally:
        upstream.close()
    return walk.tools


async def identity_of_this_workload(endpoint: str | None) -> X509Context:
    """The SVID to come to a gate with.  Raises NoIdentity."""
    return await workload_identity(endpoint)


async def _answer(
    upstream: Upstream, asked: AskedServer, request: Request, session_id: str | None
) -> Answered | Refusal:
    exchange = await upstream.open(asked.identity)
    if isinstance(exchange, Refusal):
        return exchange
    bits = SystemRandom().getrandbits
    headers = upstream_headers(request, trace_id=bits(128) or 1, span_id=bits(64) or 1, session_id=session_id)
    shown = (("authorization", f"Bearer {asked.token}"),) if asked.token is not None else ()
    try:
        return await ask(exchange, request, (*headers, *shown), encode(request.message), _LIMITS)
    finally:
        exchange.release()


def _words(url: str, refusal: Refusal) -> str:
    why = _WORDS.get(refusal.reason, f"{refusal.reason} {refusal.detail}".strip())
    return visible(f"{url} gives no list of tools: {why}", 500)
