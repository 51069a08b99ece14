"""The gate and the tool server as processes of their own, each attested by the same SPIRE agent."""

import json
import re
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trio

from callgate.addresses import Url
from callgate.approvals.client import AdminSocket
from callgate.audit.keys import make_key
from callgate.dev.demo_files import AUDIENCE, GATE_ID, ISSUER, POLICY
from spire.workloads import GATE, LEDGER, Json, Spire, Workload, running
from support.collector import Collector, ReceivedSpan

_TESTS = Path(__file__).parents[1]
_SERVE_LEDGER = Path(__file__).with_name("serve_ledger.py")
_PLAY_AGENT = Path(__file__).with_name("play_agent.py")
# Imports on a busy machine take most of it.
_START_S = 30
# `limits.drain_s` is 10 s, and telemetry adds two at most.
_STOP_S = 15
_LISTENING = re.compile(r"for agents on 127\.0\.0\.1:(?P<agents>\d+), .* on 127\.0\.0\.1:(?P<admin>\d+)")

LEDGER_ID = "spiffe://acme.test/tools/ledger"
CONFIG = """\
listen: 127.0.0.1:0
issuer: {issuer}
policy: policy.yaml
admin: {{listen: "127.0.0.1:0"}}
servers:
  ledger:
    url: https://127.0.0.1:{ledger_port}/mcp
    identity: {ledger_id}
    token: {{audience: "{audience}", ttl: 20s, list_scopes: granted}}
audit: {{folder: audit}}
# Agents, gate and the test that plays the person are one user here.
approvals: {{socket: {{agents_share_user: true}}}}
telemetry: {{otlp: "{otlp}"}}
"""

_READ = ("accept=ok", "authenticate=ok", "read=ok", "identify=ok")
ALLOWED = (*_READ, "decide=ok", "inspect=ok", "mint=ok", "record=ok", "forward=ok", "screen=ok", "respond=ok")
"""The decision path of a call that came through."""

StepSpec = tuple[str, Mapping[str, object]] | None
"""A step as `play_agent` takes it: a tool call, or None for `tools/list`."""

LIST_TOOLS: StepSpec = None
GET_INVOICE: StepSpec = ("get_invoice", {"number": "INV-1001"})
WIPE_LEDGER: StepSpec = ("wipe_ledger", {})


@dataclass(slots=True)
class Stage:
    """A running gate with the ledger behind it.  `people`: the socket at which they answer.

    `tokens_seen`: what the ledger said of each token, so far, and all of it once the stage is taken down.  `gate_log`
    and `gate_status` (its exit status after SIGTERM) likewise.
    """

    spire: Spire
    people: AdminSocket
    url: str = ""
    tokens_seen: list[Json] = field(default_factory=list)
    gate_log: list[str] = field(default_factory=list)
    gate_status: int | None = None

    def take_token(self, line: str) -> None:
        """A line of the ledger's."""
        self.tokens_seen.append(json.loads(line))

    @asynccontextmanager
    async def agent(
        self, workload: str, how: str, steps: Sequence[StepSpec], sessions: int = 1
    ) -> AsyncIterator[Workload]:
        """`play_agent` as that workload."""
        command = self.spire.command(workload, _PLAY_AGENT, how, self.url, json.dumps(steps), str(sessions))
        async with running(command, self.spire.environment) as agent:
            yield agent

    async def play(self, workload: str, *steps: StepSpec) -> Json:
        """One session of that workload; what it says of it."""
        async with self.agent(workload, "once", steps) as agent:
            return await agent.next_line()


@asynccontextmanager
async def gate_and_ledger(spire: Spire, directory: Path, collector: Collector) -> AsyncIterator[Stage]:
    """Both, ready to serve.  On leaving, the gate is asked to stop and has sent its last traces."""
    stage = Stage(spire, AdminSocket(directory / "approvals" / "admin.sock"))
    ledger_environment = {**spire.environment, "PYTHONPATH": str(_TESTS)}
    async with running(spire.command(LEDGER, _SERVE_LEDGER), ledger_environment) as ledger:
        with trio.fail_after(_START_S):
            ledger_port = (await ledger.next_line())["port"]
        config = _write_files(directory, ledger_port, collector.url)
        command = spire.command(GATE, "-m", "callgate", "serve", "-c", config)
        # Log lines go to standard error.
        async with running(command, spire.environment, stderr=subprocess.STDOUT) as gate:
            await _start(stage, gate, ledger)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ledger.follow, stage.take_token)
                nursery.start_soon(gate.follow, stage.gate_log.append)
                yield stage
                gate.process.terminate()
                with trio.fail_after(_STOP_S):
                    stage.gate_status = await gate.process.wait()
                ledger.process.terminate()


def _write_files(directory: Path, ledger_port: int, otlp: str) -> Path:
    config = directory / "callgate.yaml"
    config.write_text(
        CONFIG.format(issuer=ISSUER, audience=AUDIENCE, ledger_id=LEDGER_ID, ledger_port=ledger_port, otlp=otlp)
    )
    (directory / "policy.yaml").write_text(POLICY)
    make_key(directory / "audit" / "key.pem", f"{Url.parse(ISSUER).authority}/audit")
    return config


async def _start(stage: Stage, gate: Workload, ledger: Workload) -> None:
    """Learn where the gate listens, tell the ledger where its keys are, and wait for the gate's identity."""
    listening = await _said(gate, _LISTENING, stage.gate_log)
    stage.url = f"https://localhost:{listening['agents']}/ledger/mcp"
    await ledger.tell(f"http://127.0.0.1:{listening['admin']}/.well-known/jwks.json")
    await _said(gate, re.compile("ready as " + re.escape(GATE_ID)), stage.gate_log)


async def _said(gate: Workload, wanted: re.Pattern[str], log: list[str]) -> re.Match[str]:
    try:
        with trio.fail_after(_START_S):
            while True:
                log.append(await gate.next_text())
                if found := wanted.search(log[-1]):
                    return found
    except (EOFError, trio.TooSlowError) as error:
        raise AssertionError("the gate did not start:\n" + "\n".join(log)) from error


def server_spans(collector: Collector) -> list[ReceivedSpan]:
    """One for each trace."""
    return [span for span in collector.spans if span.kind == "SERVER"]


def denied(reason: str) -> tuple[str, ...]:
    """The decision path of a call that policy refused."""
    return (*_READ, f"decide=refused:{reason}", "respond=ok")
