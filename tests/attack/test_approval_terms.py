"""An approval is given on the terms that held when people agreed: a call that more people have to agree to is asked anew."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from support.described_tools import DescribedTools, called, tool
from support.on_record import OnRecord, on_record
from support.people import APPROVALS, LocalPerson, local_person
from support.raw_agent import modern

REPEAT: Final = "repeat: {same: [number], for: 15m, calls: 5}"
TOOL: Final = tool("refund", {"number": {"type": "string"}, "amount": {"type": "integer"}})
SMALL: Final = {"number": "INV-7", "amount": 100}
LARGE: Final = {"number": "INV-7", "amount": 900}
# What the agent says that it is for decides who is asked.
ROUTINE: Final = "routine"
PURPOSE_ASKS_MORE: Final = """
version: 1
trust_domains: [acme.test]
grants:
  - id: refunds
    workloads: ["spiffe://acme.test/**"]
    server: ledger
    tools: [refund]
    approval: {groups: [local], waits: 0s}
  - id: unusual-refunds
    workloads: ["spiffe://acme.test/**"]
    server: ledger
    tools: [refund]
    when: request.purpose != "routine"
    approval: {groups: [payments-leads], waits: 0s}
"""
PURPOSE_IS_A_SCOPE: Final = """
version: 1
trust_domains: [acme.test]
grants:
  - id: refunds
    workloads: ["spiffe://acme.test/**"]
    server: ledger
    tools: [refund]
    scopes: ["ledger.{request.purpose}"]
    approval: {groups: [local], waits: 0s}
"""
# Whoever sits here may agree to any refund; to a large one the leads have to agree as well.
LARGE_ASKS_MORE: Final = f"""
version: 1
trust_domains: [acme.test]
grants:
  - id: refunds
    workloads: ["spiffe://acme.test/**"]
    server: ledger
    tools: [refund]
    approval: {{groups: [local], waits: 0s, {REPEAT}}}
  - id: large-refunds
    workloads: ["spiffe://acme.test/**"]
    server: ledger
    tools: [refund]
    when: args.amount > 500
    approval: {{groups: [payments-leads], waits: 0s, {REPEAT}}}
"""


@asynccontextmanager
async def asking(folder: Path, policy: str) -> AsyncIterator[tuple[OnRecord, LocalPerson]]:
    async with (
        on_record(folder, DescribedTools([TOOL]), policy=policy, more=APPROVALS) as at,
        local_person(at.gate) as person,
    ):
        yield at, person


async def ask(at: OnRecord, arguments: Mapping[str, object], purpose: str = ROUTINE) -> dict[str, object]:
    said = {"name": "refund", "arguments": arguments, "_meta": {"callgate/purpose": purpose}}
    async with at.agent() as agent:
        return dict((await agent.ask(modern("tools/call", said))).message)


async def test_an_approval_that_covers_more_calls_covers_none_to_which_others_have_to_agree_as_well(
    tmp_path: Path,
) -> None:
    async with asking(tmp_path, LARGE_ASKS_MORE) as (at, person):
        await ask(at, SMALL)
        (request,) = await person.waiting()
        await person.approve(request, cover={"calls": 5, "seconds": 600})
        assert "result" in await ask(at, SMALL)
        large = await ask(at, LARGE)
        assert "error" in large, large
        assert [each["arguments"] for each in called(at)] == [SMALL]


async def test_an_approval_lets_the_same_call_through_for_no_purpose_to_which_others_have_to_agree_as_well(
    tmp_path: Path,
) -> None:
    async with asking(tmp_path, PURPOSE_ASKS_MORE) as (at, person):
        await ask(at, SMALL)
        (request,) = await person.waiting()
        await person.approve(request)
        unusual = await ask(at, SMALL, "a favour")
        assert "error" in unusual, unusual
        assert not called(at)
        assert "result" in await ask(at, SMALL)
        assert len(called(at)) == 1


async def test_an_approval_lets_the_same_call_through_with_no_other_token_than_it_would_have_had(
    tmp_path: Path,
) -> None:
    async with asking(tmp_path, PURPOSE_IS_A_SCOPE) as (at, person):
        await ask(at, SMALL)
        (request,) = await person.waiting()
        await person.approve(request)
        other = await ask(at, SMALL, "payroll")
        assert "error" in other, other
        assert not called(at)
        assert "result" in await ask(at, SMALL)
        assert len(called(at)) == 1
