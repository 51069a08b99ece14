"""A gate that is killed again and again under load, and what is found in its log afterwards.

    figures = await kill_often(folder, api, rounds=25, seed=7)

Each life is a real `callgate serve` in a process of its own, on the same folder as the one before; SIGKILL comes at a
random moment, sometimes before it is ready.  A write of a few pages is hardly ever cut in two by that, as it is by a
power failure: sometimes part of a record is put after the last one.
"""

import json
import os
import random
import re
import signal
import ssl
import subprocess
import sys
import time
from base64 import urlsafe_b64decode
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import trio

from callgate.audit.checkpoint import VerifierKey
from callgate.audit.places import Places
from callgate.audit.verify import Verdict, verify
from callgate.dev.workload_api import DevWorkloadApi
from support.gate import context_of
from support.raw_agent import Answer, RawAgent, modern, modern_call
from support.record_format import faults_of
from support.serve_process import write_files
from support.tool_faults import OK
from support.upstream import Asked, Reply, ScriptedServer, said, scripted_server

AGENTS = 6
# A gate is killed so long after it was ready, at the most; or so long after it began.
LIFE_S = 0.3
BIRTH_S = 0.3
KILLED_EARLY = 0.15
TORN = 0.2
READY_WITHIN_S = 3.0
# For a machine that is busy with something else.
PATIENCE_S = 30.0
# Every refusal has a record of its own: that is what is looked at here.
_MORE = "limits: {max_connections_per_workload: 512}\n"
_AUDIT = "refusals_per_second: 10000"
PROGRESS = {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "at work"}}
_SCRIPT = Path(__file__).with_name("fork_server.py")
_LISTENS = re.compile(r"listening for agents on 127\.0\.0\.1:(\d+),")


@dataclass
class Figures:
    """What was seen.  `answers`, `refusals`: those that a client has got whole; `missing`: those without a record."""

    lives: int = 0
    killed_early: int = 0
    answers: int = 0
    refusals: int = 0
    forwarded: int = 0
    records: int = 0
    orphans: int = 0
    cuts: int = 0
    tears: int = 0
    missing: list[str] = field(default_factory=list)
    unrecorded: list[str] = field(default_factory=list)
    ready_s: list[float] = field(default_factory=list)
    verified: int = 0

    def __str__(self) -> str:
        ready = sorted(self.ready_s)
        return (
            f"{self.lives} kills ({self.killed_early} before it was ready): {self.answers} answers and {self.refusals} "
            f"refusals, {len(self.missing)} of them without a record; {self.forwarded} calls at the tool server, "
            f"{len(self.unrecorded)} of them without an intent; {self.records} records, {self.orphans} orphans, "
            f"{self.tears} torn ends and {self.cuts} cut off; the chain verified {self.verified} times; ready after "
            f"{ready[len(ready) // 2]:.2f} s at the median, {ready[-1]:.2f} s at the most"
        )


@dataclass
class Life:
    """One gate.  `listening` once its port is known, `ready` once it serves; `ended` when nothing more comes of it."""

    pid: int
    began: float
    port: int = 0
    listening: trio.Event = field(default_factory=trio.Event)
    ready: trio.Event = field(default_factory=trio.Event)
    ready_s: float = 0.0
    messages: list[str] = field(default_factory=list)

    def take(self, message: str) -> None:
        self.messages.append(message)
        if found := _LISTENS.match(message):
            self.port = int(found[1])
            self.listening.set()
        if message.startswith("ready as "):
            self.ready_s = time.monotonic() - self.began
            self.ready.set()


class ForkServer:
    """Starts gates quickly."""

    def __init__(self, process: trio.Process) -> None:
        self._process = process
        self._pids: dict[int, Life] = {}

    async def start(self, config: Path) -> Life:
        began = time.monotonic()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        await self._process.stdin.send_all(f"{config}\n".encode())
        life = Life(int(await self._process.stdout.receive_some(64)), began)
        return self._pids.setdefault(life.pid, life)

    async def listen(self) -> None:
        assert self._process.stderr is not None
        buffer, life = b"", None
        async for received in self._process.stderr:
            *lines, buffer = (buffer + received).split(b"\n")
            for line in lines:
                message = json.loads(line)["message"]
                if found := re.fullmatch(r"this is (\d+)", message):
                    pid = int(found[1])
                    # It may speak before we were told its number.
                    life = self._pids.setdefault(pid, Life(pid, time.monotonic()))
                elif life is not None:
                    life.take(message)


@asynccontextmanager
async def fork_server() -> AsyncIterator[ForkServer]:
    pipe = subprocess.PIPE
    run = partial(trio.run_process, [sys.executable, str(_SCRIPT)], stdin=pipe, stdout=pipe, stderr=pipe, check=False)
    async with trio.open_nursery() as nursery:
        process: trio.Process = await nursery.start(run)
        server = ForkServer(process)
        assert process.stdout is not None
        assert await process.stdout.receive_some(2) == b"0\n"
        nursery.start_soon(server.listen)
        yield server
        assert process.stdin is not None
        await process.stdin.aclose()


async def end_of(life: Life, number: signal.Signals) -> None:
    """Send the signal, and wait until the process is gone."""
    handle = os.pidfd_open(life.pid)
    try:
        os.kill(life.pid, number)
        with trio.fail_after(PATIENCE_S):
            await trio.lowlevel.wait_readable(handle)
    finally:
        os.close(handle)


class Load:
    """Agents that ask as fast as they are answered.  `answered`: by the id of each call, what its client has got."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        self._asked = 0
        self.answered: dict[str, Answer] = {}

    async def run(self, life: Life) -> None:
        """Until the gate is gone."""
        await life.listening.wait()
        async with trio.open_nursery() as nursery:
            for number in range(AGENTS):
                nursery.start_soon(self._ask, life.port, number)

    async def _ask(self, port: int, agent: int) -> None:
        # A gate without an identity hangs up; one that was killed, too, in the middle of anything.
        with suppress(OSError, AssertionError, trio.BrokenResourceError):
            await self._converse(port, agent)

    async def _converse(self, port: int, agent: int) -> None:
        async with RawAgent(port, self._context).connected() as connection:
            while True:
                self._asked += 1
                rpc_id = f"call-{self._asked}"
                if self._asked % 7 == agent % 7:
                    await self._keep(rpc_id, await connection.ask(modern_call("wipe_ledger", {"n": 1}, rpc_id=rpc_id)))
                elif self._asked % 11 == agent:
                    asked = modern("tools/list", {}, rpc_id=rpc_id)
                    await self._keep(rpc_id, await connection.ask(asked))
                else:
                    tool = "list_invoices" if self._asked % 2 else "get_invoice"
                    await self._keep(rpc_id, await connection.ask(modern_call(tool, {"n": agent}, rpc_id=rpc_id)))

    async def _keep(self, rpc_id: str, answer: Answer) -> None:
        self.answered[rpc_id] = answer


async def sometimes_streamed(asked: Asked, reply: Reply) -> None:
    """A tool server: list_invoices answers with events."""
    message = asked.message
    result = {"tools": []} if message["method"] == "tools/list" else OK
    if message["params"].get("name") == "list_invoices":
        await reply.events(PROGRESS, said(asked, result))
    else:
        await reply.json(said(asked, result))


class Crashes:
    """The killing of one gate after the other on one folder."""

    def __init__(self, folder: Path, api: DevWorkloadApi, chance: random.Random, figures: Figures) -> None:
        self._folder = folder
        self._api = api
        self._chance = chance
        self.figures = figures

    async def run(self, server: ForkServer, rounds: int) -> None:
        load = Load(await context_of(self._api, "billing"))
        async with scripted_server(sometimes_streamed) as upstream:
            config = write_files(self._folder, self._api.endpoint("gate"), upstream.url, _MORE, audit=_AUDIT)
            for _ in range(rounds):
                await self._live_and_die(await server.start(config), load)
                if self._chance.random() < TORN:
                    self._tear()
                await self._verify()
            life = await server.start(config)
            with trio.fail_after(PATIENCE_S):
                await life.ready.wait()
            await end_of(life, signal.SIGTERM)
            assert life.messages[-1] == "stopped", life.messages
        await self._take_stock(upstream, load)

    async def _live_and_die(self, life: Life, load: Load) -> None:
        figures = self.figures
        figures.lives += 1
        async with trio.open_nursery() as nursery:
            nursery.start_soon(load.run, life)
            if self._chance.random() < KILLED_EARLY:
                figures.killed_early += 1
                await trio.sleep(self._chance.uniform(0, BIRTH_S))
            else:
                with trio.fail_after(PATIENCE_S):
                    await life.ready.wait()
                figures.ready_s.append(life.ready_s)
                await trio.sleep(self._chance.uniform(0, LIFE_S))
            await end_of(life, signal.SIGKILL)
            life.listening.set()
        assert not any("cannot" in message for message in life.messages), life.messages

    def _tear(self) -> None:
        log = self._folder / "audit" / "log"
        last = max(log.iterdir(), default=None) if log.is_dir() else None
        if last and last.read_bytes().endswith(b"\n"):
            self.figures.tears += 1
            with last.open("ab") as file:
                file.write(
                    b'{"v":1,"seq":' + self._chance.randbytes(self._chance.randint(1, 5000)).replace(b"\n", b"1")
                )

    async def _verify(self) -> None:
        if not await trio.Path(Places(self._folder / "audit").checkpoint).exists():
            # Nothing is proved of the very first records before anything is signed.
            return
        verdict = await self.verdict()
        assert verdict.is_whole, verdict.findings

    async def verdict(self) -> Verdict:
        """What `callgate audit verify` says of the log as it is now."""
        key = VerifierKey.parse((self._folder / "audit" / "key.pub").read_text().strip())
        verdict = await trio.to_thread.run_sync(verify, self._folder / "audit", key)
        self.figures.verified += 1
        return verdict

    async def _take_stock(self, upstream: ScriptedServer, load: Load) -> None:
        verdict = await self.verdict()
        assert verdict.is_whole, verdict.findings
        assert verdict.covered.size == verdict.records, verdict.covered
        records = records_in(self._folder / "audit")
        assert faults_of(records) == []
        self._compare(records, upstream, load)
        self._look_at_outcomes(records)

    def _compare(self, records: list[dict[str, Any]], upstream: ScriptedServer, load: Load) -> None:
        figures = self.figures
        intents = {record["rpc"]: record for record in records if record["kind"] == "intent"}
        tokens = {record["token"]["jti"] for record in intents.values()}
        refused = {record["decision"] for record in records if record["kind"] == "refusal"}
        for rpc_id, answer in load.answered.items():
            if answer.reason:
                figures.refusals += 1
                decision = answer.message["error"]["data"]["decision_id"]
                figures.missing += [] if decision in refused else [f"{rpc_id}: {answer.reason}"]
            else:
                figures.answers += 1
                figures.missing += [] if rpc_id in intents else [rpc_id]
        figures.forwarded += len(upstream.requests)
        figures.unrecorded += [jti for asked in upstream.requests if (jti := jti_of(asked)) not in tokens]
        figures.records += len(records)

    def _look_at_outcomes(self, records: list[dict[str, Any]]) -> None:
        intents = [record["seq"] for record in records if record["kind"] == "intent"]
        outcomes = [record for record in records if record["kind"] == "outcome"]
        assert Counter(record["intent"] for record in outcomes) == Counter(intents)
        orphans = [record for record in outcomes if record.get("closed_by") == "recovery"]
        assert all(record["status"] == "unknown" for record in orphans)
        recoveries = [record for record in records if record["kind"] == "recovery"]
        assert sum(record["orphans"] for record in recoveries) >= len(orphans)
        self.figures.orphans += len(orphans)
        self.figures.cuts += sum("cut_bytes" in record for record in recoveries)
        assert records[-1]["kind"] == "stop"


async def kill_often(folder: Path, api: DevWorkloadApi, *, rounds: int, seed: int, of_one_log: int = 25) -> Figures:
    """Kill so many gates, `of_one_log` on one folder after the other; what was seen."""
    chance, figures = random.Random(seed), Figures()  # noqa: S311  # to be repeated
    async with fork_server() as server:
        for first in range(0, rounds, of_one_log):
            one = folder / f"from-{first}"
            one.mkdir()
            await Crashes(one, api, chance, figures).run(server, min(of_one_log, rounds - first))
    return figures


def records_in(folder: Path) -> list[dict[str, Any]]:
    """All records of a log, as the files have them, without one that is being written."""
    files = sorted((folder / "log").iterdir())
    return [json.loads(line) for file in files for line in file.read_bytes().split(b"\n")[:-1]]


def jti_of(asked: Asked) -> str:
    """Of the token that a call came with."""
    payload = (asked.header("authorization") or "").split(".")[1]
    return str(json.loads(urlsafe_b64decode(payload + "=="))["jti"])
