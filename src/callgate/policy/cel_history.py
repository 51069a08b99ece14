"""What a condition asks about a workload's past.

`history.calls("refund", duration("1h"))` has literals for its operands, so that what will be asked is known when the
condition is compiled: how far back, and how often.  The gate asks before the expression is evaluated and hands over the
answers, so that nothing of ours runs within the runtime's loops but a look into a dict.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, TypeAlias

from callgate.policy.call import Call
from callgate.policy.cel_names import MAX_WINDOW, literal_duration, question
from callgate.policy.cel_tree import Apply, Const, Expr
from callgate.policy.history import WorkloadHistory
from callgate.policy.model import MAX_LIMIT_CALLS
from callgate.policy.patterns import PatternError, ToolPattern
from callgate.policy.tags import ToolTags

# A look through all that is kept of a workload takes up to 0.3 ms.
MAX_QUESTIONS: Final = 8

_TAG: Final = re.compile(r"[a-z][a-z0-9_]{0,62}")
_SERVER: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_MIN_WINDOW: Final = timedelta(seconds=1)

Ask: TypeAlias = Callable[[WorkloadHistory, Call, ToolTags], int]


class BadQuestion(ValueError):  # noqa: N818  # says what it is
    """A history function with operands that it cannot have; `offset` is where in the expression."""

    def __init__(self, offset: int, message: str) -> None:
        super().__init__(message)
        self.offset = offset


@dataclass(frozen=True, slots=True)
class Question:
    """One question.  `name` is what the runtime finds the answer by, `text` how an author writes it.

    `window` is as far back as it looks.  `asks_denials`: it is about denials, and not about calls.
    """

    name: str
    text: str
    window: timedelta
    ask: Ask
    tells_bool: bool
    asks_denials: bool = False


def read_question(call: Apply) -> Question:
    """What `history.<function>(…)` asks.  Raises BadQuestion."""
    return _READERS[call.function](call.operands[1:])


def _calls(operands: tuple[Expr, ...]) -> Question:
    text, window = _text(operands[0]), _window(operands[1])
    server, slash, tool = text.rpartition("/")
    if slash and _SERVER.fullmatch(server) is None:
        raise BadQuestion(operands[0].offset, 'history.calls takes "tool" or "server/tool"')
    try:
        pattern = ToolPattern.parse(tool)
    except PatternError as error:
        raise BadQuestion(operands[0].offset, f"the tool of history.calls {error}") from error

    def ask(history: WorkloadHistory, call: Call, _: ToolTags) -> int:
        return history.calls(server or call.server, pattern, window.total_seconds(), call.now)

    return Question(
        question("calls", text, window), f'history.calls("{text}", {_written(window)})', window, ask, tells_bool=False
    )


def _used(operands: tuple[Expr, ...]) -> Question:
    tag, window = _text(operands[0]), _window(operands[1])
    if _TAG.fullmatch(tag) is None:
        raise BadQuestion(operands[0].offset, "history.used takes a tag: 1 to 63 of a-z, 0-9 and '_'")

    def ask(history: WorkloadHistory, call: Call, tags: ToolTags) -> int:
        return history.used(tag, tags, window.total_seconds(), call.now)

    return Question(
        question("used", tag, window), f'history.used("{tag}", {_written(window)})', window, ask, tells_bool=True
    )


def _denials(operands: tuple[Expr, ...]) -> Question:
    window = _window(operands[0])

    def ask(history: WorkloadHistory, call: Call, _: ToolTags) -> int:
        return history.denials(window.total_seconds(), call.now)

    return Question(
        question("denials", window),
        f"history.denials({_written(window)})",
        window,
        ask,
        tells_bool=False,
        asks_denials=True,
    )


def _lockout(operands: tuple[Expr, ...]) -> Question:
    count, within, lasting = _count(operands[0]), _window(operands[1]), _window(operands[2])

    def ask(history: WorkloadHistory, call: Call, _: ToolTags) -> int:
        return history.lockout(count, within.total_seconds(), lasting.total_seconds(), call.now)

    return Question(
        question("lockout", count, within, lasting),
        f"history.lockout({count}, {_written(within)}, {_written(lasting)})",
        within + lasting,
        ask,
        tells_bool=True,
        asks_denials=True,
    )


_READERS: Final[dict[str, Callable[[tuple[Expr, ...]], Question]]] = {
    "calls": _calls,
    "used": _used,
    "denials": _denials,
    "lockout": _lockout,
}


def _text(operand: Expr) -> str:
    if isinstance(operand, Const) and isinstance(operand.value, str):
        return operand.value
    raise BadQuestion(operand.offset, 'history is asked with text that is written out, such as "refund"')


def _count(operand: Expr) -> int:
    if isinstance(operand, Const) and type(operand.value) is int:
        if 1 <= operand.value <= MAX_LIMIT_CALLS:
            return operand.value
        raise BadQuestion(operand.offset, f"history.lockout counts from 1 to {MAX_LIMIT_CALLS} denials")
    raise BadQuestion(operand.offset, "history is asked with a number that is written out, such as 3")


def _window(operand: Expr) -> timedelta:
    match operand:
        case Apply(function="duration", operands=(Const(value=str(text)),)):
            window = literal_duration(text)
        case _:
            raise BadQuestion(
                operand.offset, 'history is asked with a time that is written out, such as duration("1h")'
            )
    if window is None or not _MIN_WINDOW <= window <= MAX_WINDOW:
        raise BadQuestion(operand.offset, "history reaches back from 1s to 24h")
    return window


def _written(window: timedelta) -> str:
    """`duration("1h")`, as an author would write it."""
    seconds = window.total_seconds()
    for unit, length in (("h", 3_600), ("m", 60)):
        if seconds % length == 0:
            return f'duration("{seconds / length:.0f}{unit}")'
    return f'duration("{seconds:g}s")'


def window_words(window: timedelta) -> str:
    """`1h`."""
    return _written(window).split('"')[1]
