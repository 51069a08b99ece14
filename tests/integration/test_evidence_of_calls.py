"""A call that is let through has its intent on disk before the tool server hears of it, and the intent says all of it."""

import time
from datetime import datetime
from hashlib import sha256
from pathlib import Path

import jwt
import pytest
import rfc8785
import trio

from support.desk import users_of
from support.gate import POLICY, authority_of
from support.key_endpoint import KeyEndpoint
from support.on_record import Record, on_record, records_in
from support.pki import Issued, workload
from support.policies import digest_of
from support.raw_agent import RawAgent, modern, modern_call
from support.said_upstream import claims_of, span_id
from support.tls_agent import with_headers
from support.upstream import Asked, Reply, answer_with
from support.user_tokens import claims, jwks_of, user_key, user_token

AGENT = "spiffe://acme.test/ns/billing/sa/refund-agent"
# What RFC 8785 writes otherwise than `json.dumps`: the order of keys by UTF-16, numbers, and what is escaped.
ARGUMENTS = {"number": "INV-1", "amount": 12.50, "€": "\u2028", "\U0001f600": [1e21, -0.0, None, True], "a": {}}
CALLS_AT_ONCE = 20


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_SDK_DISABLED"):
        monkeypatch.delenv(name, raising=False)


def token_of(asked: Asked) -> str:
    return (asked.header("authorization") or "").removeprefix("Bearer ")


def unix_s(record: Record) -> float:
    return datetime.fromisoformat(record["time"]).timestamp()


async def test_an_intent_says_who_called_what_under_which_rules_with_which_token(tmp_path: Path) -> None:
    async with on_record(tmp_path) as at:
        leaf: Issued = authority_of(at.gate.api).issue(workload(AGENT, now=time.time()))
        began, mono = time.time(), time.monotonic()
        async with RawAgent(at.gate.addresses.agents.port, leaf.client_context(tmp_path)).connected() as agent:
            request = modern_call("get_invoice", ARGUMENTS, rpc_id="call-7")
            assert (await agent.ask(request)).status == 200
            address = f"127.0.0.1:{agent.port}"
        ((intent, _),) = await at.calls(1)
        ended, mono_ended = time.time(), time.monotonic()
        (asked,) = at.upstream.requests
        ((trace_id, server_span),) = (await at.spans(1)).items()

    claims_sent = claims_of(asked)
    assert (intent["caller"], intent["address"]) == (AGENT, address)
    assert intent["leaf"] == sha256(leaf.der).hexdigest()
    validity = leaf.certificate.not_valid_before_utc, leaf.certificate.not_valid_after_utc
    assert intent["svid"] == [int(moment.timestamp()) for moment in validity]
    assert (intent["server"], intent["method"], intent["tool"]) == ("ledger", "tools/call", "get_invoice")
    assert (intent["rpc"], intent["revision"]) == ("call-7", "2026-07-28")
    assert intent["size"] == len(request.partition(b"\r\n\r\n")[2])
    assert intent["args"] == sha256(rfc8785.dumps(ARGUMENTS)).hexdigest()  # type: ignore[arg-type]
    assert intent["request"] == {"sha256": sha256(asked.body).hexdigest(), "bytes": len(asked.body)}
    assert intent["policy"] == digest_of(POLICY)
    assert intent["reason"] == ""
    (rule,) = intent["rules"]
    assert (rule["rule"], rule["kind"], rule["matched"]) == ("billing-works-with-invoices", "grant", True)
    assert rule["why"]
    assert intent["token"] == {
        "jti": claims_sent["jti"],
        "sha256": sha256(token_of(asked).encode()).hexdigest(),
        "aud": claims_sent["aud"],
        "exp": claims_sent["exp"],
        "scope": claims_sent["scope"],
    }
    assert intent["decision"] == claims_sent["txn"] == server_span["callgate.decision.id"]
    assert intent["trace"] == trace_id == (asked.header("traceparent") or "").split("-")[1]
    assert began <= unix_s(intent) <= ended
    assert mono * 1e6 <= intent["mono_us"] <= mono_ended * 1e6
    assert server_span["callgate.audit.sequence"] == intent["seq"]
    assert intent["path"] == [
        f"{stage}=ok" for stage in ("accept", "authenticate", "read", "identify", "decide", "inspect", "mint")
    ]


async def test_an_intent_names_the_server_span_that_the_collector_has(tmp_path: Path) -> None:
    async with on_record(tmp_path) as at:
        async with at.agent() as agent:
            await agent.ask(modern_call("get_invoice"))
        ((intent, _),) = await at.calls(1)
        await at.spans(1)
        (asked,) = at.upstream.requests
    (server,) = [span for span in at.collector.spans if span.kind == "SERVER"]
    (client,) = [span for span in at.collector.spans if span.kind == "CLIENT"]
    assert int(intent["span"], 16) == server.span_id == client.parent_id
    assert span_id(asked) == client.span_id


async def test_an_intent_names_the_user_and_the_purpose_and_not_the_users_token(tmp_path: Path) -> None:
    now = int(time.time())
    async with KeyEndpoint.open(jwks_of(user_key("P-256"))) as users:
        who = {"iss": users.issuer, "sub": "alice", "exp": now + 300, "iat": now, "groups": ["clerks", "auditors"]}
        token = user_token(claims(**who))
        async with on_record(tmp_path, more=users_of(users)) as at:
            async with at.agent() as agent:
                params = {"name": "refund", "arguments": {}, "_meta": {"callgate/purpose": "month end"}}
                request = with_headers(modern("tools/call", params), ("Authorization", f"Bearer {token}"))
                assert (await agent.ask(request)).status == 200
            ((intent, _),) = await at.calls(1)
    assert intent["user"] == {"issuer": users.issuer, "subject": "alice", "groups": ["clerks", "auditors"]}
    assert intent["purpose"] == "month end"
    assert not any(token.encode() in path.read_bytes() for path in at.folder.rglob("*") if path.is_file())


async def test_the_intent_is_on_disk_when_the_tool_server_hears_of_the_call_and_no_outcome_is(tmp_path: Path) -> None:
    """Also where many calls share one wait for the disk."""
    seen: dict[str, tuple[bool, bool]] = {}
    folder: list[Path] = []

    async def look(asked: Asked, reply: Reply) -> None:
        jti = claims_of(asked)["jti"]
        records = records_in(folder[0])
        mine = [record["seq"] for record in records if record["kind"] == "intent" and record["token"]["jti"] == jti]
        ended = [record for record in records if record["kind"] == "outcome" and record["intent"] in mine]
        seen[jti] = (len(mine) == 1, ended == [])
        await answer_with()(asked, reply)

    async with on_record(tmp_path, look) as at:
        folder.append(at.folder)

        async def call() -> None:
            async with at.agent() as agent:
                assert (await agent.ask(modern_call("get_invoice"))).status == 200

        async with trio.open_nursery() as nursery:
            for _ in range(CALLS_AT_ONCE):
                nursery.start_soon(call)
        calls = await at.calls(CALLS_AT_ONCE)
    assert seen == {intent["token"]["jti"]: (True, True) for intent, _ in calls}
    assert len(seen) == CALLS_AT_ONCE


async def test_numbers_follow_each_other_and_the_chain_goes_through_every_kind_of_record(tmp_path: Path) -> None:
    async with on_record(tmp_path) as at:
        async with at.agent() as agent:
            for tool in ("get_invoice", "wipe_ledger", "refund"):
                await agent.ask(modern_call(tool))
        await at.calls(2)
    lines = b"".join(path.read_bytes() for path in sorted((at.folder / "log").iterdir())).splitlines()
    records = records_in(at.folder)
    assert [record["seq"] for record in records] == list(range(len(records)))
    leaves = ["0" * 64, *(sha256(b"\0" + line).hexdigest() for line in lines)]
    assert [record["prev"] for record in records] == leaves[:-1]
    kinds = [record["kind"] for record in records]
    assert kinds[:3] == ["segment", "start", "policy"]
    assert sorted(kinds[3:-1]) == ["intent", "intent", "outcome", "outcome", "refusal"]
    assert kinds[-1] == "stop"
    clocks = [(record["time"], record["mono_us"]) for record in records]
    assert clocks == sorted(clocks)


async def test_the_record_that_begins_says_which_gate_and_whose_key(tmp_path: Path) -> None:
    async with on_record(tmp_path) as at:
        pass
    segment, start = records_in(at.folder)[:2]
    assert (segment["origin"], segment["segment"], segment["open"]) == ("gate.acme.test/audit", 0, [])
    assert start["issuer"] == "https://gate.acme.test"
    assert start["key"] == (at.folder / "key.pub").read_text().strip()
    assert start["policy"] == digest_of(POLICY)
    assert start["version"]


async def test_what_the_log_says_of_a_token_is_what_any_verifier_reads_in_it(tmp_path: Path) -> None:
    """The digest of the arguments, too, is the one that the token is bound to."""
    async with on_record(tmp_path) as at:
        async with at.agent() as agent:
            await agent.ask(modern_call("refund", ARGUMENTS))
        ((intent, _),) = await at.calls(1)
        (asked,) = at.upstream.requests
        read = jwt.decode(token_of(asked), options={"verify_signature": False})
    (details,) = read["authorization_details"]
    assert jwt.utils.base64url_decode(details["args_s256"]).hex() == intent["args"]
    assert read["sub"] == intent["caller"]
