"""What cannot be screened does not pass: a detector that raises, a message that is too much to be looked at.

A detector that raises has to be made: its one method is replaced by one that does, which is the only part of the gate
that is not the gate's here.
"""

import base64
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NoReturn

import pytest
import trio

from callgate import inspection
from callgate.errors import Reason
from callgate.screening.personal import Detector
from support.described_tools import LIST_CHANGED, DescribedTools, Era, called
from support.event_stream import event_stream
from support.on_record import OnRecord, on_record
from support.raw_agent import modern, modern_call
from support.upstream import RESULTS, Asked, Reply, answer_with, said

POLICY: Final = """
version: 1
trust_domains: [acme.test]
screening:
  - server: ledger
    schemas: off
    mask: [all]
    mask_arguments: [card]
grants:
  - {id: both, workloads: ["spiffe://acme.test/**"], server: ledger, tools: [refund, get_invoice]}
"""
SECRET: Final = "what-nobody-may-read"
# What the detector below stumbles over.
STONE: Final = "a stone in the way"
find = Detector.find


class StumbledError(RuntimeError):
    """The fault of a detector."""


def stumbles(self: Detector, text: str) -> Any:  # noqa: ANN401  # whatever the detector finds
    """A detector that raises for some texts, and tells the text when it does."""
    if STONE in text:
        raise StumbledError(f"{SECRET}: {text}")
    return find(self, text)


def text_of(words: str) -> dict[str, object]:
    return {"content": [{"type": "text", "text": words}], "resultType": "complete"}


def message(words: str) -> dict[str, object]:
    return {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": words}}


async def assert_untold(at: OnRecord, log: str) -> None:
    await at.spans(len(at.gate.traces))
    kept = b"\n".join(path.read_bytes() for path in at.folder.rglob("*") if path.is_file() and path.name != "lock")
    for where in (repr(at.gate.traces), log, at.collector.raw.decode("latin-1"), kept.decode("latin-1")):
        assert SECRET not in where
        assert STONE not in where


@pytest.fixture
def stumbling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Detector, "find", stumbles)


@pytest.mark.usefixtures("stumbling")
@pytest.mark.parametrize("is_dry", [False, True])
@pytest.mark.parametrize("era", ["modern", "legacy"])
async def test_a_detector_that_raises_over_arguments_stops_the_call(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, era: str, *, is_dry: bool
) -> None:
    with caplog.at_level(logging.DEBUG):
        async with on_record(tmp_path, policy=POLICY) as at, at.agent() as agent:
            speaks = Era(era)
            await speaks.begin(agent)
            meta = {"callgate/dry-run": True} if is_dry else {}
            answer = await speaks.call(agent, "refund", {"note": f"{STONE} {SECRET}"}, **meta)
            again = await speaks.call(agent, "refund", {"note": "nothing in the way"})
            (record,) = await at.records("refusal", count=1)
            assert [each["arguments"] for each in called(at)] == [{"note": "nothing in the way"}]
            await assert_untold(at, caplog.text)

    assert answer.reason == Reason.SCREENING_FAILED
    assert (record["stage"], record["reason"]) == ("decide" if is_dry else "inspect", "screening_failed")
    assert "args" not in record
    assert "result" in again.message


@pytest.mark.usefixtures("stumbling")
@pytest.mark.parametrize("era", ["modern", "legacy"])
@pytest.mark.parametrize(
    "result",
    [
        text_of(f"{STONE} {SECRET}"),
        {**text_of("fine"), "structuredContent": {"deep": [{"er": f"{STONE} {SECRET}"}]}},
        {**text_of("fine"), "structuredContent": {STONE: SECRET}},
        {**text_of("fine"), "_meta": {"x/y": f"{STONE} {SECRET}"}},
        {**text_of(f"{STONE} {SECRET}"), "isError": True},
        {"content": [{"type": "resource", "resource": {"uri": "file:///a", "mimeType": "text/plain",
                      "blob": base64.b64encode(f"{STONE} {SECRET}".encode()).decode()}}]},
    ],
)  # fmt: skip
async def test_a_detector_that_raises_over_an_answer_withholds_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, result: Mapping[str, object], era: str
) -> None:
    with caplog.at_level(logging.DEBUG):
        async with on_record(tmp_path, answer_with(result), policy=POLICY) as at, at.agent() as agent:
            speaks = Era(era)
            await speaks.begin(agent)
            answer = await speaks.call(agent, "refund", {})
            outcome = (await at.calls(2 if era == "legacy" else 1))[-1][1]
            trace = at.gate.traces[-1]
            await assert_untold(at, caplog.text)

    assert answer.reason == Reason.SCREENING_FAILED
    assert SECRET.encode() not in answer.body
    assert (outcome["status"], outcome["reason"]) == ("withheld", "screening_failed")
    assert outcome["answer"]["bytes"] == 0
    assert trace.path[-3:] == ("forward=ok", "screen=refused:screening_failed", "respond=ok")


@pytest.mark.usefixtures("stumbling")
async def test_a_detector_that_raises_over_an_error_withholds_it(tmp_path: Path) -> None:
    async def fails(asked: Asked, reply: Reply) -> None:
        error = {"code": -32000, "message": f"{STONE} {SECRET}", "data": SECRET}
        await reply.json({"jsonrpc": "2.0", "id": asked.message["id"], "error": error})

    async with on_record(tmp_path, fails, policy=POLICY) as at, at.agent() as agent:
        answer = await agent.ask(modern_call("refund"))

    assert answer.reason == Reason.SCREENING_FAILED
    assert SECRET.encode() not in answer.body


@pytest.mark.usefixtures("stumbling")
async def test_a_detector_that_raises_over_a_list_of_tools_withholds_it(tmp_path: Path) -> None:
    tools = DescribedTools([{"name": "refund", "description": f"{STONE} {SECRET}", "inputSchema": {"type": "object"}}])
    async with on_record(tmp_path, tools, policy=POLICY) as at, at.agent() as agent:
        answer = await agent.ask(modern("tools/list"))

    assert answer.reason == Reason.SCREENING_FAILED
    assert SECRET.encode() not in answer.body


@pytest.mark.usefixtures("stumbling")
async def test_no_event_after_the_fault_passes_and_the_refusal_is_the_last(tmp_path: Path) -> None:
    passed, hung_up = trio.Event(), trio.Event()

    async def stream(asked: Asked, reply: Reply) -> None:
        if asked.message["id"] == 2:
            await answer_with()(asked, reply)
            return
        await reply.start_events()
        await reply.event(message("before"))
        await passed.wait()
        await reply.event(message(f"{STONE} {SECRET}"))
        try:
            await reply.event(message("after"))
            await reply.event(said(asked, RESULTS["tools/call"]))
            await reply.until_hung_up()
        finally:
            hung_up.set()

    async with on_record(tmp_path, stream, policy=POLICY) as at, at.agent() as agent:
        with trio.fail_after(20):
            await agent.say(modern("tools/call", {"name": "refund", "arguments": {}}))
            events = await event_stream(agent)
            assert await events.next() == message("before")
            passed.set()
            (last,) = await events.rest()
            await hung_up.wait()
            # The agent's connection serves the next call.
            again = await agent.ask(modern_call("refund", rpc_id=2))
        (_, outcome), _ = await at.calls(2)

    assert last["id"] == 1
    assert last["error"]["data"]["reason"] == Reason.SCREENING_FAILED
    assert "result" in again.message
    assert (outcome["status"], outcome["reason"], outcome["answer"]["events"]) == ("withheld", "screening_failed", 1)


async def test_a_fault_of_inspection_itself_stops_the_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> NoReturn:
        raise StumbledError(SECRET)

    monkeypatch.setattr(inspection, "screen_arguments", broken)
    async with on_record(tmp_path, policy=POLICY) as at, at.agent() as agent:
        answer = await agent.ask(modern_call("refund"))
        await at.records("refusal", count=1)
        assert at.upstream.connections == 0
        await assert_untold(at, "")

    assert answer.reason == Reason.SCREENING_FAILED


# Without any fault


def nested(levels: int) -> str:
    text = f"{SECRET}@corp-payroll.com"
    for _ in range(levels):
        text = json.dumps({"a": text})
    return text


def blob(content: str) -> dict[str, object]:
    resource = {"uri": "file:///c", "mimeType": "text/csv", "blob": content}
    return {"content": [{"type": "resource", "resource": resource}]}


_UNSCREENABLE: Final = {
    "more finds than are looked at": text_of(f"{SECRET} " + " ".join(f"a{n}@b{n}.com" for n in range(20_500))),
    "texts in texts in texts": text_of(nested(12)),
    "no base64": blob(f"{SECRET}!"),
    "no text in it": blob(base64.b64encode(SECRET.encode() + b"\xff\xfe\xfd").decode()),
}


@pytest.mark.parametrize("before", [(), (LIST_CHANGED, message("at work"))])
@pytest.mark.parametrize("case", _UNSCREENABLE)
async def test_an_answer_that_cannot_be_screened_is_withheld(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, case: str, before: tuple[object, ...]
) -> None:
    server = DescribedTools([], _UNSCREENABLE[case], before)
    with caplog.at_level(logging.DEBUG):
        async with on_record(tmp_path, server, policy=POLICY) as at, at.agent() as agent:
            with trio.fail_after(30):
                answer = await agent.ask(modern_call("refund"))
            ((_, outcome),) = await at.calls(1)
            await assert_untold(at, caplog.text)

    assert b"answer_unscreenable" in answer.body
    assert b'"result"' not in answer.body
    assert SECRET.encode() not in answer.body
    assert (outcome["status"], outcome["reason"]) == ("withheld", "answer_unscreenable")


def test_there_is_a_way_in_which_each_of_them_passes() -> None:
    # Without a mask there is nothing to look for: the cases are answers, and not broken ones.
    assert all(json.loads(json.dumps(result)) == result for result in _UNSCREENABLE.values())


@pytest.mark.parametrize("case", ["texts in texts in texts", "no text in it"])
async def test_what_nothing_is_to_be_masked_in_passes(tmp_path: Path, case: str) -> None:
    bare = POLICY.replace("    mask: [all]\n", "    base64: pass\n")
    async with on_record(tmp_path, answer_with(_UNSCREENABLE[case]), policy=bare) as at, at.agent() as agent:
        answer = await agent.ask(modern_call("refund"))

    assert answer.message["result"] == _UNSCREENABLE[case]


@pytest.mark.parametrize("levels", [300, 200_000])
async def test_an_answer_that_nests_too_deep_is_no_answer(tmp_path: Path, levels: int) -> None:
    async def deep(asked: Asked, reply: Reply) -> None:
        value = '{"structuredContent":{"a":' + "[" * levels + f'"{SECRET}"' + "]" * levels + '},"content":[]}'
        body = f'{{"jsonrpc":"2.0","id":{asked.message["id"]},"result":{value}}}'.encode()
        await reply.raw(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body))
        await reply.raw(body)

    async with on_record(tmp_path, deep, policy=POLICY) as at, at.agent() as agent:
        with trio.fail_after(20):
            answer = await agent.ask(modern_call("refund"))
        await at.calls(1)

    assert answer.code == -31502
    assert SECRET.encode() not in answer.body
