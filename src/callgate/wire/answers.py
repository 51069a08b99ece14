"""What a tool server says, and what of it an agent may see."""

from collections.abc import Callable
from enum import StrEnum
from typing import Final

from callgate.errors import Reason, Refusal
from callgate.wire.json_strict import JsonLimits, JsonObject, JsonValue, loads
from callgate.wire.jsonrpc import (
    RpcFailure,
    RpcId,
    RpcNotification,
    RpcRequest,
    RpcResult,
    ServerMessage,
    read_server_message,
)
from callgate.wire.mcp import Request
from callgate.wire.methods import LEGACY_REVISION, SERVED_REVISIONS, Era
from callgate.wire.params import TOOL_NAME
from callgate.wire.session import is_session_id
from callgate.wire.sse import SseEvent

# 2026-07-28, basic, "Responses": absent means complete.  Any other value belongs to what the gate does not serve:
# "input_required" asks the agent back, "task" answers later.
COMPLETE: Final = "complete"
_OUR_PREFIX: Final = "callgate/"


class Verdict(StrEnum):
    """What becomes of one message from a tool server."""

    PASS = "pass"  # noqa: S105  # a verdict, no secret
    DROP = "drop"
    REFUSE = "refuse"


def read_answer(data: bytes, limits: JsonLimits) -> ServerMessage | Refusal:
    """Read one message; UPSTREAM_MESSAGE for anything that is not exactly one, UPSTREAM_TOO_LARGE beyond the limits."""
    value = loads(data, limits)
    if not isinstance(value, Refusal):
        return read_server_message(value)
    too_large = value.reason in {Reason.JSON_TOO_LARGE, Reason.JSON_TOO_DEEP}
    reason = Reason.UPSTREAM_TOO_LARGE if too_large else Reason.UPSTREAM_MESSAGE
    return Refusal(reason, f"{value.reason} {value.detail}".strip())


def read_event(event: SseEvent, limits: JsonLimits) -> ServerMessage | Refusal | None:
    """Read the message of one event; None for an event without one.

    Those are events without data (2025-11-25 sends one first, for resumption) and of types other than `message`,
    which clients do not listen for.
    """
    if event.event != "message" or not event.data:
        return None
    return read_answer(event.data, limits)


def read_session_id(text: str | None) -> str | Refusal | None:
    """The `Mcp-Session-Id` of a tool server's answer; UPSTREAM_MESSAGE for one that is no session id."""
    if text is None or is_session_id(text):
        return text
    return Refusal(Reason.UPSTREAM_MESSAGE, "the session id is not visible ASCII, or too long")


def answers(said: RpcResult | RpcFailure, request: RpcRequest) -> bool:
    """Whether this is the answer to that request: the same id, of the same type ("1" is not 1)."""
    return _same(said.id, request.id)


def classify(said: ServerMessage, request: Request) -> Verdict:
    """What becomes of a message that came on the answer to `request`.

    Progress of this request and log messages pass, other notifications are dropped: nobody asked for them.  Requests
    of the server's are refused (2026-07-28: it "MUST NOT send independent JSON-RPC requests on this stream"; in legacy
    revisions the gate does not serve them), and so are answers to anything else than this request.
    """
    message = request.message
    if isinstance(said, RpcNotification):
        return _classify_notification(said, request.meta.get("progressToken"))
    if isinstance(said, RpcRequest) or not isinstance(message, RpcRequest) or not answers(said, message):
        return Verdict.REFUSE
    if isinstance(said, RpcResult) and request.era is Era.MODERN:
        return Verdict.PASS if said.result.get("resultType", COMPLETE) == COMPLETE else Verdict.REFUSE
    return Verdict.PASS


def narrow_capabilities(result: JsonObject, era: Era) -> JsonObject | Refusal:
    """The result of `initialize` (legacy) or `server/discover` (modern), cut to what the gate serves.

    Of the capabilities only `tools` is left, without its options; of the revisions those that the gate speaks.
    UPSTREAM_MESSAGE where none is left.  Instructions and the server's name pass.
    """
    capabilities = result.get("capabilities")
    if type(capabilities) is not dict:
        return Refusal(Reason.UPSTREAM_MESSAGE, "no capabilities")
    narrowed: JsonObject = {**result, "capabilities": {"tools": {}} if "tools" in capabilities else {}}
    if era is Era.MODERN:
        return _narrow_versions(narrowed)
    if result.get("protocolVersion") != LEGACY_REVISION:
        return Refusal(Reason.UPSTREAM_MESSAGE, f"the tool server does not speak {LEGACY_REVISION}")
    return narrowed


def filter_tools(result: JsonObject, visible: Callable[[str], bool], era: Era) -> tuple[JsonObject, int]:
    """The result of `tools/list` with the visible tools only, in their order, and how many were hidden.

    A tool without a name that can be called is hidden, and so is a second one of the same name.  Cursors pass, also
    where a page is left empty.  The result then depends on who asks, so that no shared cache may keep it (2026-07-28,
    server/utilities/caching).
    """
    tools = result.get("tools")
    listed = tools if type(tools) is list else []
    shown: dict[str, JsonValue] = {}
    for tool in listed:
        name = tool.get("name") if type(tool) is dict else None
        if type(name) is str and name not in shown and TOOL_NAME.fullmatch(name) and visible(name):
            shown[name] = tool
    filtered: JsonObject = {**result, "tools": list(shown.values())}
    return (_private(filtered) if era is Era.MODERN else filtered), len(listed) - len(shown)


def without_our_marks(result: JsonObject) -> JsonObject:
    """The result without what only the gate says in `_meta`: a tool server cannot pass its words for the gate's."""
    meta = result.get("_meta")
    if type(meta) is not dict or not any(name.startswith(_OUR_PREFIX) for name in meta):
        return result
    return {**result, "_meta": {name: value for name, value in meta.items() if not name.startswith(_OUR_PREFIX)}}


def is_tool_error(result: JsonObject) -> bool:
    """Whether a `tools/call` that was answered failed inside the tool."""
    return result.get("isError") is True


def _same(one: JsonValue, other: RpcId) -> bool:
    return type(one) is type(other) and one == other


def _classify_notification(said: RpcNotification, token: JsonValue) -> Verdict:
    if said.method == "notifications/message":
        return Verdict.PASS
    # Progress of another request would tell one caller about another's call.
    asked = isinstance(token, str | int) and _same(said.params.get("progressToken"), token)
    return Verdict.PASS if said.method == "notifications/progress" and asked else Verdict.DROP


def _narrow_versions(result: JsonObject) -> JsonObject | Refusal:
    said = result.get("supportedVersions")
    versions: list[JsonValue] = [each for each in said if each in SERVED_REVISIONS] if type(said) is list else []
    if not versions:
        return Refusal(Reason.UPSTREAM_MESSAGE, "no revision that the gate serves")
    return _private({**result, "supportedVersions": versions})


def _private(result: JsonObject) -> JsonObject:
    return {**result, "cacheScope": "private"}
