"""The test that people put to gates: the same identity, in the same session, is denied one sensitive action and allowed
the low-risk one next to it, and the refusal is as well documented as the success.

An official MCP client over mutual TLS, a real FastMCP server behind the gate, and a collector that gets the traces.
"""

import re
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest

from support.collector import ReceivedSpan
from support.desk import Agent, Desk, Refused, Told, desk_behind_gate
from support.gate import GATE, WORKLOADS
from support.said_upstream import claims_of

MODERN, LEGACY = "2026-07-28", "legacy"
BILLING = WORKLOADS["billing"]
# Within a minute of anything, and after the ten minutes of the shut-out.
SOON_S, TEN_MINUTES_S = 70, 600
POLICY = """\
version: 1
trust_domains: [acme.test]
tools:
  - {server: ledger, tools: [read_web], tags: [reads_untrusted]}
grants:
  - id: billing-reads
    workloads: [spiffe://acme.test/ns/billing/sa/*]
    server: ledger
    tools: [get_invoice, read_web, wipe_ledger]
    scopes: [ledger.read]
  - id: small-refunds
    workloads: [spiffe://acme.test/ns/billing/sa/*]
    server: ledger
    tools: [refund]
    when: args.amount < 500
    scopes: ["ledger.account:{args.account}"]
  - id: big-refunds-for-approvers
    workloads: [spiffe://acme.test/ns/billing/sa/*]
    server: ledger
    tools: [refund]
    users: {groups: [approvers]}
    scopes: [ledger.refund.any]
  - id: some-mail
    workloads: [spiffe://acme.test/ns/billing/sa/*, spiffe://acme.test/ns/ops/**]
    server: ledger
    tools: [send_mail]
    limit: {calls: 2, per: 1m}
  - id: all-invoices-at-the-end-of-a-month
    workloads: [spiffe://acme.test/ns/billing/sa/*]
    server: ledger
    tools: [list_invoices]
    when: request.purpose == "month-end"
denials:
  - id: nobody-wipes-the-ledger
    server: ledger
    tools: [wipe_ledger]
  - id: no-mail-after-untrusted-reading
    server: ledger
    tools: [send_mail]
    when: history.used("reads_untrusted", duration("1h"))
  - id: three-denials-and-out
    server: ledger
    tools: [refund, send_mail]
    when: history.lockout(3, duration("1m"), duration("10m"))
"""
DIGEST = f"sha256:{sha256(POLICY.encode()).hexdigest()}"
PASSED = ("accept=ok", "authenticate=ok", "read=ok", "identify=ok")
ALLOWED_PATH = (*PASSED, "decide=ok", "inspect=ok", "mint=ok", "record=ok", "forward=ok", "screen=ok", "respond=ok")
BOTH_ERAS = pytest.mark.parametrize("mode", [LEGACY, MODERN])
INVOICE = Told("INV-1: open")
Spans = Sequence[ReceivedSpan]


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_SDK_DISABLED"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@asynccontextmanager
async def scene(folder: Path, mode: str, policy: str = POLICY, groups: str = "") -> AsyncIterator[tuple[Desk, Agent]]:
    """One agent in one session, for a user of these groups if there are any."""
    async with desk_behind_gate(folder, policy) as desk:
        user = desk.user("alice", groups) if groups else None
        async with desk.agent("billing", mode=mode, user=user) as agent:
            yield desk, agent
            assert len(set(agent.handles)) == (1 if mode == LEGACY else 0)


def said(spans: Spans) -> dict[str, object]:
    """All attributes of a trace."""
    return {name: value for span in spans for name, value in span.attributes.items()}


def rule(spans: Spans, name: str) -> tuple[object, str]:
    """Whether a rule applied, and why, as the span of the decision tells it."""
    (event,) = [e for s in spans if s.name == "authorize" for e in s.events if e.attributes["callgate.rule.id"] == name]
    return event.attributes["callgate.rule.matched"], str(event.attributes["callgate.rule.why"])


def is_told_of_an_allowed_call(spans: Spans) -> None:
    """All of the path, and four spans of one trace."""
    found = said(spans)
    assert found["callgate.decision.path"] == ALLOWED_PATH
    assert (found["callgate.decision"], found["callgate.policy.digest"]) == ("allow", DIGEST)
    assert found["callgate.workload.spiffe_id"] == BILLING
    assert [span.name for span in spans if span.kind == "INTERNAL"] == ["authorize", "mint"]
    assert len(spans) == 4


def is_told_of_a_refused_call(spans: Spans, refused: Refused) -> None:
    """The path up to the decision, by the same policy for the same workload; neither token nor way to the tool server."""
    found = said(spans)
    assert found["callgate.decision.path"] == (*PASSED, f"decide=refused:{refused.reason}", "respond=ok")
    assert (found["callgate.decision"], found["callgate.policy.digest"]) == ("deny", DIGEST)
    assert found["callgate.workload.spiffe_id"] == BILLING
    assert found["callgate.reason"] == refused.reason
    assert spans[0].attributes["error.type"] == str(refused.code)
    assert refused.data["decision_id"] == found["callgate.decision.id"]
    assert refused.data["trace_id"] == f"{spans[0].trace_id:032x}"
    assert [(span.name, span.kind) for span in spans[1:]] == [("authorize", "INTERNAL")]
    assert re.fullmatch("[0-9a-f]{32}", refused.data["trace_id"])


def is_denied(found: Told | Refused, reason: str) -> Refused:
    """A refusal by policy, and nothing more told than that."""
    assert isinstance(found, Refused), found
    assert (found.code, found.message, found.reason) == (-31403, "Denied by policy", reason)
    assert found.data.keys() == {"reason", "decision_id", "trace_id"}
    return found


@BOTH_ERAS
async def test_by_tool(tmp_path: Path, mode: str) -> None:
    async with scene(tmp_path, mode) as (desk, agent):
        before = await agent.call("get_invoice", number="INV-1")
        blocked = is_denied(await agent.call("wipe_ledger"), "denied")
        after = await agent.call("get_invoice", number="INV-1")
        allowed, refused, again = await desk.spans_of_calls(3)

        assert before == after == INVOICE
        assert desk.called == ["get_invoice", "get_invoice"]
        # One session of the tool server's, which has another name on the agent's side of the gate.
        theirs = {asked.header("mcp-session-id") for asked in desk.calls}
        assert len(theirs - {None}) == len(set(agent.handles))
        assert not theirs & set(agent.handles)
        for spans in (allowed, again):
            is_told_of_an_allowed_call(spans)
            assert rule(spans, "billing-reads")[0] is True
        is_told_of_a_refused_call(refused, blocked)
        assert rule(refused, "nobody-wipes-the-ledger") == (True, "tool matches wipe_ledger; any workload")
        assert rule(refused, "billing-reads")[0] is True


@BOTH_ERAS
async def test_by_argument(tmp_path: Path, mode: str) -> None:
    async with scene(tmp_path, mode) as (desk, agent):
        small = await agent.call("refund", number="INV-1", amount=499, account="customer-7")
        blocked = is_denied(await agent.call("refund", number="INV-1", amount=500, account="customer-7"), "no_grant")
        allowed, refused = await desk.spans_of_calls(2)

        assert small == Told("refunded 499 of INV-1 to customer-7")
        assert [asked.message["params"]["arguments"]["amount"] for asked in desk.calls] == [499]
        is_told_of_an_allowed_call(allowed)
        is_told_of_a_refused_call(refused, blocked)
        assert rule(allowed, "small-refunds")[1].endswith("; its condition holds")
        assert rule(refused, "small-refunds") == (False, "its condition does not hold")
        # The token is for that call: its scope is filled in from the arguments that were decided on.
        (claims,) = map(claims_of, desk.calls)
        assert set(claims["scope"].split()) == {"mcp:tools.call", "tool:refund", "ledger.account:customer-7"}
        assert (claims["sub"], claims["act"]) == (BILLING, {"sub": GATE})
        assert "sub_id" not in claims


@BOTH_ERAS
async def test_by_user(tmp_path: Path, mode: str) -> None:
    async with scene(tmp_path, mode, groups="clerks") as (desk, agent):
        low = await agent.call("get_invoice", number="INV-1")
        blocked = is_denied(await agent.call("refund", number="INV-1", amount=900), "no_grant")
        async with desk.agent("billing", mode=mode, user=desk.user("boss", "approvers")) as approver:
            high = await approver.call("refund", number="INV-1", amount=900)
        allowed, refused, _ = await desk.spans_of_calls(3)

        assert (low, high) == (INVOICE, Told("refunded 900 of INV-1 to customer"))
        assert desk.called == ["get_invoice", "refund"]
        is_told_of_an_allowed_call(allowed)
        is_told_of_a_refused_call(refused, blocked)
        for spans in (allowed, refused):
            told = said(spans)
            assert (told["callgate.user.subject"], told["callgate.user.issuer"]) == ("alice", desk.users.issuer)
        matched, why = rule(refused, "big-refunds-for-approvers")
        assert not matched
        assert "approvers" in why
        assert "alice" not in why
        # What the tool server learns: for whom, by which agent, and through which gate.
        for_alice, for_boss = map(claims_of, desk.calls)
        for claims, subject in ((for_alice, "alice"), (for_boss, "boss")):
            assert claims["sub"] == subject
            assert claims["sub_id"] == {"format": "iss_sub", "iss": desk.users.issuer, "sub": subject}
            assert claims["act"] == {"sub": BILLING, "act": {"sub": GATE}}
            assert claims["client_id"] == BILLING
        assert "ledger.refund.any" in for_boss["scope"].split()


async def test_by_user_who_changes_within_the_session(tmp_path: Path) -> None:
    async with scene(tmp_path, MODERN) as (desk, agent):
        found = []
        for user in (None, desk.user("alice", "clerks"), desk.user("boss", "approvers"), None):
            agent.user = user
            found.append(await agent.call("refund", number="INV-1", amount=900))
            assert await agent.call("get_invoice", number="INV-1") == INVOICE

        assert [isinstance(each, Told) for each in found] == [False, False, True, False]
        assert [claims_of(asked)["sub"] for asked in desk.calls] == [BILLING, "alice", "boss", "boss", BILLING]


@BOTH_ERAS
async def test_by_context_no_mail_after_untrusted_content_was_read(tmp_path: Path, mode: str) -> None:
    async with scene(tmp_path, mode) as (desk, agent):
        first = await agent.call("send_mail", to="bob@acme.test")
        shown_before = await agent.tools()
        read = await agent.call("read_web", url="https://blog.test")
        blocked = is_denied(await agent.call("send_mail", to="mallory@evil.test"), "denied")
        low = await agent.call("get_invoice", number="INV-1")
        shown_after = await agent.tools()
        spans = await desk.spans_of_calls(4)

        assert first == Told("sent to bob@acme.test")
        assert isinstance(read, Told)
        assert low == INVOICE
        assert desk.called == ["send_mail", "read_web", "get_invoice"]
        is_told_of_a_refused_call(spans[2], blocked)
        for allowed in (spans[0], spans[1], spans[3]):
            is_told_of_an_allowed_call(allowed)
        assert rule(spans[0], "no-mail-after-untrusted-reading")[0] is False
        matched, why = rule(spans[2], "no-mail-after-untrusted-reading")
        assert matched
        assert why.endswith("its condition holds")
        # List and call agree.
        assert set(shown_before) - set(shown_after) == {"send_mail"}
        assert set(shown_after) <= set(shown_before)


@BOTH_ERAS
async def test_by_context_three_denials_in_a_minute_shut_out_for_ten(tmp_path: Path, mode: str) -> None:
    async with scene(tmp_path, mode) as (desk, agent):
        assert isinstance(await agent.call("send_mail", to="bob@acme.test"), Told)
        for _ in range(3):
            is_denied(await agent.call("wipe_ledger"), "denied")
        blocked = is_denied(await agent.call("send_mail", to="bob@acme.test"), "denied")
        low = await agent.call("get_invoice", number="INV-1")
        async with desk.agent("ops", mode=mode) as other:
            theirs = await other.call("send_mail", to="ops@acme.test")
        desk.time.ahead_s = TEN_MINUTES_S - SOON_S
        still = await agent.call("refund", number="INV-1", amount=1, account="a")
        desk.time.ahead_s = TEN_MINUTES_S + SOON_S
        at_last = await agent.call("send_mail", to="bob@acme.test")
        spans = await desk.spans_of_calls(9)

        is_denied(still, "denied")
        assert (low, theirs, at_last) == (INVOICE, Told("sent to ops@acme.test"), Told("sent to bob@acme.test"))
        assert desk.called == ["send_mail", "get_invoice", "send_mail", "send_mail"]
        is_told_of_an_allowed_call(spans[0])
        is_told_of_a_refused_call(spans[4], blocked)
        is_told_of_an_allowed_call(spans[5])
        assert rule(spans[0], "three-denials-and-out")[0] is False
        matched, why = rule(spans[4], "three-denials-and-out")
        assert matched
        assert why.endswith("its condition holds")


@BOTH_ERAS
async def test_by_rate(tmp_path: Path, mode: str) -> None:
    async with scene(tmp_path, mode) as (desk, agent):
        mails = [await agent.call("send_mail", to=f"{name}@acme.test") for name in ("a", "b", "c")]
        low = await agent.call("get_invoice", number="INV-1")
        blocked = mails.pop()
        assert isinstance(blocked, Refused)
        wait_ms = blocked.data["retry_after_ms"]
        desk.time.ahead_s = wait_ms / 1000
        later = await agent.call("send_mail", to="c@acme.test")
        spans = await desk.spans_of_calls(5)

        assert mails == [Told("sent to a@acme.test"), Told("sent to b@acme.test")]
        assert (low, later) == (INVOICE, Told("sent to c@acme.test"))
        assert (blocked.code, blocked.reason) == (-31429, "rate_limited")
        assert blocked.data.keys() == {"reason", "decision_id", "trace_id", "retry_after_ms"}
        assert 0 < wait_ms <= 60_001
        assert desk.called == ["send_mail", "send_mail", "get_invoice", "send_mail"]
        is_told_of_an_allowed_call(spans[1])
        is_told_of_a_refused_call(spans[2], blocked)
        is_told_of_an_allowed_call(spans[3])
        # The grant allows it; there is no room for it.
        assert rule(spans[2], "some-mail")[0] is True
        assert said(spans[2])["callgate.detail"] == "limit of grant some-mail: 2 in 60 s"


@BOTH_ERAS
async def test_by_declared_purpose(tmp_path: Path, mode: str) -> None:
    async with scene(tmp_path, mode) as (desk, agent):
        blocked = is_denied(await agent.call("list_invoices", purpose="curiosity"), "no_grant")
        silent = is_denied(await agent.call("list_invoices"), "no_grant")
        found = await agent.call("list_invoices", purpose="month-end")
        low = await agent.call("get_invoice", purpose="curiosity", number="INV-1")
        refused, undeclared, allowed, other = await desk.spans_of_calls(4)

        assert (found, low) == (Told("INV-1, INV-2"), INVOICE)
        assert desk.called == ["list_invoices", "get_invoice"]
        is_told_of_a_refused_call(refused, blocked)
        is_told_of_a_refused_call(undeclared, silent)
        is_told_of_an_allowed_call(allowed)
        is_told_of_an_allowed_call(other)
        told = [said(spans).get("callgate.declared.purpose") for spans in (refused, undeclared, allowed, other)]
        assert told == ["curiosity", None, "month-end", "curiosity"]
        # It is for the gate: the tool server is not told.
        assert all(b"month-end" not in asked.raw for asked in desk.received)


@BOTH_ERAS
async def test_by_time_and_no_token_outlives_its_grant(tmp_path: Path, mode: str) -> None:
    # Sooner than a token's usual 20 s, and late enough for a slow machine.
    ends = int(time.time()) + 15
    until = datetime.fromtimestamp(ends, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    policy = POLICY.replace("    when: args.amount < 500\n", f"    until: {until}\n")
    async with scene(tmp_path, mode, policy) as (desk, agent):
        in_time = await agent.call("refund", number="INV-1", amount=900, account="a")
        low = await agent.call("get_invoice", number="INV-1")
        desk.time.ahead_s = 15
        late = is_denied(await agent.call("refund", number="INV-1", amount=1, account="a"), "no_grant")
        low_later = await agent.call("get_invoice", number="INV-1")
        spans = await desk.spans_of_calls(4)

        assert in_time == Told("refunded 900 of INV-1 to a")
        assert low == low_later == INVOICE
        of_refund, of_invoice, _ = map(claims_of, desk.calls)
        assert of_refund["exp"] == ends < of_invoice["exp"]
        assert rule(spans[2], "small-refunds") == (False, f"ended {until}")
        assert said(spans[2])["callgate.reason"] == late.reason
