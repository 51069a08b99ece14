"""Which fields an expression names: `args.account.id`, whatever becomes of them in it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from callgate.policy.cel_names import OPEN_VARIABLES, VARIABLES
from callgate.policy.cel_tree import Apply, Const, Expr, Loop, Name, Reading, Select, children

Step: TypeAlias = str | int


@dataclass(frozen=True, slots=True)
class Missing:
    """What was not there, in words of the policy's author."""

    why: str


@dataclass(frozen=True, slots=True)
class Path:
    """A variable and the steps from it that are written out.

    `is_tested`: the expression only asks whether it is there.
    """

    variable: str
    steps: tuple[Step, ...]
    offset: int
    is_tested: bool = False

    @property
    def text(self) -> str:
        """As an author would write it."""
        return self.variable + "".join(map(_written, self.steps))

    @property
    def is_whole(self) -> bool:
        """Whether this is all of a variable that has fields of any name."""
        return self.variable in OPEN_VARIABLES and not (self.steps and isinstance(self.steps[0], str))

    def then(self, step: Step, offset: int) -> "Path":
        """One step further."""
        return Path(self.variable, (*self.steps, step), offset)

    def of(self, value: object) -> object:
        """What stands there within `value`, that of the variable; Missing where nothing does."""
        for number, step in enumerate(self.steps):
            found = _entry(value, step)
            if found is None:
                return Missing(self._missing(number, value))
            (value,) = found
        return value

    def _missing(self, number: int, value: object) -> str:
        step = self.steps[number]
        if number == 0 and self.variable in _FIELD_WORDS:
            return f"no {_FIELD_WORDS[self.variable]} '{step}'"
        owner = Path(self.variable, self.steps[:number], 0).text
        if isinstance(step, str):
            return f"{owner} has no '{step}'" if isinstance(value, Mapping) else f"{owner} is not an object"
        return f"{owner} has no item {step}" if isinstance(value, list) else f"{owner} is not a list"


_FIELD_WORDS = {"args": "argument", "tool.annotations": "annotation", "user.claims": "claim"}


def _entry(value: object, step: Step) -> tuple[object] | None:
    if isinstance(value, Mapping):
        return (value[step],) if step in value else None
    if isinstance(value, list) and isinstance(step, int) and 0 <= step < len(value):
        return (value[step],)
    return None


def _written(step: Step) -> str:
    if isinstance(step, str):
        return f".{step}" if step.isidentifier() and step.isascii() else f'["{step}"]'
    return f"[{step}]"


def find_paths(tree: Expr, *, of_readings: bool = True) -> tuple[Path, ...]:
    """Every path in the order of the text, as long as it is written out; what is only tested stands last.

    `of_readings`: with those that only the gate itself reads.
    """
    found = sorted(_paths(tree, frozenset(), of_readings=of_readings), key=lambda path: (path.is_tested, path.offset))
    return tuple({(path.text, path.is_tested): path for path in reversed(found)}.values())[::-1]


def path_of(node: Expr, local: frozenset[str] = frozenset()) -> Path | None:
    """The path that `node` is, None where it is something else; `local` are the variables of loops around it."""
    match node:
        case Name(name=name) if name in VARIABLES and name not in local:
            return Path(name, (), node.offset)
        case Select(operand=operand, field=field, only_tests=False):
            inner = path_of(operand, local)
            return inner.then(field, node.offset) if inner else None
        case Apply(function="_[_]", operands=(operand, Const(value=str() | int() as step))) if type(step) is not bool:
            inner = path_of(operand, local)
            return inner.then(step, node.offset) if inner else None
        case _:
            return None


def _paths(node: Expr, local: frozenset[str], *, of_readings: bool) -> Iterator[Path]:
    if isinstance(node, Reading) and not of_readings:
        return
    # The operand stands outside of any loop: no variable of one can be meant.
    local = frozenset() if isinstance(node, Reading) else local
    found = path_of(node, local)
    if found is not None:
        if found.variable != "history":
            yield found
        return
    tested = _tested(node, local)
    if tested is not None:
        yield Path(tested.variable, tested.steps, tested.offset, is_tested=True)
        if len(tested.steps) > 1:
            yield Path(tested.variable, tested.steps[:-1], tested.offset)
        return
    inner = local | {node.variable, node.accumulator} if isinstance(node, Loop) else local
    for part in children(node):
        yield from _paths(part, inner, of_readings=of_readings)


def _tested(node: Expr, local: frozenset[str]) -> Path | None:
    """What `has(…)` or `"…" in …` asks for."""
    match node:
        case Select(operand=operand, field=field, only_tests=True):
            inner = path_of(operand, local)
            return inner.then(field, node.offset) if inner else None
        case Apply(function="@in", operands=(Const(value=str() as field), operand)):
            inner = path_of(operand, local)
            if inner is not None and inner.variable in OPEN_VARIABLES and not inner.steps:
                return inner.then(field, node.offset)
        case _:
            pass
    return None
