"""A gate under attack, an honest agent that calls all the while on a connection of its own, and the books on both.

    async with siege(tmp_path, limits={"head_s": 0.3}) as scene:
        async with scene.connected() as connection: ...

At the end the honest agent's calls have all succeeded, no call failed inside the gate, and nothing was logged as an
error.
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import trio

from callgate.errors import Reason
from callgate.telemetry import names
from callgate.trace import DecisionTrace
from support.gate import POLICY, Gate, context_of, running_gate
from support.raw_agent import RawAgent, RawConnection, modern_call
from support.upstream import ANSWER_TEXT, Asked, Reply, Script, ScriptedServer, answer_with, scripted_server

T = TypeVar("T")
# Whatever is not over by then hangs, however slow the machine.
PATIENCE_S = 20.0
# The honest agent thinks that long between two calls.
_PAUSE_S = 0.02
_NEIGHBOUR = "neighbour"
_AT_ONCE = 8


@dataclass
class Neighbour:
    """An honest agent on one connection.  `calls`: how many succeeded."""

    connection: RawConnection
    calls: int = 0

    async def call(self) -> None:
        """One call, which must succeed in good time."""
        with trio.fail_after(PATIENCE_S):
            answer = await self.connection.ask(modern_call("list_invoices", {"id": _NEIGHBOUR}))
        assert answer.status == 200, answer
        assert ANSWER_TEXT.encode() in answer.body
        self.calls += 1

    async def go_on(self) -> None:
        while True:
            await self.call()
            await trio.sleep(_PAUSE_S)


@dataclass
class Siege:
    """`attacker` is the workload that the tests speak for; `agent` gives others."""

    gate: Gate
    upstream: ScriptedServer
    attacker: RawAgent
    neighbour: Neighbour
    faults: list[str] = field(default_factory=list)
    # How many traces there were when a connection was made: its port may have been another's before.
    _before: dict[RawConnection, int] = field(default_factory=dict)

    @asynccontextmanager
    async def connected(self, agent: RawAgent | None = None) -> AsyncIterator[RawConnection]:
        """A connection of the attacker, or of that agent."""
        before = len(self.gate.traces)
        async with (agent or self.attacker).connected() as connection:
            self._before[connection] = before
            yield connection

    async def agent(self, name: str) -> RawAgent:
        return RawAgent(self.gate.addresses.agents.port, await context_of(self.gate.api, name))

    def reached(self) -> list[Asked]:
        """What the tool server was asked by anybody but the neighbour."""
        return [asked for asked in self.upstream.requests if f'"{_NEIGHBOUR}"'.encode() not in asked.body]

    def traces_of(self, connection: RawConnection) -> list[DecisionTrace]:
        """The traces of a connection that is still open on this side."""
        since = self.gate.traces[self._before[connection] :]
        return [trace for trace in since if client_port(trace) == connection.port]

    def traces_of_attackers(self) -> list[DecisionTrace]:
        """All but the neighbour's."""
        return [trace for trace in self.gate.traces if client_port(trace) != self.neighbour.connection.port]

    async def traces_when(self, connection: RawConnection, count: int) -> list[DecisionTrace]:
        """The traces of a connection that is still open on this side, once there are `count`."""
        with trio.fail_after(PATIENCE_S):
            while len(found := self.traces_of(connection)) < count:
                await self.gate.traces_when(len(self.gate.traces) + 1)
        return found

    async def for_each(self, items: Iterable[T], attack: Callable[[T], Awaitable[None]]) -> None:
        """Attack with each item, several at a time; whatever hangs fails."""
        queue = iter(items)

        async def work() -> None:
            for item in queue:
                with trio.fail_after(PATIENCE_S):
                    await attack(item)

        async with trio.open_nursery() as nursery:
            for _ in range(_AT_ONCE):
                nursery.start_soon(work)


def client_port(trace: DecisionTrace) -> int:
    port = trace.records[0].attributes[names.CLIENT_PORT]
    assert isinstance(port, int)
    return port


@asynccontextmanager
async def siege(
    directory: Path,
    script: Script | None = None,
    *,
    policy: str = POLICY,
    limits: Mapping[str, float] | None = None,
    server: Mapping[str, str] | None = None,
    more: str = "",
) -> AsyncIterator[Siege]:
    """`limits` as in callgate.yaml; `more` is added to it.  The attacker is `billing`, the neighbour `ops`."""
    chosen = {"requests_per_connection": 100_000, **(limits or {})}
    more += f"limits: {{{', '.join(f'{name}: {value}' for name, value in chosen.items())}}}\n"
    async with (
        scripted_server(_honest_to_the_neighbour(script or answer_with())) as upstream,
        running_gate(directory, upstream.url, policy=policy, server=server, more=more) as gate,
    ):
        port = gate.addresses.agents.port
        attacker, honest = [RawAgent(port, await context_of(gate.api, name)) for name in ("billing", "ops")]
        async with honest.connected() as connection, trio.open_nursery() as nursery:
            scene = Siege(gate, upstream, attacker, Neighbour(connection))
            with _listening_for_faults(scene.faults):
                await scene.neighbour.call()
                nursery.start_soon(scene.neighbour.go_on)
                yield scene
                nursery.cancel_scope.cancel()
        async with honest.connected() as connection:
            await Neighbour(connection).call()
        assert scene.faults == []
        assert [trace.path for trace in gate.traces if trace.reason == Reason.INTERNAL] == []


def _honest_to_the_neighbour(script: Script) -> Script:
    usual = answer_with()

    async def answer(asked: Asked, reply: Reply) -> None:
        speak = usual if f'"{_NEIGHBOUR}"'.encode() in asked.body else script
        await speak(asked, reply)

    return answer


class _Errors(logging.Handler):
    """Collects what is logged as an error."""

    def __init__(self, found: list[str]) -> None:
        super().__init__(logging.ERROR)
        self._found = found

    def emit(self, record: logging.LogRecord) -> None:
        self._found.append(record.getMessage())


@contextmanager
def _listening_for_faults(found: list[str]) -> Iterator[None]:
    errors = _Errors(found)
    logging.getLogger("callgate").addHandler(errors)
    try:
        yield
    finally:
        logging.getLogger("callgate").removeHandler(errors)
