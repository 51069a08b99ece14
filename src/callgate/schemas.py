"""JSON Schemas (2020-12) of the files that people write, for their editors, and of the records that the gate writes.

They are built from the models that read the files, and refuse nothing that those accept.  The reverse does not hold: a
schema cannot tell whether a server exists or a condition compiles; `callgate check` can.

`$id` is a relative reference (JSON Schema Core, section 8.2.1, takes any URI reference) and so follows the place from
which a schema was read: a copy beside a policy is as good as the published one, and nobody looks for it on a host.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from types import MappingProxyType, UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, JsonValue, TypeAdapter
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from callgate.addresses import Address
from callgate.audit.format import SCHEMA_FILENAME, record_schema
from callgate.config import Config
from callgate.policy.model import PolicyFile
from callgate.policy.scenario import ScenarioFile

Words = Mapping[str, Mapping[str, str]]

_INSIDE: Final[Mapping[Any, str]] = MappingProxyType({tuple: "[]", Mapping: ".<name>"})
_LINK: Final = re.compile(r"\[([^]]*)\]\([^)]*\)")
_AS_FOR_GRANTS: Final = "As for grants."
_OTHER_RULES: Final = re.compile("^(?:denials|packs)")
_SENTENCE_END: Final = re.compile(r"[.;](?:\s|$)")


@dataclass(frozen=True, slots=True)
class FileFormat:
    """One format: the model that reads it, how its schema is named, and what people are told of it.

    `words` names the section of words.yaml that has its keys.
    """

    model: type[BaseModel]
    filename: str
    words: str
    title: str
    description: str


FORMATS: Final[Mapping[str, FileFormat]] = MappingProxyType(
    {
        "config": FileFormat(
            Config,
            "callgate.schema.json",
            "callgate.yaml",
            "callgate configuration",
            "callgate.yaml: where things are. Who may do what stands in the policy that it names.",
        ),
        "policy": FileFormat(
            PolicyFile,
            "policy.schema.json",
            "policy.yaml",
            "callgate policy",
            "Who may do what. What no grant allows is denied, and a denial beats every grant, wherever it stands.",
        ),
        "policy-test": FileFormat(
            ScenarioFile,
            "policy-test.schema.json",
            "policy-test.yaml",
            "callgate policy tests",
            "What a policy should decide, for callgate test.",
        ),
    }
)


# What the gate writes, and not people.
_RECORD: Final = "audit-record"
# Every schema that is published, and its file in docs/reference.
SCHEMAS: Final[Mapping[str, str]] = MappingProxyType(
    {**{name: form.filename for name, form in FORMATS.items()}, _RECORD: SCHEMA_FILENAME}
)


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a format: `path` from the root, as in `servers.<name>.token.ttl`, and the model that has it.

    `inner` is the model of its value, None for a leaf.
    """

    path: str
    name: str
    owner: type[BaseModel]
    field: FieldInfo
    inner: type[BaseModel] | None


def keys_of(model: type[BaseModel], prefix: str = "") -> Iterator[Key]:
    """Every key, each before those inside it."""
    for attribute, field in model.model_fields.items():
        name = field.alias or attribute
        inner = _model_in(field.annotation)
        yield Key(f"{prefix}{name}", name, model, field, inner)
        if inner is not None:
            yield from keys_of(inner, f"{prefix}{name}{_inside(field.annotation)}.")


def _inside(annotation: Any) -> str:  # noqa: ANN401  # annotations have no type of their own
    """What stands between a key and those inside it: `[]` for a list of models, or a list that may be left out."""
    origin = get_origin(annotation)
    if origin in {Annotated, Union, UnionType}:
        return _inside(get_args(annotation)[0])
    return _INSIDE.get(origin, "")


def _model_in(annotation: Any) -> type[BaseModel] | None:  # noqa: ANN401  # annotations have no type of their own
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in {Union, UnionType} and any(map(_is_words, get_args(annotation))):
        # What may be one of some words is told of as one value.
        return None
    return next((found for part in get_args(annotation) if (found := _model_in(part))), None)


def _is_words(annotation: Any) -> bool:  # noqa: ANN401  # annotations have no type of their own
    return get_origin(annotation) is Literal


def read_words() -> Words:
    """What each key is for, by format and path.  Raises ValidationError."""
    text = files("callgate").joinpath("words.yaml").read_text(encoding="utf-8")
    return TypeAdapter(dict[str, dict[str, str]]).validate_python(yaml.safe_load(text))


def schema_text(name: str) -> str:
    """One of SCHEMAS as a file has it.  Raises KeyError."""
    schema = record_schema() if name == _RECORD else schema_of(FORMATS[name])
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def schema_of(form: FileFormat) -> dict[str, JsonValue]:
    """The schema of one format."""
    made = form.model.model_json_schema(schema_generator=_AsWritten)
    definitions = made.get("$defs", {})
    for definition in definitions.values():
        definition.pop("title", None)
        if "description" in definition:
            definition["description"] = _first_sentence(definition["description"])
    _describe(form, {**definitions, form.model.__name__: made})
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": form.filename,
        "title": form.title,
        "description": form.description,
    }
    return {**head, **{key: value for key, value in made.items() if key not in head}}


def _describe(form: FileFormat, definitions: Mapping[str, JsonSchemaValue]) -> None:
    """Put the words to the keys; a model that stands in two places is told of as in the first."""
    words, told = read_words()[form.words], set()
    for key in keys_of(form.model):
        place = (key.owner.__name__, key.name)
        meaning = _with_reason(_own_words(words, key.path), key.field.description)
        # What is refused wherever it stands has no definition.
        if place not in told and meaning and place[0] in definitions:
            told.add(place)
            definitions[place[0]]["properties"][key.name]["description"] = meaning


def _own_words(words: Mapping[str, str], path: str) -> str:
    """In a table a denial's or a pack's key may say "As for grants."; an editor shows one key alone."""
    found = words.get(path, "")
    return words.get(_OTHER_RULES.sub("grants", path), found) if found == _AS_FOR_GRANTS else found


def _with_reason(meaning: str, reason: str | None) -> str:
    found = [_LINK.sub(r"\1", meaning), f"{reason[0].upper()}{reason[1:]}." if reason else ""]
    return " ".join(part for part in found if part)


def _first_sentence(text: str) -> str:
    return f"{_SENTENCE_END.split(text, maxsplit=1)[0]}."


class _AsWritten(GenerateJsonSchema):
    """Values as the file has them: no `null`, which is refused there, and defaults in the file's own form."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        inner = self.generate_inner(schema["schema"])
        default = _as_written(schema.get("default"), is_text=inner.get("type") == "string")
        return inner if default is None else {**inner, "default": default}

    def dict_schema(self, schema: core_schema.DictSchema) -> JsonSchemaValue:
        made = super().dict_schema(schema)
        if "patternProperties" not in made:
            return made
        made.pop("propertyNames", None)
        return {**made, "additionalProperties": False}

    def field_title_should_be_set(self, schema: object) -> bool:  # noqa: ARG002  # pydantic's signature
        return False


def _as_written(default: object, *, is_text: bool) -> JsonValue:
    """None where the default is that there is nothing."""
    if isinstance(default, Address):
        return str(default)
    if isinstance(default, int) and is_text:
        return f"{default}s"
    if isinstance(default, tuple):
        return list(default) or None
    return default if isinstance(default, bool | int | float) or (isinstance(default, str) and default) else None
