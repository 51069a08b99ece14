"""One JSON value with others in the place of what was found; what is clean stays the same object."""

from dataclasses import dataclass
from typing import Final, Protocol

from callgate.screening.gathered import Container, Step
from callgate.screening.marks import Marks
from callgate.screening.mask import Masked, Span, Tally, merged, strictest
from callgate.screening.mcp_places import (
    KNOWN_NAMES,
    REQUIRED_MEMBERS,
    SCHEMA_VALUES,
    Kind,
    is_base64,
    is_of_protocol,
    is_own_member,
    kind_of_entry,
    kind_within,
)
from callgate.screening.replacing import GONE, Gone, Replacing
from callgate.screening.terms import Mode
from callgate.screening.undeceived import Names
from callgate.wire.json_strict import JsonObject, JsonValue

# What a content block is for: one without it is left out of its list.
_CONTENTS: Final = frozenset({"text", "data"})
_DENIED: Final = frozenset({Mode.DENY, Mode.HOLD})


class Reader(Protocol):
    """Screens what stands in texts.  `level`: how many lists and objects are around it."""

    def within(self, text: str, spans: list[Span], masking: "Masking", level: int) -> str | Gone:
        """What becomes of a text in which something was found, or that has to be looked into."""

    def encoded(self, text: str, media_type: JsonValue, level: int) -> str | Gone:
        """What becomes of base64."""

    def keyed(self, name: str) -> Masked | None:
        """What becomes of the value of a member of that name."""


@dataclass(frozen=True, slots=True)
class Masking:
    """Puts one value together anew, along its marks.  `tally` counts what was masked, and what is denied."""

    marks: Marks
    replacing: Replacing
    reader: Reader
    tally: Tally

    def container(self, value: Container, kind: Kind, level: int, *, is_entry: bool = False) -> JsonValue | Gone:
        """The value, or another; GONE for an entry of a list that is for nothing but what is gone."""
        if id(value) not in self.marks.dirty:
            return value
        if isinstance(value, dict):
            return self._members(value, kind, level, is_entry=is_entry)
        return self._entries(value, kind, level)

    def member(self, members: JsonObject, name: str, kind: Kind, level: int) -> JsonValue | Gone:
        """What becomes of one member's value."""
        item, whole = members[name], self._rule(members, name, kind)
        if isinstance(item, dict) and kind is Kind.SCHEMAS and whole is not None:
            return self._schema(item, whole, level)
        if whole is not None and not (isinstance(item, bool) and kind is Kind.SCHEMAS):
            return self.whole(item, whole)
        if isinstance(item, dict | list):
            return self.container(item, kind_within(kind, name), level)
        if isinstance(item, str) and is_base64(members, kind, name):
            return self.reader.encoded(item, members.get("mimeType"), level)
        return self._scalar(members, name, item, level)

    def text(self, text: str, spans: list[Span]) -> str | Gone:
        """A text with other words in the place of its spans."""
        apart = merged(spans)
        for span in apart:
            self._note(span.masked)
        return self.replacing.text(text, apart) if apart else text

    def whole(self, value: JsonValue, masked: Masked) -> JsonValue | Gone:
        """What stands in the place of a value that a rule is about by its name or place."""
        self._note(masked)
        return self.replacing.whole(value, masked)

    def _note(self, masked: Masked) -> None:
        self.tally.masked(masked.name)
        if masked.mode in _DENIED:
            self.tally.deny(masked.name)

    def _members(self, members: JsonObject, kind: Kind, level: int, *, is_entry: bool) -> JsonValue | Gone:
        shown: JsonObject = {}
        names = Names(members)
        changed = False
        for name, item in members.items():
            other = self.member(members, name, kind, level + 1)
            if other is not item and kind is Kind.TOOL and name == "name":
                # It could not be called by another name, and by its own it must not be seen.
                return GONE
            if other is GONE and is_of_protocol(kind) and name in REQUIRED_MEMBERS:
                if is_entry and name in _CONTENTS and "type" in members:
                    return GONE
                other = "" if isinstance(item, str) else 0
            label = self._label(members, name)
            changed = changed or other is not item or label != name
            if other is not GONE and label is not GONE:
                shown[names.free(name, label)] = other
        return shown if changed else members

    def _entries(self, entries: list[JsonValue], kind: Kind, level: int) -> JsonValue:
        shown: list[JsonValue] = []
        changed = False
        for step, item in enumerate(entries):
            other = self._entry(entries, step, kind_of_entry(kind), level + 1)
            changed = changed or other is not item
            if other is not GONE:
                shown.append(other)
        return shown if changed else entries

    def _entry(self, entries: list[JsonValue], step: int, kind: Kind, level: int) -> JsonValue | Gone:
        item, whole = entries[step], self.marks.wholes.get((id(entries), step))
        if whole is not None:
            return self.whole(item, whole)
        if isinstance(item, dict | list):
            return self.container(item, kind, level, is_entry=True)
        return self._scalar(entries, step, item, level)

    def _scalar(self, container: Container, step: Step, item: JsonValue, level: int) -> JsonValue | Gone:
        spans = self.marks.values.get((id(container), step))
        if spans is None:
            return item
        if isinstance(item, str):
            return self.reader.within(item, spans, self, level)
        if not spans or item is None or isinstance(item, bool | dict | list):
            return item
        masked = strictest(span.masked for span in spans)
        self._note(masked)
        return self.replacing.number(item, masked)

    def _rule(self, members: JsonObject, name: str, kind: Kind) -> Masked | None:
        """The rule that is about a member by its place or its name; of two the stricter."""
        placed = self.marks.wholes.get((id(members), name))
        keyed = self.reader.keyed(name) if is_own_member(kind, name) else None
        return strictest((placed, keyed)) if placed and keyed else placed or keyed

    def _schema(self, schema: JsonObject, masked: Masked, level: int) -> JsonValue:
        """The schema of what a rule is about by its name: what it says stays, and values that it gives do not."""
        inner = self.container(schema, Kind.SCHEMA, level)
        if not isinstance(inner, dict) or not inner.keys() & SCHEMA_VALUES:
            return inner if isinstance(inner, dict) else schema
        shown = {name: self.whole(each, masked) if name in SCHEMA_VALUES else each for name, each in inner.items()}
        return {name: each for name, each in shown.items() if each is not GONE}

    def _label(self, members: JsonObject, name: str) -> str | Gone:
        spans = self.marks.names.get((id(members), name))
        return name if spans is None or name in KNOWN_NAMES else self.text(name, spans)
