"""What an operator's collector receives of a gate's calls, over OTLP as `callgate serve` sends it."""

import time
from pathlib import Path

import pytest
import trio

from callgate.telemetry.export import Telemetry
from support.collector import BlackHole, DeadPort
from support.gate import context_of, running_gate
from support.raw_agent import RawAgent, modern, modern_call
from support.upstream import scripted_server
from support.watched import CALL, PASSED, SENDER, authorize, child, watched

SHUTDOWN_LIMIT_S = 2.0
# W3C Trace Context, section 3.2.3: the example.
TRACE_ID, PARENT_ID = 0x4BF92F3577B34DA6A3CE929D0E0E4736, 0x00F067AA0BA902B7
TRACEPARENT = f"00-{TRACE_ID:032x}-{PARENT_ID:016x}-01"


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_SDK_DISABLED"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def traced_call(traceparent: str) -> bytes:
    meta = {"traceparent": traceparent}
    return modern("tools/call", {"name": "get_invoice", "arguments": {}, "_meta": meta})


async def test_an_allowed_call_is_one_trace_from_server_through_decision_and_token_to_client(tmp_path: Path) -> None:
    async with watched(tmp_path) as at:
        async with at.agent() as agent:
            assert (await agent.ask(modern_call("get_invoice", {"number": "canary-7f3a"}))).status == 200
        (spans,) = await at.spans(1)
        raw = at.collector.raw
        (asked,) = at.upstream.requests
    server = spans[0]
    assert sorted((span.name, span.kind) for span in spans) == [
        ("authorize", "INTERNAL"),
        ("mint", "INTERNAL"),
        (CALL, "CLIENT"),
        (CALL, "SERVER"),
    ]
    assert (server.kind, server.parent_id, server.is_error) == ("SERVER", 0, False)
    assert {span.parent_id for span in spans[1:]} == {server.span_id}
    expected = {
        "mcp.method.name": "tools/call",
        "gen_ai.tool.name": "get_invoice",
        "gen_ai.operation.name": "execute_tool",
        "jsonrpc.request.id": "1",
        "mcp.protocol.version": "2026-07-28",
        "network.transport": "tcp",
        "http.response.status_code": 200,
        "tls.protocol.version": "1.3",
        "callgate.workload.spiffe_id": "spiffe://acme.test/ns/billing/sa/refund-agent",
        "callgate.decision": "allow",
        "callgate.decision.path": (
            *PASSED,
            "decide=ok",
            "inspect=ok",
            "mint=ok",
            "record=ok",
            "forward=ok",
            "screen=ok",
            "respond=ok",
        ),
    }
    assert expected.items() <= server.attributes.items()
    assert "error.type" not in server.attributes
    assert server.resource["service.name"] == "callgate"
    rules = {(e.attributes["callgate.rule.id"], e.attributes["callgate.rule.matched"]) for e in authorize(spans).events}
    assert ("billing-works-with-invoices", True) in rules
    assert child(spans, "mint", "INTERNAL").attributes["callgate.token.aud"] == at.upstream.url
    assert b"canary" not in raw
    assert (asked.header("authorization") or "").removeprefix("Bearer ").encode() not in raw
    assert b"eyJ" not in raw


async def test_the_tool_server_is_told_of_the_client_span_in_body_and_header(tmp_path: Path) -> None:
    async with watched(tmp_path) as at:
        async with at.agent() as agent:
            await agent.ask(modern_call("get_invoice"))
        (spans,) = await at.spans(1)
        (asked,) = at.upstream.requests
    client = child(spans, CALL, "CLIENT")
    expected = f"00-{client.trace_id:032x}-{client.span_id:016x}-01"
    assert asked.message["params"]["_meta"]["traceparent"] == expected
    assert asked.header("traceparent") == expected


async def test_continues_the_trace_of_an_agent_of_its_own_trust_domain(tmp_path: Path) -> None:
    async with watched(tmp_path) as at:
        async with at.agent() as agent:
            await agent.ask(traced_call(TRACEPARENT))
        (spans,) = await at.spans(1)
        (asked,) = at.upstream.requests
    assert {span.trace_id for span in spans} == {TRACE_ID}
    assert (spans[0].kind, spans[0].parent_id, spans[0].links) == ("SERVER", PARENT_ID, ())
    assert asked.message["params"]["_meta"]["traceparent"].startswith(f"00-{TRACE_ID:032x}-")


async def test_only_links_to_the_trace_of_an_agent_of_another_trust_domain(tmp_path: Path) -> None:
    async with watched(tmp_path) as at:
        async with at.agent("partner") as agent:
            assert (await agent.ask(traced_call(TRACEPARENT))).status == 200
        (spans,) = await at.spans(1)
        (asked,) = at.upstream.requests
    server = spans[0]
    assert server.trace_id != TRACE_ID
    assert (server.kind, server.parent_id, server.links) == ("SERVER", 0, ((TRACE_ID, PARENT_ID),))
    assert f"{TRACE_ID:032x}".encode() not in asked.raw


async def test_each_request_of_a_connection_is_a_trace_of_its_own(tmp_path: Path) -> None:
    async with watched(tmp_path) as at:
        async with at.agent() as agent:
            for tool in ("get_invoice", "wipe_ledger", "get_invoice"):
                await agent.ask(modern_call(tool))
        spans = [each[0] for each in await at.spans(3)]
    assert [span.attributes["callgate.decision"] for span in spans] == ["allow", "deny", "allow"]
    assert len({span.attributes["client.port"] for span in spans}) == 1


@pytest.mark.parametrize("collector", [DeadPort, BlackHole])
async def test_a_collector_that_is_dead_or_silent_holds_up_no_call_and_little_of_the_end(
    tmp_path: Path, collector: type[DeadPort | BlackHole]
) -> None:
    with collector() as dead:
        telemetry = Telemetry.from_settings(dead.url, SENDER, with_metrics=False)
        async with (
            scripted_server() as upstream,
            running_gate(tmp_path, upstream.url, record=telemetry.record) as gate,
        ):
            agent = RawAgent(gate.addresses.agents.port, await context_of(gate.api, "billing"))
            async with agent.connected() as connection:
                for number in range(200):
                    assert (await connection.ask(modern_call("get_invoice", rpc_id=number))).status == 200
            assert len(gate.traces) == 200
        started = time.monotonic()
        await trio.to_thread.run_sync(telemetry.close)
        assert time.monotonic() - started <= SHUTDOWN_LIMIT_S
        assert telemetry.drops.total == 200
