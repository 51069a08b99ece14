"""Conditions of rules: CEL expressions over one call, that end in time and never hold by mistake.

A condition holds when its value is true.  When it is false it does not hold, and in every other case (an error, a field
that is not there, a value that is not a boolean, a budget exceeded, a value that the runtime would not take in as it is)
it has failed, which keeps a grant from applying and a denial from not applying.  So has one that reads an argument of
which there is another spelling, because the tool may read that.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, Protocol, cast

from callgate.policy.call import Call
from callgate.policy.cel_cost import MAX_STEPS, bound
from callgate.policy.cel_extent import SCALAR, SMALL, Extent, Ruler, is_small
from callgate.policy.cel_failure import NO_ROUNDS_LEFT, NOT_BOOLEAN, NOT_EVALUATED, Unanswered, why_failed
from callgate.policy.cel_history import window_words
from callgate.policy.cel_inputs import INPUTS
from callgate.policy.cel_names import ERROR, OPEN_VARIABLES
from callgate.policy.cel_paths import Missing, Path
from callgate.policy.cel_reading import ReadingQuestion
from callgate.policy.cel_schema import schema_faults
from callgate.policy.expression import Expression, ExpressionProblem, problems_at, read_expression
from callgate.policy.history import Forgotten
from callgate.policy.reading import Answers, read_arguments
from callgate.policy.spelling import misspelt_at
from callgate.policy.tags import ToolTags
from callgate.wire.json_strict import JsonObject, JsonValue

# What differs between a request for a list and the calls of which it decides whether to name them.
_OF_THE_REQUEST: Final = frozenset({"args", "request.method", "request.purpose", "request.revision", "request.size"})


class Truth(StrEnum):
    """What became of a condition."""

    HOLDS = "holds"
    FAILS_TO_HOLD = "does_not_hold"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a condition; `why`, in words of its author: of one in CEL only where it failed, else ""."""

    truth: Truth
    why: str = ""


class RuleCondition(Protocol):
    """What a rule may ask of a call: a condition in CEL, or a pack."""

    @property
    def text(self) -> str:
        """All that it asks; the same for no other."""

    @property
    def reads_call(self) -> bool:
        """As `Condition.reads_call`, and so on."""

    @property
    def reads_tool(self) -> bool:
        """It asks for something of the tool."""

    @property
    def reads_history(self) -> bool:
        """It asks for what was done before."""

    @property
    def reads_denials(self) -> bool:
        """It asks how often the workload was denied."""

    @property
    def arguments(self) -> frozenset[str] | None:
        """The arguments that it reads; None where that may be any."""

    @property
    def paths(self) -> tuple[str, ...]:
        """What it reads, as written."""

    @property
    def cel(self) -> "Condition | None":
        """What of it is written in CEL."""

    def evaluate(self, call: Call, tags: ToolTags, max_steps: int = MAX_STEPS) -> Verdict:
        """Whether it holds.  Total."""

    def seen(self, call: Call, tags: ToolTags) -> Mapping[str, JsonValue]:
        """What each of `paths` is in `call`."""


_HOLDS: Final = Verdict(Truth.HOLDS)
_FAILS_TO_HOLD: Final = Verdict(Truth.FAILS_TO_HOLD)
_NO_READINGS: Final = Answers({}, {})


@dataclass(frozen=True, slots=True)
class _Read:
    """A variable that a condition reads.

    `fields`, for a variable that has fields of any name: those that it reads, and how it writes them; None: all.
    """

    variable: str
    fields: Mapping[str, str] | None

    def of(self, call: Call, tags: ToolTags) -> object:
        """What the runtime is given: no more than is read, because taking it in is what costs most."""
        value = INPUTS[self.variable](call, tags)
        if not isinstance(value, Mapping):
            return value
        names = value if self.fields is None else self.fields
        return {name: value[name] for name in names if name in value}

    def parts(self, value: object) -> Iterable[tuple[str, object]]:
        """What has to be measured of it, with the path by which the condition reads it."""
        if isinstance(value, datetime | timedelta):
            return ()
        if self.fields is None or not isinstance(value, dict):
            return ((self.variable, value),)
        return [(self.fields[name], inner) for name, inner in value.items()]


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition, compiled; it may be shared.

    `reads_call`: it asks for something that only the call itself has (its arguments, its size, …), so that nothing can be
    said of it while tools are listed.  `reads_tool`: it asks for something of the tool.  `reads_denials`: it asks how
    often the workload was denied.  `arguments` are those it reads, by name; None where it uses `args` as a whole.
    `paths` are what it reads, as written, in the order of the text: `args.account.id`, `caller.path`,
    `history.denials(duration("1m"))`.
    """

    text: str
    reads_call: bool
    reads_tool: bool
    reads_history: bool
    reads_denials: bool
    arguments: frozenset[str] | None
    paths: tuple[str, ...]
    _expression: Expression = field(repr=False, compare=False)
    _reads: tuple[_Read, ...] = field(repr=False, compare=False)
    _argument_paths: tuple[Path, ...] = field(repr=False, compare=False)
    # What it costs at most where everything it reads is small.
    _small_steps: int = field(repr=False, compare=False)

    @property
    def readings(self) -> tuple[ReadingQuestion, ...]:
        """The arguments that it asks to be read as programs."""
        return self._expression.readings

    @property
    def cel(self) -> "Condition":
        """All of it."""
        return self

    def evaluate(self, call: Call, tags: ToolTags, max_steps: int = MAX_STEPS) -> Verdict:
        """Whether the condition holds for `call`.  Total: never raises, and ends within some 10 ms and 16 MB.

        `max_steps`: less than MAX_STEPS where several conditions have to share what one decision may take.  What the
        readers of SQL and shell take (`callgate.screening`) comes to that; what they have read, they remember.
        """
        inputs = {read.variable: value for read in self._reads if (value := read.of(call, tags)) is not None}
        readings = read_arguments(self._expression.readings, call, tags) if self._expression.readings else _NO_READINGS
        why = self._unfit(inputs, readings, max_steps) or self._misspelt(call.arguments)
        if why:
            return Verdict(Truth.FAILED, why)
        inputs |= readings.values
        history = self._add_answers(inputs, call, tags) if self.reads_history else ""
        try:
            result = self._expression.program.eval(data=inputs)
            value = result.value()
        except Exception as error:  # noqa: BLE001  # foreign code over values from outside: anything may come
            return Verdict(Truth.FAILED, NO_ROUNDS_LEFT if "Iteration budget" in str(error) else NOT_EVALUATED)
        # An error is a value that Python takes for true.
        if value is True:
            return _HOLDS
        if value is False:
            return _FAILS_TO_HOLD
        if result.type() != ERROR:
            return Verdict(Truth.FAILED, NOT_BOOLEAN)
        unanswered = Unanswered(history, readings.missing)
        return Verdict(Truth.FAILED, why_failed(str(value), self._expression.paths, inputs, unanswered))

    def _unfit(self, inputs: Mapping[str, object], readings: Answers, max_steps: int) -> str:
        """Why the runtime is not given these inputs, "" where it may be."""
        parts = [part for read in self._reads for part in read.parts(inputs.get(read.variable))]
        parts += readings.values.items()
        if self._small_steps <= max_steps and all(is_small(value) for _, value in parts):
            return ""
        ruler, extents = Ruler(max_steps), dict[str, Extent]()
        for text, value in parts:
            extent = ruler.measure(value)
            if isinstance(extent, str):
                return f"{self._written(text)} {extent}"
            extents[text] = extent
        if all(extent.within(SMALL) for extent in extents.values()) and self._small_steps + ruler.steps <= max_steps:
            return ""
        steps = ruler.steps + bound(self._expression.tree, extents, SCALAR)
        return f"budget exceeded: up to {steps} steps, the limit is {max_steps}" if steps > max_steps else ""

    def _written(self, name: str) -> str:
        """What is given to the runtime by that name, as an author writes it."""
        asked = {
            f"{each.name}.{field}": f"{each.text}.{field}"
            for each in self._expression.readings
            for field in each.fields
        }
        return asked.get(name, name)

    def _misspelt(self, arguments: JsonObject | None) -> str:
        """Why a tool might read other arguments than the condition does, "" where it cannot."""
        for path in self._argument_paths:
            number = misspelt_at(arguments, path.steps)
            if number is not None:
                owner = Path(path.variable, path.steps[:number], 0).text
                return f"{owner} has another spelling of '{path.steps[number]}', or too many names"
        return ""

    def _add_answers(self, inputs: dict[str, object], call: Call, tags: ToolTags) -> str:
        """Ask what the condition asks about the past.  Returns why a question has no answer, "" where all have."""
        answers: dict[str, int] = {}
        inputs["history"] = answers
        if call.history is None:
            return "history is not known"
        why = ""
        for question in self._expression.questions:
            try:
                answers[question.name] = int(question.ask(call.history, call, tags))
            except Forgotten:
                why = why or f"history does not reach back {window_words(question.window)}"
        return why

    def seen(self, call: Call, tags: ToolTags) -> Mapping[str, JsonValue]:
        """What each of `paths` is in `call`, for its author to see; what is not there is left out.

        Values of arguments are among them: not for traces.  Moments are RFC 3339, durations seconds as `90s`.
        """
        found: dict[str, JsonValue] = {}
        for path in self._expression.paths:
            start = INPUTS[path.variable](call, tags)
            value = Missing("") if start is None else path.of(start)
            if not isinstance(value, Missing):
                found[path.text] = _json(value)
        if call.history is not None:
            for question in self._expression.questions:
                try:
                    answer = question.ask(call.history, call, tags)
                except Forgotten:
                    continue
                found[question.text] = bool(answer) if question.tells_bool else answer
        for name, value in read_arguments(self._expression.readings, call, tags).values.items():
            found[self._written(name)] = _json(value)
        return found


def compile_condition(text: str, schema: JsonObject | None = None) -> Condition | tuple[ExpressionProblem, ...]:
    """Compile a condition, or say all that is wrong with it.

    `schema` is the JSON Schema of the tool's arguments: with it, an argument that the tool does not have is wrong, too,
    and so is a use of one that its type does not allow.  A linter gives it; the gate decides without.
    """
    expression = read_expression(text)
    if isinstance(expression, tuple):
        return expression
    if schema is not None:
        faults = list(schema_faults(expression.tree, schema))
        if faults:
            return problems_at(text, faults)
    given = sorted({path.variable for path in expression.given})
    reads = tuple(_Read(name, _fields(expression.given, name)) for name in given)
    arguments = _fields(expression.paths, "args")
    return Condition(
        text,
        reads_call=not expression.variables.isdisjoint(_OF_THE_REQUEST),
        reads_tool=any(name.startswith("tool.") for name in expression.variables),
        reads_history=bool(expression.questions),
        reads_denials=any(question.asks_denials for question in expression.questions),
        arguments=None if arguments is None else frozenset(arguments),
        paths=tuple(dict.fromkeys(_asked(expression))),
        _expression=expression,
        _reads=reads,
        _argument_paths=tuple(path for path in expression.paths if path.variable == "args" and not path.is_whole),
        _small_steps=bound(expression.tree, {}, SMALL),
    )


def _asked(expression: Expression) -> Iterator[str]:
    yield from (path.text for path in sorted(expression.paths, key=lambda path: path.offset))
    yield from (question.text for question in expression.questions)
    yield from (f"{reading.text}.{field}" for reading in expression.readings for field in reading.fields)


def _fields(given: Iterable[Path], variable: str) -> Mapping[str, str] | None:
    """The fields that are read of a variable with fields of any name; None for all of them."""
    paths = [path for path in given if path.variable == variable]
    if variable not in OPEN_VARIABLES or any(path.is_whole for path in paths):
        return None
    return {step: Path(variable, (step,), 0).text for path in paths if isinstance(step := path.steps[0], str)}


def _json(value: object) -> JsonValue:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, timedelta):
        return f"{value.total_seconds():g}s"
    return cast("JsonValue", value)
