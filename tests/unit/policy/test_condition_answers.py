"""What an author is shown of the past: counts as counts, and yes or no as that."""

from callgate.identity.spiffe_id import SpiffeId
from callgate.policy.call import Call
from callgate.policy.condition import Condition, Truth, Verdict, compile_condition
from callgate.policy.history import History
from callgate.policy.patterns import ToolPattern
from callgate.policy.tags import TagEntry, ToolTags

NOW = 1_795_262_400.0
CALLER = SpiffeId.parse("spiffe://acme.test/a")
TAGS = ToolTags((TagEntry("s", (ToolPattern.parse("get"),), frozenset({"reads_private"})),))
ANSWERS = {
    'history.calls("get", duration("1h"))': 1,
    'history.calls("set", duration("1h"))': 0,
    'history.denials(duration("1h"))': 1,
    'history.used("reads_private", duration("1h"))': True,
    'history.used("sends_out", duration("1h"))': False,
    'history.lockout(1, duration("1m"), duration("10m"))': True,
    'history.lockout(2, duration("1m"), duration("10m"))': False,
}


def test_answers_are_shown_as_what_was_asked_for() -> None:
    history = History()
    history.record_call(CALLER, "s", "get", NOW - 60)
    history.record_denial(CALLER, "s", "get", NOW - 50)
    call = Call(caller=CALLER, server="s", method="tools/call", tool="get", now=NOW, history=history.of(CALLER))
    for text, answer in ANSWERS.items():
        condition = compile_condition(text if isinstance(answer, bool) else f"{text} > 5")
        assert isinstance(condition, Condition), condition
        (found,) = condition.seen(call, TAGS).items()
        assert found == (text, answer)
        assert type(found[1]) is type(answer)


def test_a_missing_argument_is_named_where_no_user_is_known_either() -> None:
    condition = compile_condition("args.n == 1 ? user.subject == 'ann' : args.missing == 1")
    call = Call(caller=CALLER, server="s", method="tools/call", tool="get", arguments={"n": 2}, now=NOW)

    assert isinstance(condition, Condition)
    assert condition.evaluate(call, TAGS) == Verdict(Truth.FAILED, "no argument 'missing'")


def test_a_problem_is_placed_on_its_own_line() -> None:
    found = compile_condition('args.a == 1 &&\n  args.b == 2 &&\n    args.c.matches("(")')

    assert isinstance(found, tuple)
    assert [(problem.line, problem.column) for problem in found] == [(3, 20)]


def test_a_slip_without_a_known_cure_is_told_without_one() -> None:
    found = compile_condition("args.a ==")

    assert isinstance(found, tuple)
    assert found[0].message == "is not CEL: mismatched input '<EOF>'"


def test_a_field_of_a_field_that_is_not_there_is_told_with_its_owner() -> None:
    found = compile_condition("caller.a.b == 1")

    assert isinstance(found, tuple)
    assert found[0].message.startswith("'caller' has no 'a.b'")
