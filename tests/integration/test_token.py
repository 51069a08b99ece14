"""The token of one call, taken off the wire: what others can do with it, by verifiers that are none of ours."""

import time
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import httpx2
import jwt
import pytest
import trio
from joserfc import jwt as joserfc_jwt
from joserfc.errors import BadSignatureError, ExpiredTokenError
from joserfc.jwk import KeySet

from callgate.dev.agent import Allowed, CallTool, Listed, ListTools, Step, StepResult, open_agent, run_steps
from callgate.trace import Stage
from support.gate import GATE, WORKLOADS
from support.ledger_gate import TOKEN_TTL_S, LedgerGate, ledger_behind_gate
from support.permits import LEDGER_AUDIENCE
from support.serving import LedgerProcess, ledger_served
from support.tokens import segment, with_segment

# mcp 2.3 leaves the response's generators to the garbage collector when a stream has been answered.
pytestmark = pytest.mark.filterwarnings("ignore:Async generator 'http:ResourceWarning")

MODERN = "2026-07-28"
OTHER_AUDIENCE = "https://other.acme.test/mcp"
GET_INVOICE = CallTool("get_invoice", {"number": "INV-1001"})
INVOICE = Allowed("INV-1001: Northwind, 1250 EUR, open", tool_failed=False, progress=())
REFUND = CallTool("refund", {"number": "INV-1001", "amount": 20})
# The same ledger on a machine whose clock is this much ahead: no token lives so long.
AHEAD_S = 2 * TOKEN_TTL_S


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LedgerGate]:
    with ledger_behind_gate(tmp_path_factory.mktemp("token")) as both:
        yield both


@pytest.fixture
def token(running: LedgerGate) -> str:
    """The token of an allowed call of get_invoice."""
    assert played(running, GET_INVOICE) == [INVOICE]
    return call_tokens(running)[-1]


def call_tokens(running: LedgerGate) -> list[str]:
    """The tokens of calls: the client also lists the tools, on its own account."""
    return [token for token in running.tokens if "mcp:tools.call" in scopes(token)]


def scopes(token: str) -> list[str]:
    return str(segment(token, 1)["scope"]).split()


def played(running: LedgerGate, *steps: Step) -> list[StepResult]:
    context = running.context("billing")

    async def play() -> list[StepResult]:
        async with open_agent(running.url, context, mode=MODERN) as agent:
            return await run_steps(agent, steps)

    return trio.run(play)


def replayed(ledger: LedgerProcess, token: str, *steps: Step) -> list[StepResult]:
    """What the ledger says to somebody who comes straight to it with this token."""

    async def play() -> list[StepResult]:
        async with open_agent(ledger.url, None, headers={"Authorization": f"Bearer {token}"}) as agent:
            return await run_steps(agent, steps)

    return trio.run(play)


def status_at(ledger: LedgerProcess, token: str) -> int:
    """The HTTP status of the least that a modern server must answer, with this token."""
    meta = {"io.modelcontextprotocol/protocolVersion": MODERN, "io.modelcontextprotocol/clientCapabilities": {}}
    body = {"jsonrpc": "2.0", "id": 1, "method": "server/discover", "params": {"_meta": meta}}
    headers = {
        "Accept": "application/json, text/event-stream",
        "Authorization": f"Bearer {token}",
        "MCP-Protocol-Version": MODERN,
        "Mcp-Method": "server/discover",
    }
    return httpx2.post(ledger.url, json=body, headers=headers, trust_env=False).status_code


def document(url: str) -> dict[str, Any]:
    answer = httpx2.get(url, trust_env=False)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    found: dict[str, Any] = answer.json()
    return found


def test_the_ledger_accepts_it_for_the_tool_that_it_was_made_for_and_for_no_other(
    running: LedgerGate, token: str
) -> None:
    called, refund, wipe, listed = replayed(
        running.ledger, token, GET_INVOICE, REFUND, CallTool("wipe_ledger"), ListTools()
    )
    assert called == INVOICE
    assert refund == Allowed("Unknown tool: 'refund'", tool_failed=True, progress=())
    assert wipe == Allowed("Unknown tool: 'wipe_ledger'", tool_failed=True, progress=())
    assert listed == Listed(("get_invoice",))


def test_the_ledger_refuses_it_with_any_claim_changed(running: LedgerGate, token: str) -> None:
    changes: tuple[dict[str, object], ...] = (
        {"scope": "mcp:tools.call tool:wipe_ledger"},
        {"sub": GATE},
        {"exp": int(time.time()) + 3600},
        {"authorization_details": []},
    )
    assert status_at(running.ledger, token) == 200
    for change in changes:
        assert status_at(running.ledger, with_segment(token, 1, **change)) == 401, change


def test_a_ledger_with_another_audience_refuses_it(running: LedgerGate, token: str) -> None:
    with ledger_served(running.issuer, running.jwks_uri, OTHER_AUDIENCE) as other:
        assert status_at(other, token) == 401
    assert status_at(running.ledger, token) == 200


def test_the_ledger_refuses_it_once_it_has_expired(running: LedgerGate, token: str) -> None:
    with ledger_served(running.issuer, running.jwks_uri, LEDGER_AUDIENCE, clock_ahead_s=AHEAD_S) as later:
        assert status_at(later, token) == 401
    assert status_at(running.ledger, token) == 200


def test_pyjwt_verifies_it_by_the_published_keys_and_reads_who_may_do_what(running: LedgerGate, token: str) -> None:
    key = jwt.PyJWK.from_dict(document(running.jwks_uri)["keys"][0])
    claims = jwt.decode(
        token,
        key,
        algorithms=["ES256"],
        audience=LEDGER_AUDIENCE,
        issuer=running.issuer,
        options={"require": ["iss", "aud", "sub", "client_id", "iat", "exp", "jti"]},
    )
    billing = WORKLOADS["billing"]
    (trace,) = [trace for trace in running.gate.traces if trace.decision_id == claims["txn"]]
    assert (claims["sub"], claims["client_id"], claims["act"]) == (billing, billing, {"sub": GATE})
    assert claims["scope"].split() == ["mcp:tools.call", "tool:get_invoice", "ledger.read"]
    (minted,) = [record for record in trace.records if record.stage is Stage.MINT]
    assert minted.started_ns // 10**9 <= claims["exp"] - TOKEN_TTL_S <= minted.ended_ns // 10**9
    (detail,) = claims["authorization_details"]
    assert (detail["type"], detail["actions"], detail["tool"]) == ("mcp_tool_call", ["tools/call"], "get_invoice")
    # RFC 8785 of the arguments, by hand.
    digest = sha256(b'{"number":"INV-1001"}').digest()
    assert detail["args_s256"] == urlsafe_b64encode(digest).rstrip(b"=").decode()
    assert "cnf" not in claims
    assert jwt.get_unverified_header(token) == {"alg": "ES256", "typ": "at+jwt", "kid": key.key_id}


def test_pyjwt_refuses_it_tampered_with_and_for_another_audience(running: LedgerGate, token: str) -> None:
    key = jwt.PyJWK.from_dict(document(running.jwks_uri)["keys"][0])
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(with_segment(token, 1, sub=GATE), key, algorithms=["ES256"], audience=LEDGER_AUDIENCE)
    with pytest.raises(jwt.InvalidAudienceError):
        jwt.decode(token, key, algorithms=["ES256"], audience=OTHER_AUDIENCE)


def test_joserfc_verifies_it_and_refuses_it_tampered_with_and_expired(running: LedgerGate, token: str) -> None:
    keys = KeySet.import_key_set(document(running.jwks_uri))  # type: ignore[arg-type]  # a TypedDict of the same shape
    claims = joserfc_jwt.decode(token, keys, algorithms=["ES256"]).claims
    wanted = {"iss": running.issuer, "aud": LEDGER_AUDIENCE}
    options: dict[str, Any] = {name: {"essential": True, "value": value} for name, value in wanted.items()}
    joserfc_jwt.JWTClaimsRegistry(**options, exp={"essential": True}, iat={"essential": True}).validate(claims)
    with pytest.raises(ExpiredTokenError):
        joserfc_jwt.JWTClaimsRegistry(now=claims["exp"]).validate(claims)
    with pytest.raises(BadSignatureError):
        joserfc_jwt.decode(with_segment(token, 1, sub=GATE), keys, algorithms=["ES256"])


def test_the_metadata_documents_agree_and_lead_to_the_keys(running: LedgerGate, token: str) -> None:
    oauth = document(f"{running.issuer}/.well-known/oauth-authorization-server")
    openid = document(f"{running.issuer}/.well-known/openid-configuration")
    # RFC 8414, section 3.3: the issuer "MUST be identical to the authorization server's issuer identifier value".
    assert oauth["issuer"] == openid["issuer"] == running.issuer == segment(token, 1)["iss"]
    assert oauth["jwks_uri"] == openid["jwks_uri"]
    assert oauth.items() <= openid.items()
    (key,) = document(oauth["jwks_uri"])["keys"]
    assert key["kid"] == segment(token, 0)["kid"]
    # RFC 7518, section 6.2.2: "d" is the private key.
    assert key.keys() == {"kty", "crv", "x", "y", "use", "alg", "kid"}


def test_each_call_has_a_token_of_its_own(running: LedgerGate) -> None:
    before = len(call_tokens(running))
    assert played(running, GET_INVOICE, GET_INVOICE) == [INVOICE, INVOICE]
    first, second = (segment(token, 1) for token in call_tokens(running)[before:])
    assert first["jti"] != second["jti"]
    assert first["txn"] != second["txn"]
