"""Which revision of MCP a message is in: settled once, from header and body together.

A server that checks headers in one revision and not in the other can be walked around by sending the headers of one
with the body of the other.  So whatever belongs to both revisions, or to neither, is refused.
"""

from types import MappingProxyType
from typing import Final

from callgate.errors import Reason, Refusal
from callgate.wire.headers import only
from callgate.wire.http1 import Headers
from callgate.wire.json_strict import JsonObject
from callgate.wire.jsonrpc import ClientMessage, RpcRequest
from callgate.wire.methods import HANDSHAKE_REVISIONS, LEGACY_REVISION, MODERN_REVISION, SERVED_REVISIONS, Era

META_PREFIX: Final = "io.modelcontextprotocol/"
META_VERSION: Final = META_PREFIX + "protocolVersion"
META_CAPABILITIES: Final = META_PREFIX + "clientCapabilities"
META_CLIENT: Final = META_PREFIX + "clientInfo"
META_LOG_LEVEL: Final = META_PREFIX + "logLevel"
_MODERN_KEYS: Final = frozenset({META_VERSION, META_CAPABILITIES, META_CLIENT, META_LOG_LEVEL})

# 2025-11-25, basic/transports: without the header "the server SHOULD assume protocol version 2025-03-26".
_ASSUMED_REVISION: Final = "2025-03-26"
_REVISION_CHARS: Final = 64


def settle_era(headers: Headers, message: ClientMessage, meta: JsonObject) -> Era | Refusal:
    """The era of a message whose `params._meta` is `meta`.

    HEADER_MISMATCH where header and `_meta` name different revisions, ERA_MIXED where the message has marks of both
    eras, META_INVALID where a modern request does not say its revision, REVISION_UNSUPPORTED for any revision that the
    gate does not serve.
    """
    header = only(headers, "mcp-protocol-version")
    if isinstance(header, Refusal):
        return header
    if META_VERSION in meta:
        return _settle_by_metadata(header, meta)
    if header == MODERN_REVISION:
        return _settle_without_metadata(message)
    if not _MODERN_KEYS.isdisjoint(meta):
        return Refusal(Reason.ERA_MIXED, "modern metadata without a modern revision")
    if message.method == "initialize" and (header is None or header in HANDSHAKE_REVISIONS):
        # The revision is only just being agreed on; the header is for the requests after it.
        return Era.LEGACY
    return Era.LEGACY if header == LEGACY_REVISION else _unsupported(header or _ASSUMED_REVISION)


def _settle_by_metadata(header: str | None, meta: JsonObject) -> Era | Refusal:
    # 2026-07-28, streamable-http, "Protocol Version Header": "The header value MUST match".
    said = meta[META_VERSION]
    if type(said) is not str:
        return Refusal(Reason.META_INVALID, "protocolVersion is not a string")
    if header != said:
        return Refusal(Reason.HEADER_MISMATCH, "mcp-protocol-version")
    if said == MODERN_REVISION:
        return Era.MODERN
    if said in HANDSHAKE_REVISIONS:
        return Refusal(Reason.ERA_MIXED, "modern metadata that names a legacy revision")
    return _unsupported(said)


def _settle_without_metadata(message: ClientMessage) -> Era | Refusal:
    if message.method == "initialize":
        return Refusal(Reason.ERA_MIXED, "initialize with a modern header")
    if isinstance(message, RpcRequest):
        return Refusal(Reason.META_INVALID, "protocolVersion is missing")
    # "Header requirements for notification POSTs are not defined by this revision", nor is their metadata.
    return Era.MODERN


def _unsupported(requested: str) -> Refusal:
    # The list tells a client of a newer revision which to try next, and one of an older era that it may fall back.
    told = {"supported": list(SERVED_REVISIONS), "requested": requested[:_REVISION_CHARS]}
    return Refusal(Reason.REVISION_UNSUPPORTED, requested[:_REVISION_CHARS], MappingProxyType(told))
