from dataclasses import asdict, replace
from hashlib import sha256
from itertools import product
from typing import Any

import pytest

from callgate.audit.entries import Entry
from callgate.audit.retrace import RetracedRule, known_call, retraced
from callgate.identity.spiffe_id import SpiffeId
from callgate.identity.user import User
from callgate.policy.call import Call
from callgate.policy.compile import Policy, load_policy
from callgate.policy.decide import decide
from callgate.policy.explain import Question
from callgate.policy.history import History
from callgate.policy.recorded import MAX_RECORDED_GROUPS, RecordedCall
from callgate.wire.json_strict import JsonObject

CALLER = SpiffeId.parse("spiffe://acme.test/ns/billing/sa/agent")
# 2026-01-07T12:00:00Z
NOON = 1_767_787_200
POLICY = """\
version: 1
trust_domains: [acme.test]
grants:
  - {id: plain, workloads: ["spiffe://acme.test/**"], server: ledger, tools: [get_invoice]}
  - {id: by-args, workloads: ["spiffe://acme.test/**"], server: ledger, tools: [refund], when: 'args["a b"] < 500'}
  - {id: by-scope, workloads: ["spiffe://acme.test/**"], server: ledger, tools: [refund], scopes: ["l:{args.account}"]}
  - id: by-purpose
    workloads: ["spiffe://acme.test/**"]
    server: ledger
    tools: [refund]
    when: request.purpose == "month end" && request.size < 400 && caller.svid_age < duration("10m")
    users: {groups: [clerks]}
  - {id: ended, workloads: ["spiffe://acme.test/**"], server: ledger, tools: [refund], until: 2026-01-01T00:00:00Z}
denials:
  - {id: by-history, server: ledger, tools: [refund], when: 'history.denials(duration("1m")) > 1'}
  - {id: by-claim, server: ledger, tools: [refund], when: 'user.present && user.claims.level == "low"'}
  - {id: by-hint, server: ledger, tools: [refund], when: "tool.annotations.destructiveHint"}
  - {id: by-path, server: ledger, tools: [refund], when: 'caller.path[1] == "ops"'}
"""


@pytest.fixture(scope="module")
def policy() -> Policy:
    found = load_policy(POLICY, "policy.yaml")
    assert isinstance(found, Policy), found
    return found


def record(**more: Any) -> JsonObject:  # noqa: ANN401
    said: JsonObject = {
        "kind": "intent",
        "seq": 7,
        "time": "2026-01-07T12:00:00.000000000Z",
        "caller": str(CALLER),
        "svid": [NOON - 300, NOON + 3300],
        "server": "ledger",
        "method": "tools/call",
        "tool": "refund",
        "args": "ab" * 32,
        "revision": "2026-07-28",
        "size": 300,
        "reason": "",
    }
    return said | more


def asked(policy: Policy, arguments: JsonObject | None = None, **more: Any) -> dict[str, RetracedRule]:  # noqa: ANN401
    known = known_call(Entry(record(**more)), arguments)
    assert isinstance(known, RecordedCall), known
    return {rule.rule.id: rule for rule in retraced(policy, known)}


def unknown(rule: RetracedRule) -> tuple[str, ...]:
    return tuple(name for answer in rule.answers for name in answer.unknown)


def test_what_a_rule_asks_of_the_arguments_is_not_known_by_their_digest(policy: Policy) -> None:
    found = asked(policy)

    assert (found["by-args"].applies, unknown(found["by-args"])) == (None, ('args["a b"]',))
    assert (found["by-scope"].applies, unknown(found["by-scope"])) == (None, ("args.account",))


def test_with_the_arguments_what_a_rule_asks_of_them_is_answered(policy: Policy) -> None:
    found = asked(policy, {"a b": 499, "account": "A-1"})

    assert found["by-args"].applies is True
    assert found["by-scope"].applies is True
    assert asked(policy, {"a b": 500})["by-args"].applies is False
    assert asked(policy, {"a b": 500})["by-scope"].applies is False


def test_the_past_claims_and_the_tools_own_words_are_never_known(policy: Policy) -> None:
    user = {"issuer": "https://login.acme.test", "subject": "alice", "groups": ["clerks"]}
    found = asked(policy, {}, user=user)

    assert unknown(found["by-history"]) == ('history.denials(duration("1m"))',)
    assert unknown(found["by-claim"]) == ("user.claims.level",)
    assert unknown(found["by-hint"]) == ("tool.annotations.destructiveHint",)
    assert {found[name].applies for name in ("by-history", "by-claim", "by-hint")} == {None}


def test_of_a_call_on_nobodys_behalf_there_are_no_claims_to_know(policy: Policy) -> None:
    assert asked(policy)["by-claim"].applies is False


def test_what_the_record_has_is_asked_as_it_was(policy: Policy) -> None:
    user = {"issuer": "https://login.acme.test", "subject": "alice", "groups": ["clerks"]}

    assert asked(policy, purpose="month end", user=user)["by-purpose"].applies is True
    assert asked(policy, purpose="other", user=user)["by-purpose"].applies is False
    assert asked(policy, purpose="month end", user=user, size=400)["by-purpose"].applies is False
    assert asked(policy, purpose="month end", user=user, svid=[NOON - 700, NOON])["by-purpose"].applies is False
    assert asked(policy, purpose="month end", user=user | {"groups": []})["by-purpose"].applies is False
    assert asked(policy, purpose="month end")["by-purpose"].applies is False
    assert asked(policy)["ended"].applies is False
    assert asked(policy)["by-path"].applies is False
    assert asked(policy)["plain"].applies is False


def test_a_user_with_more_groups_than_a_record_holds_may_be_in_any_of_them(policy: Policy) -> None:
    """The record has the first of them; one that it does have is known all the same."""
    more = [f"team-{number}" for number in range(MAX_RECORDED_GROUPS)]
    user = {"issuer": "https://login.acme.test", "subject": "alice", "groups": more}

    found = asked(policy, purpose="month end", user=user)["by-purpose"]
    assert (found.applies, unknown(found)) == (None, ("user.groups",))
    assert asked(policy, purpose="other", user=user)["by-purpose"].applies is False
    user["groups"] = ["clerks", *more[1:]]
    assert asked(policy, purpose="month end", user=user)["by-purpose"].applies is True
    user["groups"] = more[1:]
    assert asked(policy, purpose="month end", user=user)["by-purpose"].applies is False


def test_arguments_whose_digest_is_that_of_none_are_known(policy: Policy) -> None:
    found = asked(policy, args=sha256(b"{}").hexdigest())

    assert (found["by-args"].applies, unknown(found["by-args"])) == (False, ())


def test_one_no_is_enough_where_something_else_is_not_known() -> None:
    policy = load_policy(
        "version: 1\ntrust_domains: [acme.test]\ngrants:\n"
        '  - {id: g, workloads: ["spiffe://acme.test/**"], server: ledger, tools: [refund], when: args.a, '
        "users: {groups: [x]}}\n",
        "policy.yaml",
    )
    assert isinstance(policy, Policy)

    (rule,) = asked(policy).values()

    assert rule.applies is False
    assert [answer.yes for answer in rule.answers] == [True, True, False, None]


def test_an_unknown_answer_has_none_of_what_the_runtime_made_of_it(policy: Policy) -> None:
    answer = next(a for a in asked(policy)["by-hint"].answers if a.answer.question is Question.CONDITION)

    assert (answer.answer.truth, dict(answer.answer.seen)) == (None, {})
    assert answer.answer.why == "tool.annotations.destructiveHint"


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"kind": "refusal", "reason": "json_malformed", "stage": "read"}, "the policy was not asked"),
        ({"kind": "refusal", "reason": "session_unknown", "stage": "identify"}, "the policy was not asked"),
        ({"caller": ""}, "names no caller"),
        ({"caller": 7}, "names no caller"),
        ({"server": ""}, "does not name server, method and time"),
        ({"time": "noon"}, "does not name server, method and time"),
        ({"method": None}, "does not name server, method and time"),
    ],
)
def test_where_there_is_no_call_to_ask_about_it_says_why(more: dict[str, Any], why: str) -> None:
    found = known_call(Entry(record(**more)), None)

    assert isinstance(found, str)
    assert why in found


@pytest.mark.parametrize("more", [{"svid": "x"}, {"svid": [1]}, {"svid": ["a", None]}, {"user": 7}, {"size": "x"}])
def test_a_record_with_fields_of_other_types_is_read_as_far_as_it_goes(policy: Policy, more: dict[str, Any]) -> None:
    assert asked(policy, **more)["plain"].applies is False


def test_a_list_of_tools_is_asked_for_as_a_grant_of_any_tool_implies(policy: Policy) -> None:
    found = asked(policy, method="tools/list", tool="")

    assert found["plain"].applies is True
    assert found["by-args"].applies is True
    assert found["by-history"].applies is False


def test_what_is_known_is_never_other_than_what_was_decided(policy: Policy) -> None:
    """Over calls of all sorts: each rule that surely applies was found to apply, and the other way round."""
    history = History()
    for ago in (20, 10, 5):
        history.record_denial(CALLER, "ledger", "refund", NOON - ago)
    users = (None, User("https://login.acme.test", "alice", ("clerks",), {"level": "low"}))
    arguments: tuple[JsonObject, ...] = ({"a b": 1, "account": "A"}, {"a b": 900}, {})
    seen = set()
    for user, args, purpose, hints, past, shown in product(
        users, arguments, ("", "month end"), (None, {"destructiveHint": True}), (History(), history), (True, False)
    ):
        call = Call(
            caller=CALLER,
            server="ledger",
            method="tools/call",
            tool="refund",
            arguments=args,
            now=float(NOON),
            svid_not_before=NOON - 300,
            svid_not_after=NOON + 3300,
            revision="2026-07-28",
            size_bytes=300,
            purpose=purpose,
            user=user,
            annotations=hints,  # type: ignore[arg-type]  # an object of plain values
            history=past.of(CALLER),
        )
        matched = {finding.rule: finding.matched for finding in decide(policy, call).findings}
        told = (
            {}
            if user is None
            else {"user": {k: v for k, v in asdict(replace(user, claims={})).items() if k != "claims"}}
        )
        told |= {"user": told["user"] | {"groups": list(user.groups)}} if user else {}
        for name, rule in asked(policy, args if shown else None, purpose=purpose, **told).items():
            if rule.applies is not None:
                assert rule.applies == matched[name], (name, call)
            seen.add((name, rule.applies))
    assert {("by-args", True), ("by-args", False), ("by-args", None), ("by-purpose", True), ("by-hint", None)} <= seen
