"""The demo: an agent that holds no secret calls tools through a real gate, on embedded defaults.

Everything but the source of trust is what production uses: the development Workload API stands where SPIRE's agent
stands, and the rest (mutual TLS, decisions, tokens, a FastMCP tool server, the official MCP client) is real.
"""

import random
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import trio

from callgate.approvals.client import AdminSocket
from callgate.audit.age import KeyPair
from callgate.audit.identities import write_identity
from callgate.audit.keys import make_key
from callgate.audit.places import Places
from callgate.config import Config
from callgate.dev.agent import (
    Allowed,
    CallTool,
    CannotReachGate,
    Denied,
    Listed,
    ListTools,
    Step,
    StepResult,
    agent_context,
    context_without_svid,
    open_agent,
    run_step,
)
from callgate.dev.demo_files import (
    AGENT_ID,
    AUDIENCE,
    AUDITOR_ID,
    CONFIG,
    GATE_ID,
    ISSUER,
    write_files,
)
from callgate.dev.demo_people import NO, YES, Answering, DemoFailed, Script
from callgate.dev.identity import workload_identity
from callgate.dev.workload_api import DevWorkloadApi
from callgate.errors import Reason
from callgate.identity.spiffe_id import SpiffeId
from callgate.identity.trust import X509Context
from callgate.policy.compile import Policy
from callgate.service import Addresses, Service
from callgate.telemetry import names
from callgate.trace import DecisionTrace

# What starting one part may take on a slow laptop.
PATIENCE_S = 30.0
# Below those that Linux hands out by itself (ip_local_port_range, from 32768): one that is free stays so until somebody
# asks for it by its number.
_PORTS = range(20_000, 32_000)
_PORTS_TRIED = 1_000

# Who has it can read what was recorded; a gate never does.
AUDITOR_KEY = "auditor.txt"
Play = Callable[[Step, StepResult | type[StepResult] | None], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Telling:
    """How the demo speaks: `say` prints a line, `show` prints a decision path; `answer` is the person in it."""

    say: Callable[[str], None]
    show: Callable[[DecisionTrace], None]
    answer: Answering


@dataclass(slots=True)
class Stage:
    """The running parts.  `traces` grows with each request."""

    directory: Path
    api: DevWorkloadApi
    config: Config
    addresses: Addresses
    traces: list[DecisionTrace] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Where agents find the ledger."""
        return f"https://localhost:{self.addresses.agents.port}/ledger/mcp"

    @property
    def people(self) -> AdminSocket:
        """Where people answer: the socket of the gate's own machine."""
        approvals = self.config.approvals
        assert approvals is not None and approvals.socket_path is not None  # noqa: S101, PT018  # see CONFIG
        return AdminSocket(self.directory / approvals.socket_path)

    def last(self) -> DecisionTrace:
        """The trace of the latest request."""
        return self.traces[-1]

    def last_call(self) -> DecisionTrace:
        """The trace of the latest call of a tool; clients list tools by themselves."""
        return next(trace for trace in reversed(self.traces) if trace.attribute(names.GEN_AI_TOOL_NAME))


@asynccontextmanager
async def set_up(directory: Path, telling: Telling, record: Callable[[DecisionTrace], None]) -> AsyncIterator[Stage]:
    """Start the development Workload API, the tool server and the gate; stop them at the end.

    Writes `callgate.yaml` and `policy.yaml` into `directory`.  Raises `DemoFailed`.
    """
    workloads = {"gate": GATE_ID, "refund-agent": AGENT_ID, "auditor": AUDITOR_ID}
    with DevWorkloadApi(directory / "spiffe", workloads, dns_names={"gate": ["localhost"]}) as api:
        telling.say(f"  ✓ development SPIFFE Workload API   {directory / 'spiffe'}/*.sock")
        gate_port, admin_port = free_ports(2)
        async with ledger(f"http://127.0.0.1:{admin_port}/.well-known/jwks.json") as ledger_port:
            telling.say(f"  ✓ tool server “ledger” (FastMCP)    http://127.0.0.1:{ledger_port}/mcp")
            auditor = KeyPair.generate()
            text = CONFIG.format(
                recipient=auditor.recipient,
                gate_port=gate_port,
                admin_port=admin_port,
                ledger_port=ledger_port,
                workload_api=api.endpoint("gate"),
                issuer=ISSUER,
                audience=AUDIENCE,
            )
            config, policy = write_files(directory, text)
            write_identity(directory / AUDITOR_KEY, auditor)
            make_key(Path(Places(directory / config.audit.folder).key), config.audit.origin)
            async with gate(config, policy, directory, record) as (addresses, traces):
                telling.say(f"  ✓ gate as {GATE_ID}   https://localhost:{addresses.agents.port}")
                yield Stage(directory, api, config, addresses, traces)


@asynccontextmanager
async def gate(
    config: Config, policy: Policy, directory: Path, record: Callable[[DecisionTrace], None]
) -> AsyncIterator[tuple[Addresses, list[DecisionTrace]]]:
    """A gate of the demo's own process."""
    traces: list[DecisionTrace] = []

    def take(trace: DecisionTrace) -> None:
        traces.append(trace)
        record(trace)

    service = Service(config, policy, take, folder=directory)
    async with trio.open_nursery() as nursery:
        addresses: Addresses = await nursery.start(service.run)
        with trio.move_on_after(PATIENCE_S) as waiting:
            await service.wait_ready()
        if waiting.cancelled_caught:
            raise DemoFailed("; ".join(service.readiness().missing))
        yield addresses, traces
        service.stop()


@asynccontextmanager
async def ledger(jwks_uri: str) -> AsyncIterator[int]:
    """The tool server as a process of its own; yields its port."""
    command = [sys.executable, "-m", "callgate.dev.ledger", "--port", "0"]
    command += ["--issuer", ISSUER, "--jwks-uri", jwks_uri, "--audience", AUDIENCE]
    run = partial(trio.run_process, command, stdout=subprocess.PIPE, check=False)
    async with trio.open_nursery() as nursery:
        process: trio.Process = await nursery.start(run)
        try:
            yield await _announced_port(process)
        finally:
            with suppress(ProcessLookupError):
                process.terminate()


async def _announced_port(process: trio.Process) -> int:
    assert process.stdout is not None  # noqa: S101  # asked for above
    said = b""
    with trio.move_on_after(PATIENCE_S):
        while b"\n" not in said:
            received = await process.stdout.receive_some(1024)
            if not received:
                break
            said += received
    word, _, port = said.decode(errors="replace").strip().partition(" ")
    if word != "ready":
        raise DemoFailed("the tool server did not start; is the extra installed? pip install 'callgate[demo]'")
    return int(port)


def free_ports(count: int) -> list[int]:
    """Ports that are free now: gate and tool server have to know each other's before either runs.

    Raises OSError where hardly any is.
    """
    sockets: list[socket.socket] = []
    try:
        for port in random.sample(_PORTS, _PORTS_TRIED):
            if len(sockets) == count:
                break
            with suppress(OSError):
                sockets.append(socket.create_server(("127.0.0.1", port)))
        else:
            raise OSError("this machine has no free port between 20000 and 32000")
        return [sock.getsockname()[1] for sock in sockets]
    finally:
        for sock in sockets:
            sock.close()


async def tell_story(stage: Stage, telling: Telling) -> tuple[DecisionTrace, DecisionTrace]:
    """Play the story; returns the traces of the allowed call and of the denied one.  Raises `DemoFailed`."""
    allowed, denied = await _the_agent(stage, telling)
    await _the_person(stage, telling)
    await _the_auditor(stage, telling)
    await _a_caller_without_svid(stage, telling)
    return allowed, denied


async def _the_agent(stage: Stage, telling: Telling) -> tuple[DecisionTrace, DecisionTrace]:
    telling.say(f"\n1  {AGENT_ID}\n   opens one session. It holds no secret, only the SVID of its workload.\n")
    identity = await workload_identity(stage.api.endpoint("refund-agent"))
    async with _session(stage, identity, telling) as play:
        await play(ListTools(), Listed(("list_invoices", "get_invoice", "refund")))
        await play(CallTool("get_invoice", {"number": "INV-1001"}), Allowed)
        allowed = stage.last()
        telling.show(allowed)
        telling.say("\n   The call next to it, in the same session:\n")
        await play(CallTool("wipe_ledger"), Denied)
        denied = stage.last()
        telling.show(denied)
        telling.say("\n   The session goes on:\n")
        await play(CallTool("refund", {"number": "INV-1001", "amount": 20}), Allowed)
        telling.say("\n   The same tool with another argument:\n")
        await play(CallTool("refund", {"number": "INV-1001", "amount": 900}), Denied)
        telling.show(stage.last())
    return allowed, denied


async def _the_person(stage: Stage, telling: Telling) -> None:
    telling.say(f"\n2  {AGENT_ID}\n   asks for more than it may do alone. Its call waits until a person has answered.")
    telling.say(f"   {telling.answer.introduction}\n")
    identity = await workload_identity(stage.api.endpoint("refund-agent"))
    async with _session(stage, identity, telling) as play:
        for amount, answer in ((250, YES), (400, NO)):
            call = CallTool("refund", {"number": "INV-1001", "amount": amount})
            telling.say(f"   {_asked(call)}  →  held\n")
            # A person who watches may say what they like.
            wanted = answer.wanted if isinstance(telling.answer, Script) else None
            async with trio.open_nursery() as nursery:
                nursery.start_soon(telling.answer, stage.people, answer)
                await play(call, wanted)
            telling.show(stage.last_call())
            telling.say("")


async def _the_auditor(stage: Stage, telling: Telling) -> None:
    telling.say(f"\n3  {AUDITOR_ID}\n   is another workload, and is shown other tools.\n")
    identity = await workload_identity(stage.api.endpoint("auditor"))
    async with _session(stage, identity, telling) as play:
        await play(ListTools(), Listed(("list_invoices", "close_month")))
        await play(CallTool("close_month", {"month": "2026-10"}), Allowed)
        await play(CallTool("refund", {"number": "INV-1001", "amount": 20}), Denied)
        telling.show(stage.last())


async def _a_caller_without_svid(stage: Stage, telling: Telling) -> None:
    telling.say("\n4  A caller without an SVID gets no further than the handshake.\n")
    identity = await workload_identity(stage.api.endpoint("refund-agent"))
    gate_id = SpiffeId.parse(GATE_ID)
    context = context_without_svid(identity.bundles[gate_id.trust_domain], gate_id)
    known = len(stage.traces)
    try:
        async with open_agent(stage.url, context):
            raise DemoFailed("a caller without an SVID was let in")
    except CannotReachGate as refused:
        telling.say(f"   → {refused}\n")
    trace = stage.traces[known]
    if trace.reason != Reason.TLS_NO_CERTIFICATE:
        raise DemoFailed(f"the trace says {trace.reason}")
    telling.show(trace)


@asynccontextmanager
async def _session(stage: Stage, identity: X509Context, telling: Telling) -> AsyncIterator[Play]:
    """One agent's session with the gate; yields a function that plays a step and tells what came of it.

    What the step comes to must be as wanted; None for whatever it is.
    """
    async with open_agent(stage.url, agent_context(identity, SpiffeId.parse(GATE_ID))) as agent:

        async def play(step: Step, wanted: StepResult | type[StepResult] | None) -> None:
            found = await run_step(agent, step)
            telling.say(f"   {_asked(step)}  →  {_came_of(found)}")
            fits = isinstance(found, wanted) if isinstance(wanted, type) else wanted in (found, None)
            if not fits:
                raise DemoFailed(f"expected {wanted}, got {found}")

        yield play


def _asked(step: Step) -> str:
    if isinstance(step, ListTools):
        return "tools/list"
    return f"{step.name}({', '.join(f'{key}={value!r}' for key, value in step.arguments.items())})"


def _came_of(found: StepResult) -> str:
    match found:
        case Listed(tools):
            return ", ".join(tools)
        case Allowed(text, _, progress):
            return "; ".join([*(f"{p.message}…" for p in progress), f"“{text}”"])
        case Denied(code, message, reason, said=said):
            return f"error {code}: {message} ({reason})" + (f", “{said}”" if said else "")
