"""What becomes of a call while a person thinks: each thing that can happen meanwhile has its outcome."""

import json
import sqlite3
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
import trio

from callgate.dev.agent import Allowed, CallTool, Denied, StepResult, open_agent, run_steps
from callgate.policy_files import policy_files
from callgate.policy_source import PolicySource
from support.described_tools import DescribedTools, Era, called, tool
from support.gate import context_of
from support.key_endpoint import KeyEndpoint
from support.on_record import OnRecord, on_record
from support.people import APPROVALS, LocalPerson, local_person
from support.policies import rename_over
from support.raw_agent import HeaderList, modern, modern_call
from support.user_tokens import GATE_AUDIENCE, claims, jwks_of, user_key, user_token

REFUND: Final = {"number": "INV-7", "amount": 900}
TOOL: Final = tool("refund", {"number": {"type": "string"}, "amount": {"type": "integer"}})
OTHER_TOOL: Final = {**TOOL, "description": "Refunds, and closes the account."}
POLICY: Final = """
version: 1
trust_domains: [acme.test]
grants:
  - {id: looks, workloads: ["spiffe://acme.test/**"], server: ledger, tools: [get_invoice]}
  - id: refunds
    workloads: ["spiffe://acme.test/**"]
    server: ledger
    tools: [refund]
    %s
    approval: {groups: [local], waits: %s, stands: 10m, asks: %s}
"""
WAITS: Final = "20s"
PATIENCE_S: Final = 20.0


@dataclass
class Waiting:
    """A gate with a call that waits, and what its agent has heard so far."""

    at: OnRecord
    person: LocalPerson
    tools: DescribedTools
    policy: Path
    heard: list[bytes] = field(default_factory=list)

    @property
    def messages(self) -> list[dict[str, Any]]:
        return [message for body in self.heard for message in said(body)]

    @property
    def error(self) -> dict[str, Any]:
        return dict(self.messages[-1]["error"])

    async def call(self, headers: HeaderList = (), meta: Mapping[str, object] | None = None) -> None:
        async with self.at.agent() as agent:
            await agent.ask(modern("tools/list"))
            content = with_headers(Era("modern").calling("refund", REFUND, **(meta or {})), headers)
            self.heard.append((await agent.ask(content)).body)


def with_headers(content: bytes, headers: HeaderList) -> bytes:
    head, _, body = content.partition(b"\r\n\r\n")
    lines = "".join(f"\r\n{name}: {value}" for name, value in headers).encode()
    return head + lines + b"\r\n\r\n" + body


def said(body: bytes) -> list[dict[str, Any]]:
    """The messages of an answer, whether it is a stream or not."""
    if body.startswith(b"{"):
        return [json.loads(body)]
    return [json.loads(line[6:]) for line in body.split(b"\n") if line.startswith(b"data: ")]


@asynccontextmanager
async def waiting(
    directory: Path,
    more: str = "",
    *,
    waits: str = WAITS,
    asks: str = "always",
    ttl_s: float = 300.0,
    server: Mapping[str, str] | None = None,
    users: str = "",
) -> AsyncIterator[Waiting]:
    path = directory / "policy.yaml"
    path.write_text(POLICY % (more, waits, asks))
    source = PolicySource.open(policy_files(directory, ["policy.yaml"], frozenset({"ledger"})))
    assert isinstance(source, PolicySource)
    tools = DescribedTools([TOOL, tool("get_invoice")])
    async with (
        on_record(directory, tools, policy=source, more=APPROVALS + users, ttl_s=ttl_s, server=server) as at,
        local_person(at.gate) as person,
    ):
        yield Waiting(at, person, tools, path)


async def other_request(person: LocalPerson, than: Mapping[str, Any]) -> dict[str, Any]:
    """The request that the same call asks for anew."""
    with trio.fail_after(PATIENCE_S):
        while True:
            found = [each for each in await person.listed() if each["state"] == "waiting" and each["id"] != than["id"]]
            if found:
                return found[0]
            await trio.sleep(0.02)


@pytest.mark.parametrize("mode", ["2026-07-28", "legacy"])
async def test_the_official_client_waits_and_hears_that_it_is_waited_for(tmp_path: Path, mode: str) -> None:
    results: list[StepResult] = []

    async def play() -> None:
        context = await context_of(at.at.gate.api, "billing")
        async with open_agent(at.at.gate.url(), context, mode=mode) as agent:
            results.extend(await run_steps(agent, [CallTool("refund", REFUND)]))

    async with waiting(tmp_path) as at, trio.open_nursery() as nursery:
        nursery.start_soon(play)
        (request,) = await at.person.waiting()
        await at.person.approve(request)
    (result,) = results
    assert isinstance(result, Allowed)
    assert result.progress


@pytest.mark.parametrize("mode", ["2026-07-28", "legacy"])
async def test_the_official_client_is_told_of_a_denial(tmp_path: Path, mode: str) -> None:
    results: list[StepResult] = []

    async def play() -> None:
        context = await context_of(at.at.gate.api, "billing")
        async with open_agent(at.at.gate.url(), context, mode=mode) as agent:
            results.extend(await run_steps(agent, [CallTool("refund", REFUND), CallTool("get_invoice")]))

    async with waiting(tmp_path) as at, trio.open_nursery() as nursery:
        nursery.start_soon(play)
        (request,) = await at.person.waiting()
        await at.person.deny(request, "no")
    denied, allowed = results
    assert isinstance(denied, Denied)
    assert (denied.code, denied.reason) == (-31403, "approval_denied")
    assert isinstance(allowed, Allowed)


async def test_progress_is_told_to_whoever_asked_for_it_and_never_goes_back(tmp_path: Path) -> None:
    events = [
        {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": "p", "progress": step}}
        for step in (0.5, 1)
    ]
    async with waiting(tmp_path) as at:
        at.tools.before = events
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(at.call, meta={"progressToken": "p"}))
            (request,) = await at.person.waiting()
            await at.person.approve(request)
    told = [message["params"]["progress"] for message in at.messages if "params" in message]
    assert len(told) == 3
    assert told == sorted(set(told))
    assert "result" in at.messages[-1]


async def test_without_a_token_for_it_no_progress_is_told(tmp_path: Path) -> None:
    async with waiting(tmp_path) as at, trio.open_nursery() as nursery:
        nursery.start_soon(at.call)
        (request,) = await at.person.waiting()
        await at.person.approve(request)
    (message,) = at.messages
    assert "result" in message
    assert at.heard[0].startswith(b":")


async def test_when_time_is_up_the_agent_gets_an_id_and_can_come_back(tmp_path: Path) -> None:
    async with waiting(tmp_path, waits="1s") as at:
        await at.call()
        (request,) = await at.person.waiting()
        assert at.error["code"] == -31202
        assert at.error["data"]["approval"] == request["id"]
        assert at.error["data"]["expires_at"] > time.time()
        await at.person.approve(request)
        await at.call()
    assert "result" in at.messages[-1]
    assert len(called(at.at)) == 1


async def test_what_an_agent_that_went_away_asked_for_stands(tmp_path: Path) -> None:
    async with waiting(tmp_path) as at:
        async with at.at.agent() as agent:
            await agent.say(modern_call("refund", REFUND))
            (request,) = await at.person.waiting()
        # It hung up; its trace says so, and nothing was sent.
        await until_traced(at, "approve=refused:client_gone")
        await at.person.approve(request)
        assert called(at.at) == []
        await at.call()
    assert "result" in at.messages[-1]
    assert len(called(at.at)) == 1


async def until_traced(at: Waiting, step: str) -> None:
    with trio.fail_after(PATIENCE_S):
        while not any(step in trace.path for trace in at.at.gate.traces):
            await at.at.gate.recorded.wait()


async def test_an_svid_that_ends_while_a_person_thinks_ends_the_wait(tmp_path: Path) -> None:
    async with waiting(tmp_path, ttl_s=6.0) as at:
        await at.call()
        (request,) = await at.person.waiting()
        assert (at.error["code"], at.error["data"]["reason"]) == (-31401, "svid_expired")
        # Renewed, the workload is the same, and uses what was agreed to meanwhile.
        await at.person.approve(request)
        await at.call()
    assert "result" in at.messages[-1]


async def test_a_policy_that_denies_by_now_denies(tmp_path: Path) -> None:
    async with waiting(tmp_path) as at, trio.open_nursery() as nursery:
        nursery.start_soon(at.call)
        (request,) = await at.person.waiting()
        denial = "denials: [{id: no-refunds, server: ledger, tools: [refund]}]\n"
        rename_over(at.policy, at.policy.read_text() + denial)
        await until_traced(at, "approve=refused:denied")
        answer = await at.person.say(request, "approve")
    assert at.error["data"]["reason"] == "denied"
    assert (answer.status_code, answer.json()["error"]) == (409, "policy_changed")
    assert called(at.at) == []


async def test_under_another_policy_the_call_is_asked_for_anew(tmp_path: Path) -> None:
    async with waiting(tmp_path) as at, trio.open_nursery() as nursery:
        nursery.start_soon(at.call)
        (request,) = await at.person.waiting()
        rename_over(at.policy, at.policy.read_text() + "# another\n")
        await at.person.approve(await other_request(at.person, request))
    assert "result" in at.messages[-1]
    assert len(called(at.at)) == 1


async def test_a_tool_that_changes_while_a_person_thinks_is_asked_for_anew(tmp_path: Path) -> None:
    async with waiting(tmp_path) as at, trio.open_nursery() as nursery:
        nursery.start_soon(at.call)
        (request,) = await at.person.waiting()
        at.tools.tools = [OTHER_TOOL]
        async with at.at.agent("ops") as agent:
            await agent.ask(modern("tools/list"))
        await at.person.approve(request)
        anew = await other_request(at.person, request)
        assert called(at.at) == []
        whole = await at.person.whole(anew)
        assert whole["definition"]["description"] == OTHER_TOOL["description"]
        await at.person.approve(anew)
    assert "result" in at.messages[-1]


async def test_a_limit_that_is_reached_meanwhile_holds_the_call_back_and_spends_no_approval(tmp_path: Path) -> None:
    limited = {"rate": "{calls: 1, per: 1h}"}
    async with waiting(tmp_path, server=limited) as at:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(at.call)
            (request,) = await at.person.waiting()
            async with at.at.agent() as agent:
                assert "result" in (await agent.ask(modern_call("get_invoice", {}))).message
            await at.person.approve(request)
        assert at.error["code"] == -31429
        assert (await at.person.whole(request))["state"] == "approved"


async def test_a_tool_server_that_is_gone_by_then_is_told_as_such(tmp_path: Path) -> None:
    async with waiting(tmp_path) as at:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(at.call)
            (request,) = await at.person.waiting()
            at.at.upstream.stop()
            await at.person.approve(request)
        assert at.error["code"] == -31502
        assert at.error["data"]["reason"] == "upstream_unreachable"
        # It was used: that nothing arrived there is more than the gate can know.
        assert (await at.person.whole(request))["state"] == "used"


async def test_a_users_token_that_ends_while_a_person_thinks_ends_the_wait(tmp_path: Path) -> None:
    key = user_key("P-256")
    async with KeyEndpoint.open(jwks_of(key)) as users:
        more = f"users: {{audience: {GATE_AUDIENCE}, leeway: 1s, issuers: [{{issuer: '{users.issuer}'}}]}}\n"
        # Shorter than the call waits, so that what is asked again at its end says no.
        said = claims(iss=users.issuer, iat=int(time.time()), exp=int(time.time()) + 2)
        bearer = [("Authorization", f"Bearer {user_token(said, key=key)}")]
        async with waiting(tmp_path, users=more) as at:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(partial(at.call, headers=bearer))
                (request,) = await at.person.waiting()
                assert (await at.person.whole(request))["user"].startswith(said["sub"])
                await trio.sleep(max(0.0, said["exp"] + 1.1 - time.time()))
                await at.person.approve(request)
            assert at.error["data"]["reason"] == "user_token_expired"
            # What was agreed to stands, for a call with a token that is good.
            assert (await at.person.whole(request))["state"] == "approved"
            assert called(at.at) == []


async def test_what_screening_holds_is_asked_for_and_nothing_else(tmp_path: Path) -> None:
    held = "mask_arguments: [{entity: card, mode: hold}]"
    async with waiting(tmp_path, held, waits="0s", asks="on_hold") as at:
        at.tools.tools = [tool("refund", {"number": {"type": "string"}})]
        async with at.at.agent() as agent:
            plain = (await agent.ask(modern_call("refund", {"number": "INV-7"}))).message
            card = (await agent.ask(modern_call("refund", {"number": "4242424242424242"}))).message
        assert "result" in plain
        assert card["error"]["data"]["reason"] == "approval_required"
        (request,) = await at.person.waiting()
        assert (await at.person.whole(request))["found"] == ["card stands in the arguments"]
        assert len(called(at.at)) == 1


async def test_a_gate_that_stops_tells_calls_that_wait_to_come_back(tmp_path: Path) -> None:
    async with waiting(tmp_path) as at, trio.open_nursery() as nursery:
        nursery.start_soon(at.call)
        await at.person.waiting()
        at.at.gate.service.stop()
    assert at.error["code"] == -31202


async def test_a_dry_run_says_that_it_would_be_held_and_asks_nobody(tmp_path: Path) -> None:
    async with waiting(tmp_path) as at:
        await at.call(meta={"callgate/dry-run": True})
        assert at.error["data"]["decision"] == "hold"
        assert await at.person.listed() == []


async def test_without_its_store_a_call_is_refused_within_two_seconds_and_others_go_on(tmp_path: Path) -> None:
    async with waiting(tmp_path) as at:
        path = at.at.folder.parent / "approvals" / "approvals.db"
        with sqlite3.connect(path, isolation_level=None) as other:
            other.execute("BEGIN EXCLUSIVE")
            began = trio.current_time()
            await at.call()
            took_s = trio.current_time() - began
            async with at.at.agent() as agent:
                beside = await agent.ask(modern_call("get_invoice", {}))
            other.execute("ROLLBACK")
        assert (at.error["code"], at.error["data"]["reason"]) == (-31503, "approvals_unavailable")
        assert took_s < 3.0
        assert "result" in beside.message
        assert called(at.at)[-1]["name"] == "get_invoice"


async def test_one_workload_cannot_have_more_than_its_share_waiting(tmp_path: Path) -> None:
    async with waiting(tmp_path, waits="0s") as at:
        refused: list[str] = []
        async with at.at.agent() as agent, at.at.agent("ops") as other:
            for number in range(21):
                message = (await agent.ask(modern_call("refund", {"number": str(number), "amount": 1}))).message
                refused.append(message["error"]["data"]["reason"])
            others = (await other.ask(modern_call("refund", REFUND))).reason
        assert refused == ["approval_required"] * 20 + ["too_many_approvals"]
        assert others == "approval_required"


async def test_who_was_denied_often_does_not_go_on_asking_with_other_arguments(tmp_path: Path) -> None:
    async with waiting(tmp_path, waits="0s") as at, at.at.agent() as agent, at.at.agent("ops") as other:
        for number in range(20):
            await agent.ask(modern_call("refund", {"number": str(number), "amount": 1}))
        found = await at.person.waiting(20)
        denials = [{"id": each["id"], "binding": each["binding"], "verdict": "deny", "reason": ""} for each in found]
        answer = await at.person.client.post("/api/v1/decisions", json={"decisions": denials})
        assert answer.status_code == 200
        assert (await agent.ask(modern_call("refund", REFUND))).reason == "too_many_approvals"
        assert (await other.ask(modern_call("refund", REFUND))).reason == "approval_required"


async def test_equal_calls_are_one_request(tmp_path: Path) -> None:
    async with waiting(tmp_path, waits="0s") as at:
        for _ in range(3):
            await at.call()
        (request,) = await at.person.waiting()
        assert request["asks"] == 3
        assert {message["error"]["data"]["approval"] for message in at.messages} == {request["id"]}
