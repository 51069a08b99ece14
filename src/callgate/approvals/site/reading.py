"""A call's arguments as a person reads them: line by line, with every member's name, within what a page may hold.

What there is no room for is counted and said; each member gets its share, so that no large one hides those behind it.
Pure.  64 KiB of arguments become a page within 50 ms, whatever they hold.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from callgate.approvals.site.visible import Allowance, Pieces, Text, folded, shown
from callgate.screening.homoglyphs import lookalikes
from callgate.wire.json_strict import JsonObject, JsonValue, dumps

# Lines of one page, at some 10 us each.  Nobody reads more before saying yes.
MAX_LINES: Final = 1_000
# Characters of all texts of one page, in sight or folded: more than twice 64 KiB, so that one of 64 KiB is whole.
MAX_CHARACTERS: Final = 160 * 1024
# Levels that are drawn; tool arguments rarely have more than ten.
MAX_DEPTH: Final = 20
# Of a longer list or object, so many are shown, one in so many of them from its end.
_MAX_ENTRIES: Final = 120
_FROM_THE_END: Final = 6
# A member's name is shown as far; longer ones are cut in the middle.
_MAX_NAME_CHARACTERS: Final = 200
# Levels of indentation that differ: a phone is narrow.
_MAX_INDENT: Final = 8

# What a list needs beside what is in it: its brackets, and one line.
_LEAST_ROOM: Final = 3

LineKind: TypeAlias = Literal["open", "close", "text", "value", "gap", "program"]


@dataclass(frozen=True, slots=True)
class Label:
    """A member's name, or an entry's place in its list, counted from 0.

    `tail`: the end of a name that is too long, `cut` characters behind its beginning.  `twin`: another member beside it
    has a name that looks the same.
    """

    name: Pieces
    tail: Pieces = ()
    cut: int = 0
    number: int | None = None
    twin: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """One line: `sign` is a bracket, a number, true, false, null, or what is left out in words; `text` a string.

    `program`: the number of the program that is shown on its own.
    """

    kind: LineKind
    depth: int
    sign: str = ""
    label: Label | None = None
    text: Text | None = None
    program: int = 0

    @property
    def indent(self) -> int:
        """How far it is moved to the right."""
        return min(self.depth, _MAX_INDENT)


@dataclass(frozen=True, slots=True)
class Arguments:
    """All lines; `is_whole`: whether every value is among them, in sight or folded.  `size`: in bytes, as JSON."""

    lines: tuple[Line, ...]
    is_whole: bool
    size: int


Path: TypeAlias = tuple[str | int, ...]


def read_arguments(arguments: JsonObject, allowance: Allowance, programs: Sequence[Path] = ()) -> Arguments:
    """The lines of a call's arguments; those at `programs` are shown elsewhere, and only named here."""
    reader = _Reader(allowance, {path: number for number, path in enumerate(programs, start=1)})
    lines = tuple(reader.inside(arguments, (), MAX_LINES))
    return Arguments(lines, reader.is_whole, len(dumps(arguments)))


@dataclass(slots=True)
class _Reader:
    """Goes through one call's arguments, and notes whether it left something out."""

    allowance: Allowance
    programs: dict[Path, int]
    is_whole: bool = True

    def inside(self, value: JsonObject | list[JsonValue], path: Path, room: int) -> Iterator[Line]:
        """The lines of all members or entries, `room` of them at most, give or take one."""
        names = list(value) if isinstance(value, dict) else range(len(value))
        places = _places(len(names), room)
        twins = lookalikes([name for place in places if isinstance(name := names[place], str)])
        before = -1
        for left, place in zip(range(len(places), 0, -1), places, strict=True):
            if place > before + 1:
                yield self._gap(place - before - 1, len(path))
                room -= 1
            before, used, name = place, 0, names[place]
            within = value[name]  # type: ignore[index]  # a list's by number, an object's by name
            for line in self._value(within, (*path, name), name in twins, max(1, room // left)):
                used += 1
                yield line
            room -= used

    def _value(self, value: JsonValue, path: Path, twin: bool, room: int) -> Iterator[Line]:
        depth, label = len(path) - 1, self._label(path[-1], twin=twin)
        if path in self.programs:
            yield Line("program", depth, label=label, program=self.programs[path])
        elif isinstance(value, str):
            text = folded(value, self.allowance)
            self.is_whole = self.is_whole and not text.cut
            yield Line("text", depth, label=label, text=text)
        elif not isinstance(value, dict | list):
            yield Line("value", depth, dumps(value).decode(), label)
        elif not value:
            yield Line("value", depth, "{}" if isinstance(value, dict) else "[]", label)
        elif room < _LEAST_ROOM or depth >= MAX_DEPTH:
            self.is_whole = False
            yield Line("gap", depth, f"{len(value):,} {_what(value)}, not shown here", label)
        else:
            opens, closes = "{}" if isinstance(value, dict) else "[]"
            yield Line("open", depth, opens, label)
            yield from self.inside(value, path, room - 2)
            yield Line("close", depth, closes)

    def _gap(self, count: int, depth: int) -> Line:
        self.is_whole = False
        return Line("gap", depth, f"{count:,} more, not shown here")

    def _label(self, name: str | int, *, twin: bool) -> Label:
        if isinstance(name, int):
            return Label((), number=name)
        half = _MAX_NAME_CHARACTERS // 2
        if len(name) <= _MAX_NAME_CHARACTERS:
            return Label(shown(name, self.allowance, is_name=True), twin=twin)
        self.is_whole = False
        head, tail = (shown(part, self.allowance, is_name=True) for part in (name[:half], name[-half:]))
        return Label(head, tail, len(name) - 2 * half, twin=twin)


def _places(count: int, room: int) -> Sequence[int]:
    """Which of `count` are shown: all, or the first ones and the last ones."""
    most = min(count, max(2, min(room, _MAX_ENTRIES)))
    if most == count:
        return range(count)
    last = max(1, most // _FROM_THE_END)
    return [*range(most - last), *range(count - last, count)]


def _what(value: JsonObject | list[JsonValue]) -> str:
    one = len(value) == 1
    return ("member" if one else "members") if isinstance(value, dict) else ("entry" if one else "entries")
