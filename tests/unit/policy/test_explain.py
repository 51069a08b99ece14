from collections.abc import Mapping
from dataclasses import replace

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callgate.errors import Reason
from callgate.identity.spiffe_id import SpiffeId
from callgate.identity.user import User
from callgate.policy.call import Call
from callgate.policy.compile import Policy, load_policy
from callgate.policy.condition import Truth
from callgate.policy.decide import IMPLIED_METHODS, DecisionOutcome, decide
from callgate.policy.explain import Answer, Explanation, Question, RuleVerdict, explain
from callgate.policy.history import History, WorkloadHistory
from callgate.policy.moments import parse_moment
from callgate.policy.permissions import permissions_of
from callgate.wire.json_strict import JsonObject

NOW = parse_moment("2026-11-21T10:00:00Z")
AGENT = SpiffeId.parse("spiffe://acme.test/ns/billing/sa/refund-agent")
READER = SpiffeId.parse("spiffe://acme.test/ns/billing/sa/reader")
STRANGER = SpiffeId.parse("spiffe://acme.test/ns/ops/sa/x")
ALICE = User("https://idp.test", "alice", ("finance",))
BOB = User("https://idp.test", "bob", ("guests",))

POLICY = """\
version: 1
trust_domains: [acme.test]
grants:
  - id: reads
    workloads: [spiffe://acme.test/ns/billing/sa/*]
    server: ledger
    tools: [get_invoice, "list_*"]
    scopes: [ledger.read]
  - id: refunds
    workloads: [spiffe://acme.test/ns/billing/sa/refund-agent]
    server: ledger
    tools: [refund]
    when: args.amount < 500
    users: {groups: [finance]}
    until: 2026-12-31T00:00:00Z
    scopes: [ledger.refund]
    limit: {calls: 10, per: 5m}
  - id: tried-out
    workloads: [spiffe://acme.test/ns/ops/sa/x]
    server: ledger
    tools: [refund]
    shadow: true
denials:
  - id: no-list-all
    server: ledger
    tools: [list_all]
  - id: not-the-house
    server: ledger
    tools: [refund]
    when: args.account == "house"
"""


def policy_of(text: str) -> Policy:
    policy = load_policy(text, "policy.yaml")
    assert isinstance(policy, Policy), "\n".join(map(str, policy))
    return policy


@pytest.fixture(scope="module")
def policy() -> Policy:
    return policy_of(POLICY)


def asking(
    tool: str | None = "refund",
    arguments: JsonObject | None = None,
    *,
    caller: SpiffeId = AGENT,
    user: User | None = ALICE,
    method: str = "tools/call",
    now: float = NOW,
) -> Call:
    if arguments is None and method == "tools/call":
        arguments = {"amount": 5, "account": "x"}
    history = History().of(caller)
    return Call(
        caller=caller,
        server="ledger",
        method=method,
        tool=tool,
        arguments=arguments,
        now=now,
        user=user,
        history=history,
    )


def by_id(explanation: Explanation) -> Mapping[str, RuleVerdict]:
    return {verdict.rule.id: verdict for verdict in explanation.verdicts}


def the_no(verdict: RuleVerdict) -> Answer:
    """The one answer that keeps the rule from applying."""
    (found,) = [answer for answer in verdict.answers if not answer.yes]
    return found


def test_tells_of_every_rule_of_the_server(policy: Policy) -> None:
    explanation = explain(policy, asking())

    assert {verdict.rule.id for verdict in explanation.verdicts} == {
        "reads",
        "refunds",
        "tried-out",
        "no-list-all",
        "not-the-house",
    }


def test_a_rule_that_applies_has_said_yes_to_everything_it_asks(policy: Policy) -> None:
    explanation = explain(policy, asking())

    refunds = by_id(explanation)["refunds"]
    assert explanation.decision.outcome is DecisionOutcome.ALLOW
    assert explanation.deciding == ("refunds",)
    assert explanation.sentence == "grant refunds"
    assert [answer.question for answer in refunds.answers] == [
        Question.WORKLOAD,
        Question.TOOL,
        Question.TIME,
        Question.USERS,
        Question.CONDITION,
        Question.SCOPES,
    ]
    assert refunds.applies


def test_names_the_workload_as_the_cause_and_asks_no_further(policy: Policy) -> None:
    verdict = by_id(explain(policy, asking(caller=READER)))["refunds"]

    assert [answer.question for answer in verdict.answers] == [Question.WORKLOAD]
    assert the_no(verdict).why == "workload is not spiffe://acme.test/ns/billing/sa/refund-agent"
    assert not verdict.is_about_caller


def test_names_the_tool_as_the_cause_and_asks_no_further(policy: Policy) -> None:
    verdict = by_id(explain(policy, asking("get_invoice")))["refunds"]

    assert [answer.question for answer in verdict.answers] == [Question.WORKLOAD, Question.TOOL]
    assert the_no(verdict).why == "tool is not refund"
    assert verdict.is_about_caller
    assert not verdict.names_call


def test_names_the_time_as_the_cause(policy: Policy) -> None:
    verdict = by_id(explain(policy, asking(now=parse_moment("2027-01-01T00:00:00Z"))))["refunds"]

    assert the_no(verdict).question is Question.TIME
    assert "2026-12-31T00:00:00Z" in the_no(verdict).why


def test_names_the_user_as_the_cause(policy: Policy) -> None:
    verdict = by_id(explain(policy, asking(user=BOB)))["refunds"]

    assert the_no(verdict).question is Question.USERS
    assert the_no(verdict).why == "the call is not for a user in group finance"


def test_says_that_a_grant_for_users_takes_one(policy: Policy) -> None:
    verdict = by_id(explain(policy, asking(user=None)))["refunds"]

    assert the_no(verdict).why == "the call is on no user's behalf; it takes a user in group finance"


def test_says_that_a_denial_for_users_applies_where_no_user_is_known() -> None:
    denial = "  - {id: no-guests, server: ledger, tools: [refund], users: {groups: [guests]}}\n"
    explanation = explain(policy_of(POLICY + denial), asking(user=None))

    verdict = by_id(explanation)["no-guests"]
    assert verdict.applies
    assert "no user is known" in verdict.answers[-1].why
    assert explanation.deciding == ("no-guests",)


def test_tells_what_a_condition_that_does_not_hold_saw(policy: Policy) -> None:
    verdict = by_id(explain(policy, asking(arguments={"amount": 500, "account": "x"})))["refunds"]

    found = the_no(verdict)
    assert found.question is Question.CONDITION
    assert found.truth is Truth.FAILS_TO_HOLD
    assert found.seen == {"args.amount": 500}
    assert found.why.startswith("args.amount < 500")


def test_a_condition_that_fails_keeps_a_grant_from_applying_and_makes_a_denial_apply(policy: Policy) -> None:
    found = by_id(explain(policy, asking(arguments={})))

    grant, denial = found["refunds"].answer(Question.CONDITION), found["not-the-house"].answer(Question.CONDITION)
    assert grant is not None
    assert denial is not None
    assert (grant.truth, grant.yes) == (Truth.FAILED, False)
    assert (denial.truth, denial.yes) == (Truth.FAILED, True)
    assert "a grant does not apply then" in grant.why
    assert "a denial applies then" in denial.why
    # What is missing is named.
    assert "amount" in grant.why.partition("failed")[2]
    assert grant.seen == {}


def test_answers_users_and_condition_both_where_both_say_no(policy: Policy) -> None:
    verdict = by_id(explain(policy, asking(user=BOB, arguments={"amount": 900, "account": "x"})))["refunds"]

    assert [answer.question for answer in verdict.answers if not answer.yes] == [Question.USERS, Question.CONDITION]


def test_several_denials_are_all_the_cause() -> None:
    text = POLICY + '  - {id: none-at-all, server: ledger, tools: ["*"]}\n'
    explanation = explain(policy_of(text), asking(arguments={"amount": 5, "account": "house"}))

    assert explanation.decision.reason is Reason.DENIED
    assert explanation.sentence == "denial not-the-house and denial none-at-all"


def test_a_rule_in_shadow_applies_and_is_no_cause(policy: Policy) -> None:
    explanation = explain(policy, asking(caller=STRANGER))

    assert by_id(explanation)["tried-out"].applies
    assert explanation.deciding == ()
    assert explanation.decision.reason is Reason.NO_GRANT


@pytest.mark.parametrize("tool", ["", "no such name", "x" * 129])
def test_no_rule_names_what_cannot_be_a_tool(tool: str) -> None:
    text = POLICY + '  - {id: none-at-all, server: ledger, tools: ["*"]}\n'
    explanation = explain(policy_of(text), asking(tool))

    assert not any(verdict.applies or verdict.names_call for verdict in explanation.verdicts)


def test_a_method_that_grants_imply_asks_for_workload_and_time_alone(policy: Policy) -> None:
    explanation = explain(policy, asking(None, method="tools/list", user=None))

    refunds = by_id(explanation)["refunds"]
    assert [answer.question for answer in refunds.answers] == [Question.WORKLOAD, Question.TOOL, Question.TIME]
    assert refunds.applies
    assert set(explanation.deciding) == {"reads", "refunds"}


def test_a_method_that_nothing_implies_is_named_by_no_rule(policy: Policy) -> None:
    explanation = explain(policy, asking(None, method="resources/read"))

    assert explanation.sentence == "no grant allows this method"
    assert not any(verdict.applies for verdict in explanation.verdicts)


def test_explains_a_server_without_rules(policy: Policy) -> None:
    explanation = explain(policy, replace(asking(), server="nowhere"))

    assert explanation.verdicts == ()
    assert explanation.decision.reason is Reason.NO_GRANT


# What a rule may say, and calls that these make a difference to.
WHENS = [
    "args.amount < 500",
    'args.account == "house"',
    'args.missing == "x"',
    'request.purpose == "refunds"',
    'user.subject == "alice"',
    'history.denials(duration("1m")) >= 1',
    "true",
    "false",
]
MOMENTS = ["2026-01-01T00:00:00Z", "2026-12-31T00:00:00Z"]
RULES = st.fixed_dictionaries(
    {
        "workloads": st.lists(
            st.sampled_from(["spiffe://acme.test/**", str(AGENT), "spiffe://acme.test/ns/billing/sa/*"]),
            min_size=1,
            max_size=2,
        ),
        "server": st.sampled_from(["ledger", "ledger", "ledger", "mail"]),
        "tools": st.lists(st.sampled_from(["refund", "get_invoice", "*", "r?fund"]), min_size=1, max_size=2),
    },
    optional={
        "when": st.sampled_from(WHENS),
        "users": st.sampled_from([{"any": True}, {"groups": ["finance"]}, {"subjects": ["bob"]}]),
        "until": st.sampled_from(MOMENTS),
        "from": st.just("2025-06-01T00:00:00Z"),
        "between": st.sampled_from([{"days": ["sat"]}, {"hours": "11:00-12:00"}]),
        "shadow": st.booleans(),
    },
)
SCOPES = st.sampled_from([["ledger.read"], ["account:{args.account}"], ["a", "account:{args.account}"]])
GRANTS = st.builds(lambda rule, scopes: rule | ({"scopes": scopes} if scopes else {}), RULES, st.none() | SCOPES)
ARGUMENTS: st.SearchStrategy[JsonObject] = st.dictionaries(
    st.sampled_from(["amount", "account"]),
    st.sampled_from([5, 500, "house", "with space", "", None, [1], {"a": 1}, True, 1.5]),
)
CALLS = st.builds(
    lambda caller, method, tool, arguments, user, purpose, denied: replace(
        asking(tool if method == "tools/call" else None, arguments, caller=caller, user=user, method=method),
        purpose=purpose,
        history=_history(caller, denied=denied),
    ),
    st.sampled_from([AGENT, READER, STRANGER]),
    st.sampled_from(["tools/call"] * 8 + ["tools/list", "ping", "resources/read"]),
    st.sampled_from(["refund", "get_invoice", "other", "not a tool", None]),
    ARGUMENTS,
    st.sampled_from([None, ALICE, BOB]),
    st.sampled_from(["", "refunds"]),
    st.booleans(),
)


def _history(caller: SpiffeId, *, denied: bool) -> WorkloadHistory:
    history = History()
    if denied:
        history.record_denial(caller, "ledger", "refund", NOW - 10)
    return history.of(caller)


def _written(grants: list[dict[str, object]], denials: list[dict[str, object]]) -> str:
    named = {
        "grants": [rule | {"id": f"g{index}"} for index, rule in enumerate(grants)],
        "denials": [rule | {"id": f"d{index}"} for index, rule in enumerate(denials)],
    }
    return orjson.dumps({"version": 1, "trust_domains": ["acme.test"]} | named).decode()


def _implied_by(explanation: Explanation, *, with_shadow: bool = False) -> tuple[DecisionOutcome, Reason | None]:
    """What design.md makes of rules that apply: a denial beats every grant, and without a grant all is denied."""
    applying = {v.rule.kind for v in explanation.verdicts if v.applies and (with_shadow or not v.rule.shadow)}
    if "denial" in applying:
        return DecisionOutcome.DENY, Reason.DENIED
    return (DecisionOutcome.ALLOW, None) if "grant" in applying else (DecisionOutcome.DENY, Reason.NO_GRANT)


@settings(max_examples=400, deadline=None)
@given(st.lists(GRANTS, max_size=4), st.lists(RULES, max_size=3), CALLS)
def test_what_the_rules_say_implies_the_decision(
    grants: list[dict[str, object]], denials: list[dict[str, object]], call: Call
) -> None:
    policy = policy_of(_written(grants, denials))
    explanation = explain(policy, call)
    decision = decide(policy, call)

    assert explanation.decision == decision
    assert _implied_by(explanation) == (decision.outcome, decision.reason)
    applying = {v.rule.id for v in explanation.verdicts if v.applies}
    assert applying >= set(explanation.deciding)
    if decision.permit is not None:
        enforced = {v.rule.id for v in explanation.verdicts if v.applies and not v.rule.shadow}
        assert enforced == set(decision.permit.grants)
    if call.method == "tools/call":
        assert applying == {finding.rule for finding in decision.findings if finding.matched} - {"default-deny"}
        if decision.shadow is not None:
            assert _implied_by(explanation, with_shadow=True) == (decision.shadow.outcome, decision.shadow.reason)


@given(CALLS)
def test_never_raises_whatever_the_method(call: Call) -> None:
    policy = policy_of(POLICY)
    for method in (*IMPLIED_METHODS, "", "tools/call", "x" * 1000):
        explain(policy, replace(call, method=method))


def test_permissions_name_each_grant_of_the_workload_and_what_denials_take_from_it(policy: Policy) -> None:
    (ledger,) = permissions_of(policy, AGENT, NOW)

    assert ledger.server == "ledger"
    assert ledger.can_reach
    assert [each.grant.rule.id for each in ledger.permissions] == ["reads", "refunds"]
    reads, refunds = ledger.permissions
    assert [(cut.denial.rule.id, cut.tools) for cut in reads.cuts] == [("no-list-all", ("list_all",))]
    assert [(cut.denial.rule.id, cut.tools) for cut in refunds.cuts] == [("not-the-house", ("refund",))]


def test_permissions_end_when_the_first_grant_does(policy: Policy) -> None:
    (ledger,) = permissions_of(policy, AGENT, NOW)

    assert ledger.expires == parse_moment("2026-12-31T00:00:00Z")


def test_permissions_without_a_time_of_their_own_do_not_expire(policy: Policy) -> None:
    (ledger,) = permissions_of(policy, READER, NOW)

    assert ledger.expires is None


def test_a_grant_whose_time_is_over_is_told_and_not_active(policy: Policy) -> None:
    (ledger,) = permissions_of(policy, AGENT, parse_moment("2027-01-01T00:00:00Z"))

    assert [each.grant.is_active for each in ledger.permissions] == [True, False]


def test_a_grant_in_shadow_alone_reaches_nothing(policy: Policy) -> None:
    (ledger,) = permissions_of(policy, STRANGER, NOW)

    assert not ledger.can_reach
    assert [each.grant.rule.shadow for each in ledger.permissions] == [True]


def test_no_permissions_for_who_is_not_named(policy: Policy) -> None:
    assert permissions_of(policy, SpiffeId.parse("spiffe://acme.test/x"), NOW) == ()


def test_two_wild_patterns_that_share_tools_are_told_as_both() -> None:
    text = POLICY + '  - {id: no-all, server: ledger, tools: ["*_all"]}\n'
    (ledger,) = permissions_of(policy_of(text), READER, NOW)

    cuts = {cut.denial.rule.id: cut.tools for cut in ledger.permissions[0].cuts}
    assert cuts["no-all"] == ("list_* where *_all",)
