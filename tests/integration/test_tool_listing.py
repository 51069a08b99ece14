"""The gate asks tool servers itself which tools they have, where it has to know, and every question is on record."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
import trio
from click.testing import CliRunner, Result

from callgate import tool_listing
from callgate.cli import main
from callgate.dev.agent import Allowed, CallTool, Denied, Listed, ListTools, StepResult, open_agent, run_steps
from callgate.errors import Reason
from callgate.screening.pins import read_lock
from callgate.wire.json_strict import JsonValue
from support.gate import GATE, POLICY
from support.ledger_gate import LedgerGate, ledger_behind_gate
from support.on_record import OnRecord, on_record
from support.raw_agent import RawConnection, modern_call
from support.upstream import RESULTS, Asked, Reply, Script, answer_with, said

REQUIRED = POLICY + "screening:\n  - server: ledger\n    schemas: required\n"
GET: dict[str, JsonValue] = {
    "name": "get_invoice",
    "inputSchema": {"type": "object", "properties": {"number": {"type": "string"}}, "required": ["number"]},
}
CALL = modern_call("get_invoice", {"number": "INV-1"})


# mcp 2.3 leaves the response's generators to the garbage collector when a stream has been answered.
pytestmark = pytest.mark.filterwarnings("ignore:Async generator 'http:ResourceWarning")


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_SDK_DISABLED"):
        monkeypatch.delenv(name, raising=False)


def page(asked: Asked, *tools: JsonValue, cursor: str | None = None) -> dict[str, object]:
    more = {} if cursor is None else {"nextCursor": cursor}
    return said(asked, {**RESULTS["tools/list"], "tools": list(tools), **more})


def listing(*tools: JsonValue) -> Script:
    """A server that lists these, in pages of one."""

    async def answer(asked: Asked, reply: Reply) -> None:
        if asked.message.get("method") != "tools/list":
            await answer_with()(asked, reply)
            return
        at = int(asked.message["params"].get("cursor", "0"))
        await reply.json(page(asked, tools[at], cursor=str(at + 1) if at + 1 < len(tools) else None))

    return answer


def legacy(*tools: JsonValue) -> Script:
    """A server that takes no message without a session, and speaks the older revision alone."""

    async def answer(asked: Asked, reply: Reply) -> None:
        method = asked.message.get("method")
        if method == "initialize":
            begun = {
                "protocolVersion": "2025-11-25",
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "l", "version": "1"},
            }
            await reply.events(said(asked, begun), headers=[("Mcp-Session-Id", "s-1")])
        elif asked.header("mcp-session-id") != "s-1" and method != "tools/call":
            error = {"code": -32600, "message": "Bad Request: Missing session ID"}
            await reply.json({"jsonrpc": "2.0", "id": "server-error", "error": error}, 400)
        elif method == "notifications/initialized":
            await reply.empty(202)
        elif method == "tools/list":
            await reply.events(said(asked, {"tools": list(tools)}))
        else:
            await answer_with()(asked, reply)

    return answer


def methods(at: OnRecord) -> list[str]:
    return [asked.message["method"] for asked in at.upstream.requests]


async def ask(agent: RawConnection, request: bytes = CALL) -> dict[str, Any]:
    return (await agent.ask(request)).message


async def test_asks_once_and_holds_calls_against_what_it_was_told(tmp_path: Path) -> None:
    async with (
        on_record(tmp_path, listing({"name": "other", "inputSchema": {"type": "object"}}, GET), policy=REQUIRED) as at,
        at.agent() as agent,
    ):
        good = await ask(agent)
        bad = await ask(agent, modern_call("get_invoice", {"number": 7}))

    assert "result" in good
    assert "/number: must be a string" in json.dumps(bad)
    assert methods(at) == ["tools/list", "tools/list", "tools/call"]


async def test_speaks_the_older_revision_with_a_server_that_knows_no_other(tmp_path: Path) -> None:
    async with on_record(tmp_path, legacy(GET), policy=REQUIRED) as at, at.agent() as agent:
        assert "result" in await ask(agent)

    assert methods(at) == ["tools/list", "initialize", "notifications/initialized", "tools/list", "tools/call"]


async def test_each_question_is_on_record_as_the_gates_own(tmp_path: Path) -> None:
    async with on_record(tmp_path, listing(GET), policy=REQUIRED) as at, at.agent() as agent:
        await ask(agent)
        (own, own_outcome), (call, _) = sorted(await at.calls(2), key=lambda pair: pair[0]["method"], reverse=True)
        traces = await at.gate.traces_when(2)

    assert (own["caller"], own["method"], own["server"]) == (GATE, "tools/list", "ledger")
    assert [rule["rule"] for rule in own["rules"]] == ["own-listing"]
    assert own_outcome["status"] == "answered"
    assert own_outcome["answer"]["bytes"] > 0
    assert call["caller"] != GATE
    assert {trace.decision for trace in traces} == {"allow"}


async def test_the_token_of_a_question_is_the_gates_own_and_calls_no_tool(tmp_path: Path) -> None:
    async with on_record(tmp_path, listing(GET), policy=REQUIRED) as at, at.agent() as agent:
        await ask(agent)
        token = (at.upstream.requests[0].header("authorization") or "").removeprefix("Bearer ")

    claims = jwt.decode(token, options={"verify_signature": False})
    assert claims["sub"] == claims["act"]["sub"] == GATE
    assert claims["scope"] == "mcp:tools.list"
    assert claims["authorization_details"][0]["actions"] == ["tools/list"]


async def test_of_many_calls_at_once_one_asks(tmp_path: Path) -> None:
    async with on_record(tmp_path, listing(GET), policy=REQUIRED) as at:

        async def one_call() -> None:
            async with at.agent() as agent:
                assert "result" in await ask(agent)

        async with trio.open_nursery() as calls:
            for _ in range(8):
                calls.start_soon(one_call)

    assert methods(at).count("tools/list") == 1


async def test_a_server_that_says_nothing_is_given_up_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool_listing, "LISTING_S", 0.2)

    async def silent(_asked: Asked, _reply: Reply) -> None:
        await trio.sleep_forever()

    async with on_record(tmp_path, silent, policy=REQUIRED) as at, at.agent() as agent:
        assert (await agent.ask(CALL)).reason == Reason.DEFINITIONS_UNAVAILABLE
        ((own, outcome),) = await at.calls(1)

    assert own["caller"] == GATE
    assert (outcome["status"], outcome["reason"]) == ("failed", "upstream_timeout")


@pytest.mark.parametrize("status", [401, 403, 500, 302])
async def test_a_server_that_gives_no_list_gets_no_call(tmp_path: Path, status: int) -> None:
    async def none(_asked: Asked, reply: Reply) -> None:
        await reply.empty(status)

    async with on_record(tmp_path, none, policy=REQUIRED) as at, at.agent() as agent:
        first = await agent.ask(CALL)
        asked = len(at.upstream.requests)
        second = await agent.ask(CALL)

    assert first.reason == second.reason == Reason.DEFINITIONS_UNAVAILABLE
    # It is not asked by every call anew.
    assert len(at.upstream.requests) == asked
    assert "tools/call" not in methods(at)


async def test_a_list_without_an_end_is_no_list(tmp_path: Path) -> None:
    async def endless(asked: Asked, reply: Reply) -> None:
        at = int(asked.message["params"].get("cursor", "0"))
        await reply.json(page(asked, cursor=str(at + 1)))

    async with on_record(tmp_path, endless, policy=REQUIRED) as at, at.agent() as agent:
        assert (await agent.ask(CALL)).reason == Reason.DEFINITIONS_UNAVAILABLE

    assert len(at.upstream.requests) <= 100


async def test_a_tool_that_is_not_listed_is_not_called(tmp_path: Path) -> None:
    async with on_record(tmp_path, listing({"name": "other"}), policy=REQUIRED) as at, at.agent() as agent:
        assert (await agent.ask(CALL)).reason == Reason.SCHEMA_UNKNOWN


async def test_the_last_place_at_a_server_does_not_wait_for_itself(tmp_path: Path) -> None:
    server = {"max_concurrent": "1", "max_concurrent_per_workload": "1"}
    async with on_record(tmp_path, listing(GET), policy=REQUIRED, server=server) as at, at.agent() as agent:
        assert "result" in await ask(agent)


async def test_a_server_that_says_that_its_list_changed_is_asked_again(tmp_path: Path) -> None:
    changed = {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}

    async def answer(asked: Asked, reply: Reply) -> None:
        if asked.message["method"] == "tools/call":
            await reply.events(changed, said(asked, RESULTS["tools/call"]))
        else:
            await listing(GET)(asked, reply)

    async with on_record(tmp_path, answer, policy=REQUIRED) as at, at.agent() as agent:
        for _ in range(2):
            assert (await agent.ask(CALL)).status == 200

    # Before the answer passes: it may be the called tool that changed.
    assert methods(at) == ["tools/list", "tools/call", "tools/list", "tools/call", "tools/list"]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LedgerGate]:
    with ledger_behind_gate(tmp_path_factory.mktemp("unpinned")) as found:
        yield found


def pin(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["pin", "ledger", *arguments])


def through(running: LedgerGate, workload: str) -> tuple[str, ...]:
    base = running.url.removesuffix("/ledger/mcp")
    return ("--through", base, "--gate", GATE, "--workload-api", running.gate.api.endpoint(workload))


def test_pins_what_an_agent_is_shown_by_a_gate(
    running: LedgerGate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    result = pin(*through(running, "billing"))

    assert result.exit_code == 0, result.output
    lock = read_lock((tmp_path / "ledger.lock.json").read_bytes())
    assert set(lock.definitions) == {"list_invoices", "get_invoice", "refund"}
    assert pin("--diff", *through(running, "billing")).exit_code == 0


def test_says_so_where_a_gate_refuses_the_agent(
    running: LedgerGate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    result = pin(*through(running, "stranger"))

    assert result.exit_code == 2
    assert "gives no list of tools" in result.stderr


def test_says_so_where_a_server_asks_for_a_token(
    running: LedgerGate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    result = pin("--from", running.ledger.url)

    assert result.exit_code == 2
    assert "it asks for a token: --token FILE, or --through the gate" in result.stderr


def test_shows_the_server_the_token_that_it_is_given(
    running: LedgerGate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pin(*through(running, "billing"))
    (tmp_path / "token").write_text(running.tokens[-1] + "\n")

    assert pin("--diff", "--from", running.ledger.url, "--token", "token").exit_code == 0


def test_a_real_server_that_shows_its_list_by_scope_shows_all_of_it_to_the_gate(
    running: LedgerGate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pin(*through(running, "billing"))
    with ledger_behind_gate(tmp_path / "pinned", {"lock": str(tmp_path / "ledger.lock.json")}) as pinned:
        context = pinned.context("billing")
        ops = pinned.context("ops")

        async def call() -> list[StepResult]:
            async with open_agent(pinned.url, context) as agent:
                return await run_steps(agent, [ListTools(), CallTool("get_invoice", {"number": "INV-1001"})])

        async def call_what_nobody_approved() -> list[StepResult]:
            async with open_agent(pinned.url, ops) as agent:
                return await run_steps(agent, [CallTool("close_month", {"month": "2026-01"})])

        listed, allowed = trio.run(call)
        (refused,) = trio.run(call_what_nobody_approved)

    assert listed == Listed(("list_invoices", "get_invoice", "refund"))
    assert isinstance(allowed, Allowed)
    assert not allowed.tool_failed
    assert isinstance(refused, Denied)
    assert refused.reason == Reason.TOOL_DRIFT
