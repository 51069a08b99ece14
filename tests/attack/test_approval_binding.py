"""An approval is for one call as it was looked at, once.  Whatever else is sent is asked for anew, and not executed."""

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
import trio

from callgate.policy_files import policy_files
from callgate.policy_source import PolicySource
from support.described_tools import DescribedTools, called, tool
from support.gate import Gate, WallClock, config_of, context_of, policy_of, running_gate, starting_gate
from support.on_record import OnRecord, on_record
from support.people import APPROVALS, LocalPerson, local_person
from support.policies import rename_over
from support.raw_agent import RawAgent, modern, modern_call
from support.upstream import ScriptedServer, scripted_server

REFUND: Final = {"number": "INV-7", "amount": 900}
TOOL: Final = tool("refund", {"number": {"type": "string"}, "amount": {"type": "integer"}})
OTHER_TOOL: Final = {**TOOL, "description": "Refunds, and closes the account."}
POLICY: Final = """
version: 1
trust_domains: [acme.test]
grants:
  - id: refunds
    workloads: ["spiffe://acme.test/**"]
    server: ledger
    tools: [refund]
    approval: {groups: [local], waits: 0s, stands: 1m%s}
"""
PATIENCE_S: Final = 20.0


@dataclass
class Scene:
    """A gate whose policy, tools and clock a test can change, and whoever answers."""

    at: OnRecord
    person: LocalPerson
    tools: DescribedTools
    policy: Path
    clock: WallClock = field(default_factory=WallClock)

    async def ask(self, arguments: Mapping[str, object] = REFUND, name: str = "billing") -> dict[str, Any]:
        """What the agent hears of one call; it looks at the tools first."""
        async with self.at.agent(name) as agent:
            await agent.ask(modern("tools/list"))
            return (await agent.ask(modern_call("refund", arguments))).message

    async def approve(self, cover: object = None) -> dict[str, Any]:
        """A call was asked for, and somebody agrees to it."""
        error = (await self.ask())["error"]
        (request,) = await self.person.waiting()
        assert error["data"]["approval"] == request["id"]
        await self.person.approve(request, cover=cover)
        return request

    @property
    def executed(self) -> list[object]:
        return [params["arguments"] for params in called(self.at)]


@asynccontextmanager
async def scene(directory: Path, more: str = "") -> AsyncIterator[Scene]:
    path = directory / "policy.yaml"
    path.write_text(POLICY % more)
    source = PolicySource.open(policy_files(directory, ["policy.yaml"], frozenset({"ledger"})))
    assert isinstance(source, PolicySource)
    tools, clock = DescribedTools([TOOL]), WallClock()
    async with (
        on_record(directory, tools, policy=source, more=APPROVALS, clock=clock.clock) as at,
        local_person(at.gate) as person,
    ):
        yield Scene(at, person, tools, path, clock)


def required(message: Mapping[str, Any]) -> str:
    """The id of the request that this refusal tells of."""
    assert message["error"]["code"] == -31202, message
    assert message["error"]["data"]["reason"] == "approval_required"
    return str(message["error"]["data"]["approval"])


Change = Callable[[Scene], Awaitable[dict[str, Any]]]


async def another_argument(scene: Scene) -> dict[str, Any]:
    return await scene.ask({**REFUND, "amount": 901})


async def one_argument_less(scene: Scene) -> dict[str, Any]:
    return await scene.ask({"number": "INV-7", "amount": 0})


async def a_number_as_text(scene: Scene) -> dict[str, Any]:
    return await scene.ask({"number": "INV-70", "amount": 900})


async def another_workload(scene: Scene) -> dict[str, Any]:
    return await scene.ask(name="ops")


async def another_tool_definition(scene: Scene) -> dict[str, Any]:
    scene.tools.tools = [OTHER_TOOL]
    return await scene.ask()


async def another_policy(scene: Scene) -> dict[str, Any]:
    rename_over(scene.policy, scene.policy.read_text() + "# another\n")
    with trio.fail_after(PATIENCE_S):
        while (await scene.person.get("/api/v1/approvals?state=open")).json()["approvals"]:  # noqa: ASYNC110  # by HTTP
            await trio.sleep(0.02)
    return await scene.ask()


async def after_its_end(scene: Scene) -> dict[str, Any]:
    scene.clock.ahead_s += 61
    return await scene.ask()


CHANGES: Final[Mapping[str, Change]] = {
    "another argument": another_argument,
    "an argument of another value": one_argument_less,
    "another text": a_number_as_text,
    "another workload": another_workload,
    "another definition of the tool": another_tool_definition,
    "another policy": another_policy,
    "after it has ended": after_its_end,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
async def test_what_is_not_what_was_agreed_to_is_asked_for_anew(tmp_path: Path, change: Change) -> None:
    async with scene(tmp_path) as at:
        approved = await at.approve()
        asked = required(await change(at))
        assert asked != approved["id"]
        assert at.executed == []


async def test_an_approval_is_used_once(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        approved = await at.approve()
        assert "result" in await at.ask()
        assert required(await at.ask()) != approved["id"]
        assert at.executed == [REFUND]


async def test_of_many_calls_at_once_one_uses_the_approval(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        await at.approve()
        answers: list[dict[str, Any]] = []

        async def ask() -> None:
            answers.append(await at.ask())

        async with trio.open_nursery() as nursery:
            for _ in range(12):
                nursery.start_soon(ask)
        assert len([answer for answer in answers if "result" in answer]) == 1
        assert at.executed == [REFUND]


async def test_an_approval_for_several_calls_is_for_those_that_agree_in_what_the_policy_says(tmp_path: Path) -> None:
    async with scene(tmp_path, ", repeat: {same: [number], for: 15m, calls: 3}") as at:
        approved = await at.approve({"calls": 2, "seconds": 600})
        assert required(await at.ask({"number": "INV-8", "amount": 1})) != approved["id"]
        assert "result" in await at.ask({"number": "INV-7", "amount": 1})
        assert "result" in await at.ask({"number": "INV-7", "amount": 2})
        required(await at.ask({"number": "INV-7", "amount": 3}))
        assert at.executed == [{"number": "INV-7", "amount": 1}, {"number": "INV-7", "amount": 2}]


async def test_an_approval_for_several_calls_ends_by_its_own_time(tmp_path: Path) -> None:
    async with scene(tmp_path, ", repeat: {same: [number], for: 15m, calls: 3}") as at:
        await at.approve({"calls": 3, "seconds": 60})
        at.clock.ahead_s += 61
        required(await at.ask())
        assert at.executed == []


async def test_a_clock_that_is_set_back_lengthens_nothing(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        approved = await at.approve()
        at.clock.ahead_s -= 10
        assert required(await at.ask()) != approved["id"]
        assert at.executed == []


async def test_of_two_gates_that_share_the_store_one_uses_the_approval(tmp_path: Path) -> None:
    """As two worker processes of one gate do: each with a log of its own, under the same key."""
    shared, tools = tmp_path / "approvals", DescribedTools([TOOL])
    more = f"approvals: {{folder: {shared}, socket: {{path: {shared}/%s.sock, agents_share_user: true}}}}\n"
    async with (
        scripted_server(tools) as upstream,
        running_gate(tmp_path, upstream.url, policy=POLICY % "", more=more % "first") as first,
    ):
        home = tmp_path / "second"
        (home / "audit").mkdir(parents=True)
        for key in first.log_folder.glob("key.*"):
            shutil.copy2(key, home / "audit")
        config = config_of(upstream.url, endpoint=first.api.endpoint("gate"), more=more % "second")
        async with starting_gate(first.api, config, policy_of(POLICY % ""), home=home) as second:
            await second.service.wait_ready()
            async with local_person(first, shared / "first.sock") as person:
                for number in range(8):
                    await race((first, second), person, upstream, {"number": f"INV-{number}", "amount": 900})


async def race(
    gates: tuple[Gate, Gate], person: LocalPerson, upstream: ScriptedServer, call: Mapping[str, object]
) -> None:
    """One approval, and four calls at two gates that would use it."""
    context = await context_of(gates[0].api, "billing")
    said: list[dict[str, Any]] = []

    async def ask(gate: Gate) -> None:
        async with RawAgent(gate.addresses.agents.port, context).connected() as agent:
            await agent.ask(modern("tools/list"))
            said.append((await agent.ask(modern_call("refund", call))).message)

    await ask(gates[0])
    await person.approve(await person.whole({"id": required(said.pop())}))
    async with trio.open_nursery() as nursery:
        for gate in (*gates, *gates):
            nursery.start_soon(ask, gate)
    assert len([answer for answer in said if "result" in answer]) == 1, said
    calls = [asked.message["params"] for asked in upstream.requests if asked.message["method"] == "tools/call"]
    assert [params["arguments"] for params in calls].count(call) == 1
