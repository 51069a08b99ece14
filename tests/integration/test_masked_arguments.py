"""What must not go to a tool is taken out of the arguments before anything else is done with them, or stops the call.

The tool server, the token, the trace, the log and the record know of what is left, and of nothing else.
"""

import base64
import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import jwt
import pytest

from callgate.audit.content import read
from callgate.errors import Reason
from support.auditors import Auditor
from support.described_tools import DescribedTools, Era, Json, called, tool
from support.on_record import OnRecord, on_record
from support.raw_agent import HeaderList, RawConnection, modern, modern_call, request
from support.upstream import Asked

# The issuer's own test numbers: docs.stripe.com/testing.
CARD: Final = "4242424242424242"
OTHER_CARD: Final = "5555555555554444"
POLICY: Final = """
version: 1
trust_domains: [acme.test]
screening:
  - server: ledger
    schemas: off
    mask_arguments: [{entity: card, mode: %(mode)s}]
grants:
  - {id: both, workloads: ["spiffe://acme.test/**"], server: ledger, tools: [refund, get_invoice]}
  - {id: once, workloads: ["spiffe://acme.test/**"], server: ledger, tools: [list_invoices], when: 'args.card.endsWith("42424242")'}
denials:
  - {id: no-closing, server: ledger, tools: [close_month]}
"""
BY_GRANT: Final = """
version: 1
trust_domains: [acme.test]
screening:
  - {server: ledger, schemas: known}
grants:
  - id: pays
    workloads: ["spiffe://acme.test/**"]
    server: ledger
    tools: [refund]
    mask_arguments: [{entity: card, mode: %(mode)s}]
    %(more)s
"""


def policy(mode: str) -> str:
    return POLICY % {"mode": mode}


def by_grant(mode: str, more: str = "") -> str:
    return BY_GRANT % {"mode": mode, "more": more}


@dataclass(frozen=True)
class Everything:
    """All that is kept of what passed: traces, spans, log lines, the log's files, and what an auditor reads there."""

    at: OnRecord
    auditor: Auditor

    def texts(self, log: str) -> Iterator[str]:
        for trace in self.at.gate.traces:
            yield repr((trace.records, trace.evidence, trace.answer))
        yield log
        yield self.at.collector.raw.decode("latin-1")
        for path in sorted(self.at.folder.rglob("*")):
            if path.is_file() and path.name != "lock":
                yield path.read_bytes().decode("latin-1")
        yield from self.content()

    def content(self) -> Iterator[str]:
        for path in sorted((self.at.folder / "content").rglob("*.age")):
            yield read(self.at.folder, path.stem, self.auditor.identities).decode()


def digests_of(arguments: object) -> list[str]:
    """The digest by which a record tells of arguments, in hex and as a token has it."""
    digest = hashlib.sha256(json.dumps(arguments, sort_keys=True, separators=(",", ":")).encode())
    return [digest.hexdigest(), base64.urlsafe_b64encode(digest.digest()).decode().rstrip("=")]


async def assert_untold(everything: Everything, log: str, arguments: object, traces: int) -> None:
    """Neither a card's number nor the digest of these arguments is anywhere."""
    await everything.at.spans(traces)
    for text in everything.texts(log):
        for secret in (CARD, OTHER_CARD, "4242 4242", *digests_of(arguments)):
            assert secret not in text, secret


def audit_of(auditor: Auditor) -> str:
    return f"folder: audit, record: full, recipients: [{auditor.recipient}]"


def token_of(asked: Asked) -> dict[str, Any]:
    token = (asked.header("authorization") or "").removeprefix("Bearer ")
    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return claims


LEFT: Final = {"redact": "[card]", "partial": "************4242"}


@pytest.mark.parametrize("by", ["server", "grant"])
@pytest.mark.parametrize("era", ["modern", "legacy"])
@pytest.mark.parametrize("mode", ["redact", "partial", "pseudonym", "drop"])
async def test_what_was_masked_is_nowhere_and_what_is_left_is_everywhere(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, mode: str, era: str, by: str
) -> None:
    auditor = Auditor()
    given = {"number": "INV-1", "payment": {"card": CARD, "note": "for Ada"}}
    said = policy(mode) if by == "server" else by_grant(mode)
    with caplog.at_level(logging.DEBUG):
        async with on_record(tmp_path, policy=said, audit=audit_of(auditor)) as at, at.agent() as agent:
            speaks = Era(era)
            await speaks.begin(agent)
            answer = await speaks.call(agent, "refund", given)
            intent, _ = next(pair for pair in await at.calls(2 if era == "legacy" else 1) if "tool" in pair[0])
            asked = at.upstream.requests[-1]
            everything = Everything(at, auditor)
            await assert_untold(everything, caplog.text, given, len(at.gate.traces))
            kept = "\n".join(everything.content())
            spans = await at.spans(len(at.gate.traces))

    assert "result" in answer.message
    assert CARD.encode() not in at.upstream.heard
    left = asked.message["params"]["arguments"]
    assert left["number"] == "INV-1"
    assert left["payment"]["note"] == "for Ada"
    assert left["payment"].get("card", "") != "" or mode == "drop"
    if mode in LEFT:
        assert left["payment"]["card"] == LEFT[mode]
    # The token is bound to what the tool server gets, and the record tells of the same.
    hexadecimal, in_token = digests_of(left)
    assert token_of(asked)["authorization_details"][0]["args_s256"] == in_token
    assert intent["args"] == hexadecimal
    assert intent["request"]["sha256"] == hashlib.sha256(asked.body).hexdigest()
    assert asked.body.decode() in kept
    assert intent["masked_arguments"] == ["card=1"]
    assert spans[intent["trace"]]["callgate.masked.arguments"] == ("card=1",)


async def test_numbers_are_masked_as_texts_are(tmp_path: Path) -> None:
    async with on_record(tmp_path, policy=policy("redact")) as at, at.agent() as agent:
        await agent.ask(modern_call("refund", {"card": int(CARD), "of": [float(CARD), f"card: {CARD}"]}))
        await at.calls(1)

    assert CARD.encode() not in at.upstream.heard
    assert b"4242" not in at.upstream.requests[0].body


async def test_what_holds_nothing_goes_as_it_came(tmp_path: Path) -> None:
    given = {"number": "INV-1", "amount": 4242, "nested": [{"a": None}, True, 1.5]}
    async with on_record(tmp_path, policy=policy("deny")) as at, at.agent() as agent:
        await agent.ask(modern_call("refund", given))
        ((intent, _),) = await at.calls(1)
        (trace,) = await at.gate.traces_when(1)

    assert called(at)[0]["arguments"] == given
    assert "masked_arguments" not in intent
    assert "callgate.masked" not in repr(trace)


async def test_conditions_see_what_the_agent_wrote(tmp_path: Path) -> None:
    async with on_record(tmp_path, policy=policy("redact")) as at, at.agent() as agent:
        right = await agent.ask(modern_call("list_invoices", {"card": CARD}))
        wrong = await agent.ask(modern_call("list_invoices", {"card": OTHER_CARD}))

    assert "result" in right.message
    assert wrong.reason == Reason.NO_GRANT
    assert [each["arguments"] for each in called(at)] == [{"card": "[card]"}]


# Headers that repeat arguments (2026-07-28, basic/transports)


def with_headers(content: bytes, headers: HeaderList) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers).encode()
    head, _, body = content.partition(b"\r\n\r\n")
    return head + b"\r\n" + lines + b"\r\n" + body


@pytest.mark.parametrize(
    ("arguments", "header", "left"),
    [
        ({"card": CARD}, CARD, "[card]"),
        ({"payment": {"card": CARD}}, CARD, "[card]"),
        ({"card": f"Größe {CARD}"}, f"Größe {CARD}", "Größe [card]"),
        # What was a number stays one.
        ({"card": int(CARD)}, CARD, "0"),
        # One that says it otherwise than the argument does is left out.
        ({"card": int(CARD)}, f"{CARD}.0", None),
    ],
)
async def test_headers_say_what_the_arguments_then_say(
    tmp_path: Path, arguments: Mapping[str, object], header: str, left: str | None
) -> None:
    sent = header if header.isascii() else f"=?base64?{base64.b64encode(header.encode()).decode()}?="
    call = with_headers(
        modern_call("refund", {**arguments, "number": "INV-1"}),
        [("Mcp-Param-Card", sent), ("Mcp-Param-Number", "INV-1")],
    )
    async with on_record(tmp_path, policy=policy("redact")) as at, at.agent() as agent:
        answer = await agent.ask(call)
        await at.calls(1)
        (asked,) = at.upstream.requests

    assert "result" in answer.message
    assert CARD.encode() not in at.upstream.heard
    assert base64.b64encode(header.encode()) not in at.upstream.heard
    found = asked.header("mcp-param-card")
    if found is not None and found.startswith("=?base64?"):
        found = base64.b64decode(found[9:-2]).decode()
    assert found == left
    assert asked.header("mcp-param-number") == "INV-1"


@pytest.mark.parametrize("arguments", [{"card": CARD}, {"payment": {"card": CARD}}])
async def test_a_header_whose_argument_is_gone_goes_too(tmp_path: Path, arguments: Mapping[str, object]) -> None:
    call = with_headers(modern_call("refund", arguments), [("Mcp-Param-Card", CARD)])
    async with on_record(tmp_path, policy=policy("drop")) as at, at.agent() as agent:
        answer = await agent.ask(call)
        await at.calls(1)
        (asked,) = at.upstream.requests

    assert "result" in answer.message
    assert CARD.encode() not in at.upstream.heard
    assert asked.header("mcp-param-card") is None


# What is refused


@pytest.mark.parametrize("by", ["server", "grant"])
@pytest.mark.parametrize("is_dry", [False, True])
@pytest.mark.parametrize("era", ["modern", "legacy"])
async def test_what_must_not_go_in_stops_the_call_and_is_not_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, era: str, by: str, *, is_dry: bool
) -> None:
    auditor = Auditor()
    given = {"number": "INV-1", "card": "4242 4242 4242 4242"}
    said = policy("deny") if by == "server" else by_grant("deny")
    with caplog.at_level(logging.DEBUG):
        async with on_record(tmp_path, policy=said, audit=audit_of(auditor)) as at, at.agent() as agent:
            speaks = Era(era)
            await speaks.begin(agent)
            answer = await speaks.call(agent, "refund", given, **({"callgate/dry-run": True} if is_dry else {}))
            (record,) = await at.records("refusal", count=1)
            await assert_untold(Everything(at, auditor), caplog.text, given, len(at.gate.traces))
            assert called(at) == []

    assert answer.reason == Reason.ARGUMENTS_DENIED
    assert b"4242" not in answer.body
    assert (record["stage"], record["reason"], record["detail"]) == (
        "decide" if is_dry else "inspect", "arguments_denied", "card",
    )  # fmt: skip
    assert "args" not in record
    assert "request" not in record


_ASKED: Final[dict[str, tuple[str, dict[str, object], dict[str, object]]]] = {
    "allowed, as a dry run": ("refund", {"card": CARD}, {"callgate/dry-run": True}),
    "no such tool": ("wipe_ledger", {"card": CARD}, {}),
    "denied": ("close_month", {"card": CARD}, {}),
    "no grant for these arguments": ("list_invoices", {"card": OTHER_CARD}, {}),
}


@pytest.mark.parametrize("case", _ASKED)
async def test_a_call_that_is_refused_for_something_else_leaves_no_trace_of_it_either(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, case: str
) -> None:
    auditor = Auditor()
    name, given, meta = _ASKED[case]
    with caplog.at_level(logging.DEBUG):
        async with on_record(tmp_path, policy=policy("redact"), audit=audit_of(auditor)) as at, at.agent() as agent:
            answer = await Era("modern").call(agent, name, given, **meta)
            await at.records("refusal", count=1)
            await assert_untold(Everything(at, auditor), caplog.text, given, 1)

    assert "error" in answer.message


_BROKEN: Final[dict[str, tuple[str, dict[str, object], Json]]] = {
    "limited": ("limit: {calls: 1, per: 1h}", {"card": CARD}, tool("refund", {"card": {"type": "string"}})),
    "does not fit": ("", {"card": CARD}, tool("refund", {"card": {"type": "string", "maxLength": 3}})),
    "does not fit once masked": ("", {"card": CARD}, tool("refund", {"card": {"type": "string", "pattern": "^4"}})),
    "unusable": ("", {"card": CARD}, {**tool("refund"), "inputSchema": {"type": "object", "$ref": "x:y"}}),
}


@pytest.mark.parametrize("case", _BROKEN)
async def test_a_call_that_a_grant_masks_and_something_else_refuses_leaves_no_trace_of_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, case: str
) -> None:
    auditor = Auditor()
    more, given, definition = _BROKEN[case]
    with caplog.at_level(logging.DEBUG):
        async with (
            on_record(
                tmp_path, DescribedTools([definition]), policy=by_grant("redact", more), audit=audit_of(auditor)
            ) as at,
            at.agent() as agent,
        ):
            await agent.ask(modern("tools/list"))
            answers = [await agent.ask(modern_call("refund", given)) for _ in range(2)]
            await at.records("refusal", count=1)
            await assert_untold(Everything(at, auditor), caplog.text, given, 3)

    assert b"4242" not in answers[-1].body
    assert '"error"' in answers[-1].body.decode() or answers[-1].message["result"]["isError"]


async def test_a_call_that_cannot_be_recorded_leaves_only_what_was_left(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    auditor = Auditor()
    given = {"card": CARD}
    raw = modern_call("refund", given)
    with caplog.at_level(logging.DEBUG):
        async with on_record(tmp_path, policy=policy("redact"), audit=audit_of(auditor)) as at, at.agent() as agent:
            # No content can be put away where there is no folder.
            (at.folder / "content").rename(at.folder / "elsewhere")
            (at.folder / "content").write_text("in the way")
            answer = await agent.ask(raw)
            (record,) = await at.records("refusal", count=1)
            (at.folder / "content").unlink()
            (at.folder / "elsewhere").rename(at.folder / "content")
            await assert_untold(Everything(at, auditor), caplog.text, given, 1)

    assert answer.reason == Reason.AUDIT_UNAVAILABLE
    assert record["stage"] == "record"
    as_it_came = raw.partition(b"\r\n\r\n")[2]
    compact = json.dumps(json.loads(as_it_came), separators=(",", ":")).encode()
    assert record["request"]["sha256"] not in {hashlib.sha256(each).hexdigest() for each in (as_it_came, compact)}
    assert called(at) == []


# Pseudonyms


async def pseudonym_of(agent: RawConnection, at: OnRecord, card: str) -> str:
    before = len(called(at))
    assert "result" in (await agent.ask(modern_call("refund", {"card": card}))).message
    found: str = called(at)[before]["arguments"]["card"]
    return found


async def test_pseudonyms_are_one_workloads_own_and_outlive_a_restart(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    found: list[list[str]] = []
    for number in range(2):
        folder = tmp_path / str(number)
        folder.mkdir()
        async with on_record(folder, policy=policy("pseudonym"), home=home) as at:
            async with at.agent("billing") as billing, at.agent("ops") as ops:
                names = [await pseudonym_of(billing, at, card) for card in (CARD, OTHER_CARD, CARD)]
                found.append([*names, await pseudonym_of(ops, at, CARD)])
            # Two requests of earlier gates stand in the same log.
            await at.records("outcome", count=4 * (number + 1))
        assert CARD.encode() not in at.upstream.heard
    (first, other, again, of_ops), later = found

    assert first == again
    assert len({first, other, of_ops}) == 3
    assert later == found[0]


async def test_another_gates_pseudonyms_are_others(tmp_path: Path) -> None:
    found = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        async with on_record(folder, policy=policy("pseudonym")) as at, at.agent() as agent:
            found.append(await pseudonym_of(agent, at, CARD))
            await at.calls(1)

    assert found[0] != found[1]


def test_the_request_that_is_marked_is_well_formed() -> None:
    # What the header tests send is a request that the support module could have made itself.
    plain = request(b"{}", [("A", "b")])
    assert with_headers(request(b"{}"), [("A", "b")]).split(b"\r\n\r\n")[1] == plain.split(b"\r\n\r\n")[1]
