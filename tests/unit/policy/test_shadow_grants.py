"""A grant in shadow gives nothing: no call, and none of the methods that a grant implies."""

import pytest

from callgate.errors import Reason
from callgate.identity.spiffe_id import SpiffeId
from callgate.policy.call import Call
from callgate.policy.compile import Policy, load_policy
from callgate.policy.decide import IMPLIED_METHODS, Decision, decide, tool_is_visible

CALLER = SpiffeId.parse("spiffe://acme.test/a")
WHO = "workloads: ['spiffe://acme.test/**'], server: s, tools: ['*']"


def asked(method: str) -> Call:
    tool = "get" if method == "tools/call" else None
    return Call(caller=CALLER, server="s", method=method, tool=tool, now=1_795_262_400.0)


def policy_of(*rules: str) -> Policy:
    text = "version: 1\ntrust_domains: [acme.test]\ngrants:\n" + "".join(f"  - {{{rule}, {WHO}}}\n" for rule in rules)
    policy = load_policy(text, "p.yaml")
    assert isinstance(policy, Policy), policy
    return policy


def decided(method: str, *rules: str) -> Decision:
    return decide(policy_of(*rules), asked(method))


@pytest.mark.parametrize("method", [*sorted(IMPLIED_METHODS), "tools/call"])
def test_whoever_has_grants_in_shadow_alone_has_none(method: str) -> None:
    decision = decided(method, "id: s, shadow: true", "id: t, shadow: true")

    assert decision.reason is Reason.NO_GRANT
    assert decision.permit is None
    assert decision.findings[-1].why == "no grant on this server names this workload"


@pytest.mark.parametrize("method", sorted(IMPLIED_METHODS))
def test_a_permit_names_no_grant_in_shadow(method: str) -> None:
    permit = decided(method, "id: g, scopes: [one]", "id: s, shadow: true, scopes: [two]").permit

    assert permit is not None
    assert permit.grants == ("g",)
    assert permit.scopes == (("one",) if method == "tools/list" else ())


def test_a_list_shows_no_tool_that_only_a_grant_in_shadow_names() -> None:
    assert not tool_is_visible(policy_of("id: s, shadow: true"), asked("tools/list"), "get")


@pytest.mark.parametrize("method", [*sorted(IMPLIED_METHODS), "tools/call"])
def test_a_permit_names_the_policy_that_gave_it(method: str) -> None:
    policy = policy_of("id: g")
    decision = decide(policy, asked(method))

    assert decision.permit is not None
    assert decision.permit.policy_digest == decision.policy_digest == policy.digest
    assert decision.permit.call == asked(method)
