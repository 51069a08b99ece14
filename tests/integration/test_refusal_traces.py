"""A refusal at any stage is one trace in the operator's collector, which ends where the request ended and says why."""

import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import trio

from support.collector import ReceivedSpan
from support.gate import authority_of
from support.pki import anonymous_client_context, workload
from support.raw_agent import RawAgent, RawConnection, modern_call, request, transport_headers
from support.tls_agent import refused_by
from support.upstream import Asked, Reply, said
from support.watched import CALL, PASSED, Watched, authorize, child, watched


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_SDK_DISABLED"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


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
        async with at.agent() as agent:
            assert await told(agent, content) == (status, reason)
        path = (*PASSED[:2], f"read=refused:{reason}", "respond=ok")
        await assert_refused(at, name, path, http__response__status_code=status)


async def test_a_server_that_nobody_knows_is_a_trace(tmp_path: Path) -> None:
    async with watched(tmp_path) as at:
        async with at.agent() as agent:
            assert await told(agent, modern_call("get_invoice", target="/nowhere/mcp")) == (200, "no_grant")
        path = (*PASSED[:3], "identify=refused:server_unknown", "respond=ok")
        await assert_refused(at, CALL, path, error__type="-31403", http__response__status_code=200)


async def test_a_denial_is_a_trace_that_says_which_rules_were_looked_at(tmp_path: Path) -> None:
    async with watched(tmp_path) as at:
        async with at.agent("ops") as agent:
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
        async with at.agent() as agent:
            assert await told(agent, modern_call("get_invoice")) == (503, "mint_failed")
        path = (*PASSED, "decide=ok", "inspect=ok", "mint=refused:mint_failed", "respond=ok")
        spans = await assert_refused(at, CALL, path, error__type="-31503", http__response__status_code=503)
        assert at.upstream.connections == 0
    assert child(spans, "mint", "INTERNAL").is_error


async def test_a_tool_server_that_hangs_up_is_a_trace_whose_client_span_is_an_error(tmp_path: Path) -> None:
    async def hang_up(_asked: Asked, reply: Reply) -> None:
        await reply.close()

    async with watched(tmp_path, hang_up) as at:
        async with at.agent() as agent:
            assert await told(agent, modern_call("get_invoice")) == (200, "upstream_closed")
        path = (
            *PASSED,
            "decide=ok",
            "inspect=ok",
            "mint=ok",
            "record=ok",
            "forward=failed:upstream_closed",
            "respond=ok",
        )
        spans = await assert_refused(at, CALL, path, error__type="-31502", callgate__decision="allow")
    client = child(spans, CALL, "CLIENT")
    assert (client.is_error, client.attributes["error.type"]) == (True, "upstream_closed")


async def test_an_agent_that_goes_away_is_a_trace(tmp_path: Path) -> None:
    asked_for = trio.Event()

    async def never(_asked: Asked, _reply: Reply) -> None:
        asked_for.set()
        await trio.sleep_forever()

    async with watched(tmp_path, never) as at:
        async with at.agent() as agent:
            await agent.say(modern_call("get_invoice"))
            await asked_for.wait()
        path = (
            *PASSED,
            "decide=ok",
            "inspect=ok",
            "mint=ok",
            "record=ok",
            "forward=failed:client_gone",
            "respond=failed:client_gone",
        )
        await assert_refused(at, CALL, path, error__type="client_gone")


async def test_a_tools_own_error_is_the_calls_error_and_no_refusal(tmp_path: Path) -> None:
    async def fail(asked: Asked, reply: Reply) -> None:
        await reply.json(said(asked, {"content": [], "isError": True, "resultType": "complete"}))

    async with watched(tmp_path, fail) as at:
        async with at.agent() as agent:
            assert (await agent.ask(modern_call("get_invoice"))).status == 200
        path = (*PASSED, "decide=ok", "inspect=ok", "mint=ok", "record=ok", "forward=ok", "screen=ok", "respond=ok")
        spans = await assert_refused(at, CALL, path, error__type="tool_error", callgate__decision="allow")
    assert "callgate.reason" not in spans[0].attributes
    assert child(spans, CALL, "CLIENT").attributes["error.type"] == "tool_error"
