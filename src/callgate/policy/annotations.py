"""What tool servers last said of their tools in `tools/list`, for conditions to ask.

MCP calls annotations hints, to be trusted no further than the server that gave them: they come from the tool server's
own answers and from nobody else, and no caller can bring one in.  Bounded; what is dropped is not known any more, and a
condition that asks for it fails.
"""

from typing import Final

from callgate.policy.patterns import TOOL_NAME
from callgate.wire.json_strict import JsonObject, JsonValue

# Of one server; the longest lists in use have some hundreds.
MAX_TOOLS: Final = 2_000
# The hints that the protocol knows are five, four of them true or false (2025-11-25, schema, ToolAnnotations).
_HINTS: Final = {
    "title": str,
    "readOnlyHint": bool,
    "destructiveHint": bool,
    "idempotentHint": bool,
    "openWorldHint": bool,
}
_MAX_TITLE_CHARACTERS: Final = 256


class Annotations:
    """One for a gate.  Servers are the gate's own, so that only tools have to be counted."""

    def __init__(self) -> None:
        self._servers: dict[str, dict[str, JsonObject]] = {}

    def learn(self, server: str, tools: JsonValue) -> None:
        """Take in the `tools` of one page of a list; what a tool no longer says is forgotten."""
        known = self._servers.setdefault(server, {})
        for tool in tools if isinstance(tools, list) else []:
            if not isinstance(tool, dict):
                continue
            name = tool.get("name")
            if isinstance(name, str) and TOOL_NAME.fullmatch(name):
                known.pop(name, None)
                known[name] = _hints(tool.get("annotations"))
        while len(known) > MAX_TOOLS:
            del known[next(iter(known))]

    def of(self, server: str, tool: str | None) -> JsonObject | None:
        """The annotations of one tool; {} where it has none, None where no list has named it yet."""
        return self._servers.get(server, {}).get(tool) if tool is not None else None


def _hints(said: JsonValue) -> JsonObject:
    """What the protocol knows of, with the type that it has there."""
    if not isinstance(said, dict):
        return {}
    found = {name: said[name] for name, kind in _HINTS.items() if type(said.get(name)) is kind}
    return {n: v[:_MAX_TITLE_CHARACTERS] if isinstance(v, str) else v for n, v in found.items()}
