"""What became of a call stands in its outcome: how it ended, and the digest and sizes of what the agent received."""

import signal
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path

import pytest
import trio

from callgate.dev.workload_api import DevWorkloadApi
from support.gate import WORKLOADS, context_of
from support.on_record import Record, assert_published_format, calls_in, on_record, records_in
from support.raw_agent import Answer, RawAgent, RawConnection, modern, modern_call
from support.serve_process import serving
from support.tool_faults import ok, saying
from support.upstream import TOOLS, Asked, Reply, Script, answer_with, said, scripted_server

NOTHING = {"sha256": sha256(b"").hexdigest(), "bytes": 0, "events": 0}
PROGRESS = {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": 1, "progress": 1}}
# In the agent's request, or the tool server may send no progress.
WITH_PROGRESS = modern("tools/call", {"name": "get_invoice", "arguments": {}, "_meta": {"progressToken": 1}})


def digest_of(*messages: bytes) -> Record:
    """As docs/reference/audit.md says: SHA-256 over the messages that passed, each with a line feed after it."""
    return {
        "sha256": sha256(b"".join(message + b"\n" for message in messages)).hexdigest(),
        "bytes": sum(map(len, messages)),
        "events": len(messages),
    }


def messages_in(answer: Answer) -> list[bytes]:
    """What a stream of events brought."""
    return [line.removeprefix(b"data: ") for line in answer.body.split(b"\n") if line.startswith(b"data: ")]


async def ended(folder: Path, script: Script, request: bytes, **options: object) -> tuple[Answer, Record]:
    """One call to a tool server that answers so: what the agent received, and the outcome."""
    async with on_record(folder, script, **options) as at:  # type: ignore[arg-type]
        async with at.agent() as agent:
            answer = await agent.ask(request)
        ((intent, outcome),) = await at.calls(1)
    assert (outcome["decision"], outcome["trace"]) == (intent["decision"], intent["trace"])
    return answer, outcome


async def test_an_answer_is_told_with_its_digest_and_how_long_it_took(tmp_path: Path) -> None:
    async def slow(asked: Asked, reply: Reply) -> None:
        await trio.sleep(0.2)
        await answer_with({"content": [{"type": "text", "text": "grüße €"}], "resultType": "complete"})(asked, reply)

    began = time.monotonic()
    answer, outcome = await ended(tmp_path, slow, modern_call("get_invoice"))
    most_us = (time.monotonic() - began) * 1e6

    assert (outcome["status"], outcome["reason"], outcome["http"]) == ("answered", "", 200)
    assert outcome["answer"] == digest_of(answer.body)
    assert 200_000 <= outcome["took_us"] <= most_us
    assert outcome["path"] == ["record=ok", "forward=ok", "screen=ok", "respond=ok"]


async def test_an_answer_as_a_stream_is_told_event_by_event(tmp_path: Path) -> None:
    async def stream(asked: Asked, reply: Reply) -> None:
        await reply.events(PROGRESS, PROGRESS, said(asked, {"content": [], "resultType": "complete"}))

    answer, outcome = await ended(tmp_path, stream, WITH_PROGRESS)
    messages = messages_in(answer)
    assert len(messages) == 3
    assert (outcome["status"], outcome["answer"]) == ("answered", digest_of(*messages))


async def test_a_tools_own_error_is_told_as_such(tmp_path: Path) -> None:
    script = answer_with({"content": [], "isError": True, "resultType": "complete"})
    answer, outcome = await ended(tmp_path, script, modern_call("get_invoice"))
    assert (outcome["status"], outcome["reason"], outcome["http"]) == ("tool_error", "", 200)
    assert outcome["answer"] == digest_of(answer.body)


async def test_a_json_rpc_error_of_the_tool_server_is_told_as_such(tmp_path: Path) -> None:
    async def fail(asked: Asked, reply: Reply) -> None:
        await reply.json({"jsonrpc": "2.0", "id": asked.message["id"], "error": {"code": -32603, "message": "no"}})

    answer, outcome = await ended(tmp_path, fail, modern_call("get_invoice"))
    assert (outcome["status"], outcome["reason"], outcome["http"]) == ("rpc_error", "", 200)
    assert outcome["answer"] == digest_of(answer.body)


async def test_how_many_tools_were_hidden_from_a_list_is_told(tmp_path: Path) -> None:
    answer, outcome = await ended(tmp_path, answer_with(), modern("tools/list"))
    shown = [tool["name"] for tool in answer.message["result"]["tools"]]
    assert 0 < len(shown) < len(TOOLS)
    assert (outcome["status"], outcome["hidden"]) == ("answered", len(TOOLS) - len(shown))
    assert outcome["answer"] == digest_of(answer.body)


@pytest.mark.parametrize(
    ("script", "reason", "http"),
    [
        (saying(then="close"), "upstream_closed", None),
        (saying(ok(b"Content-Length: 9", body=b"not JSON!")), "upstream_message", 200),
        (saying(b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n"), "upstream_refused_token", 401),
        (saying(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"), "upstream_status", 503),
        (saying(b"HTTP/1.1 302 No\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"), "upstream_redirect", 302),
        (saying(b"nonsense\r\n\r\n"), "upstream_malformed", None),
    ],
)
async def test_a_call_that_failed_is_told_with_the_reason_that_the_agent_heard(
    tmp_path: Path, script: Script, reason: str, http: int | None
) -> None:
    answer, outcome = await ended(tmp_path, script, modern_call("get_invoice"))
    assert (outcome["status"], outcome["reason"], outcome.get("http")) == ("failed", reason, http)
    assert answer.reason == reason
    assert answer.message["error"]["data"]["decision_id"] == outcome["decision"]
    assert outcome["answer"] == NOTHING
    assert outcome["path"] == ["record=ok", f"forward=failed:{reason}", "respond=ok"]


async def test_a_tool_server_that_takes_too_long_is_told(tmp_path: Path) -> None:
    server = {"timeouts": "{first_byte: 1s}"}
    answer, outcome = await ended(tmp_path, saying(), modern_call("get_invoice"), server=server)
    assert (outcome["status"], outcome["reason"]) == ("failed", "upstream_timeout")
    assert answer.reason == "upstream_timeout"
    assert outcome["took_us"] >= 1_000_000


async def test_of_a_stream_that_breaks_off_what_passed_before_is_told(tmp_path: Path) -> None:
    async def break_off(_asked: Asked, reply: Reply) -> None:
        await reply.start_events()
        await reply.event(PROGRESS)
        await reply.event(PROGRESS)
        await reply.close()

    answer, outcome = await ended(tmp_path, break_off, WITH_PROGRESS)
    *passed, error = messages_in(answer)
    assert b"upstream_closed" in error
    assert (outcome["status"], outcome["reason"]) == ("failed", "upstream_closed")
    # The gate's own error at the end of the stream is no part of what the tool server said.
    assert outcome["answer"] == digest_of(*passed)
    assert len(passed) == 2


async def test_a_call_that_the_agent_gave_up_is_told_as_cancelled(tmp_path: Path) -> None:
    asked_for = trio.Event()

    async def never(_asked: Asked, reply: Reply) -> None:
        asked_for.set()
        await reply.until_hung_up()

    async with on_record(tmp_path, never) as at:
        async with at.agent() as agent:
            await agent.say(modern_call("get_invoice"))
            await asked_for.wait()
        ((_, outcome),) = await at.calls(1)
    assert (outcome["status"], outcome["reason"], outcome["answer"]) == ("cancelled", "client_gone", NOTHING)


async def test_a_stream_that_the_agent_left_is_told_up_to_where_it_went(tmp_path: Path) -> None:
    left = trio.Event()

    async def stream(_asked: Asked, reply: Reply) -> None:
        await reply.start_events()
        await reply.event(PROGRESS)
        await left.wait()
        await reply.until_hung_up()

    async with on_record(tmp_path, stream) as at:
        async with at.agent() as agent:
            await agent.say(WITH_PROGRESS)
            await _until_heard(agent, b"notifications/progress")
        left.set()
        ((_, outcome),) = await at.calls(1)
    assert (outcome["status"], outcome["reason"]) == ("cancelled", "client_gone")
    assert outcome["answer"]["events"] == 1


async def _until_heard(agent: RawConnection, words: bytes) -> None:
    while words not in agent._buffer:
        assert await agent._more()


@asynccontextmanager
async def _calling(port: int, api: DevWorkloadApi, asked_for: trio.Event) -> AsyncIterator[None]:
    async with RawAgent(port, await context_of(api, "billing")).connected() as agent:
        await agent.say(modern_call("get_invoice"))
        await asked_for.wait()
        yield


async def test_a_call_that_was_under_way_when_the_gate_was_stopped_is_told_before_it_ends(tmp_path: Path) -> None:
    asked_for = trio.Event()

    async def never(_asked: Asked, reply: Reply) -> None:
        asked_for.set()
        await reply.until_hung_up()

    with DevWorkloadApi(tmp_path / "spiffe", WORKLOADS, ttl_s=300, dns_names={"gate": ["localhost"]}) as api:
        async with (
            scripted_server(never) as upstream,
            serving(tmp_path, api.endpoint("gate"), upstream.url, "limits: {drain_s: 0.5}\n") as gate,
        ):
            port, _ = await gate.ready()
            async with _calling(port, api, asked_for):
                gate.process.send_signal(signal.SIGTERM)
                assert await gate.end(20) == 0
    records: Sequence[Record] = records_in(tmp_path / "audit")
    assert_published_format(records)
    ((_, outcome),) = calls_in(records)
    assert (outcome["status"], outcome["reason"]) == ("cancelled", "gate_shutting_down")
    assert records[-1]["kind"] == "stop"
