r"""How large a value is, for a bound on what an expression over it may cost.

The runtime takes any value in, and some not as they are: a text ends for it at its first NUL character, so that
"/srv/a\0/../b" equals "/srv/a" there, and a list 10 000 levels deep ends the process.  What it cannot take as it is
does not get there.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Final, TypeAlias

from callgate.policy.reading_fields import MAX_NAME_CHARACTERS, MAX_NAMES

# (entries of a list or map, bytes of a value with all that is in it)
Level: TypeAlias = tuple[int, int]

# What a number takes, and what an entry takes beside its text.
VALUE_BYTES: Final = 16
# A character is up to four bytes of UTF-8.
_CHARACTER_BYTES: Final = 4
# As in requests (`callgate.wire.json_strict`): more than any tool's arguments have.
MAX_DEPTH: Final = 64
# Keys of maps are not counted.  A value takes up to 400 ns to convert, and a list or map 2 us to look at here.
MAX_VALUES: Final = 10_000
# Steps of `cel_cost`, to convert a value, an entry of a map, and text.
_STEPS_OF_VALUE: Final = 2
_STEPS_OF_ENTRY: Final = 6
_BYTES_OF_STEP: Final = 512
_MIN_INTEGER: Final = -(2**63)
_MAX_INTEGER: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Extent:
    """Bounds on a value (level 0), on the values directly in it (level 1), and so on.

    Keys of a map are values in it.
    """

    levels: tuple[Level, ...]

    @property
    def entries(self) -> int:
        """How many entries a list or map has; 0 for anything else."""
        return self.levels[0][0]

    @property
    def bytes(self) -> int:
        """All of it."""
        return self.levels[0][1]

    @property
    def inner(self) -> "Extent":
        """Any value in it."""
        return Extent(self.levels[1:]) if len(self.levels) > 1 else NOTHING

    def within(self, other: "Extent") -> bool:
        """Whether `other` bounds this, too."""
        return len(self.levels) <= len(other.levels) and all(
            mine[0] <= theirs[0] and mine[1] <= theirs[1]
            for mine, theirs in zip(self.levels, other.levels, strict=False)
        )


NOTHING: Final = Extent(((0, 0),))
SCALAR: Final = Extent(((0, VALUE_BYTES),))
# Most arguments are no larger, so that for most calls a bound can be found when the condition is compiled.
SMALL: Final = Extent(((32, 4_096),) * 6)
_SMALL_CHARACTERS: Final = 1_000
# What a field of a reading (`reading_fields`) is at most, of characters of four bytes each.
_NAME: Final = VALUE_BYTES + _CHARACTER_BYTES * MAX_NAME_CHARACTERS
NAMES: Final = Extent(((MAX_NAMES, VALUE_BYTES + MAX_NAMES * _NAME), (0, _NAME)))
# Of short texts, as paths, groups and tags are: 32 x (16 + 4 x 28) bytes are 4 096.
_SMALL_TEXTS: Final = 32
_SHORT_CHARACTERS: Final = 28


def joined(one: Extent, other: Extent) -> Extent:
    """What bounds both."""
    longer, shorter = (one, other) if len(one.levels) >= len(other.levels) else (other, one)
    both = tuple((max(a[0], b[0]), max(a[1], b[1])) for a, b in zip(longer.levels, shorter.levels, strict=False))
    return Extent(both + longer.levels[len(shorter.levels) :])


def around(entries: int, total_bytes: int, inner: Extent) -> Extent:
    """A list or map of so many entries, each within `inner`."""
    return Extent(((entries, total_bytes + VALUE_BYTES), *inner.levels))


def text_extent(text: str) -> Extent:
    """That of a text."""
    return Extent(((0, _text_bytes(text)),))


def is_small(value: object) -> bool:
    """Whether `value` is plainly within SMALL, and the runtime can take it in.  False says nothing."""
    match value:
        case str():
            return len(value) <= _SMALL_CHARACTERS and "\0" not in value
        case bool() | None:
            return True
        case int():
            return _MIN_INTEGER <= value <= _MAX_INTEGER
        case float():
            return isfinite(value)
        case list() if len(value) < _SMALL_TEXTS:
            return all(type(text) is str and len(text) <= _SHORT_CHARACTERS and "\0" not in text for text in value)
        case _:
            return False


class _Unfit(ValueError):  # noqa: N818  # says what it is
    """The runtime cannot take a value in as it is."""


def _text_bytes(text: str) -> int:
    return VALUE_BYTES + (len(text) if text.isascii() else _CHARACTER_BYTES * len(text))


def _check_leaf(value: object) -> int:
    """How many bytes a value takes that has none in it.  Raises _Unfit."""
    if isinstance(value, str):
        if "\0" in value:
            raise _Unfit("has text with a NUL character")
        return _text_bytes(value)
    if isinstance(value, float):
        if not isfinite(value):
            raise _Unfit("has a number that is none")
    elif isinstance(value, int):
        if not _MIN_INTEGER <= value <= _MAX_INTEGER:
            raise _Unfit("has a whole number of more than 64 bits")
    elif value is not None:
        raise _Unfit("has a value that is not JSON")
    return VALUE_BYTES


@dataclass(slots=True)
class Ruler:
    """Measures the values that one evaluation takes in; `values` and `steps` are of all of them together.

    It gives up beyond `max_steps`: to measure takes as long as to convert.
    """

    max_steps: int
    values: int = 0
    # What it costs to convert them, in the unit of cel_cost.
    steps: int = 0

    def measure(self, value: object) -> Extent | str:
        """The extent of a JSON value; a text with what is wrong where the runtime cannot take it in."""
        levels: list[Level] = []
        try:
            self._measure(value, 0, levels)
        except _Unfit as unfit:
            return str(unfit)
        return Extent(tuple(levels))

    def _measure(self, value: object, depth: int, levels: list[Level]) -> int:
        """How many bytes `value` takes; `levels` are raised to hold it."""
        if isinstance(value, list):
            self._count(len(value), _STEPS_OF_VALUE)
            self._raise_level(depth, (len(value), VALUE_BYTES), levels)
            size = VALUE_BYTES + self._sum(value, depth + 1, levels)
        elif isinstance(value, Mapping):
            self._count(len(value), _STEPS_OF_ENTRY)
            if not {*map(type, value)} <= {str}:
                raise _Unfit("has a value that is not JSON")
            self._raise_level(depth, (len(value), VALUE_BYTES), levels)
            size = VALUE_BYTES + self._sum(value, depth + 1, levels) + self._sum(value.values(), depth + 1, levels)
        else:
            size = _check_leaf(value)
            self._spend(size // _BYTES_OF_STEP)
        self._raise_level(depth, (0, size), levels)
        return size

    def _count(self, values: int, steps: int) -> None:
        self.values += values
        self._spend(steps * values)
        if self.values > MAX_VALUES:
            raise _Unfit(f"has more than {MAX_VALUES} values")

    def _spend(self, steps: int) -> None:
        self.steps += steps
        if self.steps > self.max_steps:
            raise _Unfit(f"takes more steps to look at than the budget has: the limit is {self.max_steps}")

    def _sum(self, values: Collection[object], depth: int, levels: list[Level]) -> int:
        total = largest = 0
        for value in values:
            if value and isinstance(value, list | dict):
                total += self._measure(value, depth, levels)
            else:
                size = VALUE_BYTES if isinstance(value, list | dict) else _check_leaf(value)
                largest = max(largest, size)
                total += size
        if largest:
            self._raise_level(depth, (0, largest), levels)
        self._spend(total // _BYTES_OF_STEP)
        return total

    def _raise_level(self, depth: int, level: Level, levels: list[Level]) -> None:
        if depth == len(levels):
            if depth == MAX_DEPTH:
                raise _Unfit(f"is nested more than {MAX_DEPTH} levels deep")
            levels.append(level)
        known = levels[depth]
        if level[0] > known[0] or level[1] > known[1]:
            levels[depth] = (max(known[0], level[0]), max(known[1], level[1]))
