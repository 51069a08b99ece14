"""A condition's syntax tree as a formula that `satisfy` can reckon with.

What it is made of: `&&`, `||`, `!`, `?:`, comparisons of anything with a literal, `in` a list of literals, `has`,
`startsWith` and its like with a literal, and truths as such.  All else is opaque: it may come out in any way, and in
the same way wherever it stands, because a condition looks at one moment.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from types import MappingProxyType
from typing import Final

from callgate.policy.cel_tree import Apply, Const, Entries, Expr, Items, Loop, Name, Reading, Select, children, walk
from callgate.policy.condition import Truth
from callgate.policy.satisfy import (
    ANYTHING,
    Among,
    Atom,
    Both,
    Choice,
    Compare,
    Domain,
    Either,
    Formula,
    IsThere,
    IsTrue,
    Kind,
    Literally,
    Not,
    Opaque,
    Ordered,
    TextTest,
)

# Deeper parts are opaque: people nest a condition a few levels deep, and reckoning is recursive.
_MAX_DEPTH: Final = 64
# RFC 7493, section 2.2: beyond this, a whole number and a double are not compared exactly.
_MAX_EXACT: Final = 2**53

_ARGUMENTS: Final = "args"
_CONNECTIVES: Final[Mapping[str, Callable[..., Formula]]] = MappingProxyType(
    {"_&&_": Both, "_||_": Either, "!_": Not, "_?_:_": Choice}
)
_MIRRORED: Final[Mapping[str, Ordered]] = MappingProxyType(
    {"_==_": "==", "_!=_": "!=", "_<_": ">", "_<=_": ">=", "_>_": "<", "_>=_": "<="}
)
_OPERATORS: Final[Mapping[str, Ordered]] = MappingProxyType(
    {"_==_": "==", "_!=_": "!=", "_<_": "<", "_<=_": "<=", "_>_": ">", "_>=_": ">="}
)
# What may have a value although an operand has none.
_LENIENT: Final = frozenset({"_&&_", "_||_", "_?_:_", "@not_strictly_false"})
_IN: Final = "@in"
# A field or key that a dotted path can name without becoming another path.
_PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# cel-spec, "Duration": "a possibly signed sequence of decimal numbers, each with optional fraction and a unit suffix".
_DURATION: Final = re.compile(r"(-?)((?:[0-9]+(?:\.[0-9]+)?(?:h|ms|m|s|us|ns))+)")
_DURATION_PART: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)(h|ms|m|s|us|ns)")
_UNITS: Final = {
    "h": Fraction(3600),
    "m": Fraction(60),
    "s": Fraction(1),
    "ms": Fraction(1, 1000),
    "us": Fraction(1, 10**6),
    "ns": Fraction(1, 10**9),
}
_TIMESTAMP: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?(?:Z|[+-][0-9]{2}:[0-9]{2})"
)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

_TEXT: Final = Domain(frozenset({"text"}))
_USERS_TEXT: Final = Domain(frozenset({"text", "absent"}))
_DURATIONS: Final = Domain(frozenset({"duration"}))
_TRUTHS: Final = Domain(frozenset({"bool", "absent"}))
_COMPUTED: Final = Domain(ANYTHING.kinds | {"duration", "timestamp", "nan"})
_COUNT: Final = Domain(frozenset({"number", "absent"}), whole=True, least=Fraction(0))


def _whole(most: int | None = None) -> Domain:
    return Domain(frozenset({"number"}), whole=True, least=Fraction(0), most=None if most is None else Fraction(most))


# What the gate itself gives a condition to read, and therefore what it may be.
VARIABLES: Final[Mapping[str, Domain]] = MappingProxyType(
    {
        "caller.id": _TEXT,
        "caller.trust_domain": _TEXT,
        "caller.svid_age": _DURATIONS,
        "caller.svid_left": _DURATIONS,
        "tool.name": _TEXT,
        "tool.server": _TEXT,
        "request.method": _TEXT,
        "request.revision": _TEXT,
        "request.purpose": _TEXT,
        "request.size": _whole(),
        "request.hour": _whole(23),
        "request.minute": _whole(59),
        "request.weekday": Domain(
            values=tuple(Literally("text", day) for day in ("mon", "tue", "wed", "thu", "fri", "sat", "sun"))
        ),
        "now": Domain(frozenset({"timestamp"})),
        "user.present": Domain(frozenset({"bool"})),
        "user.subject": _USERS_TEXT,
        "user.issuer": _USERS_TEXT,
    }
)
# Functions whose value is a count, wherever they have one.
_COUNTS: Final = frozenset({"size", "calls", "denials"})


@dataclass(frozen=True, slots=True)
class Subject:
    """What an atom is about: what it may be, and the arguments of the call without any of which it has no value."""

    domain: Domain
    needs: frozenset[str]


@dataclass(slots=True)
class Translation:
    """The formula of a condition, and its subjects by the names that the formula's atoms have."""

    subjects: dict[str, Subject] = field(default_factory=dict)
    formula: Formula = Truth.FAILED


def translated(tree: Expr) -> Translation:
    """The tree of a whole condition as a formula."""
    found = Translation()
    found.formula = _formula(tree, found.subjects, 0)
    return found


def _formula(node: Expr, subjects: dict[str, Subject], depth: int) -> Formula:
    if isinstance(node, Apply) and node.function in _CONNECTIVES:
        if depth > _MAX_DEPTH:
            return _opaque(node, subjects)
        return _CONNECTIVES[node.function](*(_formula(part, subjects, depth + 1) for part in node.operands))
    if isinstance(node, Const) and isinstance(node.value, bool):
        return Truth.HOLDS if node.value else Truth.FAILS_TO_HOLD
    return _atom(node, subjects)


def _atom(node: Expr, subjects: dict[str, Subject]) -> Formula:
    match node:
        case Apply(_, function, (left, right)) if function in _OPERATORS:
            return _comparison(node, subjects, (literal_of(left), literal_of(right)))
        case Apply(_, name, (left, right)) if name == _IN:
            return _membership(node, left, right, subjects)
        case Apply(_, ("startsWith" | "endsWith" | "contains") as function, (text, Const(_, str() as literal))):
            return Atom(_subject(text, subjects), TextTest(function, literal))
        case Select(_, operand, name, True):
            is_known = isinstance(operand, Name) and operand.name == _ARGUMENTS
            return Atom(_subject(Select(0, operand, name, only_tests=False), subjects), IsThere(is_known))
        case Name() | Select() | Reading() | Apply(_, "_[_]"):
            return Atom(_subject(node, subjects), IsTrue())
        case _:
            return _opaque(node, subjects)


def _comparison(
    node: Apply, subjects: dict[str, Subject], literals: tuple[Literally | None, Literally | None]
) -> Formula:
    left, right = node.operands
    match literals:
        case (None, Literally() as literal):
            return Atom(_subject(left, subjects), Compare(_OPERATORS[node.function], literal))
        case (Literally() as literal, None):
            return Atom(_subject(right, subjects), Compare(_MIRRORED[node.function], literal))
        case (Literally() as value, Literally() as literal):
            # A literal is a subject that is nothing but itself.
            subjects[spelled(left)] = Subject(Domain(values=(value,)), frozenset())
            return Atom(spelled(left), Compare(_OPERATORS[node.function], literal))
        case _:
            return _opaque(node, subjects)


def _membership(node: Expr, left: Expr, right: Expr, subjects: dict[str, Subject]) -> Formula:
    if isinstance(right, Items) and literal_of(left) is None:
        literals = [literal_of(item) for item in right.items]
        known = tuple(literal for literal in literals if literal is not None)
        if len(known) == len(literals):
            return Atom(_subject(left, subjects), Among(known))
    if isinstance(right, Name) and right.name == _ARGUMENTS and isinstance(left, Const) and isinstance(left.value, str):
        return Atom(_subject(Select(0, right, left.value, only_tests=False), subjects), IsThere(in_known=True))
    return _opaque(node, subjects)


def _opaque(node: Expr, subjects: dict[str, Subject]) -> Atom:
    name = f"({spelled(node)})"
    subjects[name] = Subject(ANYTHING, frozenset())
    return Atom(name, Opaque())


def _subject(node: Expr, subjects: dict[str, Subject]) -> str:
    name = path_of(node) or spelled(node)
    if name not in subjects:
        subjects[name] = Subject(_domain(node, name), frozenset(_needed(node)))
    return name


def _domain(node: Expr, name: str) -> Domain:
    if isinstance(node, Apply) and node.function in _COUNTS:
        return _COUNT
    if isinstance(node, Reading) and not node.is_list:
        return _TRUTHS
    found = VARIABLES.get(name)
    if found is not None:
        return found
    # What is computed may be a duration, a moment, or no number (NaN), too; JSON has none of these.
    return ANYTHING if isinstance(node, Name | Select) else _COMPUTED


def _needed(node: Expr) -> Iterator[str]:
    """The arguments that have to be there for `node` to have a value at all.  Total: where in doubt, none."""
    rest = [node]
    while rest:
        found = rest.pop()
        if (name := argument_of(found)) is not None:
            yield name
        if isinstance(found, Reading) or (isinstance(found, Select) and not found.only_tests):
            rest.append(found.operand)
        # A function fails where an operand does, but for those that need not look at all of them.
        elif isinstance(found, Apply) and found.function not in _LENIENT:
            rest += children(found)


def argument_of(node: Expr) -> str | None:
    """The argument's name where `node` is `args.name` or `args["name"]`."""
    match node:
        case Select(_, Name(_, "args"), name, False):
            return name
        case Apply(_, "_[_]", (Name(_, "args"), Const(_, str() as name))):
            return name
        case _:
            return None


def is_plain(name: str) -> bool:
    """Whether a dotted path can have the name as a step."""
    return _PLAIN.fullmatch(name) is not None


def path_of(node: Expr) -> str | None:
    """`args.account.id` for a variable and for what is picked out of one by names; None for anything else."""
    steps: list[str] = []
    while True:
        match node:
            case Name(_, name):
                return ".".join([name, *reversed(steps)])
            case Select(_, operand, step, False) if is_plain(step):
                node = operand
            case Apply(_, "_[_]", (operand, Const(_, str() as step))) if is_plain(step):
                node = operand
            case _:
                return None
        steps.append(step)


def spelled(node: Expr) -> str:
    """The tree as text, the same for the same tree and for no other, wherever it stands.  Never a path."""
    parts: list[str] = []
    for found in walk(node):
        # The number of parts keeps f(g(a), b) apart from f(g(a, b)).
        own = [type(found).__name__, *(repr(value) for value in _own(found)), str(len(children(found)))]
        parts.append(" ".join(own))
    return "; ".join(parts)


def _own(node: Expr) -> tuple[object, ...]:  # noqa: PLR0911  # a table
    match node:
        case Const(_, value, is_unsigned):
            return type(value).__name__, value, is_unsigned
        case Name(_, name):
            return (name,)
        case Select(_, _, name, only_tests):
            return name, only_tests
        case Apply(_, function, _, is_method):
            return function, is_method
        case Loop():
            return node.variable, node.accumulator
        case Reading():
            return (node.text,)
        case Items() | Entries():
            return ()


def literal_of(node: Expr) -> Literally | None:
    """The value that is written out there; None where none is, or none that can be compared exactly."""
    match node:
        case Const(_, value):
            return _literal(value)
        case Apply(_, "-_", (inner,)):
            found = literal_of(inner)
            if found is None or found.kind != "number" or not isinstance(found.value, Fraction):
                return None
            return Literally("number", -found.value)
        case Apply(_, "duration", (Const(_, str() as text),)):
            return _seconds("duration", _duration(text))
        case Apply(_, "timestamp", (Const(_, str() as text),)):
            return _seconds("timestamp", _timestamp(text))
        case _:
            return None


def _literal(value: object) -> Literally | None:
    match value:
        case None:
            return Literally("null")
        case bool():
            return Literally("bool", value)
        case str():
            return Literally("text", value)
        case int() | float() if math.isfinite(value) and abs(value) <= _MAX_EXACT:
            return Literally("number", Fraction(value))
        case _:
            return None


def _seconds(kind: Kind, seconds: Fraction | None) -> Literally | None:
    return None if seconds is None else Literally(kind, seconds)


def _duration(text: str) -> Fraction | None:
    found = _DURATION.fullmatch(text)
    if found is None:
        return None
    total = sum((Fraction(n) * _UNITS[unit] for n, unit in _DURATION_PART.findall(found[2])), Fraction(0))
    return -total if found[1] else total


def _timestamp(text: str) -> Fraction | None:
    try:
        passed = datetime.fromisoformat(text) - _EPOCH if _TIMESTAMP.fullmatch(text) else None
    except (ValueError, OverflowError):
        return None
    return None if passed is None else Fraction(passed // timedelta(microseconds=1), 10**6)
