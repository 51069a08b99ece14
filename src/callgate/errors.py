"""Why a call was refused, and what the caller is told about it.

A refusal is a value (`Refusal`), a fault of the machine or of our own is an exception (`GatewayError`).
Every refusal has one stable `Reason`, and `ANSWERS` is the only place that says what a reason looks like on the
wire.  A policy refusal is HTTP 200 with a JSON-RPC error, because several MCP clients end the whole session on any
other status (docs/adr/0002).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import TypeVar

E = TypeVar("E", bound=BaseException)

# JSON-RPC codes of our own stand outside -32768..-32000: MCP 2026-07-28 reserves -32020..-32099 and closes the rest.
RPC_IDENTITY = -31401
RPC_DENIED = -31403
RPC_LIMITED = -31429
RPC_APPROVAL_REQUIRED = -31202
RPC_UPSTREAM = -31502
RPC_UNAVAILABLE = -31503
# JSON-RPC 2.0, section 5.1.
RPC_PARSE = -32700
RPC_INVALID_REQUEST = -32600
RPC_METHOD_NOT_FOUND = -32601
RPC_INVALID_PARAMS = -32602
# MCP 2026-07-28, basic/transports, "Server Validation".
RPC_HEADER_MISMATCH = -32020
RPC_UNSUPPORTED_REVISION = -32022


class GatewayError(Exception):
    """A fault of the gate or of what it stands on; never the caller's doing."""


def leaves(group: BaseExceptionGroup[E]) -> Iterator[E]:
    """The exceptions in a group and in the groups within it: trio wraps one for each nursery on the way."""
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from leaves(error)
        else:
            yield error


def place_of(fault: BaseException) -> str:
    """The type of a fault and where it was raised, without its message: that could hold what a caller sent."""
    if isinstance(fault, BaseExceptionGroup):
        return "; ".join(map(place_of, leaves(fault)))
    frame = fault.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    return type(fault).__name__ + (f" in {frame.tb_frame.f_code.co_qualname}:{frame.tb_lineno}" if frame else "")


class Reason(StrEnum):
    """Stable codes: they are in traces, refusals and dashboards, so one is never renamed or reused."""

    # accept
    TOO_MANY_CONNECTIONS = "too_many_connections"
    GATE_NOT_READY = "gate_not_ready"
    GATE_SHUTTING_DOWN = "gate_shutting_down"
    TLS_HANDSHAKE_TIMEOUT = "tls_handshake_timeout"
    TLS_HANDSHAKE_FAILED = "tls_handshake_failed"
    TLS_PROTOCOL_VERSION = "tls_protocol_version"
    TLS_NO_CERTIFICATE = "tls_no_certificate"
    TLS_CERTIFICATE_UNTRUSTED = "tls_certificate_untrusted"
    TLS_CERTIFICATE_EXPIRED = "tls_certificate_expired"
    TLS_CERTIFICATE_NOT_YET_VALID = "tls_certificate_not_yet_valid"
    TLS_SESSION_RESUMED = "tls_session_resumed"
    # authenticate
    IDENTITY_UNAVAILABLE = "identity_unavailable"
    SVID_MALFORMED = "svid_malformed"
    SVID_CHAIN_TOO_LONG = "svid_chain_too_long"
    SVID_NO_URI = "svid_no_uri"
    SVID_SEVERAL_URIS = "svid_several_uris"
    SVID_ID_INVALID = "svid_id_invalid"
    SVID_ROOT_PATH = "svid_root_path"
    SVID_IS_CA = "svid_is_ca"
    SVID_KEY_USAGE = "svid_key_usage"
    SVID_EXTENDED_KEY_USAGE = "svid_extended_key_usage"
    SVID_SUBJECT = "svid_subject"
    SVID_CRITICAL_EXTENSION = "svid_critical_extension"
    SVID_WEAK_KEY = "svid_weak_key"
    SVID_EXPIRED = "svid_expired"
    SVID_NOT_YET_VALID = "svid_not_yet_valid"
    SVID_UNTRUSTED = "svid_untrusted"
    TRUST_DOMAIN_UNKNOWN = "trust_domain_unknown"
    TRUST_BUNDLE_EMPTY = "trust_bundle_empty"
    UNEXPECTED_SPIFFE_ID = "unexpected_spiffe_id"
    TOO_MANY_CONNECTIONS_OF_WORKLOAD = "too_many_connections_of_workload"
    # read, HTTP
    HTTP_MALFORMED = "http_malformed"
    HTTP_VERSION = "http_version"
    HTTP_TARGET = "http_target"
    HTTP_HEADER = "http_header"
    HTTP_HEADER_REPEATED = "http_header_repeated"
    HTTP_HEAD_TOO_LARGE = "http_head_too_large"
    HTTP_FRAMING = "http_framing"
    HTTP_BODY_TOO_LARGE = "http_body_too_large"
    HTTP_BODY_UNEXPECTED = "http_body_unexpected"
    HTTP_METHOD = "http_method"
    HTTP_NOT_FOUND = "http_not_found"
    HTTP_HOST = "http_host"
    HTTP_ORIGIN = "http_origin"
    HTTP_ACCEPT = "http_accept"
    HTTP_CONTENT_TYPE = "http_content_type"
    HTTP_CONTENT_ENCODING = "http_content_encoding"
    HTTP_EXPECTATION = "http_expectation"
    HTTP_TIMEOUT = "http_timeout"
    # read, JSON and JSON-RPC
    JSON_MALFORMED = "json_malformed"
    JSON_ENCODING = "json_encoding"
    JSON_DUPLICATE_KEY = "json_duplicate_key"
    JSON_NUMBER = "json_number"
    JSON_TOO_DEEP = "json_too_deep"
    JSON_TOO_LARGE = "json_too_large"
    RPC_BATCH = "rpc_batch"
    RPC_INVALID = "rpc_invalid"
    # read, MCP
    ERA_MIXED = "era_mixed"
    REVISION_UNSUPPORTED = "revision_unsupported"
    HEADER_MISMATCH = "header_mismatch"
    META_INVALID = "meta_invalid"
    METHOD_NOT_SERVED = "method_not_served"
    PARAMS_INVALID = "params_invalid"
    SESSION_MISSING = "session_missing"
    # identify
    SERVER_UNKNOWN = "server_unknown"
    SESSION_UNKNOWN = "session_unknown"
    USER_TOKEN_MALFORMED = "user_token_malformed"  # noqa: S105  # a reason, no token; so are the next
    USER_TOKEN_UNTRUSTED = "user_token_untrusted"  # noqa: S105
    USER_TOKEN_EXPIRED = "user_token_expired"  # noqa: S105
    USER_TOKEN_NOT_YET_VALID = "user_token_not_yet_valid"  # noqa: S105
    USER_TOKEN_AUDIENCE = "user_token_audience"  # noqa: S105
    USER_TOKEN_BINDING = "user_token_binding"  # noqa: S105
    USER_KEYS_UNAVAILABLE = "user_keys_unavailable"
    # decide
    NO_GRANT = "no_grant"
    DENIED = "denied"
    RATE_LIMITED = "rate_limited"
    TOO_MANY_CALLS = "too_many_calls"
    UPSTREAM_BREAKER_OPEN = "upstream_breaker_open"
    DRY_RUN = "dry_run"
    # inspect
    ARGUMENTS_INVALID = "arguments_invalid"
    ARGUMENTS_DENIED = "arguments_denied"
    TOOL_DRIFT = "tool_drift"
    SCHEMA_UNKNOWN = "schema_unknown"
    SCHEMA_UNUSABLE = "schema_unusable"
    DEFINITIONS_UNAVAILABLE = "definitions_unavailable"
    SCREENING_FAILED = "screening_failed"
    # approve
    APPROVAL_REQUIRED = "approval_required"
    APPROVAL_DENIED = "approval_denied"
    TOO_MANY_APPROVALS = "too_many_approvals"
    APPROVALS_UNAVAILABLE = "approvals_unavailable"
    # mint
    MINT_FAILED = "mint_failed"
    # record
    AUDIT_UNAVAILABLE = "audit_unavailable"
    # forward
    UPSTREAM_UNREACHABLE = "upstream_unreachable"
    UPSTREAM_IDENTITY = "upstream_identity"
    UPSTREAM_TIMEOUT = "upstream_timeout"
    UPSTREAM_CLOSED = "upstream_closed"
    UPSTREAM_MALFORMED = "upstream_malformed"
    UPSTREAM_STATUS = "upstream_status"
    UPSTREAM_REDIRECT = "upstream_redirect"
    UPSTREAM_REFUSED_TOKEN = "upstream_refused_token"  # noqa: S105  # a reason, no token
    UPSTREAM_TOO_LARGE = "upstream_too_large"
    UPSTREAM_MESSAGE = "upstream_message"
    # screen
    ANSWER_DENIED = "answer_denied"
    ANSWER_UNSCREENABLE = "answer_unscreenable"
    ANSWER_INVALID = "answer_invalid"
    TEXT_DECEPTIVE = "text_deceptive"
    # respond
    CLIENT_GONE = "client_gone"
    CLIENT_STALLED = "client_stalled"
    INTERNAL = "internal"


@dataclass(frozen=True, slots=True)
class Refusal:
    """No, and why.

    `detail` is for operators: it is in the trace and never on the wire, holds no argument, token or key, and no more
    than 200 characters of anything a caller wrote.  `public` is what the protocol wants the caller to know beside the
    reason (for instance the revisions that are served).  `told_as` stands in the reason's place where the reason itself
    would tell the caller what it may not know.
    """

    reason: Reason
    detail: str = ""
    public: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))
    told_as: Reason | None = field(default=None, kw_only=True)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a reason looks like to the caller.

    `rpc_code` is None where nothing was read that could be answered in JSON-RPC terms and the protocol asks for a bare
    HTTP status.  `legacy_http_status` is for revisions up to 2025-11-25, whose clients end the session on a 4xx that
    2026-07-28 demands.  `closes`: nothing more is read from this connection, because what follows cannot be trusted
    to start where we think it starts, or because the caller is no longer known.  `as_tool_error`: a call of a tool is
    answered with a result that says so, for the model to read, and not with a JSON-RPC error.
    """

    http_status: int
    rpc_code: int
    message: str
    closes: bool = False
    legacy_http_status: int | None = None
    as_tool_error: bool = False


def _answers_by_kind() -> dict[Reason, Answer]:
    identity = "The caller's identity was not accepted"
    answers = {
        reason: Answer(403, RPC_IDENTITY, identity, closes=True)
        for reason in Reason
        if reason.startswith(("tls_", "svid_", "trust_")) or reason is Reason.UNEXPECTED_SPIFFE_ID
    }
    answers |= {
        reason: Answer(200, RPC_UPSTREAM, "The tool server failed")
        for reason in Reason
        if reason.startswith("upstream_")
    }
    answers |= {
        reason: Answer(400, RPC_PARSE, "The body is not acceptable JSON")
        for reason in Reason
        if reason.startswith("json_")
    }
    answers |= {
        # RFC 6750, section 3.1, "invalid_token": "The resource SHOULD respond with the HTTP 401 (Unauthorized) status
        # code.  The client MAY request a new access token and retry the protected resource request."
        reason: Answer(401, RPC_IDENTITY, "The user's token was not accepted")
        for reason in Reason
        if reason.startswith("user_token_")
    }
    return answers


def _answers() -> dict[Reason, Answer]:
    http = "The HTTP request is not acceptable"
    framing = (Reason.HTTP_MALFORMED, Reason.HTTP_VERSION, Reason.HTTP_TARGET, Reason.HTTP_HEADER)
    answers = _answers_by_kind()
    answers |= {reason: Answer(400, RPC_INVALID_REQUEST, http, closes=True) for reason in framing}
    answers |= {
        Reason.TOO_MANY_CONNECTIONS: Answer(503, RPC_UNAVAILABLE, "Too many connections", closes=True),
        Reason.TOO_MANY_CONNECTIONS_OF_WORKLOAD: Answer(429, RPC_UNAVAILABLE, "Too many connections", closes=True),
        Reason.GATE_NOT_READY: Answer(503, RPC_UNAVAILABLE, "The gate is not ready", closes=True),
        Reason.GATE_SHUTTING_DOWN: Answer(503, RPC_UNAVAILABLE, "The gate is shutting down", closes=True),
        Reason.IDENTITY_UNAVAILABLE: Answer(503, RPC_UNAVAILABLE, "The gate has no identity", closes=True),
        Reason.HTTP_HEADER_REPEATED: Answer(400, RPC_INVALID_REQUEST, http, closes=True),
        Reason.HTTP_FRAMING: Answer(400, RPC_INVALID_REQUEST, http, closes=True),
        Reason.HTTP_BODY_UNEXPECTED: Answer(400, RPC_INVALID_REQUEST, http, closes=True),
        Reason.HTTP_HEAD_TOO_LARGE: Answer(431, RPC_INVALID_REQUEST, "The request head is too large", closes=True),
        Reason.HTTP_BODY_TOO_LARGE: Answer(413, RPC_INVALID_REQUEST, "The request body is too large", closes=True),
        Reason.HTTP_METHOD: Answer(405, RPC_INVALID_REQUEST, "Only POST is served here"),
        Reason.HTTP_NOT_FOUND: Answer(404, RPC_INVALID_REQUEST, "Nothing is served at this path"),
        Reason.HTTP_HOST: Answer(421, RPC_INVALID_REQUEST, "This gate is not that host", closes=True),
        Reason.HTTP_ORIGIN: Answer(403, RPC_INVALID_REQUEST, "This origin is not allowed"),
        Reason.HTTP_ACCEPT: Answer(406, RPC_INVALID_REQUEST, "Accept must name application/json and text/event-stream"),
        Reason.HTTP_CONTENT_TYPE: Answer(415, RPC_INVALID_REQUEST, "Content-Type must be application/json"),
        Reason.HTTP_CONTENT_ENCODING: Answer(415, RPC_INVALID_REQUEST, "Content-Encoding is not accepted"),
        Reason.HTTP_EXPECTATION: Answer(417, RPC_INVALID_REQUEST, "That expectation cannot be met", closes=True),
        Reason.HTTP_TIMEOUT: Answer(408, RPC_INVALID_REQUEST, "The request took too long to arrive", closes=True),
        Reason.JSON_TOO_LARGE: Answer(413, RPC_INVALID_REQUEST, "The body is too large"),
        Reason.RPC_BATCH: Answer(400, RPC_INVALID_REQUEST, "Batches are not accepted"),
        Reason.RPC_INVALID: Answer(400, RPC_INVALID_REQUEST, "The body is not one JSON-RPC request or notification"),
        # As for a server on which the caller has no grant: which servers there are is told only to those who have one.
        Reason.SERVER_UNKNOWN: Answer(200, RPC_DENIED, "Denied by policy"),
        Reason.ERA_MIXED: Answer(400, RPC_INVALID_REQUEST, "The request mixes two MCP revisions"),
        Reason.REVISION_UNSUPPORTED: Answer(400, RPC_UNSUPPORTED_REVISION, "Unsupported protocol version"),
        Reason.HEADER_MISMATCH: Answer(400, RPC_HEADER_MISMATCH, "Headers and body do not agree"),
        Reason.META_INVALID: Answer(400, RPC_INVALID_PARAMS, "params._meta is missing or not acceptable"),
        Reason.METHOD_NOT_SERVED: Answer(404, RPC_METHOD_NOT_FOUND, "Method not found", legacy_http_status=200),
        Reason.PARAMS_INVALID: Answer(400, RPC_INVALID_PARAMS, "params are not acceptable", legacy_http_status=200),
        Reason.SESSION_MISSING: Answer(400, RPC_INVALID_REQUEST, "Mcp-Session-Id is missing"),
        Reason.SESSION_UNKNOWN: Answer(404, RPC_INVALID_REQUEST, "There is no such session"),
        Reason.USER_KEYS_UNAVAILABLE: Answer(503, RPC_UNAVAILABLE, "The user's token cannot be checked just now"),
        Reason.NO_GRANT: Answer(200, RPC_DENIED, "Denied by policy"),
        Reason.DENIED: Answer(200, RPC_DENIED, "Denied by policy"),
        Reason.RATE_LIMITED: Answer(200, RPC_LIMITED, "Too many calls; try again later"),
        Reason.TOO_MANY_CALLS: Answer(200, RPC_LIMITED, "Too many calls at once; try again later"),
        Reason.DRY_RUN: Answer(200, RPC_DENIED, "Allowed, and not forwarded: this is a dry run"),
        # 200, as for a refusal by policy: the gate recovers by itself, and the agent's session should live to see it.
        Reason.AUDIT_UNAVAILABLE: Answer(200, RPC_UNAVAILABLE, "The gate cannot record this call just now"),
        # 2025-11-25, server/tools, "Error Handling": "Clients SHOULD provide tool execution errors to language models to
        # enable self-correction", and input validation errors are such.
        Reason.ARGUMENTS_INVALID: Answer(
            200, RPC_INVALID_PARAMS, "The arguments do not fit the tool's schema", as_tool_error=True
        ),
        Reason.ARGUMENTS_DENIED: Answer(200, RPC_DENIED, "The arguments hold what must not go to this tool"),
        Reason.TOOL_DRIFT: Answer(200, RPC_DENIED, "The tool is not the one that was approved"),
        Reason.SCHEMA_UNKNOWN: Answer(200, RPC_DENIED, "The tool's schema is not known"),
        Reason.SCHEMA_UNUSABLE: Answer(200, RPC_UPSTREAM, "The tool's schema cannot be used"),
        Reason.DEFINITIONS_UNAVAILABLE: Answer(200, RPC_UPSTREAM, "The tool server does not say which tools it has"),
        Reason.SCREENING_FAILED: Answer(200, RPC_UNAVAILABLE, "The gate cannot screen this call"),
        Reason.ANSWER_DENIED: Answer(200, RPC_DENIED, "The answer holds what must not reach the caller"),
        Reason.ANSWER_UNSCREENABLE: Answer(200, RPC_UPSTREAM, "The answer cannot be screened"),
        Reason.ANSWER_INVALID: Answer(200, RPC_UPSTREAM, "The answer does not fit the tool's schema"),
        Reason.TEXT_DECEPTIVE: Answer(200, RPC_DENIED, "The text is not what it looks like"),
        Reason.APPROVAL_REQUIRED: Answer(200, RPC_APPROVAL_REQUIRED, "A person has to agree to this call first"),
        Reason.APPROVAL_DENIED: Answer(200, RPC_DENIED, "A person has denied this call"),
        Reason.TOO_MANY_APPROVALS: Answer(200, RPC_LIMITED, "Too many calls wait for a person; try again later"),
        Reason.APPROVALS_UNAVAILABLE: Answer(200, RPC_UNAVAILABLE, "The gate cannot ask a person just now"),
        Reason.MINT_FAILED: Answer(503, RPC_UNAVAILABLE, "The gate cannot serve this call"),
        Reason.CLIENT_GONE: Answer(499, RPC_UNAVAILABLE, "The caller went away", closes=True),
        Reason.CLIENT_STALLED: Answer(499, RPC_UNAVAILABLE, "The caller stopped reading", closes=True),
        Reason.INTERNAL: Answer(500, RPC_UNAVAILABLE, "The gate failed", closes=True),
    }
    return answers


ANSWERS: Mapping[Reason, Answer] = MappingProxyType(_answers())
