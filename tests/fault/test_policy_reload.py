"""The policy changes while calls are under way (POL-1, POL-2), over real mutual TLS.

Each call is decided by exactly one good policy, the one that its trace names; none fails for a change; a change is in
force within a second; what is broken changes nothing and is told of.
"""

import random
import signal
import statistics
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path

import pytest
import trio

from callgate.dev.workload_api import DevWorkloadApi
from callgate.policy_files import policy_files
from callgate.policy_source import PolicySource
from callgate.telemetry import names
from callgate.trace import DecisionTrace, Stage
from support.event_stream import event_stream
from support.gate import WORKLOADS, Gate, context_of, running_gate
from support.policies import FAULTS, WAYS, ConfigMap, digest_of, numbered, rename_over
from support.raw_agent import RawAgent, RawConnection, modern_call
from support.serve_process import CALLGATE, serving, write_files
from support.tls_agent import admin_page, until
from support.tool_faults import OK
from support.upstream import Asked, Reply, Script, said, scripted_server

# From the last byte of a change to the first decision by it.
IN_FORCE_S = 1.0
CHANGES = 50
CHANGE_EVERY_S = 0.1
AGENTS = 4
# POL-1: 100 calls a second.
CALL_EVERY_S = AGENTS / 100
# Of a connection, after so many requests.
NO_END = "limits: {requests_per_connection: 1000000}"
CALL = modern_call("get_invoice")
# Beyond what is promised, for a machine that is busy.
GRACE_S = 10.0


@dataclass
class Scene:
    """A gate whose policy stands in a file, and agents that call it."""

    gate: Gate
    path: Path
    source: PolicySource
    answers: list[bool] = field(default_factory=list)
    stop: bool = False

    @asynccontextmanager
    async def agent(self) -> AsyncIterator[RawConnection]:
        context = await context_of(self.gate.api, "billing")
        async with RawAgent(self.gate.addresses.agents.port, context).connected() as connection:
            yield connection

    async def call_all_the_time(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """One call after the other; each is let through, or denied by policy."""
        async with self.agent() as agent:
            task_status.started()
            while not self.stop:
                self.answers.append(await was_let(agent))
                await trio.sleep(CALL_EVERY_S)

    async def until_decided_by(self, text: str) -> None:
        with trio.fail_after(GRACE_S):
            async with self.agent() as agent:
                # A trace is written once its call is answered: with so many callers, the last one is not far back.
                while digest_of(text) not in map(digest_in, self.gate.traces[-AGENTS - 1 :]):
                    await was_let(agent)


async def was_let(agent: RawConnection) -> bool:
    """Whether a call of a tool that even policies grant is let through.  Fails where it ends in any third way."""
    answer = await agent.ask(CALL)
    assert answer.status == 200
    if "result" in answer.message:
        assert answer.message["result"] == OK
        return True
    assert (answer.code, answer.reason) == (-31403, "no_grant")
    return False


def digest_in(trace: DecisionTrace) -> str:
    """Of the policy that decided."""
    (decided,) = [record for record in trace.records if record.stage is Stage.DECIDE]
    return str(decided.attributes[names.POLICY_DIGEST])


@asynccontextmanager
async def scene(directory: Path, script: Script | None = None) -> AsyncIterator[Scene]:
    """Policy number 0 is in force."""
    path = directory / "policy.yaml"
    path.write_text(numbered(0))
    source = PolicySource.open(policy_files(directory, ["policy.yaml"], frozenset({"ledger"})))
    assert isinstance(source, PolicySource)
    async with (
        scripted_server(script) as upstream,
        running_gate(directory, upstream.url, policy=source, more=NO_END) as gate,
    ):
        yield Scene(gate, path, source)


@asynccontextmanager
async def under_load(directory: Path) -> AsyncIterator[Scene]:
    async with scene(directory) as at, trio.open_nursery() as nursery:
        for _ in range(AGENTS):
            await nursery.start(at.call_all_the_time)
        yield at
        at.stop = True


def clear_the_way(path: Path) -> None:
    """What the next change comes over is a file, as it is not after some of the faults."""
    if path.is_dir():
        path.rmdir()
    elif path.is_symlink():
        path.unlink()
    path.touch()


async def test_each_of_many_calls_is_decided_by_one_good_policy_while_ten_a_second_come_half_of_them_broken(
    tmp_path: Path,
) -> None:
    ways = cycle(WAYS.values())
    faults = cycle(break_it for break_it, _ in FAULTS.values())
    # In no order that the gate's own rhythm could fall in with, and the last of them good.
    changes = random.Random(4).sample(  # noqa: S311  # an order, no secret
        [*range(1, CHANGES // 2 + 1), *[None] * (CHANGES // 2)], CHANGES
    )
    async with under_load(tmp_path) as at:
        for number in (*changes, CHANGES):
            clear_the_way(at.path)
            if number is None:
                next(faults)(at.path)
            else:
                next(ways)(at.path, numbered(number))
            await trio.sleep(CHANGE_EVERY_S)
        await at.until_decided_by(numbered(CHANGES))
    good = {digest_of(numbered(number)): number % 2 == 0 for number in (*range(CHANGES // 2 + 1), CHANGES)}
    decided = [(digest_in(trace), trace.decision == "allow") for trace in at.gate.traces]
    assert {(digest, good.get(digest)) for digest, _ in decided} == set(decided)
    # A busy machine does not get to see each of them.
    assert len(set(decided)) > 2
    assert sum(let for _, let in decided) >= sum(at.answers) > 0
    assert {trace.reason for trace in at.gate.traces} == {"", "no_grant"}
    assert at.source.reloads.refused > 0
    assert at.source.problem == ""


async def test_a_change_decides_within_a_second(tmp_path: Path) -> None:
    """The median of several, because one may meet a machine that does something else for a second."""
    took = []
    async with under_load(tmp_path) as at:
        for number in range(1, 10):
            started = trio.current_time()
            rename_over(at.path, numbered(number))
            await at.until_decided_by(numbered(number))
            took.append(trio.current_time() - started)
    assert statistics.median(took) <= IN_FORCE_S, took


async def test_a_swapped_configmap_decides_under_load(tmp_path: Path) -> None:
    mounted = ConfigMap(tmp_path / "etc", {"policy.yaml": numbered(0)})
    source = PolicySource.open(policy_files(tmp_path, ["etc"], frozenset({"ledger"})))
    assert isinstance(source, PolicySource)
    async with scripted_server() as upstream, running_gate(tmp_path, upstream.url, policy=source, more=NO_END) as gate:
        at = Scene(gate, tmp_path, source)
        async with trio.open_nursery() as nursery:
            await nursery.start(at.call_all_the_time)
            for number in range(1, 6):
                mounted.update({"policy.yaml": numbered(number)})
                await at.until_decided_by(numbered(number))
            at.stop = True
    assert source.reloads.refused == 0
    assert {trace.reason for trace in gate.traces} == {"", "no_grant"}


@pytest.mark.parametrize("fault", FAULTS)
async def test_the_last_good_policy_decides_and_readiness_says_so_while_the_file(tmp_path: Path, fault: str) -> None:
    async with scene(tmp_path) as at, at.agent() as agent:
        FAULTS[fault][0](at.path)
        await until(lambda: at.source.problem != "")
        assert await was_let(agent)
        (trace,) = await at.gate.traces_when(1)
        assert digest_in(trace) == digest_of(numbered(0))
        status, ready = await admin_page(at.gate, "/readyz")
        assert (status, ready) == (200, {"ready": True, "missing": [], "notes": [at.source.note]})
        assert str(at.path) in at.source.note
        assert digest_of(numbered(0)) in at.source.note


async def test_an_open_stream_outlives_a_change_that_denies_its_call(tmp_path: Path) -> None:
    changed = trio.Event()
    progress = {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "at work"}}

    async def slowly(asked: Asked, reply: Reply) -> None:
        await reply.start_events()
        await reply.event(progress)
        await changed.wait()
        await reply.event(progress)
        await reply.event(said(asked, OK))
        await reply.end_events()

    async with scene(tmp_path, slowly) as at, at.agent() as agent, at.agent() as other:
        await agent.say(CALL)
        stream = await event_stream(agent)
        with trio.fail_after(GRACE_S):
            assert await stream.next() == progress
            rename_over(at.path, numbered(1))
            await until(lambda: at.source.current.digest == digest_of(numbered(1)))
            assert not await was_let(other)
            changed.set()
            assert await stream.next() == progress
            assert [message["result"] for message in await stream.rest()] == [OK]
        assert not await was_let(agent)
        digests = sorted(map(digest_in, await at.gate.traces_when(3)))
        assert digests == sorted(digest_of(numbered(number)) for number in (0, 1, 1))


async def test_a_policy_in_shadow_follows_its_file_and_is_told_of_apart(tmp_path: Path) -> None:
    (tmp_path / "shadow.yaml").write_text(numbered(1))
    shadow = PolicySource.open(policy_files(tmp_path, ["shadow.yaml"]), what="shadow policy")
    assert isinstance(shadow, PolicySource)
    async with (
        scripted_server() as upstream,
        running_gate(tmp_path, upstream.url, policy=numbered(0), shadow=shadow) as gate,
    ):
        rename_over(tmp_path / "shadow.yaml", numbered(3))
        await until(lambda: shadow.current.digest == digest_of(numbered(3)))
        rename_over(tmp_path / "shadow.yaml", "")
        await until(lambda: shadow.problem != "")
        _, ready = await admin_page(gate, "/readyz")
        assert ready["notes"] == [shadow.note]
        assert shadow.note.startswith(f"shadow policy: {tmp_path}/shadow.yaml:1:1: is empty; sha256:")


# As a process.


@pytest.fixture
def api(tmp_path: Path) -> Iterator[DevWorkloadApi]:
    with DevWorkloadApi(tmp_path / "spiffe", WORKLOADS, ttl_s=300, dns_names={"gate": ["localhost"]}) as running:
        yield running


async def test_serve_follows_its_policy_and_says_what_it_has_read_on_sighup(
    tmp_path: Path, api: DevWorkloadApi
) -> None:
    async with scripted_server() as upstream, serving(tmp_path, api.endpoint("gate"), upstream.url) as gate:
        port, _ = await gate.ready()
        gate.process.send_signal(signal.SIGHUP)
        await gate.line("SIGHUP: reading the policy")
        still = await gate.line("policy still in force: sha256:")
        rename_over(tmp_path / "policy.yaml", numbered(1))
        await gate.line(f"policy in force: {digest_of(numbered(1))}")
        async with RawAgent(port, await context_of(api, "billing")).connected() as agent:
            assert not await was_let(agent)
            rename_over(tmp_path / "policy.yaml", "")
            refused = await gate.line(f"policy: {tmp_path}/policy.yaml:1:1: is empty; {digest_of(numbered(1))}")
            gate.process.send_signal(signal.SIGHUP)
            await gate.lines_with(refused, 2)
            assert not await was_let(agent)
            rename_over(tmp_path / "policy.yaml", numbered(2))
            await gate.line(f"policy in force: {digest_of(numbered(2))}")
            assert await was_let(agent)
        gate.process.send_signal(signal.SIGTERM)
        assert await gate.end(GRACE_S) == 0
    assert "grants: 3, denials: 1" in still
    assert {line["level"] for line in gate.lines if line["message"] == refused} == {"error"}


async def test_serve_refuses_to_start_with_a_policy_that_is_wrong_and_names_all_that_is(tmp_path: Path) -> None:
    """Never "allow all", and not the half of it that is good."""
    path = write_files(tmp_path, "unix:///x.sock", "http://127.0.0.1:9/mcp", "shadow_policy: [next.yaml]\n")
    path.write_text(path.read_text().replace("policy: policy.yaml\n", "policy: [policy.yaml, more, gone.yaml]\n", 1))
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "a.yaml").write_text(numbered(0).replace("server: ledger", "server: leger"))
    (tmp_path / "more" / "b.yaml").write_text("")
    (tmp_path / "next.yaml").write_text(numbered(0).replace("trust_domains", "trust_domain"))
    command = [str(CALLGATE), "serve", "-c", str(path)]
    with trio.fail_after(60):
        done = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)
    assert (done.returncode, done.stdout) == (1, b"")
    lines = done.stderr.decode().replace(f"{tmp_path}/", "").splitlines()
    places = {line.partition(": ")[0] for line in lines}
    wrong = {"more/a.yaml:7:13", "more/a.yaml:11:13", "more/b.yaml:1:1", "next.yaml:2:1", "next.yaml:3:1"}
    assert places == {"gone.yaml", *wrong}, lines
