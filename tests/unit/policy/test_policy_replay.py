"""Recorded decisions under another policy: what changes, and what cannot be told."""

from collections.abc import Mapping

import pytest

from callgate.audit.chain import Kind
from callgate.policy.compile import Policy
from callgate.policy.decide import DecisionOutcome
from callgate.policy.difference import Change, Difference
from callgate.policy.recall import Sources
from callgate.policy.recorded import Ruling
from callgate.policy.replay import Replay, Replayed
from callgate.wire.json_strict import JsonObject, JsonValue
from support.audit_logs import MadeLog
from support.recorded_calls import Recorder, policy, user

READS = """\
grants:
  - id: reads
    workloads: [spiffe://acme.test/ns/billing/sa/*]
    server: ledger
    tools: [get_invoice]
"""


def grant(name: str, tool: str, **terms: str) -> str:
    """One grant more, in a policy file."""
    return f"""\
  - id: {name}
    workloads: [spiffe://acme.test/ns/billing/sa/*]
    server: ledger
    tools: [{tool}]
""" + "".join(f"    {key}: {value}\n" for key, value in terms.items())


def granting(*grants: str) -> Policy:
    return policy("grants:\n" + "".join(grants))


def denying(grants: str, **terms: str) -> Policy:
    said = {"id": "denial", "server": "ledger", "tools": "[get_invoice]"} | terms
    return policy("grants:\n" + grants + "denials:\n  - " + "\n    ".join(f"{k}: {v}" for k, v in said.items()) + "\n")


def replayed(
    recorder: Recorder, new: Policy, *, old: Policy | None = None, sources: Sources | None = None
) -> list[Replayed]:
    replay = Replay(old, new, sources or recorder.sources)
    return [found for record in recorder.records() if (found := replay.see(record)) is not None]


def only(found: list[Replayed]) -> Difference:
    ((difference,),) = ([each.difference for each in found],)
    assert difference is not None
    return difference


def calling(rules: Policy, tool: str = "get_invoice", **said: object) -> Recorder:
    recorder = Recorder(rules)
    recorder.call(tool, **said)  # type: ignore[arg-type]  # what is said of the call
    return recorder


@pytest.fixture(params=["recorded", "both policies"])
def old_is(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def old_of(old_is: str, recorder: Recorder) -> Policy | None:
    return None if old_is == "recorded" else recorder.policy


# Each kind of change, against what was decided and against the policy that decided it.


def test_a_call_that_no_grant_allows_any_more_is_denied(old_is: str) -> None:
    recorder = calling(policy(READS))

    found = only(replayed(recorder, granting(grant("other", "refund")), old=old_of(old_is, recorder)))

    assert found.change is Change.DENIED
    assert found.old is not None
    assert found.new is not None
    assert (found.old.outcome, found.old.rules) == (DecisionOutcome.ALLOW, ("reads",))
    assert (found.new.outcome, found.new.reason, found.new.rules) == (DecisionOutcome.DENY, "no_grant", ())


def test_a_call_that_was_denied_is_allowed(old_is: str) -> None:
    recorder = calling(policy(READS), "refund")

    found = only(replayed(recorder, granting(grant("refunds", "refund")), old=old_of(old_is, recorder)))

    assert found.change is Change.ALLOWED
    assert found.new is not None
    assert found.new.rules == ("refunds",)


def test_a_denial_for_another_reason_is_a_change(old_is: str) -> None:
    recorder = calling(policy(READS), "refund")

    found = only(
        replayed(recorder, denying(grant("reads", "get_invoice"), tools="[refund]"), old=old_of(old_is, recorder))
    )

    assert found.change is Change.REASON
    assert found.old is not None
    assert found.new is not None
    assert (found.old.reason, found.new.reason) == ("no_grant", "denied")
    assert found.new.rules == ("denial",)


@pytest.mark.parametrize(
    ("terms", "aspect"),
    [
        ({"scopes": "[ledger.read]"}, "scopes"),
        ({"ttl": "10s"}, "ttl"),
        ({"limit": "{calls: 5, per: 1m}"}, "limits"),
        ({"record": "full"}, "record"),
    ],
)
def test_a_call_that_is_allowed_on_other_terms_says_which(old_is: str, terms: Mapping[str, str], aspect: str) -> None:
    recorder = calling(granting(grant("reads", "get_invoice")))

    found = only(replayed(recorder, granting(grant("reads", "get_invoice", **terms)), old=old_of(old_is, recorder)))

    assert found.change is Change.TERMS
    assert found.aspects == (aspect,)


def test_another_grant_with_the_same_terms_is_a_change(old_is: str) -> None:
    recorder = calling(granting(grant("reads", "get_invoice")))

    found = only(replayed(recorder, granting(grant("looks", '"get_*"')), old=old_of(old_is, recorder)))

    assert (found.change, found.aspects) == (Change.TERMS, ("grants",))


def test_a_change_elsewhere_changes_nothing(old_is: str) -> None:
    recorder = calling(policy(READS))
    other = READS + grant("refunds", "refund") + "denials:\n  - {id: no, server: mail, tools: ['*']}\n"

    assert [each.difference for each in replayed(recorder, policy(other), old=old_of(old_is, recorder))] == [None]


def test_a_grant_in_shadow_allows_nothing(old_is: str) -> None:
    recorder = calling(policy(READS))

    found = replayed(recorder, granting(grant("reads", "get_invoice", shadow="true")), old=old_of(old_is, recorder))

    assert only(found).change is Change.DENIED


def test_a_rule_that_leaves_shadow_is_told_by_what_the_record_says_of_it(old_is: str) -> None:
    shadowed = (
        grant("reads", "get_invoice")
        + "denials:\n  - {id: big, server: ledger, tools: [get_invoice], when: 'args.n > 3'%s}\n"
    )
    recorder = Recorder(policy("grants:\n" + shadowed % ", shadow: true"))
    recorder.call("get_invoice", {"n": 5})
    recorder.call("get_invoice", {"n": 1})

    found = [
        each.difference
        for each in replayed(recorder, policy("grants:\n" + shadowed % ""), old=old_of(old_is, recorder))
    ]

    assert [each.change if each else None for each in found] == [Change.DENIED, None]


# Methods that a grant implies.


def test_a_method_that_a_grant_implies_is_denied_with_the_last_grant(old_is: str) -> None:
    recorder = calling(policy(READS), tool=None, method="tools/list")  # type: ignore[arg-type]
    elsewhere = policy(READS.replace("billing", "ops"))

    assert only(replayed(recorder, elsewhere, old=old_of(old_is, recorder))).change is Change.DENIED
    assert [each.difference for each in replayed(recorder, granting(grant("more", "x"), grant("and", "y")))] == [None]


def test_a_method_is_implied_by_a_grant_only_in_its_time(old_is: str) -> None:
    recorder = Recorder(policy(READS))
    recorder.call(None, method="tools/list")
    recorder.wait(8 * 3600)
    recorder.call(None, method="tools/list")
    new = granting(grant("reads", "get_invoice", between="{hours: '08:00-18:00', zone: UTC}"))

    found = [each.difference for each in replayed(recorder, new, old=old_of(old_is, recorder))]

    assert [each.change if each else None for each in found] == [None, Change.DENIED]


def test_a_tool_with_an_impossible_name_is_denied_by_any_policy(old_is: str) -> None:
    recorder = calling(policy(READS), "get invoice")

    everything = granting(grant("all", '"*"'))

    assert [each.difference for each in replayed(recorder, everything, old=old_of(old_is, recorder))] == [None]


# What is not known.


def test_a_condition_on_arguments_cannot_be_told(old_is: str) -> None:
    recorder = calling(policy(READS), args={"amount": 5})

    found = only(
        replayed(
            recorder, granting(grant("reads", "get_invoice", when="args.amount < 500")), old=old_of(old_is, recorder)
        )
    )

    assert found.change is Change.UNKNOWN
    assert found.may == ("", Change.DENIED)
    assert found.hinges == ("args.amount < 500",)
    assert found.needs == ("args",)


def test_a_condition_on_arguments_is_told_with_content(old_is: str) -> None:
    recorder = Recorder(policy(READS))
    recorder.call("get_invoice", {"amount": 5})
    recorder.call("get_invoice", {"amount": 500})
    new = granting(grant("reads", "get_invoice", when="args.amount < 500"))

    found = replayed(recorder, new, old=old_of(old_is, recorder), sources=recorder.with_content)

    assert [each.difference.change if each.difference else None for each in found] == [None, Change.DENIED]


def test_no_arguments_are_known_by_their_digest(old_is: str) -> None:
    recorder = calling(policy(READS), args={})
    new = granting(grant("reads", "get_invoice", when="'!has(args.amount)'"))

    assert [each.difference for each in replayed(recorder, new, old=old_of(old_is, recorder))] == [None]


def test_the_tools_annotations_cannot_be_told(old_is: str) -> None:
    recorder = calling(policy(READS), annotations={"readOnlyHint": True})
    new = granting(grant("reads", "get_invoice", when="tool.annotations.readOnlyHint"))

    found = only(replayed(recorder, new, old=old_of(old_is, recorder), sources=recorder.with_content))

    assert (found.change, found.needs) == (Change.UNKNOWN, ("tool.annotations",))


def test_a_users_claims_cannot_be_told_and_those_of_nobody_can(old_is: str) -> None:
    recorder = Recorder(policy(READS))
    recorder.call("get_invoice", user=user("ada", claims={"level": 3}))
    recorder.call("get_invoice")
    new = granting(grant("reads", "get_invoice", when="user.claims.level > 2"))

    found = [each.difference for each in replayed(recorder, new, old=old_of(old_is, recorder))]

    assert [each.change if each else None for each in found] == [Change.UNKNOWN, Change.DENIED]
    assert found[0] is not None
    assert found[0].needs == ("user.claims",)


def test_a_scope_made_from_arguments_cannot_be_told(old_is: str) -> None:
    recorder = calling(policy(READS), args={"account": "house"})
    new = granting(grant("reads", "get_invoice", scopes='["ledger:{args.account}"]'))

    found = only(replayed(recorder, new, old=old_of(old_is, recorder)))

    # Without an account there is no scope, and without a scope no grant.
    assert found.change is Change.UNKNOWN
    assert found.may == (Change.DENIED, Change.TERMS)
    assert found.needs == ("args",)
    assert "ledger:{args.account}" in found.hinges


def test_two_ways_to_write_the_same_scope_are_the_same_where_the_arguments_are_known(old_is: str) -> None:
    old = granting(grant("reads", "get_invoice", scopes='["ledger:{args.account}"]'))
    new = granting(grant("reads", "get_invoice", scopes='["ledger:house"]'))
    recorder = Recorder(old)
    recorder.call("get_invoice", {"account": "house"})
    recorder.call("get_invoice", {"account": "other"})

    known = replayed(recorder, new, old=old_of(old_is, recorder), sources=recorder.with_content)
    unknown = replayed(recorder, new, old=old_of(old_is, recorder))

    assert [each.difference.aspects if each.difference else None for each in known] == [None, ("scopes",)]
    assert [each.difference.change for each in unknown if each.difference] == [Change.UNKNOWN] * 2


def test_a_condition_that_is_the_same_in_both_policies_changes_nothing_whatever_it_came_to(old_is: str) -> None:
    old = granting(grant("refunds", "refund", when="args.amount < 500"))
    new = granting(grant("refunds", "refund", when="args.amount < 500"), grant("more", "other"))
    recorder = Recorder(old)
    recorder.call("refund", {"amount": 5})
    recorder.call("refund", {"amount": 500})
    recorder.call("refund", {})

    assert [each.difference for each in replayed(recorder, new, old=old_of(old_is, recorder))] == [None] * 3


def test_what_the_record_says_of_a_condition_decides_the_other_policy(old_is: str) -> None:
    """The new policy has the same condition in another rule: the record tells how it came out."""
    old = granting(grant("refunds", "refund", when="args.amount < 500"))
    recorder = Recorder(old)
    recorder.call("refund", {"amount": 5})
    recorder.call("refund", {"amount": 500})
    new = denying(grant("refunds", "refund"), tools="[refund]", when="args.amount < 500")

    found = [each.difference for each in replayed(recorder, new, old=old_of(old_is, recorder))]

    assert found[0] is not None
    assert found[0].change is Change.DENIED
    # That the grant did not apply leaves open whether the condition failed; a denial would then apply.
    assert found[1] is not None
    assert found[1].change is Change.UNKNOWN
    assert set(found[1].may) == {Change.ALLOWED, Change.REASON}


def test_without_the_text_of_the_policy_that_decided_its_conditions_tell_nothing() -> None:
    recorder = calling(granting(grant("refunds", "refund", when="args.amount < 500")), "refund", args={"amount": 5})
    new = granting(grant("refunds", "refund", when="args.amount < 500", ttl="10s"))

    known = only(replayed(recorder, new))
    unknown = only(replayed(recorder, new, sources=Sources()))

    assert (known.change, known.aspects) == (Change.TERMS, ("ttl",))
    assert unknown.change is Change.UNKNOWN
    assert unknown.may == ("", Change.DENIED, Change.TERMS)
    assert unknown.needs == ("args", "policy")


def test_a_change_that_is_the_same_whatever_the_unknown_is_told(old_is: str) -> None:
    recorder = calling(policy(READS), args={"amount": 5})
    new = granting(
        grant("other", "refund", when="args.amount < 500"),
        grant("third", "get_invoice", when='caller.path[1] == "ops"'),
    )

    assert only(replayed(recorder, new, old=old_of(old_is, recorder))).change is Change.DENIED


def test_a_denial_that_applies_anyhow_makes_all_else_idle(old_is: str) -> None:
    recorder = calling(policy(READS), args={"amount": 5})
    new = denying(grant("reads", "get_invoice", when="args.amount < 500"))

    found = only(replayed(recorder, new, old=old_of(old_is, recorder)))

    assert found.change is Change.DENIED
    assert found.new is not None
    assert found.new.rules == ("denial",)


def test_which_grants_allow_may_be_unknown_where_that_they_do_is_not(old_is: str) -> None:
    recorder = calling(policy(READS.replace("get_invoice", "refund")), args={"amount": 5})
    new = granting(grant("one", "get_invoice"), grant("two", "get_invoice", when="args.amount < 500"))

    found = only(replayed(recorder, new, old=old_of(old_is, recorder)))

    assert found.change is Change.ALLOWED
    assert found.new is not None
    assert (found.new.outcome, found.new.rules, found.new.terms) == (DecisionOutcome.ALLOW, None, None)


def test_more_unknown_conditions_than_are_gone_through_are_not_told(old_is: str) -> None:
    recorder = calling(policy(READS), args={"a": 1})
    new = granting(*(grant(f"g{n}", "get_invoice", when=f"args.a > {n}") for n in range(9)))

    found = only(replayed(recorder, new, old=old_of(old_is, recorder)))

    assert found.change is Change.UNKNOWN
    assert found.needs == ("args",)
    assert len(found.hinges) == 9


def test_only_conditions_on_which_the_difference_hangs_are_named(old_is: str) -> None:
    both = grant("small", "get_invoice", when="args.amount < 5")
    recorder = calling(granting(both), args={"amount": 300})
    new = granting(both, grant("middle", "get_invoice", when="args.amount < 500"))

    found = only(replayed(recorder, new, old=old_of(old_is, recorder)))

    assert found.hinges == ("args.amount < 500",)


@pytest.mark.parametrize("when", ["'t' in tool.tags || args.n > 1", "history.used('t', duration('1h')) || args.n > 1"])
def test_a_condition_that_reads_tags_is_another_with_other_tags(old_is: str, when: str) -> None:
    tags = "tools:\n  - {server: ledger, tools: [get_invoice], tags: [t]}\n"
    rule = "grants:\n" + grant("reads", "get_invoice", when=f'"{when}"') + grant("looks", "look")
    recorder = Recorder(policy(tags + rule))
    recorder.log.start()
    recorder.call("get_invoice", {"n": 5})
    recorder.call("get_invoice", {"n": 0})

    (_, last) = replayed(recorder, policy(rule), old=old_of(old_is, recorder))

    assert last.difference is not None
    assert last.difference.change is Change.UNKNOWN
    assert Change.DENIED in last.difference.may


@pytest.mark.parametrize(
    ("when", "change"), [("args.a.all(x, args.a.all(y, x != y))", Change.UNKNOWN), ("args.a == 5", None)]
)
def test_a_condition_is_another_where_less_may_be_spent_on_it_and_that_matters(
    old_is: str, when: str, change: Change | None
) -> None:
    rule = grant("loop", "get_invoice", when=f'"{when}"')
    others = [grant(f"g{n}", "get_invoice", when="request.hour > 3", shadow="true") for n in range(19)]
    recorder = calling(granting(rule), args={"a": []})

    (found,) = replayed(recorder, granting(rule, *others), old=old_of(old_is, recorder))

    assert (found.difference.change if found.difference else None) is change


def test_rules_beyond_those_that_a_record_lists_may_have_applied(old_is: str) -> None:
    conditional = grant("conditional", "get_invoice", when="args.n < 5")
    recorder = calling(granting(*(grant(f"g{n}", "get_invoice") for n in range(18)), conditional), args={"n": 3})

    found = only(replayed(recorder, granting(conditional), old=old_of(old_is, recorder)))

    assert found.change is Change.UNKNOWN
    assert Change.DENIED in found.may


def test_of_a_grant_that_hangs_on_two_things_the_record_does_not_tell_which_it_was(old_is: str) -> None:
    old = granting(grant("both", "get_invoice", when="args.n < 5", scopes='["ledger:{args.x}"]'))
    recorder = calling(old, args={"n": 3})

    found = only(
        replayed(recorder, granting(grant("one", "get_invoice", when="args.n < 5")), old=old_of(old_is, recorder))
    )
    same = replayed(recorder, old, old=old_of(old_is, recorder))

    assert found.change is Change.UNKNOWN
    assert found.may == ("", Change.ALLOWED)
    assert [each.difference for each in same] == [None]


def test_a_record_that_contradicts_itself_tells_nothing_of_conditions() -> None:
    when = "args.n < 5"
    old = denying(grant("reads", "get_invoice", when=when), when=when)
    recorder = calling(old, args={"n": 3})
    listed: list[JsonValue] = [
        {"rule": "reads", "kind": "grant", "matched": True},
        {"rule": "denial", "kind": "denial", "matched": False},
    ]
    records: list[JsonObject] = [
        record | ({"rules": listed} if "rules" in record else {}) for record in recorder.records()
    ]
    replay = Replay(None, granting(grant("other", "get_invoice", when=when)), recorder.sources)

    (found,) = [each.difference for record in records if (each := replay.see(record))]

    assert found is not None
    assert found.change is Change.UNKNOWN
    assert found.may == (Change.ALLOWED, Change.REASON)


def test_what_a_condition_came_to_for_one_workload_and_tool_is_not_that_of_another(old_is: str) -> None:
    recorder = Recorder(policy(READS.replace("get_invoice", '"*"')))
    other = "spiffe://acme.test/ns/billing/sa/other"
    for _ in range(2):
        recorder.call("get_invoice", {"n": 3})
        recorder.call("get_order", {"n": 3})
        recorder.call("get_invoice", {"n": 3}, caller=other)
    new = granting(
        grant("reads", '"*"', when='\'args.n < 5 && caller.path[3] == "agent" && tool.name == "get_invoice"\'')
    )

    found = [each.difference for each in replayed(recorder, new, old=old_of(old_is, recorder))]

    assert [each.change if each else None for each in found] == [Change.UNKNOWN, Change.DENIED, Change.DENIED] * 2


# Who asks, on whose behalf, and when.


def test_users_are_asked_as_recorded(old_is: str) -> None:
    recorder = Recorder(policy(READS))
    recorder.call("get_invoice", user=user("ada", "finance"))
    recorder.call("get_invoice", user=user("eve", "sales"))
    recorder.call("get_invoice")
    new = granting(grant("reads", "get_invoice", users="{groups: [finance]}"))

    found = [each.difference for each in replayed(recorder, new, old=old_of(old_is, recorder))]

    assert [each.change if each else None for each in found] == [None, Change.DENIED, Change.DENIED]


def test_a_denial_of_users_is_for_nobody_too(old_is: str) -> None:
    recorder = Recorder(policy(READS))
    recorder.call("get_invoice", user=user("ada", "finance"))
    recorder.call("get_invoice")
    new = denying(grant("reads", "get_invoice"), users="{groups: [sales]}")

    found = [each.difference for each in replayed(recorder, new, old=old_of(old_is, recorder))]

    assert [each.change if each else None for each in found] == [None, Change.DENIED]


def test_groups_beyond_those_recorded_cannot_be_told(old_is: str) -> None:
    many = [f"g{n}" for n in range(64)]
    recorder = Recorder(policy(READS))
    recorder.call("get_invoice", user=user("ada", *many))
    recorder.call("get_invoice", user=user("ada", *many[:63]))
    new = granting(grant("reads", "get_invoice", users="{groups: [finance]}"))
    known = granting(grant("reads", "get_invoice", users="{groups: [g3]}"))
    other = granting(grant("reads", "get_invoice", users="{groups: [finance], subjects: [eve]}"))

    found = [each.difference for each in replayed(recorder, new, old=old_of(old_is, recorder))]

    assert [each.change if each else None for each in found] == [Change.UNKNOWN, Change.DENIED]
    assert found[0] is not None
    assert found[0].needs == ("user.groups",)
    assert [each.difference for each in replayed(recorder, known, old=old_of(old_is, recorder))] == [None, None]
    changes = [each.difference for each in replayed(recorder, other, old=old_of(old_is, recorder))]
    assert [each.change if each else None for each in changes] == [Change.DENIED, Change.DENIED]


def test_times_are_those_of_the_record(old_is: str) -> None:
    recorder = Recorder(policy(READS))
    recorder.call("get_invoice")
    recorder.wait(8 * 3600)
    recorder.call("get_invoice")
    new = granting(grant("reads", "get_invoice", between="{hours: '08:00-18:00', zone: UTC}"))

    found = [each.difference for each in replayed(recorder, new, old=old_of(old_is, recorder))]

    # At noon, and at eight in the evening.
    assert [each.change if each else None for each in found] == [None, Change.DENIED]


def test_a_grant_that_begins_later_is_not_there_before(old_is: str) -> None:
    recorder = Recorder(policy(READS))
    recorder.call("get_invoice")
    recorder.wait(3600)
    recorder.call("get_invoice")
    new = granting(grant("reads", "get_invoice", **{"from": "2026-01-07T12:30:00Z"}))

    found = [each.difference for each in replayed(recorder, new, old=old_of(old_is, recorder))]

    assert [each.change if each else None for each in found] == [Change.DENIED, None]


@pytest.mark.parametrize(
    "when",
    [
        'request.purpose == "refunds"',
        'request.revision == "2026-07-28"',
        "request.size == 300",
        "caller.svid_age < duration('1h')",
        "caller.svid_left > duration('1h')",
        "request.hour == 12 && request.weekday == 'wed'",
        "tool.server == 'ledger' && tool.name == 'get_invoice'",
        "user.subject == 'ada' && 'finance' in user.groups",
    ],
)
def test_what_a_record_tells_is_known_to_conditions(old_is: str, when: str) -> None:
    recorder = calling(policy(READS), purpose="refunds", user=user("ada", "finance"), args={"a": 1})
    new = granting(grant("reads", "get_invoice", when=f'"{when}"' if '"' not in when else f"'{when}'"))

    assert [each.difference for each in replayed(recorder, new, old=old_of(old_is, recorder))] == [None]


def test_tags_are_those_of_each_policy(old_is: str) -> None:
    tags = "tools:\n  - {server: ledger, tools: [get_invoice], tags: [private]}\n"
    rule = "grants:\n" + grant("reads", "get_invoice", when="'\"private\" in tool.tags && args.a == 1'")
    recorder = calling(policy(tags + rule), args={"a": 1})

    assert only(replayed(recorder, policy(rule), old=old_of(old_is, recorder))).change is Change.DENIED
    assert [each.difference for each in replayed(recorder, policy(tags + rule + grant("b", "b")))] == [None]


# What is not about policy, and what was.


def test_a_refusal_before_the_policy_is_not_about_it(old_is: str) -> None:
    recorder = Recorder(policy(READS))
    recorder.log.refusal(reason="json_malformed", stage="read")
    recorder.log.handshake_refusal()

    found = replayed(recorder, granting(grant("other", "x")), old=old_of(old_is, recorder))

    assert [(each.ruling, each.difference) for each in found] == [(Ruling.NOT_ASKED, None)] * 2


@pytest.mark.parametrize("reason", ["rate_limited", "too_many_calls", "upstream_breaker_open"])
def test_what_a_limit_refused_was_allowed_by_policy(old_is: str, reason: str) -> None:
    recorder = Recorder(policy(READS))
    recorder.call("get_invoice", limited_by=reason)

    same = replayed(recorder, policy(READS), old=old_of(old_is, recorder))
    other = replayed(recorder, granting(grant("other", "x")), old=old_of(old_is, recorder))

    assert [(each.ruling, each.difference) for each in same] == [(Ruling.LIMITED, None)]
    assert only(other).change is Change.DENIED


@pytest.mark.parametrize("reason", ["approval_required", "approval_denied", "too_many_approvals"])
def test_what_a_person_had_not_agreed_to_was_allowed_by_policy(old_is: str, reason: str) -> None:
    recorder = Recorder(policy(READS))
    recorder.call("get_invoice", limited_by=reason)

    same = replayed(recorder, policy(READS), old=old_of(old_is, recorder))
    other = replayed(recorder, granting(grant("other", "x")), old=old_of(old_is, recorder))

    assert [(each.ruling, each.difference) for each in same] == [(Ruling.HELD, None)]
    assert only(other).change is Change.DENIED


def test_what_a_limit_refused_after_people_had_agreed_is_the_limits_doing() -> None:
    recorder = Recorder(policy(READS))
    recorder.log.refusal(reason="rate_limited", stage="approve", tool="get_invoice", policy=recorder.policy.digest)

    assert [each.ruling for each in replayed(recorder, policy(READS))] == [Ruling.LIMITED]


def test_what_failed_after_the_decision_was_allowed_by_policy() -> None:
    recorder = Recorder(policy(READS))
    recorder.log.refusal(reason="mint_failed", stage="mint", tool="get_invoice", policy=recorder.policy.digest)

    (found,) = replayed(recorder, granting(grant("other", "x")))

    assert found.ruling is Ruling.ALLOWED
    assert found.difference is not None
    assert found.difference.change is Change.DENIED


def test_a_notification_that_ends_at_the_gate_was_allowed() -> None:
    log = MadeLog()
    recorder = Recorder(policy(READS), log)
    request = log.request(tool=None) | {"method": "notifications/cancelled", "policy": recorder.policy.digest}
    log.add(Kind.ABSORBED, **request, reason="", path=["decide=ok"])

    (found,) = replayed(recorder, granting(grant("other", "x").replace("billing", "ops")))

    assert found.difference is not None
    assert found.difference.change is Change.DENIED


@pytest.mark.parametrize(
    "broken",
    [
        {"caller": "nobody"},
        {"caller": 5},
        {"caller": None},
        {"server": ["ledger"]},
        {"method": None},
        {"time": "yesterday"},
        {"time": 5},
    ],
)
def test_a_record_that_does_not_say_who_called_what_is_told_apart(broken: JsonObject) -> None:
    recorder = calling(policy(READS))
    records = [record | broken for record in recorder.records() if record["kind"] == "intent"]

    found = [Replay(None, policy(READS)).see(record) for record in records]

    assert [each.is_readable for each in found if each] == [False]


@pytest.mark.parametrize(
    "odd",
    [
        {"rules": 5},
        {"rules": [5, {"rule": {"a": 1}, "matched": True}, {"rule": ["x"]}]},
        {"tool": {"a": 1}},
        {"user": {"groups": "all", "subject": 5}},
        {"svid": ["a"]},
        {"policy": {"a": 1}},
        {"size": "big", "purpose": [], "revision": 5},
        {"path": "decide=ok", "reason": {"a": 1}},
        {"request": {"object": 5}},
    ],
)
def test_a_record_that_was_tampered_with_stops_nothing(odd: JsonObject) -> None:
    recorder = Recorder(policy(READS))
    recorder.call("get_invoice")
    recorder.call("refund")
    new = granting(grant("reads", "get_invoice", when="args.a == 1 && user.subject == 'x'"))
    for old in (None, recorder.policy):
        replay = Replay(old, new, recorder.sources)
        for record in recorder.records():
            replay.see(record | odd)


def test_what_is_not_to_be_compared_is_not() -> None:
    recorder = calling(policy(READS))
    replay = Replay(None, granting(grant("other", "x")), recorder.sources)

    assert [replay.see(record, compare=False) for record in recorder.records()] == [None] * len(recorder.records())


def test_a_kept_comparison_is_not_that_of_another_workload_tool_or_record() -> None:
    """Where neither policy asks for more, a comparison is worked out once: each of these differs in one thing."""
    recorder = Recorder(granting(grant("reads", "get_invoice"), grant("looks", "get_order")))
    for _ in range(2):
        recorder.call("get_invoice")
        recorder.call("get_order")
        recorder.call("get_invoice", caller="spiffe://acme.test/ns/ops/sa/agent")
        recorder.call("get_invoice", server="mail")
        recorder.call("get_invoice", limited_by="rate_limited")
    found = [each.difference for each in replayed(recorder, granting(grant("reads", "get_invoice")))]

    assert [each.change if each else None for each in found] == [None, Change.DENIED, None, None, None] * 2
