"""What a workload did before counts once more as it counted for the gate; and what the log does not tell is not known."""

import pytest

from callgate.audit.chain import Kind
from callgate.policy.compile import Policy
from callgate.policy.decide import DecisionOutcome
from callgate.policy.difference import Change
from callgate.policy.recall import Sources
from callgate.policy.replay import Replay
from callgate.wire.json_strict import JsonObject
from support.audit_logs import CALLER
from support.recorded_calls import Recorder, policy

OTHER = "spiffe://acme.test/ns/billing/sa/other"
BOTH = """\
grants:
  - id: both
    workloads: [spiffe://acme.test/ns/billing/sa/*]
    server: ledger
    tools: [get_invoice, refund]
"""
AFTER_A_LOOK = (
    BOTH
    + """\
denials:
  - id: look-first
    server: ledger
    tools: [refund]
    when: history.calls("get_invoice", duration("1h")) == 0
"""
)
LOCKED_OUT = (
    BOTH
    + """\
denials:
  - id: locked-out
    server: ledger
    tools: ["*"]
    when: history.denials(duration("10m")) >= 2
"""
)


def changes(
    recorder: Recorder, new: Policy, *, old: Policy | None = None, sources: Sources | None = None
) -> list[Change | None]:
    replay = Replay(old, new, sources or recorder.sources)
    found = [replay.see(record) for record in recorder.records()]
    return [each.difference.change if each.difference else None for each in found if each is not None]


def started(rules: str) -> Recorder:
    """A gate that was started at the beginning of the log."""
    recorder = Recorder(policy(rules))
    recorder.log.start()
    return recorder


def test_calls_before_are_counted_by_workload() -> None:
    recorder = started(BOTH)
    recorder.call("refund")
    recorder.call("get_invoice")
    recorder.call("refund")
    recorder.call("refund", caller=OTHER)

    assert changes(recorder, policy(AFTER_A_LOOK)) == [Change.DENIED, None, None, Change.DENIED]


def test_a_call_counts_once_people_have_agreed_and_not_while_they_are_asked() -> None:
    recorder = started(BOTH)
    recorder.call("get_invoice", limited_by="approval_required")
    recorder.call("refund")
    recorder.call("get_invoice")
    recorder.call("refund")

    assert changes(recorder, policy(AFTER_A_LOOK)) == [None, Change.DENIED, None, None]


def test_a_window_ends_as_it_does_for_the_gate() -> None:
    recorder = started(BOTH)
    recorder.call("get_invoice")
    recorder.wait(3598)
    recorder.call("refund")
    recorder.wait(5)
    recorder.call("refund")

    assert changes(recorder, policy(AFTER_A_LOOK)) == [None, None, Change.DENIED]


def test_a_call_counts_although_the_new_policy_would_have_denied_it() -> None:
    """What was done was done: the log is what happened."""
    recorder = started(BOTH)
    recorder.call("get_invoice")
    recorder.call("refund")
    new = AFTER_A_LOOK.replace("tools: [get_invoice, refund]", "tools: [refund]")

    assert changes(recorder, policy(new)) == [Change.DENIED, None]


def test_a_call_that_a_limit_refused_does_not_count() -> None:
    recorder = started(BOTH)
    recorder.call("get_invoice", limited_by="rate_limited")
    recorder.call("refund")

    assert changes(recorder, policy(AFTER_A_LOOK)) == [None, Change.DENIED]


def test_calls_before_the_time_in_question_count() -> None:
    recorder = started(BOTH)
    recorder.call("get_invoice")
    recorder.call("refund")
    replay = Replay(None, policy(AFTER_A_LOOK), recorder.sources)
    *before, last = [record for record in recorder.records() if record["kind"] != "outcome"]
    for record in before:
        assert replay.see(record, compare=False) is None

    found = replay.see(last)

    assert replay.asks_past
    assert found is not None
    assert found.difference is None


def test_a_gate_that_starts_again_has_forgotten() -> None:
    recorder = started(BOTH)
    recorder.call("get_invoice")
    recorder.log.start()
    recorder.call("refund")

    assert changes(recorder, policy(AFTER_A_LOOK)) == [None, Change.DENIED]


def test_before_a_log_that_begins_in_the_middle_nothing_is_known() -> None:
    recorder = Recorder(policy(BOTH))
    recorder.call("refund")
    recorder.wait(3000)
    recorder.call("refund")
    recorder.wait(3000)
    recorder.call("refund")

    assert changes(recorder, policy(AFTER_A_LOOK)) == [Change.UNKNOWN, Change.UNKNOWN, Change.DENIED]


def test_what_needs_to_be_known_of_the_past_is_named() -> None:
    recorder = Recorder(policy(BOTH))
    recorder.call("refund")
    replay = Replay(None, policy(AFTER_A_LOOK), recorder.sources)

    found = [each.difference for record in recorder.records() if (each := replay.see(record))]

    assert found[0] is not None
    assert found[0].needs == ("history",)


def test_denials_are_counted() -> None:
    recorder = started(BOTH)
    for tool in ("wipe", "wipe", "get_invoice"):
        recorder.call(tool)
    recorder.call("get_invoice", caller=OTHER)

    assert changes(recorder, policy(LOCKED_OUT)) == [None, None, Change.DENIED, None]


def test_a_denial_that_earlier_ones_alone_brought_about_does_not_count() -> None:
    """As for the gate: a workload that is shut out would never get in again."""
    recorder = started(LOCKED_OUT)
    outcomes = []
    for _ in range(4):
        outcomes.append(recorder.call("wipe").outcome)
        outcomes.append(recorder.call("get_invoice").outcome)
        recorder.wait(295)
    denied = outcomes.count(DecisionOutcome.DENY)

    assert 4 < denied < 8
    for old in (None, recorder.policy):
        assert changes(recorder, policy(LOCKED_OUT), old=old) == [None] * 8
        assert set(changes(recorder, policy(LOCKED_OUT + "# other text\n"), old=old)) == {None}


def test_denials_are_not_known_where_the_policy_that_denied_is_not() -> None:
    recorder = started(BOTH)
    recorder.call("wipe")
    recorder.call("get_invoice")
    recorder.wait(700)
    recorder.call("get_invoice")

    like_the_one_in_force = policy(BOTH + "# other text\n")
    found = changes(recorder, policy(LOCKED_OUT), old=like_the_one_in_force, sources=Sources())

    assert found == [None, Change.UNKNOWN, None]


@pytest.mark.parametrize(
    ("kind", "counts", "expected"),
    [
        (Kind.SUMMARY, [{"stage": "decide", "reason": "denied", "caller": CALLER, "count": 3}], [Change.UNKNOWN, None]),
        (Kind.SUMMARY, [{"stage": "decide", "reason": "no_grant", "count": 3}], [Change.UNKNOWN, Change.UNKNOWN]),
        (Kind.SUMMARY, [{"stage": "read", "reason": "json_malformed", "count": 3}], [None, None]),
        (Kind.SUMMARY, [{"stage": "decide", "reason": "rate_limited", "count": 3}], [None, None]),
        (Kind.SUMMARY, [5, {"stage": {}, "reason": []}], [None, None]),
        (Kind.OUTAGE, [], [Change.UNKNOWN, Change.UNKNOWN]),
    ],
)
def test_refusals_without_a_record_leave_the_past_unknown(
    kind: Kind, counts: list[JsonObject], expected: list[Change | None]
) -> None:
    recorder = started(BOTH)
    recorder.log.add(
        kind, since="2026-01-07T12:00:00.000000000Z", until="2026-01-07T12:00:00.100000000Z", counts=counts
    )
    recorder.call("get_invoice")
    recorder.call("get_invoice", caller=OTHER)

    assert changes(recorder, policy(LOCKED_OUT)) == expected


def test_calls_that_were_let_through_and_not_recorded_leave_all_of_the_past_unknown() -> None:
    recorder = started(BOTH)
    counts = [{"stage": "record", "reason": "audit_unavailable", "count": 1}]
    recorder.log.add(Kind.SUMMARY, until="2026-01-07T12:00:00.100000000Z", counts=counts)
    recorder.call("refund")

    assert changes(recorder, policy(AFTER_A_LOOK)) == [Change.UNKNOWN]


def test_what_was_unclear_is_known_again_once_it_is_out_of_the_window() -> None:
    recorder = started(BOTH)
    counts = [{"stage": "decide", "reason": "denied", "caller": CALLER, "count": 3}]
    recorder.log.add(Kind.SUMMARY, until="2026-01-07T12:00:00.100000000Z", counts=counts)
    recorder.wait(601)
    recorder.call("get_invoice")

    assert changes(recorder, policy(LOCKED_OUT)) == [None]


def test_a_denial_on_unknown_arguments_may_count_or_not() -> None:
    """The policy in force has a denial that hangs on earlier denials and on arguments."""
    rules = (
        BOTH
        + """\
denials:
  - id: either
    server: ledger
    tools: ["*"]
    when: args.n > 3 || history.denials(duration("10m")) >= 9
"""
    )
    recorder = started(rules)
    recorder.call("refund", {"n": 5})
    recorder.call("get_invoice", {"n": 1})

    found = changes(recorder, policy(LOCKED_OUT.replace(">= 2", ">= 1")))

    assert found == [Change.ALLOWED, Change.UNKNOWN]


def test_a_policy_that_asks_nothing_of_the_past_needs_none_of_it() -> None:
    assert not Replay(None, policy(BOTH)).asks_past
    assert not Replay(policy(BOTH), policy(BOTH)).asks_past
    assert Replay(policy(AFTER_A_LOOK), policy(BOTH)).asks_past


def test_a_lockout_is_as_the_gate_had_it() -> None:
    rules = (
        BOTH
        + """\
denials:
  - id: locked-out
    server: ledger
    tools: ["*"]
    when: history.lockout(2, duration("1m"), duration("10m"))
"""
    )
    recorder = started(rules)
    for tool in ("wipe", "wipe", "get_invoice"):
        recorder.call(tool)
    recorder.wait(500)
    recorder.call("get_invoice")
    recorder.wait(200)
    recorder.call("get_invoice")

    assert changes(recorder, policy(rules)) == [None] * 5
    assert changes(recorder, policy(BOTH)) == [None, None, Change.ALLOWED, Change.ALLOWED, None]


def test_used_tags_are_those_of_the_policy_that_asks() -> None:
    tagged = "tools:\n  - {server: ledger, tools: [get_invoice], tags: [private]}\n"
    rules = (
        BOTH
        + """\
denials:
  - id: no-refunds-after-private
    server: ledger
    tools: [refund]
    when: history.used("private", duration("1h"))
"""
    )
    recorder = started(BOTH)
    recorder.call("get_invoice")
    recorder.call("refund")

    assert changes(recorder, policy(tagged + rules)) == [None, Change.DENIED]
    assert changes(recorder, policy(rules)) == [None, None]
