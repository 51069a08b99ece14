"""One MCP request in exactly one reading, and the message that goes to the tool server for it.

MCP over Streamable HTTP at `/<server>/mcp`, in the revisions 2025-11-25 (legacy) and 2026-07-28 (modern).  What goes
upstream is built anew from what was read: params by the table of `callgate.wire.methods`, headers by the list in
`upstream_headers`; nothing else of what the agent sent passes.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from callgate.errors import Reason, Refusal
from callgate.trace import TraceParent
from callgate.wire.era import META_CAPABILITIES, META_CLIENT, META_LOG_LEVEL, META_VERSION, settle_era
from callgate.wire.headers import encode_value, only, read_param_headers, refuse_mirrors, refuse_transport
from callgate.wire.http1 import Headers, RawRequest
from callgate.wire.json_strict import JsonLimits, JsonObject, loads
from callgate.wire.jsonrpc import ClientMessage, RpcId, RpcNotification, RpcRequest, read_client_message
from callgate.wire.methods import (
    LEGACY_REVISION,
    METHODS,
    MODERN_REVISION,
    NAME_MEMBERS,
    SERVED_REVISIONS,
    Era,
    Kind,
    Method,
    Service,
    Subject,
)
from callgate.wire.params import META_DRY_RUN, META_PURPOSE, read_meta, refuse_meta, refuse_params
from callgate.wire.session import MAX_HANDLE_CHARS
from callgate.wire.trace_context import read_trace_context, write_traceparent

__all__ = [
    "LEGACY_REVISION",
    "METHODS",
    "MODERN_REVISION",
    "SERVED_REVISIONS",
    "ClientMessage",
    "Era",
    "RefusedMessage",
    "Request",
    "is_absorbed",
    "read_request",
    "upstream_headers",
    "upstream_message",
]

# A server's name is a label of the gate's own configuration; the target has one spelling and no query.
_TARGET: Final = re.compile(r"/([a-z0-9][a-z0-9-]{0,62})/mcp")
# 2025-11-25, basic/transports, "Session Management": visible ASCII.
_SESSION: Final = re.compile(rf"[!-~]{{1,{MAX_HANDLE_CHARS}}}")

# What of `_meta` passes to the tool server.  The rest is read by some servers (FastMCP chooses the version of a tool
# by it) and by no policy.
_PASSED_META: Final = frozenset({META_VERSION, META_CLIENT, META_LOG_LEVEL, "progressToken"})


@dataclass(frozen=True, slots=True)
class Request:
    """One MCP message from an agent, as it is decided on.

    `tool`, `arguments`: of tools/call alone; arguments that were left out are {}.  `session_handle`: not yet opened,
    of legacy messages but `initialize`.  `param_headers`: (lower-case name, value as it came), modern only.  `trace`:
    the caller's span, if its context could be read.  `size_bytes`: of the body.  `authorization`: the header as it came,
    a secret.
    """

    server: str
    era: Era
    revision: str
    message: ClientMessage
    tool: str | None = None
    arguments: JsonObject | None = None
    session_handle: str | None = None
    param_headers: tuple[tuple[str, str], ...] = ()
    trace: TraceParent | None = None
    size_bytes: int = 0
    authorization: str | None = field(default=None, repr=False)

    @property
    def meta(self) -> JsonObject:
        """`params._meta`, {} where there is none."""
        meta = self.message.params.get("_meta")
        return meta if type(meta) is dict else {}

    @property
    def purpose(self) -> str:
        """What the agent declares that it calls for; "" where it declares nothing.  Declared is not proved."""
        purpose = self.meta.get(META_PURPOSE)
        # A message that ends at the gate may say in its params what it likes.
        return purpose if type(purpose) is str and not is_absorbed(self) else ""

    @property
    def is_dry_run(self) -> bool:
        """Whether the agent asks what would be decided, and for nothing to be done."""
        # Whatever else stands there than a plain no is no wish to have it done.
        return self.meta.get(META_DRY_RUN, False) is not False


@dataclass(frozen=True, slots=True)
class RefusedMessage(Refusal):
    """A refusal of a message that could be read far enough to answer it.

    `rpc_id`: None for a notification.  `era`: None where it could not be settled.
    """

    rpc_id: RpcId | None = None
    era: Era | None = None


def read_request(raw: RawRequest, limits: JsonLimits) -> Request | Refusal:
    """Read one request.  Never raises; a refusal is a `RefusedMessage` from where the message's id is known on."""
    server = _read_target(raw)
    if isinstance(server, Refusal):
        return server
    refusal = refuse_transport(raw.headers)
    if refusal is not None:
        return refusal
    value = loads(raw.body, limits)
    message = value if isinstance(value, Refusal) else read_client_message(value)
    if isinstance(message, Refusal):
        return message
    meta = read_meta(message.params)
    if isinstance(meta, Refusal):
        return _refused(meta, message, None)
    era = settle_era(raw.headers, message, meta)
    if isinstance(era, Refusal):
        return _refused(era, message, None)
    found = _read_message(server, era, raw, message, meta)
    return _refused(found, message, era) if isinstance(found, Refusal) else found


def is_absorbed(request: Request) -> bool:
    """Whether the message ends at the gate: accepted with 202, and never sent on."""
    return METHODS[request.message.method].service is Service.ABSORBED


def upstream_message(request: Request, trace_id: int, span_id: int, *, trusted: bool = False) -> ClientMessage:
    """The message for the tool server: the same id, what was decided on, and our span as the parent.

    `trusted`: the caller's trace was joined, so its tracestate belongs to it.  Baggage never passes.  The client's
    capabilities are taken away: each is an invitation to ask the agent back, and the gate does not serve that.
    """
    message = request.message
    meta: JsonObject = {key: value for key, value in request.meta.items() if key in _PASSED_META}
    meta["traceparent"] = write_traceparent(trace_id, span_id)
    if trusted and request.trace is not None and request.trace.state:
        meta["tracestate"] = request.trace.state
    if META_CAPABILITIES in request.meta:
        meta[META_CAPABILITIES] = {}
    params = {**message.params, **_decided_params(request), "_meta": meta}
    if isinstance(message, RpcNotification):
        return RpcNotification(message.method, params)
    return RpcRequest(message.id, message.method, params)


def upstream_headers(
    request: Request, *, trace_id: int, span_id: int, session_id: str | None, trusted: bool = False
) -> tuple[tuple[str, str], ...]:
    """The headers for the tool server, all of them.

    An allow-list: no credential, cookie or forwarded identity of the agent's is ever among them.  `session_id`: the
    tool server's own, of the legacy session that the request belongs to.
    """
    found = [
        ("accept", "application/json, text/event-stream"),
        ("content-type", "application/json"),
        ("traceparent", write_traceparent(trace_id, span_id)),
    ]
    if trusted and request.trace is not None and request.trace.state:
        found.append(("tracestate", request.trace.state))
    # 2025-11-25: the header is for "all subsequent requests": the handshake only agrees on the revision.
    if request.message.method != "initialize":
        found.append(("mcp-protocol-version", request.revision))
    if request.era is Era.LEGACY:
        return (*found, *([("mcp-session-id", session_id)] if session_id is not None else []))
    found.append(("mcp-method", request.message.method))
    if request.tool is not None:
        found.append(("mcp-name", encode_value(request.tool)))
    return (*found, *request.param_headers)


def _read_target(raw: RawRequest) -> str | Refusal:
    match = _TARGET.fullmatch(raw.target)
    if match is None:
        return Refusal(Reason.HTTP_NOT_FOUND)
    return match[1] if raw.method == "POST" else Refusal(Reason.HTTP_METHOD, raw.method[:16])


def _refused(refusal: Refusal, message: ClientMessage, era: Era | None) -> RefusedMessage:
    rpc_id = message.id if isinstance(message, RpcRequest) else None
    return RefusedMessage(refusal.reason, refusal.detail, refusal.public, rpc_id, era)


def _read_message(
    server: str, era: Era, raw: RawRequest, message: ClientMessage, meta: JsonObject
) -> Request | Refusal:
    headers = raw.headers
    row = _find_method(message, era)
    if isinstance(row, Refusal):
        return row
    # A message that ends at the gate may say in its params what it likes.
    refusal = _refuse_mirrors(era, headers, message, row)
    if refusal is None and row.service is not Service.ABSORBED:
        refusal = refuse_meta(meta, era) or refuse_params(message.method, row, message.params)
    if refusal is not None:
        return refusal
    tool, arguments = _tool_call(message.params) if row.subject is Subject.TOOL else (None, None)
    session = _read_session(headers, message) if era is Era.LEGACY else None
    if isinstance(session, Refusal):
        return session
    mirrors = read_param_headers(headers, arguments) if era is Era.MODERN else ()
    if isinstance(mirrors, Refusal):
        return mirrors
    revision = MODERN_REVISION if era is Era.MODERN else LEGACY_REVISION
    return Request(
        server,
        era,
        revision,
        message,
        tool,
        arguments,
        session,
        mirrors,
        read_trace_context(meta),
        len(raw.body),
        # Repeated, it was refused: it is one of the headers of which HTTP takes one (`wire.http1`).
        headers.one("authorization"),
    )


def _find_method(message: ClientMessage, era: Era) -> Method | Refusal:
    row = METHODS.get(message.method)
    if row is None or era not in row.eras or row.service is Service.REFUSED:
        return Refusal(Reason.METHOD_NOT_SERVED, message.method[:64])
    kind = Kind.REQUEST if isinstance(message, RpcRequest) else Kind.NOTIFICATION
    if kind is row.kind:
        return row
    # A call without an id is accepted by some servers, run by others, and answered by none.
    return Refusal(Reason.RPC_INVALID, f"{message.method[:64]} is a {row.kind}")


def _refuse_mirrors(era: Era, headers: Headers, message: ClientMessage, row: Method) -> Refusal | None:
    member = NAME_MEMBERS.get(row.subject)
    name = message.params.get(member) if member is not None else None
    return refuse_mirrors(headers, message.method, name, required=era is Era.MODERN and row.kind is Kind.REQUEST)


def _tool_call(params: JsonObject) -> tuple[str | None, JsonObject | None]:
    name, arguments = params.get("name"), params.get("arguments", {})
    return (name if type(name) is str else None, arguments if type(arguments) is dict else None)


def _read_session(headers: Headers, message: ClientMessage) -> str | Refusal | None:
    if message.method == "initialize":
        return None
    handle = only(headers, "mcp-session-id")
    if handle is None:
        return Refusal(Reason.SESSION_MISSING)
    if isinstance(handle, Refusal) or _SESSION.fullmatch(handle):
        return handle
    return Refusal(Reason.SESSION_UNKNOWN)


def _decided_params(request: Request) -> Mapping[str, JsonObject | str]:
    """Where the gate says it otherwise than the agent did."""
    match request.message.method:
        case "initialize":
            # 2025-11-25, basic/lifecycle, "Version Negotiation": a server that does not support the revision asked for
            # "MUST respond with another protocol version it supports".  The gate supports one.
            return {"protocolVersion": LEGACY_REVISION, "capabilities": {}}
        case "tools/call" if request.arguments is not None:
            return {"arguments": request.arguments}
        case _:
            return {}
