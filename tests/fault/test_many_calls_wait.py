"""A thousand calls wait at once on one worker: nobody else notices, none is lost, and all go on when people decide."""

from pathlib import Path

import pytest

from support.gate import context_of
from support.raw_agent import RawAgent, modern_call
from support.waiting_crowd import crowd, running

CALLS = 1000
# The best of so many tells of the gate, and the others of what else this machine does.
ROUNDS = 12
# A TLS connection takes 34 KiB, and what waits on it no more than that again.
MAX_BYTES_A_CALL = 100 * 1024


@pytest.mark.quiet
@pytest.mark.timeout(300)
async def test_a_thousand_calls_wait_and_all_go_on_after_one_decision(tmp_path: Path) -> None:
    async with running(tmp_path, waits="10m") as at:
        alone_s, before = await at.other_calls(ROUNDS), at.resident_bytes
        async with crowd(at, CALLS):
            beside_s = await at.other_calls(ROUNDS)
            grown = at.resident_bytes - before
            assert at.executed == []
            await at.answer_all("approve")
        print(
            f"p99 {alone_s * 1e3:.2f} ms alone, {beside_s * 1e3:.2f} ms beside; {grown / CALLS / 1024:.0f} KiB a call"
        )

        assert all(b'"result"' in body for body in at.answers.values())
        assert sorted(at.executed) == sorted(at.answers)
        assert grown / CALLS < MAX_BYTES_A_CALL
        assert beside_s < 1.5 * alone_s


@pytest.mark.timeout(120)
async def test_what_waited_is_still_there_after_a_kill_and_is_used_once(tmp_path: Path) -> None:
    numbers = [f"INV-{number}" for number in range(50)]

    async def ask() -> list[str]:
        async with RawAgent(at.port, await context_of(at.api, "billing")).connected() as agent:
            answers = [(await agent.ask(modern_call("refund", {"number": number}))).message for number in numbers]
        return [str(answer.get("error", {}).get("data", {}).get("reason", "result")) for answer in answers]

    async with running(tmp_path, waits="0s") as at:
        assert await ask() == ["approval_required"] * 50
        at.gate.process.kill()
        await at.gate.process.wait()
    async with running(tmp_path, waits="0s") as at:
        waiting = await at.waits(50)
        decided = [
            {"id": each["id"], "binding": each["binding"], "verdict": "approve", "reason": ""} for each in waiting
        ]
        await at.person.client.post("/api/v1/decisions", json={"decisions": decided[:25]})
        at.gate.process.kill()
        await at.gate.process.wait()
    async with running(tmp_path, waits="0s") as at:
        first, again = await ask(), await ask()
        executed = at.executed

    assert first.count("result") == 25
    assert again == ["approval_required"] * 50
    assert len(executed) == len(set(executed)) == 25
