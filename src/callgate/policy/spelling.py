"""Names that another parser takes for the one that a rule reads.

Go's encoding/json and .NET's web defaults match names without regard to case, and of several the last one counts; C
strings end at NUL.  A rule that reads `amount` would then see another value than the tool: `{"amount": 80, "Amount":
90000}`.
"""

from collections.abc import Mapping, Sequence
from typing import Final

# Of an object that a rule reads a name of: more than any tool's arguments have, and looked at in 0.1 ms.
MAX_NAMES: Final = 1_000


def misspelt_at(value: object, steps: Sequence[str | int]) -> int | None:
    """The first of `steps` into a JSON value that could be taken for another name there; None where all are plain."""
    for number, step in enumerate(steps):
        if isinstance(value, Mapping) and isinstance(step, str):
            if len(value) > MAX_NAMES or _has_another(value, step):
                return number
            value = value.get(step)
        elif isinstance(value, list) and isinstance(step, int) and 0 <= step < len(value):
            value = value[step]
        else:
            return None
    return None


def _has_another(names: Mapping[str, object], wanted: str) -> bool:
    length, folded = len(wanted), wanted.casefold()
    return any(
        name != wanted and name.partition("\0")[0].casefold() == folded
        for name in names
        # What folds to ASCII letters beside themselves (U+017F, U+212A) is one character, too.
        if len(name) == length or "\0" in name
    )
