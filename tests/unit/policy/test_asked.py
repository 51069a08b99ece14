"""What a condition names: tags, and tools whose calls it counts."""

import pytest

from callgate.policy.asked import Asked, asked_of
from callgate.policy.expression import Expression, read_expression


@pytest.mark.parametrize(
    ("text", "tags", "counted"),
    [
        ('history.used("reads_private", duration("1h"))', {"reads_private"}, set()),
        ('"sends_out" in tool.tags', {"sends_out"}, set()),
        ('history.calls("mail/send", duration("1h")) < 3', set(), {"mail/send"}),
        ('!("a" in tool.tags && history.used("b", duration("1m")))', {"a", "b"}, set()),
        ('args.list.exists(x, x > history.calls("get", duration("1h")))', set(), {"get"}),
        ('"sends_out" in user.groups', set(), set()),
        ('args.text == "reads_private"', set(), set()),
    ],
)
def test_finds_what_a_condition_names_wherever_it_stands(text: str, tags: set[str], counted: set[str]) -> None:
    expression = read_expression(text)

    assert isinstance(expression, Expression)
    assert asked_of(expression.tree) == Asked(frozenset(tags), frozenset(counted))
