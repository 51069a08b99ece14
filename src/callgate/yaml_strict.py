"""YAML in one reading, with the place of everything in it.

The files that say who may do what must mean the same to their author, to every tool and to the gate.  Of YAML this
takes mappings with text keys, lists, and scalars that mean what JSON means by them: `true`, `false`, `null` (also `~`
and nothing at all) and numbers; `no`, `on`, `True`, `0o17`, `010`, `1:30` and `2026-11-21` are text.  Anchors, aliases,
tags, merge keys, directives, a second document, duplicate keys, and characters that an editor does not show are
refused.  Pure: it reads text, not files.
"""

import re
from dataclasses import dataclass
from typing import Final, TypeAlias, cast

import yaml

YamlPath: TypeAlias = tuple[str | int, ...]
Position: TypeAlias = tuple[int, int]
YamlScalar: TypeAlias = bool | int | float | str | None
YamlValue: TypeAlias = YamlScalar | list["YamlValue"] | dict[str, "YamlValue"]

# libyaml where PyYAML was built with it (each wheel is): 20 times as fast, and a reload must not take seconds.
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_INTEGER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)")
# RFC 8259, section 6: number = [ minus ] int [ frac ] [ exp ].
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
# RFC 7493 (I-JSON), section 2.2: integers beyond this are not the same number everywhere.
_MAX_INTEGER: Final = 2**53 - 1
_IS_ALIAS: Final = re.compile(r"\b(?:alias|anchor)\b")
_WORDS: Final[dict[str, bool | None]] = {"": None, "~": None, "null": None, "true": True, "false": False}

# What YAML 1.2, section 5.1 calls printable, without the line breaks of YAML 1.1 (U+0085, U+2028, U+2029, a carriage
# return alone: tools count lines differently there) and without characters that do not show and let text look like
# other text (soft hyphen, zero width, direction, tags, byte order mark: CVE-2021-42574).
_UNWANTED: Final = re.compile(
    r"[^\t\n\r\x20-\x7e\xa0-\xac\xae-\u200a\u2010-\u2027\u202f-\u205f\u2070-\ud7ff\ue000-\ufefe\uff00-\ufff8\ufffc-\ufffd"
    r"\U00010000-\U000dffff\U000e1000-\U0010ffff]|\r(?!\n)"
)
# Parsers differ in where they take a tab for white space.
_UNWANTED_IN_FILE: Final = re.compile(f"{_UNWANTED.pattern}|\t")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a file.

    `line` and `column` count from 1, in characters; both are 0 where the whole file is meant.
    """

    file: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        place = f":{self.line}:{self.column}" if self.line else ""
        return f"{self.file}{place}: {self.message}"


@dataclass(frozen=True, slots=True)
class YamlLimits:
    """How much a file may hold."""

    # Beyond any configuration, and read in a second.
    max_bytes: int = 1024 * 1024
    # Formats here need 5; the reading is recursive, and Python's own limit is 1000.
    max_depth: int = 32


DEFAULT_LIMITS: Final = YamlLimits()


@dataclass(frozen=True, slots=True)
class _Node:
    """A value and where it starts; in a mapping, each key has its own place."""

    place: Position
    value: "YamlScalar | list[_Node] | dict[str, tuple[Position, _Node]]"

    def plain(self) -> YamlValue:
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        if isinstance(self.value, dict):
            return {key: node.plain() for key, (_, node) in self.value.items()}
        return self.value

    def child(self, step: str | int) -> "tuple[Position, _Node] | None":
        if isinstance(self.value, dict) and isinstance(step, str):
            return self.value.get(step)
        if isinstance(self.value, list) and isinstance(step, int) and 0 <= step < len(self.value):
            return self.value[step].place, self.value[step]
        return None


@dataclass(frozen=True, slots=True)
class Document:
    """A file that was read: its plain value, and where each part of it stands."""

    file: str
    value: YamlValue
    _root: _Node

    def position_of(self, path: YamlPath) -> Position:
        """Line and column (from 1) of the value at `path`; of the nearest part around it where there is none."""
        return self._spot(path)[1]

    def key_position_of(self, path: YamlPath) -> Position:
        """Line and column (from 1) of the key that leads to `path`, or of the list entry."""
        return self._spot(path)[0]

    def problem(self, path: YamlPath, message: str) -> Problem:
        """Say what is wrong with the value at `path`."""
        return Problem(self.file, *self.position_of(path), message)

    def _spot(self, path: YamlPath) -> tuple[Position, Position]:
        key, node = self._root.place, self._root
        for step in path:
            found = node.child(step)
            if found is None:
                # Missing: the key of the mapping that misses it says more than the mapping's first line.
                return key, key
            key, node = found
        return key, node.place


def decode(data: bytes, filename: str) -> str | Problem:
    """The text of a file, which is UTF-8 and nothing else."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        column = len(before[before.rfind(b"\n") + 1 :].decode("utf-8")) + 1
        return Problem(filename, before.count(b"\n") + 1, column, "is not UTF-8 here")


def load(text: str, filename: str, limits: YamlLimits = DEFAULT_LIMITS) -> Document | tuple[Problem, ...]:
    """Read one document, or say all that is wrong with it."""
    document, problems = scan(text, filename, limits)
    if document is None or problems:
        return problems
    return document


def scan(
    text: str, filename: str, limits: YamlLimits = DEFAULT_LIMITS
) -> tuple[Document, tuple[Problem, ...]] | tuple[None, tuple[Problem, ...]]:
    """Read as far as it goes, so that a file with two faults at different levels is told of both.

    The document is only to be looked at for more problems while there is one.
    """
    unfit = _unfit(text, filename, limits)
    if unfit is not None:
        return None, (unfit,)
    reader = _Reader(text, filename, limits)
    try:
        root = reader.document()
    except _NoFurther:
        return None, tuple(reader.problems)
    return Document(filename, root.plain(), root), tuple(reader.problems)


def _unfit(text: str, filename: str, limits: YamlLimits) -> Problem | None:
    """What is wrong before YAML is looked at."""
    # A character takes four bytes at most: short text need not be encoded to be measured.
    if len(text) * 4 > limits.max_bytes and len(text.encode("utf-8", "surrogatepass")) > limits.max_bytes:
        return Problem(filename, 0, 0, f"is larger than {limits.max_bytes} bytes")
    found = _UNWANTED_IN_FILE.search(text)
    if found is None:
        return None
    start = found.start()
    line, column = text.count("\n", 0, start) + 1, start - text.rfind("\n", 0, start)
    if found[0] == "\t":
        return Problem(filename, line, column, "tabs are not accepted; use spaces")
    return Problem(filename, line, column, f"the character U+{ord(found[0]):04X} is not accepted: it does not show")


class _NoFurther(Exception):  # noqa: N818  # no error, but the way out of a recursion
    """What follows cannot be made sense of."""


class _Reader:
    """Builds nodes from the parser's events; what is wrong goes to `problems`, and reading goes on where it can."""

    def __init__(self, text: str, filename: str, limits: YamlLimits) -> None:
        self.problems: list[Problem] = []
        self._file = filename
        self._limits = limits
        self._events = iter(yaml.parse(text, Loader=_LOADER))

    def document(self) -> _Node:
        self._next()
        start = self._next()
        if isinstance(start, yaml.StreamEndEvent):
            raise self._stop((1, 1), "is empty")
        if isinstance(start, yaml.DocumentStartEvent) and (start.version or start.tags):
            self._problem(_place(start), "YAML directives are not accepted")
        root = self._node(self._next(), 1)
        self._next()
        if not isinstance(further := self._next(), yaml.StreamEndEvent):
            raise self._stop(_place(further), "a second YAML document starts here; a file holds one")
        return root

    def _node(self, event: yaml.Event, depth: int) -> _Node:
        if depth > self._limits.max_depth:
            raise self._stop(_place(event), f"is nested more than {self._limits.max_depth} levels deep")
        self._check_properties(event)
        if isinstance(event, yaml.MappingStartEvent):
            return _Node(_place(event), self._mapping(depth))
        if isinstance(event, yaml.SequenceStartEvent):
            return _Node(_place(event), self._sequence(depth))
        if isinstance(event, yaml.ScalarEvent):
            return _Node(_place(event), self._scalar(event))
        return _Node(_place(event), None)

    def _check_properties(self, event: yaml.Event) -> None:
        if isinstance(event, yaml.AliasEvent):
            self._problem(_place(event), f"the alias '*{event.anchor}' is not accepted; quote it, if it is a pattern")
        elif (anchor := getattr(event, "anchor", None)) is not None:
            self._problem(_place(event), f"the anchor '&{anchor}' is not accepted")
        if getattr(event, "tag", None) is not None:
            self._problem(_place(event), "YAML tags ('!') are not accepted; put quotes around text")

    def _sequence(self, depth: int) -> list[_Node]:
        nodes = []
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            nodes.append(self._node(event, depth + 1))
        return nodes

    def _mapping(self, depth: int) -> dict[str, tuple[Position, _Node]]:
        entries: dict[str, tuple[Position, _Node]] = {}
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            key = self._key(event, depth)
            value = self._node(self._next(), depth + 1)
            if key is None:
                continue
            if key in entries:
                first = entries[key][0][0]
                self._problem(_place(event), f"key '{shown(key)}' stands here twice; the first is in line {first}")
                continue
            entries[key] = _place(event), value
        return entries

    def _key(self, event: yaml.Event, depth: int) -> str | None:
        node = self._node(event, depth + 1)
        if isinstance(event, yaml.ScalarEvent) and event.implicit[0] and event.value == "<<":
            self._problem(node.place, "merge keys ('<<') are not accepted; write the keys out")
            return None
        if not isinstance(node.value, str):
            if not isinstance(event, yaml.AliasEvent):
                self._problem(node.place, "a key must be text; put quotes around it")
            return None
        return node.value

    def _scalar(self, event: yaml.ScalarEvent) -> YamlScalar:
        text: str = event.value
        if not event.implicit[0]:
            if _UNWANTED.search(text):
                self._problem(_place(event), "an escape in this text stands for a character that is not allowed")
            return text
        if text in _WORDS:
            return _WORDS[text]
        if _NUMBER.fullmatch(text) is None:
            return text
        # Beyond 400 characters Python's own limits decide, and no number here is that long.
        number = float(text) if len(text) <= 400 else float("inf")
        if abs(number) > _MAX_INTEGER:
            self._problem(_place(event), "the number is too large to mean the same everywhere; as text, quote it")
            return None
        return int(text) if _INTEGER.fullmatch(text) else number

    def _next(self) -> yaml.Event:
        try:
            return next(self._events)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark
            place = (mark.line + 1, mark.column + 1) if mark is not None else (0, 0)
            hint = "; text that starts with '*' or '&' needs quotes" if _IS_ALIAS.search(error.context or "") else ""
            raise self._stop(place, f"is not YAML: {error.problem}{hint}") from error

    def _problem(self, place: Position, message: str) -> None:
        self.problems.append(Problem(self._file, *place, message))

    def _stop(self, place: Position, message: str) -> _NoFurther:
        self._problem(place, message)
        return _NoFurther(message)


def _place(event: yaml.Event) -> Position:
    mark = cast("yaml.Mark", event.start_mark)  # parsed events have one
    return mark.line + 1, mark.column + 1


_ESCAPES: Final = str.maketrans({"\n": "\\n", "\r": "\\r", "\t": "\\t"})


def shown(text: str) -> str:
    """What a file says, fit to stand in a message: one line, and no more than 60 characters of it."""
    return (text if len(text) <= 60 else f"{text[:57]}...").translate(_ESCAPES)
