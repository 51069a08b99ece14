"""What is wrong with a value, in words that let a model correct itself.

The words are ours, and what they name is the schema's: no value is ever told.  Text of the schema is bounded and
printable; it comes from a tool server.  Pure.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from difflib import get_close_matches
from typing import Final

from jsonschema_rs import ValidationError, ValidationErrorKind

MAX_PROBLEM_CHARACTERS: Final = 300
# Of a path; deeper values are named by how the path begins.
_MAX_STEPS: Final = 12
_MAX_PLACE: Final = 999
_MAX_NAME_CHARACTERS: Final = 64
_MAX_VALUE_CHARACTERS: Final = 40
_MAX_PATTERN_CHARACTERS: Final = 120
_MAX_OPTIONS: Final = 8
_MAX_UNKNOWN: Final = 3
# To look for a near name takes 10 µs a name.
_MAX_NEAR: Final = 100
# A name that somebody made up and that holds no number: no telephone, card or account is one.
_LIKE_A_NAME: Final = re.compile(r"(?!(?:[^0-9]*[0-9]){4})[A-Za-z_$][A-Za-z0-9_.$-]{0,39}")
_TYPES: Final = {
    "string": "a string",
    "integer": "an integer",
    "number": "a number",
    "boolean": "true or false",
    "object": "an object",
    "array": "an array",
    "null": "null",
}
_LIMITS: Final = {
    "Minimum": "must be at least {}",
    "Maximum": "must be at most {}",
    "ExclusiveMinimum": "must be greater than {}",
    "ExclusiveMaximum": "must be less than {}",
    "MinLength": "must have at least {} characters",
    "MaxLength": "must have at most {} characters",
    "MinItems": "must have at least {} entries",
    "MaxItems": "must have at most {} entries",
    "MinProperties": "must have at least {} members",
    "MaxProperties": "must have at most {} members",
}
_FIXED: Final = {
    "AdditionalItems": "has more entries than the schema knows",
    "BacktrackLimitExceeded": "takes too long to be matched with the schema's pattern",
    "Contains": "must have an entry of the kind that the schema asks for",
    "ContentEncoding": "is not encoded as the schema says",
    "ContentMediaType": "is not of the media type that the schema says",
    "FalseSchema": "must not be there",
    "Not": "is what the schema excludes",
    "OneOfMultipleValid": "fits several of the forms that the schema gives; exactly one must fit",
    "PropertyNames": "has a member whose name the schema does not allow",
    "UnevaluatedItems": "has more entries than the schema knows",
    "UniqueItems": "must not have two equal entries",
}


def told(error: ValidationError, names: Collection[str], *, echo: bool) -> Iterator[str]:
    """The problems that one error stands for.  `names`: of the members that the schema knows."""
    kind = error.kind
    if isinstance(kind, ValidationErrorKind.AnyOf | ValidationErrorKind.OneOfNotValid):
        branch = _meant(kind.context, len(error.instance_path))
        if branch is not None:
            for each in branch[:_MAX_OPTIONS]:
                yield from told(each, names, echo=echo)
            return
    where = _path(error.instance_path, names, echo=echo)
    words = _words(error, names, echo=echo)
    yield (f"{where}: {words}" if where else words)[:MAX_PROBLEM_CHARACTERS]


def shown_name(name: str, known: Collection[str], *, echo: bool) -> str | None:
    """A name as it may be told; None for one that may not."""
    if name in known:
        return name if len(name) <= _MAX_NAME_CHARACTERS and name.isprintable() else None
    return name if echo and _LIKE_A_NAME.fullmatch(name) else None


def _path(steps: Sequence[str | int], names: Collection[str], *, echo: bool) -> str:
    told = [_step(step, names, echo=echo) for step in steps[:_MAX_STEPS]]
    return "".join(f"/{step}" for step in told) + ("/…" if len(steps) > _MAX_STEPS else "")


def _step(step: str | int, names: Collection[str], *, echo: bool) -> str:
    if isinstance(step, int):
        # The name of a member that looks like a place is given as one.
        return str(step) if step <= _MAX_PLACE else "*"
    shown = shown_name(step, names, echo=echo)
    # RFC 6901, section 3.
    return "*" if shown is None else shown.replace("~", "~0").replace("/", "~1")


def _meant(branches: Sequence[Sequence[ValidationError]], depth: int) -> Sequence[ValidationError] | None:
    """The one form of several that the value seems to be meant as: the only one whose kind of value it is."""
    fitting = [branch for branch in branches if not any(_is_other_type(each, depth) for each in branch)]
    return fitting[0] if len(fitting) == 1 else None


def _is_other_type(error: ValidationError, depth: int) -> bool:
    return isinstance(error.kind, ValidationErrorKind.Type) and len(error.instance_path) == depth


def _words(error: ValidationError, names: Collection[str], *, echo: bool) -> str:
    kind = error.kind
    match kind:
        case ValidationErrorKind.Required(name):
            shown = shown_name(name, names, echo=False)
            return f"must have '{shown}'" if shown is not None else "lacks a member that the schema asks for"
        case ValidationErrorKind.AdditionalProperties(unexpected) | ValidationErrorKind.UnevaluatedProperties(
            unexpected
        ):
            return _unknown(unexpected, names, echo=echo)
        case ValidationErrorKind.AnyOf(context) | ValidationErrorKind.OneOfNotValid(context):
            return _no_form(context, len(error.instance_path))
        case _:
            return _asked(kind)


def _asked(kind: ValidationErrorKind) -> str:
    """What the schema asks for, where that is one thing."""
    match kind:
        case ValidationErrorKind.Type(types):
            return f"must be {_one_of(types)}"
        case ValidationErrorKind.Enum(options):
            return f"must be one of {_options(options)}"
        case ValidationErrorKind.Constant(expected):
            return f"must be {_value(expected)}"
        case ValidationErrorKind.MultipleOf(divisor):
            return f"must be a multiple of {_value(divisor)}"
        case ValidationErrorKind.Pattern(pattern):
            return f"must match the pattern {_cut(pattern, _MAX_PATTERN_CHARACTERS)}"
        case _:
            return _limited(kind)


def _limited(kind: ValidationErrorKind) -> str:
    name = type(kind).__name__.rpartition("_")[2]
    limit = getattr(kind, "limit", None)
    if name in _LIMITS and limit is not None:
        return _LIMITS[name].format(_value(limit))
    return _FIXED.get(name, "does not fit the schema")


def _one_of(types: Iterable[str]) -> str:
    return " or ".join(_TYPES.get(each, "of another type") for each in types)


def _no_form(context: Sequence[Sequence[ValidationError]], depth: int) -> str:
    if context and all(branch and _is_other_type(branch[0], depth) for branch in context):
        kinds = [branch[0].kind for branch in context]
        types = [each for kind in kinds if isinstance(kind, ValidationErrorKind.Type) for each in kind.types]
        return f"must be {_one_of(dict.fromkeys(types))}"
    return "fits none of the forms that the schema gives"


def _unknown(unexpected: Sequence[str], names: Collection[str], *, echo: bool) -> str:
    told = [_unknown_name(name, names, echo=echo) for name in unexpected[:_MAX_UNKNOWN]]
    more = len(unexpected) - len(told)
    return "; ".join(dict.fromkeys(told)) + (f"; and {more} more" if more else "")


def _unknown_name(name: str, names: Collection[str], *, echo: bool) -> str:
    shown = shown_name(name, names, echo=echo)
    what = f"has '{shown}', which is not known here" if shown is not None else "has a member that is not known here"
    near = get_close_matches(name, list(names)[:_MAX_NEAR], n=1) if len(name) <= _MAX_NAME_CHARACTERS else []
    meant = shown_name(near[0], names, echo=False) if near and near[0] != name else None
    return what if meant is None else f"{what}; did you mean '{meant}'?"


def _options(options: Sequence[object]) -> str:
    told = [_value(option) for option in options[:_MAX_OPTIONS]]
    more = len(options) - len(told)
    return ", ".join(told) + (f" and {more} more" if more else "")


def _value(value: object) -> str:
    """A value that stands in the schema."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    if isinstance(value, str):
        return f"'{_cut(value, _MAX_VALUE_CHARACTERS)}'"
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "an array"
    return _cut(str(value), _MAX_VALUE_CHARACTERS)


def _cut(text: str, characters: int) -> str:
    cut = text if len(text) <= characters else f"{text[: characters - 1]}…"
    return cut if cut.isprintable() else "".join(char if char.isprintable() else "�" for char in cut)
