"""A YAML file read into a pydantic model, with every mistake told at once, in words, where it stands.

Pydantic says what is wrong in terms of Python; people who write a policy are told in terms of their file: "unknown key
'tool'; did you mean 'tools'?".
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from types import UnionType
from typing import Annotated, Any, Final, Generic, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, JsonValue, Strict, ValidationError, WithJsonSchema
from pydantic_core import ErrorDetails

from callgate.yaml_strict import (
    DEFAULT_LIMITS,
    Document,
    Problem,
    YamlLimits,
    YamlPath,
    YamlValue,
    scan,
    shown,
)

_T = TypeVar("_T")
_DURATION: Final = re.compile(r"([1-9][0-9]{0,6})(s|m|h)")
_LONG_DURATION: Final = re.compile(r"([1-9][0-9]{0,6})(s|m|h|d)")
_UNIT_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 24 * 3600}


class StrictModel(BaseModel):
    """What every part of our files is: frozen, unknown keys refused, no value turned into another type."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


M = TypeVar("M", bound=StrictModel)

# YAML has lists; a frozen model holds tuples.  The entries are as strict as ever.
Items = Annotated[tuple[_T, ...], Strict(False)]


def text_form(pattern: str, *examples: str, **more: JsonValue) -> WithJsonSchema:
    """What the JSON Schema says of a value that the file has as text: the form of all of it, and examples.

    The pattern is for editors and refuses nothing that the reading does not refuse; it keeps to what Python and ECMA-262
    read alike.  `more` are further keywords.
    """
    told: dict[str, JsonValue] = {"type": "string", "pattern": f"^(?:{pattern})$", **more}
    return WithJsonSchema({**told, "examples": list(examples)} if examples else told)


def _seconds(value: object) -> int:
    found = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError("must be a duration such as '10s', '5m' or '8h'")
    return int(found[1]) * _UNIT_S[found[2]]


def _long_seconds(value: object) -> int:
    found = _LONG_DURATION.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError("must be a duration such as '12h' or '90d'")
    return int(found[1]) * _UNIT_S[found[2]]


def seconds_from_zero(value: object) -> int:
    """`0s`, or what `Seconds` reads.  Raises ValueError."""
    return 0 if value == "0s" else _seconds(value)


# Written `10s`, `5m` or `8h`; whole seconds in Python.
Seconds = Annotated[int, BeforeValidator(_seconds), text_form(_DURATION.pattern, "10s", "5m", "8h")]
# Also `90d`, for how long things are kept: 24 h each, whatever the clocks of a place do.
LongSeconds = Annotated[int, BeforeValidator(_long_seconds), text_form(_LONG_DURATION.pattern, "12h", "90d")]


@dataclass(frozen=True, slots=True)
class IfMissing:
    """Put to a required key by `Annotated`: what people are told beside that it is missing."""

    words: str


@dataclass(frozen=True, slots=True)
class Written(Generic[M]):
    """What a file says, and where each part of it stands."""

    value: M
    document: Document


def read_model(
    text: str,
    filename: str,
    model: type[M],
    cross_check: Callable[[Document], Iterable[Problem]] = lambda _: (),
    limits: YamlLimits = DEFAULT_LIMITS,
) -> M | tuple[Problem, ...]:
    """Read `text` as a `model`, or say all that is wrong with it; see `read_written`."""
    found = read_written(text, filename, model, cross_check, limits)
    return found.value if isinstance(found, Written) else found


def read_written(
    text: str,
    filename: str,
    model: type[M],
    cross_check: Callable[[Document], Iterable[Problem]] = lambda _: (),
    limits: YamlLimits = DEFAULT_LIMITS,
    *,
    free: frozenset[str] = frozenset(),
) -> Written[M] | tuple[Problem, ...]:
    """Read `text` as a `model`, or say all that is wrong with it, in the order of the file.

    `cross_check` looks at what one field alone cannot tell.  It is given a document that may be of any shape, because
    it is asked even where the model has been refused.  Within the keys of `free`, which hold JSON of somebody else's,
    an empty value is `null`.
    """
    document, problems = scan(text, filename, limits)
    if document is None:
        return problems
    # A line that is not acceptable YAML may break the model only for that reason: its first fault is told alone.
    told = {problem.line for problem in problems}
    found = [*_empty_values(document, free), *cross_check(document)]
    value: M | None = None
    try:
        value = model.model_validate(document.value)
    except ValidationError as error:
        found += problems_of(error, document, model)
    problems += tuple(problem for problem in found if problem.line not in told)
    if problems or value is None:
        return tuple(sorted(set(problems), key=lambda problem: (problem.line, problem.column, problem.message)))
    return Written(value, document)


def _empty_values(document: Document, free: frozenset[str]) -> Iterator[Problem]:
    """A key without a value says nothing, and is read as if it said something: `workloads:` is not "no workloads"."""
    rest: list[tuple[YamlPath, YamlValue]] = [((), document.value)]
    while rest:
        path, value = rest.pop()
        if value is None:
            yield document.problem(path, f"{_name(path)} is empty; give it a value or leave it out")
        elif path and path[-1] in free:
            continue
        elif isinstance(value, dict):
            rest += [((*path, key), inner) for key, inner in value.items()]
        elif isinstance(value, list):
            rest += [((*path, index), inner) for index, inner in enumerate(value)]


def problems_of(error: ValidationError, document: Document, model: type[BaseModel]) -> tuple[Problem, ...]:
    """What pydantic found, in the words and places of the file."""
    details = error.errors(include_url=False)
    return tuple(_problem(found, document, model) for found in details if not _is_told_already(found))


def _is_told_already(details: ErrorDetails) -> bool:
    kind, given = details["type"], details["input"]
    return (
        # The value is empty.
        given is None
        # A default that depends on another field, and that field is wrong.
        or kind == "default_factory_not_called"
        # Pydantic counts the entries that are right.
        or (kind == "too_short" and len(given) > 0)
    )


def _problem(details: ErrorDetails, document: Document, model: type[BaseModel]) -> Problem:
    # Pydantic marks an error in a mapping's key by a last step "[key]".
    is_key = details["loc"][-1:] == ("[key]",)
    path: YamlPath = details["loc"][:-1] if is_key else details["loc"]
    on_key = is_key or details["type"] in {"extra_forbidden", "missing"}
    place = document.key_position_of(path) if on_key else document.position_of(path)
    return Problem(document.file, *place, _message(details, path, model))


def _message(details: ErrorDetails, path: YamlPath, model: type[BaseModel]) -> str:
    if details["type"] == "extra_forbidden":
        return _unknown_key(str(path[-1]), _model_at(model, path[:-1]))
    if details["type"] == "missing":
        return f"key '{path[-1]}' is missing{_in(path[:-1])}{_advice(str(path[-1]), _model_at(model, path[:-1]))}"
    return f"{_name(path)} {_words(details)}"


def _advice(key: str, model: type[BaseModel] | None) -> str:
    fields = model.model_fields if model else {}
    told = [found.words for found in fields[key].metadata if isinstance(found, IfMissing)] if key in fields else []
    return f"; {told[0]}" if told else ""


def _unknown_key(key: str, model: type[BaseModel] | None) -> str:
    known = [field.alias or name for name, field in model.model_fields.items()] if model else []
    return f"unknown key '{shown(key)}'{did_you_mean(key, known)}"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'tools'?`, or "" where nothing is near."""
    near = get_close_matches(word[:100], known, n=1)
    return f"; did you mean '{near[0]}'?" if near else ""


def _name(path: YamlPath) -> str:
    """`ttl`, `tools[2]`, or `the file`."""
    for index in range(len(path) - 1, -1, -1):
        if isinstance(path[index], str):
            return f"{shown(str(path[index]))}{''.join(f'[{step}]' for step in path[index + 1 :])}"
    return "the file"


def _in(path: YamlPath) -> str:
    return f" in {_name(path)}" if path else ""


def _words(details: ErrorDetails) -> str:  # noqa: PLR0911  # a table with computed entries
    context, given = details.get("ctx", {}), details["input"]
    match details["type"]:
        case kind if kind in _KINDS:
            return f"must be {_KINDS[kind]}, {_not(given)}"
        case "too_short":
            return "must not be an empty list" if isinstance(given, list) else "must not be empty"
        case "too_long":
            return f"has {context['actual_length']} entries; the limit is {context['max_length']}"
        case "string_too_short":
            return "must not be empty"
        case "string_too_long":
            return f"is longer than {context['max_length']} characters"
        case "greater_than":
            return f"must be more than {context['gt']}"
        case "greater_than_equal":
            return f"must be at least {context['ge']}"
        case "less_than_equal":
            return f"must be at most {context['le']}"
        case "literal_error":
            return f"must be {context['expected']}"
        case _:
            return details["msg"].removeprefix("Value error, ")


_KINDS: Final = {
    "string_type": "text",
    "int_type": "a whole number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "float_type": "a number",
    "mapping_type": "a mapping of keys to values",
    "dict_type": "a mapping of keys to values",
    "model_type": "a mapping of keys to values",
}


def _not(given: object) -> str:
    if isinstance(given, bool):
        return f"not {str(given).lower()}"
    if isinstance(given, int | float):
        return f"not the number {given}"
    if isinstance(given, str):
        return f"not the text '{shown(given)}'"
    return "not a list" if isinstance(given, list) else "not a mapping"


def _model_at(model: type[BaseModel], path: YamlPath) -> type[BaseModel] | None:
    """The model whose keys stand at `path`."""
    kind: Any = model
    for step in path:
        kind = _descend(_bare(kind), step)
    found = _bare(kind)
    return found if isinstance(found, type) and issubclass(found, BaseModel) else None


def _descend(kind: Any, step: str | int) -> Any:  # noqa: ANN401  # annotations have no type of their own
    if get_origin(kind) is Mapping:
        return get_args(kind)[1]
    if get_origin(kind) is tuple:
        return get_args(kind)[0]
    fields = getattr(kind, "model_fields", {})
    return next((field.annotation for name, field in fields.items() if step in {name, field.alias}), None)


def _bare(kind: Any) -> Any:  # noqa: ANN401  # annotations have no type of their own
    """An annotation without `Annotated`, `| None` and words that may stand in its place."""
    if get_origin(kind) is Annotated:
        return _bare(get_args(kind)[0])
    if get_origin(kind) in {Union, UnionType}:
        parts = (part for part in get_args(kind) if part is not type(None) and get_origin(part) is not Literal)
        return _bare(next(parts, None))
    return kind
