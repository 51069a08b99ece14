"""The demo's agent over mutual TLS, on trio and on asyncio, against a real MCP server that wants its certificate."""

import asyncio
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio
from fastmcp import Context, FastMCP
from mcp import MCPError

from callgate.dev.agent import (
    Allowed,
    CallTool,
    CannotReachGate,
    Denied,
    Listed,
    ListTools,
    Progress,
    StepResult,
    agent_context,
    context_without_svid,
    denied,
    open_agent,
    run_steps,
)
from callgate.dev.authority import DevAuthority
from callgate.identity.spiffe_id import SpiffeId, TrustDomain
from callgate.identity.trust import X509Bundle, X509Context, parse_bundle
from callgate.identity.x509_svid import parse_x509_svid
from support.serving import app_served
from support.svid_files import uvicorn_tls, write_svid

# mcp 2.3 leaves the response's generators to the garbage collector when a stream has been answered.
pytestmark = pytest.mark.filterwarnings("ignore:Async generator 'http:ResourceWarning")

DOMAIN = TrustDomain.parse("acme.test")
GATE = SpiffeId.parse("spiffe://acme.test/gate")
AGENT = SpiffeId.parse("spiffe://acme.test/ns/billing/sa/reader")
STEPS = (ListTools(), CallTool("count", {"to": 2}), CallTool("fail"), CallTool("nothing_of_the_kind"), ListTools())


@dataclass(frozen=True, slots=True)
class Scene:
    """A server with the gate's SVID, and what an agent knows."""

    url: str
    identity: X509Context
    bundle: X509Bundle


def counting_server() -> FastMCP:
    server: FastMCP = FastMCP("counter")

    @server.tool
    async def count(to: int, ctx: Context) -> str:
        for done in range(1, to + 1):
            await ctx.report_progress(done, to, f"step {done}")
        return f"counted to {to}"

    @server.tool
    def fail() -> str:
        raise ValueError("as asked")

    return server


@contextmanager
def scene(folder: Path, gate_path: str = "/gate") -> Iterator[Scene]:
    now = time.time()
    authority = DevAuthority(DOMAIN, now=now)
    bundle = parse_bundle(DOMAIN, authority.bundle_der)
    chain, key = authority.issue(AGENT.path, now=now, ttl_s=600)
    identity = X509Context((parse_x509_svid(str(AGENT), chain, key, ""),), {DOMAIN: bundle})
    write_svid(folder / "server", authority, gate_path)
    with app_served(counting_server().http_app(path="/mcp"), **uvicorn_tls(folder / "server")) as port:
        yield Scene(f"https://localhost:{port}/mcp", identity, bundle)


async def played(url: str, context: ssl.SSLContext, mode: str = "auto") -> list[StepResult]:
    async with open_agent(url, context, mode=mode) as agent:
        return await run_steps(agent, STEPS)


def on_trio(url: str, context: ssl.SSLContext, mode: str = "auto") -> list[StepResult]:
    return trio.run(played, url, context, mode)


def on_asyncio(url: str, context: ssl.SSLContext, mode: str = "auto") -> list[StepResult]:
    return asyncio.run(played(url, context, mode))


Run = Callable[..., list[StepResult]]


@pytest.fixture(params=[on_trio, on_asyncio])
def run(request: pytest.FixtureRequest) -> Run:
    found: Run = request.param
    return found


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_an_agent_with_an_svid_plays_its_steps(tmp_path: Path, run: Run, mode: str) -> None:
    with scene(tmp_path) as at:
        listed, counted, failed, unknown, listed_again = run(at.url, agent_context(at.identity, GATE), mode)
    assert listed == listed_again == Listed(("count", "fail"))
    assert counted == Allowed("counted to 2", False, (Progress(1, 2, "step 1"), Progress(2, 2, "step 2")))
    assert isinstance(failed, Allowed)
    assert failed.tool_failed
    assert isinstance(unknown, Allowed)
    assert unknown.tool_failed


def test_refuses_a_server_with_another_workloads_svid_of_the_same_trust_domain(tmp_path: Path, run: Run) -> None:
    with (
        scene(tmp_path, gate_path="/ns/billing/sa/impostor") as at,
        pytest.raises(CannotReachGate, match=r"the server is not spiffe://acme\.test/gate"),
    ):
        run(at.url, agent_context(at.identity, GATE))


def test_refuses_a_server_of_an_authority_that_the_bundle_does_not_hold(tmp_path: Path, run: Run) -> None:
    stranger = parse_bundle(DOMAIN, DevAuthority(DOMAIN, now=time.time()).bundle_der)
    with scene(tmp_path) as at, pytest.raises(CannotReachGate, match="certificate verify failed"):
        run(at.url, agent_context(X509Context(at.identity.svids, {DOMAIN: stranger}), GATE))


def test_a_caller_without_an_svid_does_not_get_through(tmp_path: Path, run: Run) -> None:
    with scene(tmp_path) as at, pytest.raises(CannotReachGate):
        run(at.url, context_without_svid(at.bundle, GATE))


def test_an_agent_without_the_bundle_of_the_gates_trust_domain_says_so(tmp_path: Path) -> None:
    with scene(tmp_path) as at, pytest.raises(CannotReachGate, match=r"no trust bundle of partner\.test"):
        agent_context(at.identity, SpiffeId.parse("spiffe://partner.test/gate"))


def test_nobody_at_the_port_is_said_in_words(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(CannotReachGate, match=r"(?i)connect"):
        run(f"http://127.0.0.1:{port}/mcp", None)


async def test_an_agent_that_waits_for_an_answer_can_be_cancelled() -> None:
    # Connections are accepted by the kernel, and nobody ever answers.
    with socket.create_server(("127.0.0.1", 0)) as listener, trio.move_on_after(0.05) as scope:
        async with open_agent(f"http://127.0.0.1:{listener.getsockname()[1]}/mcp", None):
            pytest.fail("there was no server")
    assert scope.cancelled_caught


def test_what_the_caller_itself_raises_comes_out_as_it_is(tmp_path: Path) -> None:
    async def denied_within(at: Scene) -> None:
        async with open_agent(at.url, agent_context(at.identity, GATE)):
            raise MCPError(-31403, "Denied by policy")

    with scene(tmp_path) as at, pytest.raises(MCPError, match="Denied by policy"):
        trio.run(denied_within, at)


def test_a_denial_keeps_its_code_reason_decision_and_trace() -> None:
    told = {"reason": "no_grant", "decision_id": "d-7", "trace_id": "0af7651916cd43dd8448eb211c80319c"}
    expected = Denied(-31403, "Denied by policy", "no_grant", "d-7", "0af7651916cd43dd8448eb211c80319c")
    assert denied(MCPError(-31403, "Denied by policy", told)) == expected


@pytest.mark.parametrize("told", [None, "words", {}, ["reason"]])
def test_an_error_from_elsewhere_has_no_reason(told: object) -> None:
    assert denied(MCPError(-32603, "Internal error", told)) == Denied(-32603, "Internal error", "", "", "")
