"""Why an expression could not be evaluated, in words of its author.

What the runtime says of an error may hold what a caller sent (`Key not found in map : …`): only how it begins is looked
at, and nothing of it is passed on.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from callgate.policy.cel_inputs import absent_words
from callgate.policy.cel_names import OPEN_VARIABLES
from callgate.policy.cel_paths import Missing, Path

NOT_BOOLEAN: Final = "is not true or false"
NO_ROUNDS_LEFT: Final = "budget exceeded: more than 10000 rounds of its loops"
NOT_EVALUATED: Final = "it cannot be evaluated"

_ABSENT_VARIABLE: Final = "No value with name"
_NOT_THERE: Final = ("Key not found", "no such key", "Applying SELECT", "Index error", "index out of")
_WRONG_TYPE: Final = "No matching overloads"
_FIXED: Final = (
    ("divide by zero", "a division by zero"),
    ("modulus by zero", "a division by zero"),
    ("integer overflow", "a number is too large to reckon with"),
    ("cannot convert", "a text is not what it should be turned into"),
    ("String to ", "a text is not what it should be turned into"),
)
# More types would bury the one that matters.
_MAX_TYPES: Final = 3


@dataclass(frozen=True, slots=True)
class Unanswered:
    """What had no answer.

    `history`: why a question about it had none, "" where all had one.  `readings`: why an argument could not be read, by
    the variables that miss.
    """

    history: str
    readings: Mapping[str, str]


def why_failed(error: str, paths: tuple[Path, ...], inputs: Mapping[str, object], unanswered: Unanswered) -> str:
    """Why an evaluation of something that reads `paths` ended in `error`."""
    said = error.partition(": ")[2]
    if said.startswith(_ABSENT_VARIABLE):
        for name, why in unanswered.readings.items():
            if f'"{name}"' in said:
                return why
        return next((absent_words(path.variable) for path in paths if path.variable not in inputs), NOT_EVALUATED)
    if said.startswith(_NOT_THERE):
        return _first_missing(paths, inputs) or "something that it asks for is not there"
    if said.startswith(_WRONG_TYPE):
        return _types(paths, inputs)
    return next((words for begin, words in _FIXED if said.startswith(begin)), unanswered.history or NOT_EVALUATED)


def _first_missing(paths: tuple[Path, ...], inputs: Mapping[str, object]) -> str:
    for path in paths:
        found = path.of(inputs[path.variable]) if path.variable in inputs else None
        if isinstance(found, Missing):
            return found.why
    return ""


def _types(paths: tuple[Path, ...], inputs: Mapping[str, object]) -> str:
    found = []
    for path in paths:
        if path.variable in OPEN_VARIABLES and path.variable in inputs and not path.is_whole:
            value = path.of(inputs[path.variable])
            if not isinstance(value, Missing):
                found.append(f"{path.text} is {kind_of(value)}")
    said = ", ".join(dict.fromkeys(found[:_MAX_TYPES]))
    return "a value has another type than it must have" + (f": {said}" if said else "")


def kind_of(value: object) -> str:
    """The type of a value, as an author calls it."""
    if value is None:
        return "null"
    for kind, words in _KINDS:
        if isinstance(value, kind):
            return words
    return "something else"


_KINDS: Final[tuple[tuple[type, str], ...]] = (
    (bool, "true or false"),
    (int, "a whole number"),
    (float, "a number"),
    (str, "text"),
    (list, "a list"),
    (Mapping, "an object"),
    (datetime, "a moment"),
    (timedelta, "a duration"),
)
