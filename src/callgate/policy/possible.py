"""What a condition may come to where not all that it reads is known.

The runtime is asked without what is not known.  Its `&&`, `||` and the macros made of them are the strong connectives
of Kleene: an operand that cannot be evaluated is passed over exactly where the result does not hang on it.  So a true
or false that comes out is the result whatever the unknown may have been, but for one thing: a condition may also have
failed for its sake, over an argument in two spellings or of a size that is not evaluated.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from callgate.policy.call import Call
from callgate.policy.cel_cost import bound
from callgate.policy.cel_extent import MAX_DEPTH, MAX_VALUES, SMALL, VALUE_BYTES, Extent, Ruler, is_small
from callgate.policy.cel_inputs import INPUTS
from callgate.policy.condition import Condition, Truth
from callgate.policy.expression import Expression, read_expression
from callgate.policy.history import Forgotten
from callgate.policy.tags import ToolTags

HISTORY: Final = "history"
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

    `asks_tags`: it asks whether tools of some tag were used, so that what other tools' tags are matters.
    """

    expression: Expression
    variables: frozenset[str]
    asks_tags: bool

    def is_fixed_without(self, unknown: frozenset[str]) -> bool:
        """Whether all that it reads beside `unknown` is the same for each call of one tool by one workload."""
        return self.variables - unknown <= _FIXED


# The same in each call of one tool by one workload.
_FIXED: Final = frozenset(
    {"caller.id", "caller.trust_domain", "caller.path", "tool.name", "tool.server", "tool.tags", "request.method"}
)


@lru_cache(maxsize=_MAX_TEXTS)
def reads_of(text: str) -> Reads:
    """What the condition of that text reads.  Raises ValueError for a text that is no condition."""
    expression = read_expression(text)
    if not isinstance(expression, Expression):
        raise ValueError(f"not a condition: {expression[0].message}")  # noqa: TRY004  # what is wrong is its value
    asks = {HISTORY} if expression.questions else set[str]()
    asks_tags = any(question.tells_bool and not question.asks_denials for question in expression.questions)
    return Reads(expression, expression.variables | asks, asks_tags)


def possible_truths(
    condition: Condition, call: Call, tags: ToolTags, unknown: frozenset[str], max_steps: int
) -> frozenset[Truth]:
    """What `condition` may have come to.  `unknown`: variables that had a value which `call` does not have.

    One truth where none of them matters.  `max_steps` as in `Condition.evaluate`.
    """
    reads = reads_of(condition.text)
    if reads.variables.isdisjoint(unknown):
        return frozenset({condition.evaluate(call, tags, max_steps).truth})
    inputs = {
        name: value for name in reads.expression.variables - unknown if (value := INPUTS[name](call, tags)) is not None
    }
    if not all(_is_fit(value, max_steps) for value in inputs.values()):
        return ANY
    if HISTORY in reads.variables - unknown:
        inputs[HISTORY] = _answers(reads.expression, call, tags)
    return _evaluated(reads.expression, inputs)


def is_within_budget(condition: Condition, call: Call, tags: ToolTags, unknown: frozenset[str], max_steps: int) -> bool:
    """Whether it is certain that `condition` ended within `max_steps`, by how large the request was."""
    reads = reads_of(condition.text)
    if not reads.variables & unknown <= {"args", HISTORY} or not 0 < call.size_bytes <= MAX_VALUES:
        return False
    known = (INPUTS[name](call, tags) for name in reads.expression.variables - unknown)
    if not all(is_small(value) or not isinstance(value, str | list | Mapping) for value in known):
        return False
    # By powers of two, so that few bounds have to be worked out.
    size = 1 << (call.size_bytes - 1).bit_length()
    return _bound(condition.text, size) + _STEPS_OF_BYTE * size <= max_steps


@lru_cache(maxsize=_MAX_TEXTS)
def _bound(text: str, size_bytes: int) -> int:
    arguments = Extent(((size_bytes, size_bytes * _BYTES_OF_BYTE),) * MAX_DEPTH)
    return bound(reads_of(text).expression.tree, {"args": arguments}, SMALL)


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
