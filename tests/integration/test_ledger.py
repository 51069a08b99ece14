"""The demo's tool server with off-the-shelf verification, and our tokens, with no gate between."""

import time
from collections.abc import Callable, Iterator

import httpx2
import pytest
from mcp import MCPError

from callgate.dev.agent import (
    Allowed,
    CallTool,
    Listed,
    ListTools,
    Progress,
    Step,
    StepResult,
    open_agent,
    run_steps,
)
from callgate.tokens.claims import TokenTarget
from callgate.tokens.metadata import jwks
from support.permits import LEDGER_AUDIENCE, REFUNDER, permit_for
from support.serving import LedgerProcess, document_served, ledger_served
from support.tokens import ISSUER, ISSUER_URL, call_token, other_key, token_for, unsigned, with_segment

# mcp 2.3 leaves the response's generators to the garbage collector when a stream has been answered.
pytestmark = pytest.mark.filterwarnings("ignore:Async generator 'http:ResourceWarning")

GET_INVOICE = CallTool("get_invoice", {"number": "INV-1001"})
INVOICE_TEXT = "INV-1001: Northwind, 1250 EUR, open"
DISCOVER = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "server/discover",
    "params": {
        "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
        }
    },
}


@pytest.fixture(scope="module")
def ledger() -> Iterator[LedgerProcess]:
    with (
        document_served(jwks([ISSUER.key])) as jwks_uri,
        ledger_served(ISSUER_URL, jwks_uri, LEDGER_AUDIENCE) as process,
    ):
        yield process


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def results(ledger: LedgerProcess, token: str, *steps: Step, mode: str = "auto") -> list[StepResult]:
    async with open_agent(ledger.url, None, headers=bearer(token), mode=mode) as agent:
        return await run_steps(agent, steps)


async def status_of_discover(ledger: LedgerProcess, headers: dict[str, str]) -> int:
    fixed = {
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": "2026-07-28",
        "Mcp-Method": "server/discover",
    }
    async with httpx2.AsyncClient(trust_env=False) as http:
        return (await http.post(ledger.url, json=DISCOVER, headers={**fixed, **headers})).status_code


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_accepts_a_token_for_the_tool_it_was_made_for_and_for_no_other(ledger: LedgerProcess, mode: str) -> None:
    steps = (GET_INVOICE, CallTool("list_invoices"), CallTool("wipe_ledger"), ListTools(), GET_INVOICE)
    first, other, wipe, listed, again = await results(ledger, call_token("get_invoice"), *steps, mode=mode)
    assert first == again == Allowed(INVOICE_TEXT, False, ())
    assert other == Allowed("Unknown tool: 'list_invoices'", True, ())
    assert wipe == Allowed("Unknown tool: 'wipe_ledger'", True, ())
    assert listed == Listed(("get_invoice",))


async def test_each_tool_opens_with_its_own_token(ledger: LedgerProcess) -> None:
    refund = token_for(permit_for("refund", {"number": "INV-1002", "amount": 80}, caller=REFUNDER))
    (refunded,) = await results(ledger, refund, CallTool("refund", {"number": "INV-1002", "amount": 80}))
    (listed,) = await results(ledger, call_token("list_invoices"), CallTool("list_invoices"))
    assert refunded == Allowed("refunded 80 EUR of INV-1002 to customer", False, ())
    assert listed == Allowed("INV-1001, INV-1002, INV-1003", False, ())


async def test_closing_a_month_reports_each_step_before_its_result(ledger: LedgerProcess) -> None:
    (closed,) = await results(ledger, call_token("close_month"), CallTool("close_month", {"month": "2026-10"}))
    assert closed == Allowed(
        "closed 2026-10",
        False,
        (
            Progress(1, 4, "reading entries"),
            Progress(2, 4, "matching payments"),
            Progress(3, 4, "computing balances"),
            Progress(4, 4, "writing the report"),
        ),
    )


async def test_a_tools_own_failure_is_no_denial(ledger: LedgerProcess) -> None:
    (failed,) = await results(ledger, call_token("get_invoice"), CallTool("get_invoice", {"number": "INV-9"}))
    assert failed == Allowed("there is no invoice INV-9", True, ())


async def test_a_token_for_listing_shows_what_its_scopes_open(ledger: LedgerProcess) -> None:
    permit = permit_for(method="tools/list", caller=REFUNDER)
    granted = TokenTarget(LEDGER_AUDIENCE, list_scopes="granted")
    assert await results(ledger, token_for(permit), ListTools()) == [Listed(())]
    assert await results(ledger, token_for(permit, target=granted), ListTools()) == [
        Listed(("list_invoices", "get_invoice", "refund"))
    ]


async def test_a_good_token_is_answered(ledger: LedgerProcess) -> None:
    assert await status_of_discover(ledger, bearer(call_token("get_invoice"))) == 200


BAD_TOKENS: dict[str, Callable[[], str]] = {
    "expired": lambda: call_token("get_invoice", now=time.time() - 21),
    "for another audience": lambda: call_token("get_invoice", target=TokenTarget("https://other.acme.test/mcp")),
    "of another key": lambda: call_token("get_invoice", issuer=other_key()),
    "of another key under our name": lambda: with_segment(
        call_token("get_invoice", issuer=other_key()), 0, kid=ISSUER.key.kid
    ),
    "with another scope": lambda: with_segment(call_token("get_invoice"), 1, scope="tool:wipe_ledger"),
    "with a longer life": lambda: with_segment(call_token("get_invoice"), 1, exp=int(time.time()) + 3600),
    "unsigned": lambda: unsigned(call_token("get_invoice")),
    "no token at all": lambda: "none",
}


@pytest.mark.parametrize("kind", BAD_TOKENS)
async def test_refuses_a_token(ledger: LedgerProcess, kind: str) -> None:
    assert await status_of_discover(ledger, bearer(BAD_TOKENS[kind]())) == 401


async def test_refuses_a_request_without_a_token(ledger: LedgerProcess) -> None:
    assert await status_of_discover(ledger, {}) == 401


async def test_an_agent_with_a_refused_token_is_told(ledger: LedgerProcess) -> None:
    with pytest.raises(MCPError, match="Server returned an error response"):
        await results(ledger, call_token("get_invoice", now=time.time() - 21), ListTools())


async def test_names_the_gate_as_its_authorization_server(ledger: LedgerProcess) -> None:
    async with httpx2.AsyncClient(trust_env=False) as http:
        document = (await http.get(ledger.url.replace("/mcp", "/.well-known/oauth-protected-resource/mcp"))).json()
    assert document["authorization_servers"] == [ISSUER_URL]


def test_ends_quietly_on_sigterm() -> None:
    with ledger_served(ISSUER_URL, "http://127.0.0.1:9/jwks.json", LEDGER_AUDIENCE) as process:
        assert process.end() == (0, "", "")
