"""A gate before a tool server that misbehaves, and what must come of it."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trio

from support.gate import Gate, context_of, running_gate
from support.raw_agent import RawAgent, RawConnection, modern_call
from support.upstream import RESULTS, Asked, Reply, Script, ScriptedServer, answer_with, scripted_server

OK = RESULTS["tools/call"]
FIRST, SECOND = modern_call("get_invoice", rpc_id=1), modern_call("get_invoice", rpc_id=2)


@dataclass(frozen=True, slots=True)
class Scene:
    """The two of them, running."""

    gate: Gate
    upstream: ScriptedServer

    @asynccontextmanager
    async def agent(self, name: str = "billing") -> AsyncIterator[RawConnection]:
        """One connection of that workload's."""
        context = await context_of(self.gate.api, name)
        async with RawAgent(self.gate.addresses.agents.port, context).connected() as connection:
            yield connection

    async def path(self, requests: int = 1) -> tuple[str, ...]:
        """The first request's, once there was a trace for each."""
        traces = await self.gate.traces_when(requests)
        assert len(traces) == requests
        return traces[0].path


@asynccontextmanager
async def scene(
    directory: Path, script: Script, *, more: str = "", server: Mapping[str, str] | None = None
) -> AsyncIterator[Scene]:
    async with (
        scripted_server(script) as upstream,
        running_gate(directory, upstream.url, more=more, server=server) as gate,
    ):
        yield Scene(gate, upstream)


def first(script: Script) -> Script:
    """That script for the first request; the default answer for any other."""
    well_behaved = answer_with()

    async def play(asked: Asked, reply: Reply) -> None:
        await (script if asked.message["id"] == 1 else well_behaved)(asked, reply)

    return play


def saying(*pieces: bytes, then: str = "wait") -> Script:
    """Say these bytes, and then "wait" for the next request, "close" or "reset"."""

    async def play(_asked: Asked, reply: Reply) -> None:
        for piece in pieces:
            await reply.raw(piece)
        if then == "close":
            await reply.close()
        elif then == "reset":
            await reply.reset()

    return play


def ok(*headers: bytes, body: bytes = b"") -> bytes:
    """An answer of JSON; how its body is framed is up to `headers`."""
    lines = [b"HTTP/1.1 200 OK", b"Content-Type: application/json", *headers]
    return b"\r\n".join([*lines, b"", body])


async def assert_failed(at: Scene, agent: RawConnection, reason: str) -> None:
    """The call ended in that refusal, was sent once, and the agent's connection serves the next one."""
    with trio.fail_after(20):
        answer = await agent.ask(FIRST)
        assert (answer.status, answer.code, answer.reason) == (200, -31502, reason)
        assert answer.message["id"] == 1
        assert (await agent.ask(SECOND)).message["result"] == OK
    assert [asked.message["id"] for asked in at.upstream.requests] == [1, 2]
    failed, well = await at.gate.traces_when(2)
    assert failed.path[-2:] == (f"forward=failed:{reason}", "respond=ok")
    assert well.path[-3:] == ("forward=ok", "screen=ok", "respond=ok")
