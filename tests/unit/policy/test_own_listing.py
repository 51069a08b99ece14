"""What the gate may do on its own account: ask which tools there are, and nothing else."""

import pytest

from callgate.identity.spiffe_id import SpiffeId
from callgate.policy.call import Call
from callgate.policy.decide import MAX_LISTABLE_CHARACTERS, ForgedPermit, permit_own_listing
from support.gate import policy_of

GATE = SpiffeId.parse("spiffe://acme.test/gate")
POLICY = """
version: 1
trust_domains: [acme.test]
grants:
  - {id: a, workloads: ["spiffe://acme.test/a"], server: ledger, tools: [get, "list_*"], scopes: [read]}
  - {id: b, workloads: ["spiffe://acme.test/b"], server: ledger, tools: [refund], scopes: [write]}
  - {id: c, workloads: ["spiffe://acme.test/b"], server: ledger, tools: [wipe], scopes: [all], shadow: true}
  - {id: d, workloads: ["spiffe://acme.test/b"], server: other, tools: [send]}
"""


def own(method: str, tool: str | None = None) -> Call:
    return Call(caller=GATE, server="ledger", method=method, tool=tool, now=0.0)


@pytest.mark.parametrize("method", ["initialize", "notifications/initialized", "tools/list"])
def test_the_gate_may_ask_which_tools_there_are(method: str) -> None:
    policy = policy_of(POLICY, ("ledger", "other"))

    permit = permit_own_listing(policy, own(method), ["pinned"])

    assert permit.call.caller == GATE
    assert permit.grants == ()
    assert permit.policy_digest == policy.digest
    assert permit.listable == ("pinned", "get", "refund")
    assert permit.scopes == ("read", "write")


@pytest.mark.parametrize(
    "call", [own("tools/call", "get"), own("tools/call"), own("tools/list", "get"), own("ping"), own("resources/read")]
)
def test_the_gate_may_do_nothing_else(call: Call) -> None:
    with pytest.raises(ForgedPermit):
        permit_own_listing(policy_of(POLICY, ("ledger", "other")), call)


def test_a_token_has_room_for_so_many_names_and_no_more() -> None:
    policy = policy_of(POLICY, ("ledger", "other"))

    permit = permit_own_listing(policy, own("tools/list"), [f"tool_{number:04}" for number in range(2_000)])

    assert sum(map(len, permit.listable)) <= MAX_LISTABLE_CHARACTERS
