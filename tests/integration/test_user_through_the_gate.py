"""A real user of a real OpenID provider, an agent with its SVID, and the token that a tool server gets for both."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest

from callgate.dev.agent import Allowed, CallTool, Denied, StepResult, open_agent, run_steps
from support.gate import GATE, Gate, context_of, running_gate
from support.openid_provider import Provider, provider_served
from support.upstream import Asked, scripted_server
from support.user_tokens import GATE_AUDIENCE

# Canaille starts in three seconds of processor time.
pytestmark = pytest.mark.timeout(120)
AGENT = "spiffe://acme.test/ns/billing/sa/refund-agent"
POLICY = """
version: 1
trust_domains: [acme.test]
grants:
  - id: anybody-looks
    workloads: [spiffe://acme.test/ns/billing/sa/*]
    server: ledger
    tools: [get_invoice]
  - id: clerks-refund
    workloads: [spiffe://acme.test/ns/billing/sa/*]
    server: ledger
    tools: [refund]
    users: {groups: [clerks]}
    when: user.claims.email.endsWith("@acme.test")
  - id: auditors-close
    workloads: [spiffe://acme.test/ns/billing/sa/*]
    server: ledger
    tools: [close_month]
    users: {groups: [auditors]}
"""


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with provider_served(GATE_AUDIENCE) as running:
        yield running


def users_of(provider: Provider) -> str:
    return (
        f"users:\n  audience: {GATE_AUDIENCE}\n"
        f"  issuers: [{{issuer: '{provider.issuer}', typ: any, claims: [email]}}]\n"
    )


async def played(gate: Gate, token: str | None) -> list[StepResult]:
    headers = {"authorization": f"Bearer {token}"} if token else {}
    context = await context_of(gate.api, "billing")
    async with open_agent(gate.url(), context, headers=headers) as agent:
        return await run_steps(agent, [CallTool("get_invoice"), CallTool("refund"), CallTool("close_month")])


async def test_decides_on_a_real_users_groups_and_tells_the_tool_server_of_both(
    tmp_path: Path, provider: Provider
) -> None:
    token = provider.log_in("agents").access_token
    async with (
        scripted_server() as upstream,
        running_gate(tmp_path, upstream.url, policy=POLICY, more=users_of(provider)) as gate,
    ):
        for_alice = await played(gate, token)
        asked = [each for each in upstream.requests if each.message["method"] == "tools/call"]
        for_nobody = await played(gate, None)
        everything = b"".join(each.raw for each in upstream.requests)

    assert [type(each) for each in for_alice] == [Allowed, Allowed, Denied]
    assert [type(each) for each in for_nobody] == [Allowed, Denied, Denied]
    minted = [claims_of(each) for each in asked]
    assert [each["sub"] for each in minted] == ["alice", "alice"]
    assert [each["sub_id"]["iss"] for each in minted] == [provider.issuer] * 2
    assert [each["act"] for each in minted] == [{"sub": AGENT, "act": {"sub": GATE}}] * 2
    assert token.encode() not in everything
    assert token not in repr(gate.traces)


def claims_of(asked: Asked) -> dict[str, Any]:
    said = asked.header("authorization")
    assert said is not None
    return dict(jwt.decode(said.removeprefix("Bearer "), options={"verify_signature": False}))
