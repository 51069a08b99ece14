"""What a value in a record can be: its JSON Schema, and a word for people.  Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, TypeAlias

import orjson

from callgate.audit.chain import MAX_LINE_BYTES
from callgate.errors import Reason
from callgate.policy.record_level import RecordLevel
from callgate.trace import Stage
from callgate.wire.json_strict import JsonObject, JsonValue

Schema: TypeAlias = JsonObject


@dataclass(frozen=True, slots=True)
class Shape:
    """One form of value.  `fields` are those of an object, or of each object in a list."""

    words: str
    schema: Schema
    fields: tuple["Field", ...] = ()


@dataclass(frozen=True, slots=True)
class Field:
    """One field: what it means, and whether every record of its kind has it."""

    name: str
    shape: Shape
    meaning: str
    always: bool = True


def may(name: str, shape: Shape, meaning: str) -> Field:
    """A field that is left out where it has nothing to say."""
    return Field(name, shape, meaning, always=False)


def optional(fields: Iterable[Field]) -> tuple[Field, ...]:
    """The same fields, of a record that may come without any of them."""
    return tuple(may(field.name, field.shape, field.meaning) for field in fields)


def constant(value: str | int) -> Shape:
    """This value and no other."""
    return Shape(f"`{orjson.dumps(value).decode()}`", {"const": value})


def text(words: str, pattern: str | None = None) -> Shape:
    """A text, and the pattern of all of it."""
    told: Schema = {"type": "string", "maxLength": MAX_LINE_BYTES}
    return Shape(words, {"type": "string", "pattern": f"^(?:{pattern})$"} if pattern else told)


def number(words: str = "number", least: int | None = 0) -> Shape:
    """A whole number, none below `least`."""
    return Shape(words, {"type": "integer", **({} if least is None else {"minimum": least})})


def one_of(values: Iterable[str], words: str = "") -> Shape:
    """One of these words; `words` where they are too many to be listed in a table."""
    known: list[JsonValue] = [str(value) for value in values]
    return Shape(words or " or ".join(f"`{value}`" for value in known), {"type": "string", "enum": known})


def list_of(shape: Shape, words: str = "") -> Shape:
    """A list of such values."""
    return Shape(words or f"list of {shape.words}", {"type": "array", "items": shape.schema}, shape.fields)


def pair(words: str, first: Shape, second: Shape) -> Shape:
    """A list of two."""
    both: list[JsonValue] = [first.schema, second.schema]
    return Shape(words, {"type": "array", "prefixItems": both, "items": False, "minItems": 2})


def nested(*fields: Field) -> Shape:
    """An object with these fields and no others."""
    return Shape("object", object_schema(fields), fields)


def object_schema(fields: Iterable[Field]) -> Schema:
    """The schema of an object with these fields and no others."""
    told = tuple(fields)
    required: list[JsonValue] = [field.name for field in told if field.always]
    properties: JsonObject = {field.name: _described(field) for field in told}
    made: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return {**made, "required": required} if required else made


def _described(field: Field) -> JsonValue:
    return {**field.shape.schema, "description": field.meaning}


_STAGES: Final = "|".join(Stage)
_LEVELS: Final[tuple[RecordLevel, ...]] = ("none", "digest", "full")

NOTHING: Final = constant("")
BOOLEAN: Final = Shape("`true` or `false`", {"type": "boolean"})
TEXT: Final = text("text")
COUNT: Final = number()
HASH: Final = text("SHA-256 in hex", "[0-9a-f]{64}")
ID: Final = text("32 hex digits", "[0-9a-f]{32}")
SHORT_ID: Final = text("16 hex digits", "[0-9a-f]{16}")
DIGEST: Final = text("digest", "sha256:[0-9a-f]{64}")
TIME: Final = text("time", r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{9}Z")
ADDRESS: Final = text("host:port", r"[^\s]+:[0-9]{1,5}")
WORKLOAD: Final = text("SPIFFE ID", "spiffe://[a-z0-9._-]{1,255}(?:/[A-Za-z0-9._-]+)+")
SERVER: Final = text("text", "[a-z0-9][a-z0-9-]{0,62}")
REASON: Final = one_of(Reason, "[reason](reasons.md)")
REASON_OR_NONE: Final = one_of(("", *Reason), '[reason](reasons.md) or `""`')
STAGE: Final = one_of(Stage, "stage")
STEP: Final = text("`stage=outcome`", f"(?:{_STAGES})=(?:ok|(?:refused|failed):[a-z0-9_]+)")
COUNTED: Final = text("`name=count`", "[^=]{1,64}=[1-9][0-9]*")
LEVEL: Final = one_of(_LEVELS)
