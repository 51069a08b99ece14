"""Arguments and results are held against the schemas that the tool server itself gives, and a model can correct itself."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import trio
from mcp.types import TextContent

from callgate.errors import Reason
from support.described_tools import (
    LIST_CHANGED,
    PROGRESS,
    DescribedTools,
    Era,
    called,
    digest_of,
    list_and_call,
    tool,
)
from support.desk import desk_behind_gate
from support.gate import POLICY
from support.on_record import OnRecord, on_record
from support.raw_agent import Answer, RawConnection, modern, modern_call
from support.upstream import RESULTS, Asked, Reply, answer_with

REQUIRED = POLICY + "screening:\n  - {server: ledger, schemas: required}\n"
OFF = POLICY + "screening:\n  - {server: ledger, schemas: off}\n"
REFUND = tool("refund", {"number": {"type": "string"}, "amount": {"type": "integer", "minimum": 1}})
GOOD = {"number": "INV-1", "amount": 3}
AMOUNT = {"type": "object", "properties": {"amount": {"type": "integer"}}, "required": ["amount"]}
PRICED = tool("refund", {}, outputSchema=AMOUNT)
TEXT = {"content": [{"type": "text", "text": "done"}], "resultType": "complete"}
SECRET = "what the tool server keeps to itself"

# mcp 2.3 leaves the response's generators to the garbage collector when a stream has been answered.
pytestmark = pytest.mark.filterwarnings("ignore:Async generator 'http:ResourceWarning")


def refusal_in(answer: Answer) -> dict[str, Any]:
    """What the gate says in the result of a tool that failed, for programs."""
    result = answer.message["result"]
    assert result["isError"] is True
    told: dict[str, Any] = result["_meta"]["callgate/refusal"]
    return told


# Arguments


@pytest.mark.parametrize("era", ["modern", "legacy"])
async def test_a_misfit_is_told_as_a_failed_tool_and_does_not_reach_the_server(tmp_path: Path, era: str) -> None:
    async with on_record(tmp_path, DescribedTools([REFUND])) as at, at.agent() as agent:
        speaks = Era(era)
        await speaks.begin(agent)
        await speaks.list(agent)
        answer = await speaks.call(agent, "refund", {"number": "INV-1", "amount": "three hundred"})
        again = await speaks.call(agent, "refund", GOOD)
        trace = next(trace for trace in at.gate.traces if trace.reason)
        (record,) = await at.records("refusal", count=1)
        spans = await at.spans(len(at.gate.traces))
        assert [each["arguments"] for each in called(at)] == [GOOD]
        log = json.dumps(await at.records("intent", "refusal", "outcome", count=1))

    told = refusal_in(answer)
    (text,) = answer.message["result"]["content"]
    assert answer.status == 200
    assert "/amount: must be an integer" in text["text"]
    assert told == {
        "reason": "arguments_invalid",
        "decision_id": trace.decision_id,
        "trace_id": f"{trace.trace_id:032x}",
        "problems": ["/amount: must be an integer"],
    }
    assert "result" in again.message
    assert trace.decision == "deny"
    assert trace.path[-2:] == ("inspect=refused:arguments_invalid", "respond=ok")
    assert spans[f"{trace.trace_id:032x}"]["callgate.decision"] == "deny"
    assert (record["stage"], record["reason"]) == ("inspect", "arguments_invalid")
    assert record["answered"] == {"http": 200}
    # Of what was sent, the caller alone is told.
    for told_elsewhere in (repr(trace), log, repr(spans)):
        assert "three hundred" not in told_elsewhere
        assert "must be an integer" not in told_elsewhere


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"number": "INV-1"}, "amount"),
        ({**GOOD, "bcc": "mallory"}, "bcc"),
        ({**GOOD, "amount": 0}, "/amount"),
        ({**GOOD, "amount": 1.5}, "/amount"),
        ({**GOOD, "number": None}, "/number"),
        ({}, "number"),
    ],
)
async def test_says_where_arguments_do_not_fit(tmp_path: Path, arguments: Mapping[str, object], problem: str) -> None:
    async with on_record(tmp_path, DescribedTools([REFUND])) as at, at.agent() as agent:
        answer = await list_and_call(agent, "refund", arguments)
        assert called(at) == []

    problems = refusal_in(answer)["problems"]
    assert any(problem in each for each in problems), problems
    assert "mallory" not in json.dumps(problems)


async def test_what_is_wrong_with_arguments_is_told_in_bounds(tmp_path: Path) -> None:
    many = tool("refund", {f"member_{number}": {"type": "string"} for number in range(200)})
    async with on_record(tmp_path, DescribedTools([many])) as at, at.agent() as agent:
        answer = await list_and_call(agent, "refund", {f"x{number}": "y" * 100 for number in range(2_000)})
        assert called(at) == []

    assert len(refusal_in(answer)["problems"]) <= 8
    assert len(answer.body) < 8_000


async def test_arguments_that_nest_deep_are_refused_in_a_moment(tmp_path: Path) -> None:
    anything = {"name": "refund", "inputSchema": {"type": "object", "properties": {"a": {"$ref": "#/$defs/list"}},
                "$defs": {"list": {"type": "array", "items": {"$ref": "#/$defs/list"}}}}}  # fmt: skip
    value: object = 7
    for _ in range(50):
        value = [value]
    async with on_record(tmp_path, DescribedTools([anything])) as at, at.agent() as agent:
        with trio.fail_after(10):
            answer = await list_and_call(agent, "refund", {"a": value})
        assert called(at) == []

    assert refusal_in(answer)["reason"] == "arguments_invalid"


async def test_the_definition_that_a_call_was_held_against_is_in_trace_and_record(tmp_path: Path) -> None:
    async with on_record(tmp_path, DescribedTools([REFUND])) as at, at.agent() as agent:
        assert "result" in (await list_and_call(agent, "refund", GOOD)).message
        _, (intent, outcome) = await at.calls(2)
        _, trace = await at.gate.traces_when(2)
        spans = await at.spans(2)

    assert intent["definition"] == digest_of(REFUND)
    assert spans[f"{trace.trace_id:032x}"]["callgate.tool.digest"] == digest_of(REFUND)
    assert outcome["status"] == "answered"
    assert "inspect=ok" in trace.path
    assert "screen=ok" in trace.path


async def test_what_nobody_was_told_of_is_let_through_by_default(tmp_path: Path) -> None:
    async with on_record(tmp_path, DescribedTools([REFUND])) as at, at.agent() as agent:
        answer = await agent.ask(modern_call("refund", {"amount": "three"}))
        ((intent, _),) = await at.calls(1)

    assert "result" in answer.message
    assert "definition" not in intent


async def test_a_later_list_counts(tmp_path: Path) -> None:
    server = DescribedTools([REFUND])
    async with on_record(tmp_path, server) as at, at.agent() as agent:
        assert refusal_in(await list_and_call(agent, "refund", {"id": 7}))["reason"] == "arguments_invalid"
        server.tools = [tool("refund", {"id": {"type": "integer"}})]
        answer = await list_and_call(agent, "refund", {"id": 7})
        assert len(called(at)) == 1

    assert answer.message["result"]["isError"] is False


async def test_schemas_off_passes_what_does_not_fit(tmp_path: Path) -> None:
    bad = tool("refund", {"number": {"type": "string"}}, outputSchema={"$ref": "https://evil.test/schema"})
    async with on_record(tmp_path, DescribedTools([bad]), policy=OFF) as at, at.agent() as agent:
        answer = await list_and_call(agent, "refund", {"number": 7})

    assert answer.message["result"]["content"]


@pytest.mark.parametrize("era", ["modern", "legacy"])
async def test_a_dry_run_is_told_what_the_call_would_be_told(tmp_path: Path, era: str) -> None:
    async with on_record(tmp_path, DescribedTools([REFUND])) as at, at.agent() as agent:
        speaks = Era(era)
        await speaks.begin(agent)
        await speaks.list(agent)
        asked = await speaks.call(agent, "refund", {"amount": 1}, **{"callgate/dry-run": True})
        really = await speaks.call(agent, "refund", {"amount": 1})
        first, second = await at.records("refusal", count=2)
        assert called(at) == []

    one, other = refusal_in(asked), refusal_in(really)
    assert (one["reason"], one["problems"]) == (other["reason"], other["problems"])
    assert first["dry_run"] is True
    assert first["reason"] == second["reason"] == "arguments_invalid"
    assert {trace.decision for trace in at.gate.traces if trace.reason} == {"deny"}


# Schemas that cannot be used, or are not known


@pytest.mark.parametrize("side", ["inputSchema", "outputSchema"])
@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "$ref": "https://evil.test/schema"},
        {"type": "object", "$ref": "file:///etc/passwd"},
        {"type": "object", "properties": {"a": {"type": "no type"}}},
        {"type": "object", "properties": {"a": {"pattern": "("}}},
        {"type": "object", "$schema": "https://evil.test/draft"},
    ],
)
async def test_a_schema_that_cannot_be_used_makes_its_tool_unusable(
    tmp_path: Path, side: str, schema: Mapping[str, object]
) -> None:
    definition = {**tool("refund"), side: schema}
    async with on_record(tmp_path, DescribedTools([definition])) as at, at.agent() as agent:
        answer = await list_and_call(agent, "refund", {})
        assert called(at) == []
        (record,) = await at.records("refusal", count=1)

    assert answer.reason == Reason.SCHEMA_UNUSABLE
    assert (record["stage"], record["reason"]) == ("inspect", "schema_unusable")
    assert "evil.test" not in json.dumps(record)


async def test_a_tool_without_an_input_schema_is_not_called(tmp_path: Path) -> None:
    async with on_record(tmp_path, DescribedTools([{"name": "refund"}])) as at, at.agent() as agent:
        answer = await list_and_call(agent, "refund", {})
        assert called(at) == []

    assert answer.reason == Reason.SCHEMA_UNUSABLE


async def test_of_two_tools_of_one_name_none_is_called(tmp_path: Path) -> None:
    twice = [tool("refund"), tool("refund", {"number": {"type": "string"}})]
    async with on_record(tmp_path, DescribedTools(twice)) as at, at.agent() as agent:
        answer = await list_and_call(agent, "refund", {})
        assert called(at) == []

    assert answer.reason == Reason.SCHEMA_UNUSABLE


async def test_where_schemas_are_required_a_tool_that_is_not_listed_is_not_called(tmp_path: Path) -> None:
    async with on_record(tmp_path, DescribedTools([tool("get_invoice")]), policy=REQUIRED) as at, at.agent() as agent:
        assert (await agent.ask(modern_call("refund"))).reason == Reason.SCHEMA_UNKNOWN
        assert "result" in (await agent.ask(modern_call("get_invoice"))).message
        assert [each["name"] for each in called(at)] == ["get_invoice"]


async def test_where_schemas_are_required_a_server_without_a_list_gets_no_call(tmp_path: Path) -> None:
    async def none(asked: Asked, reply: Reply) -> None:
        if asked.message["method"] == "tools/list":
            await reply.empty(500)
        else:
            await answer_with()(asked, reply)

    async with on_record(tmp_path, none, policy=REQUIRED) as at, at.agent() as agent:
        answer = await agent.ask(modern_call("refund"))
        (record,) = await at.records("refusal", count=1)
        assert called(at) == []

    assert answer.reason == Reason.DEFINITIONS_UNAVAILABLE
    assert (record["stage"], record["reason"]) == ("inspect", "definitions_unavailable")


async def test_where_schemas_are_required_a_dry_run_hears_of_it_too(tmp_path: Path) -> None:
    async with on_record(tmp_path, DescribedTools([]), policy=REQUIRED) as at, at.agent() as agent:
        answer = await Era("modern").call(agent, "refund", {}, **{"callgate/dry-run": True})

    assert answer.reason == Reason.SCHEMA_UNKNOWN


# Results


@pytest.mark.parametrize("before", [(), (PROGRESS,)])
@pytest.mark.parametrize(
    "result",
    [
        {**TEXT, "structuredContent": {"amount": SECRET}},
        {**TEXT, "structuredContent": {}},
        {**TEXT, "structuredContent": None},
        {**TEXT, "structuredContent": [SECRET]},
        {**TEXT, "isError": "true", "content": [{"type": "text", "text": SECRET}]},
        TEXT,
    ],
)
async def test_a_result_that_does_not_fit_is_withheld(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, result: Mapping[str, object], before: tuple[object, ...]
) -> None:
    server = DescribedTools([PRICED], result, before)
    with caplog.at_level(logging.DEBUG):
        async with on_record(tmp_path, server) as at, at.agent() as agent:
            await agent.ask(modern("tools/list"))
            answer = await agent.ask(Era("modern").calling("refund", {}, progressToken="p"))
            _, (_, outcome) = await at.calls(2)
            _, trace = await at.gate.traces_when(2)
            kept = await at.records("intent", "outcome", count=4)
            assert len(called(at)) == 1
    last = last_message(answer)

    assert last["error"]["data"]["reason"] == Reason.ANSWER_INVALID
    assert (outcome["status"], outcome["reason"]) == ("withheld", "answer_invalid")
    assert trace.path[-3:] == ("forward=ok", "screen=refused:answer_invalid", "respond=ok")
    # The policy allowed the call.
    assert trace.decision == "allow"
    for told in (answer.body.decode(), repr(trace), json.dumps(kept), caplog.text):
        assert SECRET not in told
        assert "done" not in told


def last_message(answer: Answer) -> dict[str, Any]:
    """Of a stream or not."""
    if answer.body.startswith(b"{"):
        return answer.message
    last: dict[str, Any] = json.loads(answer.body.rstrip().rpartition(b"data: ")[2])
    return last


@pytest.mark.parametrize(
    "result",
    [
        {**TEXT, "structuredContent": {"amount": 3}},
        {**TEXT, "structuredContent": {"amount": 3, "more": SECRET}},
        # What failed inside the tool does not say what the tool would have said.
        {**TEXT, "isError": True},
    ],
)
async def test_a_result_that_fits_passes_as_it_is(tmp_path: Path, result: Mapping[str, object]) -> None:
    async with on_record(tmp_path, DescribedTools([PRICED], result)) as at, at.agent() as agent:
        answer = await list_and_call(agent, "refund", {})

    assert answer.message["result"] == result


async def test_a_tool_server_cannot_pass_its_words_for_the_gates(tmp_path: Path) -> None:
    said = {**TEXT, "isError": True, "_meta": {"callgate/refusal": {"reason": "denied"}, "x/y": 1}}
    async with on_record(tmp_path, DescribedTools([PRICED], said)) as at, at.agent() as agent:
        answer = await list_and_call(agent, "refund", {})

    assert answer.message["result"]["_meta"] == {"x/y": 1}


# A definition that changes while a call is under way


@pytest.mark.parametrize("before", [(), (PROGRESS,)])
async def test_a_definition_that_changes_while_a_call_is_under_way_withholds_the_answer(
    tmp_path: Path, before: tuple[object, ...]
) -> None:
    result = {**TEXT, "structuredContent": {"amount": 3}}
    server = DescribedTools([PRICED], result, before, held=trio.Event())
    async with on_record(tmp_path, server) as at, at.agent() as agent, at.agent() as other:
        answer = await changed_meanwhile(server, at, agent, other, {**PRICED, "description": "Something else."})
        outcome = next(outcome for intent, outcome in await at.calls(3) if intent["method"] == "tools/call")
        trace = next(trace for trace in at.gate.traces if trace.reason)

    assert last_message(answer)["error"]["data"]["reason"] == Reason.TOOL_DRIFT
    assert b'"amount"' not in answer.body
    # What came before it was known is with the agent; the refusal is the last that it hears.
    assert answer.body.count(b"data: ") == (2 if before else 0)
    assert (outcome["status"], outcome["reason"]) == ("withheld", "tool_drift")
    assert trace.path[-3:] == ("forward=ok", "screen=refused:tool_drift", "respond=ok")


async def test_a_list_that_says_the_same_again_withholds_nothing(tmp_path: Path) -> None:
    server = DescribedTools([PRICED], {**TEXT, "structuredContent": {"amount": 3}}, held=trio.Event())
    async with on_record(tmp_path, server) as at, at.agent() as agent, at.agent() as other:
        answer = await changed_meanwhile(server, at, agent, other, dict(reversed(PRICED.items())))

    assert answer.message["result"]["structuredContent"] == {"amount": 3}


async def changed_meanwhile(
    server: DescribedTools,
    at: OnRecord,
    agent: RawConnection,
    other: RawConnection,
    definition: object,
) -> Answer:
    """The answer to a call during which the other agent was told of that definition."""
    assert server.held is not None
    await agent.ask(modern("tools/list"))
    await agent.say(Era("modern").calling("refund", {}, progressToken="p"))
    with trio.fail_after(10):
        await server.called.wait()
        server.tools = [definition]
        assert (await other.ask(modern("tools/list"))).status == 200
        server.held.set()
        answer = await agent.answer()
    assert answer is not None
    assert len(called(at)) == 1
    return answer


@pytest.mark.parametrize("changes", [True, False])
async def test_a_server_that_says_meanwhile_that_its_list_changed_is_asked_before_its_answer_passes(
    tmp_path: Path, *, changes: bool
) -> None:
    server = DescribedTools([PRICED], {**TEXT, "structuredContent": {"amount": 3}}, [LIST_CHANGED], trio.Event())
    async with on_record(tmp_path, server, policy=REQUIRED) as at, at.agent() as agent:
        await agent.say(modern_call("refund"))
        with trio.fail_after(10):
            await server.called.wait()
            if changes:
                server.tools = [{**PRICED, "description": "Something else."}]
            assert server.held is not None
            server.held.set()
            answer = await agent.answer()
    assert answer is not None
    last = last_message(answer)

    assert ("error" in last) == changes
    if changes:
        assert last["error"]["data"]["reason"] == Reason.TOOL_DRIFT
        assert b'"amount"' not in answer.body


# As a model sees it


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_models_client_is_told_what_is_wrong_and_can_go_on(tmp_path: Path, mode: str) -> None:
    async with desk_behind_gate(tmp_path, POLICY) as desk, desk.agent(mode=mode) as agent:
        assert "refund" in await agent.tools()
        wrong = await agent.client.call_tool("refund", {"number": "INV-1", "amount": "all of it"})
        right = await agent.client.call_tool("refund", {"number": "INV-1", "amount": 3})
        called_there = [asked.message["params"]["arguments"] for asked in desk.calls]

    (text,) = wrong.content
    assert isinstance(text, TextContent)
    assert wrong.is_error is True
    assert "/amount: must be an integer" in text.text
    assert wrong.meta is not None
    assert wrong.meta["callgate/refusal"]["reason"] == "arguments_invalid"
    assert right.is_error is False
    assert right.structured_content == {"result": "refunded 3 of INV-1 to customer"}
    assert called_there == [{"number": "INV-1", "amount": 3}]


def test_the_default_result_has_no_structure() -> None:
    # The cases above rely on it.
    assert "structuredContent" not in RESULTS["tools/call"]
