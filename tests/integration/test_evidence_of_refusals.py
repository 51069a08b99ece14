"""Whoever is refused has a record, wherever it happened: with the reason that the agent heard and the trace tells."""

import ssl
import time
from pathlib import Path

import pytest

from support.desk import users_of
from support.gate import authority_of
from support.key_endpoint import KeyEndpoint
from support.on_record import OnRecord, Record, callgate, on_record
from support.pki import LEAF_FAULTS, Profile, anonymous_client_context, workload
from support.raw_agent import Answer, RawAgent, legacy, modern, modern_call, open_session, request, transport_headers
from support.tls_agent import dialled, refused_by, with_headers
from support.user_tokens import base64url, claims, jwks_of, user_key, user_token

AGENT = "spiffe://acme.test/ns/billing/sa/refund-agent"


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_SDK_DISABLED"):
        monkeypatch.delenv(name, raising=False)


def agent_leaf() -> Profile:
    return workload(AGENT, now=time.time())


async def the_refusal(at: OnRecord) -> Record:
    """The one record of the one request, which the collector's one trace agrees with; nothing was forwarded."""
    (record,) = await at.requests(1)
    ((trace_id, server),) = (await at.spans(1)).items()
    assert record["kind"] == "refusal"
    assert (record["trace"], record["decision"]) == (trace_id, server["callgate.decision.id"])
    assert server["callgate.reason"] == record["reason"]
    assert list(server["callgate.decision.path"])[: len(record["path"])] == record["path"]
    assert record["path"][-1] == f"{record['stage']}=refused:{record['reason']}"
    assert "token" not in record
    assert at.upstream.connections == 0
    return record


def assert_told(record: Record, answer: Answer) -> None:
    """The agent heard what is on record, and can name it."""
    data = answer.message["error"]["data"]
    assert (data["decision_id"], data["trace_id"]) == (record["decision"], record["trace"])
    assert record["answered"] == {"http": answer.status, "rpc": answer.code}


async def test_a_handshake_without_a_certificate_has_a_record(tmp_path: Path) -> None:
    async with on_record(tmp_path) as at:
        assert await refused_by(at.gate, anonymous_client_context()) == "certificate_required"
        record = await the_refusal(at)
    assert (record["stage"], record["reason"]) == ("accept", "tls_no_certificate")
    assert record["address"].startswith("127.0.0.1:")
    assert not {"caller", "leaf", "method", "session", "answered"} & record.keys()


async def test_a_handshake_with_an_expired_certificate_has_a_record(tmp_path: Path) -> None:
    async with on_record(tmp_path) as at:
        leaf = authority_of(at.gate.api).issue(LEAF_FAULTS["expired"](agent_leaf()))
        assert await refused_by(at.gate, leaf.client_context(tmp_path)) == "certificate_expired"
        record = await the_refusal(at)
    assert (record["stage"], record["reason"]) == ("accept", "tls_certificate_expired")


async def test_a_handshake_of_an_older_tls_has_a_record(tmp_path: Path) -> None:
    async with on_record(tmp_path) as at:
        context = authority_of(at.gate.api).issue(agent_leaf()).client_context(tmp_path)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        assert await refused_by(at.gate, context) == "protocol_version"
        record = await the_refusal(at)
    assert (record["stage"], record["reason"]) == ("accept", "tls_protocol_version")


async def test_a_certificate_that_is_no_svid_has_a_record_with_what_the_agent_heard(tmp_path: Path) -> None:
    async with on_record(tmp_path) as at:
        leaf = authority_of(at.gate.api).issue(LEAF_FAULTS["two_uris"](agent_leaf()))
        async with RawAgent(at.gate.addresses.agents.port, leaf.client_context(tmp_path)).connected() as agent:
            answer = await agent.ask(modern_call("get_invoice"))
        record = await the_refusal(at)
    assert (
        (record["stage"], record["reason"]) == ("authenticate", answer.reason) == ("authenticate", "svid_several_uris")
    )
    assert_told(record, answer)
    assert "caller" not in record


async def test_who_is_refused_and_never_asks_for_anything_has_a_record(tmp_path: Path) -> None:
    async with on_record(tmp_path) as at:
        leaf = authority_of(at.gate.api).issue(LEAF_FAULTS["two_uris"](agent_leaf()))
        async with dialled(at.gate, leaf.client_context(tmp_path)) as agent:
            await agent.stream.do_handshake()
        record = await the_refusal(at)
    assert (record["stage"], record["reason"]) == ("authenticate", "svid_several_uris")
    assert "answered" not in record


CALL = modern_call("get_invoice")
UNREADABLE = {
    "no HTTP": (b"BREW /ledger/mcp HTCPCP/1.0\r\n\r\n", "http_malformed"),
    "two lengths": (CALL.replace(b"Content-Length", b"Content-Length: 1\r\nContent-Length", 1), "http_framing"),
    "another host": (modern_call("get_invoice", host="elsewhere.test"), "http_host"),
    "a path where nothing is": (modern_call("get_invoice", target="/"), "http_not_found"),
    "a head over the limit": (with_headers(CALL, ("X-Long", "x" * 20_000)), "http_head_too_large"),
    "a body over the limit": (request(b" " * 5_000, transport_headers()), "http_body_too_large"),
    "a page of the Web": (with_headers(CALL, ("Origin", "https://evil.test")), "http_origin"),
    "no JSON": (request(b'{"jsonrpc":', transport_headers()), "json_malformed"),
    "a key twice": (request(b'{"jsonrpc":"2.0","jsonrpc":"2.0"}', transport_headers()), "json_duplicate_key"),
    "deep JSON": (request(b"[" * 200 + b"]" * 200, transport_headers()), "json_too_deep"),
    "a batch": (request(b"[]", transport_headers()), "rpc_batch"),
    "a method that is not served": (modern("no/such"), "method_not_served"),
    "a header that says otherwise": (CALL.replace(b"Mcp-Name: get_invoice", b"Mcp-Name: refund"), "header_mismatch"),
    "no revision": (request(b'{"jsonrpc":"2.0","id":1,"method":"ping"}', transport_headers()), "revision_unsupported"),
    "no session": (legacy("tools/list"), "session_missing"),
}


@pytest.mark.parametrize("what", UNREADABLE)
async def test_what_cannot_be_read_has_a_record_with_what_the_agent_heard(tmp_path: Path, what: str) -> None:
    content, reason = UNREADABLE[what]
    async with on_record(tmp_path, more="limits: {max_body_bytes: 4096}\n") as at:
        async with at.agent() as agent:
            answer = await agent.ask(content)
        record = await the_refusal(at)
    assert (record["stage"], record["reason"]) == ("read", answer.reason) == ("read", reason)
    assert_told(record, answer)
    assert record["caller"] == AGENT


POLICY_REFUSALS = {
    "an unknown server": (modern_call("get_invoice", target="/nowhere/mcp"), "identify", "server_unknown", "no_grant"),
    "a denial": (modern_call("wipe_ledger"), "decide", "denied", "denied"),
    "no grant": (modern_call("close_month"), "decide", "no_grant", "no_grant"),
}


@pytest.mark.parametrize("what", POLICY_REFUSALS)
async def test_what_policy_refuses_has_a_record_with_the_true_reason_also_where_the_agent_is_told_less(
    tmp_path: Path, what: str
) -> None:
    content, stage, reason, told = POLICY_REFUSALS[what]
    async with on_record(tmp_path) as at:
        async with at.agent() as agent:
            answer = await agent.ask(content)
        record = await the_refusal(at)
    assert (record["stage"], record["reason"], answer.reason) == (stage, reason, told)
    assert_told(record, answer)
    assert (record["caller"], record["method"]) == (AGENT, "tools/call")


async def test_a_call_over_the_rate_has_a_record(tmp_path: Path) -> None:
    async with on_record(tmp_path, server={"rate_per_workload": "{calls: 1, per: 1h}"}) as at:
        async with at.agent() as agent:
            first, second = await agent.ask(CALL), await agent.ask(CALL)
        intent, record = await at.requests(2)
        await at.calls(1)
    assert (first.status, second.reason) == (200, "rate_limited")
    assert (intent["kind"], record["kind"], record["reason"]) == ("intent", "refusal", "rate_limited")
    assert_told(record, second)
    # Policy let it through, and that stands there, too.
    assert [rule["rule"] for rule in record["rules"] if rule["matched"]] == ["billing-works-with-invoices"]


async def test_a_connection_beyond_a_workloads_share_has_a_record(tmp_path: Path) -> None:
    async with on_record(tmp_path, more="limits: {max_connections_per_workload: 1}\n") as at:
        async with at.agent(), at.agent() as second:
            answer = await second.ask(CALL)
        record = await the_refusal(at)
    assert (record["stage"], record["reason"]) == ("authenticate", answer.reason)
    assert answer.reason == "too_many_connections_of_workload"
    assert_told(record, answer)


def expired(issuer: str) -> str:
    now = int(time.time())
    return user_token(claims(iss=issuer, sub="alice", iat=now - 900, exp=now - 600))


def forged(issuer: str) -> str:
    head, _, signature = user_token(claims(iss=issuer)).split(".")
    return f"{head}.{base64url(b'{}')}.{signature}"


async def test_a_users_token_that_is_no_good_has_a_record_without_the_token(tmp_path: Path) -> None:
    async with KeyEndpoint.open(jwks_of(user_key("P-256"))) as users:
        token = expired(users.issuer)
        async with on_record(tmp_path, more=users_of(users)) as at:
            async with at.agent() as agent:
                answer = await agent.ask(with_headers(CALL, ("Authorization", f"Bearer {token}")))
            record = await the_refusal(at)
            ((_, server),) = (await at.spans(1)).items()
    assert (record["stage"], record["reason"], answer.reason) == (
        "identify",
        "user_token_expired",
        "user_token_expired",
    )
    assert_told(record, answer)
    assert "user" not in record
    assert server["callgate.audit.sequence"] == record["seq"]
    assert not any(token.encode() in path.read_bytes() for path in at.folder.rglob("*") if path.is_file())


async def test_a_notification_that_ends_at_the_gate_has_a_record_and_no_token(tmp_path: Path) -> None:
    async with on_record(tmp_path) as at:
        async with at.agent() as agent:
            handle = await open_session(agent)
            notification = legacy("notifications/cancelled", {"requestId": 7}, session=handle, rpc_id=None)
            assert (await agent.ask(notification)).status == 202
        begun, absorbed = await at.requests(2)
        ((_, outcome),) = await at.calls(1)
    assert (begun["kind"], absorbed["kind"]) == ("intent", "absorbed")
    assert (absorbed["caller"], absorbed["method"]) == (AGENT, "notifications/cancelled")
    assert absorbed["session"] == outcome["began"]
    assert not {"token", "request"} & absorbed.keys()
    assert [asked.message["method"] for asked in at.upstream.requests] == ["initialize"]


async def test_the_command_line_finds_a_refusal_by_what_the_agent_was_told(tmp_path: Path) -> None:
    async with on_record(tmp_path) as at:
        async with at.agent() as agent:
            data = (await agent.ask(modern_call("wipe_ledger"))).message["error"]["data"]
            await agent.ask(modern_call("close_month"))
        await at.requests(2)
        by_id = await at.callgate("log", "--id", data["decision_id"], "--format", "csv")
        by_trace = await at.callgate("log", "--trace-id", data["trace_id"], "--format", "csv")
        by_reason = await at.callgate("log", "--reason", "denied", "--decision", "deny", "--format", "csv")
    assert by_id.exit_code == 0
    assert by_id.stdout == by_trace.stdout == by_reason.stdout
    head, line = by_id.stdout.splitlines()
    found = dict(zip(head.split(","), line.split(","), strict=True))
    assert (found["decision"], found["tool"], found["reason"]) == (data["decision_id"], "wipe_ledger", "denied")
    assert (await callgate("log", "--log", str(at.folder), "--tool", "get_invoice")).stdout == ""
