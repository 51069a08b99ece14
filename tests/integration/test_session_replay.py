"""`callgate session replay` against what says to be a gate: what goes out, what is compared, what stops it."""

import json
import os
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.serialization import Encoding

from callgate.audit.age import KeyPair
from callgate.cli.session_replay import replay
from callgate.dev.workload_api import DevWorkloadApi
from support.gate import GATE, WORKLOADS, authority_of
from support.pki import workload
from support.recorded_session import LEGACY, MODERN, SESSION, RecordedSession
from support.upstream import Asked, Reply, ScriptedServer, scripted_server

SECRET = "kept-from-those-without-the-key"
OPEN = {"content": [{"type": "text", "text": "INV-1: open"}], "resultType": "complete"}
PAID = {"content": [{"type": "text", "text": "INV-1: paid"}], "resultType": "complete"}


@dataclass
class Stub:
    """A gate as the contract of dry runs has it.  `denied`: tools; `results`: of calls that are really made."""

    knows_dry_run: bool = True
    gives_handles: bool = True
    denied: dict[str, str] = field(default_factory=dict)
    result: dict[str, Any] = field(default_factory=lambda: OPEN)
    events: tuple[dict[str, Any], ...] = ()
    forwarded: list[str] = field(default_factory=list)

    async def answer(self, asked: Asked, reply: Reply) -> None:
        message = asked.message
        method, params = message["method"], message.get("params", {})
        is_dry = self.knows_dry_run and params.get("_meta", {}).get("callgate/dry-run") is True
        what = params.get("name", method)
        headers = [("Mcp-Session-Id", "new-handle")] if method == "initialize" and self.gives_handles else []
        legacy = asked.header("mcp-protocol-version") == LEGACY
        if legacy and asked.header("mcp-session-id") != "new-handle":
            await self.refuse(asked, reply, "session_missing", -32600, 400)
        elif reason := self.denied.get(what):
            await self.refuse(asked, reply, reason)
        elif is_dry:
            status = 200 if "id" in message else 403
            more = {"session": "new-handle"} if headers else {}
            await self.refuse(asked, reply, "dry_run", -31403, status, decision="allow", **more)
        else:
            self.forwarded.append(what)
            await self.forward(asked, reply, headers)

    async def forward(self, asked: Asked, reply: Reply, headers: list[tuple[str, str]]) -> None:
        if "id" not in asked.message:
            await reply.empty(202)
            return
        answer = {"jsonrpc": "2.0", "id": asked.message["id"], "result": self.result}
        if self.events:
            await reply.events(*({"jsonrpc": "2.0", **event} for event in self.events), answer)
        else:
            await reply.json(answer, headers=headers)

    async def refuse(
        self,
        asked: Asked,
        reply: Reply,
        reason: str,
        code: int = -31403,
        status: int = 200,
        **more: str,
    ) -> None:
        data = {**more, "reason": reason, "decision_id": "ab" * 16, "trace_id": "cd" * 16}
        error = {"code": code, "message": "Denied by policy", "data": data}
        await reply.json({"jsonrpc": "2.0", "id": asked.message.get("id"), "error": error}, status)


@pytest.fixture
def api(tmp_path: Path) -> Iterator[DevWorkloadApi]:
    with DevWorkloadApi(tmp_path / "spiffe", WORKLOADS, ttl_s=300) as running:
        yield running


@dataclass
class Scene:
    """The stub behind the gate's SVID, a recorded session, and the command."""

    api: DevWorkloadApi
    server: ScriptedServer
    session: RecordedSession

    async def run(self, *more: str, gate: str = GATE, session: str = SESSION, stdin: str | None = None) -> Result:
        self.session.write()
        options = ["--to", self.server.url.removesuffix("/mcp"), "--gate", gate, "--log", str(self.session.folder)]
        options += ["--workload-api", self.api.endpoint("billing")]
        if "--identity" not in more:
            options += ["--identity", str(self.session.key)]
        run = partial(CliRunner().invoke, replay, [session, *options, *more], input=stdin)
        return await trio.to_thread.run_sync(run)

    @property
    def sent(self) -> list[str]:
        """The methods that arrived, a tool's name for a call."""
        return [asked.message["params"].get("name", asked.message["method"]) for asked in self.server.requests]


@asynccontextmanager
async def scene(
    api: DevWorkloadApi, folder: Path, stub: Stub, *, revision: str = MODERN, shows: str = GATE
) -> AsyncIterator[Scene]:
    authority = authority_of(api)
    leaf = authority.issue(workload(shows, now=time.time()))
    (folder / "leaf.pem").write_bytes(leaf.chain_pem + leaf.key_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "leaf.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=authority.certificate.public_bytes(Encoding.PEM).decode())
    async with scripted_server(stub.answer, tls=context) as server:
        yield Scene(api, server, RecordedSession(folder / "audit", revision))


def params_of(asked: Asked) -> dict[str, Any]:
    found: dict[str, Any] = asked.message["params"]
    return found


async def test_a_dry_run_asks_for_each_decision_in_order_and_nothing_is_forwarded(
    tmp_path: Path, api: DevWorkloadApi
) -> None:
    stub = Stub()
    async with scene(api, tmp_path, stub) as at:
        at.session.ask("tools/list", {}, [{"result": {"tools": []}}])
        at.session.call("get_invoice", {"number": "INV-1"}, OPEN)
        at.session.call("refund", {"amount": 5}, PAID)

        result = await at.run()

        assert result.exit_code == 0, result.output
        assert at.sent == ["server/discover", "tools/list", "get_invoice", "refund"]
        assert stub.forwarded == []
        assert all(params_of(asked)["_meta"]["callgate/dry-run"] is True for asked in at.server.requests)
    assert result.stdout.splitlines()[-1] == "3 requests: 3 as recorded, 0 differ, 0 not sent"
    assert "a dry run: decisions alone, nothing is forwarded" in result.stdout


async def test_what_goes_out_is_what_the_agent_said_and_not_what_the_gate_added(
    tmp_path: Path, api: DevWorkloadApi
) -> None:
    stub = Stub()
    async with scene(api, tmp_path, stub) as at:
        at.session.call("refund", {"amount": 5, "note": "ä"}, OPEN, purpose="month end")

        await at.run()

        asked = at.server.requests[-1]
    assert asked.target == "/ledger/mcp"
    assert params_of(asked)["name"] == "refund"
    assert params_of(asked)["arguments"] == {"amount": 5, "note": "ä"}
    assert params_of(asked)["_meta"] == {
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientCapabilities": {},
        "callgate/purpose": "month end",
        "callgate/dry-run": True,
    }
    headers = dict(asked.headers)
    assert headers["mcp-method"] == "tools/call"
    assert headers["mcp-name"] == "refund"
    assert headers["mcp-protocol-version"] == MODERN
    assert "mcp-session-id" not in headers
    assert "authorization" not in headers
    assert asked.client_leaf != b""


async def test_another_decision_is_a_difference(tmp_path: Path, api: DevWorkloadApi) -> None:
    stub = Stub(denied={"refund": "no_grant"})
    async with scene(api, tmp_path, stub) as at:
        at.session.call("get_invoice", {"number": "INV-1"}, OPEN)
        decision = at.session.call("refund", {"amount": 5}, OPEN)

        result = await at.run("--format", "json")

    assert result.exit_code == 1
    first, second, summary = map(json.loads, result.stdout.splitlines())
    assert first["same"] is True
    assert (second["decision_id"], second["same"], second["decision"]) == (decision, False, "deny")
    assert second["changed"] == [{"what": "decision", "before": "allow", "after": "deny (no_grant)"}]
    assert (summary["same"], summary["differ"], summary["not_sent"], summary["dry_run"]) == (1, 1, 0, True)


async def test_a_gate_that_knows_no_dry_run_is_sent_nothing_of_the_session(tmp_path: Path, api: DevWorkloadApi) -> None:
    stub = Stub(knows_dry_run=False)
    async with scene(api, tmp_path, stub) as at:
        at.session.call("refund", {"amount": 5}, OPEN)

        result = await at.run()

        assert at.sent == ["server/discover"]
    assert result.exit_code == 2
    assert "this gate knows no dry runs" in result.output


async def test_a_gate_that_refuses_even_the_question_is_sent_nothing_of_the_session(
    tmp_path: Path, api: DevWorkloadApi
) -> None:
    stub = Stub(denied={"server/discover": "no_grant"})
    async with scene(api, tmp_path, stub) as at:
        at.session.call("refund", {"amount": 5}, OPEN)
        at.session.call("refund", {"amount": 6}, OPEN)

        result = await at.run()

        assert at.sent == ["server/discover"]
    assert result.exit_code == 2
    assert "refuses this workload on ledger altogether (no_grant)" in result.stdout


async def test_a_gate_that_forwards_in_the_middle_is_sent_no_more(tmp_path: Path, api: DevWorkloadApi) -> None:
    class Forgetful(Stub):
        async def answer(self, asked: Asked, reply: Reply) -> None:
            self.knows_dry_run = params_of(asked).get("name") != "refund"
            await super().answer(asked, reply)

    async with scene(api, tmp_path, Forgetful()) as at:
        for tool in ("get_invoice", "refund", "wipe_ledger"):
            at.session.call(tool, {}, OPEN)

        result = await at.run()

        assert at.sent == ["server/discover", "get_invoice", "refund"]
    assert result.exit_code == 2
    assert "it forwarded tools/call" in result.output


async def test_sending_makes_the_calls_and_compares_how_they_ended(tmp_path: Path, api: DevWorkloadApi) -> None:
    stub = Stub()
    async with scene(api, tmp_path, stub) as at:
        at.session.call("get_invoice", {"number": "INV-1"}, OPEN)

        result = await at.run("--send", "--yes")

        assert at.sent == ["get_invoice"]
        assert "callgate/dry-run" not in params_of(at.server.requests[0])["_meta"]
    assert result.exit_code == 0, result.output
    assert stub.forwarded == ["get_invoice"]


async def test_sending_shows_where_an_answer_is_another(tmp_path: Path, api: DevWorkloadApi) -> None:
    stub = Stub(result=PAID)
    async with scene(api, tmp_path, stub) as at:
        at.session.call("get_invoice", {"number": "INV-1"}, OPEN)

        text = await at.run("--send", "--yes")
        lines = text.stdout.splitlines()

    assert text.exit_code == 1
    assert '    $.result.content[0].text: "INV-1: open" → "INV-1: paid"' in lines


async def test_sending_compares_events_and_errors_of_the_tool(tmp_path: Path, api: DevWorkloadApi) -> None:
    progress = {"method": "notifications/progress", "params": {"progressToken": 1, "progress": 1}}
    more = {"method": "notifications/progress", "params": {"progressToken": 1, "progress": 2}}
    failed = {"content": [], "isError": True}
    stub = Stub(events=(progress, more), result=OPEN)
    async with scene(api, tmp_path, stub) as at:
        at.session.ask("tools/call", {"name": "refund", "arguments": {}}, [progress, {"result": OPEN}], tool="refund")
        at.session.call("get_invoice", {}, failed, status="tool_error")

        result = await at.run("--send", "--yes", "--format", "json")

    first, second, _ = map(json.loads, result.stdout.splitlines())
    assert [place["path"] for place in first["answer"]] == ["event [1]"]
    assert "before" not in first["answer"][0]
    assert second["changed"] == [{"what": "status", "before": "tool_error", "after": "answered"}]


async def test_a_legacy_session_is_opened_anew_and_its_requests_go_into_the_new_one(
    tmp_path: Path, api: DevWorkloadApi
) -> None:
    stub = Stub()
    async with scene(api, tmp_path, stub, revision=LEGACY) as at:
        hello = {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": {"name": "agent", "version": "7"}}
        at.session.ask("initialize", hello, [{"result": OPEN}], session="be" * 8, began=SESSION)
        at.session.ask("notifications/initialized", {}, [])
        at.session.call("get_invoice", {}, OPEN)

        result = await at.run("--send", "--yes")

        assert at.sent == ["initialize", "notifications/initialized", "get_invoice"]
        first, *others = at.server.requests
        assert params_of(first)["clientInfo"] == {"name": "agent", "version": "7"}
        assert first.header("mcp-session-id") is None
        assert {asked.header("mcp-session-id") for asked in others} == {"new-handle"}
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("more", [(), ("--send", "--yes")])
async def test_a_legacy_session_whose_beginning_was_not_kept_is_opened_by_ours(
    tmp_path: Path, api: DevWorkloadApi, more: tuple[str, ...]
) -> None:
    stub = Stub()
    async with scene(api, tmp_path, stub, revision=LEGACY) as at:
        at.session.ask("initialize", {}, [{"result": {}}], session="be" * 8, began=SESSION, is_kept=False)
        at.session.call("get_invoice", {}, OPEN)

        result = await at.run(*more)

        opening = ["initialize", "notifications/initialized"] if more else ["server/discover", "initialize"]
        assert at.sent == [*opening, "get_invoice"]
        assert at.server.requests[-1].header("mcp-session-id") == "new-handle"
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-1] == "2 requests: 1 as recorded, 0 differ, 1 not sent"


async def test_without_a_session_to_stand_for_the_recorded_one_its_requests_are_not_sent(
    tmp_path: Path, api: DevWorkloadApi
) -> None:
    stub = Stub(gives_handles=False)
    async with scene(api, tmp_path, stub, revision=LEGACY) as at:
        at.session.call("get_invoice", {}, OPEN)

        result = await at.run()

        assert at.sent == ["server/discover", "initialize"]
    assert result.exit_code == 2
    assert "the gate did not open another" in result.stdout


async def test_what_was_refused_or_not_kept_is_told_and_not_made_up(tmp_path: Path, api: DevWorkloadApi) -> None:
    stub = Stub()
    async with scene(api, tmp_path, stub) as at:
        at.session.log.refusal(tool="wipe_ledger")
        at.session.call("get_invoice", {}, OPEN, is_kept=False)
        at.session.call("refund", {}, OPEN)

        result = await at.run()

        assert at.sent == ["server/discover", "refund"]
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert (
        "· 1  tools/call wipe_ledger on ledger  not sent: of a request that was refused, what it said is not kept"
        in lines
    )
    assert "· 2  tools/call get_invoice on ledger  not sent: its content was not recorded in full" in lines
    assert lines[-1] == "3 requests: 1 as recorded, 0 differ, 2 not sent"


async def test_nothing_is_shown_or_sent_without_the_auditors_key(tmp_path: Path, api: DevWorkloadApi) -> None:
    stub = Stub()
    async with scene(api, tmp_path, stub) as at:
        at.session.call("refund", {"note": SECRET}, {"content": [{"type": "text", "text": SECRET}]})
        other = tmp_path / "other.key"
        other.touch(mode=0o600)
        other.write_text(KeyPair.generate().identity)

        result = await at.run("--identity", str(other))

        assert at.server.requests == []
    assert result.exit_code == 2
    assert "encrypted to other keys" in result.stdout
    assert SECRET not in result.output


async def test_a_users_token_goes_along_and_is_never_printed(tmp_path: Path, api: DevWorkloadApi) -> None:
    stub = Stub()
    user = {"issuer": "https://login.acme.test", "subject": "alice", "groups": ["clerks"]}
    async with scene(api, tmp_path, stub) as at:
        at.session.call("refund", {}, OPEN, user=user)
        (tmp_path / "token").write_text(f"{SECRET}\n")

        result = await at.run("--user-token", str(tmp_path / "token"))

        assert at.server.requests[-1].header("authorization") == f"Bearer {SECRET}"
    assert SECRET not in result.output


async def test_without_a_users_token_it_says_what_is_not_as_it_was(tmp_path: Path, api: DevWorkloadApi) -> None:
    user = {"issuer": "https://login.acme.test", "subject": "alice", "groups": ["clerks"]}
    async with scene(api, tmp_path, Stub()) as at:
        at.session.call("refund", {}, OPEN, user=user)

        result = await at.run()

    assert "on no user's behalf; recorded was alice of https://login.acme.test" in result.stdout
    assert f"as {WORKLOADS['billing']}; recorded was spiffe://acme.test/ns/billing/sa/agent" in result.stdout


async def test_whoever_is_not_the_gate_is_sent_nothing(tmp_path: Path, api: DevWorkloadApi) -> None:
    async with scene(api, tmp_path, Stub(), shows=WORKLOADS["stranger"]) as at:
        at.session.call("refund", {"note": SECRET}, OPEN)

        result = await at.run()

        assert at.server.requests == []
    assert result.exit_code == 2
    assert "did not prove to be the gate" in result.output
    assert WORKLOADS["stranger"] in result.output


async def test_calls_are_not_made_again_without_a_word_for_it(tmp_path: Path, api: DevWorkloadApi) -> None:
    async with scene(api, tmp_path, Stub()) as at:
        at.session.call("refund", {}, OPEN)

        result = await at.run("--send")

        assert at.server.requests == []
    assert result.exit_code == 2
    assert "--yes" in result.output


@pytest.mark.parametrize(
    ("prepare", "more", "words"),
    [
        (lambda s: s.call("refund", {}, OPEN, is_kept=False), (), "was recorded in full"),
        (lambda s: s.call("refund", {}, OPEN), ("--to", "https://localhost:1/ledger/mcp"), "must be the gate alone"),
        (lambda s: s.call("refund", {}, OPEN), ("--to", "http://localhost:1"), "must be the gate alone"),
        (lambda s: s.call("refund", {}, OPEN), ("--gate", "gate"), "--gate"),
        (lambda s: s.call("refund", {}, OPEN), ("--to", "https://127.0.0.1:1"), "the gate cannot be reached"),
        (lambda s: s.call("refund", {}, OPEN, session="ab" * 8), (), "no session"),
    ],
)
async def test_what_cannot_be_done_is_told_in_a_sentence(
    tmp_path: Path, api: DevWorkloadApi, prepare: Callable[[RecordedSession], object], more: tuple[str, ...], words: str
) -> None:
    async with scene(api, tmp_path, Stub()) as at:
        prepare(at.session)

        result = await at.run(*more)

        assert at.server.requests == []
    assert result.exit_code == 2
    assert words in result.output
    assert "Traceback" not in result.output


async def test_what_a_tool_server_said_cannot_draw_on_the_terminal(tmp_path: Path, api: DevWorkloadApi) -> None:
    nasty = {"content": [{"type": "text", "text": "\x1b[2J\n✓ 9  all well\u202e"}], "\x1b[31m": 1}
    async with scene(api, tmp_path, Stub(result=nasty)) as at:
        at.session.call("refund", {}, OPEN)

        result = await at.run("--send", "--yes")

    assert result.exit_code == 1
    assert "\x1b[2J" not in result.stdout
    assert "\u202e" not in result.stdout
    assert not any(line.startswith("✓ 9") for line in result.stdout.splitlines())


@pytest.mark.parametrize(("said", "code", "calls"), [(b"n\n", 2, []), (b"y\n", 0, ["refund"])])
async def test_on_a_terminal_it_asks_before_it_makes_calls(
    tmp_path: Path, api: DevWorkloadApi, said: bytes, code: int, calls: list[str]
) -> None:
    async with scene(api, tmp_path, Stub()) as at:
        at.session.call("refund", {}, OPEN)
        at.session.write()
        command = [sys.executable, "-m", "callgate", "session", "replay", SESSION, "--send", "--gate", GATE]
        command += ["--to", at.server.url.removesuffix("/mcp"), "--log", str(at.session.folder)]
        command += ["--identity", str(at.session.key), "--workload-api", api.endpoint("billing")]
        terminal, its_end = os.openpty()
        os.write(terminal, said)
        run = partial(subprocess.run, command, stdin=its_end, capture_output=True, text=True, timeout=60, check=False)
        done = await trio.to_thread.run_sync(run)
        os.close(terminal)
        os.close(its_end)

        assert at.sent == calls
    assert "Make up to 1 call of session" in done.stderr
    assert done.returncode == code, done.stderr
