"""What is said of a condition before any call, against what Google's runtime makes of it for one."""

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from callgate.identity.spiffe_id import SpiffeId
from callgate.policy.call import Call
from callgate.policy.cel_tree import Apply, Expr, Name
from callgate.policy.condition import Condition, Truth, compile_condition
from callgate.policy.expression import Expression, read_expression
from callgate.policy.formula import translated
from callgate.policy.satisfy import outcomes
from callgate.policy.tags import ToolTags
from callgate.wire.json_strict import JsonObject

HOLDS, NOT, FAILS = Truth.HOLDS, Truth.FAILS_TO_HOLD, Truth.FAILED
NOON = 1_767_787_200.0


def tree(text: str) -> Expr:
    found = read_expression(text)
    assert isinstance(found, Expression), found
    return found.tree


def ways(text: str) -> frozenset[Truth]:
    found = translated(tree(text))
    return outcomes(found.formula, {name: subject.domain for name, subject in found.subjects.items()})


def needs(text: str) -> dict[str, frozenset[str]]:
    return {name: subject.needs for name, subject in translated(tree(text)).subjects.items()}


def asked(text: str, arguments: JsonObject, now: float = NOON) -> Truth:
    condition = compile_condition(text)
    assert isinstance(condition, Condition), condition
    call = Call(
        caller=SpiffeId.parse("spiffe://acme.test/ns/billing/sa/agent"),
        server="ledger",
        method="tools/call",
        tool="refund",
        arguments=arguments,
        now=now,
        svid_not_before=now - 300,
        svid_not_after=now + 3300,
    )
    return condition.evaluate(call, ToolTags()).truth


@pytest.mark.parametrize(
    "text",
    [
        "args.amount < 500 && args.amount > 1000",
        "500 > args.amount && 1000 < args.amount",
        "args.currency == 'EUR' && args.currency == 'USD'",
        "args.currency in ['EUR', 'USD'] && args.currency == 'GBP'",
        "args['a'] == 1 && args.a == 2",
        "args.account.id == 'a' && args.account['id'] == 'b'",
        "request.hour >= 24",
        "request.hour > 8 && request.hour < 9",
        "request.weekday == 'monday'",
        "request.size < 0",
        "caller.svid_age < duration('1h') && caller.svid_age > duration('90m')",
        "now < timestamp('2026-01-01T00:00:00Z') && now > timestamp('2026-01-01T02:00:00+01:00')",
        "history.calls('refund', duration('1h')) < 0",
        "history.calls('refund', duration('1h')) > 5 && history.calls('refund', duration('1h')) < 3",
        "size(args.items) > 5 && size(args.items) < 3",
        "user.subject == 'a' && user.subject == 'b'",
        "args.path.startsWith('/srv/') && args.path == '/etc/passwd'",
        "!has(args.a) && has(args.a)",
        "!('a' in args) && args.a == 1",
        "false",
        "1 > 2",
        "-1 == 1",
        "'a' in user.groups && !('a' in user.groups)",
        "args.a.exists(i, i == 1) && !args.a.exists(i, i == 1)",
        "has(args.a) ? false : args.a == 1",
    ],
)
def test_finds_conditions_that_never_hold(text: str) -> None:
    assert HOLDS not in ways(text)


@pytest.mark.parametrize(
    "text",
    [
        "args.status != 'open' || args.status != 'closed'",
        "args.amount > 0 || args.amount <= 0 || true",
        "request.hour >= 0",
        "user.present || !user.present",
        "true",
        "'a' == 'a'",
        "!(args.a == 1 && args.a == 2)",
        "has(args.a) || !has(args.a)",
        "caller.id != 'a' || caller.id != 'b'",
    ],
)
def test_finds_conditions_that_never_fail_to_hold(text: str) -> None:
    assert NOT not in ways(text)


@pytest.mark.parametrize(
    "text",
    [
        "args.amount < 500",
        "args.amount > 8 && args.amount < 9",
        "args['a.b'] == 1 && args.a.b == 2",
        "args.a == 1 && args.b == 2",
        "args.a[0] == 1 && args.a[1] == 2",
        "args.items.all(i, i > 1) && args.items.exists(i, i < 1)",
        "args.items.exists(i, i == 1) && args.items.exists(i, i == 2)",
        "history.calls('a', duration('1h')) > 5 && history.calls('b', duration('1h')) < 3",
        "history.calls('a', duration('1h')) > 5 && history.calls('a', duration('2h')) < 3",
        "9007199254740993 == args.a && args.a == 9007199254740992",
        "args.a.startsWith('a') && args.a.endsWith('b')",
        "args.a != '' && args.a < 'a'",
        "!(args.a * 1.0 < 5.0) && !(args.a * 1.0 >= 5.0)",
        "args.a == 1 || args.a == args.b",
        "args.a.matches('^a') && !args.a.matches('^b')",
    ],
)
def test_claims_nothing_of_conditions_that_depend(text: str) -> None:
    assert ways(text) == {HOLDS, NOT, FAILS}


def test_names_the_arguments_without_which_a_subject_has_no_value() -> None:
    assert needs("args.account.id == 'a'") == {"args.account.id": {"account"}}
    assert needs("args['a-b'] == 1").popitem()[1] == {"a-b"}
    assert needs("size(args.a) + size(args.b) > 1").popitem()[1] == {"a", "b"}


def test_needs_no_argument_that_need_not_be_there() -> None:
    assert needs("has(args.a)") == {"args.a": {"a"}}
    assert needs("(true ? 1 : args.a) == 1").popitem()[1] == frozenset()
    assert needs("args.a.exists(i, i == args.b)").popitem()[1] == frozenset()


def test_a_tree_of_any_depth_is_no_trouble() -> None:
    deep: Expr = Name(0, "user.present")
    for _ in range(2_000):
        deep = Apply(0, "!_", (deep,), is_method=False)

    found = translated(deep)

    assert outcomes(found.formula, {name: of.domain for name, of in found.subjects.items()}) == {HOLDS, NOT, FAILS}


LITERALS = ("-1", "0", "1", "2", "0.5", "1.0", "1u", "''", "'a'", "'ab'", "'b'", "true", "false", "null")
VALUES: tuple[Any, ...] = (
    -1,
    0,
    1,
    2,
    0.5,
    1.0,
    1.5,
    -7,
    99,
    "",
    "a",
    "ab",
    "b",
    "zz",
    "aa",
    True,
    False,
    None,
    [],
    [1],
    {},
)
SUBJECTS = ("args.x", "args['x']", "args.y", "args.o.x", "args.l[0]", "dyn(args.x)")
atoms = st.one_of(
    st.builds(
        lambda s, o, v: f"{s} {o} {v}",
        st.sampled_from(SUBJECTS),
        st.sampled_from(["==", "!=", "<", "<=", ">", ">="]),
        st.sampled_from(LITERALS),
    ),
    st.builds(lambda s, v: f"{v} >= {s}", st.sampled_from(SUBJECTS), st.sampled_from(LITERALS)),
    st.builds(
        lambda s, vs: f"{s} in [{', '.join(vs)}]",
        st.sampled_from(SUBJECTS),
        st.lists(st.sampled_from(LITERALS), max_size=3),
    ),
    st.builds(
        lambda s, f, v: f"{s}.{f}({v})",
        st.sampled_from(["args.x", "args.y"]),
        st.sampled_from(["startsWith", "endsWith", "contains"]),
        st.sampled_from(["''", "'a'", "'b'"]),
    ),
    st.sampled_from(
        [
            "has(args.x)",
            "has(args.o.x)",
            "'x' in args",
            "args.x",
            "args.o.x",
            "true",
            "false",
            "args.x == args.y",
            "args.x + 1 == 2",
            "size(args.l) > 0",
            "size(args.l) < 2",
            "1 < 2",
            "double(args.y) < 1.0",
            "args.l.exists(i, i == 1)",
            "args.l.all(i, i > 0)",
            "request.hour == 12",
            "request.hour > 11",
        ]
    ),
)
conditions = st.recursive(
    atoms,
    lambda inner: st.one_of(
        st.builds("!({})".format, inner),
        st.builds("({} && {})".format, inner, inner),
        st.builds("({} || {})".format, inner, inner),
        st.builds("({} ? {} : {})".format, inner, inner, inner),
    ),
    max_leaves=6,
)
arguments = st.fixed_dictionaries(
    {},
    optional={
        "x": st.sampled_from(VALUES),
        "y": st.sampled_from((*VALUES, "nan", "NaN", "1")),
        "o": st.one_of(st.sampled_from(VALUES), st.fixed_dictionaries({}, optional={"x": st.sampled_from(VALUES)})),
        "l": st.one_of(st.sampled_from(VALUES), st.lists(st.sampled_from(VALUES), max_size=3)),
    },
)


def is_typed(text: str) -> bool:
    return isinstance(compile_condition(text), Condition)


@given(conditions.filter(is_typed), st.lists(arguments, min_size=1, max_size=10))
@example("!(double(args.y) < 1.0) && !(double(args.y) >= 1.0)", [{"y": "nan"}])
@example("args.x < 1u", [{"x": 0}])
def test_no_call_contradicts_what_is_said_of_a_condition(text: str, calls: list[JsonObject]) -> None:
    said = ways(text)

    for given_arguments in calls:
        truth = asked(text, given_arguments)
        assert truth is FAILS or truth in said
        assert said != {FAILS} or truth is FAILS
