"""What a decision costs: `just bench` prints it, with the targets beside it.

CPU time of this process alone, the median of rounds over one call of each workload; every call is allowed.
"""

import json
import statistics
import time
from itertools import product
from typing import Final

from callgate.identity.spiffe_id import SpiffeId
from callgate.policy.call import Call
from callgate.policy.compile import Policy, load_policy
from callgate.policy.decide import decide

WORKLOADS: Final = 100
ROUNDS: Final = 40
NOW: Final = 1_800_000_000.0
# What the issue that asked for conditions set, in microseconds.
TARGET_PLAIN_US: Final = 20
TARGET_CONDITION_US: Final = 50
CONDITION: Final = "args.amount < 500"


def policy_of(grants: int, when: str | None) -> Policy:
    """So many grants, shared out among the workloads, each of another tool."""
    rules = [
        {
            "id": f"g{number}",
            "workloads": [f"spiffe://acme.test/w{number % WORKLOADS}"],
            "server": "ledger",
            "tools": [f"tool_{number // WORKLOADS}"],
            "scopes": ["ledger.use"],
            **({"when": when} if when else {}),
        }
        for number in range(grants)
    ]
    policy = load_policy(json.dumps({"version": 1, "trust_domains": ["acme.test"], "grants": rules}), "policy.yaml")
    assert isinstance(policy, Policy), policy
    return policy


def micros(policy: Policy) -> float:
    """CPU microseconds of one decision, once each workload has called before."""
    calls = [
        Call(
            caller=SpiffeId.parse(f"spiffe://acme.test/w{number}"),
            server="ledger",
            method="tools/call",
            tool="tool_3",
            arguments={"amount": 5, "account": "house", "note": "a" * 200},
            now=NOW,
        )
        for number in range(WORKLOADS)
    ]
    assert all(decide(policy, call).permit for call in calls)
    return statistics.median(_round(policy, calls) for _ in range(ROUNDS))


def _round(policy: Policy, calls: list[Call]) -> float:
    started = time.thread_time()
    for call in calls:
        decide(policy, call)
    return (time.thread_time() - started) / len(calls) * 1e6


def report() -> None:
    """Print a table: grants that cannot match must cost nothing."""
    print(f"\nA decision, CPU µs at the median; {WORKLOADS} workloads (condition: {CONDITION})")
    print(f"  {'grants':>10}{'plain':>10}{'condition':>12}   targets: {TARGET_PLAIN_US} and {TARGET_CONDITION_US}")
    found = {(n, when): micros(policy_of(n, when)) for n, when in product((1_000, 10_000), (None, CONDITION))}
    for grants in (1_000, 10_000):
        print(f"  {grants:>10}{found[grants, None]:>10.1f}{found[grants, CONDITION]:>12.1f}")


if __name__ == "__main__":
    report()
