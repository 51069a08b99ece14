"""Agents in a hurry: one that asks without end keeps nobody from answering, and one that hangs up spends no approval."""

from pathlib import Path
from typing import Final

import trio

from support.approval_roads import LEADS, session, waiting_call
from support.raw_agent import modern_call

PATIENCE_S: Final = 20.0


async def test_an_agent_that_asks_without_end_keeps_nobody_from_answering(tmp_path: Path) -> None:
    async with waiting_call(tmp_path) as at, trio.open_nursery() as nursery:
        asked = 0

        async def ask_without_end(number: str) -> None:
            nonlocal asked
            async with at.at.agent() as agent:
                while True:
                    await agent.ask(modern_call("refund", {"number": number, "amount": 1}))
                    asked += 1

        alice = session(await at.signs_in("alice@acme.test", LEADS))
        for number in ("INV-1", "INV-2", "INV-3"):
            with trio.CancelScope() as storm:
                async with trio.open_nursery() as agents:
                    before = asked
                    for _ in range(12):
                        agents.start_soon(ask_without_end, number)
                    with trio.fail_after(PATIENCE_S):
                        while asked < before + 50:  # noqa: ASYNC110  # calls over real sockets
                            await trio.sleep(0.01)
                    (waiting,) = [each for each in await at.local.waiting(2) if each["id"] != at.request["id"]]
                    said = {"binding": waiting["binding"], "verdict": "deny", "reason": "", "cover": None}
                    answer = await at.posts(alice, f"/api/v1/approvals/{waiting['id']}/decision", said)
                    storm.cancel()
            assert answer.status_code == 200, answer.text
        nursery.cancel_scope.cancel()


OTHER: Final = {"number": "INV-8", "amount": 1}


async def test_an_agent_that_hangs_up_before_its_call_is_made_spends_no_approval(tmp_path: Path) -> None:
    async with waiting_call(tmp_path) as at:
        await at.ask(arguments=OTHER)
        (waiting,) = [each for each in await at.local.waiting(2) if each["id"] != at.request["id"]]
        alice = session(await at.signs_in("alice@acme.test", LEADS))
        said = {"binding": waiting["binding"], "verdict": "approve", "reason": "", "cover": None}
        assert (await at.posts(alice, f"/api/v1/approvals/{waiting['id']}/decision", said)).status_code == 200
        calls = len(at.at.gate.traces)
        async with at.at.agent() as agent:
            await agent.say(modern_call("refund", OTHER))
        await at.at.gate.traces_when(calls + 1)
        found = await at.local.whole(waiting)
        assert (found["state"], found["used"]) == ("approved", 0)
