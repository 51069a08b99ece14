"""What a condition may not say, though CEL has words for it."""

from collections.abc import Iterator
from typing import Final, TypeAlias

from callgate.policy.cel_history import MAX_QUESTIONS, BadQuestion, Question, read_question
from callgate.policy.cel_names import (
    FUNCTIONS,
    GETTERS,
    HISTORY_FUNCTIONS,
    ROOTS,
    TYPES,
    VARIABLES,
    is_pattern,
    is_timestamp,
    literal_duration,
)
from callgate.policy.cel_regex import read_pattern
from callgate.policy.cel_tree import Apply, Const, Expr, Loop, Name, children, walk
from callgate.policy.moments import check_zone

# A condition of 2 000 characters that is made to be read has some 300; a list of 330 short words fits in.
MAX_NODES: Final = 600
# Over the entries of entries of a list; deeper, none that is not made up ends within its budget.
MAX_LOOPS_IN_LOOPS: Final = 3

# Where in the text, and what is wrong there.
Fault: TypeAlias = tuple[int, str]


def faults_of(tree: Expr) -> Iterator[Fault]:
    """Everything that is wrong with what the checker accepts."""
    nodes = sum(1 for _ in walk(tree))
    if nodes > MAX_NODES:
        yield 0, f"is too long: {nodes} parts, the limit is {MAX_NODES}"
        return
    yield from _check(tree, frozenset(), 0)
    if len(questions_of(tree)) > MAX_QUESTIONS:
        yield 0, f"asks for history more than {MAX_QUESTIONS} times"


def questions_of(tree: Expr) -> dict[str, Question]:
    """What the expression asks about the past, by the names of the questions; those that cannot be asked left out."""
    found = {}
    for node in walk(tree):
        if isinstance(node, Apply) and node.function in HISTORY_FUNCTIONS:
            try:
                question = read_question(node)
            except BadQuestion:
                continue
            found[question.name] = question
    return found


def _check(node: Expr, local: frozenset[str], depth: int) -> Iterator[Fault]:
    parts = children(node)
    match node:
        case Name(name=name) if name not in local and (name == "history" or name not in TYPES.union(VARIABLES)):
            yield node.offset, _unknown_name(name)
        case Const(value=bytes()):
            yield node.offset, "bytes are not available in conditions"
        case Const(value=str(text)) if "\0" in text:
            yield node.offset, "text with a NUL character is never in a call"
        case Apply() if node.function in HISTORY_FUNCTIONS:
            yield from _check_history(node)
            return
        case Apply():
            yield from _check_call(node)
        case Loop(variable=variable):
            yield from _check_loop(node, depth)
            yield from _check(node.over, local, depth)
            local |= {variable, node.accumulator}
            parts, depth = (node.start, node.condition, node.step, node.result), depth + 1
        case _:
            pass
    for part in parts:
        yield from _check(part, local, depth)


def _unknown_name(name: str) -> str:
    if name == "history":
        functions = ", ".join(sorted(HISTORY_FUNCTIONS))
        return f"history is nothing by itself; ask it by one of {functions}"
    return f"'{name}' is not available in conditions"


def _check_loop(loop: Loop, depth: int) -> Iterator[Fault]:
    if loop.variable in ROOTS | TYPES:
        yield loop.offset, f"'{loop.variable}' is something else already; choose another name"
    if depth == MAX_LOOPS_IN_LOOPS:
        yield loop.offset, f"has more than {MAX_LOOPS_IN_LOOPS} of all, exists, filter and map within one another"


def _check_history(call: Apply) -> Iterator[Fault]:
    match call.operands[0]:
        case Name(name="history"):
            pass
        case receiver:
            yield receiver.offset, f"'{call.function}' is a function of history"
    try:
        read_question(call)
    except BadQuestion as error:
        yield error.offset, str(error)


def _check_call(call: Apply) -> Iterator[Fault]:
    if call.function not in FUNCTIONS:
        yield call.offset, f"'{call.function}' is not available in conditions"
    elif call.function == "matches":
        yield from _check_pattern(call.operands[1])
    elif call.function in GETTERS and len(call.operands) > 1:
        yield from _check_zone(call.operands[1])
    elif call.function in {"duration", "timestamp"}:
        yield from _check_literal(call)


def _check_pattern(pattern: Expr) -> Iterator[Fault]:
    """RE2's own objections are to this pattern, which is the author's; a caller's never gets there."""
    if not isinstance(pattern, Const) or not isinstance(pattern.value, str):
        yield pattern.offset, "matches takes a pattern that is written out, not one that a call could bring in"
        return
    read = read_pattern(pattern.value)
    if isinstance(read, str):
        yield pattern.offset, f"the pattern {read}"
    elif not is_pattern(pattern.value):
        yield pattern.offset, "is no regular expression (RE2's syntax)"


def _check_zone(zone: Expr) -> Iterator[Fault]:
    """A zone's name is that of a file, and what is read of it stays in memory."""
    if not isinstance(zone, Const) or not isinstance(zone.value, str):
        yield zone.offset, 'a time zone must be written out, such as "Europe/Berlin"'
        return
    try:
        check_zone(zone.value)
    except ValueError as error:
        yield zone.offset, str(error)


def _check_literal(call: Apply) -> Iterator[Fault]:
    match call.operands:
        case (Const(value=str(text)),):
            if call.function == "duration" and literal_duration(text) is None:
                yield call.operands[0].offset, "is no duration such as 90s, 1h or 1h30m"
            if call.function == "timestamp" and not is_timestamp(text):
                yield call.operands[0].offset, "is no moment such as 2026-12-31T18:00:00Z"
        case _:
            pass
