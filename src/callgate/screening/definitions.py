"""What tool servers say of their tools: whole definitions by name, each with its digest.

Bounded: what is dropped is not known any more.  Nothing of a definition is taken on trust: it comes from the tool
server's own answers, and whoever asks for its schema gets one that was looked at (`schemas`).  Pure.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

import orjson

from callgate.screening.schemas import Shape, UnusableSchema, remembered_shape
from callgate.wire.json_strict import MAX_SAFE_INTEGER, JsonObject, JsonValue, canonical
from callgate.wire.params import TOOL_NAME

# Of one server; the longest lists in use have some hundreds.
MAX_TOOLS: Final = 2_000
# One tool with its schemas; the largest in use have some 60 KiB.
MAX_DEFINITION_BYTES: Final = 512 * 1024
# All of one server's, as canonical JSON: a thousand tools of 4 KiB.
MAX_SERVER_BYTES: Final = 4 * 1024 * 1024
_TWICE: Final = "the tool server lists two tools of this name"
_NO_SCHEMA: Final = "the definition has no inputSchema that is a JSON Schema of an object"


@dataclass(frozen=True, slots=True)
class Definition:
    """One tool as its server describes it.

    `digest`: "sha256:" and the hex of SHA-256 over the canonical form (RFC 8785) of the whole definition.  `unusable`
    says why no call of the tool may be held against its schemas, "" where nothing is wrong with it.
    """

    name: str
    digest: str
    unusable: str = ""
    # JSON with sorted names: a tenth of what the same takes as a value.
    text: bytes = field(default=b"{}", repr=False)

    @property
    def body(self) -> JsonObject:
        """The whole definition, a value of its own each time."""
        body: JsonObject = orjson.loads(self.text)
        return body

    @property
    def input_shape(self) -> Shape | UnusableSchema:
        """What arguments must look like."""
        if self.unusable:
            return UnusableSchema(self.unusable)
        return remembered_shape(f"{self.digest} in", self._input_schema)

    @property
    def output_shape(self) -> Shape | UnusableSchema | None:
        """What `structuredContent` must look like; None where the definition does not say."""
        if self.unusable:
            return UnusableSchema(self.unusable)
        # A definition without one is the rule: whoever has none needs no parsing.
        if b'"outputSchema"' not in self.text or self._output_schema() is None:
            return None
        return remembered_shape(f"{self.digest} out", self._output_schema)

    def _input_schema(self) -> JsonValue:
        return self.body.get("inputSchema")

    def _output_schema(self) -> JsonValue:
        return self.body.get("outputSchema")


def definition_of(tool: JsonValue) -> Definition | None:
    """The definition that one entry of a list is; None for what no call can name.

    Never raises.  One that cannot be used (no canonical form, too large, no schema of an object) is a definition all the
    same: that there is such a tool is known.
    """
    name = tool.get("name") if isinstance(tool, dict) else None
    if not isinstance(tool, dict) or not isinstance(name, str) or not TOOL_NAME.fullmatch(name):
        return None
    try:
        text, canonical_text = _texts(tool)
    except ValueError as fault:
        return Definition(name, "", f"the definition has no canonical form: {fault}")
    digest = f"sha256:{sha256(canonical_text).hexdigest()}"
    if len(text) > MAX_DEFINITION_BYTES:
        return Definition(name, digest, f"the definition is larger than {MAX_DEFINITION_BYTES} bytes")
    return Definition(name, digest, "" if _has_input_schema(tool) else _NO_SCHEMA, text)


def _texts(tool: JsonObject) -> tuple[bytes, bytes]:
    """The definition with sorted names, and its canonical form.  Raises ValueError for what has none.

    They differ where a schema names bounds such as 2^63-1: RFC 8785, section 3.2.2.3, writes any number as the double
    that it is, and of two definitions that differ beyond that the digest alone would not tell.
    """
    try:
        text = canonical(tool)
    except (ValueError, RecursionError):
        try:
            return orjson.dumps(tool, option=orjson.OPT_SORT_KEYS), canonical(_as_doubles(tool))
        except (TypeError, ValueError, RecursionError, OverflowError):
            raise ValueError("it is nested too deep, or has a number beyond 64 bits") from None
    return text, text


def _as_doubles(value: JsonValue) -> JsonValue:
    if isinstance(value, dict):
        return {name: _as_doubles(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_as_doubles(each) for each in value]
    if isinstance(value, int) and abs(value) > MAX_SAFE_INTEGER:
        return float(value)
    return value


def _has_input_schema(tool: JsonObject) -> bool:
    """2025-11-25 and 2026-07-28, Tool: "`type: "object"` is required at the root" of `inputSchema`."""
    schema = tool.get("inputSchema")
    return isinstance(schema, dict) and schema.get("type") == "object"


class Definitions:
    """What is known of all servers' tools.  One for a gate; servers are the gate's own, so that only tools are counted.

    `learn` takes a page of a list that passes: what one agent is shown may be less than there is.  `learn_all` takes a
    list that the gate asked for itself, all pages of it; from then on it is known which tools there are, until `stale`.
    """

    def __init__(self) -> None:
        self._servers: dict[str, dict[str, Definition]] = {}
        self._bytes: dict[str, int] = {}
        self._listed: dict[str, float] = {}
        self._changes: dict[str, int] = {}

    def learn(self, server: str, tools: JsonValue) -> None:
        """Take in the `tools` of one page; what a tool no longer says is forgotten."""
        self._take(server, _page(tools))

    def learn_all(self, server: str, tools: JsonValue, now: float) -> None:
        """Put a whole list in the place of what was known; `now`: when it was asked for, in seconds of any clock.

        A list that is too long to be kept is none.
        """
        self.forget(server)
        if self._take(server, _page(tools)):
            self._listed[server] = now

    def of(self, server: str, tool: str | None) -> Definition | None:
        """One tool's definition; None where no list has named it."""
        return self._servers.get(server, {}).get(tool) if tool is not None else None

    def names(self, server: str) -> tuple[str, ...]:
        """The tools that are known of a server."""
        return tuple(self._servers.get(server, ()))

    def has_whole_list(self, server: str, now: float, max_age_s: float) -> bool:
        """Whether the gate asked for the whole list no longer than `max_age_s` before `now`, and it still holds."""
        listed = self._listed.get(server)
        return listed is not None and 0 <= now - listed <= max_age_s

    def stale(self, server: str) -> None:
        """The server says that its list changed (`notifications/tools/list_changed`): what is known of it is old."""
        self._listed.pop(server, None)
        self._changes[server] = self.changes(server) + 1

    def changes(self, server: str) -> int:
        """How often the server said so: a list during which it did is old already."""
        return self._changes.get(server, 0)

    def forget(self, server: str) -> None:
        """Nothing is known of this server any more."""
        for known in (self._servers, self._bytes, self._listed):
            known.pop(server, None)

    def _take(self, server: str, found: Iterable[Definition]) -> bool:
        """Keep these beside what is known; whether there was room for all of it."""
        known = self._servers.setdefault(server, {})
        size = self._bytes.get(server, 0)
        for each in found:
            before = known.pop(each.name, None)
            size += len(each.text) - (len(before.text) if before else 0)
            known[each.name] = each
        fits = len(known) <= MAX_TOOLS and size <= MAX_SERVER_BYTES
        while len(known) > MAX_TOOLS or size > MAX_SERVER_BYTES:
            size -= len(known.pop(next(iter(known))).text)
        self._bytes[server] = size
        return fits


def _page(tools: JsonValue) -> tuple[Definition, ...]:
    """The definitions of one list.  Two of one name: which of them a call would reach, nobody knows."""
    found: dict[str, Definition] = {}
    for tool in tools if isinstance(tools, list) else []:
        each = definition_of(tool)
        if each is not None:
            found[each.name] = Definition(each.name, "", _TWICE) if each.name in found else each
    return tuple(found.values())
