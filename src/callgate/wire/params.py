"""What may stand in the params of the methods that the gate serves.

A member that is not listed is refused: nobody has decided on it, and some tool server may act on it.
"""

import re
from typing import Final

from callgate.errors import Reason, Refusal
from callgate.wire.era import META_CAPABILITIES, META_CLIENT, META_LOG_LEVEL, META_VERSION
from callgate.wire.json_strict import MAX_GUARDED_MEMBERS, JsonObject, find_confusable, fold_names
from callgate.wire.jsonrpc import MAX_ID_CHARS
from callgate.wire.methods import Era, Method

# 2026-07-28, server/tools, "Tool Names": 1 to 128 characters of these SHOULD be used.  Others have no one spelling in
# a policy, a header and a scope.
TOOL_NAME: Final = re.compile(r"[A-Za-z0-9_.\-]{1,128}")
# Cursors are opaque; SDKs send a few dozen characters.
_MAX_CURSOR_CHARS: Final = 4096
_MAX_REVISION_CHARS: Final = 64
# The agent's own word for why it calls; some gate's policy and operators read it.
META_PURPOSE: Final = "callgate/purpose"
# Decide on it, and forward nothing.
META_DRY_RUN: Final = "callgate/dry-run"
# In the result of a call that the gate refused: what is in an error's `data` otherwise.
META_REFUSAL: Final = "callgate/refusal"
PURPOSE: Final = re.compile(r"[!-~](?:[ -~]{0,126}[!-~])?")
_LOG_LEVELS: Final = frozenset(
    {"debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"},
)

_GUARDED: Final = ("jsonrpc", "id", "method", "params", "name", "arguments", "uri", "_meta")
_FOLDED_PARAMS: Final = fold_names(
    (*_GUARDED, "cursor", "protocolVersion", "capabilities", "clientInfo", "task", "inputResponses", "requestState"),
)
_FOLDED_META: Final = fold_names(
    (
        *_GUARDED,
        *(META_VERSION, META_CAPABILITIES, META_CLIENT, META_LOG_LEVEL, META_PURPOSE, META_DRY_RUN),
        *("progressToken", "traceparent", "tracestate", "baggage"),
    ),
)


def read_meta(params: JsonObject) -> JsonObject | Refusal:
    """`params._meta`, {} where there is none.

    JSON_DUPLICATE_KEY where params or `_meta` have a key that another parser would take for one that counts;
    PARAMS_INVALID or META_INVALID for more members than anybody sends.
    """
    meta = params.get("_meta", {})
    if type(meta) is not dict:
        return Refusal(Reason.META_INVALID, "_meta is not an object")
    if len(params) > MAX_GUARDED_MEMBERS or len(meta) > MAX_GUARDED_MEMBERS:
        reason = Reason.PARAMS_INVALID if len(params) > MAX_GUARDED_MEMBERS else Reason.META_INVALID
        return Refusal(reason, "too many members")
    confusable = find_confusable(params, _FOLDED_PARAMS) or find_confusable(meta, _FOLDED_META)
    return Refusal(Reason.JSON_DUPLICATE_KEY, repr(confusable[:64])) if confusable is not None else meta


def refuse_meta(meta: JsonObject, era: Era) -> Refusal | None:
    """The members of `_meta` that the protocol defines and the gate passes on."""
    if era is Era.MODERN:
        # "A request missing any required field is malformed" (2026-07-28, basic, "Per-request protocol fields").
        if type(meta.get(META_CAPABILITIES)) is not dict:
            return Refusal(Reason.META_INVALID, "clientCapabilities is missing, or no object")
        if type(meta.get(META_CLIENT, {})) is not dict:
            return Refusal(Reason.META_INVALID, "clientInfo is not an object")
        level = meta.get(META_LOG_LEVEL, "info")
        if type(level) is not str or level not in _LOG_LEVELS:
            return Refusal(Reason.META_INVALID, "logLevel is none")
    if (purpose := meta.get(META_PURPOSE)) is not None and not (type(purpose) is str and PURPOSE.fullmatch(purpose)):
        return Refusal(Reason.META_INVALID, f"{META_PURPOSE} is not 1 to 128 printable ASCII characters")
    if type(meta.get(META_DRY_RUN, False)) is not bool:
        return Refusal(Reason.META_INVALID, f"{META_DRY_RUN} is neither true nor false")
    return _refuse_progress_token(meta)


def refuse_params(method: str, row: Method, params: JsonObject) -> Refusal | None:
    """Are these the params of that method, and nothing else?"""
    unknown = params.keys() - row.params - {"_meta"}
    if unknown:
        return _invalid(f"{min(unknown)[:64]!r} is not known, or not served")
    match method:
        case "tools/call":
            return _refuse_tool_call(params)
        case "tools/list":
            cursor = params.get("cursor", "")
            return None if type(cursor) is str and len(cursor) <= _MAX_CURSOR_CHARS else _invalid("cursor")
        case "initialize":
            return _refuse_handshake(params)
        case _:
            return None


def _refuse_tool_call(params: JsonObject) -> Refusal | None:
    name = params.get("name")
    if type(name) is not str or not TOOL_NAME.fullmatch(name):
        return _invalid("name is no tool name")
    return None if type(params.get("arguments", {})) is dict else _invalid("arguments is not an object")


def _refuse_handshake(params: JsonObject) -> Refusal | None:
    version = params.get("protocolVersion")
    if type(version) is not str or not 0 < len(version) <= _MAX_REVISION_CHARS:
        return _invalid("protocolVersion is no revision")
    objects = type(params.get("capabilities")) is dict and type(params.get("clientInfo")) is dict
    return None if objects else _invalid("capabilities or clientInfo is missing, or no object")


def _refuse_progress_token(meta: JsonObject) -> Refusal | None:
    # "Progress tokens MUST be a string or integer value".
    token = meta.get("progressToken", 0)
    if type(token) is int or (type(token) is str and len(token) <= MAX_ID_CHARS):
        return None
    return Refusal(Reason.META_INVALID, "progressToken is neither string nor integer")


def _invalid(detail: str) -> Refusal:
    return Refusal(Reason.PARAMS_INVALID, detail)
