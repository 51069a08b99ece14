"""Calls go on while the SVIDs of agent, gate and tool server are renewed; and stop where one is renewed no more."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio

from callgate.dev.demo_files import AGENT_ID
from spire.stage import ALLOWED, GET_INVOICE, WIPE_LEDGER, Stage, denied, gate_and_ledger, server_spans
from spire.workloads import REFUND_AGENT, Json, Spire
from support.collector import Collector, ReceivedSpan

pytestmark = [pytest.mark.spire, pytest.mark.timeout(180, func_only=True)]

SESSIONS = 4
ROTATIONS = 3
# An SVID comes about every 5 s, so three rotations take some 20 s; a busy machine gets this much.
_LOAD_S = 80
_EVERYTHING_S = 170
# So few that a session is over long before the SVID that it began with: it has 15 s left when it is renewed.
BATCH = (GET_INVOICE, WIPE_LEDGER, GET_INVOICE, GET_INVOICE)
AS_IT_MUST_BE = ("Allowed", "Denied", "Allowed", "Allowed")


@dataclass(frozen=True, slots=True)
class Load:
    """`batches`: what the agent said of each session; `tokens_seen`: what the tool server said of each call."""

    batches: list[Json]
    tokens_seen: list[Json]
    spans: tuple[ReceivedSpan, ...]


@pytest.fixture(scope="module")
def load(spire: Spire, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Load]:
    with Collector() as collector:
        yield trio.run(carried, spire, tmp_path_factory.mktemp("load"), collector)


async def carried(spire: Spire, directory: Path, collector: Collector) -> Load:
    with trio.fail_after(_EVERYTHING_S):
        async with gate_and_ledger(spire, directory, collector) as stage:
            batches = await called(stage)
            await every_trace_came(collector, sum(len(batch.get("results", ())) for batch in batches))
    return Load(batches, stage.tokens_seen, tuple(server_spans(collector)))


async def called(stage: Stage) -> list[Json]:
    """Several sessions at a time, one after the other, until everybody's SVID was renewed often enough."""
    batches: list[Json] = []
    async with stage.agent(REFUND_AGENT, "repeat", BATCH, SESSIONS) as agent:
        with trio.move_on_after(_LOAD_S):
            while min(map(len, svids_of(batches, stage.tokens_seen))) <= ROTATIONS:
                batches.append(await agent.next_line())
        agent.process.terminate()
        await agent.follow(lambda line: batches.append(json.loads(line)))
    return batches


def svids_of(batches: list[Json], tokens_seen: list[Json]) -> tuple[set[str], set[str], set[str]]:
    """Which the agent, the gate and the tool server have used so far, each by its certificate."""
    return (
        {batch["leaf"] for batch in batches},
        {token["certificate"] for token in tokens_seen},
        {token["own_leaf"] for token in tokens_seen},
    )


async def every_trace_came(collector: Collector, calls: int) -> None:
    while len(tool_calls(server_spans(collector))) < calls:
        await trio.to_thread.run_sync(collector.wait_for_spans, len(collector.spans) + 1)


def tool_calls(spans: Iterable[ReceivedSpan]) -> list[ReceivedSpan]:
    return [span for span in spans if span.attributes.get("mcp.method.name") == "tools/call"]


def test_no_call_fails_while_every_svid_is_renewed_three_times(load: Load) -> None:
    assert min(map(len, svids_of(load.batches, load.tokens_seen))) > ROTATIONS
    came_of_it = Counter(
        tuple(result["kind"] for result in batch["results"]) if "results" in batch else batch["broke"]
        for batch in load.batches
    )
    assert came_of_it == {AS_IT_MUST_BE: len(load.batches)}
    answers = {result["text"] for batch in load.batches for result in batch["results"] if result["kind"] == "Allowed"}
    assert answers == {"INV-1001: Northwind, 1250 EUR, open"}


def test_every_call_under_load_leaves_one_trace_with_its_whole_path(load: Load) -> None:
    paths = Counter(span.attributes["callgate.decision.path"] for span in tool_calls(load.spans))
    batches = len(load.batches)
    assert paths == {ALLOWED: 3 * batches, denied("denied"): batches}
    assert not [span for span in load.spans if span.attributes.get("callgate.reason") not in {None, "denied"}]


def test_traces_name_the_svid_that_each_session_was_made_with(load: Load) -> None:
    agent, _, _ = svids_of(load.batches, load.tokens_seen)
    assert {span.attributes["tls.client.hash.sha256"] for span in load.spans} == {leaf.upper() for leaf in agent}
    assert {span.attributes["callgate.workload.spiffe_id"] for span in load.spans} == {AGENT_ID}


def test_tokens_stay_bound_to_the_certificate_that_comes_with_them(load: Load) -> None:
    assert not [token for token in load.tokens_seen if token["bound_to"] != token["certificate"]]


async def test_a_copied_svid_is_refused_from_its_end_on_once_the_entry_is_deleted(spire: Spire, tmp_path: Path) -> None:
    with Collector() as collector:
        async with gate_and_ledger(spire, tmp_path, collector) as stage:
            said = await clung(stage)
        traces = sorted(server_spans(collector), key=lambda span: span.started_ns)
    first, last = said[0], said[-1]
    assert [result["kind"] for result in first["results"]] == ["Allowed"]
    assert last["identity"] is None
    assert "no identity issued" in last["problem"]
    # A client whose connection was lost meanwhile comes with its certificate anew, and gets an alert.
    *served, refused = traces
    assert refused.attributes["callgate.reason"] in {"svid_expired", "tls_certificate_expired"}
    assert {span.attributes["callgate.decision"] for span in served} == {"allow"}
    assert served[-1].started_ns < last["not_after"] * 1e9 <= refused.ended_ns


async def clung(stage: Stage) -> list[Json]:
    """What an agent says, from its first call to its first refusal, whose entry is deleted after the first."""
    said: list[Json] = []
    async with stage.agent(REFUND_AGENT, "cling", [GET_INVOICE]) as agent:
        said.append(await agent.next_line())
        await stage.spire.delete_entry("/ns/billing/sa/refund-agent")
        try:
            await agent.follow(lambda line: said.append(json.loads(line)))
        finally:
            await stage.spire.restore_entry("/ns/billing/sa/refund-agent")
    return said
