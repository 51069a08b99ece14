"""A gate that asks people, agents whose calls wait there, and the provider where people sign in; for blocking tests.

    with asking_gates(folder) as world:
        call = world.gate.asked("refund", number="INV-7", amount=900)
        ...
        result = call.result()

The gate is `callgate serve` in its own process, the provider is Canaille in another one, and agents are the official
client's.  They run on a thread with an event loop of its own: what drives a browser blocks.
"""

import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

from anyio.from_thread import BlockingPortal, start_blocking_portal

from callgate.approvals.client import AdminSocket
from callgate.approvals.sign_in.settings import SIGNED_IN_PATH
from callgate.dev.agent import CallTool, ListTools, Step, StepResult, agent_context, open_agent, run_steps
from callgate.dev.demo import free_ports
from callgate.dev.identity import workload_identity
from callgate.dev.workload_api import DevWorkloadApi
from callgate.identity.spiffe_id import SpiffeId
from support.described_tools import DescribedTools, tool
from support.gate import GATE, WORKLOADS, WallClock, running_gate
from support.on_record import Record, records_in
from support.openid_provider import CLIENT_SECRET, USER, Member, Provider, provider_served
from support.serve_process import serving
from support.upstream import ScriptedServer, scripted_server

PATIENCE_S: Final = 60.0
# Longer than any test sets a clock forward.
_SVID_TTL_S: Final = 3600.0
AGENT: Final = WORKLOADS["billing"]


def _member(name: str, *groups: str) -> Member:
    user = {
        "user_name": name,
        "family_name": name.title(),
        "formatted_name": name.title(),
        "emails": [f"{name}@acme.test"],
        "password": f"the password of {name}",
    }
    return Member(user, groups)


# Beside Alice, who is in two groups that no grant names.
MEMBERS: Final = (
    _member("bob", "payments-leads"),
    _member("carol", "payments-leads"),
    _member("olivia", "payments-leads", "billing-developers"),
)
PASSWORDS: Final = {"alice": str(USER["password"])} | {
    str(each.user["user_name"]): str(each.user["password"]) for each in MEMBERS
}
TOOLS: Final = (
    tool("get_invoice", {"number": {"type": "string"}}),
    tool("refund", {"number": {"type": "string"}, "amount": {"type": "integer"}}),
    {
        "name": "run_sql",
        "title": "Run SQL",
        "description": "Runs one statement on the ledger's database.",
        "annotations": {"destructiveHint": True},
        "inputSchema": {"type": "object"},
    },
    *(tool(name, {"number": {"type": "string"}}) for name in ("close_month", "send_money", "open_account")),
)
POLICY: Final = """
version: 1
trust_domains: [acme.test]
tools:
  - {server: ledger, tools: [run_sql], sql: {query: postgres}}
owners:
  - workloads: ["spiffe://acme.test/ns/billing/**"]
    groups: [billing-developers]
grants:
  - {id: looks, workloads: ["spiffe://acme.test/**"], server: ledger, tools: [get_invoice]}
  - id: refunds
    workloads: ["spiffe://acme.test/**"]
    server: ledger
    tools: [refund]
    approval: {groups: [payments-leads, local], waits: 5m, stands: 10m}
  - id: changes-of-the-schema
    workloads: ["spiffe://acme.test/**"]
    server: ledger
    tools: [run_sql]
    mask_arguments: [{entity: email, mode: hold}]
    approval: {groups: [payments-leads], waits: 5m, stands: 10m, four_eyes: true}
  - id: two-close-a-month
    workloads: ["spiffe://acme.test/**"]
    server: ledger
    tools: [close_month]
    approval: {groups: [payments-leads], needed: 2, waits: 5m, stands: 10m}
  - id: who-sends-money-has-just-signed-in
    workloads: ["spiffe://acme.test/**"]
    server: ledger
    tools: [send_money]
    approval: {groups: [payments-leads], sign_in: 1m, waits: 5m, stands: 10m}
  - id: soon-over
    workloads: ["spiffe://acme.test/**"]
    server: ledger
    tools: [open_account]
    approval: {groups: [payments-leads], waits: 1m, stands: 1m}
"""


@dataclass(frozen=True)
class Waiting:
    """A call that waits, and the request that people are asked."""

    id: str
    playing: Future[list[StepResult]]

    @property
    def path(self) -> str:
        return f"/approvals/r/{self.id}"

    def results(self) -> list[StepResult]:
        """What came of each step, once the agent has its answers."""
        return self.playing.result(PATIENCE_S)

    def result(self) -> StepResult:
        """What came of the call that waited."""
        return self.results()[-1]


@dataclass
class AskingGate:
    """One gate.  `url`: of its site; `called`: the arguments of each call that reached the tool server."""

    url: str
    socket: AdminSocket
    log: Path
    agents_port: int
    api: DevWorkloadApi
    upstream: ScriptedServer
    portal: BlockingPortal
    clock: WallClock = field(default_factory=WallClock)
    _known: set[str] = field(default_factory=set)

    def called(self, name: str) -> list[dict[str, Any]]:
        messages = [asked.message for asked in self.upstream.requests]
        params = [message["params"] for message in messages if message["method"] == "tools/call"]
        return [dict(each["arguments"]) for each in params if each["name"] == name]

    def asked(self, name: str, **arguments: object) -> Waiting:
        """An agent looks which tools there are and calls one, for which people are asked."""
        return self.playing(ListTools(), CallTool(name, arguments))

    def playing(self, *steps: Step) -> Waiting:
        """An agent plays these steps; the call that waits is there."""
        playing = self.portal.start_task_soon(self._play, steps)
        return Waiting(self._new_request(playing), playing)

    def happened(self, waiting: Waiting, *but: str) -> list[str]:
        """What the log says of the request, in order: asked, seen, agreed, approved, used, ..."""
        told = [str(record["happening"]) for record in self._told() if record["approval"] == waiting.id]
        return [each for each in told if each not in but]

    def _told(self) -> list[Record]:
        return [record for record in records_in(self.log) if record["kind"] == "approval"]

    async def _play(self, steps: tuple[Step, ...]) -> list[StepResult]:
        identity = await workload_identity(self.api.endpoint("billing"))
        url = f"https://localhost:{self.agents_port}/ledger/mcp"
        async with open_agent(url, agent_context(identity, SpiffeId.parse(GATE))) as agent:
            return await run_steps(agent, steps)

    def _new_request(self, playing: Future[list[StepResult]]) -> str:
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            new = {str(record["approval"]) for record in self._told()} - self._known
            if new:
                self._known |= new
                (found,) = new
                return found
            assert not playing.done(), playing.result()
            time.sleep(0.02)
        raise AssertionError("nobody was asked")


@dataclass(frozen=True)
class World:
    """The gate, and the provider that it knows; `clocked_port`: where that one sends people back to the other gate."""

    gate: AskingGate
    provider: Provider
    folder: Path
    clocked_port: int

    @contextmanager
    def clocked(self, name: str, ahead_s: float = 0.0) -> Iterator[AskingGate]:
        """Another gate, with a clock of its own that the test may set forward; it begins where that name's left off."""
        parts = _clocked(self.folder / name, self, WallClock(ahead_s))
        with self.gate.portal.wrap_async_context_manager(parts) as gate:
            yield gate


@contextmanager
def asking_gates(folder: Path) -> Iterator[World]:
    """All of it, started; ended in good order."""
    provider_port, clocked_port = free_ports(2)
    issuer = f"http://127.0.0.1:{provider_port}"
    with (
        start_blocking_portal("trio") as portal,
        portal.wrap_async_context_manager(_served(folder / "served", issuer, portal)) as gate,
    ):
        urls = {"approvals": gate.url, "clocked": f"http://127.0.0.1:{clocked_port}"}
        sites = {client: url + SIGNED_IN_PATH for client, url in urls.items()}
        with provider_served("https://gate.acme.test", provider_port, sites=sites, people=MEMBERS) as provider:
            yield World(gate, provider, folder, clocked_port)


@asynccontextmanager
async def _served(folder: Path, issuer: str, portal: BlockingPortal) -> AsyncIterator[AskingGate]:
    """As people run it: `callgate serve`, from its files."""
    more = _asking(folder, issuer, "approvals")
    with DevWorkloadApi(folder / "spiffe", WORKLOADS, ttl_s=_SVID_TTL_S, dns_names={"gate": ["localhost"]}) as api:
        async with (
            scripted_server(DescribedTools(TOOLS)) as upstream,
            serving(folder, api.endpoint("gate"), upstream.url, more, policy=POLICY) as process,
        ):
            agents_port, admin_port = await process.ready()
            url = f"http://127.0.0.1:{admin_port}"
            yield AskingGate(url, _socket(folder), folder / "audit", agents_port, api, upstream, portal)
            process.process.terminate()
            assert await process.end(PATIENCE_S) == 0
    assert [line for line in process.lines if line["level"] in {"ERROR", "CRITICAL"}] == []


@asynccontextmanager
async def _clocked(folder: Path, world: World, clock: WallClock) -> AsyncIterator[AskingGate]:
    """On the thread of `world.gate`'s agents."""
    more, admin = _asking(folder, world.provider.issuer, "clocked"), f"127.0.0.1:{world.clocked_port}"
    start = partial(running_gate, policy=POLICY, clock=clock.clock, ttl_s=_SVID_TTL_S, home=folder)
    async with (
        scripted_server(DescribedTools(TOOLS)) as upstream,
        start(folder, upstream.url, admin=admin, more=more) as gate,
    ):
        port, portal = gate.addresses.agents.port, world.gate.portal
        yield AskingGate(gate.admin_url, _socket(folder), gate.log_folder, port, gate.api, upstream, portal, clock)


def _asking(folder: Path, issuer: str, client: str) -> str:
    """The part `approvals` of callgate.yaml.  In tests agents run as whoever answers at the socket."""
    folder.mkdir(exist_ok=True)
    secret = folder / "oidc-secret"
    secret.touch(0o600)
    secret.write_text(CLIENT_SECRET)
    sign_in = f"{{issuer: '{issuer}', client_id: {client}, client_secret_file: oidc-secret, name_claim: sub}}"
    return f"approvals: {{socket: {{agents_share_user: true}}, sign_in: {sign_in}}}\n"


def _socket(folder: Path) -> AdminSocket:
    return AdminSocket(folder / "approvals" / "admin.sock")
