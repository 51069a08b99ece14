"""What a condition may come to where not all that it reads is known.

The runtime is asked without what is not known.  Its `&&`, `||` and the macros made of them are the strong connectives
of Kleene: an operand that cannot be evaluated is passed over exactly where the result does not hang on it.  So a true
or false that comes out is the result whatever the unknown may have been, but for one thing: a condition may also have
failed for its sake, over an argument in two spellings or of a size that is not evaluated.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

from callgate.policy.call import Call
from callgate.policy.cel_cost import bound
from callgate.policy.cel_extent import MAX_DEPTH, MAX_VALUES, NAMES, SMALL, VALUE_BYTES, Extent, Ruler, is_small
from callgate.policy.cel_history import Question
from callgate.policy.cel_inputs import INPUTS
from callgate.policy.condition import Condition, RuleCondition, Truth
from callgate.policy.expression import Expression, read_expression
from callgate.policy.history import Forgotten
from callgate.policy.pack_condition import PackCondition
from callgate.policy.reading import languages_of, read_arguments
from callgate.policy.tags import ToolTags

HISTORY: Final = "history"
_ARGUMENTS: Final = "args"
# A byte of a message is no more than a value of its own, or a character of four bytes of UTF-8.
_BYTES_OF_BYTE: Final = VALUE_BYTES + 4
# To take in a value and the name that it has, in steps of `cel_cost`.
_STEPS_OF_BYTE: Final = 8
_MAX_TEXTS: Final = 4_096

ANY: Final = frozenset(Truth)
_HELD: Final = frozenset({Truth.HOLDS, Truth.FAILED})
_HELD_NOT: Final = frozenset({Truth.FAILS_TO_HOLD, Truth.FAILED})


@dataclass(frozen=True, slots=True)
class Reads:
    """What a condition reads: variables, `history` among them where it asks for the past.

    `questions` are those about the past.  `asks_tags`: it asks whether tools of some tag were used, so that what other
    tools' tags are matters.  `asks_declared`: it asks which arguments of the tool are programs.
    """

    variables: frozenset[str]
    questions: tuple[Question, ...]
    asks_tags: bool
    asks_declared: bool

    def is_fixed_without(self, unknown: frozenset[str]) -> bool:
        """Whether all that it reads beside `unknown` is the same for each call of one tool by one workload."""
        return self.variables - unknown <= _FIXED


# The same in each call of one tool by one workload.
_FIXED: Final = frozenset(
    {"caller.id", "caller.trust_domain", "caller.path", "tool.name", "tool.server", "tool.tags", "request.method"}
)


@lru_cache(maxsize=_MAX_TEXTS)
def reads_of(text: str) -> Reads:
    """What the condition of that text, in CEL, reads.  Raises ValueError for a text that is no condition."""
    expression = _expression_of(text)
    asks = {HISTORY} if expression.questions else set[str]()
    return Reads(
        expression.variables | asks,
        expression.questions,
        asks_tags=any(question.tells_bool and not question.asks_denials for question in expression.questions),
        asks_declared=any(not reading.language for reading in expression.readings),
    )


def reads_of_rule(condition: RuleCondition) -> Reads:
    """What a rule's condition reads."""
    cel = condition.cel
    reads = reads_of(cel.text) if cel is not None else _NOTHING
    if cel is condition:
        return reads
    return replace(reads, variables=reads.variables | {_ARGUMENTS}, asks_declared=True)


_NOTHING: Final = Reads(frozenset(), (), asks_tags=False, asks_declared=False)


@lru_cache(maxsize=_MAX_TEXTS)
def _expression_of(text: str) -> Expression:
    """Raises ValueError for a text that is no condition."""
    expression = read_expression(text)
    if not isinstance(expression, Expression):
        raise ValueError(f"not a condition: {expression[0].message}")  # noqa: TRY004  # what is wrong is its value
    return expression


def possible_truths(
    condition: RuleCondition, call: Call, tags: ToolTags, unknown: frozenset[str], max_steps: int
) -> frozenset[Truth]:
    """What `condition` may have come to.  `unknown`: variables that had a value which `call` does not have.

    One truth where none of them matters.  `max_steps` as in `Condition.evaluate`.
    """
    if reads_of_rule(condition).variables.isdisjoint(unknown):
        return frozenset({condition.evaluate(call, tags, max_steps).truth})
    cel = condition.cel
    of_cel = _of_cel(cel, call, tags, unknown, max_steps) if cel is not None else frozenset({Truth.HOLDS})
    return _with_pack(condition, of_cel, call, tags, unknown) if isinstance(condition, PackCondition) else of_cel


def _with_pack(
    condition: PackCondition, of_cel: frozenset[Truth], call: Call, tags: ToolTags, unknown: frozenset[str]
) -> frozenset[Truth]:
    """Without the arguments nobody can tell whether a call broke a rule, or failed to be looked at."""
    of_pack = ANY if _ARGUMENTS in unknown else frozenset({condition.of_pack(call, tags).truth})
    return frozenset(_both(one, other) for one in of_cel for other in of_pack)


def _both(one: Truth, other: Truth) -> Truth:
    """As `PackCondition.evaluate` puts them together."""
    for truth in (Truth.FAILS_TO_HOLD, Truth.FAILED):
        if truth in {one, other}:
            return truth
    return Truth.HOLDS


def _of_cel(
    condition: Condition, call: Call, tags: ToolTags, unknown: frozenset[str], max_steps: int
) -> frozenset[Truth]:
    reads = reads_of(condition.text)
    if reads.variables.isdisjoint(unknown):
        return frozenset({condition.evaluate(call, tags, max_steps).truth})
    expression = _expression_of(condition.text)
    inputs = {name: value for name in expression.variables - unknown if (value := INPUTS[name](call, tags)) is not None}
    if not all(_is_fit(value, max_steps) for value in inputs.values()):
        return ANY
    if HISTORY in reads.variables - unknown:
        inputs[HISTORY] = _answers(expression, call, tags)
    if _ARGUMENTS not in unknown:
        inputs |= read_arguments(expression.readings, call, tags).values
    return _evaluated(expression, inputs)


def is_within_budget(
    condition: RuleCondition, call: Call, tags: ToolTags, unknown: frozenset[str], max_steps: int
) -> bool:
    """Whether it is certain that `condition` ended within `max_steps`, by how large the request was."""
    cel = condition.cel
    if cel is None:
        return True
    reads = reads_of(cel.text)
    if not reads.variables & unknown <= {_ARGUMENTS, HISTORY} or not 0 < call.size_bytes <= MAX_VALUES:
        return False
    known = (INPUTS[name](call, tags) for name in _expression_of(cel.text).variables - unknown)
    if not all(is_small(value) or not isinstance(value, str | list | Mapping) for value in known):
        return False
    # By powers of two, so that few bounds have to be worked out.
    size = 1 << (call.size_bytes - 1).bit_length()
    return _bound(cel.text, size) + _STEPS_OF_BYTE * size <= max_steps


def declared_in(condition: RuleCondition, server: str, tool: str | None, tags: ToolTags) -> frozenset[tuple[str, str]]:
    """What the policy says of a tool's arguments, as far as a condition asks: each argument, and as what it is read."""
    if tool is None:
        return frozenset()
    cel = condition.cel
    readings = _expression_of(cel.text).readings if cel is not None else ()
    found = {(reading.text, each) for reading in readings for each in languages_of(reading, server, tool, tags)}
    if isinstance(condition, PackCondition):
        declared = tags.declared(server, tool)
        found |= {(repr(path), each) for path, each in (*declared.sql, *declared.shell)}
    return frozenset(found)


@lru_cache(maxsize=_MAX_TEXTS)
def _bound(text: str, size_bytes: int) -> int:
    arguments = Extent(((size_bytes, size_bytes * _BYTES_OF_BYTE),) * MAX_DEPTH)
    expression = _expression_of(text)
    names = {f"{reading.name}.{field}": NAMES for reading in expression.readings for field in reading.fields}
    return bound(expression.tree, {_ARGUMENTS: arguments, **names}, SMALL)


def _evaluated(expression: Expression, inputs: Mapping[str, object]) -> frozenset[Truth]:
    try:
        value = expression.program.eval(data=dict(inputs)).value()
    except Exception:  # noqa: BLE001  # foreign code over values from outside: anything may come
        return ANY
    # An error is a value that Python takes for true.
    return _HELD if value is True else _HELD_NOT if value is False else ANY


def _is_fit(value: object, max_steps: int) -> bool:
    """Whether the runtime takes it in as it is; moments and times it does."""
    if is_small(value) or not isinstance(value, str | list | Mapping):
        return True
    return not isinstance(Ruler(max_steps).measure(value), str)


def _answers(expression: Expression, call: Call, tags: ToolTags) -> dict[str, int]:
    """As `Condition.evaluate` has them: a question that cannot be answered has none."""
    answers: dict[str, int] = {}
    if call.history is None:
        return answers
    for question in expression.questions:
        with suppress(Forgotten):
            answers[question.name] = int(question.ask(call.history, call, tags))
    return answers
