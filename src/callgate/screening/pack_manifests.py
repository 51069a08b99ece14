"""JSON and YAML in a text, read loosely: for what it may hold, not for what it means.

Unlike configuration, this must be taken as its reader would take it: several documents, tags and anchors, keys that
stand twice.  An alias of a scalar is that scalar; an alias of anything larger is nothing here, because what it names was
looked at where it stands.  So nothing grows by being named often.
"""

from dataclasses import dataclass, field
from typing import Final

import yaml

from callgate.wire.json_strict import JsonObject, JsonValue

# Of one text: a manifest of several objects has some 10 KiB.  Reading a character takes some 100 ns.
MAX_CHARACTERS: Final = 48 * 1024
# Of one text; each takes some 3 microseconds.
MAX_EVENTS: Final = 3000
MAX_DEPTH: Final = 64

_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Manifest:
    """What was read: the roots of all documents, and each member that stands twice as an object of its own."""

    values: tuple[JsonValue, ...]
    is_whole: bool


@dataclass(slots=True)
class _Open:
    """A mapping or a sequence that goes on."""

    value: JsonObject | list[JsonValue]
    key: str | None = None


@dataclass(slots=True)
class _Reading:
    values: list[JsonValue] = field(default_factory=list)
    anchors: dict[str, JsonValue] = field(default_factory=dict)
    stack: list[_Open] = field(default_factory=list)

    def put(self, value: JsonValue, name: str = "") -> None:
        """A value at the place that comes next."""
        if not self.stack:
            self.values.append(value)
            return
        top = self.stack[-1]
        if isinstance(top.value, list):
            top.value.append(value)
        elif top.key is None:
            top.key = name or (value if isinstance(value, str) else "?")
        else:
            if top.key in top.value:
                self.values.append({top.key: value})
            else:
                top.value[top.key] = value
            top.key = None


def read_manifest(text: str) -> Manifest:
    """Everything in a text of YAML or JSON, up to the first place where it is none.  Never raises."""
    reading = _Reading()
    if len(text) > MAX_CHARACTERS:
        return Manifest((), is_whole=False)
    try:
        is_whole = _read(text, reading)
    except (yaml.YAMLError, ValueError):
        # ValueError: characters that YAML has no place for, and lone surrogates.
        is_whole = False
    return Manifest((*reading.values, *(each.value for each in reading.stack[:1])), is_whole)


def _read(text: str, reading: _Reading) -> bool:
    for count, event in enumerate(yaml.parse(text, Loader=_LOADER)):
        if count == MAX_EVENTS or len(reading.stack) > MAX_DEPTH:
            return False
        _take(event, reading)
    return True


def _take(event: yaml.Event, reading: _Reading) -> None:
    if isinstance(event, yaml.ScalarEvent):
        value = _scalar(event)
        if event.anchor:
            reading.anchors[event.anchor] = event.value
        reading.put(value, event.value)
    elif isinstance(event, yaml.AliasEvent):
        told = reading.anchors.get(event.anchor or "")
        reading.put(told, told if isinstance(told, str) else "")
    elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
        reading.stack.append(_Open({} if isinstance(event, yaml.MappingStartEvent) else []))
    elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
        reading.put(reading.stack.pop().value)


def _scalar(event: yaml.ScalarEvent) -> JsonValue:
    """Texts, but for nothing at all and for numbers, of which 0 has many spellings."""
    text: str = event.value
    if event.implicit[0] and text in {"", "~", "null", "Null", "NULL"}:
        return None
    if event.implicit[0] and text.strip("+-0_.xobXOB") == "" and "0" in text:
        return 0
    return text
