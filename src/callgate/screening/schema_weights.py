"""What it costs a validator to look at one value with one subschema, measured, in units of 10 to 25 ns.  Pure."""

from typing import Final

from callgate.wire.json_strict import JsonObject, JsonValue

# What costs nothing beside the look at a value.
_FREE: Final = frozenset(
    {
        "$anchor", "$comment", "$defs", "$dynamicAnchor", "$id", "$schema", "$vocabulary", "definitions", "deprecated",
        "default", "description", "example", "examples", "format", "id", "readOnly", "title", "type", "writeOnly",
    }
)  # fmt: skip
# 1 for any other keyword.
_KEYWORDS: Final = {"properties": 2, "pattern": 4, "patternProperties": 4, "anyOf": 4, "oneOf": 4, "multipleOf": 50}
_BRANCHING: Final = frozenset({"allOf", "anyOf", "oneOf"})
_BRANCH: Final = 3
# Divisions by fractions are made with numbers of any length.
_FRACTION: Final = 800
# Of each value in an option: among texts and integers one is looked up, others are compared one by one.
_COMPARED: Final = 16
_COMPARED_FRACTION: Final = 60
# Of one character of encoded content, as of a pattern of so many states.
_CONTENT_STATES: Final = 16


def weight_of(schema: JsonObject) -> int:
    """The units of one look, without what other subschemas do."""
    found = 1
    for keyword, said in schema.items():
        if keyword not in _FREE:
            found += _KEYWORDS.get(keyword, 1) + _more(keyword, said)
    return found


def content_states_of(schema: JsonObject) -> int:
    """For encoded content, which drafts 6 and 7 check."""
    return _CONTENT_STATES * (("contentMediaType" in schema) + ("contentEncoding" in schema))


def _more(keyword: str, said: JsonValue) -> int:
    """What depends on how much is said."""
    match keyword:
        case "enum":
            return _compared(_list(said))
        case "const":
            return _compared([said])
        case "required":
            return len(_list(said))
        case "dependentRequired" | "dependentSchemas" | "dependencies":
            return sum(1 + len(_list(each)) for each in said.values()) if isinstance(said, dict) else 0
        case "multipleOf":
            return _FRACTION if isinstance(said, float) else 0
        case _:
            return _BRANCH * len(_list(said)) if keyword in _BRANCHING else 0


def _compared(options: list[JsonValue]) -> int:
    if all(isinstance(each, str | int | None) for each in options):
        return len(options)
    containers, found = list(options), 0
    for each in containers:
        found += _COMPARED_FRACTION if isinstance(each, float) else _COMPARED
        if isinstance(each, dict):
            containers.extend(each.values())
        elif isinstance(each, list):
            containers.extend(each)
    return found


def _list(said: JsonValue) -> list[JsonValue]:
    return said if isinstance(said, list) else []
