"""`_meta["callgate/dry-run"]`: what would be decided, and nothing is done, used up or got round by asking."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from support.on_record import on_record, records_in
from support.raw_agent import INITIALIZE, Answer, RawConnection, legacy, modern, modern_call, open_session

DRY = {"callgate/dry-run": True}
ONCE = """
version: 1
trust_domains: [acme.test]
grants:
  - id: once
    workloads: ["spiffe://acme.test/ns/billing/**"]
    server: ledger
    tools: [refund]
    when: history.calls("refund", duration("1h")) < 1
    limit: {calls: 1, per: 1h}
  - {id: look, workloads: ["spiffe://acme.test/ns/billing/**"], server: ledger, tools: [get_invoice]}
"""
SHY = """
version: 1
trust_domains: [acme.test]
grants:
  - id: while-well-behaved
    workloads: ["spiffe://acme.test/ns/billing/**"]
    server: ledger
    tools: [get_invoice]
    when: history.denials(duration("1h")) < 2
"""


def dry(tool: str, arguments: Mapping[str, object] | None = None, wish: object = True) -> bytes:
    params = {"name": tool, "arguments": dict(arguments or {}), "_meta": {"callgate/dry-run": wish}}
    return modern("tools/call", params)


async def told(agent: RawConnection, request: bytes) -> tuple[int, str]:
    answer = await agent.ask(request)
    return answer.status, answer.reason


def data_of(answer: Answer) -> dict[str, object]:
    return dict(answer.message["error"]["data"])


async def test_a_dry_run_says_that_it_would_be_let_through_and_reaches_no_tool_server(tmp_path: Path) -> None:
    async with on_record(tmp_path) as at, at.agent() as agent:
        answer = await agent.ask(dry("refund", {"amount": 5}))
        (record,) = await at.requests(1)
        assert at.upstream.connections == 0
    assert (answer.status, answer.code) == (200, -31403)
    assert data_of(answer) == {
        "reason": "dry_run",
        "decision": "allow",
        "decision_id": record["decision"],
        "trace_id": record["trace"],
    }
    assert (record["kind"], record["stage"], record["reason"]) == ("refusal", "decide", "dry_run")
    assert record["dry_run"] is True
    assert [rule["rule"] for rule in record["rules"] if rule["matched"]] == ["billing-works-with-invoices"]
    assert "token" not in record


@pytest.mark.parametrize(("tool", "reason"), [("wipe_ledger", "denied"), ("close_month", "no_grant")])
async def test_a_dry_run_of_what_is_refused_is_refused_as_the_call_would_be(
    tmp_path: Path, tool: str, reason: str
) -> None:
    async with on_record(tmp_path) as at, at.agent() as agent:
        really, asked = await agent.ask(modern_call(tool)), await agent.ask(dry(tool))
        first, second = await at.requests(2)
    assert really.reason == asked.reason == reason
    assert data_of(asked).keys() == data_of(really).keys()
    assert first["rules"] == second["rules"]
    # Who reads the log can tell an attempt from a question.
    assert ("dry_run" in first, second["dry_run"]) == (False, True)


async def test_dry_runs_use_up_no_limit_and_count_as_no_calls(tmp_path: Path) -> None:
    async with on_record(tmp_path, policy=ONCE, server={"rate": "{calls: 2, per: 1h}"}) as at, at.agent() as agent:
        for _ in range(5):
            assert await told(agent, dry("refund")) == (200, "dry_run")
        assert await told(agent, modern_call("refund")) == (200, "")
        # The history has a call now, and a dry run hears of it.
        assert await told(agent, dry("refund")) == (200, "no_grant")
        assert await told(agent, modern_call("get_invoice")) == (200, "")
        # Only now is the server's rate used up.
        assert await told(agent, modern_call("get_invoice")) == (200, "rate_limited")
        assert [asked.message["params"]["name"] for asked in at.upstream.requests] == ["refund", "get_invoice"]


async def test_denials_of_dry_runs_count_so_that_nobody_tries_arguments_for_free(tmp_path: Path) -> None:
    async with on_record(tmp_path, policy=SHY) as at, at.agent() as agent:
        assert await told(agent, modern_call("get_invoice")) == (200, "")
        for _ in range(2):
            assert await told(agent, dry("refund")) == (200, "no_grant")
        assert await told(agent, modern_call("get_invoice")) == (200, "no_grant")
        assert len(at.upstream.requests) == 1


@pytest.mark.parametrize("wish", ["true", "false", 1, 0, None, [], {}])
async def test_a_wish_that_is_no_boolean_is_refused(tmp_path: Path, wish: object) -> None:
    async with on_record(tmp_path) as at, at.agent() as agent:
        answer = await agent.ask(dry("refund", wish=wish))
        (record,) = await at.requests(1)
        assert at.upstream.connections == 0
    assert (answer.status, answer.reason, record["reason"]) == (400, "meta_invalid", "meta_invalid")


async def test_a_plain_no_is_a_call_and_the_tool_server_hears_nothing_of_the_wish(tmp_path: Path) -> None:
    async with on_record(tmp_path) as at, at.agent() as agent:
        assert await told(agent, dry("refund", wish=False)) == (200, "")
        (asked,) = at.upstream.requests
    assert "callgate/dry-run" not in asked.message["params"]["_meta"]


async def test_lists_and_the_beginning_of_a_session_are_asked_for_dry_as_well(tmp_path: Path) -> None:
    async with on_record(tmp_path) as at, at.agent() as agent:
        assert await told(agent, modern("tools/list", {"_meta": DRY})) == (200, "dry_run")
        answer = await agent.ask(legacy("initialize", {**INITIALIZE, "_meta": DRY}))
        handle = str(data_of(answer)["session"])
        call = {"name": "refund", "arguments": {}, "_meta": DRY}
        assert await told(agent, legacy("tools/call", call, session=handle)) == (200, "dry_run")
        assert at.upstream.connections == 0
    assert handle.encode() not in b"".join(path.read_bytes() for path in at.folder.rglob("*") if path.is_file())


async def test_a_dry_run_in_a_session_that_is_open_leaves_it_as_it_is(tmp_path: Path) -> None:
    async with on_record(tmp_path) as at, at.agent() as agent:
        handle = await open_session(agent)
        call = {"name": "refund", "arguments": {}}
        assert await told(agent, legacy("tools/call", {**call, "_meta": DRY}, session=handle)) == (200, "dry_run")
        assert await told(agent, legacy("tools/call", call, session=handle)) == (200, "")
        await at.calls(2)
    requests = [record for record in records_in(at.folder) if "session" in record and record["method"] == "tools/call"]
    assert [record["kind"] for record in requests] == ["refusal", "intent"]
    assert requests[0]["session"] == requests[1]["session"]
