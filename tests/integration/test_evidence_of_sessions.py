"""What belongs together has one session in the log, and the command line tells it while the gate runs."""

import json
import time
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import rfc8785
import trio
from click.testing import Result

from support.desk import users_of
from support.key_endpoint import KeyEndpoint
from support.on_record import on_record
from support.raw_agent import legacy, modern, modern_call, open_session
from support.tls_agent import with_headers
from support.upstream import Asked, Reply, answer_with
from support.user_tokens import claims, jwks_of, user_key, user_token

AGENT = "spiffe://acme.test/ns/billing/sa/refund-agent"
AUDITOR = "spiffe://acme.test/ns/ops/sa/auditor"


def json_of(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


async def test_what_one_workload_does_is_one_session_over_all_its_connections_and_anothers_is_another(
    tmp_path: Path,
) -> None:
    async with on_record(tmp_path) as at:
        for name, tool in (("billing", "get_invoice"), ("ops", "list_invoices"), ("billing", "wipe_ledger")):
            async with at.agent(name) as agent:
                await agent.ask(modern_call(tool))
        first, others, second = await at.requests(3)
        assert first["session"] == second["session"] != others["session"]
        await at.calls(2)
        listed = json_of(await at.callgate("session", "list", "--format", "json"))["sessions"]
    assert [(each["session"], each["agents"], each["requests"], each["denied"]) for each in listed] == [
        (others["session"], [AUDITOR], 1, 0),
        (first["session"], [AGENT], 2, 1),
    ]
    assert [each["status"] for each in listed] == ["well", "denied"]


async def test_what_one_workload_does_for_two_users_are_two_sessions(tmp_path: Path) -> None:
    async with KeyEndpoint.open(jwks_of(user_key("P-256"))) as users:
        now = int(time.time())

        def asking_for(name: str) -> bytes:
            token = user_token(claims(iss=users.issuer, sub=name, iat=now, exp=now + 300))
            return with_headers(modern_call("get_invoice"), ("Authorization", f"Bearer {token}"))

        async with on_record(tmp_path, more=users_of(users)) as at:
            async with at.agent() as agent:
                for request in (
                    asking_for("alice"),
                    asking_for("bob"),
                    modern_call("get_invoice"),
                    asking_for("alice"),
                ):
                    assert (await agent.ask(request)).status == 200
            alice, bob, nobody, again = await at.requests(4)
            listed = json_of(await at.callgate("session", "list", "--user", "alice", "--format", "json"))["sessions"]
    assert alice["session"] == again["session"]
    assert len({alice["session"], bob["session"], nobody["session"]}) == 3
    assert [(each["session"], each["users"]) for each in listed] == [(alice["session"], [f"alice of {users.issuer}"])]


async def test_a_legacy_session_is_one_of_its_own_from_its_initialize_on_and_its_handle_is_nowhere(
    tmp_path: Path,
) -> None:
    async with on_record(tmp_path, answer_with(session_id="upstream-session")) as at:
        async with at.agent() as agent:
            await agent.ask(modern_call("get_invoice"))
            handle = await open_session(agent)
            await agent.ask(legacy("tools/call", {"name": "refund", "arguments": {}}, session=handle))
            second = await open_session(agent)
            await agent.ask(legacy("tools/list", session=second))
        calls = await at.calls(5)
        shown = json_of(await at.callgate("session", "show", calls[1][1]["began"], "--format", "json"))
    modern_one, begins, legacy_one, begins_again, legacy_two = [intent for intent, _ in calls]
    began = [outcome.get("began") for _, outcome in calls]
    assert began == [None, legacy_one["session"], None, legacy_two["session"], None]
    assert begins["session"] == begins_again["session"] == modern_one["session"]
    assert len({each["session"] for each in (modern_one, legacy_one, legacy_two)}) == 3
    assert legacy_one["mcp_session"] == legacy_one["session"]
    assert "mcp_session" not in modern_one
    # The story of the session begins with how it was opened.
    steps = [(step["record"]["method"], step["status"]) for step in shown["steps"]]
    assert steps == [("initialize", "answered"), ("tools/call", "answered")]
    everything = b"".join(path.read_bytes() for path in at.folder.rglob("*") if path.is_file())
    assert not any(word.encode() in everything for word in (handle, second, "upstream-session"))


async def test_a_handle_that_was_made_up_names_no_session(tmp_path: Path) -> None:
    async with on_record(tmp_path) as at:
        async with at.agent() as agent:
            answer = await agent.ask(legacy("tools/list", session="made-up"))
        (refusal,) = await at.requests(1)
    assert refusal["reason"] == answer.reason == "session_unknown"
    assert not {"session", "mcp_session"} & refusal.keys()


async def test_show_tells_each_request_of_a_session_with_its_path_rules_and_end(tmp_path: Path) -> None:
    arguments = {"number": "INV-1", "amount": 5}
    async with on_record(tmp_path) as at:
        async with at.agent() as agent:
            await agent.ask(modern_call("refund", arguments))
            data = (await agent.ask(modern_call("wipe_ledger"))).message["error"]["data"]
        ((intent, _),) = await at.calls(1)
        await at.requests(2)
        story = json_of(await at.callgate("session", "show", intent["session"], "--format", "json"))
        text = await at.callgate("session", "show", intent["session"][:6])
    allowed, denied = story["steps"]
    assert (allowed["verdict"], allowed["status"]) == ("allow", "answered")
    assert [step["stage"] for step in allowed["path"]][-4:] == ["record", "forward", "screen", "respond"]
    assert allowed["record"]["args"] == sha256(rfc8785.dumps(arguments)).hexdigest()  # type: ignore[arg-type]
    assert (denied["verdict"], denied["reason"]) == ("deny", "denied")
    assert denied["record"]["decision"] == data["decision_id"]
    assert denied["path"][-1] == {"stage": "decide", "outcome": "refused", "reason": "denied"}
    first, second = (datetime.fromisoformat(step["record"]["time"]) for step in story["steps"])
    # `datetime` knows microseconds alone.
    assert abs(denied["offset_us"] - allowed["offset_us"] - (second - first).total_seconds() * 1e6) <= 1
    assert text.exit_code == 0
    for words in ("refund", "wipe_ledger", "nobody-wipes-the-ledger", "billing-works-with-invoices", AGENT):
        assert words in text.stdout


async def test_a_call_under_way_is_told_as_open(tmp_path: Path) -> None:
    release = trio.Event()

    async def wait(asked: Asked, reply: Reply) -> None:
        await release.wait()
        await answer_with()(asked, reply)

    async with on_record(tmp_path, wait) as at, at.agent() as agent:
        await agent.say(modern("tools/call", {"name": "get_invoice", "arguments": {}}))
        (intent,) = await at.requests(1)
        (listed,) = json_of(await at.callgate("session", "list", "--format", "json"))["sessions"]
        (step,) = json_of(await at.callgate("session", "show", intent["session"], "--format", "json"))["steps"]
        release.set()
        await agent.answer()
    assert (listed["status"], listed["open"]) == ("open", 1)
    assert (step["status"], step["outcome"]) == ("open", None)
