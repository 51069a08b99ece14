"""What a refusal is to the agent that hears of it, and to the tool server that it may be the fault of."""

from collections.abc import Mapping

from callgate.errors import ANSWERS, Reason, Refusal
from callgate.parts import Reply
from callgate.trace import DecisionTrace
from callgate.wire.answers import COMPLETE
from callgate.wire.json_strict import JsonObject, JsonValue
from callgate.wire.jsonrpc import RpcRequest, RpcResult, encode, refusal_body
from callgate.wire.mcp import Era, RefusedMessage, Request
from callgate.wire.params import META_REFUSAL

_OF_STATUS: Mapping[int, tuple[tuple[str, str], ...]] = {
    405: (("allow", "POST"),),
    # RFC 6750, section 3.1: "The access token provided is expired, revoked, malformed, or invalid for other reasons."
    401: (("www-authenticate", 'Bearer error="invalid_token"'),),
}
# What says that a tool server is not well.  An error in a tool does not, nor does an answer that the gate does not like:
# one caller with odd arguments must not close the way for the others.
_SERVERS_FAULTS = frozenset(
    {
        Reason.UPSTREAM_UNREACHABLE,
        Reason.UPSTREAM_IDENTITY,
        Reason.UPSTREAM_TIMEOUT,
        Reason.UPSTREAM_CLOSED,
        Reason.UPSTREAM_MALFORMED,
    }
)
# What no caller can bring about.
_NOBODYS_DOING = frozenset({Reason.UPSTREAM_UNREACHABLE, Reason.UPSTREAM_IDENTITY})
# What the gate itself found in an answer that came as it should.
_OF_SCREENING = frozenset(
    {
        Reason.ANSWER_DENIED,
        Reason.ANSWER_UNSCREENABLE,
        Reason.ANSWER_INVALID,
        Reason.TEXT_DECEPTIVE,
        Reason.TOOL_DRIFT,
        Reason.SCREENING_FAILED,
    }
)
# Refused for what the arguments hold.
_FOR_ITS_ARGUMENTS = frozenset({Reason.ARGUMENTS_DENIED, Reason.SCREENING_FAILED})
_UNAVAILABLE_STATUS = frozenset({"502", "503", "504"})


def headers_of(status: int) -> tuple[tuple[str, str], ...]:
    """What HTTP wants to be said with that status."""
    return _OF_STATUS.get(status, ())


def is_servers_fault(found: Reply | Refusal | None) -> bool | None:
    """Whether the exchange says that the tool server is ill (True) or well (False); None where it says neither."""
    if not isinstance(found, Refusal):
        return False
    if found.reason in {Reason.CLIENT_GONE, Reason.CLIENT_STALLED, Reason.GATE_SHUTTING_DOWN, Reason.INTERNAL}:
        return None
    if found.reason is Reason.UPSTREAM_STATUS:
        return found.detail[:3] in _UNAVAILABLE_STATUS
    return found.reason in _SERVERS_FAULTS


def is_of_screening(refusal: Refusal) -> bool:
    """Whether an answer came, and must not be passed on."""
    return refusal.reason in _OF_SCREENING


def may_be_kept(refusal: Refusal) -> bool:
    """Whether the arguments of the call that was refused so may stand in a record."""
    return refusal.reason not in _FOR_ITS_ARGUMENTS


def may_be_own_doing(found: Reply | Refusal | None) -> bool:
    """Whether a failure may be the doing of the call itself, such as one that takes too long."""
    return isinstance(found, Refusal) and found.reason not in _NOBODYS_DOING


def refusal_status(refusal: Refusal, request: Request | None) -> int:
    """The HTTP status that says it; `request` is None where none could be read."""
    answer = ANSWERS[refusal.reason]
    if _is_of_notification(refusal, request):
        # There is no JSON-RPC answer to a notification, so that only the status can say no (2025-11-25,
        # basic/transports: the server "MUST return an HTTP error status code").
        return 403 if answer.http_status == 200 else answer.http_status
    era = request.era if request is not None else refusal.era if isinstance(refusal, RefusedMessage) else None
    if era is Era.LEGACY and answer.legacy_http_status is not None:
        return answer.legacy_http_status
    return answer.http_status


def _is_of_notification(refusal: Refusal, request: Request | None) -> bool:
    if request is not None:
        return not isinstance(request.message, RpcRequest)
    return isinstance(refusal, RefusedMessage) and refusal.rpc_id is None


def error_body(refusal: Refusal, request: Request | None, path: DecisionTrace) -> bytes:
    """The JSON-RPC error that says it; for a model to read, the result of a tool that failed."""
    if request is not None and isinstance(request.message, RpcRequest) and is_tool_error(refusal, request):
        return encode(RpcResult(request.message.id, _failed_call(refusal, path)))
    rpc_id = refusal.rpc_id if isinstance(refusal, RefusedMessage) else None
    if request is not None and isinstance(request.message, RpcRequest):
        rpc_id = request.message.id
    return refusal_body(refusal, rpc_id, path.decision_id, f"{path.trace_id:032x}")


def is_tool_error(refusal: Refusal, request: Request | None) -> bool:
    """Whether it is told as the result of a tool that failed, and not as an error."""
    called = request is not None and request.tool is not None and isinstance(request.message, RpcRequest)
    return called and ANSWERS[refusal.reason].as_tool_error


def _failed_call(refusal: Refusal, path: DecisionTrace) -> JsonObject:
    said = refusal.public.get("problems")
    problems: list[JsonValue] = list(said) if isinstance(said, tuple) else []
    text = "\n".join([f"{ANSWERS[refusal.reason].message}:", *(f"- {problem}" for problem in problems)])
    told: JsonObject = {
        "reason": refusal.reason.value,
        "decision_id": path.decision_id,
        "trace_id": f"{path.trace_id:032x}",
        "problems": problems,
    }
    content: list[JsonValue] = [{"type": "text", "text": text}]
    # 2026-07-28 demands it of every result; to older clients it is nothing.
    return {"content": content, "isError": True, "resultType": COMPLETE, "_meta": {META_REFUSAL: told}}
