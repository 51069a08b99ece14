"""What an operator's collector receives of a gate's calls, over OTLP as `callgate serve` sends it."""

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio

from callgate.telemetry.export import Telemetry
from callgate.telemetry.otlp import Service
from support.collector import BlackHole, Collector, DeadPort, ReceivedSpan
from support.gate import POLICY, Gate, authority_of, context_of, running_gate
from support.pki import anonymous_client_context, workload
from support.raw_agent import RawAgent, RawConnection, modern, modern_call, request, transport_headers
from support.tls_agent import refused_by
from support.upstream import Asked, Reply, Script, ScriptedServer, said, scripted_server

SENDER = Service("callgate", "0.1.0", "instance-1")
SHUTDOWN_LIMIT_S = 2.0
CALL = "tools/call get_invoice"
PASSED = ("accept=ok", "authenticate=ok", "read=ok", "identify=ok")
# W3C Trace Context, section 3.2.3: the example.
TRACE_ID, PARENT_ID = 0x4BF92F3577B34DA6A3CE929D0E0E4736, 0x00F067AA0BA902B7
TRACEPARENT = f"00-{TRACE_ID:032x}-{PARENT_ID:016x}-01"


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_SDK_DISABLED"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@dataclass(frozen=True, slots=True)
class Watched:
    """A gate that sends its traces to a collector."""

    gate: Gate
    upstream: ScriptedServer
    collector: Collector
    telemetry: Telemetry

    async def agent(self, name: str = "billing") -> RawAgent:
        return RawAgent(self.gate.addresses.agents.port, await context_of(self.gate.api, name))

    async def spans(self, traces: int) -> Sequence[Sequence[ReceivedSpan]]:
        """What the collector received, once there were that many traces: the spans of each, the SERVER span first."""
        await self.gate.traces_when(traces)
        assert await trio.to_thread.run_sync(self.telemetry.flush, 10.0)
        found: dict[int, list[ReceivedSpan]] = {}
        for span in self.collector.spans:
            found.setdefault(span.trace_id, []).append(span)
        assert len(found) == traces
        return [sorted(spans, key=lambda span: span.kind != "SERVER") for spans in found.values()]


@asynccontextmanager
async def watched(directory: Path, script: Script | None = None, policy: str = POLICY) -> AsyncIterator[Watched]:
    with Collector() as collector:
        telemetry = Telemetry.from_settings(collector.url, SENDER, with_metrics=False)
        async with (
            scripted_server(script) as upstream,
            running_gate(directory, upstream.url, policy=policy, record=telemetry.record) as gate,
        ):
            yield Watched(gate, upstream, collector, telemetry)
        await trio.to_thread.run_sync(telemetry.close)


def traced_call(traceparent: str) -> bytes:
    meta = {"traceparent": traceparent}
    return modern("tools/call", {"name": "get_invoice", "arguments": {}, "_meta": meta})


def child(spans: Sequence[ReceivedSpan], name: str, kind: str) -> ReceivedSpan:
    (found,) = [span for span in spans if (span.name, span.kind) == (name, kind)]
    return found


async def test_an_allowed_call_is_one_trace_from_server_through_decision_and_token_to_client(tmp_path: Path) -> None:
    async with watched(tmp_path) as at:
        async with (await at.agent()).connected() as agent:
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
        "callgate.decision.path": (*PASSED, "decide=ok", "mint=ok", "forward=ok", "respond=ok"),
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


def authorize(spans: Sequence[ReceivedSpan]) -> ReceivedSpan:
    return child(spans, "authorize", "INTERNAL")


async def test_the_tool_server_is_told_of_the_client_span_in_body_and_header(tmp_path: Path) -> None:
    async with watched(tmp_path) as at:
        async with (await at.agent()).connected() as agent:
            await agent.ask(modern_call("get_invoice"))
        (spans,) = await at.spans(1)
        (asked,) = at.upstream.requests
    client = child(spans, CALL, "CLIENT")
    expected = f"00-{client.trace_id:032x}-{client.span_id:016x}-01"
    assert asked.message["params"]["_meta"]["traceparent"] == expected
    assert asked.header("traceparent") == expected


async def test_continues_the_trace_of_an_agent_of_its_own_trust_domain(tmp_path: Path) -> None:
    async with watched(tmp_path) as at:
        async with (await at.agent()).connected() as agent:
            await agent.ask(traced_call(TRACEPARENT))
        (spans,) = await at.spans(1)
        (asked,) = at.upstream.requests
    assert {span.trace_id for span in spans} == {TRACE_ID}
    assert (spans[0].kind, spans[0].parent_id, spans[0].links) == ("SERVER", PARENT_ID, ())
    assert asked.message["params"]["_meta"]["traceparent"].startswith(f"00-{TRACE_ID:032x}-")


async def test_only_links_to_the_trace_of_an_agent_of_another_trust_domain(tmp_path: Path) -> None:
    async with watched(tmp_path) as at:
        async with (await at.agent("partner")).connected() as agent:
            assert (await agent.ask(traced_call(TRACEPARENT))).status == 200
        (spans,) = await at.spans(1)
        (asked,) = at.upstream.requests
    server = spans[0]
    assert server.trace_id != TRACE_ID
    assert (server.kind, server.parent_id, server.links) == ("SERVER", 0, ((TRACE_ID, PARENT_ID),))
    assert f"{TRACE_ID:032x}".encode() not in asked.raw


# Refusals, one for each stage.  Each leaves one trace, which ends where the request ended.


async def assert_refused(at: Watched, name: str, path: tuple[str, ...], **attributes: object) -> Sequence[ReceivedSpan]:
    """One trace, whose SERVER span is an error and says why."""
    (spans,) = await at.spans(1)
    server = spans[0]
    assert (server.name, server.kind, server.is_error) == (name, "SERVER", True)
    assert server.attributes["callgate.decision.path"] == path
    found = {key: server.attributes.get(key.replace("__", ".")) for key in attributes}
    assert found == attributes
    return spans


async def told(connection: RawConnection, content: bytes) -> tuple[int, str]:
    answer = await connection.ask(content)
    return answer.status, answer.reason


async def test_a_handshake_without_a_certificate_is_a_trace(tmp_path: Path) -> None:
    async with watched(tmp_path) as at:
        assert await refused_by(at.gate, anonymous_client_context()) == "certificate_required"
        await assert_refused(
            at, "tls handshake", ("accept=refused:tls_no_certificate",), error__type="tls_no_certificate"
        )


async def test_a_leaf_of_another_trust_domains_authority_is_a_trace(tmp_path: Path) -> None:
    async with watched(tmp_path) as at:
        partner = authority_of(at.gate.api, "partner.test")
        leaf = partner.issue(workload("spiffe://acme.test/ns/billing/sa/refund-agent", now=time.time()))
        async with RawAgent(at.gate.addresses.agents.port, leaf.client_context(tmp_path)).connected() as agent:
            assert await told(agent, modern_call("get_invoice")) == (403, "svid_untrusted")
        path = ("accept=ok", "authenticate=refused:svid_untrusted", "respond=ok")
        await assert_refused(at, "POST /{server}/mcp", path, error__type="-31401", http__response__status_code=403)


@pytest.mark.parametrize(
    ("content", "status", "reason", "name"),
    [
        (b"BREW /ledger/mcp HTCPCP/1.0\r\n\r\n", 400, "http_malformed", "HTTP"),
        (request(b'{"jsonrpc":', transport_headers()), 400, "json_malformed", "POST /{server}/mcp"),
    ],
)
async def test_a_request_that_cannot_be_read_is_a_trace(
    tmp_path: Path, content: bytes, status: int, reason: str, name: str
) -> None:
    async with watched(tmp_path) as at:
        async with (await at.agent()).connected() as agent:
            assert await told(agent, content) == (status, reason)
        path = (*PASSED[:2], f"read=refused:{reason}", "respond=ok")
        await assert_refused(at, name, path, http__response__status_code=status)


async def test_a_server_that_nobody_knows_is_a_trace(tmp_path: Path) -> None:
    async with watched(tmp_path) as at:
        async with (await at.agent()).connected() as agent:
            assert await told(agent, modern_call("get_invoice", target="/nowhere/mcp")) == (404, "server_unknown")
        path = (*PASSED[:3], "identify=refused:server_unknown", "respond=ok")
        await assert_refused(at, CALL, path, error__type="-32600", http__response__status_code=404)


async def test_a_denial_is_a_trace_that_says_which_rules_were_looked_at(tmp_path: Path) -> None:
    async with watched(tmp_path) as at:
        async with (await at.agent("ops")).connected() as agent:
            assert await told(agent, modern_call("refund")) == (200, "no_grant")
        path = (*PASSED, "decide=refused:no_grant", "respond=ok")
        spans = await assert_refused(
            at, "tools/call refund", path, error__type="-31403", callgate__reason="no_grant", callgate__decision="deny"
        )
        assert at.upstream.connections == 0
    assert {(span.name, span.kind) for span in spans} == {("tools/call refund", "SERVER"), ("authorize", "INTERNAL")}
    assert spans[0].status == "Denied by policy"
    rules = [event.attributes for event in authorize(spans).events]
    assert all(rule["callgate.rule.why"] for rule in rules)
    looked_at = [(rule["callgate.rule.id"], rule["callgate.rule.matched"]) for rule in rules]
    granting = ("billing-works-with-invoices", "ops-closes-months", "partner-reads")
    assert set(looked_at[:-1]) == {(rule, False) for rule in (*granting, "nobody-wipes-the-ledger")}
    # It is default deny that decides in the end, and that is said in words.
    assert looked_at[-1] == ("default-deny", True)


async def test_a_call_that_no_token_can_be_made_for_is_a_trace(tmp_path: Path) -> None:
    # Three grants of 32 scopes with 128 characters each: more than any tool server takes as a header.
    grants = "".join(
        f"""
  - id: many-{grant}
    workloads: [spiffe://acme.test/ns/billing/**]
    server: ledger
    tools: [get_invoice]
    scopes: [{", ".join(f"s{grant}{number}".ljust(128, "x") for number in range(32))}]"""
        for grant in range(3)
    )
    policy = f"version: 1\ntrust_domains: [acme.test]\ngrants:{grants}\n"
    async with watched(tmp_path, policy=policy) as at:
        async with (await at.agent()).connected() as agent:
            assert await told(agent, modern_call("get_invoice")) == (503, "mint_failed")
        path = (*PASSED, "decide=ok", "mint=refused:mint_failed", "respond=ok")
        spans = await assert_refused(at, CALL, path, error__type="-31503", http__response__status_code=503)
        assert at.upstream.connections == 0
    assert child(spans, "mint", "INTERNAL").is_error


async def test_a_tool_server_that_hangs_up_is_a_trace_whose_client_span_is_an_error(tmp_path: Path) -> None:
    async def hang_up(_asked: Asked, reply: Reply) -> None:
        await reply.close()

    async with watched(tmp_path, hang_up) as at:
        async with (await at.agent()).connected() as agent:
            assert await told(agent, modern_call("get_invoice")) == (200, "upstream_closed")
        path = (*PASSED, "decide=ok", "mint=ok", "forward=failed:upstream_closed", "respond=ok")
        spans = await assert_refused(at, CALL, path, error__type="-31502", callgate__decision="allow")
    client = child(spans, CALL, "CLIENT")
    assert (client.is_error, client.attributes["error.type"]) == (True, "upstream_closed")


async def test_an_agent_that_goes_away_is_a_trace(tmp_path: Path) -> None:
    asked_for = trio.Event()

    async def never(_asked: Asked, _reply: Reply) -> None:
        asked_for.set()
        await trio.sleep_forever()

    async with watched(tmp_path, never) as at:
        async with (await at.agent()).connected() as agent:
            await agent.say(modern_call("get_invoice"))
            await asked_for.wait()
        path = (*PASSED, "decide=ok", "mint=ok", "forward=failed:client_gone", "respond=failed:client_gone")
        await assert_refused(at, CALL, path, error__type="client_gone")


async def test_a_tools_own_error_is_the_calls_error_and_no_refusal(tmp_path: Path) -> None:
    async def fail(asked: Asked, reply: Reply) -> None:
        await reply.json(said(asked, {"content": [], "isError": True, "resultType": "complete"}))

    async with watched(tmp_path, fail) as at:
        async with (await at.agent()).connected() as agent:
            assert (await agent.ask(modern_call("get_invoice"))).status == 200
        path = (*PASSED, "decide=ok", "mint=ok", "forward=ok", "respond=ok")
        spans = await assert_refused(at, CALL, path, error__type="tool_error", callgate__decision="allow")
    assert "callgate.reason" not in spans[0].attributes
    assert child(spans, CALL, "CLIENT").attributes["error.type"] == "tool_error"


async def test_each_request_of_a_connection_is_a_trace_of_its_own(tmp_path: Path) -> None:
    async with watched(tmp_path) as at:
        async with (await at.agent()).connected() as agent:
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
