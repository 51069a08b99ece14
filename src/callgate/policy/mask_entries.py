"""What a policy file says of values that are masked, and of arguments that are programs: the leaves of its screening."""

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Final, Literal, Self, TypeAlias

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from callgate.screening.personal import pattern_problem
from callgate.screening.sql import DIALECTS
from callgate.screening.terms import ENTITIES, GROUPS, MaskRule, Mode
from callgate.yaml_model import StrictModel, did_you_mean, text_form
from callgate.yaml_strict import shown

# Of one list: all entities, and as many keys, patterns and pointers of one's own again.
MAX_MASKS: Final = 100
# Arguments of one tool that are SQL, or shell; each is parsed on each call.
MAX_DECLARED: Final = 16
# As conditions: what is longer is not read in one look.
MAX_PATTERN_CHARACTERS: Final = 1_000
MAX_KEY_CHARACTERS: Final = 128
MAX_POINTER_CHARACTERS: Final = 512

# A label in metrics and a key in records.
MASK_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
# RFC 6901, section 3: `json-pointer = *( "/" reference-token )`, where `~` stands before 0 or 1.  Not "", which is all.
_POINTER: Final = re.compile(r"(?:/(?:[^/~]|~[01])*)+")
_KINDS: Final = ("entity", "pattern", "key", "pointer")
_NAMED: Final = (*ENTITIES, *GROUPS)

ModeText: TypeAlias = Literal["redact", "partial", "pseudonym", "drop", "deny"]
ArgumentModeText: TypeAlias = Literal["redact", "partial", "pseudonym", "drop", "deny", "hold"]
ShellForm: TypeAlias = Literal["bash", "argv"]


def _of_answers(mode: object) -> object:
    if mode == Mode.HOLD:
        raise ValueError("hold is for mask_arguments alone: when a tool answers, there is nothing left to agree to")
    return mode


def _check_entity(text: str) -> str:
    if text not in _NAMED:
        raise ValueError(f"'{shown(text)}' is no entity and no group of them{did_you_mean(text, _NAMED)}")
    return text


def check_mask_name(text: str) -> str:
    """What finds are counted as.  Raises ValueError."""
    if MASK_NAME.fullmatch(text) is None:
        raise ValueError("must be 1 to 63 letters, digits, '.', '_' and '-', and start with a letter or digit")
    if text in GROUPS:
        raise ValueError(f"must not be '{text}': that is a group of entities")
    return text


def _check_pattern(text: str) -> str:
    if problem := pattern_problem(text):
        raise ValueError(problem)
    return text


def _check_pointer(text: str) -> str:
    if _POINTER.fullmatch(text) is None:
        raise ValueError("must be a JSON pointer (RFC 6901), such as /customer/name; '*' is any one step")
    return text


def _check_place(text: str) -> str:
    return _check_pointer(text) if text.startswith("/") else text


def _check_dialect(text: str) -> str:
    if text not in DIALECTS:
        raise ValueError(
            f"'{shown(text)}' is no dialect; there are {', '.join(DIALECTS)}{did_you_mean(text, DIALECTS)}"
        )
    return text


def _as_entry(value: object) -> object:
    """`email` says what `{entity: email}` does."""
    if isinstance(value, str):
        return {"entity": _check_entity(value)}
    if not isinstance(value, Mapping | StrictModel):
        raise ValueError("must be the name of an entity, or a mapping such as {entity: card, mode: partial}")  # noqa: TRY004  # pydantic's
    return value


_ENTITY: Final = WithJsonSchema({"type": "string", "enum": [*_NAMED]})
Entity = Annotated[str, AfterValidator(_check_entity), _ENTITY]
MaskName = Annotated[str, AfterValidator(check_mask_name), text_form(MASK_NAME.pattern, "employee")]
MaskMode = Annotated[ModeText, BeforeValidator(_of_answers)]
Pattern = Annotated[str, Field(min_length=1, max_length=MAX_PATTERN_CHARACTERS), AfterValidator(_check_pattern)]
KeyText = Annotated[str, Field(min_length=1, max_length=MAX_KEY_CHARACTERS)]
Pointer = Annotated[
    str,
    Field(max_length=MAX_POINTER_CHARACTERS),
    AfterValidator(_check_pointer),
    text_form(_POINTER.pattern, "/customer/name", "/rows/*/iban", maxLength=MAX_POINTER_CHARACTERS),
]
# The name of an argument, or a pointer from the root of the arguments.
Place = Annotated[
    str,
    Field(min_length=1, max_length=MAX_POINTER_CHARACTERS),
    AfterValidator(_check_place),
    text_form(rf"[^/][\s\S]*|{_POINTER.pattern}", "query", "/options/command"),
]
Dialect = Annotated[str, AfterValidator(_check_dialect), WithJsonSchema({"type": "string", "enum": [*DIALECTS]})]


class ArgumentMaskEntry(StrictModel):
    """One thing that is looked for in arguments, and what becomes of it.

    Exactly one of `entity`, `pattern`, `key` and `pointer`; a pattern and a pointer need a `name`, a key may have one.
    """

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": [kind]} for kind in _KINDS]})

    entity: Entity | None = None
    pattern: Pattern | None = None
    key: KeyText | None = None
    pointer: Pointer | None = None
    name: MaskName | None = None
    mode: ArgumentModeText = "redact"

    @model_validator(mode="after")
    def _one(self) -> Self:
        given = [kind for kind in _KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            raise ValueError("must have one of 'entity', 'pattern', 'key' and 'pointer', and not several")
        if self.name is not None and self.entity is not None:
            raise ValueError(f"must not have a name: an entity is called '{self.entity}'")
        if self.name is None and (self.entity is None and MASK_NAME.fullmatch(self.key or "") is None):
            raise ValueError(f"needs a name, which its finds are counted as: its {given[0]} is none")
        if self.name is None and self.key in GROUPS:
            raise ValueError(f"needs a name: '{self.key}' is a group of entities")
        return self

    def rules(self) -> tuple[MaskRule, ...]:
        """What it says, a group as its entities."""
        mode = Mode(self.mode)
        if self.entity is not None:
            return tuple(MaskRule(mode, entity, entity=entity) for entity in GROUPS.get(self.entity, (self.entity,)))
        name = self.name or self.key or ""
        return (MaskRule(mode, name, "", self.pattern or "", self.key or "", self.pointer or ""),)


class MaskEntry(ArgumentMaskEntry):
    """One thing that is looked for in answers, and what becomes of it."""

    mode: MaskMode = "redact"


ArgumentMask = Annotated[
    ArgumentMaskEntry, BeforeValidator(_as_entry, json_schema_input_type=Entity | ArgumentMaskEntry)
]
Mask = Annotated[MaskEntry, BeforeValidator(_as_entry, json_schema_input_type=Entity | MaskEntry)]


def rules_of(entries: Iterable[ArgumentMaskEntry] | None) -> tuple[MaskRule, ...]:
    """What all of them say, each thing once."""
    return tuple(dict.fromkeys(rule for entry in entries or () for rule in entry.rules()))


def names_of(names: Iterable[str] | None) -> frozenset[str]:
    """Names of what is masked, groups as their entities."""
    return frozenset(entity for name in names or () for entity in GROUPS.get(name, (name,)))


def place_of(steps: Iterable[str | int]) -> str:
    """An argument's name, or else the pointer to it: what `steps_of` reads."""
    match [*steps]:
        case [str(name)] if not name.startswith("/"):
            return name
        case many:
            return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in many)


def steps_of(place: str) -> tuple[str | int, ...]:
    """Where an argument stands, step by step from the root of the arguments; a plain number is a place in a list."""
    if not place.startswith("/"):
        return (place,)
    steps = (token.replace("~1", "/").replace("~0", "~") for token in place[1:].split("/"))
    return tuple(int(step) if step.isdecimal() and str(int(step)) == step else step for step in steps)
