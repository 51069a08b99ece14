"""The demo's story on a real SPIRE: gate, tool server and agents are processes that its agent attested.

It is played once; each test makes one claim of it.
"""

from base64 import urlsafe_b64decode
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio

from callgate.dev.agent import CannotReachGate, context_without_svid, open_agent
from callgate.dev.demo_files import AGENT_ID, AUDIENCE, AUDITOR_ID, GATE_ID
from callgate.identity.source import SourceEvent, X509Source
from callgate.identity.spiffe_id import SpiffeId
from callgate.identity.trust import parse_bundle
from spire.stage import ALLOWED, GET_INVOICE, LEDGER_ID, LIST_TOOLS, WIPE_LEDGER, Stage, denied, gate_and_ledger
from spire.workloads import AUDITOR, REFUND_AGENT, Json, Spire
from support.collector import Collector, ReceivedSpan

pytestmark = [pytest.mark.spire, pytest.mark.timeout(180, func_only=True)]

# Starting five Python processes takes most of the ten seconds that it lasts.
_STORY_S = 150
LARGE_REFUND = ("refund", {"number": "INV-1001", "amount": 900})
REFUND = ("refund", {"number": "INV-1001", "amount": 20})
CLOSE_MONTH = ("close_month", {"month": "2026-10"})


@dataclass(frozen=True, slots=True)
class Story:
    """What came of it.  `agent`, `auditor`: what each said; `nobody`: why it has no identity, and how it was refused."""

    agent: Json
    auditor: Json
    nobody: tuple[str, str]
    spans: tuple[ReceivedSpan, ...]
    tokens_seen: list[Json]
    gate_status: int | None
    gate_log: list[str]

    def trace(self, name: str, workload: str) -> dict[str, ReceivedSpan]:
        """The spans of the only trace of that name and workload, by kind, or by name where it is INTERNAL."""
        [root] = [
            span
            for span in self.spans
            if span.kind == "SERVER"
            and span.name == name
            and span.attributes["callgate.workload.spiffe_id"] == workload
        ]
        mine = [span for span in self.spans if span.trace_id == root.trace_id]
        return {span.name if span.kind == "INTERNAL" else span.kind: span for span in mine}


@pytest.fixture(scope="module")
def story(spire: Spire, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    with Collector() as collector:
        yield trio.run(played, spire, tmp_path_factory.mktemp("story"), collector)


async def played(spire: Spire, directory: Path, collector: Collector) -> Story:
    with trio.fail_after(_STORY_S):
        async with gate_and_ledger(spire, directory, collector) as stage:
            agent = await stage.play(REFUND_AGENT, LIST_TOOLS, GET_INVOICE, WIPE_LEDGER, LARGE_REFUND, REFUND)
            auditor = await stage.play(AUDITOR, LIST_TOOLS, CLOSE_MONTH, REFUND)
            nobody = await turned_away(stage)
    return Story(agent, auditor, nobody, tuple(collector.spans), stage.tokens_seen, stage.gate_status, stage.gate_log)


async def turned_away(stage: Stage) -> tuple[str, str]:
    """This very process is nobody to SPIRE: why it has no identity, and what the gate's refusal is to it."""
    denied = trio.Event()

    def hear(event: SourceEvent, _detail: str) -> None:
        if event is SourceEvent.PERMISSION_DENIED:
            denied.set()

    source = X509Source(stage.spire.endpoint, on_event=hear)
    async with trio.open_nursery() as nursery:
        await nursery.start(source.run)
        await denied.wait()
        problem = source.problem
        nursery.cancel_scope.cancel()
    gate = SpiffeId.parse(GATE_ID)
    bundle = parse_bundle(gate.trust_domain, await stage.spire.bundle())
    with pytest.raises(CannotReachGate) as refused:
        async with open_agent(stage.url, context_without_svid(bundle, gate)):
            pass
    return problem, str(refused.value)


def test_a_denied_call_stands_between_two_allowed_ones_in_one_session(story: Story) -> None:
    _, read, wiped, large, refunded = story.agent["results"]
    assert read == allowed("INV-1001: Northwind, 1250 EUR, open")
    assert (wiped["kind"], wiped["code"], wiped["reason"]) == ("Denied", -31403, "denied")
    assert (large["kind"], large["code"], large["reason"]) == ("Denied", -31403, "denied")
    assert refunded == allowed("refunded 20 EUR of INV-1001 to customer")


def allowed(text: str) -> dict[str, object]:
    return {"kind": "Allowed", "text": text, "tool_failed": False, "progress": []}


def test_each_workload_is_shown_the_tools_it_may_call(story: Story) -> None:
    assert story.agent["results"][0]["tools"] == ["list_invoices", "get_invoice", "refund"]
    assert story.auditor["results"][0]["tools"] == ["list_invoices", "close_month"]


def test_another_workload_is_decided_on_by_its_own_grants(story: Story) -> None:
    _, closed, refund = story.auditor["results"]
    assert closed["text"] == "closed 2026-10"
    assert [step["message"] for step in closed["progress"]][-1] == "writing the report"
    assert (refund["code"], refund["reason"]) == (-31403, "no_grant")


def test_a_process_without_an_entry_has_no_svid_and_gets_no_further_than_the_handshake(story: Story) -> None:
    problem, refusal = story.nobody
    [handshake] = [span for span in story.spans if span.name == "tls handshake"]
    assert "no identity issued" in problem
    assert "CERTIFICATE_REQUIRED" in refusal
    assert handshake.attributes["callgate.decision.path"] == ("accept=refused:tls_no_certificate",)
    assert handshake.attributes["callgate.decision"] == "deny"


def test_the_allowed_calls_trace_names_every_stage_and_who_took_part(story: Story) -> None:
    trace = story.trace("tools/call get_invoice", AGENT_ID)
    assert set(trace) == {"SERVER", "authorize", "mint", "CLIENT"}
    assert trace["SERVER"].attributes["callgate.decision.path"] == ALLOWED
    assert trace["SERVER"].attributes["tls.client.hash.sha256"] == story.agent["leaf"].upper()
    assert trace["CLIENT"].attributes["callgate.server.spiffe_id"] == LEDGER_ID
    claims = {name: trace["mint"].attributes[f"callgate.token.{name}"] for name in ("sub", "act", "aud", "bound")}
    assert claims == {"sub": AGENT_ID, "act": GATE_ID, "aud": AUDIENCE, "bound": True}


@pytest.mark.parametrize(
    ("tool", "workload", "reason", "rule"),
    [
        ("wipe_ledger", AGENT_ID, "denied", "nobody-wipes-the-ledger"),
        ("refund", AUDITOR_ID, "no_grant", "default-deny"),
    ],
)
def test_the_denied_calls_trace_ends_at_the_decision_and_names_the_rule(
    story: Story, tool: str, workload: str, reason: str, rule: str
) -> None:
    trace = story.trace(f"tools/call {tool}", workload)
    assert set(trace) == {"SERVER", "authorize"}
    assert trace["SERVER"].attributes["callgate.decision.path"] == denied(reason)
    matched = {
        e.attributes["callgate.rule.id"] for e in trace["authorize"].events if e.attributes["callgate.rule.matched"]
    }
    assert rule in matched


def test_a_denial_tells_the_agent_which_trace_to_look_at(story: Story) -> None:
    told = story.agent["results"][2]
    server = story.trace("tools/call wipe_ledger", AGENT_ID)["SERVER"]
    assert told["trace_id"] == f"{server.trace_id:032x}"
    assert told["decision_id"] == server.attributes["callgate.decision.id"]


def test_every_token_is_bound_to_the_certificate_that_came_with_it(story: Story) -> None:
    forwarded = [span for span in story.spans if span.kind == "CLIENT"]
    assert len(story.tokens_seen) == len(forwarded) > 0
    assert all(token["bound_to"] == token["certificate"] for token in story.tokens_seen)
    assert {token["sub"] for token in story.tokens_seen} == {AGENT_ID, AUDITOR_ID}
    assert all(len(urlsafe_b64decode(token["bound_to"] + "=")) == 32 for token in story.tokens_seen)


def test_the_gate_ends_well_when_told_to(story: Story) -> None:
    assert story.gate_status == 0, "\n".join(story.gate_log)
