"""A call that a person has to agree to, from the agent's end: it waits, it goes on, or it is told why not."""

import json
from pathlib import Path
from typing import Any, Final

import trio

from callgate.errors import Reason
from support.described_tools import called
from support.on_record import OnRecord, on_record
from support.people import APPROVALS, local_person
from support.raw_agent import modern_call

REFUND: Final = {"number": "INV-7", "amount": 900}


def policy(more: str = "", *, waits: str = "20s") -> str:
    return f"""
version: 1
trust_domains: [acme.test]
screening:
  - {{server: ledger, schemas: off}}
grants:
  - id: reads
    workloads: ["spiffe://acme.test/**"]
    server: ledger
    tools: [get_invoice]
  - id: refunds
    workloads: ["spiffe://acme.test/**"]
    server: ledger
    tools: [refund]
    approval: {{groups: [local], waits: {waits}, {more}}}
"""


def messages(body: bytes) -> list[dict[str, Any]]:
    """What an event stream said, in order."""
    return [json.loads(line[6:]) for line in body.split(b"\n") if line.startswith(b"data: ")]


async def test_a_call_waits_until_somebody_agrees_and_then_goes_on(tmp_path: Path) -> None:
    answers: list[bytes] = []

    async def ask(at: OnRecord) -> None:
        async with at.agent() as agent:
            answers.append((await agent.ask(modern_call("refund", REFUND))).body)

    async with on_record(tmp_path, policy=policy(), more=APPROVALS) as at, local_person(at.gate) as person:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, at)
            (request,) = await person.waiting()
            assert not called(at)
            assert (await person.whole(request))["arguments"] == REFUND
            await person.approve(request)
        # The gate asked for the tool's definition first, which is what is agreed to.
        _, (intent, _) = await at.calls(2)
        _, trace = await at.gate.traces_when(2)

    assert "result" in messages(answers[0])[-1]
    assert called(at)[0]["arguments"] == REFUND
    assert intent["approval"]["id"] == request["id"]
    assert "approve=ok" in trace.path


async def test_a_denied_call_is_told_why(tmp_path: Path) -> None:
    answers: list[bytes] = []

    async def ask(at: OnRecord) -> None:
        async with at.agent() as agent:
            answers.append((await agent.ask(modern_call("refund", REFUND))).body)

    async with on_record(tmp_path, policy=policy(), more=APPROVALS) as at, local_person(at.gate) as person:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, at)
            (request,) = await person.waiting()
            await person.deny(request, "not this month")
        again = await _refused(at)

    error = messages(answers[0])[-1]["error"]
    assert error["code"] == -31403
    assert error["data"]["reason"] == Reason.APPROVAL_DENIED
    assert error["data"]["said"] == "not this month"
    # It cools down: the same call is denied again, and nobody is asked.
    assert again["data"]["approval"] == request["id"]
    assert not called(at)


async def test_where_nothing_is_to_be_recorded_no_digest_of_the_arguments_is(tmp_path: Path) -> None:
    async with (
        on_record(tmp_path, policy=policy(waits="0s"), more=APPROVALS, audit="folder: audit, record: none") as at,
        local_person(at.gate) as person,
    ):
        await _refused(at)
        (request,) = await person.waiting()
        await person.approve(request)
        asked, approved = await at.records("approval", count=2)

    assert (asked["happening"], approved["happening"]) == ("asked", "approved")
    for record in (asked, approved):
        assert not {"args", "binding"} & record.keys()


async def _refused(at: OnRecord) -> dict[str, Any]:
    async with at.agent() as agent:
        return dict((await agent.ask(modern_call("refund", REFUND))).message["error"])


async def test_a_call_that_is_sent_again_later_uses_the_approval_that_came_meanwhile(tmp_path: Path) -> None:
    async with on_record(tmp_path, policy=policy(waits="0s"), more=APPROVALS) as at, local_person(at.gate) as person:
        error = await _refused(at)
        (request,) = await person.waiting()
        await person.approve(request)
        async with at.agent() as agent:
            answer = await agent.ask(modern_call("refund", REFUND))
            spent = await agent.ask(modern_call("refund", REFUND))

    assert error["code"] == -31202
    assert error["data"]["reason"] == Reason.APPROVAL_REQUIRED
    assert error["data"]["approval"] == request["id"]
    assert "result" in answer.message
    assert spent.reason == Reason.APPROVAL_REQUIRED
    assert spent.message["error"]["data"]["approval"] != request["id"]
    assert len(called(at)) == 1
