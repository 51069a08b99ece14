"""Permits for tests of what comes after the decision.

`permit_for` gets them the one way there is, by deciding.  `forged` is the fault in our own code that the later stages
guard against.
"""

from dataclasses import replace

from callgate.identity.spiffe_id import SpiffeId
from callgate.policy.call import Call
from callgate.policy.compile import Policy, load_policy
from callgate.policy.decide import _SEAL, Permit, decide
from callgate.wire.json_strict import JsonObject

READER = SpiffeId.parse("spiffe://acme.test/ns/billing/sa/reader")
REFUNDER = SpiffeId.parse("spiffe://acme.test/ns/billing/sa/refunder")
NOW = 1_800_000_000.0
LEDGER = "ledger"
LEDGER_AUDIENCE = "https://ledger.acme.test/mcp"

POLICY_TEXT = """\
version: 1
trust_domains: [acme.test]
grants:
  - id: reading
    workloads: [spiffe://acme.test/ns/billing/sa/*]
    server: ledger
    tools: [get_invoice, list_invoices, close_*]
    scopes: [ledger.read]
  - id: refunds
    workloads: [spiffe://acme.test/ns/billing/sa/refunder]
    server: ledger
    tools: [refund]
    scopes: [ledger.refund, ledger.write]
    ttl: 10s
"""


def ledger_policy() -> Policy:
    """Everybody in billing reads; one workload refunds, with tokens that live 10 s."""
    policy = load_policy(POLICY_TEXT, "policy.yaml")
    assert isinstance(policy, Policy), policy
    return policy


POLICY = ledger_policy()


def permit_for(
    tool: str | None = None,
    arguments: JsonObject | None = None,
    *,
    method: str = "tools/call",
    caller: SpiffeId = READER,
) -> Permit:
    """A permit of POLICY on the ledger; fails the test where that denies."""
    call = Call(caller=caller, server=LEDGER, method=method, tool=tool, arguments=arguments, now=NOW)
    permit = decide(POLICY, call).permit
    assert permit is not None
    return permit


def forged(permit: Permit, **changes: object) -> Permit:
    """The same permit with other fields, `call_<name>` for the call's: what `decide` would never give."""
    call = {name.removeprefix("call_"): value for name, value in changes.items() if name.startswith("call_")}
    rest = {name: value for name, value in changes.items() if not name.startswith("call_")}
    return replace(permit, seal=_SEAL, call=replace(permit.call, **call), **rest)  # type: ignore[arg-type]
