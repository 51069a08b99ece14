"""Where in one value something has to be done, and what: the detectors, run over everything that was gathered."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from callgate.screening.gathered import SEPARATOR, Gathered, Step, chunks, finds
from callgate.screening.mask import Budget, Masked, Span, strictest
from callgate.screening.masks import Finder, Masks, Pointer
from callgate.screening.mcp_places import ROOT
from callgate.wire.json_strict import JsonValue

JSON_TEXT: Final = re.compile(r"\s*[\[{]")
ANY_STEP: Final = "*"
_INDEX: Final = re.compile("0|[1-9][0-9]{0,8}")
# Numbers that are written otherwise than people write them: 4.2e15, 219465028.0.
_ODD_NUMBER: Final = re.compile(r"(?<=[0-9])(?:[eE][+-]?[0-9]|\.0++(?![0-9]))")

Place: TypeAlias = tuple[int, Step]


@dataclass(slots=True)
class Marks:
    """By the identity of a container and the step in it.  A place without spans is one to be looked into.

    `dirty`: the containers that are not left as they are, and those around them.
    """

    dirty: set[int] = field(default_factory=set)
    values: dict[Place, list[Span]] = field(default_factory=dict)
    names: dict[Place, list[Span]] = field(default_factory=dict)
    wholes: dict[Place, Masked] = field(default_factory=dict)


class Marker:
    """Marks one gathered value.  `pointers`: those that begin at its roots."""

    def __init__(self, gathered: Gathered, masks: Masks, pointers: Sequence[Pointer], budget: Budget) -> None:
        self._gathered = gathered
        self._masks = masks
        self._pointers = pointers
        self._budget = budget
        self._marks = Marks()

    def mark(self) -> Marks:
        """All marks.  Raises TooMuch, and whatever a detector raises."""
        gathered, masks = self._gathered, self._masks
        if masks.entities is not None:
            for index, found in finds(gathered.texts, masks.entities.find):
                self._found(index, found.start, found.end, masks.modes[found.name])
        if masks.patterns is not None:
            self._mark_patterns(masks.patterns)
        for index in self._to_be_read() if masks else ():
            self._budget.find()
            self._spans(self._marks.values, index)
        for owner in gathered.roots if self._pointers else ():
            for pointer in self._pointers:
                self._point(owner, pointer)
        for index in (*gathered.keyed, *gathered.encoded):
            gathered.around(index, self._marks.dirty)
        return self._marks

    def _mark_patterns(self, patterns: Finder) -> None:
        """Own patterns see each text alone, and no name in front of it: they may say where it begins and ends."""
        entries = self._gathered.entries
        alone = [(index, text[head:]) for index, (text, _, _, head) in enumerate(entries) if head >= 0]
        names = [(index, step) for index, (_, _, step, head) in enumerate(entries) if head and isinstance(step, str)]
        for spans, texts in ((self._marks.values, alone), (self._marks.names, names)):
            for index, text in texts if self._masks.are_anchored else _suspected(texts, patterns):
                for found in patterns.find(text):
                    self._budget.find()
                    self._spans(spans, index).append(Span(found.start, found.end, self._masks.modes[found.name]))

    def _found(self, index: int, start: int, end: int, masked: Masked) -> None:
        """A find in a text, in the name that stands in front of it, or in both."""
        self._budget.find()
        _, _, step, head = self._gathered.entries[index]
        if isinstance(step, str):
            name_end = len(step) if head < 0 else head - 2
            before = name_end - len(step)
            if start < name_end and end > before:
                name = Span(max(0, start - before), min(end, name_end) - before, masked)
                self._spans(self._marks.names, index).append(name)
        if 0 <= head < end:
            self._spans(self._marks.values, index).append(Span(max(0, start - head), end - head, masked))

    def _spans(self, places: dict[Place, list[Span]], index: int) -> list[Span]:
        _, owner, step, _ = self._gathered.entries[index]
        self._gathered.around(owner, self._marks.dirty)
        return places.setdefault((id(self._gathered.frames[owner][0]), step), [])

    def _to_be_read(self) -> Iterator[int]:
        """The texts that have to be looked into: with names of rules, or JSON that hides or that rules are about."""
        words, entries = self._masks.words, self._gathered.entries
        if words is not None:
            for first, run in chunks(self._gathered.texts):
                if words.occur(SEPARATOR.join(run)):
                    yield from (i for i, text in enumerate(run, first) if entries[i][3] >= 0 and words.occur(text))
        for index, (text, _, _, head) in enumerate(entries):
            if head >= 0 and JSON_TEXT.match(text, head) and self._is_telling(text):
                yield index

    def _is_telling(self, text: str) -> bool:
        births = self._masks.birth_words
        if self._masks.pointers or "\\" in text or _ODD_NUMBER.search(text):
            return True
        return births is not None and births.occur(text)

    def _point(self, owner: int, pointer: Pointer) -> None:
        """Mark all places that a pointer reaches; a `*` reaches no more of them than there are."""
        holder = self._gathered.frames[owner][0]
        places: list[tuple[JsonValue, Step]] = [(holder, ROOT)]
        for step in pointer.steps:
            places = [inner for container, at in places for inner in _steps_into(_at(container, at), step)]
        for container, at in places:
            place = (id(container), at)
            known = self._marks.wholes.get(place)
            self._marks.wholes[place] = strictest((known, pointer.masked)) if known else pointer.masked
            self._budget.find()
        self._soil_around(places)

    def _soil_around(self, places: Sequence[tuple[JsonValue, Step]]) -> None:
        wanted = {id(container) for container, _ in places}
        for index, (container, *_) in enumerate(self._gathered.frames) if wanted else ():
            if id(container) in wanted:
                self._gathered.around(index, self._marks.dirty)


def _suspected(texts: Sequence[tuple[int, str]], patterns: Finder) -> Iterator[tuple[int, str]]:
    """The texts of those runs in which something is found; a find in a text is one in the run that holds it too."""
    for first, run in chunks([text for _, text in texts]):
        if patterns.find("\n".join(run)):
            yield from texts[first : first + len(run)]


def _at(container: JsonValue, step: Step) -> JsonValue:
    if isinstance(container, dict):
        return container.get(str(step))
    return container[int(step)] if isinstance(container, list) else None


def _steps_into(value: JsonValue, step: str) -> list[tuple[JsonValue, Step]]:
    """RFC 6901, section 4: the member of that name, or the entry of that index without leading zeros."""
    if isinstance(value, dict):
        return [(value, name) for name in value] if step == ANY_STEP else [(value, step)] if step in value else []
    if isinstance(value, list):
        if step == ANY_STEP:
            return [(value, index) for index in range(len(value))]
        if _INDEX.fullmatch(step) and int(step) < len(value):
            return [(value, int(step))]
    return []
