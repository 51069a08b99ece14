"""A workload: an agent that plays steps on the gate with the official MCP client.

    play_agent.py once URL STEPS SESSIONS     each session plays the steps once
    play_agent.py repeat URL STEPS SESSIONS   one session after the other, each from the SVID of its moment, until SIGTERM
    play_agent.py cling URL STEPS SESSIONS    the steps over and over with the first SVID, until one of them is refused

STEPS is a JSON array: null lists the tools, `[name, arguments]` calls one.  SESSIONS is how many there are at a time.
Prints a JSON object for each time that the steps were played: the SVID that the session was made with, `results`, or
`broke` with why there are none, and which identity the workload has by then.
"""

import json
import signal
import sys
from dataclasses import asdict

import trio
from mcp import Client, MCPError

from callgate.dev.agent import (
    Allowed,
    CallTool,
    CannotReachGate,
    ListTools,
    Step,
    StepResult,
    agent_context,
    open_agent,
    run_steps,
)
from callgate.dev.demo_files import GATE_ID
from callgate.identity.source import X509Source
from callgate.identity.spiffe_id import SpiffeId
from callgate.identity.trust import X509Context

# What the clinging agent leaves between two calls.
_PAUSE_S = 0.2


def steps_of(text: str) -> list[Step]:
    return [ListTools() if step is None else CallTool(*step) for step in json.loads(text)]


class Player:
    """Plays the same steps over and over.  `source` is the agent's identity."""

    def __init__(self, source: X509Source, url: str, steps: list[Step]) -> None:
        self._source = source
        self._url = url
        self._steps = steps
        self._stopping = False

    async def once(self) -> None:
        """A session of its own, from the SVID of this moment."""
        identity = await self._identity()
        try:
            async with open_agent(self._url, agent_context(identity, SpiffeId.parse(GATE_ID))) as agent:
                self._say(identity, results=_told(await run_steps(agent, self._steps)))
        except (CannotReachGate, MCPError) as error:
            self._say(identity, broke=str(error) or type(error).__name__)

    async def repeat(self) -> None:
        """Until told to stop; what was begun is finished."""
        while not self._stopping:
            await self.once()

    async def cling(self) -> None:
        """In one session, as a thief would who has copied an SVID, until it is of no use any more."""
        identity = await self._identity()
        try:
            async with open_agent(self._url, agent_context(identity, SpiffeId.parse(GATE_ID))) as agent:
                await self._play_until_refused(agent, identity)
        except (CannotReachGate, MCPError) as error:
            self._say(identity, broke=str(error) or type(error).__name__)

    async def stop_on_sigterm(self, *, task_status: trio.TaskStatus[None]) -> None:
        with trio.open_signal_receiver(signal.SIGTERM) as signals:
            task_status.started()
            async for _ in signals:
                self._stopping = True

    async def _play_until_refused(self, agent: Client, identity: X509Context) -> None:
        while True:
            results = await run_steps(agent, self._steps)
            self._say(identity, results=_told(results))
            if not all(isinstance(result, Allowed) for result in results):
                return
            await trio.sleep(_PAUSE_S)

    async def _identity(self) -> X509Context:
        await self._source.wait_ready()
        assert self._source.current is not None
        return self._source.current

    def _say(self, used: X509Context, **report: object) -> None:
        current = self._source.current
        line = {
            "id": str(used.svid.id),
            "leaf": used.svid.leaf_sha256.hex(),
            "not_after": used.svid.not_after,
            "identity": None if current is None else str(current.svid.id),
            "problem": self._source.problem,
        }
        print(json.dumps({**line, **report}), flush=True)


def _told(results: list[StepResult]) -> list[dict[str, object]]:
    return [{"kind": type(result).__name__, **asdict(result)} for result in results]


async def main(arguments: list[str]) -> None:
    how, url, steps, sessions = arguments
    source = X509Source()
    player = Player(source, url, steps_of(steps))
    play = {"once": player.once, "repeat": player.repeat, "cling": player.cling}[how]
    async with trio.open_nursery() as background:
        await background.start(player.stop_on_sigterm)
        await background.start(source.run)
        async with trio.open_nursery() as nursery:
            for _ in range(int(sessions)):
                nursery.start_soon(play)
        background.cancel_scope.cancel()


trio.run(main, sys.argv[1:])
