"""Screens the values of one message: takes out what lies, masks what was found, looks into texts and base64."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from callgate.errors import Reason, Refusal
from callgate.screening import base64_text
from callgate.screening.gathered import Container, Gathered, Gatherer
from callgate.screening.key_text import normalised
from callgate.screening.marks import JSON_TEXT, Marker, Marks
from callgate.screening.mask import Budget, Masked, Span, Tally, TooMuch
from callgate.screening.masked_json import Masking
from callgate.screening.masks import Masks, Pointer
from callgate.screening.mcp_places import ROOT, Kind
from callgate.screening.replacing import GONE, Form, Gone, Replacing
from callgate.screening.terms import Handling
from callgate.screening.undeceived import Undeceiver, deceptive_frames
from callgate.wire.json_strict import JsonLimits, JsonObject, JsonValue, dumps, loads

# Lists and objects within each other, those too that stand in a text or base64 (`JsonLimits.max_depth`).
MAX_LEVELS: Final = 64
# JSON in a text of JSON in a text: agents' frameworks wrap results once or twice.
MAX_NESTING: Final = 4
_TOO_LARGE: Final = frozenset({Reason.JSON_TOO_DEEP, Reason.JSON_TOO_LARGE})


@dataclass(slots=True)
class Screen:
    """One message's.

    `text`: what becomes of text that lies; None where it is not looked for.  `base64`: what becomes of encoded content.
    `lies`: there was some text that lies.
    """

    masks: Masks
    key: bytes
    tally: Tally
    text: Handling | None = None
    base64: Handling = Handling.PASS
    lies: bool = False
    _budget: Budget = field(default_factory=Budget)
    _nesting: int = 0

    def value(self, value: Container, kind: Kind) -> JsonValue | Gone:
        """The value, or another in its place; the same object where nothing has to be done.

        Raises Unscreenable, TooDeceptive, and whatever a detector raises.
        """
        clean, marks = self._marked(value, kind, self.masks.pointers)
        return self._masking(marks).container(clean, kind, 0) if marks else clean

    def result(self, result: JsonObject, holds: Callable[[JsonValue], bool] | None) -> JsonObject | None:
        """The result of a request.  None where `structuredContent` cannot be masked so that `holds` says yes."""
        clean, marks = self._marked(result, Kind.PROTOCOL, self.masks.pointers)
        shown = self._masking(marks).container(clean, Kind.PROTOCOL, 0) if marks else clean
        if not isinstance(shown, dict) or not isinstance(clean, dict):
            return None
        if holds is None or shown.get(ROOT) is result.get(ROOT) or (ROOT in shown and holds(shown[ROOT])):
            return shown
        return self._shaped(clean, shown, marks, holds) if marks else None

    def _shaped(
        self, clean: JsonObject, shown: JsonObject, marks: Marks, holds: Callable[[JsonValue], bool]
    ) -> JsonObject | None:
        """The result with values of the same shape in its `structuredContent`: counted they are already."""
        for form in (Form.BARE, Form.FULL):
            masking = Masking(marks, Replacing(self.key, form), self, Tally())
            shaped = masking.member(clean, ROOT, Kind.PROTOCOL, 1) if ROOT in clean else GONE
            if shaped is not GONE and holds(shaped):
                return {**shown, ROOT: shaped}
        return None

    def within(self, text: str, spans: list[Span], masking: Masking, level: int) -> str | Gone:
        """What becomes of a text in which something was found, or that has to be looked into."""
        read = self._read(text, level) if JSON_TEXT.match(text) else None
        if read is not None:
            shown = self._inner(read, masking, level)
            if shown is not read:
                return GONE if shown is GONE else dumps(shown).decode()
        elif JSON_TEXT.match(text) and (lines := self._lines(text, masking, level)) is not None:
            return lines
        if self.masks.words is not None:
            found = self.masks.words.values(text, self._budget)
            spans = [*spans, *(Span(each.start, each.end, self.masks.keys[each.key]) for each in found)]
        return masking.text(text, spans)

    def encoded(self, text: str, media_type: JsonValue, level: int) -> str | Gone:
        """What becomes of base64."""
        if self.base64 is Handling.DENY:
            self.tally.deny("base64")
        if self.base64 in (Handling.DENY, Handling.PASS):
            return text
        content = base64_text.decoded(text, media_type)
        if content is None:
            return text
        held: list[JsonValue] = [content]
        shown = self._nested(held, Kind.FREE, Masking(Marks(), Replacing(self.key), self, self.tally), level)
        if shown is held:
            return text
        first = shown[0] if isinstance(shown, list) and shown else GONE
        return base64_text.encoded(first) if isinstance(first, str) else GONE

    def lied(self, found: Mapping[str, int]) -> None:
        """Count what a text deceives with."""
        self.tally.deceived(found)
        self.lies = self.lies or bool(found)

    def keyed(self, name: str) -> Masked | None:
        """What becomes of the value of a member of that name."""
        return self.masks.keys.get(normalised(name)) if self.masks.keys else None

    def _marked(self, value: Container, kind: Kind, pointers: tuple[Pointer, ...]) -> tuple[Container, Marks | None]:
        """The value without what lies, and what is to be done in it; None where there is nothing."""
        gathered = self._gather(value, kind)
        clean = self._without_lies(value, gathered)
        if clean is not value:
            value, gathered = clean, self._gather(clean, kind)
        marks = Marker(gathered, self.masks, pointers, self._budget).mark()
        return value, marks if marks.dirty else None

    def _gather(self, value: Container, kind: Kind) -> Gathered:
        gathered = Gatherer(self.masks.keys, thorough=self.masks.patterns is not None).gather(value, kind)
        self._budget.gather(len(gathered.texts), gathered.size)
        is_read = bool(self.masks) or self.text is not None
        if self.base64 is Handling.PASS or not (is_read or self.base64 is Handling.DENY):
            gathered.encoded.clear()
        return gathered

    def _without_lies(self, value: Container, gathered: Gathered) -> Container:
        dirty = deceptive_frames(gathered, self._budget) if self.text is not None else set()
        if not dirty:
            return value
        undeceiver = Undeceiver(dirty, strip=self.text is not Handling.PASS)
        clean = undeceiver.value(value)
        self.lied(undeceiver.found)
        return clean if undeceiver.changed and isinstance(clean, dict | list) else value

    def _masking(self, marks: Marks) -> Masking:
        return Masking(marks, Replacing(self.key), self, self.tally)

    def _inner(self, value: Container, masking: Masking, level: int) -> JsonValue | Gone:
        """What becomes of JSON that stands in a text: the same object where nothing has to be done."""
        holder: JsonObject = {ROOT: value}
        shown = self._nested(holder, Kind.PROTOCOL, masking, level)
        if shown is holder:
            return value
        return shown.get(ROOT, GONE) if isinstance(shown, dict) else GONE

    def _nested(self, holder: Container, kind: Kind, masking: Masking, level: int) -> JsonValue | Gone:
        self._nesting += 1
        if self._nesting > MAX_NESTING:
            raise TooMuch("texts within texts")
        clean, marks = self._marked(holder, kind, self.masks.in_texts)
        inner = replace(masking, marks=marks) if marks else None
        shown = inner.container(clean, kind, level) if inner else clean
        self._nesting -= 1
        return shown

    def _read(self, text: str, level: int) -> Container | None:
        """The list or object that a text is, all of it; None for one that is none in exactly one reading."""
        content = text.encode()
        limits = JsonLimits(
            max_bytes=len(content),
            max_depth=MAX_LEVELS - level,
            safe_integers=False,
            max_values=max(self._budget.texts, 1),
        )
        value = loads(content, limits)
        if isinstance(value, Refusal) and value.reason in _TOO_LARGE:
            raise TooMuch(f"JSON in a text: {value.reason}")
        return value if isinstance(value, dict | list) else None

    def _lines(self, text: str, masking: Masking, level: int) -> str | None:
        """What becomes of a text each of whose lines is JSON; None where one is not, or nothing has to be done."""
        lines = [line for line in text.split("\n") if line.strip()]
        read = self._read(f"[{','.join(lines)}]", level) if len(lines) > 1 else None
        if (
            not isinstance(read, list)
            or len(read) != len(lines)
            or not all(isinstance(each, dict | list) for each in read)
        ):
            return None
        holders: list[JsonValue] = [{ROOT: each} for each in read]
        shown = self._nested(holders, Kind.PROTOCOL, masking, level)
        if shown is holders or not isinstance(shown, list):
            return None
        # All of them anew: where one ends and the next begins is not to be trusted.
        kept = [each[ROOT] for each in shown if isinstance(each, dict) and ROOT in each]
        return "".join(dumps(each).decode() + "\n" for each in kept)
