"""A whole gate in the test's process: real TLS, a real Workload API on a socket, traces as values."""

import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import trio

from callgate.audit.checkpoint import VerifierKey
from callgate.audit.keys import make_key
from callgate.audit.places import Places
from callgate.audit.verify import verify
from callgate.config import Config, load_config
from callgate.dev.agent import agent_context
from callgate.dev.identity import workload_identity
from callgate.dev.workload_api import DevWorkloadApi
from callgate.identity.spiffe_id import SpiffeId
from callgate.identity.trust import X509Context
from callgate.parts import Clock
from callgate.policy.compile import Policy, load_policy
from callgate.policy_source import PolicySource
from callgate.service import Addresses, Service
from callgate.telemetry.approval_metrics import ApprovalTelling
from callgate.trace import DecisionTrace, Outcome, Stage
from support.pki import Authority

GATE = "spiffe://acme.test/gate"
WORKLOADS = {
    "gate": GATE,
    "ledger": "spiffe://acme.test/tools/ledger",
    "billing": "spiffe://acme.test/ns/billing/sa/refund-agent",
    "ops": "spiffe://acme.test/ns/ops/sa/auditor",
    "stranger": "spiffe://acme.test/ns/other/sa/nobody",
    "partner": "spiffe://partner.test/ns/sales/sa/agent",
    # `billing`, as it is called in another trust domain.
    "twin": "spiffe://partner.test/ns/billing/sa/refund-agent",
}
ISSUER = "https://gate.acme.test"
POLICY = """
version: 1
trust_domains: [acme.test, partner.test]
grants:
  - id: billing-works-with-invoices
    workloads: [spiffe://acme.test/ns/billing/sa/*]
    server: ledger
    tools: [list_invoices, get_invoice, refund, wipe_ledger]
    scopes: [ledger.read]
  - id: ops-closes-months
    workloads: [spiffe://acme.test/ns/ops/**]
    server: ledger
    tools: ["list_*", close_month]
    scopes: [ledger.close]
    ttl: 10s
  - id: partner-reads
    workloads: [spiffe://partner.test/**]
    server: ledger
    tools: [get_invoice]
    scopes: [ledger.read]
denials:
  - id: nobody-wipes-the-ledger
    server: ledger
    tools: [wipe_ledger]
"""


@dataclass
class WallClock:
    """The machine's clock, set forward by `ahead_s`: wall time for a gate that a test may move."""

    ahead_s: float = 0.0

    @property
    def clock(self) -> Clock:
        return Clock(lambda: time.time_ns() + int(self.ahead_s * 1e9))


@dataclass
class Gate:
    """One running gate, and what it recorded."""

    service: Service
    addresses: Addresses
    api: DevWorkloadApi
    log_folder: Path
    traces: list[DecisionTrace] = field(default_factory=list)
    recorded: trio.Event = field(default_factory=trio.Event)

    def url(self, server: str = "ledger") -> str:
        return f"https://localhost:{self.addresses.agents.port}/{server}/mcp"

    @property
    def admin_url(self) -> str:
        return f"http://127.0.0.1:{self.addresses.admin.port}"

    async def traces_when(self, count: int) -> Sequence[DecisionTrace]:
        """All traces, once there are `count`; more than that is the test's to notice."""
        with trio.fail_after(10):
            while len(self.traces) < count:
                await self.recorded.wait()
        return self.traces

    def take(self, trace: DecisionTrace) -> None:
        self.traces.append(trace)
        # Whoever waits waits for the next one; there may be several of them.
        self.recorded.set()
        self.recorded = trio.Event()


@asynccontextmanager
async def identity_of(api: DevWorkloadApi, name: str) -> AsyncIterator[X509Context]:
    """What the Workload API gives to that workload at this moment."""
    yield await workload_identity(api.endpoint(name))


async def context_of(api: DevWorkloadApi, name: str) -> ssl.SSLContext:
    """A TLS client context with that workload's SVID, which expects the gate."""
    async with identity_of(api, name) as identity:
        return agent_context(identity, SpiffeId.parse(GATE))


def authority_of(api: DevWorkloadApi, trust_domain: str = "acme.test") -> Authority:
    """The authority that signs for the trust domain at this moment, for leaves that no Workload API would issue."""
    root = api.authority(trust_domain)._roots[0]
    return Authority(root.certificate, root.key)


def config_of(
    upstream_url: str,
    *,
    endpoint: str,
    listen: str = "127.0.0.1:0",
    admin: str = "127.0.0.1:0",
    issuer: str = ISSUER,
    server: Mapping[str, str] | None = None,
    audit: str = "folder: audit",
    more: str = "",
) -> Config:
    """A configuration with one tool server, `ledger`."""
    lines = "".join(f"    {key}: {value}\n" for key, value in (server or {}).items())
    text = (
        f"listen: {listen}\nworkload_api: {endpoint}\nissuer: {issuer}\npolicy: policy.yaml\n"
        f"admin: {{listen: '{admin}'}}\naudit: {{{audit}}}\n"
        f"servers:\n  ledger:\n    url: {upstream_url}\n{lines}{more}"
    )
    config = load_config(text, "callgate.yaml")
    assert isinstance(config, Config), "\n".join(map(str, config))
    return config


def policy_of(text: str = POLICY, servers: Iterable[str] = ("ledger",)) -> Policy:
    policy = load_policy(text, "policy.yaml", frozenset(servers))
    assert isinstance(policy, Policy), "\n".join(map(str, policy))
    return policy


def is_whole(trace: DecisionTrace) -> bool:
    """Whether the path names every stage passed, in order: after one that did not end well only `respond` follows."""
    stages = [record.stage for record in trace.records]
    # Where nobody has to agree there is nothing to tell of it.
    order = [stage for stage in Stage if stage is not Stage.APPROVE or stage in stages]
    failed = next((at for at, record in enumerate(trace.records) if record.outcome is not Outcome.OK), None)
    if failed is None:
        absorbed = [*order[: order.index(Stage.DECIDE) + 1], Stage.RESPOND]
        return stages in (order, absorbed)
    passed, rest = stages[: failed + 1], stages[failed + 1 :]
    # An answer that could not be sent comes after stages that all went well, but for `mint` and `forward` of a message
    # that ends at the gate.
    before_respond = passed[-1] is Stage.RESPOND and passed[:-1] == order[: len(passed) - 1]
    return (passed == order[: len(passed)] or before_respond) and rest in ([], [Stage.RESPOND])


@asynccontextmanager
async def running_gate(
    directory: Path,
    upstream_url: str,
    *,
    policy: str | PolicySource = POLICY,
    clock: Clock | None = None,
    ttl_s: float = 300.0,
    admin: str = "127.0.0.1:0",
    issuer: str = ISSUER,
    server: Mapping[str, str] | None = None,
    audit: str = "folder: audit",
    more: str = "",
    record: Callable[[DecisionTrace], None] | None = None,
    shadow: Policy | PolicySource | None = None,
    home: Path | None = None,
    approvals: ApprovalTelling | None = None,
) -> AsyncIterator[Gate]:
    """A gate with an identity, listening; stopped in good order at the end.

    `home`: the folder that its log is in, to begin again where another gate stopped.
    """
    api = DevWorkloadApi(directory / "spiffe", WORKLOADS, ttl_s=ttl_s, dns_names={"gate": ["localhost"]})
    with api:
        config = config_of(
            upstream_url,
            endpoint=api.endpoint("gate"),
            admin=admin,
            issuer=issuer,
            server=server,
            audit=audit,
            more=more,
        )
        given = policy_of(policy, config.servers) if isinstance(policy, str) else policy
        async with starting_gate(api, config, given, clock, record, shadow, home, approvals) as gate:
            with trio.fail_after(10):
                await gate.service.wait_ready()
            yield gate


@asynccontextmanager
async def starting_gate(
    api: DevWorkloadApi,
    config: Config,
    policy: Policy | PolicySource,
    clock: Clock | None = None,
    record: Callable[[DecisionTrace], None] | None = None,
    shadow: Policy | PolicySource | None = None,
    home: Path | None = None,
    approvals: ApprovalTelling | None = None,
) -> AsyncIterator[Gate]:
    """A gate that listens, whether or not it has an identity yet; stopped in good order at the end."""
    home = home or _new_home(api.directory.parent)
    log_folder = home / config.audit.folder
    with suppress(FileExistsError):
        make_key(Path(Places(log_folder).key), config.audit.origin)
    gate: Gate

    def take(trace: DecisionTrace) -> None:
        gate.take(trace)
        if record is not None:
            record(trace)

    service = Service(config, policy, take, clock, shadow=shadow, folder=home, approvals=approvals)
    async with trio.open_nursery() as nursery:
        addresses = await nursery.start(service.run)
        gate = Gate(service, addresses, api, log_folder)
        yield gate
        service.stop()
    broken = [trace.path for trace in gate.traces if not is_whole(trace)]
    assert not broken, broken
    assert_on_record(gate)


def _new_home(directory: Path) -> Path:
    """A folder of its own, with a name so short that a socket's path fits in it (107 bytes)."""
    for number in count(1):
        with suppress(FileExistsError):
            (directory / f"g{number}").mkdir(mode=0o700)
            return directory / f"g{number}"
    raise AssertionError


def assert_on_record(gate: Gate) -> None:
    """Whether the log that the gate left is whole, and tells of each of its requests once."""
    key = VerifierKey.parse(Path(Places(gate.log_folder).public_key).read_text(encoding="ascii"))
    verdict = verify(gate.log_folder, key)
    assert verdict.is_whole, [str(finding) for finding in verdict.findings]
    log = gate.service.log
    told = sum(log.records[kind] for kind in ("intent", "refusal", "absorbed")) + log.summarised
    assert told == len(gate.traces), (dict(log.records), log.summarised, len(gate.traces))
