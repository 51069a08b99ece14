"""What conditions see of a call, and what becomes of them."""

from dataclasses import replace

import pytest

from callgate.identity.spiffe_id import SpiffeId
from callgate.identity.user import User
from callgate.policy.call import Call
from callgate.policy.condition import Condition, Truth, Verdict, compile_condition
from callgate.policy.history import History, HistoryBounds
from callgate.policy.patterns import ToolPattern
from callgate.policy.tags import TagEntry, ToolTags
from callgate.wire.json_strict import JsonObject, JsonValue

# 2026-11-21 15:04:05 UTC, a Saturday.
NOW = 1_795_273_445.0
CALLER = SpiffeId.parse("spiffe://acme.test/ns/billing/sa/refund-agent")
USER = User("https://id.test", "alice", ("finance", "staff"), {"department": "claims", "address": {"country": "DE"}})
TAGS = ToolTags((TagEntry("ledger", (ToolPattern.parse("refund"),), frozenset({"sends_out", "moves_money"})),))


def call_with(arguments: JsonObject | None = None) -> Call:
    return Call(
        caller=CALLER,
        server="ledger",
        method="tools/call",
        tool="refund",
        arguments={} if arguments is None else arguments,
        now=NOW,
        svid_not_before=NOW - 600,
        svid_not_after=NOW + 3_000,
        revision="2025-11-25",
        size_bytes=321,
        purpose="refund for order 7",
        user=USER,
        annotations={"readOnlyHint": False, "title": "Refund"},
        history=History().of(CALLER),
    )


def compiled(text: str) -> Condition:
    condition = compile_condition(text)
    assert isinstance(condition, Condition), condition
    return condition


def verdict(text: str, call: Call, tags: ToolTags = TAGS) -> Verdict:
    return compiled(text).evaluate(call, tags)


def truth(text: str, arguments: JsonObject | None = None) -> Truth:
    return verdict(text, call_with(arguments)).truth


@pytest.mark.parametrize(
    "text",
    [
        'caller.id == "spiffe://acme.test/ns/billing/sa/refund-agent"',
        'caller.trust_domain == "acme.test"',
        'caller.path == ["ns", "billing", "sa", "refund-agent"]',
        'caller.svid_age == duration("10m")',
        'caller.svid_left == duration("50m")',
        'tool.name == "refund" && tool.server == "ledger"',
        'tool.tags == ["moves_money", "sends_out"]',
        'tool.annotations.readOnlyHint == false && tool.annotations.title == "Refund"',
        'request.method == "tools/call" && request.revision == "2025-11-25" && request.size == 321',
        'request.purpose == "refund for order 7"',
        'request.hour == 15 && request.minute == 4 && request.weekday == "sat"',
        'now == timestamp("2026-11-21T15:04:05Z")',
        'now.getHours("Europe/Berlin") == 16',
        'user.present && user.subject == "alice" && user.issuer == "https://id.test"',
        'user.groups == ["finance", "staff"] && "staff" in user.groups',
        'user.claims.department == "claims" && user.claims.address.country == "DE"',
        "history.denials(duration('1h')) == 0",
        '"Alice@ACME.test".lowerAscii().split("@")[1].trim() == "acme.test"',
    ],
)
def test_conditions_see_all_that_is_known_of_a_call(text: str) -> None:
    assert verdict(text, call_with()) == Verdict(Truth.HOLDS)


def test_a_condition_that_is_false_does_not_hold_and_gives_no_reason() -> None:
    assert verdict("args.amount < 500", call_with({"amount": 500})) == Verdict(Truth.FAILS_TO_HOLD)


@pytest.mark.parametrize(("amount", "holds"), [(499, True), (499.5, True), (5.0, True), (500, False), (-1, True)])
def test_whole_numbers_and_fractions_compare_alike(amount: float, holds: bool) -> None:
    assert (truth("args.amount < 500", {"amount": amount}) is Truth.HOLDS) is holds


@pytest.mark.parametrize("amount", [5, 5.0])
def test_five_is_five_however_the_caller_writes_it(amount: float) -> None:
    assert truth("args.amount == 5 && args.amount in [5]", {"amount": amount}) is Truth.HOLDS


@pytest.mark.parametrize(
    ("text", "arguments", "why"),
    [
        ("args.amount < 500", {}, "no argument 'amount'"),
        ('args["unit price"] < 500', {}, "no argument 'unit price'"),
        ('args.account.id == "x"', {"account": {}}, "args.account has no 'id'"),
        ('args.account.id == "x"', {"account": "SECRET"}, "args.account is not an object"),
        ('args.items[2].id == "x"', {"items": [1]}, "args.items has no item 2"),
        ("args.items[2] == 1", {"items": {"SECRET": 1}}, "args.items is not a list"),
        ("has(args.account.id)", {}, "no argument 'account'"),
        ("user.claims.clearance == 3", {}, "no claim 'clearance'"),
        ("tool.annotations.openWorldHint", {}, "no annotation 'openWorldHint'"),
        ("args.amount < 500", {"amount": "SECRET"}, "another type than it must have: args.amount is text"),
        ("args.amount < 500", {"amount": None}, "another type than it must have: args.amount is null"),
        ("args.amount", {"amount": "SECRET"}, "is not true or false"),
        ("args.amount", {"amount": 1}, "is not true or false"),
        ("args.amount", {"amount": ["SECRET"]}, "is not true or false"),
        ("10 / args.amount > 1", {"amount": 0}, "a division by zero"),
        ("args.amount * 4 > 1", {"amount": 2**62}, "a number is too large to reckon with"),
        ("int(args.amount) > 1", {"amount": "SECRET"}, "a text is not what it should be turned into"),
        ("args.names.all(n, args.ages[n] > 1)", {"names": ["SECRET"], "ages": {}}, "something that it asks for"),
    ],
)
def test_a_condition_that_fails_says_what_was_missing_and_nothing_of_what_was_sent(
    text: str, arguments: JsonObject, why: str
) -> None:
    found = verdict(text, call_with(arguments))
    assert found.truth is Truth.FAILED
    assert found.why.endswith(why) or found.why.startswith(why)
    assert "SECRET" not in found.why


@pytest.mark.parametrize(
    ("text", "call", "why"),
    [
        ('user.subject == "alice"', replace(call_with(), user=None), "user is not known"),
        ("user.claims.x == 1", replace(call_with(), user=None), "user is not known"),
        ("args.x == 1", replace(call_with(), arguments=None), "the request has no arguments"),
        ('tool.name == "x"', replace(call_with(), tool=None), "the request names no tool"),
        ('"x" in tool.tags', replace(call_with(), tool=None), "the request names no tool"),
        ("tool.annotations.x", replace(call_with(), annotations=None), "the tool's annotations are not known"),
        ("history.denials(duration('1h')) == 0", replace(call_with(), history=None), "history is not known"),
        ("request.hour > 1", replace(call_with(), now=float("nan")), "request.hour is not known"),
        (
            'caller.svid_age > duration("1s")',
            replace(call_with(), svid_not_before=-1e300),
            "caller.svid_age is not known",
        ),
    ],
)
def test_what_is_not_there_in_a_call_fails_the_conditions_that_ask_for_it(text: str, call: Call, why: str) -> None:
    assert verdict(text, call) == Verdict(Truth.FAILED, why)


def test_whether_there_is_a_user_can_be_asked_without_one() -> None:
    call = replace(call_with(), user=None)
    assert verdict("user.present", call) == Verdict(Truth.FAILS_TO_HOLD)
    assert verdict('!user.present || user.subject == "alice"', call) == Verdict(Truth.HOLDS)


def test_an_error_counts_only_where_it_decides() -> None:
    """CEL, logical operators: "if one operand decides, errors of the other are absorbed"."""
    assert truth("args.missing == 1 || true") is Truth.HOLDS
    assert truth("args.missing == 1 && false") is Truth.FAILS_TO_HOLD
    assert truth("args.missing == 1 || false") is Truth.FAILED


@pytest.mark.parametrize(
    "text", ["args.path == '/srv/a'", "args.list[0] == '/srv/a'", "args.list.all(x, x == '/srv/a')"]
)
def test_text_that_the_runtime_would_cut_off_at_a_nul_never_compares_as_the_text_before_it(text: str) -> None:
    hidden = "/srv/a\0/../../etc/shadow"
    found = verdict(text, call_with({"path": hidden, "list": [hidden]}))
    assert found.truth is Truth.FAILED
    assert "NUL" in found.why


def test_a_key_that_the_runtime_would_cut_off_is_not_taken_for_the_key_before_it() -> None:
    assert truth("args.account.id == 1", {"account": {"id\0x": 1}}) is Truth.FAILED
    assert truth("args.all(k, k == 'id')", {"id\0x": 1}) is Truth.FAILED


@pytest.mark.parametrize("number", [2**63, 2**64, -(2**63) - 1, 10**400, float("nan"), float("inf")])
def test_a_number_that_the_runtime_has_no_type_for_fails_the_condition(number: float) -> None:
    for text in ("args.amount > 0", "args.amount < 0 || true", "!(args.amount > 500)"):
        assert truth(text, {"amount": number}) is Truth.FAILED


def test_arguments_beyond_any_depth_fail_the_condition_and_not_the_process() -> None:
    deep: JsonValue = 1
    for _ in range(100_000):
        deep = [deep]
    found = verdict("args.deep == [1]", call_with({"deep": deep}))
    assert found == Verdict(Truth.FAILED, "args.deep is nested more than 64 levels deep")


@pytest.mark.parametrize("text", ["args == {'a': 1}", "args.size() == 1", "args.all(k, k == 'a')"])
def test_arguments_can_be_asked_for_as_a_whole(text: str) -> None:
    assert compiled(text).arguments is None
    assert truth(text, {"a": 1}) is Truth.HOLDS
    assert truth(text, {"a": 1, "b": 2}) is Truth.FAILS_TO_HOLD


def test_only_arguments_that_are_named_are_looked_at() -> None:
    condition = compiled('args.path.startsWith("/srv/") && has(args.mode) && "x" in args && args["y z"] == 1')
    assert condition.arguments == frozenset({"path", "mode", "x", "y z"})
    unread: JsonObject = {"content": "\0" * 500_000, "huge": 2**80}
    call = call_with({"path": "/srv/a", "mode": 1, "x": 1, "y z": 1, **unread})
    assert condition.evaluate(call, TAGS) == Verdict(Truth.HOLDS)


def test_a_variable_of_a_loop_is_no_argument() -> None:
    condition = compiled("args.list.all(item, item.name != args.other.name)")
    assert condition.paths == ("args.list", "args.other.name")
    assert condition.arguments == frozenset({"list", "other"})


def test_a_condition_says_what_it_reads() -> None:
    condition = compiled('caller.path[1] == "billing" && history.used("reads_web", duration("90m")) && !has(args.a.b)')
    assert condition.paths == ("caller.path[1]", "args.a", "args.a.b", 'history.used("reads_web", duration("90m"))')
    assert (condition.reads_call, condition.reads_history) == (True, True)


@pytest.mark.parametrize(
    ("text", "reads"),
    [
        ("args.x == 1", True), ("request.size < 5", True), ('request.method == "x"', True), ('request.purpose == ""', True),
        ('request.revision == "x"', True), ("request.hour < 5", False), ("user.present", False), ('"x" in tool.tags', False),
        ('now > timestamp("2026-01-01T00:00:00Z")', False), ('history.denials(duration("1s")) == 0', False),
    ],
)  # fmt: skip
def test_a_condition_reads_the_call_where_a_list_of_tools_could_not_tell(text: str, reads: bool) -> None:
    assert compiled(text).reads_call is reads


def test_what_a_condition_saw_is_told_to_its_author() -> None:
    condition = compiled(
        'args.amount < 500 && args.account.id != "" && caller.svid_left > duration("1m") && user.groups != [] '
        '&& now > timestamp("2020-01-01T00:00:00Z") && history.lockout(3, duration("1m"), duration("10m"))'
    )
    assert dict(condition.seen(call_with({"amount": 3}), TAGS)) == {
        "args.amount": 3,
        "caller.svid_left": "3000s",
        "user.groups": ["finance", "staff"],
        "now": "2026-11-21T15:04:05Z",
        'history.lockout(3, duration("1m"), duration("10m"))': False,
    }


def test_history_is_asked_of_the_call_s_own_server_unless_another_is_named() -> None:
    history = History()
    history.record_call(CALLER, "ledger", "list_invoices", NOW - 30)
    history.record_call(CALLER, "mail", "send", NOW - 30)
    call = replace(call_with(), history=history.of(CALLER))
    assert verdict('history.calls("list_*", duration("1m")) == 1', call).truth is Truth.HOLDS
    assert verdict('history.calls("send", duration("1m")) == 0', call).truth is Truth.HOLDS
    assert verdict('history.calls("mail/send", duration("1m")) == 1', call).truth is Truth.HOLDS
    assert verdict('history.calls("mail/*", duration("10s")) == 0', call).truth is Truth.HOLDS


def test_tags_of_tools_used_before_and_denials_can_be_asked_for() -> None:
    history = History()
    for age in (125, 110, 100):
        history.record_denial(CALLER, "ledger", "refund", NOW - age)
    history.record_call(CALLER, "ledger", "refund", NOW - 30)
    call = replace(call_with(), history=history.of(CALLER))
    assert verdict('history.used("moves_money", duration("1m"))', call).truth is Truth.HOLDS
    assert verdict('history.used("moves_money", duration("10s"))', call).truth is Truth.FAILS_TO_HOLD
    assert verdict('history.denials(duration("105s")) == 1', call).truth is Truth.HOLDS
    assert verdict('history.lockout(3, duration("1m"), duration("10m"))', call).truth is Truth.HOLDS
    assert verdict('history.lockout(4, duration("1m"), duration("10m"))', call).truth is Truth.FAILS_TO_HOLD


def test_history_that_was_dropped_fails_the_condition() -> None:
    history = History(HistoryBounds(times=2))
    for age in (50, 40, 30):
        history.record_denial(CALLER, "ledger", "refund", NOW - age)
    call = replace(call_with(), history=history.of(CALLER))
    found = verdict('history.denials(duration("1h")) > 5', call)
    assert found == Verdict(Truth.FAILED, "history does not reach back 1h")
    assert 'history.denials(duration("1h"))' not in compiled('history.denials(duration("1h")) > 5').seen(call, TAGS)


def test_a_condition_can_be_evaluated_again_and_again() -> None:
    condition = compiled("args.amount < 500")
    for amount in (1, 1_000, 1):
        expected = Truth.HOLDS if amount < 500 else Truth.FAILS_TO_HOLD
        assert condition.evaluate(call_with({"amount": amount}), TAGS).truth is expected


def test_conditions_are_values() -> None:
    assert compiled("args.amount < 500") == compiled("args.amount < 500")
    assert len({compiled("args.amount < 500"), compiled("args.amount < 500"), compiled("args.amount < 501")}) == 2
