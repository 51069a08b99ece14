"""Which parts of a condition are written out, for the linter."""

from fractions import Fraction

import pytest

from callgate.policy.cel_tree import Apply
from callgate.policy.expression import Expression, read_expression
from callgate.policy.formula import literal_of
from callgate.policy.satisfy import Literally


def right_of(text: str) -> Literally | None:
    expression = read_expression(text)
    assert isinstance(expression, Expression), expression
    assert isinstance(expression.tree, Apply)
    return literal_of(expression.tree.operands[1])


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("args.n == 5", Literally("number", Fraction(5))),
        ("args.n == 5u", Literally("number", Fraction(5))),
        ("args.n == 1.5", Literally("number", Fraction(3, 2))),
        ("args.n == -5", Literally("number", Fraction(-5))),
        ("args.n == -(5)", Literally("number", Fraction(-5))),
        ("args.n == -(-(5))", Literally("number", Fraction(5))),
        ("args.n == 'x'", Literally("text", "x")),
        ("args.n == true", Literally("bool", value=True)),
        ("args.n == null", Literally("null")),
        ("caller.svid_age < duration('1h30m')", Literally("duration", Fraction(5_400))),
        ("caller.svid_age < duration('1.5s')", Literally("duration", Fraction(3, 2))),
        ("now < timestamp('1970-01-01T00:01:00Z')", Literally("timestamp", Fraction(60))),
        ("now < timestamp('1970-01-01T00:00:00.25Z')", Literally("timestamp", Fraction(1, 4))),
        ("now < timestamp('1970-01-01T01:00:00+01:00')", Literally("timestamp", Fraction(0))),
    ],
)
def test_what_is_written_out_is_taken_for_what_it_is(text: str, found: Literally) -> None:
    assert right_of(text) == found


@pytest.mark.parametrize(
    "text", ["args.n == args.m", "args.n == 1 + 1", "args.n == -args.m", "now < timestamp(args.n)"]
)
def test_what_is_not_written_out_is_nothing(text: str) -> None:
    assert right_of(text) is None
