"""JSON-RPC 2.0 as MCP narrows it: one object a message, ids that are strings or safe integers, params by name.

Messages are read into values here and written from them: a member that is not read is not passed on.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from callgate.errors import ANSWERS, Reason, Refusal
from callgate.wire.json_strict import (
    MAX_GUARDED_MEMBERS,
    MAX_SAFE_INTEGER,
    JsonObject,
    JsonValue,
    dumps,
    find_confusable,
    fold_names,
)

# An id is echoed and recorded.  Clients count, or send a UUID; 256 characters hold any of these.
MAX_ID_CHARS: Final = 256
# Visible ASCII: a method is mirrored in a header and names a span.  MCP's longest has 37 characters.
_METHOD: Final = re.compile(r"[!-~]{1,128}")

_FOLDED_ENVELOPE: Final = fold_names(
    ("jsonrpc", "id", "method", "params", "result", "error", "name", "arguments", "uri", "_meta"),
)
_CLIENT_MEMBERS: Final = frozenset({"jsonrpc", "id", "method", "params"})
_ANSWER_MEMBERS: Final = frozenset({"jsonrpc", "id", "result", "error"})

RpcId: TypeAlias = str | int


@dataclass(frozen=True, slots=True)
class RpcRequest:
    """A message that wants an answer.  `params` is {} where it was left out."""

    id: RpcId
    method: str
    params: JsonObject = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RpcNotification:
    """A message that wants none.  `params` is {} where it was left out."""

    method: str
    params: JsonObject = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RpcResult:
    """The answer to a request that succeeded; in MCP the result is always an object."""

    id: RpcId
    result: JsonObject


@dataclass(frozen=True, slots=True)
class RpcFailure:
    """The answer to a request that failed.  `id` is None where the other side could not read one."""

    id: RpcId | None
    code: int
    message: str
    data: JsonValue = None


ClientMessage: TypeAlias = RpcRequest | RpcNotification
ServerMessage: TypeAlias = RpcRequest | RpcNotification | RpcResult | RpcFailure


def read_client_message(value: JsonValue) -> ClientMessage | Refusal:
    """Read what an agent posted: exactly one request or notification.

    RPC_BATCH for an array, JSON_DUPLICATE_KEY for a member that another parser would take for one of the envelope's,
    RPC_INVALID for anything else, posted responses included.
    """
    if type(value) is list:
        # MCP removed batches in 2025-06-18, and other gates have been passed by one.
        return Refusal(Reason.RPC_BATCH)
    if type(value) is not dict:
        return _invalid("not an object")
    refusal = _refuse_envelope(value, _CLIENT_MEMBERS, is_named=True)
    if refusal is not None:
        return refusal
    return _read_call(value)


def read_server_message(value: JsonValue) -> ServerMessage | Refusal:
    """Read what a tool server said.  Every refusal is UPSTREAM_MESSAGE."""
    message = _read_server_message(value)
    return Refusal(Reason.UPSTREAM_MESSAGE, message.detail) if isinstance(message, Refusal) else message


def encode(message: ServerMessage) -> bytes:
    """The bytes of one message; empty params are left out, and so is an error's data where it is None."""
    match message:
        case RpcRequest(rpc_id, method, params):
            return dumps({"jsonrpc": "2.0", "id": rpc_id, "method": method, **_params_member(params)})
        case RpcNotification(method, params):
            return dumps({"jsonrpc": "2.0", "method": method, **_params_member(params)})
        case RpcResult(rpc_id, result):
            return dumps({"jsonrpc": "2.0", "id": rpc_id, "result": result})
        case RpcFailure(rpc_id, code, text, content):
            error: dict[str, object] = {"code": code, "message": text}
            if content is not None:
                error["data"] = content
            return dumps({"jsonrpc": "2.0", "id": rpc_id, "error": error})


def refusal_body(refusal: Refusal, rpc_id: RpcId | None, decision_id: str, trace_id_hex: str) -> bytes:
    """The error object that tells a caller no: reason, decision and trace, and never the refusal's `detail`.

    `rpc_id` None becomes null: JSON-RPC 2.0, section 5, for a request whose id could not be read.
    """
    answer = ANSWERS[refusal.reason]
    told = {"reason": (refusal.told_as or refusal.reason).value, "decision_id": decision_id, "trace_id": trace_id_hex}
    error = {"code": answer.rpc_code, "message": answer.message, "data": {**refusal.public, **told}}
    return dumps({"jsonrpc": "2.0", "id": rpc_id, "error": error})


def _params_member(params: JsonObject) -> Mapping[str, object]:
    return {"params": params} if params else {}


def _invalid(detail: str) -> Refusal:
    return Refusal(Reason.RPC_INVALID, detail)


def _refuse_envelope(value: JsonObject, members: frozenset[str], *, is_named: bool) -> Refusal | None:
    """`is_named`: whether the member may be told; not of what a tool server says, which no trace is to repeat."""
    if len(value) > MAX_GUARDED_MEMBERS:
        return _invalid(f"{len(value)} envelope members")
    confusable = find_confusable(value, _FOLDED_ENVELOPE)
    if confusable is not None:
        return Refusal(Reason.JSON_DUPLICATE_KEY, f"envelope member{_named(confusable) if is_named else ''}")
    unknown = value.keys() - members
    if unknown:
        return _invalid(f"envelope member{_named(min(unknown)) if is_named else ''}")
    # Section 4: "A String specifying the version of the JSON-RPC protocol. MUST be exactly "2.0"."
    return None if value.get("jsonrpc") == "2.0" else _invalid("jsonrpc is not 2.0")


def _named(member: str) -> str:
    return f" {member[:64]!r}"


def _read_call(value: JsonObject) -> ClientMessage | Refusal:
    method, params = value.get("method"), value.get("params", {})
    if type(method) is not str or not _METHOD.fullmatch(method):
        return _invalid("method is no name")
    # Section 4.2 allows an array; MCP has params by name only.
    if type(params) is not dict:
        return _invalid("params is not an object")
    if "id" not in value:
        return RpcNotification(method, params)
    rpc_id = _read_id(value["id"])
    return rpc_id if isinstance(rpc_id, Refusal) else RpcRequest(rpc_id, method, params)


def _read_id(value: JsonValue) -> RpcId | Refusal:
    # MCP, basic: "Requests MUST include a string or integer ID.  Unlike base JSON-RPC, the ID MUST NOT be null."
    if type(value) is str:
        return value if len(value) <= MAX_ID_CHARS else _invalid(f"id of {len(value)} characters")
    if type(value) is int:
        return value if abs(value) <= MAX_SAFE_INTEGER else _invalid("id is not a safe integer")
    return _invalid("id is neither string nor integer")


def _read_server_message(value: JsonValue) -> ServerMessage | Refusal:
    if type(value) is not dict:
        return _invalid("not an object")
    called = "method" in value
    refusal = _refuse_envelope(value, _CLIENT_MEMBERS if called else _ANSWER_MEMBERS, is_named=False)
    if refusal is not None:
        return refusal
    if called:
        return _read_call(value)
    # Section 5: "Either the result member or error member MUST be included, but both members MUST NOT be included."
    if ("result" in value) == ("error" in value):
        return _invalid("neither or both of result and error")
    return _read_result(value) if "result" in value else _read_failure(value)


def _read_result(value: JsonObject) -> RpcResult | Refusal:
    rpc_id, result = _read_id(value.get("id")), value["result"]
    if isinstance(rpc_id, Refusal):
        return rpc_id
    return RpcResult(rpc_id, result) if type(result) is dict else _invalid("result is not an object")


def _read_failure(value: JsonObject) -> RpcFailure | Refusal:
    # Section 5: id "MUST be Null" where the request's could not be read; some servers leave it out.
    rpc_id = None if value.get("id") is None else _read_id(value["id"])
    if isinstance(rpc_id, Refusal):
        return rpc_id
    error = value["error"]
    if type(error) is not dict:
        return _invalid("error is not an object")
    code, message = error.get("code"), error.get("message")
    if type(code) is not int or type(message) is not str:
        return _invalid("error without code and message")
    return RpcFailure(rpc_id, code, message, error.get("data"))
