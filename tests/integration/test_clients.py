"""Real MCP clients at a real gate, before the demo's ledger: what each kind of agent sees of a denial."""

import asyncio
import json
import os
import re
import shutil
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from fastmcp import Client as FastMcpClient
from fastmcp.client.transports import StreamableHttpTransport
from mcp import MCPError
from mcp.types import TextContent

from callgate.dev.agent import (
    Allowed,
    CallTool,
    Denied,
    Listed,
    ListTools,
    Step,
    StepResult,
    denied,
    open_agent,
    run_steps,
)
from callgate.telemetry import names
from callgate.trace import AttributeValue, DecisionTrace
from support.ledger_gate import LedgerGate, ledger_behind_gate

# mcp 2.3 leaves the response's generators to the garbage collector when a stream has been answered.
pytestmark = pytest.mark.filterwarnings("ignore:Async generator 'http:ResourceWarning")

LEGACY_CLIENT = Path(__file__).parents[1] / "support" / "legacy_client.py"
# It is in a cache after the first time; installing it takes a while.
LEGACY_TIMEOUT_S = 100
MODERN, LEGACY = "2026-07-28", "2025-11-25"

BILLING_TOOLS = ("list_invoices", "get_invoice", "refund")
GET_INVOICE = CallTool("get_invoice", {"number": "INV-1001"})
INVOICE = Allowed("INV-1001: Northwind, 1250 EUR, open", tool_failed=False, progress=())
STORY = (ListTools(), GET_INVOICE, CallTool("wipe_ledger"), GET_INVOICE, ListTools())


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LedgerGate]:
    with ledger_behind_gate(tmp_path_factory.mktemp("clients")) as both:
        yield both


@dataclass(frozen=True, slots=True)
class Told:
    """What one client got for `STORY`: the tools, the calls before and after the denial, and the denial."""

    tools: tuple[tuple[str, ...], tuple[str, ...]]
    texts: tuple[str, str]
    code: int
    data: dict[str, Any]


def told_by_steps(results: list[StepResult]) -> Told:
    first, before, refused, after, last = results
    assert isinstance(first, Listed)
    assert isinstance(last, Listed)
    assert isinstance(refused, Denied)
    assert isinstance(before, Allowed)
    assert isinstance(after, Allowed)
    data = {"reason": refused.reason, "decision_id": refused.decision_id, "trace_id": refused.trace_id}
    return Told((first.tools, last.tools), (before.text, after.text), refused.code, data)


def mcp_client(mode: str) -> Callable[[LedgerGate, Path], Told]:
    async def play(url: str, context: ssl.SSLContext) -> list[StepResult]:
        async with open_agent(url, context, mode=mode) as agent:
            return await run_steps(agent, STORY)

    return lambda running, _folder: told_by_steps(trio.run(play, running.url, running.context("billing")))


def fastmcp_client(running: LedgerGate, _folder: Path) -> Told:
    transport = StreamableHttpTransport(running.url, verify=running.context("billing"))

    async def invoice(agent: FastMcpClient[StreamableHttpTransport]) -> str:
        (part,) = (await agent.call_tool(GET_INVOICE.name, dict(GET_INVOICE.arguments))).content
        assert isinstance(part, TextContent)
        return part.text

    async def play() -> Told:
        async with FastMcpClient(transport) as agent:
            first = tuple(tool.name for tool in await agent.list_tools())
            before = await invoice(agent)
            with pytest.raises(MCPError) as refused:
                await agent.call_tool("wipe_ledger")
            after = await invoice(agent)
            last = tuple(tool.name for tool in await agent.list_tools())
            return Told((first, last), (before, after), refused.value.code, dict(refused.value.data))

    return asyncio.run(play())


def mcp_1_client(running: LedgerGate, folder: Path) -> Told:
    said = legacy_story(running, folder)
    assert said["protocol"] == LEGACY
    before, refused, after = said["calls"]
    return Told(
        (tuple(said["tools"]), tuple(said["tools_after"])),
        (before["text"], after["text"]),
        refused["code"],
        refused["data"],
    )


def legacy_story(running: LedgerGate, folder: Path) -> dict[str, Any]:
    uv = os.environ.get("UV") or shutil.which("uv")
    if uv is None:
        pytest.fail("mcp 1.30 needs an environment of its own, which uv makes: run the tests by `uv run`, or set UV")
    write_svid(running, folder)
    files = ["--cert", str(folder / "svid.pem"), "--key", str(folder / "key.pem"), "--ca", str(folder / "bundle.pem")]
    invoice = f"get_invoice={json.dumps(GET_INVOICE.arguments)}"
    calls = ["--call", invoice, "--call", "wipe_ledger", "--call", invoice]
    command = [uv, "run", "--quiet", "--isolated", "--no-project", "--python", sys.executable, "--with", "mcp==1.30.0"]
    done = subprocess.run(
        [*command, "python", str(LEGACY_CLIENT), running.url, *files, *calls],
        capture_output=True,
        text=True,
        timeout=LEGACY_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def write_svid(running: LedgerGate, folder: Path) -> None:
    identity = running.identity("billing")
    svid = identity.svid
    chain = [x509.load_der_x509_certificate(der) for der in svid.chain]
    authorities = identity.bundles[svid.id.trust_domain].authorities
    (folder / "svid.pem").write_bytes(b"".join(each.public_bytes(Encoding.PEM) for each in chain))
    (folder / "key.pem").write_bytes(svid.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (folder / "bundle.pem").write_bytes(b"".join(each.public_bytes(Encoding.PEM) for each in authorities))


CLIENTS: dict[str, tuple[Callable[[LedgerGate, Path], Told], str]] = {
    "mcp 2 that finds out the revision": (mcp_client("auto"), MODERN),
    "mcp 2 in the modern revision": (mcp_client(MODERN), MODERN),
    "mcp 2 in the legacy revision": (mcp_client("legacy"), LEGACY),
    "FastMCP": (fastmcp_client, MODERN),
    "mcp 1.30": (mcp_1_client, LEGACY),
}


@pytest.mark.parametrize("name", CLIENTS)
def test_a_client_sees_its_tools_calls_one_and_is_denied_one_in_a_session_that_goes_on(
    running: LedgerGate, tmp_path: Path, name: str
) -> None:
    client, revision = CLIENTS[name]
    told = client(running, tmp_path)
    assert told.tools == (BILLING_TOOLS, BILLING_TOOLS)
    assert told.texts == (INVOICE.text, INVOICE.text)
    assert told.code == -31403
    assert told.data.keys() == {"reason", "decision_id", "trace_id"}
    assert told.data["reason"] == "denied"
    assert re.fullmatch("[0-9a-f]{32}", told.data["trace_id"])
    trace = running.trace(told.data["trace_id"])
    assert told.data["decision_id"] == trace.decision_id
    assert attributes(trace)[names.MCP_PROTOCOL_VERSION] == revision
    assert trace.path == (
        "accept=ok",
        "authenticate=ok",
        "read=ok",
        "identify=ok",
        "decide=refused:denied",
        "respond=ok",
    )


def attributes(trace: DecisionTrace) -> dict[str, AttributeValue]:
    return {name: value for record in trace.records for name, value in record.attributes.items()}


async def played(url: str, context: ssl.SSLContext, steps: Sequence[Step]) -> list[StepResult]:
    async with open_agent(url, context) as agent:
        return await run_steps(agent, steps)


@pytest.mark.parametrize(
    ("workload", "tools", "call"),
    [
        # Its grant names list_invoices by a pattern, which the token for a listing leaves to the ledger to know.
        ("ops", ("close_month",), CallTool("close_month", {"month": "2026-10"})),
        ("partner", ("get_invoice",), GET_INVOICE),
    ],
)
def test_another_workload_sees_other_tools(
    running: LedgerGate, workload: str, tools: tuple[str, ...], call: CallTool
) -> None:
    steps = (ListTools(), call, CallTool("refund"))
    listed, called, refused = trio.run(played, running.url, running.context(workload), steps)
    assert listed == Listed(tools)
    assert isinstance(called, Allowed)
    assert not called.tool_failed
    assert isinstance(refused, Denied)
    assert (refused.code, refused.reason) == (-31403, "no_grant")


def test_a_workload_without_a_grant_does_not_get_as_far_as_a_session(running: LedgerGate) -> None:
    with pytest.raises(MCPError) as refused:
        trio.run(played, running.url, running.context("stranger"), (ListTools(),))
    assert (refused.value.code, denied(refused.value).reason) == (-31403, "no_grant")
