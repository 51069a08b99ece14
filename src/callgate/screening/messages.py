"""What a tool server says and what goes to one, screened: the whole of a message, wherever a value may stand in it.

A message is refused whole where it cannot be looked through, where a rule denies it, and where anything here fails.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, TypeAlias, TypeVar

from callgate.errors import Reason, Refusal, place_of
from callgate.screening.deceptive import TooDeceptive, find_deceptive, lookalikes
from callgate.screening.mask import Tally, Unscreenable
from callgate.screening.masks import Masks, masks_of
from callgate.screening.mcp_places import ROOT, SERVER_METHODS, Kind
from callgate.screening.personal import TooLong
from callgate.screening.screen import Screen
from callgate.screening.terms import Handling, Screening
from callgate.wire.json_strict import JsonObject, JsonValue
from callgate.wire.jsonrpc import RpcFailure, RpcNotification, RpcRequest, RpcResult, ServerMessage

_T = TypeVar("_T")
Holds: TypeAlias = Callable[[JsonValue], bool]

# Methods whose results say what a server is and has.
DEFINITIONS: Final = frozenset({"tools/list", "initialize", "server/discover"})
# JSON-RPC 2.0, section 5.1: "The error codes from and including -32768 to -32000 are reserved"; others of this size are
# codes that somebody gave.  A longer number could be anybody's.
_RESERVED_CODES: Final = range(-32768, -31999)
_MAX_CODE: Final = 100_000
_INTERNAL_ERROR: Final = -32603


@dataclass(frozen=True, slots=True)
class _Reasons:
    """What a message is refused for."""

    denied: Reason
    unscreenable: Reason


_ANSWER: Final = _Reasons(Reason.ANSWER_DENIED, Reason.ANSWER_UNSCREENABLE)
_ARGUMENTS: Final = _Reasons(Reason.ARGUMENTS_DENIED, Reason.ARGUMENTS_DENIED)


def screen_arguments(
    arguments: JsonObject, screening: Screening, key: bytes, tally: Tally, masks: Masks | None = None
) -> JsonObject | Refusal:
    """The arguments of a call with what was found in them masked; the same object where nothing was.

    What `screening.held` finds stays as it is where nothing else masks it; `tally.held` names it.  `key`: 32 bytes, of which the workload's pseudonyms are made.  `masks`: in the place of those that
    `screening.arguments` says.  ARGUMENTS_DENIED also for what is too much to be looked through; SCREENING_FAILED where
    a detector raises.  Never raises.
    """

    def screened() -> JsonObject | Refusal:
        if screening.held:
            tally.held += _held(arguments, screening, key)
        rules = masks if masks is not None else masks_of(screening.arguments)
        if not rules:
            return arguments
        screen = Screen(rules, key, tally)
        holder: JsonObject = {ROOT: arguments}
        shown = screen.value(holder, Kind.PROTOCOL)
        inner = shown.get(ROOT, {}) if isinstance(shown, dict) else None
        if not isinstance(inner, dict):
            # A rule about the whole of them.
            inner = {}
        return _refusal(screen, _ARGUMENTS) or (arguments if shown is holder else inner)

    return _shut(screened, _ARGUMENTS)


def _held(arguments: JsonObject, screening: Screening, key: bytes) -> list[str]:
    """The names of what is held in the arguments as the agent wrote them, whatever else becomes of it."""
    screen = Screen(masks_of(screening.held), key, Tally())
    screen.value({ROOT: arguments}, Kind.PROTOCOL)
    return screen.tally.denied


def screen_message(
    said: ServerMessage,
    method: str,
    screening: Screening,
    key: bytes,
    tally: Tally,
    holds: Holds | None = None,
    masks: Masks | None = None,
) -> ServerMessage | Refusal:
    """A message of a tool server's on the answer to `method`, masked; the same object where nothing was found.

    `key`: 32 bytes, of which the workload's pseudonyms are made.  `holds`: whether a `structuredContent` fits the
    tool's output schema; None where that is not known.  `masks`: in the place of those that `screening.answers` says.
    ANSWER_DENIED, ANSWER_UNSCREENABLE, ANSWER_INVALID, TEXT_DECEPTIVE, and SCREENING_FAILED where a detector raises;
    details tell names and never values.  Never raises.
    """

    def screened() -> ServerMessage | Refusal:
        is_definition = isinstance(said, RpcResult) and method in DEFINITIONS
        screen = Screen(
            masks if masks is not None else masks_of(screening.answers),
            key,
            tally,
            text=screening.definitions if is_definition else screening.results,
            base64=screening.base64,
        )
        shown = _shown(said, method, screen, holds)
        return _refusal(screen, _ANSWER) or shown

    return _shut(screened, _ANSWER)


def _shut(screened: Callable[[], _T], reasons: _Reasons) -> _T | Refusal:
    """Whatever is raised is a refusal."""
    try:
        return screened()
    except (Unscreenable, TooDeceptive, TooLong) as error:
        # Their texts are of fixed words and numbers.
        return Refusal(reasons.unscreenable, str(error))
    except Exception as error:  # noqa: BLE001  # fails shut, whatever it is
        return Refusal(Reason.SCREENING_FAILED, place_of(error))


def _refusal(screen: Screen, reasons: _Reasons) -> Refusal | None:
    if screen.tally.denied:
        return Refusal(reasons.denied, ", ".join(screen.tally.denied))
    if screen.lies and screen.text is Handling.DENY:
        return Refusal(Reason.TEXT_DECEPTIVE, ", ".join(sorted(screen.tally.deceptive)))
    return None


def _shown(said: ServerMessage, method: str, screen: Screen, holds: Holds | None) -> ServerMessage | Refusal:
    match said:
        case RpcResult():
            return _shown_result(said, method, screen, holds)
        case RpcFailure():
            return _shown_failure(said, screen)
        case RpcNotification() | RpcRequest():
            return _shown_call(said, screen)


def _shown_result(said: RpcResult, method: str, screen: Screen, holds: Holds | None) -> RpcResult | Refusal:
    result = said.result
    # What failed inside the tool does not say what the tool would have said.
    checked = holds if method == "tools/call" and result.get("isError") is not True else None
    if checked is not None and not (ROOT in result and checked(result[ROOT])):
        return Refusal(Reason.ANSWER_INVALID, "structuredContent does not fit the output schema")
    if method == "tools/list":
        result = _with_honest_names(result, screen)
    shown = screen.result(result, checked)
    if shown is None:
        return Refusal(Reason.ANSWER_UNSCREENABLE, "structuredContent, masked, does not fit the output schema")
    return said if shown is said.result else RpcResult(said.id, shown)


def _shown_failure(said: RpcFailure, screen: Screen) -> RpcFailure:
    error: JsonObject = {"message": said.message, "data": said.data}
    shown = screen.value(error, Kind.PROTOCOL)
    is_code = said.code in _RESERVED_CODES or abs(said.code) < _MAX_CODE
    code = said.code if is_code or not screen.masks else _INTERNAL_ERROR
    if shown is error and code == said.code:
        return said
    members = shown if isinstance(shown, dict) else {}
    message, content = members.get("message"), members.get("data")
    return RpcFailure(said.id, code, message if isinstance(message, str) else "", content)


def _shown_call(said: RpcNotification | RpcRequest, screen: Screen) -> RpcNotification | RpcRequest | Refusal:
    if said.method not in SERVER_METHODS:
        named: list[JsonValue] = [said.method]
        if screen.value(named, Kind.FREE) is not named:
            return Refusal(Reason.ANSWER_UNSCREENABLE, "the name of a method")
    # The client's own, by which it tells its requests apart: compared exactly.
    kept = {"progressToken"} & said.params.keys() if said.method == "notifications/progress" else set()
    params = {name: each for name, each in said.params.items() if name not in kept} if kept else said.params
    shown = screen.value(params, Kind.PROTOCOL)
    if shown is params:
        return said
    left = shown if isinstance(shown, dict) else {}
    return replace(said, params={**{name: said.params[name] for name in kept}, **left})


def _with_honest_names(result: JsonObject, screen: Screen) -> JsonObject:
    """A list without the tools whose names lie: by what is in them, or by looking like one before."""
    tools = result.get("tools")
    listed = tools if isinstance(tools, list) else []
    names = [_name_of(tool) for tool in listed]
    alike = lookalikes(tuple(filter(None, names)))
    hidden: set[int] = set()
    for index, name in enumerate(names):
        found = Counter(find_deceptive(name, is_name=True))
        found["lookalike"] += name in alike
        if +found:
            # What stands in a tool that stays is counted with all other text.
            is_hidden = screen.text is Handling.STRIP
            screen.lied(+found if is_hidden else found - Counter(find_deceptive(name)))
            hidden.update({index} if is_hidden else ())
    if not hidden:
        return result
    return {**result, "tools": [tool for index, tool in enumerate(listed) if index not in hidden]}


def _name_of(tool: JsonValue) -> str:
    name = tool.get("name") if isinstance(tool, dict) else None
    return name if isinstance(name, str) else ""
