"""What is to be kept in full and cannot be does not pass: the call is refused, or its answer withheld."""

import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pyrage  # type: ignore[import-untyped]
import pytest

from support.event_stream import event_stream
from support.on_record import OnRecord, on_record, until
from support.raw_agent import Answer, modern, modern_call
from support.tls_agent import admin_page
from support.upstream import Asked, Reply, Script, answer_with, said

CALL = modern_call("refund")
PROGRESS = {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": 1, "progress": 1}}


@pytest.fixture
def audit() -> str:
    recipient = pyrage.x25519.Identity.generate().to_public()
    return f"folder: audit, record: full, recipients: [{recipient}]"


def breaks(content: Path) -> None:
    """A file in place of the folder: nothing can be written there, by root neither."""
    content.rename(content.with_name("away"))
    content.touch()


def mends(content: Path) -> None:
    content.unlink()
    content.with_name("away").rename(content)


def vanishes(content: Path) -> None:
    shutil.rmtree(content)


def breaking(at: list[OnRecord], then: Script | None = None) -> Script:
    """A tool server that is called well, and whose answer finds the folder broken."""

    async def answer(asked: Asked, reply: Reply) -> None:
        breaks(at[0].folder / "content")
        await (then or answer_with())(asked, reply)

    return answer


def assert_unavailable(answer: Answer) -> None:
    assert (answer.status, answer.code, answer.reason) == (200, -31503, "audit_unavailable")


@pytest.mark.parametrize("spoil", [breaks, vanishes])
async def test_a_request_that_cannot_be_kept_is_not_forwarded_and_its_refusal_is_on_record(
    tmp_path: Path, audit: str, spoil: Callable[[Path], None]
) -> None:
    async with on_record(tmp_path, audit=audit) as at:
        spoil(at.folder / "content")
        async with at.agent() as agent:
            answer = await agent.ask(CALL)
        (record,) = await at.requests(1)
        assert_unavailable(answer)
        assert at.upstream.connections == 0
    assert (record["kind"], record["stage"], record["reason"]) == ("refusal", "record", "audit_unavailable")
    assert record["answered"] == {"http": 200, "rpc": -31503}
    assert record["decision"] == answer.message["error"]["data"]["decision_id"]
    assert record["path"][-2:] == ["mint=ok", "record=refused:audit_unavailable"]


async def test_what_needs_no_content_goes_on_meanwhile_and_all_does_once_there_is_room(
    tmp_path: Path, audit: str
) -> None:
    policy = """
version: 1
trust_domains: [acme.test]
grants:
  - {id: pay, workloads: ["spiffe://acme.test/ns/billing/**"], server: ledger, tools: [refund]}
  - {id: look, workloads: ["spiffe://acme.test/ns/billing/**"], server: ledger, tools: [get_invoice], record: digest}
"""
    async with on_record(tmp_path, policy=policy, audit=audit) as at, at.agent() as agent:
        breaks(at.folder / "content")
        assert_unavailable(await agent.ask(CALL))
        assert (await agent.ask(modern_call("get_invoice"))).status == 200
        # The log itself is well: it is no matter of readiness.
        assert (await admin_page(at.gate, "/readyz"))[0] == 200
        mends(at.folder / "content")
        assert (await agent.ask(CALL)).status == 200
        assert [asked.message["params"]["name"] for asked in at.upstream.requests] == ["get_invoice", "refund"]


async def test_an_answer_that_cannot_be_kept_is_withheld_and_the_outcome_says_so(tmp_path: Path, audit: str) -> None:
    at_hand: list[OnRecord] = []
    async with on_record(tmp_path, breaking(at_hand), audit=audit) as at:
        at_hand.append(at)
        async with at.agent() as agent:
            answer = await agent.ask(CALL)
        ((intent, outcome),) = await at.calls(1)
    assert_unavailable(answer)
    assert b"done" not in answer.body
    assert (outcome["status"], outcome["reason"], outcome["http"]) == ("failed", "audit_unavailable", 200)
    assert outcome["path"] == ["record=ok", "forward=failed:audit_unavailable", "respond=ok"]
    assert "objects" not in outcome["answer"]
    # What did not reach the agent did not pass.
    assert outcome["answer"] == {"sha256": sha256(b"").hexdigest(), "bytes": 0, "events": 0}
    assert outcome["decision"] == intent["decision"] == answer.message["error"]["data"]["decision_id"]


async def test_a_stream_whose_end_cannot_be_kept_ends_with_the_refusal_in_place_of_the_answer(
    tmp_path: Path, audit: str
) -> None:
    at_hand: list[OnRecord] = []

    async def stream(asked: Asked, reply: Reply) -> None:
        await reply.start_events()
        await reply.event(PROGRESS)
        await until(lambda: passed == [PROGRESS])
        breaks(at_hand[0].folder / "content")
        await reply.event(said(asked, {"content": [], "resultType": "complete"}))
        await reply.end_events()

    passed: list[object] = []
    async with on_record(tmp_path, stream, audit=audit) as at:
        at_hand.append(at)
        async with at.agent() as agent:
            await agent.say(modern("tools/call", {"name": "refund", "arguments": {}, "_meta": {"progressToken": 1}}))
            heard = await event_stream(agent)
            passed.append(await heard.next())
            (last,) = await heard.rest()
        ((_, outcome),) = await at.calls(1)
    assert last["error"]["data"]["reason"] == "audit_unavailable"
    assert "result" not in last
    assert (outcome["status"], outcome["reason"]) == ("failed", "audit_unavailable")


async def test_a_denial_is_answered_and_recorded_where_what_was_asked_for_cannot_be_kept(
    tmp_path: Path, audit: str
) -> None:
    async with on_record(tmp_path, audit=audit) as at:
        breaks(at.folder / "content")
        async with at.agent() as agent:
            answer = await agent.ask(modern_call("wipe_ledger"))
        (record,) = await at.requests(1)
    assert answer.reason == record["reason"] == "denied"
    assert record["request"].keys() == {"sha256", "bytes"}
