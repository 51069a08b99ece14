"""What all conditions of one decision may take is shared among those that name its caller and tool."""

from callgate.identity.spiffe_id import SpiffeId
from callgate.policy.call import Call
from callgate.policy.compile import Policy, load_policy
from callgate.policy.decide import Decision, DecisionOutcome, decide
from callgate.policy.view import LEAST_STEPS, MAX_STEPS_OF_DECISION

CALLER = SpiffeId.parse("spiffe://acme.test/a")
CALL = Call(
    caller=CALLER, server="s", method="tools/call", tool="get", arguments={"a": [True] * 400}, now=1_795_262_400.0
)
WHO = "workloads: ['spiffe://acme.test/**'], server: s"


def policy_of(*rules: str) -> Policy:
    head = "version: 1\ntrust_domains: [acme.test]\ngrants:\n"
    policy = load_policy(head + "".join(f"  - {{id: g{n}, {WHO}, {rule}}}\n" for n, rule in enumerate(rules)), "p.yaml")
    assert isinstance(policy, Policy), policy
    return policy


def decided(*rules: str) -> Decision:
    return decide(policy_of(*rules), CALL)


# Some 2 000 to 4 000 steps.
LONG = "when: 'args.a.all(x, x)'"


def test_a_condition_alone_has_room() -> None:
    assert decided(f"tools: [get], {LONG}").outcome is DecisionOutcome.ALLOW


def test_of_many_conditions_each_has_its_share() -> None:
    decision = decided(*[f"tools: [get], {LONG}"] * 100)

    assert decision.outcome is DecisionOutcome.DENY
    assert decision.findings[0].why.endswith(f"the limit is {MAX_STEPS_OF_DECISION // 100}")


def test_no_share_is_smaller_than_the_least() -> None:
    decision = decided(*[f"tools: [get], {LONG}"] * 1_000)

    assert decision.findings[0].why.endswith(f"the limit is {LEAST_STEPS}")


def test_rules_without_conditions_and_of_other_tools_take_no_share() -> None:
    others = [*["tools: [get], shadow: true"] * 500, *[f"tools: [set], {LONG}"] * 500]

    assert decided(f"tools: [get], {LONG}", *others).outcome is DecisionOutcome.ALLOW


def test_what_a_policy_has_for_a_workload_and_a_tool_is_worked_out_once() -> None:
    policy = policy_of("tools: [get]")
    view = policy.view(CALLER, "s", CALL.now)

    assert policy.view(CALLER, "s", CALL.now + 1) is view
    assert view.on("get") is view.on("get")
