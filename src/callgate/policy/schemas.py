"""A tool's `inputSchema` (JSON Schema 2020-12), as far as a policy can be held against it.

Only what certainly restricts is taken: the keywords of a schema hold all together (section 7.7.1), so that `type` and
`enum` bound a value whatever else there is.  A schema that is not understood bounds nothing.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, Self

from callgate.policy.formula import is_plain
from callgate.policy.satisfy import ANYTHING, Domain, Kind, Literally
from callgate.wire.json_strict import JsonObject, JsonValue

# Where properties may be named beside `properties`.
_ELSEWHERE: Final = (
    "$ref", "$dynamicRef", "allOf", "anyOf", "oneOf", "if", "then", "else", "dependentSchemas", "patternProperties",
)  # fmt: skip
_KINDS: Final[Mapping[str, Kind]] = {
    "null": "null",
    "boolean": "bool",
    "integer": "number",
    "number": "number",
    "string": "text",
    "array": "other",
    "object": "other",
}
_MAX_VALUES: Final = 100


@dataclass(frozen=True, slots=True)
class KnownArguments:
    """The arguments of one tool.

    `properties`: those that the schema names.  `is_closed`: no others are taken.  `domains`: what each may be, by its
    path in conditions.
    """

    schema: JsonObject
    properties: Mapping[str, JsonValue]
    is_closed: bool
    domains: Mapping[str, Domain]
    _names_all: bool

    @classmethod
    def of(cls, schema: JsonObject) -> Self:
        """Total: a schema may be anything."""
        found = schema.get("properties")
        properties = found if isinstance(found, dict) else {}
        is_closed = schema.get("additionalProperties") is False
        is_open = not is_closed and "additionalProperties" in schema
        known = is_closed or (isinstance(found, dict) and not is_open)
        names_all = known and not any(keyword in schema for keyword in _ELSEWHERE)
        required = schema.get("required")
        needed = {name for name in required if isinstance(name, str)} if isinstance(required, list) else set()
        domains = {
            f"args.{name}": _domain(of, needed=name in needed) for name, of in properties.items() if is_plain(name)
        }
        return cls(schema, properties, is_closed, domains, names_all)

    def lacks(self, name: str) -> bool:
        """Whether the schema names its arguments, and not this one."""
        return self._names_all and name not in self.properties


def _domain(schema: JsonValue, *, needed: bool) -> Domain:
    if not isinstance(schema, dict):
        return ANYTHING
    values = _values(schema)
    if values is not None:
        return Domain(values=values if needed else (*values, Literally("absent")))
    kinds = _kinds(schema.get("type"))
    if not needed:
        kinds |= {"absent"}
    whole = schema.get("type") == "integer"
    return Domain(kinds, whole=whole, least=_number(schema.get("minimum")), most=_number(schema.get("maximum")))


def _kinds(said: JsonValue) -> frozenset[Kind]:
    names = said if isinstance(said, list) else [said]
    kinds = {_KINDS.get(name) if isinstance(name, str) else None for name in names}
    known = frozenset(kind for kind in kinds if kind is not None)
    return known if len(known) == len(kinds) else ANYTHING.kinds - {"absent"}


def _values(schema: JsonObject) -> tuple[Literally, ...] | None:
    """What `const` and `enum` leave; None where they leave more than can be looked at."""
    said = [schema["const"]] if "const" in schema else schema.get("enum")
    if not isinstance(said, list) or len(said) > _MAX_VALUES:
        return None
    return tuple(map(_literal, said))


def _literal(value: JsonValue) -> Literally:
    match value:
        case None:
            return Literally("null")
        case bool():
            return Literally("bool", value)
        case str():
            return Literally("text", value)
        case int() | float() if math.isfinite(value):
            return Literally("number", Fraction(value))
        case _:
            return Literally("other")


def _number(value: JsonValue) -> Fraction | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return Fraction(value) if is_number and isinstance(value, int | float) else None
