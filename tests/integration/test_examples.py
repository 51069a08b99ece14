"""The files that readers copy, run as they stand."""

import importlib.util
import subprocess
import sys
import time
from pathlib import Path

import pytest
import trio
from fastmcp import FastMCP

from callgate.dev.agent import Allowed, CallTool, StepResult, open_agent, run_steps
from callgate.dev.authority import DevAuthority
from callgate.identity.spiffe_id import TrustDomain
from callgate.tokens.metadata import jwks
from support.permits import LEDGER_AUDIENCE, forged, permit_for
from support.serving import app_served, document_served
from support.svid_files import uvicorn_tls, write_svid
from support.tokens import ISSUER, ISSUER_URL, token_for

pytestmark = pytest.mark.filterwarnings("ignore:Async generator 'http:ResourceWarning")

EXAMPLES = Path(__file__).parents[2] / "examples"
GET_ORDER = CallTool("get_order", {"number": "A-17"})
CANCEL_ORDER = CallTool("cancel_order", {"number": "A-17"})
CANNOT_CANCEL = Allowed("Unknown tool: 'cancel_order'", True, ())


def example_server() -> FastMCP:
    """`server` of examples/tool_server.py, which reads its settings when it is imported."""
    spec = importlib.util.spec_from_file_location("tool_server", EXAMPLES / "tool_server.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    server: FastMCP = module.server
    return server


@pytest.mark.parametrize(
    ("tool", "scopes", "expected"),
    [
        ("get_order", (), [Allowed("order A-17: 3 crates, shipped", False, ()), CANNOT_CANCEL]),
        (
            "cancel_order",
            ("orders.write",),
            [Allowed("Unknown tool: 'get_order'", True, ()), Allowed("order A-17 is cancelled", False, ())],
        ),
        ("cancel_order", ("orders.read",), [Allowed("Unknown tool: 'get_order'", True, ()), CANNOT_CANCEL]),
    ],
)
def test_the_example_server_opens_one_tool_a_token(
    monkeypatch: pytest.MonkeyPatch, tool: str, scopes: tuple[str, ...], expected: list[Allowed]
) -> None:
    token = token_for(forged(permit_for("get_invoice"), call_tool=tool, scopes=scopes))
    with document_served(jwks([ISSUER.key])) as jwks_uri:
        for name, value in {"ISSUER": ISSUER_URL, "JWKS_URI": jwks_uri, "AUDIENCE": LEDGER_AUDIENCE}.items():
            monkeypatch.setenv(name, value)
        with app_served(example_server().http_app(path="/mcp")) as port:
            url, headers = f"http://127.0.0.1:{port}/mcp", {"Authorization": f"Bearer {token}"}
            assert trio.run(played, url, headers) == expected


async def played(url: str, headers: dict[str, str]) -> list[StepResult]:
    async with open_agent(url, None, headers=headers) as agent:
        return await run_steps(agent, (GET_ORDER, CANCEL_ORDER))


def orders() -> FastMCP:
    server: FastMCP = FastMCP("orders")

    @server.tool
    def get_order(number: str) -> str:
        return f"order {number}"

    return server


def run_example_agent(folder: Path, url: str, gate: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(EXAMPLES / "agent.py"), url, gate, "get_order", '{"number": "A-17"}']
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


def test_the_example_agent_calls_the_gate_that_it_was_told_of_and_no_other(tmp_path: Path) -> None:
    authority = DevAuthority(TrustDomain.parse("acme.test"), now=time.time())
    write_svid(tmp_path / "gate", authority, "/gate")
    write_svid(tmp_path / "agent", authority, "/agent")
    with app_served(orders().http_app(path="/mcp"), **uvicorn_tls(tmp_path / "gate")) as port:
        url = f"https://127.0.0.1:{port}/mcp"
        good = run_example_agent(tmp_path / "agent", url, "spiffe://acme.test/gate")
        bad = run_example_agent(tmp_path / "agent", url, "spiffe://acme.test/other")
    assert (good.returncode, good.stdout) == (0, "tools: get_order\nallowed: order A-17\n")
    assert bad.returncode != 0
    assert "ConnectError" in bad.stderr
    assert bad.stdout == ""
