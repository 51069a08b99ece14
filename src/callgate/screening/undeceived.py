"""A value without the text in it that lies, and what there was of it."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from callgate.screening.deceptive import find_deceptive, strip_deceptive
from callgate.screening.gathered import SEPARATOR, Gathered, chunks
from callgate.screening.mask import Budget
from callgate.wire.json_strict import JsonObject, JsonValue

# Texts beyond ASCII that are each looked at alone; of more, only those that stand among others with a find.
MAX_ALONE: Final = 2_000
# Marks of direction mislead in one text and not beside another that runs from right to left: never looked at joined.
_MARKS: Final = ("\u200e", "\u200f", "\u061c")


def deceptive_frames(gathered: Gathered, budget: Budget) -> set[int]:
    """The identities of the containers with text that lies, and of those around them.

    Raises TooMuch: each of these texts costs some 100 µs.
    """
    dirty: set[int] = set()
    for index in _deceptive_texts(gathered.texts):
        budget.find()
        gathered.around(gathered.entries[index][1], dirty)
    return dirty


def _deceptive_texts(texts: Sequence[str]) -> Iterator[int]:
    for first, run in chunks(texts):
        joined = SEPARATOR.join(run)
        if joined.isascii():
            if find_deceptive(joined):
                yield from (index for index, text in enumerate(run, first) if find_deceptive(text))
            continue
        yield from (first + index for index in _deceptive_of_run(run, joined))


def _deceptive_of_run(run: Sequence[str], joined: str) -> Iterator[int]:
    others = [index for index, text in enumerate(run) if not text.isascii()]
    if len(others) <= MAX_ALONE or any(mark in joined for mark in _MARKS) or find_deceptive(joined):
        yield from (index for index, text in enumerate(run) if find_deceptive(text))


class Undeceiver:
    """Counts what lies in the dirty containers, and takes it out where `strip` says so.

    `found`: how often, by what it is called.  `changed`: something was taken out.
    """

    def __init__(self, dirty: set[int], *, strip: bool) -> None:
        self._dirty = dirty
        self._strip = strip
        self.found: Counter[str] = Counter()
        self.changed = False

    def value(self, value: JsonValue) -> JsonValue:
        """The same, or another in its place.  Raises TooDeceptive."""
        if isinstance(value, str):
            return self.text(value)
        if id(value) not in self._dirty:
            return value
        if isinstance(value, dict):
            names = Names(value)
            return {names.free(name, self.text(name)): self.value(each) for name, each in value.items()}
        return [self.value(each) for each in value] if isinstance(value, list) else value

    def text(self, text: str) -> str:
        """The same, or what is left of it.  Raises TooDeceptive."""
        found = find_deceptive(text)
        if not found:
            return text
        self.found.update(found)
        stripped = strip_deceptive(text) if self._strip else text
        self.changed = self.changed or stripped != text
        return stripped


class Names:
    """Names for the members of an object, none of them twice.  A name that stays is nobody else's."""

    def __init__(self, members: JsonObject) -> None:
        self._taken = set(members)
        self._last: dict[str, int] = {}

    def free(self, name: str, wanted: str) -> str:
        """What a member is called instead of `name`: `wanted`, or that and the first number that is free."""
        if wanted == name:
            return name
        number, free = self._last.get(wanted, 1), wanted
        while free in self._taken:
            number += 1
            free = f"{wanted}-{number}"
        self._last[wanted] = number
        self._taken.add(free)
        return free
