"""What a tool server said of its tools in `tools/list`, read from a file: names and the schemas of their arguments.

`callgate check --tools` compares a policy with it.  Pure: it reads bytes.  A list is taken as a person would keep it:
the whole JSON-RPC answer, its result, or `{"tools": […]}`.
"""

from collections.abc import Mapping
from typing import Final, TypeAlias

from callgate.errors import Refusal
from callgate.policy.annotations import MAX_TOOLS
from callgate.policy.patterns import TOOL_NAME
from callgate.wire.json_strict import JsonLimits, JsonObject, JsonValue, loads

# Each tool's `inputSchema` by its name.
ToolList: TypeAlias = Mapping[str, JsonObject]

# The longest lists in use have some hundreds of tools, each with some KiB of schema.
MAX_TOOL_LIST_BYTES: Final = 4 * 1024 * 1024
# A list is read by a person's command and not by the gate: a schema's big integers are no danger here.
_LIMITS: Final = JsonLimits(max_bytes=MAX_TOOL_LIST_BYTES, safe_integers=False)


class NotAToolList(ValueError):  # noqa: N818  # says what the input is
    """The bytes are no tool list; the message says why, to go behind a name ("… is not JSON")."""


def read_tool_list(data: bytes) -> ToolList:
    """The tools of a list.  Raises NotAToolList."""
    return tools_of(read_listed(data))


def read_listed(data: bytes) -> JsonValue:
    """The list's own array as it stands there, or whatever stands in its place.  Raises NotAToolList."""
    found = loads(data, _LIMITS)
    if isinstance(found, Refusal):
        raise NotAToolList(f"is not JSON that can be taken: {found.detail or found.reason.value}")
    return _listed(found)


def tools_of(listed: JsonValue) -> ToolList:
    """The tools of the list's own array.  Raises NotAToolList."""
    if not isinstance(listed, list):
        raise NotAToolList("has no list 'tools'")
    if len(listed) > MAX_TOOLS:
        raise NotAToolList(f"has {len(listed)} tools; the limit is {MAX_TOOLS}")
    tools: dict[str, JsonObject] = {}
    for index, tool in enumerate(listed):
        name = tool.get("name") if isinstance(tool, dict) else None
        if not isinstance(tool, dict) or not isinstance(name, str):
            raise NotAToolList(f"has no name in tools[{index}]")
        # A name that no call may have is not listed by the gate, either.
        if TOOL_NAME.fullmatch(name):
            schema = tool.get("inputSchema")
            tools[name] = schema if isinstance(schema, dict) else {}
    return tools


def _listed(answer: JsonValue) -> JsonValue:
    if isinstance(answer, dict) and isinstance(result := answer.get("result"), dict):
        return result.get("tools")
    return answer.get("tools") if isinstance(answer, dict) else None
