"""The lock file: the definitions of a server's tools that somebody approved, and what else a server says.

It is reviewed like code: JSON in one form, sorted, with each definition in full beside its digest, and with nothing in it
that changes from run to run.  Pure.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import orjson

from callgate.errors import GatewayError, Refusal
from callgate.screening.definition_changes import changes_between
from callgate.screening.definitions import MAX_TOOLS, Definition, definition_of
from callgate.wire.json_strict import JsonLimits, JsonObject, JsonValue, loads

VERSION: Final = 1
UNKNOWN: Final = "unknown"
CHANGED: Final = "changed"
# Of one drift in a log, a trace or a record.
MAX_WORDS_CHARACTERS: Final = 400
# As large as the longest tool lists, indented.
MAX_LOCK_BYTES: Final = 16 * 1024 * 1024
# Of one drift that are told in a log or trace.
MAX_DIFFERENCES: Final = 16
# It is read once, by whoever starts: a large one harms nobody else.
_LIMITS: Final = JsonLimits(max_bytes=MAX_LOCK_BYTES, safe_integers=False, max_values=2_000_000)
_MEMBERS: Final = frozenset({"version", "server", "tools"})
_TOOL_MEMBERS: Final = frozenset({"name", "digest", "definition"})
_AGAIN: Final = "write it again with callgate pin"


class BadLock(GatewayError):  # noqa: N818  # says what is wrong
    """The lock file cannot be used; the message is a sentence to go behind its name ("… is not JSON")."""


@dataclass(frozen=True, slots=True)
class Drift:
    """The tool is not the one that was approved: `kind` is "unknown" or "changed".

    `name`: "" for what no call can name.  `differences` say what changed, without any text of the tool server's but
    names that look like names.
    """

    name: str
    kind: str
    differences: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """One line for a log, a trace or a record: `get_invoice changed: description: changed (41 → 97 characters)`."""
        told = f"{self.name or 'a tool without a name'} {'is unknown' if self.kind == UNKNOWN else 'changed'}"
        more = f": {'; '.join(self.differences)}" if self.differences else ""
        line = f"{told}{more}"
        return line if len(line) <= MAX_WORDS_CHARACTERS else f"{line[: MAX_WORDS_CHARACTERS - 1]}…"


@dataclass(frozen=True, slots=True)
class Lock:
    """The approved definitions of one server's tools by name, sorted."""

    server: str
    definitions: Mapping[str, Definition] = field(repr=False)

    def pinned(self, tool: str) -> Definition | None:
        """The definition that was approved; None where none was."""
        return self.definitions.get(tool)

    def judge(self, name: str, found: Definition | None) -> Definition | Drift:
        """What was approved for a tool, if it is what its server lists; `found` is None where that is not listed."""
        known = self.definitions.get(name)
        if known is None:
            return Drift(name, UNKNOWN)
        if found is None:
            return Drift(name, CHANGED, ("the tool server does not list it any more",))
        if found.unusable:
            return Drift(name, CHANGED, (found.unusable,))
        if found.digest == known.digest and found.text == known.text:
            return known
        return Drift(name, CHANGED, differences(known.body, found.body))

    def judge_body(self, tool: JsonValue) -> Definition | Drift:
        """The same for one entry of a server's list."""
        found = definition_of(tool)
        return Drift("", UNKNOWN) if found is None else self.judge(found.name, found)


def lock_of(server: str, tools: Iterable[JsonValue]) -> Lock:
    """Approve a server's tools.  Raises BadLock for tools that no lock file can hold."""
    found: dict[str, Definition] = {}
    for index, tool in enumerate(tools):
        each = definition_of(tool)
        if each is None:
            raise BadLock(f"cannot hold tools[{index}]: it has no name that a call may have")
        if each.unusable:
            raise BadLock(f"cannot hold {each.name}: {each.unusable}")
        if each.name in found:
            raise BadLock(f"cannot hold {each.name}: the tool server lists two tools of this name")
        found[each.name] = each
    if len(found) > MAX_TOOLS:
        raise BadLock(f"cannot hold {len(found)} tools; the limit is {MAX_TOOLS}")
    return Lock(server, dict(sorted(found.items())))


def read_lock(data: bytes) -> Lock:
    """Read a lock file.  Raises BadLock for anything that `write_lock` would not have written so."""
    found = loads(data, _LIMITS)
    if isinstance(found, Refusal):
        raise BadLock(f"is not JSON that can be taken: {found.detail or found.reason.value}")
    said = _object(found, "the file", _MEMBERS)
    if said["version"] != VERSION or type(said["version"]) is not int:
        raise BadLock(f"has another 'version' than {VERSION}, which is the one that this callgate reads")
    if not isinstance(said["server"], str):
        raise BadLock("has no name in 'server'")
    if not isinstance(said["tools"], list):
        raise BadLock("has no list in 'tools'")
    tools = [_read_tool(index, each) for index, each in enumerate(said["tools"])]
    lock = lock_of(said["server"], (tool.body for tool in tools))
    if [tool.name for tool in tools] != list(lock.definitions):
        raise BadLock(f"has its tools not in the order of their names; {_AGAIN}")
    return lock


def write_lock(lock: Lock) -> bytes:
    """The lock file: the same bytes for the same definitions, whatever order a server lists them in."""
    tools = [{"name": each.name, "digest": each.digest, "definition": each.body} for each in lock.definitions.values()]
    head = {"version": VERSION, "server": lock.server}
    # The members of the file itself stand in the order in which they are read; those of definitions are sorted already.
    return orjson.dumps({**head, "tools": tools}, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def differences(old: JsonObject, new: JsonObject) -> tuple[str, ...]:
    """What changed, as `inputSchema/properties/bcc: added` or `description: changed (41 → 97 characters)`.

    For logs and traces: bounded, and without any text but names that look like names.
    """
    found = changes_between(old, new)
    told = tuple(each.words for each in found[:MAX_DIFFERENCES])
    more = len(found) - len(told)
    return (*told, f"and {more} more") if more else told


def _object(value: JsonValue, where: str, members: frozenset[str]) -> JsonObject:
    if not isinstance(value, dict):
        raise BadLock(f"has no object as {where}")
    for name in sorted(members - value.keys()):
        raise BadLock(f"has no '{name}' in {where}")
    if value.keys() - members:
        raise BadLock(f"has more in {where} than {', '.join(sorted(members))}")
    return value


def _read_tool(index: int, value: JsonValue) -> Definition:
    said = _object(value, f"tools[{index}]", _TOOL_MEMBERS)
    found = definition_of(said["definition"])
    if found is None:
        raise BadLock(f"has no definition of a tool in tools[{index}]")
    if said["name"] != found.name:
        raise BadLock(f"names tools[{index}] otherwise than its definition does")
    if said["digest"] != found.digest:
        raise BadLock(f"has a digest of {found.name} that is not its definition's: one of them was edited; {_AGAIN}")
    return found
