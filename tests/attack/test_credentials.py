"""What the agent holds stays with the agent: no credential of its goes upstream, and nothing secret is written down."""

import json
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from callgate.telemetry.logs import JsonLines
from callgate.telemetry.spans import spans_of
from callgate.trace import DecisionTrace
from support.desk import users_of
from support.gate import Gate, context_of, running_gate
from support.key_endpoint import KeyEndpoint
from support.raw_agent import INITIALIZE, legacy, modern, modern_call
from support.tls_agent import TlsAgent, dialled, with_headers
from support.upstream import Asked, Reply, ScriptedServer, scripted_server
from support.user_tokens import claims, jwks_of, user_key, user_token

CANARY = "canary-7c1f"
# Credentials and claims of identity that an agent may send, or be made to send.
HEADERS = (
    ("Authorization", f"Bearer {CANARY}.eyJzdWIiOiJhZG1pbiJ9.{CANARY}"),
    ("Proxy-Authorization", f"Basic {CANARY}"),
    ("Cookie", f"session={CANARY}"),
    ("X-Api-Key", CANARY),
    ("X-Forwarded-For", f"10.0.0.1, {CANARY}"),
    ("X-Forwarded-Host", CANARY),
    ("X-Forwarded-Proto", CANARY),
    ("X-Forwarded-User", CANARY),
    ("X-Forwarded-Client-Cert", f"By=spiffe://acme.test/{CANARY};URI=spiffe://acme.test/admin"),
    ("Forwarded", f"for={CANARY}"),
    ("X-Real-Ip", CANARY),
    ("X-Remote-User", CANARY),
    ("X-SPIFFE-ID", f"spiffe://acme.test/{CANARY}"),
    ("X-SSL-Client-Cert", CANARY),
    ("DPoP", CANARY),
    ("Baggage", f"user={CANARY}"),
    ("X-B3-TraceId", CANARY),
    ("Mcp-Session-Token", CANARY),
    ("User-Agent", CANARY),
)
# RFC 9110 and MCP 2026-07-28 need these of a request; the rest is what the gate is for.
SENT_MODERN = {
    "host",
    "accept",
    "content-type",
    "content-length",
    "traceparent",
    "mcp-protocol-version",
    "mcp-method",
    "authorization",
}
SENT_LEGACY = SENT_MODERN - {"mcp-method"}
ARGUMENTS = {"number": CANARY, "nested": {"secret": [CANARY]}}


@asynccontextmanager
async def scene(folder: Path) -> AsyncIterator[tuple[Gate, ScriptedServer, TlsAgent]]:
    async with (
        scripted_server() as upstream,
        running_gate(folder, upstream.url) as gate,
        dialled(gate, await context_of(gate.api, "billing")) as agent,
    ):
        yield gate, upstream, agent


def written(traces: Sequence[DecisionTrace]) -> str:
    """All that the traces hold, and all that leaves the gate of it."""
    spans = [span.to_json() for trace in traces for span in spans_of(trace)]
    return "\n".join([*map(repr, traces), *spans])


def logged(caplog: pytest.LogCaptureFixture) -> str:
    lines = [JsonLines().format(record) + repr(record.__dict__) for record in caplog.records]
    return "\n".join([caplog.text, *lines])


async def test_no_credential_of_the_agent_goes_upstream(tmp_path: Path) -> None:
    async with scene(tmp_path) as (_, upstream, agent):
        calls = [modern_call("get_invoice"), modern("tools/list"), legacy("initialize", INITIALIZE)]
        for call in calls:
            assert (await agent.ask(with_headers(call, *HEADERS))).status == 200
        assert len(upstream.requests) == len(calls)
        assert CANARY.encode() not in upstream.heard


async def test_headers_that_go_upstream_are_these_and_no_others(tmp_path: Path) -> None:
    async with scene(tmp_path) as (_, upstream, agent):
        await agent.ask(with_headers(modern_call("get_invoice"), *HEADERS))
        await agent.ask(with_headers(modern("tools/list"), *HEADERS))
        opening = await agent.ask(with_headers(legacy("initialize", INITIALIZE), *HEADERS))
        handle = dict(opening.headers)["mcp-session-id"]
        await agent.ask(with_headers(legacy("tools/list", session=handle), *HEADERS))
        sent = [[name for name, _ in asked.headers] for asked in upstream.requests]
        assert all(len(set(names)) == len(names) for names in sent), "a header went upstream twice"
        called, listed, opened, listed_legacy = map(set, sent)
        assert called == SENT_MODERN | {"mcp-name"}
        assert listed == SENT_MODERN
        # 2025-11-25: the revision is only just being agreed on.
        assert opened == SENT_LEGACY - {"mcp-protocol-version"}
        assert listed_legacy == SENT_LEGACY


async def test_baggage_in_the_body_ends_at_the_gate(tmp_path: Path) -> None:
    async with scene(tmp_path) as (gate, upstream, agent):
        call = modern_call("get_invoice")
        head, _, body = call.partition(b"\r\n\r\n")
        message = json.loads(body)
        message["params"]["_meta"] |= {"baggage": f"user={CANARY}", "com.acme/token": CANARY}
        said = json.dumps(message).encode()
        head = head.replace(f"Content-Length: {len(body)}".encode(), f"Content-Length: {len(said)}".encode())
        assert (await agent.ask(head + b"\r\n\r\n" + said)).status == 200
        assert CANARY.encode() not in upstream.heard
        assert CANARY not in written(await gate.traces_when(1))


async def test_arguments_headers_and_tokens_are_written_nowhere_when_a_call_is_allowed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with scene(tmp_path) as (gate, upstream, agent):
        answer = await agent.ask(with_headers(modern_call("get_invoice", ARGUMENTS), *HEADERS))
        assert answer.status == 200
        assert upstream.requests[0].message["params"]["arguments"] == ARGUMENTS
        token = (upstream.requests[0].header("authorization") or "").removeprefix("Bearer ")
        known = written(await gate.traces_when(1)) + logged(caplog)
        for secret in (CANARY, token, token.rsplit(".", 1)[1]):
            assert secret not in known
        assert token.encode() not in answer.body + repr(answer.headers).encode()


REFUSED = {
    "denied": modern_call("wipe_ledger", ARGUMENTS),
    "no_grant": modern_call("close_month", ARGUMENTS),
    "header_mismatch": modern_call("get_invoice", ARGUMENTS).replace(b"Mcp-Name: get_invoice", b"Mcp-Name: refund"),
    "mirrored argument": with_headers(modern_call("get_invoice", ARGUMENTS), ("Mcp-Param-Number", f"{CANARY}!")),
    "unknown param": modern("tools/call", {"name": "get_invoice", "arguments": ARGUMENTS, "token": CANARY}),
    "method not served": modern("resources/read", {"uri": f"file:///{CANARY}"}),
    "stolen session": legacy("tools/call", {"name": "get_invoice", "arguments": ARGUMENTS}, session=CANARY),
    "malformed session": legacy("ping", session=f"{CANARY} {CANARY}"),
    "json": modern_call("get_invoice", ARGUMENTS)[:-1] + b"]",
    "json encoding": modern_call("get_invoice", {"number": f"{CANARY}_"}).replace(b"_", b"\xff", 1),
    "query": modern_call("get_invoice", ARGUMENTS, target=f"/ledger/mcp?access_token={CANARY}"),
    "repeated credential": with_headers(modern_call("get_invoice"), ("Authorization", f"Bearer {CANARY}")),
    "control character": with_headers(modern_call("get_invoice"), ("Cookie", f"{CANARY}\x01")),
    "header name": with_headers(modern_call("get_invoice"), (f"{CANARY} {CANARY}", "x")),
    "content encoding": with_headers(modern_call("get_invoice", ARGUMENTS), ("Content-Encoding", CANARY)),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_arguments_headers_and_tokens_are_written_nowhere_when_a_call_is_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    caplog.set_level(logging.DEBUG)
    async with scene(tmp_path) as (gate, upstream, agent):
        answer = await agent.ask(with_headers(REFUSED[name], *HEADERS))
        assert answer.reason
        (trace,) = await gate.traces_when(1)
        assert trace.reason == answer.reason
        assert CANARY not in written([trace])
        assert CANARY not in logged(caplog)
        assert CANARY.encode() not in answer.body + repr(answer.headers).encode()
        assert upstream.requests == []


async def test_what_a_failing_tool_server_says_is_written_nowhere(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(asked: Asked, reply: Reply) -> None:
        token = asked.header("authorization")
        await reply.json({"detail": f"{CANARY} {token}"}, 500, [("Set-Cookie", CANARY), ("WWW-Authenticate", CANARY)])

    caplog.set_level(logging.DEBUG)
    async with (
        scripted_server(fail) as upstream,
        running_gate(tmp_path, upstream.url) as gate,
        dialled(gate, await context_of(gate.api, "billing")) as agent,
    ):
        answer = await agent.ask(modern_call("get_invoice", ARGUMENTS))
        assert answer.reason == "upstream_status"
        token = (upstream.requests[0].header("authorization") or "").removeprefix("Bearer ")
        known = written(await gate.traces_when(1)) + logged(caplog) + repr(answer)
        assert CANARY not in known
        assert token not in known


# A user's token: what it says may be known, and what it is worth must not


@asynccontextmanager
async def scene_with_users(folder: Path) -> AsyncIterator[tuple[Gate, ScriptedServer, TlsAgent, KeyEndpoint]]:
    async with (
        KeyEndpoint.open(jwks_of(user_key("P-256"))) as users,
        scripted_server() as upstream,
        running_gate(folder, upstream.url, more=users_of(users)) as gate,
        dialled(gate, await context_of(gate.api, "billing")) as agent,
    ):
        yield gate, upstream, agent, users


def users_token(users: KeyEndpoint, **changes: object) -> str:
    now = int(time.time())
    said = {"iss": users.issuer, "sub": "alice", "exp": now + 600, "iat": now - 10, "jti": CANARY, "email": CANARY}
    return user_token(claims(**{**said, **changes}))


def parts_of(token: str) -> list[str]:
    """The token, and what of it would be as bad to find: all but the header, which says nothing of anybody."""
    return [token, *token.split(".")[1:], CANARY]


async def test_users_token_goes_nowhere_when_a_call_is_allowed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with scene_with_users(tmp_path) as (gate, upstream, agent, users):
        token = users_token(users)
        opening = legacy("initialize", INITIALIZE)
        said = [await agent.ask(with_headers(opening, ("Authorization", f"Bearer {token}")))]
        handle = dict(said[0].headers)["mcp-session-id"]
        in_session = legacy("tools/call", {"name": "get_invoice", "arguments": {}}, session=handle)
        contents = (in_session, modern_call("get_invoice"), modern("tools/list"), modern_call("close_month"))
        said += [await agent.ask(with_headers(each, ("Authorization", f"Bearer {token}"))) for each in contents]
        assert [answer.reason for answer in said] == ["", "", "", "", "no_grant"]
        assert len(upstream.requests) == 4
        known = written(await gate.traces_when(5)) + logged(caplog)
        assert "alice" in known
        for secret in parts_of(token):
            assert secret.encode() not in upstream.heard
            assert secret.encode() not in b"".join(users.heads)
            assert secret not in known
            assert all(secret.encode() not in answer.body + repr(answer.headers).encode() for answer in said)


BAD_USERS: dict[str, Callable[[KeyEndpoint], str]] = {
    "expired": lambda users: users_token(users, exp=int(time.time()) - 600),
    "of another issuer": lambda users: users_token(users, iss="https://nobody.test"),
    "for another audience": lambda users: users_token(users, aud=CANARY),
    "bound to another": lambda users: users_token(users, cnf={"x5t#S256": CANARY}),
    "without a subject": lambda users: users_token(users, sub=["alice", CANARY]),
    "badly signed": lambda users: users_token(users)[:-8] + "AAAAAAAA",
    "no token": lambda _: f"{CANARY}.{CANARY}.{CANARY}",
}


@pytest.mark.parametrize("kind", BAD_USERS)
async def test_users_token_goes_nowhere_when_it_is_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    caplog.set_level(logging.DEBUG)
    async with scene_with_users(tmp_path) as (gate, upstream, agent, users):
        token = BAD_USERS[kind](users)
        answer = await agent.ask(with_headers(modern_call("get_invoice"), ("Authorization", f"Bearer {token}")))
        assert (answer.status, answer.closes) == (401, False)
        assert ("www-authenticate", 'Bearer error="invalid_token"') in answer.headers
        (trace,) = await gate.traces_when(1)
        assert trace.reason == answer.reason
        known = written([trace]) + logged(caplog) + repr(answer)
        assert [secret for secret in parts_of(token) if secret in known] == []
        assert upstream.requests == []
        # The connection goes on, and whoever comes next is not taken for that user.
        assert (await agent.ask(modern_call("get_invoice"))).reason == ""
