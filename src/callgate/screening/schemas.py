"""JSON Schema for payloads: whether a value fits, and in words that let a model correct itself.

JSON Schema 2020-12 where a schema does not say another draft (MCP 2025-11-25 and 2026-07-28, basic, "JSON Schema
Usage").  No other document is ever fetched.  What a schema can cost is bounded before it is used (`schema_work`): a
schema without such a bound is not used at all, and a value that would cost too much does not fit.  Pure.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from threading import Lock
from typing import Final

import jsonschema_rs
import orjson

from callgate.screening.schema_graph import Graph, UnusableSchemaError, graph_of
from callgate.screening.schema_words import told
from callgate.screening.schema_work import BACKTRACK_LIMIT, Work, WorkBound, work_bound
from callgate.wire.json_strict import JsonObject, JsonValue

# One schema as JSON.  The largest in use have some 60 KiB.
MAX_SCHEMA_BYTES: Final = 256 * 1024
# Values within it, commas in texts counted as well: to look at all of them takes some 20 ms.
MAX_SCHEMA_VALUES: Final = 20_000
# More of them are one message too long for a model, too.
MAX_PROBLEMS: Final = 8
# To say what is wrong takes up to 8 µs where to see that something is takes 20 ns.
MAX_TOLD_WORK: Final = 1_500
# All schemas together, by the estimate of `_size_of`: a thousand tools with 4 KiB each.
MAX_REMEMBERED: Final = 4_000
MAX_REMEMBERED_BYTES: Final = 128 * 1024 * 1024
# Of one pattern's program and of the tables that are made as it is used.
_PATTERN_BYTES: Final = 4 * 1024 * 1024
_TABLE_BYTES: Final = 256 * 1024
_LINEAR: Final = jsonschema_rs.RegexOptions(size_limit=_PATTERN_BYTES, dfa_size_limit=_TABLE_BYTES)
# Without look-arounds and back-references it hands every pattern to the linear engine.
_BOUNDED: Final = jsonschema_rs.FancyRegexOptions(
    backtrack_limit=BACKTRACK_LIMIT, size_limit=_PATTERN_BYTES, dfa_size_limit=_TABLE_BYTES
)
_TOO_LARGE: Final = "is too large or too deep to be held against the tool's schema"
_SOMEWHERE: Final = "does not fit the tool's schema; it is too large to say where"


@dataclass(frozen=True, slots=True)
class UnusableSchema:
    """No value can be held against this schema; `why` is one sentence of our own words."""

    why: str


@dataclass(frozen=True, slots=True)
class Shape:
    """A schema, ready to be held against values."""

    _validator: jsonschema_rs.Validator = field(repr=False)
    _bound: WorkBound = field(repr=False)
    _names: frozenset[str] = field(repr=False)
    # What it takes in memory, estimated, in bytes.
    size: int = 0

    def fits(self, value: JsonValue) -> bool:
        """Whether the value fits.  What cannot be told is no."""
        work = self._work_of(value)
        return work is not None and work.is_bearable and self._is_valid(value)

    def problems(self, value: JsonValue, *, echo: bool = True) -> tuple[str, ...]:
        """What is wrong with a value: "/amount: must be a number"; () where it fits.

        At most MAX_PROBLEMS, each of bounded printable text without any value.  `echo`: whether the name of a member
        that the schema does not know may be told, if it looks like a name; for what the one who is told wrote itself.
        Never raises; some 10 ms for the largest value that is looked at.
        """
        work = self._work_of(value)
        if work is None or not work.is_bearable:
            return (_TOO_LARGE,)
        if self._is_valid(value):
            return ()
        if work.looks > MAX_TOLD_WORK:
            counted = self._bound.counted(value)
            if counted is None or counted.looks > MAX_TOLD_WORK:
                return (_SOMEWHERE,)
        return self._told(value, echo=echo)

    def _work_of(self, value: JsonValue) -> Work | None:
        try:
            return self._bound.of(value)
        except (TypeError, ValueError):
            # What has no JSON form fits no schema.
            return None

    def _is_valid(self, value: JsonValue) -> bool:
        try:
            return self._validator.is_valid(value)
        except BaseException as fault:  # see _is_refusal
            if not _is_refusal(fault):
                raise
            return False

    def _told(self, value: JsonValue, *, echo: bool) -> tuple[str, ...]:
        found: dict[str, None] = {}
        try:
            for error in self._validator.iter_errors(value):
                found |= dict.fromkeys(told(error, self._names, echo=echo))
                if len(found) >= MAX_PROBLEMS:
                    break
        except BaseException as fault:  # see _is_refusal
            if not _is_refusal(fault):
                raise
        return tuple(found)[:MAX_PROBLEMS] or (_SOMEWHERE,)


class _Remembered:
    """Shapes by digest; the ones that were not asked for the longest go first."""

    def __init__(self) -> None:
        self._shapes: OrderedDict[str, Shape | UnusableSchema] = OrderedDict()
        self.size = 0
        # What is long is looked at in threads of its own.
        self._alone = Lock()

    def get(self, digest: str, schema: Callable[[], JsonValue]) -> Shape | UnusableSchema:
        """What is remembered, or made now."""
        with self._alone:
            return self._got(digest, schema)

    def _got(self, digest: str, schema: Callable[[], JsonValue]) -> Shape | UnusableSchema:
        found = self._shapes.get(digest)
        if found is not None:
            self._shapes.move_to_end(digest)
            return found
        found = _made(schema())
        self._shapes[digest] = found
        self.size += _size(found)
        while len(self._shapes) > MAX_REMEMBERED or (self.size > MAX_REMEMBERED_BYTES and len(self._shapes) > 1):
            self.size -= _size(self._shapes.popitem(last=False)[1])
        return found


_REMEMBERED: Final = _Remembered()


def shape_of(schema: JsonValue) -> Shape | UnusableSchema:
    """The shape that a schema asks for; remembered by digest, in bounded memory.  Never raises."""
    try:
        text = orjson.dumps(schema, option=orjson.OPT_SORT_KEYS)
    except (TypeError, ValueError):
        return UnusableSchema("it is no JSON")
    return remembered_shape(f"schema {sha256(text).hexdigest()}", lambda: schema)


def remembered_shape(digest: str, schema: Callable[[], JsonValue]) -> Shape | UnusableSchema:
    """The same where the caller has a digest that stands for the schema, which is asked for once."""
    return _REMEMBERED.get(digest, schema)


def _made(schema: JsonValue) -> Shape | UnusableSchema:
    try:
        return _compiled(schema)
    except UnusableSchemaError as fault:
        return UnusableSchema(f"the schema cannot be used: {fault}")
    except BaseException as fault:  # see _is_refusal
        if not _is_refusal(fault):
            raise
        # Not its message: that quotes the schema.
        return UnusableSchema("the schema cannot be used: it is no JSON Schema of a draft that is known")


def _compiled(schema: JsonValue) -> Shape:
    """Raises UnusableSchemaError, and whatever the validator raises."""
    if not isinstance(schema, dict | bool):
        raise UnusableSchemaError("it is neither an object nor true or false")
    text = orjson.dumps(schema)
    if len(text) > MAX_SCHEMA_BYTES:
        raise UnusableSchemaError(f"it is larger than {MAX_SCHEMA_BYTES} bytes")
    if 1 + text.count(b",") + text.count(b"[") + text.count(b"{") > MAX_SCHEMA_VALUES:
        raise UnusableSchemaError(f"it has more than {MAX_SCHEMA_VALUES} values")
    graph = graph_of(schema, _needs_backtracking)
    bound = work_bound(graph)
    validator = _validator(schema, _BOUNDED)
    return Shape(validator, bound, graph.names, _size_of(len(text), graph))


def _needs_backtracking(pattern: str) -> bool:
    try:
        _validator({"pattern": pattern}, _LINEAR)
    except ValueError:
        return True
    return False


def _validator(
    schema: JsonObject | bool, options: jsonschema_rs.RegexOptions | jsonschema_rs.FancyRegexOptions
) -> jsonschema_rs.Validator:
    return jsonschema_rs.validator_for(
        schema,
        # 2020-12, 7.2.1: formats are annotations unless an implementation is told otherwise.
        validate_formats=False,
        retriever=_retrieve,
        pattern_options=options,
        mask="",
    )


def _retrieve(_uri: str) -> JsonValue:
    """No other document is looked at, wherever it may be."""
    raise LookupError("no other document is looked at")


def _is_refusal(fault: BaseException) -> bool:
    """Whether the validator refuses: by an exception, or by a panic of its own, which is no Exception."""
    return isinstance(fault, Exception) or type(fault).__name__ == "PanicException"


def _size_of(text: int, graph: Graph) -> int:
    """Measured: a schema of 4 KiB takes 94 KiB."""
    return 4096 + 20 * text + 100 * graph.pattern_states + _TABLE_BYTES // 8 * graph.patterns


def _size(shape: Shape | UnusableSchema) -> int:
    return shape.size if isinstance(shape, Shape) else 512
