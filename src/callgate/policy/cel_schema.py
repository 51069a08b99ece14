"""What a tool's schema says about a condition on its arguments: which of them do not exist, and which cannot be so.

A schema comes from a tool server.  It is read for a linter, never for a decision, and what it says beyond plain types
(`anyOf`, `$ref` to elsewhere, patterns) is taken to allow anything.
"""

from collections.abc import Iterator
from typing import Final, TypeAlias

from callgate.policy.cel_names import GETTERS, OPERATORS, TEXT_FUNCTIONS, VARIABLES
from callgate.policy.cel_paths import Path, find_paths, path_of
from callgate.policy.cel_tree import Apply, Const, Entries, Expr, Items, Loop, Reading, walk
from callgate.wire.json_strict import JsonObject, JsonValue
from callgate.yaml_model import did_you_mean
from callgate.yaml_strict import shown

Fault: TypeAlias = tuple[int, str]

# What JSON Schema calls types, as conditions tell them apart: 5 and 5.0 are one number to JSON.
_KINDS: Final = {
    "string": "text", "integer": "a number", "number": "a number", "boolean": "true or false", "array": "a list",
    "object": "an object", "null": "null",
}  # fmt: skip
_REF: Final = "#/$defs/"
_MAX_REFS: Final = 8
_COMPARISONS: Final = frozenset({"_<_", "_<=_", "_>_", "_>=_"})
_TAKES: Final = {
    "contains": "text", "endsWith": "text", "lowerAscii": "text", "matches": "text", "split": "text",
    "startsWith": "text", "trim": "text", "upperAscii": "text", "_&&_": "true or false", "_||_": "true or false",
    "!_": "true or false",
}  # fmt: skip
_GIVES: Final = {
    "size": "a number", "lowerAscii": "text", "upperAscii": "text", "trim": "text", "string": "text",
    "split": "a list", "int": "a number", "double": "a number", "uint": "a number", "timestamp": "a moment",
    "duration": "a duration", "calls": "a number", "denials": "a number",
    **dict.fromkeys(GETTERS, "a number"),
    **dict.fromkeys(("_&&_", "_||_", "!_", "_==_", "_!=_", "@in", *_COMPARISONS), "true or false"),
    **dict.fromkeys(("contains", "endsWith", "matches", "startsWith", "used", "lockout"), "true or false"),
}  # fmt: skip


def schema_faults(tree: Expr, schema: JsonObject) -> Iterator[Fault]:
    """Where `tree` is at odds with `schema`, the JSON Schema of the tool's arguments; any JSON object will do."""
    reader = _Schema(schema)
    for path in find_paths(tree):
        if path.variable == "args":
            yield from reader.unknown_step(path)
    for node in walk(tree):
        if isinstance(node, Apply):
            yield from reader.misuse(node)
        elif isinstance(node, Reading):
            yield from reader.unreadable(node)


class _Schema:
    """Looks paths up in one schema."""

    def __init__(self, schema: JsonObject) -> None:
        self._root = schema
        definitions = schema.get("$defs")
        self._definitions: JsonObject = definitions if isinstance(definitions, dict) else {}

    def unknown_step(self, path: Path) -> Iterator[Fault]:
        """The first step of `path` that the schema has no place for."""
        at: JsonValue = self._root
        for number, step in enumerate(path.steps):
            schema = self._resolved(at)
            known = schema.get("properties")
            if isinstance(step, str) and isinstance(known, dict) and step not in known and not _is_open(schema):
                owner = Path("args", path.steps[:number], 0).text if number else "the tool"
                what = f"no '{shown(step)}'" if number else f"no argument '{shown(step)}'"
                yield path.offset, f"{owner} has {what}{did_you_mean(step, known)}"
                return
            at = _step_into(schema, step)

    def misuse(self, call: Apply) -> Iterator[Fault]:
        """A use of an argument that its type does not allow."""
        name = call.function
        takes = _TAKES.get(name)
        if takes:
            first_only = name in TEXT_FUNCTIONS
            for operand in call.operands[:1] if first_only else call.operands:
                yield from self._unless(operand, frozenset({takes}), f"'{OPERATORS.get(name, name)}' takes {takes}")
        elif name == "@in":
            yield from self._unless(call.operands[1], frozenset({"a list", "an object"}), "'in' takes a list")
        elif name in {"_==_", "_!=_"} or name in _COMPARISONS:
            yield from self._comparison(call)

    def unreadable(self, node: Reading) -> Iterator[Fault]:
        """An argument that is read as a program, and can be none."""
        takes = frozenset({"text", "a list"})
        yield from self._unless(node.operand, takes, f"{node.text} takes text or a list of texts")

    def _unless(self, operand: Expr, allowed: frozenset[str], words: str) -> Iterator[Fault]:
        path, kinds = path_of(operand), self.kinds(operand)
        if path is not None and path.variable == "args" and kinds and kinds.isdisjoint(allowed):
            yield operand.offset, f"{path.text} is {_either(kinds)}; {words}"

    def _comparison(self, call: Apply) -> Iterator[Fault]:
        one, other = call.operands
        for operand, against in ((one, other), (other, one)):
            path = path_of(operand)
            if path is None or path.variable != "args":
                continue
            kinds, others = self.kinds(operand), self.kinds(against)
            if kinds and others and kinds.isdisjoint(others) and others != {"null"}:
                yield operand.offset, f"{path.text} is {_either(kinds)}, and is compared with {_either(others)}"
                return
            if isinstance(against, Const) and call.function not in _COMPARISONS:
                yield from self._never(path, operand.offset, against)

    def _never(self, path: Path, offset: int, const: Const) -> Iterator[Fault]:
        schema = self._at(path)
        values = schema.get("enum") if "enum" in schema else [schema["const"]] if "const" in schema else None
        if not isinstance(values, list) or const.value is None or any(_is_same(value, const) for value in values):
            return
        near = ""
        if isinstance(const.value, str):
            near = did_you_mean(const.value, [value for value in values if isinstance(value, str)])
        yield offset, f"{path.text} is never {shown(str(const.value))!r}{near}"

    def kinds(self, node: Expr) -> frozenset[str]:
        """What types `node` can have; nothing where that is not known."""
        path = path_of(node)
        if path is not None:
            if path.variable == "args":
                return _kinds_of(self._at(path))
            return frozenset() if path.steps else _of_variable(path.variable)
        match node:
            case Const():
                kind = _of_const(node)
            case Apply():
                kind = _GIVES.get(node.function, "")
            case Reading():
                kind = "a list" if node.is_list else "true or false"
            case Entries():
                kind = "an object"
            case Items() | Loop(start=Items()):
                kind = "a list"
            case Loop():
                kind = "true or false"
            case _:
                kind = ""
        return frozenset({kind} if kind else ())

    def _at(self, path: Path) -> JsonObject:
        at: JsonValue = self._root
        for step in path.steps:
            at = _step_into(self._resolved(at), step)
        return self._resolved(at)

    def _resolved(self, schema: JsonValue) -> JsonObject:
        for _ in range(_MAX_REFS):
            if not isinstance(schema, dict):
                return {}
            reference = schema.get("$ref")
            if reference is None:
                return schema
            if not isinstance(reference, str) or not reference.startswith(_REF):
                return {}
            schema = self._definitions.get(reference.removeprefix(_REF))
        return {}


def _step_into(schema: JsonObject, step: str | int) -> JsonValue:
    if isinstance(step, int):
        return schema.get("items")
    known = schema.get("properties")
    return known.get(step) if isinstance(known, dict) else None


def _is_open(schema: JsonObject) -> bool:
    """Whether an object may have members beside its `properties`, and somebody meant it.

    JSON Schema allows them wherever nothing forbids them; a tool that has a use for them says so.
    """
    said = schema.get("additionalProperties")
    others = {"patternProperties", "anyOf", "oneOf", "allOf", "if", "dependentSchemas", "$dynamicRef"}
    return said is True or isinstance(said, dict) or not others.isdisjoint(schema)


def _kinds_of(schema: JsonObject) -> frozenset[str]:
    said = schema.get("type")
    names = said if isinstance(said, list) else [said]
    kinds = [_KINDS.get(name) if isinstance(name, str) else None for name in names]
    return frozenset(kind for kind in kinds if kind) if all(kinds) else frozenset()


def _of_variable(name: str) -> frozenset[str]:
    kind = str(VARIABLES[name].name()).partition("<")[0]
    words = {
        "STRING": "text", "INT": "a number", "BOOL": "true or false", "LIST": "a list", "MAP": "an object",
        "DURATION": "a duration", "TIMESTAMP": "a moment",
    }  # fmt: skip
    return frozenset({words[kind]}) if kind in words else frozenset()


def _of_const(const: Const) -> str:
    match const.value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case str():
            return "text"
        case bytes():
            return "bytes"
        case _:
            return "a number"


def _is_same(value: JsonValue, const: Const) -> bool:
    return value == const.value and isinstance(value, bool) == isinstance(const.value, bool)


def _either(kinds: frozenset[str]) -> str:
    return " or ".join(sorted(kinds))
