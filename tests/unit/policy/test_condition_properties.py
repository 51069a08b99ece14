"""Whatever arguments come, a condition ends in a verdict, and holds only if it is true."""

from functools import cache
from math import isfinite

from hypothesis import given
from hypothesis import strategies as st

from callgate.identity.spiffe_id import SpiffeId
from callgate.policy.call import Call
from callgate.policy.condition import Condition, Truth, compile_condition
from callgate.policy.tags import ToolTags
from callgate.wire.json_strict import JsonObject, JsonValue

EXPRESSIONS = (
    "args.a < 500",
    "!(args.a > 500)",
    'args.a == "x" || args.b.c[0] != 3',
    "args.a + args.b > args.c",
    "args.a",
    "!args.a",
    "args.a ? args.b : args.c",
    "args.all(k, args[k] != null)",
    "args.a.all(x, x.b.exists(y, y == args.c))",
    "args.a.map(x, x + x).size() > 2",
    'args.a.startsWith("/srv/") && !args.a.contains("..")',
    'args.a.matches("^[a-z]+$")',
    "args.a in args.b",
    "has(args.a.b) && args.a.b > 1",
    "args == {'a': 1}",
    "timestamp(args.a) > now || duration(args.b) > caller.svid_age",
    'timestamp(args.a).getHours("UTC") == int(args.b) || string(args.c) != "x"',
    "args.a.split(args.b).size() == 1 && args.a.trim() != args.c.lowerAscii()",
    "user.claims.a == args.a",
    "history.denials(duration('1h')) > args.a",
    "type(args.a) == string && size(args.a) < 5",
    "args.a[args.b] == args.c[args.a]",
    "-args.a % args.b / 3 == 1",
)
NAMES = st.sampled_from(["a", "b", "c", "d e", "\0", "ä", ""])
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["/srv/a", "1h", "2026-01-01T00:00:00Z", "x\0y", "\ud800", "5", 2**63, -(2**63), 2**64, 0, 0.0]),
)
VALUES: st.SearchStrategy[JsonValue] = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4), max_leaves=15
)
ARGUMENTS = st.dictionaries(NAMES, VALUES, max_size=5)
CALLER = SpiffeId.parse("spiffe://acme.test/ns/a/sa/b")


@cache
def compiled(text: str) -> Condition:
    condition = compile_condition(text)
    assert isinstance(condition, Condition), condition
    return condition


def truth(text: str, arguments: JsonObject) -> Truth:
    call = Call(caller=CALLER, server="s", method="tools/call", tool="t", arguments=arguments, now=1_800_000_000.0)
    verdict = compiled(text).evaluate(call, ToolTags())
    assert bool(verdict.why) is (verdict.truth is Truth.FAILED)
    return verdict.truth


@given(st.sampled_from(EXPRESSIONS), ARGUMENTS)
def test_evaluation_is_total(text: str, arguments: JsonObject) -> None:
    assert truth(text, arguments) in Truth


@given(st.sampled_from(EXPRESSIONS), ARGUMENTS)
def test_what_fails_does_not_hold_the_other_way_round_either(text: str, arguments: JsonObject) -> None:
    """Or else a failing condition would let a call through under `!`."""
    opposite = {
        Truth.HOLDS: Truth.FAILS_TO_HOLD,
        Truth.FAILS_TO_HOLD: Truth.HOLDS,
        Truth.FAILED: Truth.FAILED,
    }[truth(text, arguments)]
    assert truth(f"!({text})", arguments) is opposite


@given(st.one_of(st.integers(), st.floats()))
def test_a_limit_on_a_number_holds_for_no_number_beyond_it(amount: float) -> None:
    if truth("args.a < 500", {"a": amount}) is Truth.HOLDS:
        assert amount < 500
    if isfinite(amount) and -(2**63) <= amount < 500:
        assert truth("args.a < 500", {"a": amount}) is Truth.HOLDS


@given(st.text(), st.text())
def test_texts_are_equal_only_if_they_are(one: str, other: str) -> None:
    for right in (other, one):
        if truth("args.a == args.b", {"a": one, "b": right}) is Truth.HOLDS:
            assert one == right


@given(ARGUMENTS, st.sampled_from(EXPRESSIONS))
def test_arguments_that_are_not_named_change_nothing(arguments: JsonObject, text: str) -> None:
    condition = compiled(text)
    if condition.arguments is not None:
        named = {name: value for name, value in arguments.items() if name in condition.arguments}
        assert truth(text, named) is truth(text, arguments)


@given(ARGUMENTS, st.sampled_from(EXPRESSIONS))
def test_what_a_condition_saw_can_be_told_of_any_call(arguments: JsonObject, text: str) -> None:
    call = Call(caller=CALLER, server="s", method="tools/call", tool="t", arguments=arguments, now=1_800_000_000.0)
    condition = compiled(text)
    assert set(condition.seen(call, ToolTags())) <= set(condition.paths)
