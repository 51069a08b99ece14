"""A session that a real gate recorded, sent through it again; and its decisions explained from its log."""

import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click
import pytest
import trio
from click.testing import CliRunner, Result

from callgate.audit.age import KeyPair
from callgate.audit.entries import Entry
from callgate.audit.reading import read_entries
from callgate.cli.explain import explain_call
from callgate.cli.session_replay import replay
from callgate.dev.agent import CallTool, ListTools, Step, open_agent, run_steps
from callgate.policy_files import policy_files
from callgate.policy_source import PolicySource
from support.gate import GATE, POLICY, Gate, context_of, running_gate
from support.policies import digest_of
from support.upstream import Asked, Reply, ScriptedServer, answer_with, scripted_server

STEPS: Sequence[Step] = [
    ListTools(),
    CallTool("get_invoice", {"number": "INV-1"}, "month end"),
    CallTool("refund", {"number": "INV-1", "amount": 5}),
    CallTool("wipe_ledger", {}),
]


async def until(holds: Callable[[], bool]) -> None:
    with trio.fail_after(10):
        while not holds():  # noqa: ASYNC110  # what is waited for is on disk
            await trio.sleep(0.02)


@dataclass
class Scene:
    gate: Gate
    source: PolicySource
    upstream: ScriptedServer
    policy: Path
    key: Path

    async def run(self, command: click.Command, *arguments: str) -> Result:
        options = [*arguments, "--log", str(self.gate.log_folder), "--identity", str(self.key)]
        return await trio.to_thread.run_sync(partial(CliRunner().invoke, command, options))

    async def replay(self, session: str, *more: str) -> Result:
        base = self.gate.url().removesuffix("/ledger/mcp")
        endpoint = self.gate.api.endpoint("billing")
        options = [session, "--to", base, "--gate", GATE, "--workload-api", endpoint, "--format", "json"]
        return await self.run(replay, *options, *more)

    async def entries(self, count: int) -> list[Entry]:
        """All requests of the log, once there are so many and each has its outcome."""
        found: list[Entry] = []

        def are_whole() -> bool:
            found[:] = read_entries(self.gate.log_folder)
            return len(found) >= count and all(entry.status != "open" for entry in found)

        await until(are_whole)
        return found

    @property
    def called(self) -> list[str]:
        """The tools that were called at the tool server."""
        asked = (asked.message for asked in self.upstream.requests)
        return [message["params"]["name"] for message in asked if message["method"] == "tools/call"]


@asynccontextmanager
async def scene(folder: Path) -> AsyncIterator[Scene]:
    auditor = KeyPair.generate()
    key = folder / "auditor.key"
    key.touch(mode=0o600)
    key.write_text(auditor.identity + "\n")
    (folder / "policy.yaml").write_text(POLICY)
    source = PolicySource.open(policy_files(folder, ["policy.yaml"], frozenset({"ledger"})))
    assert isinstance(source, PolicySource)

    async def answer(asked: Asked, reply: Reply) -> None:
        await answer_with(session_id="upstream-session")(asked, reply)

    audit = f"folder: audit, record: full, recipients: [{auditor.recipient}]"
    async with (
        scripted_server(answer) as upstream,
        running_gate(folder, upstream.url, policy=source, audit=audit) as gate,
    ):
        yield Scene(gate, source, upstream, folder / "policy.yaml", key)


async def played(at: Scene, mode: str) -> list[Entry]:
    """The session of an agent, once it is on record."""
    context = await context_of(at.gate.api, "billing")
    async with open_agent(at.gate.url(), context, mode=mode) as agent:
        await run_steps(agent, STEPS)
    return [entry for entry in await at.entries(len(STEPS) + 1) if entry.method in {"tools/list", "tools/call"}]


def lines(result: Result) -> list[dict[str, Any]]:
    assert result.exit_code in (0, 1), result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_dry_run_finds_the_same_decisions_and_forwards_nothing(tmp_path: Path, mode: str) -> None:
    async with scene(tmp_path) as at:
        session = (await played(at, mode))[0].session
        before = len(at.upstream.requests)

        result = await at.replay(session)

        *requests, summary = lines(result)
        assert result.exit_code == 0, result.output
        assert len(at.upstream.requests) == before
    sent = [(each["method"], each["tool"], each["same"]) for each in requests if each["not_sent"] is None]
    assert [each for each in sent if each[0] in {"tools/list", "tools/call"}] == [
        ("tools/list", None, True),
        ("tools/call", "get_invoice", True),
        ("tools/call", "refund", True),
        ("tools/call", "wipe_ledger", True),
    ]
    assert summary["differ"] == 0


async def test_a_dry_run_tells_what_another_policy_decides_otherwise(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        session = (await played(at, "auto"))[0].session
        before = len(at.upstream.requests)
        at.policy.write_text(POLICY.replace("get_invoice, refund, wipe_ledger]", "get_invoice]"))
        await until(lambda: at.source.current.digest != digest_of(POLICY))

        result = await at.replay(session)

        assert len(at.upstream.requests) == before
    changed = {each["tool"]: each["changed"] for each in lines(result)[:-1] if each["changed"]}
    assert result.exit_code == 1
    assert changed == {"refund": [{"what": "decision", "before": "allow", "after": "deny (no_grant)"}]}


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_sending_makes_the_calls_again_with_the_same_answers(tmp_path: Path, mode: str) -> None:
    async with scene(tmp_path) as at:
        session = (await played(at, mode))[0].session
        assert at.called == ["get_invoice", "refund"]

        result = await at.replay(session, "--send", "--yes")

        assert at.called == ["get_invoice", "refund"] * 2
    assert result.exit_code == 0, result.output
    assert lines(result)[-1]["differ"] == 0


async def test_a_decision_that_a_gate_made_is_explained_from_its_own_log(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        entries = await played(at, "auto")
        allowed = next(entry for entry in entries if entry.tool == "refund")
        denied = next(entry for entry in entries if entry.tool == "wipe_ledger")

        said = json.loads((await at.run(explain_call, "--decision", allowed.decision[:12], "--format", "json")).stdout)
        no = json.loads((await at.run(explain_call, "--trace-id", denied.trace, "--format", "json")).stdout)

    assert (said["decision"], said["policy_from"]) == ("allow", "as kept in the log")
    assert said["call"]["args"] == {"number": "INV-1", "amount": 5}
    assert [(rule["id"], rule["applies"]) for rule in said["rules"] if rule["applies"]] == [
        ("billing-works-with-invoices", True)
    ]
    assert (no["decision"], no["reason"], no["why"]) == ("deny", "denied", "denial nobody-wipes-the-ledger")
    # What the policy of then says to a call like that, and what was recorded, agree.
    assert not any("the record says" in note for note in (*said["notes"], *no["notes"]))
