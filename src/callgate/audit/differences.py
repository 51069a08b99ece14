"""Where two JSON values differ, by the path to each place.  Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, zip_longest
from typing import Final, TypeAlias

from callgate.wire.json_strict import JsonValue

# What a person reads of one answer.
MAX_DIFFERENCES: Final = 50
# As deep as messages may be (`wire.json_strict`, JsonLimits), and some.
_MAX_DEPTH: Final = 100


class Nothing:
    """What stands where one of the two has no value; not null, which is one."""


NOTHING: Final = Nothing()
Side: TypeAlias = JsonValue | Nothing


@dataclass(frozen=True, slots=True)
class Difference:
    """`path` is a JSONPath in its normal form but for plain names: `$.result.content[0].text`."""

    path: str
    before: Side
    after: Side


def differences(before: JsonValue, after: JsonValue) -> Sequence[Difference]:
    """The first MAX_DIFFERENCES places, in the order of `before`; numbers are equal where JSON's are (1 and 1.0)."""
    return tuple(islice(_differences("$", before, after, 0), MAX_DIFFERENCES))


def _differences(path: str, before: Side, after: Side, depth: int) -> Iterator[Difference]:
    if isinstance(before, dict) and isinstance(after, dict) and depth < _MAX_DEPTH:
        for name in dict.fromkeys([*before, *after]):
            inner = before.get(name, NOTHING), after.get(name, NOTHING)
            yield from _differences(f"{path}{_member(name)}", *inner, depth + 1)
    elif isinstance(before, list) and isinstance(after, list) and depth < _MAX_DEPTH:
        for index, (left, right) in enumerate(zip_longest(before, after, fillvalue=NOTHING)):
            yield from _differences(f"{path}[{index}]", left, right, depth + 1)
    elif not _equal(before, after):
        yield Difference(path, before, after)


def _equal(before: Side, after: Side) -> bool:
    # To Python, True is 1.
    return before == after and isinstance(before, bool) == isinstance(after, bool)


def _member(name: str) -> str:
    if name.isidentifier() and name.isascii():
        return f".{name}"
    # RFC 9535, section 2.7: normalized paths quote names in apostrophes.
    escaped = name.replace("\\", "\\\\").replace("'", "\\'")
    return f"['{escaped}']"
