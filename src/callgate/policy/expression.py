"""A condition's text made ready: compiled by Google's CEL runtime, read back as a tree, and checked.

What is wrong with it is told in words of somebody who writes a policy, with line and column within the text.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol

from callgate.policy.cel_checks import faults_of, questions_of
from callgate.policy.cel_cost import MAX_STEPS, bound
from callgate.policy.cel_extent import NOTHING
from callgate.policy.cel_history import Question
from callgate.policy.cel_names import HISTORY_FUNCTIONS, KNOWN_WORDS, OPERATORS, ROOTS, VARIABLES, environment
from callgate.policy.cel_paths import Path, find_paths
from callgate.policy.cel_reading import ReadingQuestion, rewritten
from callgate.policy.cel_tree import Expr
from callgate.policy.cel_wire import UnreadableExpression, read_tree
from callgate.policy.model import MAX_EXPRESSION_CHARACTERS
from callgate.yaml_model import did_you_mean
from callgate.yaml_strict import shown

# More would only repeat the first.
MAX_PROBLEMS: Final = 8

_FAULT: Final = re.compile(r"^(?:INVALID_ARGUMENT: )?ERROR: <input>:(-?[0-9]+):(-?[0-9]+): (.*)$", re.MULTILINE)
_END: Final = re.compile(r" \[[A-Z_]+\]$")
_UNDECLARED: Final = re.compile(r"undeclared reference to '(.*?)' \(in container ''\)")
_OVERLOAD: Final = re.compile(r"found no matching overload for '(.*?)' applied to '\((.*)\)'")
_SYNTAX: Final = re.compile(r"Syntax error: (.*?)(?: expecting .*)?$")
# What people write who know other languages, by what the parser stumbles over.
_OTHER_SPELLINGS: Final = (
    (re.compile(r"token recognition error at: '=\s?'"), "; equality is written =="),
    (re.compile(r"input 'and'"), "; it is written &&"),
    (re.compile(r"input 'or'"), "; it is written ||"),
    (re.compile(r"input '[smhd]'"), '; a time is written duration("1h")'),
)
_ASKED: Final = {
    "calls": 'history.calls("server/tool", duration("1h"))',
    "denials": 'history.denials(duration("1h"))',
    "lockout": 'history.lockout(3, duration("1m"), duration("10m"))',
    "used": 'history.used("tag", duration("1h"))',
}
_DEPTH: Final = re.compile(r"recursion (?:limit|depth)")
_TYPES: Final = {
    "BOOL": "true or false", "BYTES": "bytes", "DOUBLE": "a number", "DURATION": "a duration", "INT": "a number",
    "NULL": "null", "STRING": "text", "TIMESTAMP": "a moment", "TYPE": "a type", "UINT": "a number",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class ExpressionProblem:
    """What is wrong with a condition, and where in it.

    Lines and columns count from 1.  As for the runtime, a field stands at its dot and a call at its parenthesis.
    """

    line: int
    column: int
    message: str


class Value(Protocol):
    """What the runtime gives back.  An error is a value, too, and a true one to Python."""

    def type(self) -> object:
        """One of the runtime's types."""

    def value(self) -> object:
        """As Python has it; for an error, a text that may hold what a caller sent."""


class Program(Protocol):
    """What the runtime evaluates."""

    def eval(self, *, data: dict[str, object]) -> Value:
        """Evaluate with these variables.  Raises almost anything."""


@dataclass(frozen=True, slots=True)
class Expression:
    """A condition that can be evaluated.

    `paths` is all that it reads; `given` are those of them that the runtime itself is given, and not what the gate reads
    of the arguments there (`readings`).
    """

    text: str
    program: Program
    tree: Expr
    paths: tuple[Path, ...]
    given: tuple[Path, ...]
    questions: tuple[Question, ...]
    readings: tuple[ReadingQuestion, ...]

    @property
    def variables(self) -> frozenset[str]:
        """Every variable that it reads, without `history`."""
        return frozenset(path.variable for path in self.paths)


def read_expression(text: str) -> Expression | tuple[ExpressionProblem, ...]:
    """Compile and check a condition, or say all that is wrong with it."""
    if len(text) > MAX_EXPRESSION_CHARACTERS:
        return (ExpressionProblem(1, 1, f"is longer than {MAX_EXPRESSION_CHARACTERS} characters"),)
    readable = rewritten(text)
    if readable.faults:
        return problems_at(text, readable.faults)
    try:
        program = environment().compile(readable.text)
        tree = read_tree(program.serialize(), readable.nodes)
    except UnreadableExpression:
        return (ExpressionProblem(1, 1, "says something that is not available in conditions"),)
    except (RuntimeError, TypeError, UnicodeError) as error:
        return tuple(_problems(str(error)))[:MAX_PROBLEMS]
    faults = [*_type_faults(program), *faults_of(tree)] or list(_cost_faults(tree))
    if faults:
        return problems_at(text, faults)
    # What only the first evaluation does takes as long as a hundred others.
    with suppress(RuntimeError):
        program.eval(data={})
    questions = tuple(questions_of(tree).values())
    given = find_paths(tree, of_readings=False) if readable.questions else find_paths(tree)
    return Expression(text, program, tree, find_paths(tree), given, questions, readable.questions)


def problems_at(text: str, faults: list[tuple[int, str]]) -> tuple[ExpressionProblem, ...]:
    """Faults at offsets, in the order of the text."""
    found = dict.fromkeys(sorted(faults))
    return tuple(ExpressionProblem(*_place(text, offset), message) for offset, message in found)[:MAX_PROBLEMS]


def _place(text: str, offset: int) -> tuple[int, int]:
    before = text[:offset]
    return before.count("\n") + 1, offset - before.rfind("\n")


def _type_faults(program: object) -> Iterator[tuple[int, str]]:
    name = program.return_type().name()  # type: ignore[attr-defined]  # the runtime is not typed
    if name not in {"BOOL", "DYN"}:
        kind = name.partition("<")[0]
        words = _TYPES.get(kind) or {"LIST": "a list", "MAP": "an object"}.get(kind, "something else")
        yield 0, f"must be true or false, not {words}"


def _cost_faults(tree: Expr) -> Iterator[tuple[int, str]]:
    steps = bound(tree, {}, NOTHING)
    if steps > MAX_STEPS:
        yield 0, f"costs up to {steps} steps whatever the call; the limit is {MAX_STEPS}"


def _problems(message: str) -> Iterator[ExpressionProblem]:
    """What the compiler found, in our words."""
    found = _FAULT.findall(message)
    if not found or _DEPTH.search(message):
        deep = _DEPTH.search(message)
        yield ExpressionProblem(
            1, 1, "is nested too deeply; the limit is 32" if deep else "is no text that CEL can be in"
        )
        return
    # After the first slip of syntax the parser guesses.
    syntax = [each for each in found if _SYNTAX.match(each[2])]
    for line, column, words in [min(syntax, key=lambda each: (int(each[0]), int(each[1])))] if syntax else found:
        yield ExpressionProblem(max(int(line), 1), max(int(column), 1), _in_our_words(_END.sub("", words)))


def _in_our_words(message: str) -> str:
    if found := _UNDECLARED.fullmatch(message):
        return _undeclared(found[1])
    if found := _OVERLOAD.fullmatch(message):
        if found[1] in HISTORY_FUNCTIONS:
            return _how_to_ask(found[1])
        what = OPERATORS.get(found[1], found[1])
        return f"'{what}' does not take {found[2].replace('google.protobuf.', '').lower()}"
    if found := _SYNTAX.fullmatch(message):
        other = next((hint for pattern, hint in _OTHER_SPELLINGS if pattern.search(found[1])), "")
        return f"is not CEL: {shown(found[1])}{other}"
    return shown(message)


def _how_to_ask(function: str) -> str:
    return f"history is asked like this: {_ASKED[function]}"


def _undeclared(name: str) -> str:
    # The runtime does not know a function that is called with too few or too many operands.
    if name in HISTORY_FUNCTIONS:
        return _how_to_ask(name)
    fields = [variable.removeprefix(f"{name}.") for variable in VARIABLES if variable.startswith(f"{name}.")]
    if fields:
        return f"'{name}' is nothing by itself; it has {', '.join(fields)}"
    owner, _, field = name.partition(".")
    if owner in ROOTS and field:
        near = did_you_mean(name, [variable for variable in VARIABLES if variable.startswith(f"{owner}.")])
        return f"'{owner}' has no '{shown(field)}'{near}"
    return f"'{shown(name)}' is not known" + (did_you_mean(name, KNOWN_WORDS) or "; arguments are written args.<name>")
