"""What differs between a lock file and the tools that a server has, for people and as JSON."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path
from typing import Final

import click
import orjson

from callgate.cli.words import counted
from callgate.screening.deceptive import find_deceptive
from callgate.screening.definition_changes import Change, changes_between
from callgate.screening.definitions import Definition
from callgate.screening.pins import Lock
from callgate.telemetry.visible import visible

# What a person reads.
_MAX_LINE_CHARACTERS: Final = 400
# Of one definition on each side: to compare line by line takes time with the square of them at the worst.
_MAX_LINES: Final = 3_000
_COLOURS: Final = {"+": "green", "-": "red", "@": "cyan"}


@dataclass(frozen=True, slots=True)
class Comparison:
    """What was approved, what there is, and what changed within each tool that did."""

    old: Lock
    new: Lock
    changed: Mapping[str, tuple[Change, ...]]

    @property
    def added(self) -> tuple[str, ...]:
        """Tools that nobody approved yet."""
        return tuple(name for name in self.new.definitions if name not in self.old.definitions)

    @property
    def gone(self) -> tuple[str, ...]:
        """Tools that the server has no longer."""
        return tuple(name for name in self.old.definitions if name not in self.new.definitions)

    @property
    def differs(self) -> bool:
        """Whether anything does."""
        return bool(self.added or self.gone or self.changed)

    @property
    def deceptive(self) -> Mapping[str, Mapping[str, int]]:
        """What deceives in the text of new and changed tools, by tool."""
        names = (*self.added, *self.changed)
        found = {name: find_deceptive(_pretty(self.new.definitions[name])) for name in sorted(names)}
        return {
            name: {kind: n for kind, n in kinds.items() if n} for name, kinds in found.items() if any(kinds.values())
        }


def compare(old: Lock, new: Lock) -> Comparison:
    """Two states of one server's tools."""
    changed = {
        name: changes_between(old.definitions[name].body, each.body)
        for name, each in new.definitions.items()
        if name in old.definitions and each.text != old.definitions[name].text
    }
    return Comparison(old, new, changed)


def as_text(found: Comparison, target: Path, *, is_written: bool) -> Iterator[str]:
    """The tools that differ, each with what changed in it; nothing that a tool server wrote moves a cursor."""
    for name in found.added:
        yield click.style(f"+ {name}: new", fg="green")
        yield from _lines(None, found.new.definitions[name]) if not is_written else ()
    for name in found.gone:
        yield click.style(f"- {name}: gone", fg="red")
    for name, changes in found.changed.items():
        yield click.style(f"~ {name}: {counted(len(changes), 'change')}", fg="yellow")
        yield from _lines(found.old.definitions[name], found.new.definitions[name])
    for name, kinds in found.deceptive.items():
        told = ", ".join(f"{kind} {count}" for kind, count in sorted(kinds.items()))
        yield click.style(f"! {name} has text that is not what it looks like: {told}", fg="red", bold=True)
    yield _summary(found, target, is_written=is_written)


def as_json(found: Comparison, target: Path, *, is_written: bool) -> bytes:
    """One object.  Of changes the places alone: the definitions stand in the lock file."""
    told = {
        "version": 1,
        "server": found.new.server,
        "file": str(target),
        "written": is_written,
        "differs": found.differs,
        "new": found.added,
        "gone": found.gone,
        "changed": {
            name: [{"path": each.path, "what": each.what} for each in changes]
            for name, changes in found.changed.items()
        },
        "deceptive": found.deceptive,
        "tools": {name: each.digest for name, each in found.new.definitions.items()},
    }
    return orjson.dumps(told, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _summary(found: Comparison, target: Path, *, is_written: bool) -> str:
    tools = counted(len(found.new.definitions), "tool")
    differing = {"new": len(found.added), "changed": len(found.changed), "gone": len(found.gone)}
    told = ", ".join(f"{number} {what}" for what, number in differing.items() if number)
    if is_written:
        return f"{target}: {tools} written" + (f"; {told}" if told else "; as before")
    return f"{target}: {tools}; {told or 'nothing differs'}"


def _lines(old: Definition | None, new: Definition) -> Iterator[str]:
    before = _pretty(old).split("\n") if old is not None else []
    after = _pretty(new).split("\n")
    if max(len(before), len(after)) > _MAX_LINES:
        yield f"    too long to be shown line by line: {len(before)} and {len(after)} lines"
        return
    # The first two lines name files, and there are none.
    for line in list(unified_diff(before, after, lineterm="", n=2))[2:]:
        shown = f"    {visible(line, _MAX_LINE_CHARACTERS)}"
        yield click.style(shown, fg=_COLOURS[line[0]]) if line[0] in _COLOURS else shown


def _pretty(definition: Definition) -> str:
    return orjson.dumps(definition.body, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS).decode()
