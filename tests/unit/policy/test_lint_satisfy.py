"""What is said of a condition's outcomes is held against Google's own evaluation in test_lint_formula; here, by hand."""

from fractions import Fraction

import pytest

from callgate.policy.condition import Truth
from callgate.policy.satisfy import (
    MAX_COMBINATIONS,
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
    outcomes,
)

HOLDS, NOT, FAILS = Truth.HOLDS, Truth.FAILS_TO_HOLD, Truth.FAILED
THERE: frozenset[Kind] = frozenset({"number", "text", "bool", "null", "other"})


def x(operator: Ordered, value: float | str | bool | None) -> Atom:
    match value:
        case None:
            return Atom("x", Compare(operator, Literally("null")))
        case bool():
            return Atom("x", Compare(operator, Literally("bool", value)))
        case str():
            return Atom("x", Compare(operator, Literally("text", value)))
        case _:
            return Atom("x", Compare(operator, Literally("number", Fraction(value))))


@pytest.mark.parametrize(
    "formula",
    [
        Both(x("<", 3), x(">", 5)),
        Both(x("==", 3), x("==", 4)),
        Both(x("==", "a"), x("==", "b")),
        Both(x("==", "a"), x("==", 1)),
        Both(x("<", "a"), x(">", "b")),
        Both(x("==", 1), x("!=", 1)),
        Both(x("==", True), x("==", False)),
        Both(x("==", None), x("==", "a")),
        Both(x("==", "abc"), Atom("x", TextTest("startsWith", "b"))),
        Both(x("==", "abc"), Not(Atom("x", TextTest("contains", "b")))),
        Both(x("==", "abc"), Atom("x", TextTest("endsWith", "b"))),
        Both(Atom("x", IsTrue()), Not(Atom("x", IsTrue()))),
        Both(Atom("x", IsThere(in_known=True)), Not(Atom("x", IsThere(in_known=True)))),
        Both(Atom("x", IsTrue()), Not(Atom("x", IsThere(in_known=True)))),
        Both(Atom("x", Opaque()), Not(Atom("x", Opaque()))),
        Both(Atom("x", Among((Literally("number", Fraction(1)),))), x(">", 1)),
        Not(Either(x("!=", 1), x("!=", 2))),
        Choice(x("==", 1), x("==", 2), Truth.FAILS_TO_HOLD),
        Truth.FAILS_TO_HOLD,
        Truth.FAILED,
    ],
)
def test_finds_what_can_never_hold(formula: Formula) -> None:
    assert HOLDS not in outcomes(formula, {})


@pytest.mark.parametrize(
    "formula",
    [
        x("<", 3),
        Both(x(">", 3), x("<", 4)),
        Both(x(">", "a"), x("<", "b")),
        Both(x("!=", 1), x("!=", 2)),
        Both(x(">=", 3), x("<=", 3)),
        Both(x("!=", "abc"), Atom("x", TextTest("startsWith", "abc"))),
        Both(Atom("x", Opaque()), Not(Atom("y", Opaque()))),
        Both(x("==", 1), Atom("y", Compare("==", Literally("number", Fraction(2))))),
    ],
)
def test_does_not_say_never_of_what_holds_for_some_value(formula: Formula) -> None:
    assert {HOLDS, NOT} <= outcomes(formula, {})


def test_a_whole_number_lies_between_no_two_neighbours() -> None:
    whole = Domain(frozenset({"number"}), whole=True)

    assert outcomes(Both(x(">", 3), x("<", 4)), {"x": whole}) == {NOT}
    assert HOLDS in outcomes(Both(x(">", 3), x("<", 5)), {"x": whole})
    assert HOLDS in outcomes(x(">", Fraction(7, 2).__float__()), {"x": whole})


def test_bounds_count() -> None:
    hour = Domain(frozenset({"number"}), whole=True, least=Fraction(0), most=Fraction(23))

    assert outcomes(x(">", 23), {"x": hour}) == {NOT}
    assert outcomes(x(">=", 0), {"x": hour}) == {HOLDS}
    assert outcomes(x("<", 12), {"x": hour}) == {HOLDS, NOT, FAILS}


def test_known_values_count() -> None:
    servers = Domain(values=(Literally("text", "ledger"), Literally("text", "mail")))

    assert outcomes(x("==", "legder"), {"x": servers}) == {NOT}
    assert outcomes(Atom("x", TextTest("contains", "e")), {"x": servers}) == {HOLDS, NOT, FAILS}
    assert outcomes(x(">", "k"), {"x": servers}) == {HOLDS}


def test_tells_failing_from_not_holding() -> None:
    assert outcomes(x("==", 1), {"x": Domain(frozenset({"absent"}))}) == {FAILS}
    assert outcomes(Either(x("!=", 1), x("!=", 2)), {"x": Domain(THERE)}) == {HOLDS}
    assert outcomes(Either(x("!=", 1), x("!=", 2)), {}) == {HOLDS, FAILS}


def test_an_error_is_settled_by_the_other_side_as_in_cel() -> None:
    absent = {"x": Domain(frozenset({"absent"}))}

    assert outcomes(Either(x("==", 1), Truth.HOLDS), absent) == {HOLDS}
    assert outcomes(Both(x("==", 1), Truth.FAILS_TO_HOLD), absent) == {NOT}
    assert outcomes(Choice(x("==", 1), Truth.HOLDS, Truth.HOLDS), absent) == {FAILS}


def test_what_is_no_number_is_neither_less_nor_not_less() -> None:
    computed = Domain(frozenset({"number", "nan"}))

    assert HOLDS in outcomes(Both(Not(x("<", 5)), Not(x(">=", 5))), {"x": computed})


def test_claims_nothing_where_there_are_too_many_combinations() -> None:
    formula: Formula = Truth.HOLDS
    for index in range(MAX_COMBINATIONS.bit_length()):
        formula = Both(formula, Both(Atom(f"y{index}", IsTrue()), Not(Atom(f"y{index}", IsTrue()))))

    # It never holds, but nobody has looked at all of it.
    assert outcomes(formula, {}) == {HOLDS, NOT, FAILS}


def test_claims_nothing_where_one_subject_has_too_many_ways() -> None:
    tests = [Atom("x", TextTest("contains", f"t{index}")) for index in range(20)]
    formula: Formula = Truth.HOLDS
    for test in tests:
        formula = Either(Both(formula, Both(test, Not(test))), Both(test, Not(test)))

    assert outcomes(formula, {}) == {HOLDS, NOT, FAILS}
