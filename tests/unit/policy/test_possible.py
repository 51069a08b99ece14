"""What a condition may have come to is never less than what it came to."""

import json
from dataclasses import replace
from functools import cache
from types import MappingProxyType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callgate.identity.spiffe_id import SpiffeId
from callgate.identity.user import User
from callgate.policy.call import Call
from callgate.policy.condition import Condition, Truth, compile_condition
from callgate.policy.history import History
from callgate.policy.possible import ANY, is_within_budget, possible_truths, reads_of
from callgate.policy.tags import ToolTags
from callgate.wire.json_strict import JsonValue

CALLER = SpiffeId.parse("spiffe://acme.test/ns/a/sa/b")
NOW = 1_767_787_200.0
STEPS = 100_000
HELD, HELD_NOT = frozenset({Truth.HOLDS, Truth.FAILED}), frozenset({Truth.FAILS_TO_HOLD, Truth.FAILED})
CALL = Call(
    caller=CALLER,
    server="ledger",
    method="tools/call",
    tool="refund",
    now=NOW,
    svid_not_before=NOW - 300,
    svid_not_after=NOW + 3_300,
    revision="2026-07-28",
    size_bytes=300,
    purpose="refunds",
)


@cache
def compiled(text: str) -> Condition:
    condition = compile_condition(text)
    assert isinstance(condition, Condition), condition
    return condition


def possible(text: str, *unknown: str, call: Call = CALL) -> frozenset[Truth]:
    return possible_truths(compiled(text), call, ToolTags(), frozenset(unknown), STEPS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("args.amount < 500", ANY),
        ('args.amount < 500 && caller.path[1] == "x"', HELD_NOT),
        ('args.amount < 500 || caller.path[1] == "a"', HELD),
        ("request.hour == 12 ? args.a : args.b", ANY),
        ("request.hour == 12 ? true : args.b", HELD),
        ("[args.a, 5].exists(x, x == 5)", ANY),
        ("has(args.a)", ANY),
        ('args.all(name, name != "x")', ANY),
        ('request.purpose == "refunds" || args.a', HELD),
    ],
)
def test_only_what_holds_whatever_the_arguments_are_is_told(text: str, expected: frozenset[Truth]) -> None:
    assert possible(text, "args") == expected


@pytest.mark.parametrize(
    "text", ['user.subject == "x" && user.claims.a == 1', "tool.annotations.readOnlyHint", "user.claims.a"]
)
def test_what_is_absent_and_known_to_be_absent_is_no_unknown(text: str) -> None:
    # No user came along: there are no claims that could have been recorded.
    found = possible(text)

    assert len(found) == 1


def test_claims_that_are_not_known_are_not_taken_for_claims_that_are_not_there() -> None:
    call = replace(CALL, user=User("https://login.test", "ada", (), MappingProxyType({})))

    assert possible("has(user.claims.admin)", call=call) == {Truth.FAILS_TO_HOLD}
    assert possible("has(user.claims.admin)", "user.claims", call=call) == ANY
    assert possible('has(user.claims.admin) || user.subject == "ada"', "user.claims", call=call) == HELD


def test_a_past_that_is_not_known_is_not_taken_for_none() -> None:
    history = History()
    call = replace(CALL, history=history.of(CALLER))
    asks = 'history.calls("refund", duration("1h")) == 0'

    assert possible(asks, call=call) == {Truth.HOLDS}
    assert possible(asks, "history", call=call) == ANY
    assert possible(f"{asks} || request.hour == 12", "history", call=call) == HELD


def test_a_known_past_answers_where_arguments_are_unknown() -> None:
    history = History()
    history.record_call(CALLER, "ledger", "refund", NOW - 10)
    call = replace(CALL, history=history.of(CALLER))

    assert possible('history.calls("refund", duration("1h")) == 0 && args.a == 1', "args", call=call) == HELD_NOT


def test_what_a_condition_reads_is_told_with_history_and_tags() -> None:
    reads = reads_of('args.a == 1 && history.used("money", duration("1h"))')

    assert reads.variables == {"args", "history"}
    assert reads.asks_tags
    assert not reads_of('history.denials(duration("1h")) > 1').asks_tags


def test_workload_and_tool_alone_tell_the_rest_where_nothing_else_is_read() -> None:
    unknown = frozenset({"args"})

    assert reads_of('args.a == 1 && caller.path[1] == "x" && tool.name == "refund"').is_fixed_without(unknown)
    assert not reads_of("args.a == 1 && request.hour > 3").is_fixed_without(unknown)
    assert not reads_of('args.a == 1 && history.denials(duration("1h")) > 1').is_fixed_without(unknown)


def test_a_text_that_is_no_condition_has_no_reads() -> None:
    with pytest.raises(ValueError, match="not a condition"):
        reads_of("args.a <")


# Whatever was sent.

EXPRESSIONS = (
    "args.a < 500",
    "args.a < 500 && request.hour == 12",
    "args.a < 500 || request.hour == 12",
    "!(args.a < 500 && request.hour == 3)",
    "args.a ? args.b : args.c",
    "args.all(k, args[k] != null) || true",
    "args.a.all(x, x.b.exists(y, y == args.c)) && false",
    'has(args.a.b) && args.a.b > 1 || request.purpose == "refunds"',
    "[1, 2].exists(x, x == args.a || x == 2)",
    "[1, 2].all(x, x == args.a && x == 2)",
    "[args.a, 1].exists_one(x, x == 1)",
    "[1, 2].map(x, x == 1 ? args.a : x).size() == 2",
    "{'a': args.a}.size() == 1",
    "args.a in [1, 2] || 1 in [1, 2]",
    "(args.a == 1 || true) == (request.hour == 12)",
    "args.a.map(x, x + x).size() > 2 || request.hour == 12",
    "size(args.a) < 5 && type(args.a) == string",
)
NAMES = st.sampled_from(["a", "A", "b", "c", "ä", "a\0"])
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.sampled_from([1, 2, 499])
)
VALUES: st.SearchStrategy[JsonValue] = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4), max_leaves=15
)
ARGUMENTS = st.dictionaries(NAMES, VALUES, max_size=5)


@settings(deadline=None)
@given(st.sampled_from(EXPRESSIONS), ARGUMENTS)
def test_what_it_came_to_is_among_what_it_may_have_come_to(text: str, arguments: dict[str, JsonValue]) -> None:
    condition = compiled(text)
    truth = condition.evaluate(replace(CALL, arguments=arguments), ToolTags()).truth

    assert truth in possible(text, "args")


@settings(deadline=None)
@given(
    st.sampled_from(EXPRESSIONS),
    st.dictionaries(NAMES, VALUES, max_size=5)
    | st.fixed_dictionaries({"a": st.lists(st.integers(0, 9), max_size=200)}),
    st.sampled_from([1_000, 3_000, 10_000, 30_000, 100_000]),
)
def test_a_condition_that_is_within_its_budget_never_exceeds_it(
    text: str, arguments: dict[str, JsonValue], steps: int
) -> None:
    # No request that holds them is smaller.
    text_of_them = json.dumps(arguments, ensure_ascii=False, separators=(",", ":"))
    size = len(text_of_them.encode("utf-8", "surrogatepass"))
    call = replace(CALL, arguments=arguments, size_bytes=size)
    condition = compiled(text)
    if is_within_budget(condition, call, ToolTags(), frozenset({"args"}), steps):
        why = condition.evaluate(call, ToolTags(), steps).why

        assert "budget" not in why
        assert "limit" not in why


def test_the_budget_matters_where_the_request_is_large_or_the_claims_are_unknown() -> None:
    loop = compiled("args.a.all(x, args.a.all(y, x != y))")
    small, large = replace(CALL, size_bytes=8), replace(CALL, size_bytes=8_000)
    claims = compiled("user.claims.a == 1")
    args = frozenset({"args"})

    assert is_within_budget(compiled("args.a < 500"), CALL, ToolTags(), args, 100_000)
    assert is_within_budget(loop, small, ToolTags(), args, 100_000)
    assert not is_within_budget(loop, large, ToolTags(), args, 100_000)
    assert not is_within_budget(compiled("args.a < 500"), replace(CALL, size_bytes=0), ToolTags(), args, 100_000)
    assert not is_within_budget(claims, CALL, ToolTags(), frozenset({"user.claims"}), 100_000)
