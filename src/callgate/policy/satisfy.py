"""Whether a condition can hold at all, and whether it can fail to.

A condition is a formula over atoms such as `args.amount < 500`.  How an atom comes out depends on one subject
(`args.amount`), and of all that a subject may be, only how it lies to the literals that it is compared with matters: so
some values stand for all, and a formula that no combination of them makes true is never true.  What is not understood
(`Opaque`) may come out in any way.  So the outcomes found are all that there are, or more: a claim that one of them
never comes about is right.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice, pairwise, product
from typing import Final, Literal, TypeAlias, assert_never

from callgate.policy.condition import Truth

# Combinations that are tried: some 50 ms.  Conditions that people write need a few dozen.
MAX_COMBINATIONS: Final = 4_096

Kind: TypeAlias = Literal["absent", "null", "bool", "number", "text", "duration", "timestamp", "nan", "other"]
Ordered: TypeAlias = Literal["==", "!=", "<", "<=", ">", ">="]

_EVERY: Final = frozenset(Truth)
_T, _F, _E = Truth.HOLDS, Truth.FAILS_TO_HOLD, Truth.FAILED
# What compares as a number: durations and moments are their seconds.
_NUMBERS: Final[frozenset[Kind]] = frozenset({"number", "duration", "timestamp"})


@dataclass(frozen=True, slots=True)
class Literally:
    """A value that a condition writes out: a bool, a text, or a number (of seconds)."""

    kind: Kind
    value: bool | str | Fraction | None = None


@dataclass(frozen=True, slots=True)
class Compare:
    """`subject < 500`."""

    operator: Ordered
    literal: Literally


@dataclass(frozen=True, slots=True)
class Among:
    """`subject in [1, 2]`."""

    literals: tuple[Literally, ...]


@dataclass(frozen=True, slots=True)
class TextTest:
    """`subject.startsWith("a")`."""

    function: Literal["startsWith", "endsWith", "contains"]
    literal: str


@dataclass(frozen=True, slots=True)
class IsTrue:
    """The subject itself, where a truth is expected."""


@dataclass(frozen=True, slots=True)
class IsThere:
    """`has(subject)`; `in_known`: what it is asked of is always there, and a mapping."""

    in_known: bool


@dataclass(frozen=True, slots=True)
class Opaque:
    """Anything else: the subject is the whole of it."""


Test: TypeAlias = Compare | Among | TextTest | IsTrue | IsThere | Opaque


@dataclass(frozen=True, slots=True)
class Atom:
    """A test of one subject.  The same subject has the same value wherever it stands."""

    subject: str
    test: Test


@dataclass(frozen=True, slots=True)
class Not:
    """`!inner`."""

    inner: "Formula"


@dataclass(frozen=True, slots=True)
class Both:
    """`left && right`."""

    left: "Formula"
    right: "Formula"


@dataclass(frozen=True, slots=True)
class Either:
    """`left || right`."""

    left: "Formula"
    right: "Formula"


@dataclass(frozen=True, slots=True)
class Choice:
    """`asked ? then : otherwise`."""

    asked: "Formula"
    then: "Formula"
    otherwise: "Formula"


Formula: TypeAlias = Truth | Atom | Not | Both | Either | Choice


@dataclass(frozen=True, slots=True)
class Domain:
    """What a subject may be.

    `values`: these and nothing else, where they are known.  `least`, `most` bound a number; `whole`: it is an integer.
    """

    kinds: frozenset[Kind] = frozenset({"absent", "null", "bool", "number", "text", "other"})
    values: tuple[Literally, ...] | None = None
    whole: bool = False
    least: Fraction | None = None
    most: Fraction | None = None


ANYTHING: Final = Domain()


@dataclass(frozen=True, slots=True)
class _Value:
    """One value that stands for many: `rank` orders texts by the literals; `value` is None where it stands between."""

    kind: Kind
    value: bool | str | Fraction | None = None
    rank: int = 0


def outcomes(formula: Formula, domains: Mapping[str, Domain]) -> frozenset[Truth]:
    """Every way in which the formula may come out; all three where that takes too long to tell."""
    atoms: dict[str, dict[Atom, None]] = {}
    for atom in _atoms(formula):
        atoms.setdefault(atom.subject, {})[atom] = None
    choices = [_profiles(tuple(of), domains.get(subject, ANYTHING)) for subject, of in atoms.items()]
    order = [atom for of in atoms.values() for atom in of]
    found: set[Truth] = set()
    tried = product(*choices)
    for chosen in islice(tried, MAX_COMBINATIONS):
        known = dict(zip(order, (truth for profile in chosen for truth in profile), strict=True))
        found.add(_evaluate(formula, known))
        if {_T, _F} <= found:
            return _EVERY
    return frozenset(found) if next(tried, None) is None else _EVERY


def _atoms(formula: Formula) -> Iterator[Atom]:
    rest = [formula]
    while rest:
        match rest.pop():
            case Atom() as atom:
                yield atom
            case Not(inner):
                rest.append(inner)
            case Both(left, right) | Either(left, right):
                rest += (right, left)
            case Choice(asked, then, otherwise):
                rest += (otherwise, then, asked)
            case Truth():
                pass


def _evaluate(formula: Formula, known: Mapping[Atom, Truth]) -> Truth:
    """CEL, "Logical Operators": && and || do not mind the order, and take no error where one side settles it."""
    match formula:
        case Truth():
            return formula
        case Atom():
            return known[formula]
        case Not(inner):
            return _negated(_evaluate(inner, known))
        case Both(left, right):
            return _settled(_F, _T, _evaluate(left, known), _evaluate(right, known))
        case Either(left, right):
            return _settled(_T, _F, _evaluate(left, known), _evaluate(right, known))
        case Choice(asked, then, otherwise):
            truth = _evaluate(asked, known)
            return _E if truth is _E else _evaluate(then if truth is _T else otherwise, known)
        case _:
            assert_never(formula)


def _negated(truth: Truth) -> Truth:
    return {_T: _F, _F: _T, _E: _E}[truth]


def _settled(settles: Truth, neutral: Truth, left: Truth, right: Truth) -> Truth:
    if settles in {left, right}:
        return settles
    return _E if _E in {left, right} else neutral


def _profiles(atoms: tuple[Atom, ...], domain: Domain) -> list[tuple[Truth, ...]]:
    """How the atoms of one subject may come out together, each way once."""
    found: dict[tuple[Truth, ...], None] = {}
    ranks = _ranks(atoms)
    ways = (
        way for value in _values(atoms, domain) for way in product(*(_outcomes(a.test, value, ranks) for a in atoms))
    )
    for way in ways:
        found[way] = None
        if len(found) > MAX_COMBINATIONS:
            # More than are tried: whatever is left out, `outcomes` claims nothing.
            break
    # Failures last: what holds and what does not is found sooner.
    return sorted(found, key=lambda way: way.count(_E))


def _values(atoms: tuple[Atom, ...], domain: Domain) -> Iterator[_Value]:
    ranks = _ranks(atoms)
    if domain.values is not None:
        yield from (_Value(v.kind, v.value, _rank_of(v, ranks)) for v in domain.values)
        return
    if "absent" in domain.kinds:
        yield _Value("absent")
    for kind in ("null", "other", "nan"):
        if kind in domain.kinds:
            yield _Value(kind)
    if "bool" in domain.kinds:
        yield from (_Value("bool", value) for value in (True, False))
    if "text" in domain.kinds:
        yield from (_Value("text", text, rank) for text, rank in _texts(ranks))
    for kind in sorted(_NUMBERS & domain.kinds):
        yield from (_Value(kind, number) for number in _numbers(kind, atoms, domain))


def _literals(atoms: Iterable[Atom]) -> Iterator[Literally]:
    for atom in atoms:
        match atom.test:
            case Compare(_, literal):
                yield literal
            case Among(literals):
                yield from literals
            case _:
                pass


def _ranks(atoms: Iterable[Atom]) -> dict[str, int]:
    """Each text that the subject is compared with, at an odd rank; what lies between has the even ones."""
    texts = {literal.value for literal in _literals(atoms) if isinstance(literal.value, str)}
    tests = {atom.test.literal for atom in atoms if isinstance(atom.test, TextTest)}
    return {text: 2 * index + 1 for index, text in enumerate(sorted(texts | tests))}


def _rank_of(literal: Literally, ranks: Mapping[str, int]) -> int:
    if not isinstance(literal.value, str):
        return 0
    return ranks.get(literal.value, 2 * sum(text < literal.value for text in ranks))


def _texts(ranks: Mapping[str, int]) -> Iterator[tuple[str | None, int]]:
    yield from ranks.items()
    yield from ((None, 2 * index) for index in range(len(ranks) + 1))


def _numbers(kind: Kind, atoms: Iterable[Atom], domain: Domain) -> Iterator[Fraction]:
    literals = {x.value for x in _literals(atoms) if x.kind == kind and isinstance(x.value, Fraction)}
    marks = sorted(literals | {bound for bound in (domain.least, domain.most) if bound is not None})
    if not marks:
        marks = [Fraction(0)]
    near = {mark + step for mark in marks for step in (-1, 0, 1)}
    between = {(low + high) / 2 for low, high in pairwise(marks)} | {mark + Fraction(1, 2) for mark in marks}
    if domain.whole:
        # What is next to a literal that is no integer itself.
        near = {Fraction(number) for mark in near for number in (mark.__floor__(), mark.__ceil__())}
        between = set()
    for number in sorted(near | between):
        if (domain.least is None or number >= domain.least) and (domain.most is None or number <= domain.most):
            yield number


def _outcomes(test: Test, value: _Value, ranks: Mapping[str, int]) -> tuple[Truth, ...]:  # noqa: PLR0911  # a table
    """How the test may come out for a value."""
    if isinstance(test, Opaque):
        return (_T, _F, _E)
    if isinstance(test, IsThere):
        if value.kind == "absent":
            return (_F,) if test.in_known else (_F, _E)
        return (_T,)
    if value.kind == "absent":
        return (_E,)
    match test:
        case IsTrue():
            return (_truth(value.value is True),) if value.kind == "bool" else (_E,)
        case Among(literals):
            return (_truth(any(_equal(value, literal) for literal in literals)),)
        case Compare(operator, literal):
            return (_compared(operator, value, literal, ranks),)
        case TextTest():
            return _tested(test, value)
        case _:
            assert_never(test)


def _truth(holds: bool) -> Truth:  # it is the whole of it
    return _T if holds else _F


def _equal(value: _Value, literal: Literally) -> bool:
    """CEL, "Equality": values of different types are not equal, which is no error; 1 equals 1.0."""
    return value.kind == literal.kind and value.kind != "other" and value.value == literal.value


def _compared(operator: Ordered, value: _Value, literal: Literally, ranks: Mapping[str, int]) -> Truth:
    if operator in {"==", "!="}:
        return _truth(_equal(value, literal) is (operator == "=="))
    if value.kind == "nan" and literal.kind == "number":
        return _F
    if value.kind != literal.kind:
        return _E
    sign = _sign(value, literal, ranks)
    if sign is None:
        return _E
    holds = {"<": sign < 0, "<=": sign <= 0, ">": sign > 0, ">=": sign >= 0}
    return _truth(holds[operator])


def _sign(value: _Value, literal: Literally, ranks: Mapping[str, int]) -> int | None:
    """Which of them is more; None where they have no order."""
    if isinstance(literal.value, str):
        return value.rank - ranks[literal.value]
    if isinstance(literal.value, Fraction) and isinstance(value.value, Fraction):
        return (value.value > literal.value) - (value.value < literal.value)
    if isinstance(literal.value, bool) and isinstance(value.value, bool):
        return value.value - literal.value
    return None


def _tested(test: TextTest, value: _Value) -> tuple[Truth, ...]:
    if value.kind != "text":
        return (_E,)
    if not isinstance(value.value, str):
        return (_T, _F)
    match test.function:
        case "startsWith":
            return (_truth(value.value.startswith(test.literal)),)
        case "endsWith":
            return (_truth(value.value.endswith(test.literal)),)
        case "contains":
            return (_truth(test.literal in value.value),)
