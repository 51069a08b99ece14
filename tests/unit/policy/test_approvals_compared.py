"""A log decided once more, tests and explanations: that people are asked is a decision of its own."""

import json
from typing import Any

import pytest

from callgate.policy.compile import Policy, load_policy
from callgate.policy.difference import Change, Difference
from callgate.policy.recall import Sources
from callgate.policy.recorded import Ruling, ruling_of
from callgate.policy.replay import Replay
from callgate.policy.scenario import Mismatch, Suite, read_suite, try_out
from callgate.policy.suggested_yaml import as_yaml
from callgate.policy.suggestion import suggestion, written
from callgate.policy.usage import Usage
from callgate.wire.json_strict import JsonObject

ALWAYS = {"approval": {"groups": ["leads"]}}
ON_HOLD = {"approval": {"groups": ["leads"], "asks": "on_hold"}}


def policy_of(*grants: dict[str, Any], **more: object) -> Policy:
    rules = [
        {"id": f"g{number}", "workloads": ["spiffe://acme.test/*"], "server": "ledger", "tools": ["pay"], **grant}
        for number, grant in enumerate(grants)
    ]
    whole = {"version": 1, "trust_domains": ["acme.test"], "grants": rules, **more}
    found = load_policy(json.dumps(whole), "p.yaml")
    assert isinstance(found, Policy), found
    return found


def record(policy: Policy, kind: str = "intent", **more: object) -> JsonObject:
    said = {
        "kind": kind,
        "seq": 1,
        "time": "2026-11-21T10:00:00.000000000Z",
        "caller": "spiffe://acme.test/a",
        "server": "ledger",
        "method": "tools/call",
        "tool": "pay",
        "args": "b" * 64,
        "policy": policy.digest,
        "rules": [{"rule": "g0", "kind": "grant", "matched": True}],
        "decision": "1",
        **more,
    }
    return json.loads(json.dumps(said))  # type: ignore[no-any-return]  # an object


def compared(old: Policy, new: Policy, *, recorded: bool) -> Difference | None:
    sources = Sources({old.digest: old}.get, lambda _: None)
    found = Replay(None if recorded else old, new, sources).see(record(old))
    assert found is not None
    assert found.is_readable
    return found.difference


@pytest.mark.parametrize("recorded", [False, True])
def test_a_call_for_which_people_are_asked_from_now_on_is_a_change(recorded: bool) -> None:
    found = compared(policy_of({}), policy_of(ALWAYS), recorded=recorded)

    assert found is not None
    assert (found.change, found.aspects) == (Change.HELD, ("approvals",))


@pytest.mark.parametrize("recorded", [False, True])
def test_a_call_for_which_nobody_is_asked_any_more_is_a_change(recorded: bool) -> None:
    found = compared(policy_of(ALWAYS), policy_of({}), recorded=recorded)

    assert found is not None
    assert (found.change, found.aspects) == (Change.FREED, ("approvals",))


@pytest.mark.parametrize(
    "new",
    [
        {"approval": {"groups": ["others"]}},
        {"approval": {"groups": ["leads"], "needed": 2}},
        {"approval": {"groups": ["leads"], "four_eyes": True}},
        {"approval": {"groups": ["leads"], "repeat": {"for": "15m", "calls": 5}}},
    ],
)
def test_an_approval_on_other_terms_is_other_terms(new: dict[str, Any]) -> None:
    found = compared(policy_of(ALWAYS), policy_of(new), recorded=False)

    assert found is not None
    assert (found.change, found.aspects) == (Change.TERMS, ("approvals",))


def test_one_that_asks_only_where_something_is_held_holds_nothing_for_certain() -> None:
    found = compared(policy_of({}), policy_of(ON_HOLD), recorded=False)

    assert found is not None
    assert (found.change, found.aspects) == (Change.TERMS, ("approvals",))
    held = {"mask_arguments": [{"entity": "card", "mode": "hold"}]}
    more = compared(policy_of(ON_HOLD), policy_of(ON_HOLD | held), recorded=False)
    assert more is not None
    assert (more.change, more.aspects) == (Change.TERMS, ("screening",))


def test_the_same_approval_asked_for_by_another_grant_is_asked_for_all_the_same() -> None:
    found = compared(policy_of(ALWAYS), policy_of(ALWAYS | {"id": "other"}), recorded=False)

    assert found is not None
    assert found.aspects == ("grants",)
    assert compared(policy_of(ALWAYS), policy_of(ALWAYS), recorded=True) is None


@pytest.mark.parametrize(
    "reason", ["approval_required", "approval_denied", "too_many_approvals", "approvals_unavailable"]
)
def test_a_call_that_people_did_not_agree_to_was_allowed_by_the_policy_and_not_made(reason: str) -> None:
    policy = policy_of(ALWAYS)
    refused = record(policy, "refusal", reason=reason, stage="approve")

    assert ruling_of(refused) is Ruling.HELD
    sources = Sources({policy.digest: policy}.get, lambda _: None)
    for new, change in ((policy, None), (policy_of({}), Change.FREED), (policy_of({"tools": ["get"]}), Change.DENIED)):
        found = Replay(None, new, sources).see(refused)
        assert found is not None
        assert (found.difference and found.difference.change) == change


def test_what_a_policy_of_unknown_text_asked_is_told_by_the_record_as_far_as_it_goes() -> None:
    old, held, free = policy_of({}), policy_of(ALWAYS), policy_of({"description": "of another text"})
    unknown = Sources(lambda _: None, lambda _: None)

    def told(new: Policy, *, was_asked: bool = False) -> tuple[Change, tuple[str, ...]]:
        said = record(old, approval={"id": "a" * 32}) if was_asked else record(old)
        found = Replay(None, new, unknown).see(said)
        assert found is not None
        assert found.difference is not None
        return found.difference.change, found.difference.may

    # It went out, and nobody was asked.
    assert told(held) == (Change.HELD, ())
    assert told(free) == (Change.UNKNOWN, ("", Change.TERMS))
    # Somebody was: for this call, or for each?
    assert told(held, was_asked=True) == (Change.UNKNOWN, ("", Change.TERMS, Change.HELD))
    assert told(free, was_asked=True) == (Change.UNKNOWN, ("", Change.TERMS, Change.FREED))


# Tests of a policy


SUITE = """\
policy: p.yaml
tests:
  - name: one
    who: spiffe://acme.test/a
    call: {{server: ledger, tool: pay, args: {{amount: 5}}}}
    expect: {}
"""


def mismatches(policy: Policy, expect: str) -> tuple[Mismatch, ...]:
    suite = read_suite(SUITE.format(expect), "p.test.yaml")
    assert isinstance(suite, Suite), suite
    return try_out(policy, suite.scenarios[0]).mismatches


def test_a_call_that_is_held_is_expected_to_be_and_is_not_allowed() -> None:
    assert mismatches(policy_of(ALWAYS), "{decision: hold, approvals: [g0], rules: [g0]}") == ()
    (found,) = mismatches(policy_of(ALWAYS), "{decision: allow}")
    assert (found.expected, found.got) == ("allow", "hold (grant g0)")
    (found,) = mismatches(policy_of({}), "{decision: hold}")
    assert (found.expected, found.got) == ("hold", "allow (grant g0)")


def test_who_asks_is_compared_whenever_it_asks() -> None:
    policy = policy_of(ALWAYS, ON_HOLD, {})

    assert mismatches(policy, "{approvals: [g1, g0]}") == ()
    assert mismatches(policy_of(ON_HOLD), "{decision: allow, approvals: [g0]}") == ()
    assert mismatches(policy_of({}), "{approvals: []}") == ()
    (found,) = mismatches(policy, "{approvals: [g0]}")
    assert (found.what, found.expected, found.got) == ("approvals", "[g0]", "[g0, g1]")
    (found,) = mismatches(policy_of({"tools": ["get"]}), "{approvals: []}")
    assert found.got == "none, because the call is denied"


def test_what_is_held_is_compared_beside_what_is_masked() -> None:
    held = {"mask_arguments": [{"entity": "card", "mode": "hold"}, {"entity": "card", "mode": "partial"}, "email"]}
    policy = policy_of(ON_HOLD | held)

    for modes in ("{card: hold, email: redact}", "{card: partial}", "{iban: none}"):
        assert mismatches(policy, f"{{mask_arguments: {modes}}}") == ()
    (found,) = mismatches(policy, "{mask_arguments: {card: none}}")
    assert found.got == "partial and hold"
    (found,) = mismatches(policy, "{mask_arguments: {email: hold}}")
    assert found.got == "redact"


# A policy that is suggested


def suggested(policy: Policy, given: Policy | None) -> tuple[str, Policy]:
    usage = Usage(given)
    usage.see(record(policy, approval={"id": "a" * 32}))
    usage.see(record(policy, "outcome", intent=1, status="answered", seq=2))
    text = as_yaml(suggestion(usage, written(given.sources) if given is not None else None), ["suggested"])
    found = load_policy(text, "p.yaml")
    assert isinstance(found, Policy), found
    return text, found


def test_a_suggested_policy_keeps_approvals_and_owners() -> None:
    policy = policy_of(ALWAYS, owners=[{"workloads": ["spiffe://acme.test/*"], "people": ["bob"]}])

    _, found = suggested(policy, policy)
    assert found.owned[0].owners == policy.owned[0].owners
    assert found.rules["ledger"][0].approval == policy.rules["ledger"][0].approval


def test_a_policy_that_is_suggested_from_nothing_tells_that_people_were_asked() -> None:
    text, found = suggested(policy_of(ALWAYS), None)

    assert found.rules["ledger"][0].approval is None
    assert "pay: people were asked for 1 call of it, and this asks nobody; with --policy, approvals stay" in text
