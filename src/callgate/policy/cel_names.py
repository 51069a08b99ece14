"""What a condition may speak of: variables, functions and types, and the runtime made ready for them.

Variables have dots in their names, so that the checker knows the type of `caller.path` and has never heard of
`caller.pth`.  Functions are those whose cost is bounded in `cel_cost`, and no others.
"""

from collections.abc import Mapping
from datetime import timedelta
from functools import cache
from types import MappingProxyType
from typing import Final

from cel_expr_python import cel  # type: ignore[import-untyped]  # has a stub, and no py.typed
from cel_expr_python.ext import ext_strings  # type: ignore[import-untyped]  # as above

from callgate.policy.model import MAX_WINDOW_S
from callgate.policy.reading_fields import FIELDS, variables

_T: Final = cel.Type
_TEXTS: Final = _T.List(_T.STRING)
_OBJECT: Final = _T.Map(_T.STRING, _T.DYN)

# The type of an error, which the runtime gives back as a value.
ERROR: Final[object] = _T.ERROR

VARIABLES: Final[Mapping[str, cel.Type]] = MappingProxyType(
    {
        "args": _OBJECT,
        "caller.id": _T.STRING,
        "caller.trust_domain": _T.STRING,
        "caller.path": _TEXTS,
        "caller.svid_age": _T.DURATION,
        "caller.svid_left": _T.DURATION,
        "tool.name": _T.STRING,
        "tool.server": _T.STRING,
        "tool.tags": _TEXTS,
        "tool.annotations": _OBJECT,
        "request.method": _T.STRING,
        "request.revision": _T.STRING,
        "request.size": _T.INT,
        "request.purpose": _T.STRING,
        "request.hour": _T.INT,
        "request.minute": _T.INT,
        "request.weekday": _T.STRING,
        "now": _T.TIMESTAMP,
        "user.present": _T.BOOL,
        "user.subject": _T.STRING,
        "user.issuer": _T.STRING,
        "user.groups": _TEXTS,
        "user.claims": _OBJECT,
        # The answers to the condition's own questions; see cel_history.
        "history": _T.Map(_T.STRING, _T.INT),
    }
)
# What the gate found when it read arguments that are programs; see cel_reading.  No author can write such a name.
READING_VARIABLES: Final[Mapping[str, cel.Type]] = MappingProxyType(
    {name: _TEXTS if is_list else _T.BOOL for name, is_list in variables()}
)
# Variables with fields of any name: only the fields that a condition reads are handed over.
OPEN_VARIABLES: Final = frozenset({"args", "tool.annotations", "user.claims"})
# No loop's variable may be called so: `[1].all(args, …)` reads as something else than it is.
ROOTS: Final = frozenset(name.partition(".")[0] for name in VARIABLES)
TYPES: Final = frozenset({"bool", "bytes", "double", "int", "list", "map", "null_type", "string", "uint"})

MACROS: Final = ("all", "exists", "exists_one", "filter", "map", "has")
HISTORY_FUNCTIONS: Final = frozenset({"calls", "denials", "lockout", "used"})
OPERATORS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "_&&_": "&&", "_||_": "||", "!_": "!", "_?_:_": "?:", "_==_": "==", "_!=_": "!=", "_<_": "<", "_<=_": "<=",
        "_>_": ">", "_>=_": ">=", "_+_": "+", "_-_": "-", "-_": "-", "_*_": "*", "_/_": "/", "_%_": "%", "@in": "in",
        "_[_]": "[]", "@not_strictly_false": "all",
    }
)  # fmt: skip
GETTERS: Final = frozenset(
    {
        "getDate", "getDayOfMonth", "getDayOfWeek", "getDayOfYear", "getFullYear", "getHours", "getMilliseconds",
        "getMinutes", "getMonth", "getSeconds",
    }
)  # fmt: skip
CONVERSIONS: Final = frozenset({"bool", "double", "duration", "int", "string", "timestamp", "type", "uint"})
TEXT_FUNCTIONS: Final = frozenset(
    {"contains", "endsWith", "lowerAscii", "matches", "split", "startsWith", "trim", "upperAscii"}
)
FUNCTIONS: Final = (
    frozenset(OPERATORS) | GETTERS | CONVERSIONS | TEXT_FUNCTIONS | HISTORY_FUNCTIONS | frozenset({"dyn", "size"})
)
# What an author may have meant by a name that is not known.
KNOWN_WORDS: Final = (*VARIABLES, *FIELDS, *MACROS, *sorted(FUNCTIONS - frozenset(OPERATORS) - CONVERSIONS))


def question(function: str, *operands: str | int | timedelta) -> str:
    """The name under which the answer to `history.<function>(<operands>)` is handed to the runtime."""
    return f"{function}{[str(operand) for operand in operands]}"


def _calls(answers: Mapping[str, int], tools: str, window: timedelta) -> int:
    return answers[question("calls", tools, window)]


def _used(answers: Mapping[str, int], tag: str, window: timedelta) -> bool:
    return bool(answers[question("used", tag, window)])


def _denials(answers: Mapping[str, int], window: timedelta) -> int:
    return answers[question("denials", window)]


def _lockout(answers: Mapping[str, int], count: int, within: timedelta, lasting: timedelta) -> bool:
    return bool(answers[question("lockout", count, within, lasting)])


def _history_functions() -> list[cel.FunctionDecl]:
    """An answer that is missing raises KeyError, of which the runtime makes an error value."""
    answers = VARIABLES["history"]
    text, duration, number = _T.STRING, _T.DURATION, _T.INT
    declared = (
        ("calls", number, [text, duration], _calls),
        ("used", _T.BOOL, [text, duration], _used),
        ("denials", number, [duration], _denials),
        ("lockout", _T.BOOL, [number, duration, duration], _lockout),
    )
    return [
        cel.FunctionDecl(name, [cel.Overload(f"history_{name}", returns, [answers, *takes], True, function)])
        for name, returns, takes, function in declared
    ]


@cache
def environment() -> cel.Env:
    """What every condition is compiled in.  Making it takes 40 ms: once."""
    known = {**VARIABLES, **READING_VARIABLES}
    return cel.NewEnv(variables=known, functions=_history_functions(), extensions=[ext_strings.ExtStrings()])


@cache
def _probe(expression: str) -> cel.Expression:
    return cel.NewEnv(variables={"text": _T.STRING}).compile(expression)


def literal_duration(text: str) -> timedelta | None:
    """What `duration(text)` is, None where it is none.  More than a century is none."""
    value = _probe("duration(text)").eval(data={"text": text})
    if value.type() != _T.DURATION:
        return None
    found = value.value()
    return found if isinstance(found, timedelta) and abs(found) < timedelta(days=36_525) else None


def is_timestamp(text: str) -> bool:
    """Whether `timestamp(text)` is one."""
    return bool(_probe("timestamp(text)").eval(data={"text": text}).type() == _T.TIMESTAMP)


def is_pattern(text: str) -> bool:
    """Whether `matches` takes this for a regular expression (RE2's syntax)."""
    return bool(_probe("''.matches(text)").eval(data={"text": text}).type() == _T.BOOL)


MAX_WINDOW: Final = timedelta(seconds=MAX_WINDOW_S)
