"""A gate that sends its traces to a collector, as `callgate serve` does."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trio

from callgate.telemetry.export import Telemetry
from callgate.telemetry.otlp import Service
from support.collector import Collector, ReceivedSpan
from support.gate import POLICY, Gate, context_of, running_gate
from support.raw_agent import RawAgent, RawConnection
from support.upstream import Script, ScriptedServer, scripted_server

SENDER = Service("callgate", "0.1.0", "instance-1")
CALL = "tools/call get_invoice"
PASSED = ("accept=ok", "authenticate=ok", "read=ok", "identify=ok")


@dataclass(frozen=True, slots=True)
class Watched:
    """A gate that sends its traces to a collector."""

    gate: Gate
    upstream: ScriptedServer
    collector: Collector
    telemetry: Telemetry

    @asynccontextmanager
    async def agent(self, name: str = "billing") -> AsyncIterator[RawConnection]:
        """One connection of that workload's."""
        context = await context_of(self.gate.api, name)
        async with RawAgent(self.gate.addresses.agents.port, context).connected() as connection:
            yield connection

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


def child(spans: Sequence[ReceivedSpan], name: str, kind: str) -> ReceivedSpan:
    """The one span of that name and kind."""
    (found,) = [span for span in spans if (span.name, span.kind) == (name, kind)]
    return found


def authorize(spans: Sequence[ReceivedSpan]) -> ReceivedSpan:
    """The span of the decision."""
    return child(spans, "authorize", "INTERNAL")
