"""What differs between two definitions of a tool, value by value.  Pure."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from callgate.wire.json_strict import JsonValue

# Of one definition; one that was rewritten is no longer compared step by step.
MAX_CHANGES: Final = 200
# Values that are looked at on each side; the largest definitions in use have some thousands.
_MAX_LOOKS: Final = 100_000
# Of a path; what changed further down is told of where the path is cut.
_MAX_STEPS: Final = 16
# A name that holds no number: what a tool server calls its arguments, and hardly anything else.
_LIKE_A_NAME: Final = re.compile(r"(?!(?:[^0-9]*[0-9]){4})[A-Za-z_$][A-Za-z0-9_.$-]{0,39}")


@dataclass(frozen=True, slots=True)
class Change:
    """One place that differs: `what` is "added", "removed", or "changed" and by how much, without any text.

    `path`: steps from the definition's root; those that do not look like names are `*`.
    """

    path: str
    what: str

    @property
    def words(self) -> str:
        """As in `inputSchema/properties/bcc: added`."""
        return f"{self.path or 'the definition'}: {self.what}"


def changes_between(old: JsonValue, new: JsonValue) -> tuple[Change, ...]:
    """What differs, in the order of the names; at most MAX_CHANGES."""
    found: list[Change] = []
    for change in _Comparing().changes((), old, new):
        found.append(change)
        if len(found) >= MAX_CHANGES:
            break
    return tuple(found)


class _Comparing:
    def __init__(self) -> None:
        self._left = _MAX_LOOKS

    def changes(self, path: tuple[str, ...], old: JsonValue, new: JsonValue) -> Iterator[Change]:
        """What differs from here on down."""
        self._left -= 1
        if _is_same(old, new):
            return
        if self._left > 0 and len(path) < _MAX_STEPS:
            if isinstance(old, dict) and isinstance(new, dict):
                yield from self._of_objects(path, old, new)
                return
            if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
                for index, (one, other) in enumerate(zip(old, new, strict=True)):
                    yield from self.changes((*path, str(index)), one, other)
                return
        yield Change("/".join(path), _changed(old, new))

    def _of_objects(
        self, path: tuple[str, ...], old: dict[str, JsonValue], new: dict[str, JsonValue]
    ) -> Iterator[Change]:
        for name in sorted(old.keys() | new.keys()):
            here = (*path, _shown(name))
            if name not in new:
                yield Change("/".join(here), "removed")
            elif name not in old:
                yield Change("/".join(here), "added")
            else:
                yield from self.changes(here, old[name], new[name])


def _is_same(old: JsonValue, new: JsonValue) -> bool:
    """As JSON has it: true is not 1, and 1.0 is 1."""
    if isinstance(old, bool) or isinstance(new, bool):
        return old is new
    return old == new and not isinstance(old, dict | list)


def _shown(name: str) -> str:
    return name if _LIKE_A_NAME.fullmatch(name) else "*"


def _changed(old: JsonValue, new: JsonValue) -> str:
    if isinstance(old, str) and isinstance(new, str):
        return f"changed ({len(old)} → {len(new)} characters)"
    if isinstance(old, list) and isinstance(new, list):
        return f"changed ({len(old)} → {len(new)} entries)"
    if _kind(old) != _kind(new):
        return f"changed (from {_kind(old)} to {_kind(new)})"
    return "changed"


def _kind(value: JsonValue) -> str:
    if isinstance(value, bool):
        return "true or false"
    if value is None:
        return "null"
    named = {str: "text", int: "a number", float: "a number", list: "a list", dict: "an object"}
    return named[type(value)]
