"""`callgate approvals --watch`: each request as it comes, for people and for scripts."""

import signal
from contextlib import AsyncExitStack
from pathlib import Path

import orjson
import pytest
import trio
from click.testing import CliRunner

from callgate.cli import main
from support.approval_site import AGENT
from support.approval_socket import BY_HAND, PATIENCE_S, admin_socket, at_a_terminal, listening, piped

HOSTILE = "x\x1b]0;owned\x07;\u202e"


async def test_prints_what_waits_and_each_that_comes(tmp_path: Path) -> None:
    async with admin_socket(tmp_path) as gate:
        first = await gate.site.asked(BY_HAND, amount=900)
        with piped(["approvals", "--watch", "--socket", str(gate.path)]) as watching:
            assert await watching.line() == f"{first.id[:8]}  refund on ledger  for {AGENT}  waiting, 15 min 0 s left"
            second = await gate.site.asked(BY_HAND, amount=901)
            assert (await watching.line()).startswith(second.id[:8])
            await gate.run("deny", first.id, "--reason", "no")
            assert await watching.line() == f"{first.id[:8]}  refund on ledger  denied"


async def test_tells_scripts_each_event_on_a_line_of_its_own(tmp_path: Path) -> None:
    async with admin_socket(tmp_path) as gate:
        with piped(["approvals", "watch", "--format", "json", "--socket", str(gate.path)]) as watching:
            request = await gate.site.asked(BY_HAND, amount=900)
            told = [orjson.loads(await watching.line())]
            await gate.run("approve", request.id, "--yes")
            told.append(orjson.loads(await watching.line()))
            await gate.site.desk.use(request.id, "d-1", "0" * 32)
            told.append(orjson.loads(await watching.line()))
    assert [(each["event"], each["request"]["id"]) for each in told] == [
        ("asked", request.id),
        ("approved", request.id),
        ("used", request.id),
    ]


@pytest.mark.parametrize(
    ("env", "sequence"),
    [
        ({"TERM_PROGRAM": "", "TERM": "foot"}, "\x1b]777;notify;callgate;refund on ledger waits for an answer\a"),
        ({"TERM_PROGRAM": "iTerm.app"}, "\x1b]9;callgate: refund on ledger waits for an answer\a"),
    ],
)
async def test_rings_and_asks_the_terminal_for_a_notification(
    tmp_path: Path, env: dict[str, str], sequence: str
) -> None:
    async with admin_socket(tmp_path) as gate:
        await gate.site.asked(BY_HAND, amount=900)
        with at_a_terminal(["approvals", "--watch", "--socket", str(gate.path)], **env) as terminal:
            said = await terminal.until(sequence)
    assert f"\a{sequence}" in said


async def test_a_storm_is_one_notification(tmp_path: Path) -> None:
    async with admin_socket(tmp_path) as gate:
        for amount in range(10):
            await gate.site.asked(BY_HAND, amount=amount)
        with at_a_terminal(["approvals", "--watch", "--socket", str(gate.path)]) as terminal:
            said = await terminal.until("calls wait for an answer\a")
    assert said.count("\x1b]") == 1
    assert "10 agents' calls wait for an answer" in said


async def test_a_name_that_an_agent_chose_rings_and_writes_nothing(tmp_path: Path) -> None:
    async with admin_socket(tmp_path) as gate:
        ask = gate.site.ask(BY_HAND, (await gate.site.asked(BY_HAND)).ask.owners, None, {})
        with at_a_terminal(["approvals", "--watch", "--socket", str(gate.path)]) as terminal:
            await terminal.until("waits for an answer\a")
            hostile = type(ask.binding)(AGENT, "ledger", HOSTILE, "0" * 64, "", ask.binding.policy)
            await gate.site.desk.ask(type(ask)(hostile, {}, BY_HAND))
            said = await terminal.until("⟨U+202E⟩ on ledger waits for an answer\a")
    assert "owned" in said
    # Two notes of ours, with two rings each: one for the terminal, one that ends the sequence.
    assert (said.count("\x1b]"), said.count("\a")) == (2, 4)
    assert "\u202e" not in said


async def test_waits_for_a_gate_that_starts_anew(tmp_path: Path) -> None:
    path = tmp_path / "watched.sock"
    async with admin_socket(tmp_path) as gate, AsyncExitStack() as running:
        first = await gate.site.asked(BY_HAND, amount=900)
        await running.enter_async_context(listening(path, gate.site.served))
        with piped(["approvals", "--watch", "--socket", str(path)]) as watching:
            assert (await watching.line()).startswith(first.id[:8])
            await running.aclose()
            assert "waiting for it" in await watching.complaint()
            second = await gate.site.asked(BY_HAND, amount=901)
            async with listening(path, gate.site.served):
                # What waited before is told once.
                assert (await watching.line()).startswith(second.id[:8])


async def test_ends_in_good_order_by_ctrl_c(tmp_path: Path) -> None:
    async with admin_socket(tmp_path) as gate:
        await gate.site.asked(BY_HAND, amount=900)
        with piped(["approvals", "--watch", "--socket", str(gate.path)]) as watching:
            await watching.line()
            watching.process.send_signal(signal.SIGINT)
            with trio.fail_after(PATIENCE_S):
                code = await trio.to_thread.run_sync(watching.process.wait)
            assert watching.process.stderr is not None
            assert (code, watching.process.stderr.read()) == (0, b"")


def test_does_not_wait_for_a_gate_that_was_never_there(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["approvals", "--watch", "--socket", str(tmp_path / "none.sock")])
    assert (result.exit_code, "is the gate running" in result.stderr) == (1, True)


async def test_ends_where_the_gate_lets_nobody_in(tmp_path: Path) -> None:
    async with admin_socket(tmp_path, uids=frozenset()) as gate:
        result = await gate.run("watch")
    assert (result.exit_code, "approvals.socket.users" in result.stderr) == (3, True)
