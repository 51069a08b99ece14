"""A legacy session belongs to the workload that opened it: in anyone else's hands its handle does not exist."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from support.gate import Gate, WallClock, context_of, running_gate
from support.raw_agent import INITIALIZE, Answer, legacy
from support.tls_agent import TlsAgent, dialled, error_of, with_headers
from support.upstream import Asked, Reply, ScriptedServer, answer_with, said, scripted_server

LEDGER, ARCHIVE = "/ledger/mcp", "/archive/mcp"
UPSTREAM_ID = "the-tool-servers-own-session-id"
POLICY = """
version: 1
trust_domains: [acme.test, partner.test]
grants:
  - id: all-read-invoices
    workloads: [spiffe://acme.test/**, spiffe://partner.test/**]
    server: ledger
    tools: [get_invoice]
  - id: all-read-the-archive
    workloads: [spiffe://acme.test/**, spiffe://partner.test/**]
    server: archive
    tools: [get_invoice]
"""
CALL = {"name": "get_invoice", "arguments": {"number": "INV-1001"}}


@asynccontextmanager
async def two_servers(folder: Path, wall: WallClock | None = None) -> AsyncIterator[tuple[Gate, ScriptedServer]]:
    """A gate before `ledger` and `archive`, which are the same tool server; sessions live for a minute."""
    async with scripted_server(answer_with(session_id=UPSTREAM_ID)) as upstream:
        more = f"  archive:\n    url: {upstream.url}\nlimits: {{session_max_age_s: 60}}\n"
        clock = (wall or WallClock()).clock
        async with running_gate(folder, upstream.url, policy=POLICY, more=more, clock=clock) as gate:
            yield gate, upstream


@asynccontextmanager
async def agent_of(gate: Gate, name: str) -> AsyncIterator[TlsAgent]:
    async with dialled(gate, await context_of(gate.api, name)) as agent:
        yield agent


async def opened(agent: TlsAgent, target: str = LEDGER) -> str:
    """The handle of a new session."""
    answer = await agent.ask(legacy("initialize", INITIALIZE, target=target))
    assert answer.status == 200
    return dict(answer.headers)["mcp-session-id"]


async def called(agent: TlsAgent, handle: str, target: str = LEDGER) -> Answer:
    return await agent.ask(legacy("tools/call", CALL, session=handle, target=target))


def told(answer: Answer) -> tuple[int, object, object]:
    """All that an answer tells, but for the ids of its own decision."""
    message = json.loads(answer.body)
    for ours in ("decision_id", "trace_id"):
        del message["error"]["data"][ours]
    return answer.status, answer.headers, message


def changed_at(text: str, place: int) -> str:
    return text[:place] + ("A" if text[place] != "A" else "B") + text[place + 1 :]


async def test_stolen_handle_is_no_session_and_its_owner_goes_on(tmp_path: Path) -> None:
    async with (
        two_servers(tmp_path) as (gate, upstream),
        agent_of(gate, "billing") as owner,
        agent_of(gate, "ops") as thief,
        agent_of(gate, "partner") as stranger,
    ):
        handle = await opened(owner)
        own = await opened(thief)
        heard = len(upstream.requests)
        made_up = told(await called(thief, "made-up-by-me"))
        assert made_up[0] == 404
        assert made_up[2] == {
            "jsonrpc": "2.0",
            "id": 1,
            "error": {"code": -32600, "message": "There is no such session", "data": {"reason": "session_unknown"}},
        }
        assert told(await called(thief, handle)) == made_up
        assert told(await called(stranger, handle)) == made_up
        for method in ("tools/list", "ping"):
            assert told(await thief.ask(legacy(method, session=handle))) == made_up
        assert len(upstream.requests) == heard, "the tool server heard of a stolen session"
        assert (await called(owner, handle)).status == 200
        assert (await called(thief, own)).status == 200
        refused = [trace for trace in gate.traces if trace.reason]
        assert {trace.path for trace in refused} == {
            ("accept=ok", "authenticate=ok", "read=ok", "identify=refused:session_unknown", "respond=ok")
        }
        assert len(refused) == 5


async def test_stolen_handle_in_a_notification_is_no_session(tmp_path: Path) -> None:
    async with (
        two_servers(tmp_path) as (gate, upstream),
        agent_of(gate, "billing") as owner,
        agent_of(gate, "ops") as thief,
    ):
        handle = await opened(owner)
        answer = await thief.ask(legacy("notifications/initialized", session=handle, rpc_id=None))
        assert error_of(answer) == (404, -32600, "session_unknown")
        assert [asked.message["method"] for asked in upstream.requests] == ["initialize"]


async def test_tampered_handle_is_no_session(tmp_path: Path) -> None:
    async with two_servers(tmp_path) as (gate, upstream), agent_of(gate, "billing") as owner:
        handle = await opened(owner)
        other = await opened(owner)
        made_up = told(await called(owner, "made-up-by-me"))
        tampered = [changed_at(handle, place) for place in range(0, len(handle), 7)]
        tampered += [handle[:-4], handle + "AAAA", handle + "=", handle[:16] + other[16:], handle.swapcase(), "A"]
        for spoilt in (*tampered, UPSTREAM_ID, "x" * 1416):
            assert told(await called(owner, spoilt)) == made_up
        assert len(upstream.requests) == 2
        assert (await called(owner, handle)).status == 200


async def test_handle_of_one_server_is_no_session_at_another(tmp_path: Path) -> None:
    async with (
        two_servers(tmp_path) as (gate, upstream),
        agent_of(gate, "billing") as owner,
    ):
        handle = await opened(owner, target=LEDGER)
        assert told(await called(owner, handle, ARCHIVE)) == told(await called(owner, "made-up-by-me", ARCHIVE))
        assert (await called(owner, await opened(owner, target=ARCHIVE), ARCHIVE)).status == 200
        assert (await called(owner, handle, LEDGER)).status == 200
        assert len(upstream.requests) == 4


async def test_handle_of_another_gate_is_no_session(tmp_path: Path) -> None:
    first, second = tmp_path / "1", tmp_path / "2"
    first.mkdir()
    second.mkdir()
    async with two_servers(first) as (gate, _), agent_of(gate, "billing") as owner:
        handle = await opened(owner)
    async with two_servers(second) as (gate, upstream), agent_of(gate, "billing") as owner:
        assert error_of(await called(owner, handle)) == (404, -32600, "session_unknown")
        assert upstream.requests == []


async def test_session_ends_at_its_age(tmp_path: Path) -> None:
    wall = WallClock()
    async with two_servers(tmp_path, wall) as (gate, _), agent_of(gate, "billing") as owner:
        handle = await opened(owner)
        wall.ahead_s = 45
        assert (await called(owner, handle)).status == 200
        wall.ahead_s = 61
        assert told(await called(owner, handle)) == told(await called(owner, "made-up-by-me"))


async def test_session_outlives_the_connection_and_the_svid_that_opened_it(tmp_path: Path) -> None:
    async with two_servers(tmp_path) as (gate, _):
        async with agent_of(gate, "billing") as owner:
            handle = await opened(owner)
        gate.api.rotate("billing")
        async with agent_of(gate, "billing") as again:
            assert (await called(again, handle)).status == 200
        leaves = {trace.records[1].attributes["tls.client.hash.sha256"] for trace in await gate.traces_when(2)}
        assert len(leaves) == 2, "the second connection should have shown another SVID"


async def test_each_side_knows_its_own_session_id_alone(tmp_path: Path) -> None:
    async with two_servers(tmp_path) as (gate, upstream), agent_of(gate, "billing") as owner:
        opening = await owner.ask(legacy("initialize", INITIALIZE))
        handle = dict(opening.headers)["mcp-session-id"]
        answer = await called(owner, handle)
        assert UPSTREAM_ID.encode() not in opening.body + answer.body
        assert UPSTREAM_ID not in str(opening.headers + answer.headers)
        assert [asked.header("mcp-session-id") for asked in upstream.requests] == [None, UPSTREAM_ID]
        assert handle.encode() not in upstream.heard


async def test_sessions_of_a_tool_server_without_ids_are_bound_all_the_same(tmp_path: Path) -> None:
    async with (
        scripted_server() as upstream,
        running_gate(tmp_path, upstream.url, policy=POLICY, more=f"  archive: {{url: '{upstream.url}'}}\n") as gate,
        agent_of(gate, "billing") as owner,
        agent_of(gate, "ops") as thief,
    ):
        handle = await opened(owner)
        assert error_of(await called(thief, handle)) == (404, -32600, "session_unknown")
        assert (await called(owner, handle)).status == 200
        assert [asked.header("mcp-session-id") for asked in upstream.requests] == [None, None]


async def test_message_without_a_session_is_refused(tmp_path: Path) -> None:
    async with two_servers(tmp_path) as (gate, upstream), agent_of(gate, "billing") as agent:
        assert error_of(await agent.ask(legacy("tools/call", CALL))) == (400, -32600, "session_missing")
        assert upstream.requests == []


async def test_two_handles_in_one_request_are_refused(tmp_path: Path) -> None:
    async with two_servers(tmp_path) as (gate, upstream), agent_of(gate, "billing") as agent:
        handle = await opened(agent)
        twice = with_headers(legacy("tools/call", CALL, session=handle), ("mcp-session-id", handle))
        answer = await agent.ask(twice)
        assert answer.status == 400
        assert len(upstream.requests) == 1


async def test_session_that_the_tool_server_ended_is_unknown(tmp_path: Path) -> None:
    async def ended(asked: Asked, reply: Reply) -> None:
        if asked.message["method"] == "initialize":
            result = {"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": {"name": "s", "version": "1"}}
            await reply.json(said(asked, result), headers=[("Mcp-Session-Id", UPSTREAM_ID)])
        else:
            await reply.empty(404)

    async with (
        scripted_server(ended) as upstream,
        running_gate(tmp_path, upstream.url) as gate,
        agent_of(gate, "billing") as owner,
    ):
        handle = await opened(owner)
        assert error_of(await called(owner, handle)) == (404, -32600, "session_unknown")
