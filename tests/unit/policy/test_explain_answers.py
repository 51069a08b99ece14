"""What an explanation says of one rule, question by question."""

from callgate.identity.spiffe_id import SpiffeId
from callgate.policy.call import Call
from callgate.policy.compile import Policy, load_policy
from callgate.policy.condition import Truth
from callgate.policy.explain import Question, RuleVerdict, explain
from callgate.wire.json_strict import JsonObject

CALLER = SpiffeId.parse("spiffe://acme.test/a")


def verdict(rule: str, *, method: str = "tools/call", arguments: JsonObject | None = None) -> RuleVerdict:
    tool = "get" if method == "tools/call" else None
    call = Call(caller=CALLER, server="s", method=method, tool=tool, arguments=arguments, now=1_795_262_400.0)
    policy = load_policy(f"version: 1\ntrust_domains: [acme.test]\n{rule}\n", "p.yaml")
    assert isinstance(policy, Policy), policy
    (found,) = explain(policy, call).verdicts
    return found


GRANT = "grants:\n  - {{id: g, workloads: ['spiffe://acme.test/a'], server: s, tools: [get], {}}}"
DENIAL = "denials:\n  - {{id: d, server: s, tools: [get], {}}}"
BOTH = "when: 'args.a == 1 && args.b == 2'"


def test_a_condition_that_failed_shows_what_it_saw() -> None:
    for rule, applies, follows in ((GRANT, False, "grant does not apply"), (DENIAL, True, "denial applies")):
        answer = verdict(rule.format(BOTH), arguments={"a": 1}).answer(Question.CONDITION)

        assert answer is not None
        assert (answer.yes, answer.truth, answer.seen) == (applies, Truth.FAILED, {"args.a": 1})
        assert answer.why == f"args.a == 1 && args.b == 2  failed: no argument 'b'; a {follows} then"


def test_a_condition_that_came_out_shows_what_it_saw() -> None:
    for b, truth in ((2, Truth.HOLDS), (3, Truth.FAILS_TO_HOLD)):
        answer = verdict(GRANT.format(BOTH), arguments={"a": 1, "b": b}).answer(Question.CONDITION)

        assert answer is not None
        assert (answer.yes, answer.truth) == (truth is Truth.HOLDS, truth)
        assert answer.seen == {"args.a": 1, "args.b": b}


def test_a_method_that_no_grant_implies_is_a_question_of_the_tool() -> None:
    answer = verdict(GRANT.format("shadow: false"), method="resources/read").answer(Question.TOOL)

    assert answer is not None
    assert (answer.yes, answer.why) == (False, "no grant allows this method")


def test_a_grant_implies_methods_and_a_denial_takes_none() -> None:
    granted = verdict(GRANT.format("shadow: false"), method="tools/list").answer(Question.TOOL)
    denied = verdict(DENIAL.format("shadow: false"), method="tools/list").answer(Question.TOOL)

    assert granted is not None
    assert granted.yes
    assert denied is not None
    assert not denied.yes


def test_a_condition_is_asked_with_the_tags_of_the_policy() -> None:
    tags = "\ntools:\n  - {server: s, tools: [get], tags: [sends_out]}"
    answer = verdict(GRANT.format("""when: '"sends_out" in tool.tags'""") + tags).answer(Question.CONDITION)

    assert answer is not None
    assert (answer.yes, answer.seen) == (True, {"tool.tags": ["sends_out"]})
