"""What a gate leaves of a call that a person agreed to: in its log, in its trace, and for those who read either."""

import json
from pathlib import Path
from typing import Any, Final

import trio

from support.collector import ReceivedSpan
from support.on_record import OnRecord, on_record, records_in, until
from support.people import APPROVALS, LocalPerson, local_person
from support.raw_agent import modern_call

CANARY: Final = "IBAN-DE02120300000000202051"
REFUND: Final = {"number": "INV-7", "amount": 900, "note": CANARY}
POLICY: Final = """
version: 1
trust_domains: [acme.test]
screening:
  - {server: ledger, schemas: off}
grants:
  - id: refunds
    workloads: ["spiffe://acme.test/**"]
    server: ledger
    tools: [refund]
    approval: {groups: [local], waits: %s}
"""


async def refund(at: OnRecord) -> None:
    async with at.agent() as agent:
        await agent.ask(modern_call("refund", REFUND))


async def decided(at: OnRecord, person: LocalPerson, verdict: str, reason: str) -> dict[str, Any]:
    """One call that waited, was looked at, and was answered so."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(refund, at)
        (request,) = await person.waiting()
        await person.whole(request)
        answer = await person.say(request, verdict, reason)
        assert answer.status_code == 200, answer.text
    return request


def of_calls(at: OnRecord) -> list[ReceivedSpan]:
    """Without what the gate asked on its own account."""
    asked = {span.trace_id for span in at.collector.spans if span.name == "tools/call refund"}
    return [span for span in at.collector.spans if span.trace_id in asked]


async def test_a_waiting_call_is_a_span_while_it_waits_and_a_whole_trace_afterwards(tmp_path: Path) -> None:
    async with on_record(tmp_path, policy=POLICY % "20s", more=APPROVALS) as at, local_person(at.gate) as person:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(refund, at)
            (request,) = await person.waiting()
            await until(lambda: any(span.name == "approve (waiting)" for span in at.collector.spans))
            # Nobody has answered yet.
            assert [each["id"] for each in await person.waiting()] == [request["id"]]
            await person.approve(request)
        await at.spans(2)
        spans = of_calls(at)

    (waiting,) = [span for span in spans if span.name == "approve (waiting)"]
    assert waiting.attributes["callgate.approval.id"] == request["id"]
    assert waiting.attributes["gen_ai.tool.name"] == "refund"
    (server,) = [span for span in spans if span.kind == "SERVER"]
    (approve,) = [span for span in spans if span.name == "approve"]
    assert waiting.trace_id == approve.trace_id == server.trace_id
    assert waiting.parent_id == approve.parent_id == server.span_id
    assert len({span.span_id for span in spans}) == len(spans) == 6
    assert approve.attributes["callgate.approval.state"] == "used"
    assert approve.attributes["callgate.approval.people"] == 1
    assert approve.attributes["callgate.approval.means"] == ("socket",)
    assert [event.attributes["callgate.rule.why"] for event in approve.events][-2:] == [
        "approved by one person (socket)",
        "used 1 of 1",
    ]


async def test_each_thing_that_happened_is_a_record_before_the_call_goes_out(tmp_path: Path) -> None:
    async with on_record(tmp_path, policy=POLICY % "20s", more=APPROVALS) as at, local_person(at.gate) as person:
        request = await decided(at, person, "approve", "agreed with sales")
        *_, (intent, _) = await at.calls(2)
        found = records_in(at.folder)
        shown = await at.callgate("log", "--approval", request["id"][:8], "--format", "json")
        explained = await at.callgate("explain", "--decision", intent["decision"])

    told = [record for record in found if record["kind"] == "approval"]
    assert [record["happening"] for record in told] == ["asked", "seen", "approved", "used"]
    assert all(record["seq"] < intent["seq"] for record in told)
    approved = told[2]
    name = approved["by"]["name"]
    assert (approved["by"]["means"], approved["verdict"], approved["reason"]) == (
        "socket",
        "approve",
        "agreed with sales",
    )
    assert intent["approval"] == {"id": request["id"], "by": [name], "use": 1}
    assert told[3]["decision"] == told[0]["asked_by"] == intent["decision"]
    # What was agreed to is what went out.
    assert {record["binding"] for record in told} == {request["binding"]}
    assert [approved[each] for each in ("args", "policy")] == [intent[each] for each in ("args", "policy")]
    lines = [json.loads(line) for line in shown.stdout.splitlines()]
    assert [line.get("happening", line["kind"]) for line in lines] == ["asked", "seen", "approved", "used", "intent"]
    assert f"approved by {name} (socket): agreed with sales" in explained.stdout


async def test_neither_arguments_nor_in_a_trace_people_are_told(tmp_path: Path) -> None:
    async with on_record(tmp_path, policy=POLICY % "20s", more=APPROVALS) as at, local_person(at.gate) as person:
        await decided(at, person, "approve", "said by nobody else")
        await at.spans(2)
        log = json.dumps(records_in(at.folder))
        sent = at.collector.raw

    assert CANARY not in log
    assert "local:" in log
    for each in (CANARY.encode(), b"local:", b"said by nobody else"):
        assert each not in sent


async def test_a_call_that_nobody_answered_is_held_on_record(tmp_path: Path) -> None:
    async with on_record(tmp_path, policy=POLICY % "0s", more=APPROVALS) as at, local_person(at.gate) as person:
        await refund(at)
        (request,) = await person.waiting()
        (refusal,) = await at.records("refusal", count=1)
        spans = await at.spans(2)
        held = await at.callgate("log", "--decision", "hold")

    assert (refusal["stage"], refusal["reason"]) == ("approve", "approval_required")
    assert refusal["approval"] == {"id": request["id"]}
    assert "hold" in {found["callgate.decision"] for found in spans.values()}
    (line,) = held.stdout.splitlines()
    assert json.loads(line)["verdict"] == "hold"


async def test_who_denied_a_call_is_on_record_with_the_reason(tmp_path: Path) -> None:
    async with on_record(tmp_path, policy=POLICY % "20s", more=APPROVALS) as at, local_person(at.gate) as person:
        request = await decided(at, person, "deny", "not this month")
        (refusal,) = await at.records("refusal", count=1)
        told = await at.records("approval", count=3)

    assert [record["happening"] for record in told] == ["asked", "seen", "denied"]
    assert (told[2]["verdict"], told[2]["reason"]) == ("deny", "not this month")
    assert (refusal["reason"], refusal["approval"]) == ("approval_denied", {"id": request["id"]})
