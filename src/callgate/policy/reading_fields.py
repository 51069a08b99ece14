"""What conditions may ask of arguments that are programs, by function and field."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final

# Of one condition; each may be a statement that takes milliseconds to read.
MAX_READINGS: Final = 8
# Of a field that is a list.  No statement that is made to be read has more; beyond that the field has no value.
MAX_NAMES: Final = 256
# Oracle's and SQL Server's names are the longest: 128 bytes, and 128 characters.
MAX_NAME_CHARACTERS: Final = 128

_BOOLS: Final = {
    "sql": ("writes", "destructive", "schema_change"),
    "shell": ("writes", "network", "privileged", "destructive"),
}
_LISTS: Final = {"sql": ("statements", "tables", "functions", "why"), "shell": ("commands", "why")}
# By function: True for a list of texts, False for true or false.
FIELDS: Final[Mapping[str, Mapping[str, bool]]] = MappingProxyType(
    {name: {**dict.fromkeys(_BOOLS[name], False), **dict.fromkeys(_LISTS[name], True)} for name in _BOOLS}
)


def variables() -> Iterator[tuple[str, bool]]:
    """Each variable that the runtime may be given for a field, and whether it is a list: `sql.r0.tables`."""
    for function, fields in FIELDS.items():
        for number in range(MAX_READINGS):
            yield from ((f"{function}.r{number}.{each}", is_list) for each, is_list in fields.items())
