"""Calls go on while the SVIDs of agent, gate and tool server are renewed; and stop where one is renewed no more."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio

from callgate.dev.demo import AGENT_ID
from spire.stage import Stage, gate_and_ledger, server_spans
from spire.workloads import REFUND_AGENT, Json, Spire
from support.collector import Collector, ReceivedSpan

pytestmark = [pytest.mark.spire, pytest.mark.timeout(180, func_only=True)]

SESSIONS = 4
ROTATIONS = 3
# An SVID comes about every 5 s, so three rotations take some 20 s; a busy machine gets this much.
_LOAD_S = 80
_EVERYTHING_S = 170
GET_INVOICE = ("get_invoice", {"number": "INV-1001"})
WIPE_LEDGER: tuple[str, dict[str, object]] = ("wipe_ledger", {})
# So few that a session is over long before the SVID that it began with: it has 15 s left when it is renewed.
BATCH = (GET_INVOICE, WIPE_LEDGER, GET_INVOICE, GET_INVOICE)
AS_IT_MUST_BE = ("Allowed", "Denied", "Allowed", "Allowed")


@dataclass(frozen=True, slots=True)
class Load:
    """`batches`: what the agent said of each session; `tokens_seen`: what the tool server said of each call."""

    batches: list[Json]
    tokens_seen: list[Json]
    spans: tuple[ReceivedSpan, ...]
    lasted_s: float

    @property
    def leaves(self) -> set[str]:
        """The agent's SVIDs, by the SHA-256 of their leaf certificates."""
        return {batch["leaf"] for batch in self.batches}


@pytest.fixture(scope="module")
def load(spire: Spire, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Load]:
    with Collector() as collector:
        yield trio.run(carried, spire, tmp_path_factory.mktemp("load"), collector)


async def carried(spire: Spire, directory: Path, collector: Collector) -> Load:
    """Several sessions at a time, one after the other, until everybody's SVID has been renewed often enough."""
    with trio.fail_after(_EVERYTHING_S):
        async with gate_and_ledger(spire, directory, collector) as stage:
            started = time.monotonic()
            batches = await called(stage)
            lasted_s = time.monotonic() - started
            await every_trace_came(collector, len(batches) * len(BATCH))
    return Load(batches, stage.tokens_seen, tuple(server_spans(collector)), lasted_s)


async def called(stage: Stage) -> list[Json]:
    batches: list[Json] = []
    async with stage.agent(REFUND_AGENT, "repeat", BATCH, str(SESSIONS)) as agent:
        batches.append(await agent.next_line())
        with trio.move_on_after(_LOAD_S):
            while rotations(batches, stage.tokens_seen) < ROTATIONS:
                batches.append(await agent.next_line())
        agent.process.terminate()
        await agent.follow(rest := [])
    return batches
