"""What is wrong with a condition is told before it decides anything, where it stands and in words of its author."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callgate.policy.cel_wire import UnreadableExpression, read_tree
from callgate.policy.condition import Condition, compile_condition
from callgate.policy.expression import ExpressionProblem
from callgate.policy.model import MAX_EXPRESSION_CHARACTERS


def problems_of(text: str) -> tuple[ExpressionProblem, ...]:
    found = compile_condition(text)
    assert isinstance(found, tuple), "it compiles"
    return found


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        ('caller.pth == ["a"]', 7, "'caller' has no 'pth'; did you mean 'caller.path'?"),
        ("user.group == 1", 5, "'user' has no 'group'; did you mean 'user.groups'?"),
        ("user == 1", 1, "'user' is nothing by itself; it has present, subject, issuer, groups, claims"),
        ("amount < 500", 1, "'amount' is not known; arguments are written args.<name>"),
        ('args.path.startswith("/")', 21, "'startswith' is not known; did you mean 'startsWith'?"),
        ("history.call('x', duration('1h')) > 1", 13, "'call' is not known; did you mean 'calls'?"),
        ('request.size > "1"', 14, "'>' does not take int, string"),
        ("now > 1", 5, "'>' does not take timestamp, int"),
        ('"yes"', 1, "must be true or false, not text"),
        ("1 + 1", 1, "must be true or false, not a number"),
        ("[true]", 1, "must be true or false, not a list"),
        ("now - now", 1, "must be true or false, not a duration"),
        ("args.a ==", 10, "is not CEL: mismatched input '<EOF>'"),
        ("args.a = 1", 8, "is not CEL: token recognition error at: '= '"),
        ("true and false", 6, "is not CEL: mismatched input 'and'; it is written &&"),
        ("true or false", 6, "is not CEL: mismatched input 'or'; it is written ||"),
        ("args.a = 1", 8, "is not CEL: token recognition error at: '= '; equality is written =="),
        ('history.used("a_tag", 1h)', 24, "is not CEL: extraneous input 'h'; a time is written duration(\"1h\")"),
        ('history.used("a_tag", "1h")', 13, 'history is asked like this: history.used("tag", duration("1h"))'),
        ('history.calls("refund") > 3', 14, 'history is asked like this: history.calls("server/tool", duration("1h"))'),
        ('args.a.replace("a", "b") == ""', 15, "'replace' is not available in conditions"),
        ('args.a.join(",") == ""', 12, "'join' is not available in conditions"),
        ('"%s".format([args.a]) == ""', 12, "'format' is not available in conditions"),
        ('args.a.reverse() == ""', 15, "'reverse' is not available in conditions"),
        ('args.a == b"x"', 11, "bytes are not available in conditions"),
        ('args.a == "x\\u0000"', 11, "text with a NUL character is never in a call"),
        ("google.protobuf.Struct{} == {}", 1, "says something that is not available in conditions"),
        ("args.a.matches(args.b)", 20, "matches takes a pattern that is written out"),
        ('args.a.matches("(")', 16, "is no regular expression (RE2's syntax)"),
        ('args.a.matches("(a{1000}){1000}")', 16, "the pattern is too large"),
        ('args.a.matches("\\\\Qa\\\\E")', 16, "the pattern has \\Q, which is not available here"),
        ("now.getHours(args.zone) == 1", 18, "a time zone must be written out"),
        ('now.getHours("../../etc/passwd") == 1', 14, "must be a time zone such as Europe/Berlin"),
        ('caller.svid_age < duration("5 minutes")', 28, "is no duration such as 90s, 1h or 1h30m"),
        ('now < timestamp("tomorrow")', 17, "is no moment such as 2026-12-31T18:00:00Z"),
        ("[1].all(args, args > 0)", 8, "'args' is something else already; choose another name"),
        ("[1].exists(string, true)", 11, "'string' is something else already; choose another name"),
        ("history == {}", 1, "history is nothing by itself; ask it by one of calls, denials, lockout, used"),
        ('history["x"] == 1', 1, "history is nothing by itself"),
        ("{'a': 1}.denials(duration('1h')) == 1", 1, "'denials' is a function of history"),
        ("history.calls(args.tool, duration('1h')) > 1", 19, "history is asked with text that is written out"),
        ("history.calls('no tool', duration('1h')) > 1", 15, "the tool of history.calls must be 1 to 128 letters"),
        ("history.calls('No Server/x', duration('1h')) > 1", 15, 'history.calls takes "tool" or "server/tool"'),
        ("history.calls('x', duration(args.d)) > 1", 28, "history is asked with a time that is written out"),
        ("history.calls('x', duration('25h')) > 1", 28, "history reaches back from 1s to 24h"),
        ("history.denials(duration('0s')) > 1", 25, "history reaches back from 1s to 24h"),
        ("history.used('No tag', duration('1h'))", 14, "history.used takes a tag"),
        ("history.lockout(0, duration('1m'), duration('1h'))", 17, "history.lockout counts from 1 to 1000 denials"),
        (
            "history.lockout(args.n, duration('1m'), duration('1h'))",
            21,
            "history is asked with a number that is written",
        ),
    ],
)
def test_each_mistake_is_told_where_it_stands(text: str, column: int, message: str) -> None:
    first = problems_of(text)[0]
    assert (first.line, first.column) == (1, column)
    assert first.message.startswith(message)


def test_a_mistake_in_a_later_line_is_told_there() -> None:
    assert problems_of("args.a == 1 &&\n  b == 2")[0].line == 2
    assert problems_of("args.a == 1 &&\n  b == 2")[0].column == 3
    assert problems_of('"漢😀" == args.a &&\n "😀" + b"x" == ""')[0].line == 2
    found = problems_of('"😀" == args.a && args.b == b"x"')
    assert [(problem.line, problem.column) for problem in found] == [(1, 28)]


def test_all_mistakes_are_told_in_the_order_of_the_text() -> None:
    found = problems_of('args.a.matches("(") && history.denials(duration("2d")) > 1 && [1].all(now, true)')
    assert [problem.column for problem in found] == sorted(problem.column for problem in found)
    assert len(found) == 3


@pytest.mark.parametrize(
    "text",
    [
        "(" * 900 + "true" + ")" * 900, "[" * 1_000, "[" * 900 + "]" * 900, "!" * 1_999 + "(",
        "1" + "+1" * 999 + " == 1", "args" + ".a" * 900 + " == 1", "args" + "[0]" * 600 + " == 1",
        "{1:" * 400 + "1" + "}" * 400 + " == 1", "size(" * 390 + '"a"' + ")" * 390 + " == 1",
        "[1].all(x," * 100 + "true" + ")" * 100, "true ? " * 200 + "true" + " : true" * 200, "", " ", "\0", "true\0",
        '"\\', "'" * 1_999, "\ud800", "\x85", "a" * (MAX_EXPRESSION_CHARACTERS + 1),
    ],
)  # fmt: skip
def test_text_made_to_break_a_parser_is_a_problem_and_no_more(text: str) -> None:
    assert all(problem.line >= 1 and problem.column >= 1 and problem.message for problem in problems_of(text))


@pytest.mark.parametrize("text", ["!" * 1_900 + "true", "-" * 1_000 + "1 == 1", "true" + " && true" * 240])
def test_what_is_long_and_flat_is_no_problem(text: str) -> None:
    assert isinstance(compile_condition(text), Condition)


def test_a_condition_of_too_many_parts_is_told() -> None:
    assert "is too long" in problems_of("1 in [" + ",".join("1" * 990) + "]")[0].message


def test_loops_within_loops_within_loops_have_an_end() -> None:
    text = "args.l.all(a, a.all(b, b.all(c, {}true)))"
    assert isinstance(compile_condition(text.format("")), Condition)
    found = problems_of(text.format("c.all(d, true) && "))
    assert "has more than 3 of all, exists, filter and map" in found[0].message


def test_history_is_asked_a_few_times_at_most() -> None:
    def asked(times: int) -> str:
        return " && ".join(f'history.denials(duration("{window + 1}s")) < 3' for window in range(times))

    assert isinstance(compile_condition(asked(8)), Condition)
    assert "more than 8 times" in problems_of(asked(9))[0].message


def test_a_condition_that_no_call_could_afford_is_told() -> None:
    items = "[" + ",".join("1" * 60) + "]"
    found = problems_of(f"{items}.all(a, {items}.all(b, {items}.all(c, a + b + c > 0)))")
    assert found[0].message.endswith("steps whatever the call; the limit is 100000")


words = st.sampled_from(
    [
        "args", ".a", "caller.id", "history", ".calls(", "(", ")", "[", "]", "{", "}", ",", "==", "&&", "||", "!", "-", "1",
        '"x"', ".all(x,", ".map(x,", "x", "has(", "?", ":", ".matches(", "duration(", '"1h"', "in", "+", "now", "\n", " ", "'",
    ]
)  # fmt: skip


@given(st.one_of(st.text(max_size=60), st.lists(words, max_size=25).map("".join)))
def test_any_text_is_a_condition_or_has_problems_within_it(text: str) -> None:
    found = compile_condition(text)
    if isinstance(found, tuple):
        lines = text.split("\n")
        assert found
        assert all(1 <= problem.line <= len(lines) + 1 and problem.column >= 1 for problem in found)


@given(st.binary(max_size=200))
def test_what_is_no_expression_of_the_runtime_s_is_never_read_as_one(message: bytes) -> None:
    with pytest.raises(UnreadableExpression):
        read_tree(message)


def test_says_why_a_small_pattern_may_be_a_large_program() -> None:
    (problem,) = problems_of('args.a.matches("(a{9}b){999}")')
    assert problem.message.endswith("the limit is 2000; what may be repeated {n} times counts n times")


def test_tells_of_one_slip_of_syntax_and_not_of_what_the_parser_made_of_it() -> None:
    assert len(problems_of("args.a = 1 and args.b = 2")) == 1
