"""Many calls that wait for people at once, at a `callgate serve` of its own.

async with crowd(folder, calls=1000) as waiting:
    figures = await waiting.other_calls(rounds=3)
    await waiting.answer_all("approve")
"""

import statistics
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import trio

from callgate.dev.workload_api import DevWorkloadApi
from support.described_tools import DescribedTools, tool
from support.gate import WORKLOADS, context_of
from support.people import LocalPerson, person_at
from support.raw_agent import RawAgent, RawConnection, modern, modern_call
from support.serve_process import ServeProcess, serving
from support.upstream import ScriptedServer, scripted_server

TOOLS: Final = (tool("refund", {"number": {"type": "string"}}), tool("get_invoice"))
POLICY: Final = """
version: 1
trust_domains: [acme.test]
grants:
  - {id: looks, workloads: ["spiffe://acme.test/**"], server: ledger, tools: [get_invoice]}
  - id: refunds
    workloads: ["spiffe://acme.test/**"]
    server: ledger
    tools: [refund]
    approval: {groups: [local], waits: %s, stands: 1h}
"""
MORE: Final = (
    "    max_concurrent: 4000\n    max_concurrent_per_workload: 4000\n"
    "limits: {max_connections: 4000, max_connections_per_workload: 4000, handshake_s: 60, idle_s: 300, requests_per_connection: 100000}\n"
    "approvals: {max_waiting_per_workload: 4000, socket: {agents_share_user: true}}\n"
)
PATIENCE_S: Final = 90.0
# Connections that are set up at the same time; each takes the gate a millisecond.
_AT_ONCE: Final = 32
_CALLS_IN_ROUND: Final = 200


@dataclass
class Crowd:
    """What runs, and what each call was told."""

    gate: ServeProcess
    port: int
    api: DevWorkloadApi
    upstream: ScriptedServer
    person: LocalPerson
    answers: dict[str, bytes] = field(default_factory=dict)

    @property
    def resident_bytes(self) -> int:
        """Of the gate's process."""
        for line in Path(f"/proc/{self.gate.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise AssertionError("no VmRSS")

    async def waits(self, count: int) -> list[dict[str, Any]]:
        """What waits, once there are so many."""
        with trio.fail_after(PATIENCE_S):
            while len(found := await self.person.listed()) < count:  # noqa: ASYNC110  # another process's state
                await trio.sleep(0.1)
        return found

    async def other_calls(self, rounds: int) -> float:
        """The p99 of calls that ask nobody, one after the other, in seconds: of the best round."""
        async with RawAgent(self.port, await context_of(self.api, "ops")).connected() as agent:
            return min([await self._round(agent) for _ in range(rounds)])

    async def _round(self, agent: RawConnection) -> float:
        took = []
        for _ in range(_CALLS_IN_ROUND):
            began = time.perf_counter()
            assert "result" in (await agent.ask(modern_call("get_invoice", {}))).message
            took.append(time.perf_counter() - began)
        return statistics.quantiles(took, n=100)[98]

    async def answer_all(self, verdict: str) -> float:
        """One mass decision on all that waits; how long it took until each call was told, in seconds."""
        found = await self.person.listed()
        said = [{"id": each["id"], "binding": each["binding"], "verdict": verdict, "reason": ""} for each in found]
        began = time.perf_counter()
        answer = await self.person.client.post("/api/v1/decisions", json={"decisions": said}, timeout=PATIENCE_S)
        assert answer.status_code == 200, answer.text
        with trio.fail_after(PATIENCE_S):
            while len(self.answers) < len(found):  # noqa: ASYNC110  # many tasks add to it
                await trio.sleep(0.01)
        return time.perf_counter() - began

    @property
    def executed(self) -> list[str]:
        """The numbers of the calls that reached the tool server."""
        calls = [asked.message["params"] for asked in self.upstream.requests if asked.message["method"] == "tools/call"]
        return [params["arguments"]["number"] for params in calls if params["name"] == "refund"]


@asynccontextmanager
async def running(folder: Path, *, waits: str) -> AsyncIterator[Crowd]:
    """A gate with nobody waiting yet."""
    async with AsyncExitStack() as stack:
        api = stack.enter_context(
            DevWorkloadApi(folder / "spiffe", WORKLOADS, ttl_s=3600.0, dns_names={"gate": ["localhost"]})
        )
        upstream = await stack.enter_async_context(scripted_server(DescribedTools(TOOLS)))
        home = folder / "home"
        home.mkdir(exist_ok=True)
        gate = await stack.enter_async_context(
            serving(home, api.endpoint("gate"), upstream.url, MORE, policy=POLICY % waits)
        )
        port, _ = await gate.ready()
        person = await stack.enter_async_context(person_at(home / "approvals" / "admin.sock"))
        async with RawAgent(port, await context_of(api, "billing")).connected() as agent:
            await agent.ask(modern("tools/list"))
        yield Crowd(gate, port, api, upstream, person)
        gate.process.terminate()


@asynccontextmanager
async def crowd(at: Crowd, calls: int) -> AsyncIterator[None]:
    """So many calls wait, each on a connection of its own and for another thing."""
    context = await context_of(at.api, "billing")
    room = trio.CapacityLimiter(_AT_ONCE)

    async def call(number: str, task_status: trio.TaskStatus[None]) -> None:
        async with AsyncExitStack() as stack:
            async with room:
                agent = await stack.enter_async_context(RawAgent(at.port, context).connected())
                await agent.say(modern_call("refund", {"number": number}))
            task_status.started()
            answer = await agent.answer()
            assert answer is not None
            at.answers[number] = answer.body

    async with trio.open_nursery() as nursery:
        async with trio.open_nursery() as starting:
            for number in range(calls):
                starting.start_soon(nursery.start, call, f"INV-{number}")
        await at.waits(calls)
        yield
