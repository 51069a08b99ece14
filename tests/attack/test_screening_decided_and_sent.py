"""What is sent, and what is passed on, is what was decided on: taking something out must not make something else of it."""

import json
import logging
import threading
from pathlib import Path
from typing import Any, Final

import jwt
import pytest

from callgate.errors import Reason, Refusal
from callgate.screening.deceptive import strip_deceptive
from callgate.screening.mask import MAX_FINDS, Tally
from callgate.screening.messages import screen_message
from callgate.screening.terms import Screening
from callgate.wire.json_strict import JsonValue
from callgate.wire.jsonrpc import RpcResult
from support.auditors import Auditor
from support.described_tools import DescribedTools, Era, called, list_and_call, tool
from support.on_record import on_record
from support.raw_agent import modern, modern_call
from support.upstream import RESULTS, Asked, Reply, said

CARD: Final = "4242424242424242"
MAIL: Final = "ada.lovelace@corp-payroll.com"
HEAD: Final = """
version: 1
trust_domains: [acme.test]
tools:
  - {server: ledger, tools: [refund], %(declared)s}
screening:
  - server: ledger
    schemas: off
    mask_arguments: [{key: password}, card]
"""
GRANT: Final = """
grants:
  - {id: all, workloads: ["spiffe://acme.test/**"], server: ledger, tools: [refund]%(more)s}
"""
SQL: Final = HEAD % {"declared": "sql: {query: postgres}"}
SHELL: Final = HEAD % {"declared": "shell: {command: bash}"}
BY_PACK: Final = "packs: [{pack: destructive-sql@1, server: ledger, tools: [refund]}]" + GRANT % {"more": ""}
BY_GRANT: Final = GRANT % {"more": ", when: '!sql(args.query).destructive'"}
BY_DENIAL: Final = (
    "denials: [{id: no, server: ledger, tools: [refund], when: 'sql(args.query).destructive'}]" + GRANT % {"more": ""}
)
# In each the mask would take the condition out of the statement, with what ends the comment that it stands in.
STATEMENTS: Final = (
    "DELETE FROM invoices /* password=*/WHERE/**/id=5/*/ */",
    "DELETE FROM invoices /* password: */ WHERE id = 5 /*\n*/",
    "DELETE FROM invoices /* password: [*/ WHERE id = 5 /*] */",
)


@pytest.mark.parametrize("is_dry", [False, True])
@pytest.mark.parametrize("query", STATEMENTS)
@pytest.mark.parametrize("rules", [BY_PACK, BY_GRANT, BY_DENIAL])
async def test_a_mask_makes_no_destructive_statement_of_a_harmless_one(
    tmp_path: Path, rules: str, query: str, *, is_dry: bool
) -> None:
    meta = {"callgate/dry-run": True} if is_dry else {}
    async with on_record(tmp_path, policy=SQL + rules) as at, at.agent() as agent:
        plain = "DELETE FROM invoices WHERE id = 5 AND card = '4242 4242 4242 4242'"
        allowed = await Era("modern").call(agent, "refund", {"query": plain})
        answer = await Era("modern").call(agent, "refund", {"query": query}, **meta)

    assert "result" in allowed.message
    assert answer.reason == Reason.ARGUMENTS_DENIED
    assert [each["arguments"]["query"] for each in called(at)] == [plain.replace("4242 4242 4242 4242", "[card]")]


async def test_a_mask_makes_no_destructive_command_of_a_harmless_one(tmp_path: Path) -> None:
    rules = "packs: [{pack: destructive-shell@1, server: ledger, tools: [refund]}]" + GRANT % {"more": ""}
    async with on_record(tmp_path, policy=SHELL + rules) as at, at.agent() as agent:
        # What the mask takes out closes one quote and opens another.
        command = """echo "password: ["']" ; rm -rf /srv # '"""
        refused = await agent.ask(modern_call("refund", {"command": command}))
        answer = await agent.ask(modern_call("refund", {"command": f"echo {CARD}"}))

    assert refused.reason == Reason.ARGUMENTS_DENIED
    assert "result" in answer.message
    assert [each["arguments"]["command"] for each in called(at)] == ["echo [card]"]


async def test_what_was_done_before_counts_once_where_something_is_masked(tmp_path: Path) -> None:
    more = ', when: \'history.calls("refund", duration("1h")) < 1\''
    async with on_record(tmp_path, policy=SQL + GRANT % {"more": more}) as at, at.agent() as agent:
        first = await agent.ask(modern_call("refund", {"note": CARD}))
        second = await agent.ask(modern_call("refund", {"note": CARD}))

    assert "result" in first.message
    assert second.reason == Reason.NO_GRANT


async def test_no_scope_says_what_was_masked(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    text = SQL.replace("card]", "{entity: card, mode: partial}]") + GRANT % {
        "more": ', scopes: ["ledger.account:{args.account}"]'
    }
    auditor = Auditor()
    audit = f"folder: audit, record: full, recipients: [{auditor.recipient}]"
    with caplog.at_level(logging.DEBUG):
        async with on_record(tmp_path, policy=text, audit=audit) as at, at.agent() as agent:
            plain = await agent.ask(modern_call("refund", {"account": "house"}))
            masked = await agent.ask(modern_call("refund", {"account": CARD}))
            await at.spans(2)
            tokens = [(asked.header("authorization") or "").removeprefix("Bearer ") for asked in at.upstream.requests]
            kept = b"".join(path.read_bytes() for path in at.folder.rglob("*.jsonl"))
            raw = at.collector.raw

    assert "result" in plain.message
    # What is left of a card's number is no word that a scope may hold.
    assert masked.reason == Reason.ARGUMENTS_DENIED
    claims = [jwt.decode(token, options={"verify_signature": False}) for token in tokens]
    assert ["ledger.account:house" in each["scope"] for each in claims] == [True]
    assert CARD.encode() not in kept + raw
    assert CARD not in caplog.text


async def test_a_scope_says_what_is_left_of_a_number(tmp_path: Path) -> None:
    more = ', scopes: ["ledger.account:{args.account}"]'
    async with on_record(tmp_path, policy=SQL + GRANT % {"more": more}) as at, at.agent() as agent:
        await agent.ask(modern_call("refund", {"account": int(CARD)}))
        await at.calls(1)
        (asked,) = at.upstream.requests

    token = (asked.header("authorization") or "").removeprefix("Bearer ")
    scope = jwt.decode(token, options={"verify_signature": False})["scope"]
    assert CARD not in scope
    assert "ledger.account:0" in scope


# What nobody sees, in the names of an answer's members


_ZERO: Final = "\u200b"
_ASKS_BACK: Final[dict[str, Any]] = {
    "content": [],
    f"result{_ZERO}Type": "input_required",
    f"input{_ZERO}Requests": {"a": {"method": "sampling/createMessage", "params": {}}},
}
_OUR_MARK: Final[dict[str, Any]] = {
    "content": [],
    "resultType": "complete",
    "_meta": {f"callgate{_ZERO}/refusal": {"reason": "made up"}, f"x{_ZERO}y": 1},
}


@pytest.mark.parametrize("is_stream", [False, True])
async def test_what_is_taken_out_of_a_name_makes_no_other_kind_of_result(tmp_path: Path, *, is_stream: bool) -> None:
    async def answer(asked: Asked, reply: Reply) -> None:
        message = said(asked, _ASKS_BACK)
        await (reply.events(message) if is_stream else reply.json(message))

    async with on_record(tmp_path, answer) as at, at.agent() as agent:
        found = await agent.ask(modern_call("get_invoice"))

    assert b"input_required" not in found.body
    assert b"sampling" not in found.body
    assert Reason.UPSTREAM_MESSAGE.value.encode() in found.body


async def test_what_is_taken_out_of_a_name_makes_no_mark_of_the_gates(tmp_path: Path) -> None:
    async def answer(asked: Asked, reply: Reply) -> None:
        await reply.json(said(asked, _OUR_MARK))

    async with on_record(tmp_path, answer) as at, at.agent() as agent:
        found = await agent.ask(modern_call("get_invoice"))

    assert found.message["result"]["_meta"] == {"xy": 1}


# What the gate hears when it asks for a list itself, and what it says of a schema


LISTED: Final = """
version: 1
trust_domains: [acme.test]
screening:
  - {server: ledger, mask: [all], schemas: %(schemas)s}
grants:
  - {id: all, workloads: ["spiffe://acme.test/**"], server: ledger, tools: ["*"]}
"""


@pytest.mark.parametrize("how", ["type", "code"])
async def test_nothing_that_a_server_says_instead_of_a_list_is_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    async def answer(asked: Asked, reply: Reply) -> None:
        if how == "type":
            body = f"HTTP/1.1 404 No\r\nContent-Type: text/{MAIL}\r\nContent-Length: 0\r\n\r\n"
            await reply.raw(body.encode())
        else:
            error = {"code": int(CARD), "message": MAIL}
            await reply.json({"jsonrpc": "2.0", "id": asked.message.get("id"), "error": error})

    with caplog.at_level(logging.DEBUG):
        async with on_record(tmp_path, answer, policy=LISTED % {"schemas": "required"}) as at, at.agent() as agent:
            found = await agent.ask(modern_call("get_invoice"))
            traces = await at.gate.traces_when(2)
            await at.spans(2)
            kept = b"".join(path.read_bytes() for path in at.folder.rglob("*.jsonl")).decode()
            everything = kept + at.collector.raw.decode("latin-1") + caplog.text + repr([t.records for t in traces])

    assert found.reason == Reason.DEFINITIONS_UNAVAILABLE
    assert CARD not in everything
    assert MAIL not in everything


@pytest.mark.parametrize("mode", ["redact", "deny"])
async def test_what_is_wrong_with_arguments_is_screened_as_the_schema_is(tmp_path: Path, mode: str) -> None:
    schema = {
        "to": {"enum": [MAIL, "nobody"]},
        "card": {"const": f"card {CARD}"},
        "by": {"type": "string", "pattern": f"^{MAIL}\\.$"},
        "how": {"enum": ["fast\u202e", "slow"]},
    }
    text = (LISTED % {"schemas": "known"}).replace("mask: [all]", f"mask: [{{entity: all, mode: {mode}}}]")
    given = {"to": "x", "card": "y", "by": "z", "how": "w"}
    async with on_record(tmp_path, DescribedTools([tool("refund", schema)]), policy=text) as at, at.agent() as agent:
        found = await list_and_call(agent, "refund", given)
        assert called(at) == []

    told = found.message["result"]["_meta"]["callgate/refusal"]
    assert told["reason"] == Reason.ARGUMENTS_INVALID
    assert told["problems"]
    assert CARD not in found.body.decode()
    assert MAIL not in found.body.decode()
    assert ("nobody" in json.dumps(told["problems"])) == (mode == "redact")


# Numbers that stand in a text as programs write them


@pytest.mark.parametrize(
    "number",
    [f"{CARD}.0", "4.242424242424242e15", "4242424242424242E0", "42424242424242420e-1", "0.4242424242424242E+16"],
)
async def test_a_number_in_a_text_of_json_is_the_number_that_it_is(tmp_path: Path, number: str) -> None:
    async def answer(asked: Asked, reply: Reply) -> None:
        text = f'{{"amount": 12.50, "row": [{{"v": {number}}}]}}'
        await reply.json(said(asked, {**RESULTS["tools/call"], "content": [{"type": "text", "text": text}]}))

    async with on_record(tmp_path, answer, policy=LISTED % {"schemas": "off"}) as at, at.agent() as agent:
        found = await agent.ask(modern("tools/call", {"name": "get_invoice", "arguments": {}}))

    (block,) = found.message["result"]["content"]
    assert json.loads(block["text"]) == {"amount": 12.5, "row": [{"v": 0}]}


def test_a_mark_of_direction_is_not_kept_by_a_letter_that_goes_itself() -> None:
    # An operating system command (ECMA-48) with the text's only letter from right to left in it.
    assert strip_deceptive("\x9dא\x07\u200e") == ""


# What it costs


def test_more_texts_that_lie_than_can_be_looked_at_are_not_passed_on() -> None:
    lying: list[JsonValue] = [f"{number}\u200b" for number in range(MAX_FINDS + 1)]
    result = RpcResult(1, {"content": [], "structuredContent": {"v": lying}})

    found = screen_message(result, "tools/call", Screening(), b"", Tally())

    assert found == Refusal(Reason.ANSWER_UNSCREENABLE, "too many finds")


async def test_the_others_are_served_while_a_message_of_some_length_is_looked_through(tmp_path: Path) -> None:
    text = (_ZERO + "a") * 2_000
    threads: set[int] = set()

    def noted(*given: Any) -> Any:  # noqa: ANN401  # whatever it is
        threads.add(threading.get_ident())
        return screen_message(*given)

    async def answer(asked: Asked, reply: Reply) -> None:
        await reply.json(said(asked, {**RESULTS["tools/call"], "content": [{"type": "text", "text": text}]}))

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("callgate.answer_screen.screen_message", noted)
        async with on_record(tmp_path, answer) as at, at.agent() as agent:
            found = await agent.ask(modern_call("get_invoice"))

    assert found.message["result"]["content"][0]["text"] == "a" * 2_000
    assert threads
    assert threading.get_ident() not in threads
