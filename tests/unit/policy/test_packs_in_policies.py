"""Packs as denials: when they apply, what is left out of them, and what can be told of them without a call."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callgate.errors import Reason
from callgate.identity.spiffe_id import SpiffeId
from callgate.policy.call import Call
from callgate.policy.compile import Policy, load_policy
from callgate.policy.condition import Truth
from callgate.policy.decide import Decision, DecisionOutcome, decide, tool_is_visible
from callgate.policy.explain import Question, explain
from callgate.policy.history import History
from callgate.policy.pack_condition import PackCondition
from callgate.policy.permissions import permissions_of
from callgate.policy.possible import ANY, possible_truths, reads_of_rule
from callgate.policy.rule import Rule
from callgate.screening.packs import PACKS
from callgate.wire.json_strict import JsonObject

NOW = 1_800_000_000.0
CALLER = SpiffeId.parse("spiffe://acme.test/a")
DROP: JsonObject = {"query": "DROP TABLE users"}
READ: JsonObject = {"query": "SELECT name FROM users"}


def policy_of(more: dict[str, Any], **others: object) -> Policy:
    """A grant of every tool of `db`, and a pack on its queries."""
    pack = {"pack": "destructive-sql@1", "server": "db", "tools": ["query"], **more}
    grant = {"id": "all", "workloads": ["spiffe://acme.test/*"], "server": "db", "tools": ["*"]}
    whole = {
        "version": 1,
        "trust_domains": ["acme.test"],
        "tools": [{"server": "db", "tools": ["query", "migrate"], "sql": {"query": "postgres"}}],
        "packs": [pack],
        "grants": [grant],
        **others,
    }
    found = load_policy(json.dumps(whole), "p.yaml")
    assert isinstance(found, Policy), found
    return found


def call(arguments: JsonObject, tool: str = "query", **more: Any) -> Call:  # noqa: ANN401  # a call's fields
    return Call(caller=CALLER, server="db", method="tools/call", tool=tool, arguments=arguments, now=NOW, **more)


def decided(policy: Policy, arguments: JsonObject, tool: str = "query", **more: Any) -> Decision:  # noqa: ANN401  # as above
    return decide(policy, call(arguments, tool, **more))


def pack_rule(policy: Policy) -> Rule:
    return next(rule for rule in policy.rules["db"] if rule.kind == "denial")


def test_a_call_that_breaks_a_rule_is_denied_and_the_finding_names_the_codes_alone() -> None:
    found = decided(policy_of({}), DROP)

    assert (found.outcome, found.reason) == (DecisionOutcome.DENY, Reason.DENIED)
    (finding,) = (each for each in found.findings if each.rule == "db-destructive-sql")
    assert finding.matched
    assert finding.why == "tool matches query; any workload; destructive-sql@1: drop"
    assert "users" not in repr(found.findings)


def test_a_call_that_breaks_none_is_as_the_grants_say() -> None:
    found = decided(policy_of({}), READ)

    assert found.permit is not None
    assert [each.why for each in found.findings if not each.matched] == ["breaks no rule of destructive-sql@1"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"query": {"sql": "DROP TABLE users"}}, "destructive-sql@1: unclear"),
        ({"query": "SELECT 1", "Query": "DROP TABLE users"}, "args has another spelling of 'query', or too many names"),
        ({"QUERY": "DROP TABLE users"}, "args has another spelling of 'query', or too many names"),
    ],
)
def test_what_cannot_be_looked_at_is_denied(arguments: JsonObject, said: str) -> None:
    found = decided(policy_of({}), arguments)

    assert found.reason is Reason.DENIED
    assert said in found.findings[0].why


def test_a_tool_of_which_nothing_is_declared_is_denied_unless_that_is_left_out() -> None:
    everything = {"tools": ["*"]}

    assert decided(policy_of(everything), {}, "list").reason is Reason.DENIED
    assert decided(policy_of({**everything, "except": {"rules": ["undeclared"]}}), {}, "list").permit is not None


@pytest.mark.parametrize(
    "exception",
    [
        {"rules": ["drop"]},
        {"tools": ["que*"]},
        {"workloads": ["spiffe://acme.test/a"]},
        {"rules": ["truncate"], "workloads": ["spiffe://acme.test/**"]},
    ],
)
def test_what_is_left_out_is_not_denied(exception: dict[str, Any]) -> None:
    assert decided(policy_of({"except": exception}), DROP).permit is not None


@pytest.mark.parametrize(
    "exception", [{"rules": ["truncate"]}, {"tools": ["migrate"]}, {"workloads": ["spiffe://acme.test/b"]}]
)
def test_what_is_not_left_out_is_denied(exception: dict[str, Any]) -> None:
    assert decided(policy_of({"except": exception}), DROP).reason is Reason.DENIED


def test_of_two_broken_rules_the_one_that_is_not_left_out_counts() -> None:
    both: JsonObject = {"query": "DROP TABLE users; DELETE FROM shops"}

    found = decided(policy_of({"except": {"rules": ["drop", "no_where"]}}), both)
    assert found.reason is Reason.DENIED
    assert "drop" not in found.findings[0].why
    assert "several_statements" in found.findings[0].why


def test_with_a_condition_both_must_hold_and_one_that_fails_is_against_the_call() -> None:
    policy = policy_of({"when": "args.env == 'live'"})

    assert decided(policy, {**DROP, "env": "live"}).reason is Reason.DENIED
    assert decided(policy, {**DROP, "env": "test"}).permit is not None
    assert decided(policy, {**READ, "env": "live"}).permit is not None
    # The condition fails: what breaks a rule is denied, and what does not is not.
    failing = decided(policy, DROP)
    assert failing.reason is Reason.DENIED
    assert "condition failed: no argument 'env'; destructive-sql@1: drop" in failing.findings[0].why
    assert decided(policy, READ).permit is not None


def test_in_shadow_it_denies_nothing_and_tells_what_it_would_have() -> None:
    found = decided(policy_of({"shadow": True}), DROP)

    assert found.permit is not None
    assert found.shadow is not None
    assert (found.shadow.outcome, found.shadow.rules) == (DecisionOutcome.DENY, ("db-destructive-sql",))


def test_workloads_users_and_times_narrow_it_as_they_do_any_denial() -> None:
    assert decided(policy_of({"workloads": ["spiffe://acme.test/b"]}), DROP).permit is not None
    assert decided(policy_of({"until": "2020-01-01T00:00:00Z"}), DROP).permit is not None
    # Leaving the token out must not help.
    assert decided(policy_of({"users": {"groups": ["staff"]}}), DROP).reason is Reason.DENIED


def test_a_pack_hides_no_tool_from_a_list() -> None:
    listing = Call(caller=CALLER, server="db", method="tools/list", now=NOW)

    assert tool_is_visible(policy_of({}), listing, "query")
    assert tool_is_visible(policy_of({"tools": ["*"]}), listing, "list")


def test_a_denial_that_only_earlier_denials_brought_about_is_not_remembered() -> None:
    policy = policy_of({"when": 'history.denials(duration("1h")) > 0'})
    history = History()
    history.record_denial(CALLER, "db", "query", NOW - 60)

    found = decided(policy, DROP, history=history.of(CALLER))
    assert found.reason is Reason.DENIED
    assert not found.is_remembered
    assert decided(policy_of({}), DROP, history=history.of(CALLER)).is_remembered


def test_an_explanation_shows_the_codes_and_the_arguments() -> None:
    explanation = explain(policy_of({"when": "args.x == 1"}), call({**DROP, "x": 1}))
    (answer,) = (
        answer for verdict in explanation.verdicts if (answer := verdict.answer(Question.CONDITION)) is not None
    )

    assert answer.truth is Truth.HOLDS
    assert answer.why == "breaks destructive-sql@1 when args.x == 1  holds: destructive-sql@1: drop"
    assert answer.seen == {"args": {**DROP, "x": 1}, "args.x": 1}


def test_effective_permissions_show_a_pack_as_what_cuts_into_a_grant() -> None:
    (found,) = permissions_of(policy_of({"except": {"rules": ["drop"]}}), CALLER, NOW)
    (cut,) = found.permissions[0].cuts

    assert cut.tools == ("query",)
    assert cut.denial.rule.condition is not None
    assert cut.denial.rule.condition.text == "breaks destructive-sql@1 except rules drop"


def test_what_tells_two_packs_apart_stands_in_their_texts() -> None:
    texts = {
        str(getattr(pack_rule(policy_of(more)).condition, "text", ""))
        for more in (
            {},
            {"pack": "secrets@1"},
            {"when": "args.x == 1"},
            {"except": {"rules": ["drop"]}},
            {"except": {"tools": ["drop"]}},
            {"except": {"workloads": ["spiffe://acme.test/drop"]}},
        )
    }

    assert len(texts) == 6


def test_without_arguments_nothing_can_be_told_but_what_is_left_out_or_does_not_hold() -> None:
    unknown = frozenset({"args"})
    without = call({})

    def possible(more: dict[str, Any], asked: Call = without, names: frozenset[str] = unknown) -> frozenset[Truth]:
        policy = policy_of(more)
        condition = pack_rule(policy).condition
        assert condition is not None
        assert "args" in reads_of_rule(condition).variables
        return possible_truths(condition, asked, policy.tags, names, 100_000)

    assert possible({}) == ANY
    assert possible({"when": 'tool.name == "other"'}) == {Truth.FAILS_TO_HOLD}
    claims = frozenset({"user.claims"})
    with_claims = {"when": "user.claims.x == 1"}
    assert possible(with_claims, call(READ), claims) == {Truth.FAILS_TO_HOLD}
    assert possible(with_claims, call(DROP), claims) == ANY


@given(
    st.dictionaries(
        st.sampled_from(["query", "Query", "x"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=40),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
            max_leaves=8,
        ),
        max_size=3,
    )
)
@pytest.mark.parametrize("reference", PACKS)
def test_a_pack_comes_to_something_whatever_an_agent_sends(reference: str, arguments: JsonObject) -> None:
    policy = policy_of({"pack": reference})
    rule = pack_rule(policy)

    assert isinstance(rule.condition, PackCondition)
    verdict = rule.condition.evaluate(call(arguments), policy.tags)
    assert verdict.truth in Truth
    # As a replay finds it with all known.
    truths = possible_truths(rule.condition, call(arguments), policy.tags, frozenset(), 100_000)
    assert truths == {verdict.truth}


def test_a_call_without_arguments_is_looked_at_as_one_with_none() -> None:
    found = decide(policy_of({}), replace(call({}), arguments=None))

    assert found.outcome in DecisionOutcome
