"""A tool server that says marked personal data wherever the protocol has a string or a number: none of it comes out.

Not to the agent, not in a span, not in a line of the gate's log, not in the record, nor in what is recorded in full.
"""

import json
import logging
import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from callgate.audit.content import read
from support.auditors import Auditor
from support.on_record import OnRecord, on_record
from support.raw_agent import INITIALIZE, Answer, legacy, modern, open_session
from support.upstream import Asked, Reply, Script, head

POLICY: Final = """
version: 1
trust_domains: [acme.test]
screening:
  - server: ledger
    mask: [all]
    schemas: off
grants:
  - id: billing-works-with-invoices
    workloads: [spiffe://acme.test/ns/billing/sa/*]
    server: ledger
    tools: ["*"]
    scopes: [ledger.read]
"""
_PROGRESS_TOKEN: Final = "of-the-agent"


def card(number: int) -> str:
    """A card number that no other canary has: Visa's range, 16 digits, with its check digit (ISO/IEC 7812-1, Luhn)."""
    digits = f"4539{number:011d}"
    doubled = [int(d) * 2 if i % 2 == 0 else int(d) for i, d in enumerate(digits)]
    total = sum(d - 9 if d > 9 else d for d in doubled)
    return f"{digits}{-total % 10}"


@dataclass
class Marks:
    """Fills every place of a message, and knows all that it wrote."""

    written: list[str] = field(default_factory=list)

    def text(self) -> str:
        count = len(self.written)
        mail = f"mark{count}.person@corp{count}-payroll.com"
        self.written.append(mail)
        return mail

    def number(self) -> int:
        digits = card(7_000_000 + len(self.written))
        self.written.append(digits)
        return int(digits)

    def filled(self, value: Any, kept: frozenset[str] = frozenset()) -> Any:  # noqa: ANN401  # a message has any shape
        """Every text and number of `value` is a mark instead, but for members that are `kept`."""
        match value:
            case dict():
                return {name: each if name in kept else self.filled(each, kept) for name, each in value.items()}
            case list():
                return [self.filled(each, kept) for each in value]
            case bool() | None:
                return value
            case int() | float():
                return self.number()
            case _:
                return f"{value} {self.text()}"

    def left_in(self, content: bytes | str) -> list[str]:
        """The marks that stand in `content`, also in base64 or with their digits set apart."""
        text = content.decode("utf-8", "replace") if isinstance(content, bytes) else content
        decoded = [_decoded(found) for found in re.findall(r"[A-Za-z0-9+/]{24,}={0,2}", text)]
        everything = "\n".join([text, *decoded])
        digits = re.sub(r"[^0-9\n]", "", everything)
        return [mark for mark in self.written if mark in everything or (mark.isdigit() and mark in digits)]


def _decoded(text: str) -> str:
    try:
        return b64decode(text + "=" * (-len(text) % 4)).decode("utf-8", "replace")
    except ValueError:
        return ""


# What a result may say, by the schemas of both revisions: each kind of content, with all that it may have.
_ANNOTATIONS: Final = {"audience": ["user"], "priority": 0.5, "lastModified": "2026-01-01T00:00:00Z"}
_RESULT: Final[dict[str, Any]] = {
    "content": [
        {"type": "text", "text": "t", "annotations": _ANNOTATIONS, "_meta": {"x": "y", "n": 1}},
        {"type": "resource_link", "uri": "file:///a", "name": "n", "title": "t", "description": "d", "mimeType": "m",
         "size": 1, "annotations": _ANNOTATIONS, "icons": [{"src": "https://x", "mimeType": "m", "sizes": ["1x1"]}]},
        {"type": "resource", "resource": {"uri": "file:///b", "mimeType": "text/plain", "text": "t", "_meta": {"k": 1}}},
        {"type": "of the future", "whatever": {"deep": [[{"deeper": "x"}]]}},
    ],
    "structuredContent": {"text": "t", "number": 1, "list": ["a", 2, {"b": "c"}], "nested": {"n": {"n": 3}}},
    "isError": False,
    "resultType": "complete",
    "_meta": {"io.example/trace": "x", "n": 1},
    "unknown": {"member": "x"},
}  # fmt: skip
_KEPT: Final = frozenset({"type", "resultType", "isError"})
_LISTED: Final[dict[str, Any]] = {
    "tools": [
        {"name": "get_invoice", "title": "t", "description": "d", "icons": [{"src": "s"}],
         "inputSchema": {"type": "object", "title": "t", "properties": {"a": {"type": "string", "description": "d",
                         "default": "x", "examples": ["y"], "maxLength": 3}}, "$comment": "c"},
         "outputSchema": {"type": "object", "description": "o"},
         "annotations": {"title": "t", "readOnlyHint": True}, "_meta": {"m": "x"}},
    ],
    "nextCursor": "c",
    "resultType": "complete",
    "ttlMs": 0,
    "cacheScope": "public",
}  # fmt: skip
_BEGUN: Final[dict[str, Any]] = {
    "protocolVersion": "2025-11-25",
    "supportedVersions": ["2026-07-28"],
    "capabilities": {"tools": {"listChanged": True}},
    "serverInfo": {"name": "n", "version": "1", "title": "t", "websiteUrl": "https://x", "icons": [{"src": "s"}]},
    "instructions": "i",
    "resultType": "complete",
    "_meta": {"m": "x"},
}
_BEGUN_KEPT: Final = frozenset({"protocolVersion", "supportedVersions", "capabilities", "resultType"})


def result(asked: Asked, marks: Marks) -> dict[str, Any]:
    """A result for what was asked, with marks all over."""
    match asked.message["method"]:
        case "tools/list":
            kept = frozenset({"name", "type", "resultType", "cacheScope", "ttlMs"})
            return dict(marks.filled(_LISTED, kept))
        case "initialize" | "server/discover":
            return dict(marks.filled(_BEGUN, _BEGUN_KEPT))
        case _:
            found = marks.filled(_RESULT, _KEPT)
            found[f"member named {marks.text()}"] = "x"
            found["structuredContent"][marks.text()] = {marks.text(): 1}
            blob = b64encode(f"name,mail\nAda,{marks.text()}\n".encode()).decode()
            found["content"] += [
                {"type": "resource", "resource": {"uri": "file:///c", "mimeType": "text/csv", "blob": blob}},
                {"type": "text", "text": json.dumps({"inner": {"mail": marks.text(), "card": marks.number()}})},
            ]
            return dict(found)


def notifications(marks: Marks) -> Iterator[dict[str, Any]]:
    """What may come before the answer."""
    progress = {"progressToken": _PROGRESS_TOKEN, "progress": marks.number(), "total": marks.number()}
    yield _notified("notifications/progress", {**progress, "message": marks.text(), "_meta": {"x": marks.text()}})
    log = {"level": "info", "logger": marks.text(), "data": {"said": marks.text(), "n": [marks.number()]}}
    yield _notified("notifications/message", log)
    yield _notified("notifications/tools/list_changed", {"_meta": {"x": marks.text()}})
    yield _notified(f"notifications/{marks.text()}", {"x": marks.text()})


def _notified(method: str, params: Mapping[str, Any]) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "method": method, "params": dict(params)}


Say = Callable[[Asked, Reply, Marks], Any]


async def as_json(asked: Asked, reply: Reply, marks: Marks) -> None:
    answer = {"jsonrpc": "2.0", "id": asked.message["id"], "result": result(asked, marks)}
    await reply.json(answer, headers=[("X-Said", marks.text()), ("Set-Cookie", marks.text())])


async def as_events(asked: Asked, reply: Reply, marks: Marks) -> None:
    await reply.start_events([("X-Said", marks.text())])
    await reply.raw(_chunk(f": {marks.text()}\nid: {marks.text()}\nretry: {marks.number()}\n\n"))
    for said in notifications(marks):
        await reply.event(said)
    await reply.event({"jsonrpc": "2.0", "id": asked.message["id"], "result": result(asked, marks)})
    await reply.end_events()


async def as_error(asked: Asked, reply: Reply, marks: Marks) -> None:
    error = {"code": marks.number(), "message": marks.text(), "data": {marks.text(): [marks.text(), marks.number()]}}
    await reply.json({"jsonrpc": "2.0", "id": asked.message["id"], "error": error})


async def as_error_event(asked: Asked, reply: Reply, marks: Marks) -> None:
    error = {"code": -32000, "message": marks.text(), "data": marks.text()}
    await reply.events(*notifications(marks), {"jsonrpc": "2.0", "id": asked.message["id"], "error": error})


async def as_request(asked: Asked, reply: Reply, marks: Marks) -> None:
    params = {"message": marks.text(), "requestedSchema": {"title": marks.text()}}
    question = {"jsonrpc": "2.0", "id": marks.text(), "method": "elicitation/create", "params": params}
    await reply.events(question, {"jsonrpc": "2.0", "id": asked.message["id"], "result": result(asked, marks)})


async def as_failure(_asked: Asked, reply: Reply, marks: Marks) -> None:
    body = marks.text().encode()
    said = head(500, [("Content-Type", f"text/{marks.text()}"), ("WWW-Authenticate", marks.text())], len(body))
    await reply.raw(said.replace(b"Scripted", marks.text().encode()) + body)


async def as_redirect(_asked: Asked, reply: Reply, marks: Marks) -> None:
    await reply.raw(head(302, [("Location", f"https://{marks.text()}/")], 0))


async def as_no_json(_asked: Asked, reply: Reply, marks: Marks) -> None:
    body = f'{{"jsonrpc": "2.0", "result": "{marks.text()}'.encode()
    await reply.raw(head(200, [("Content-Type", "application/json")], len(body)) + body)


async def as_other_type(_asked: Asked, reply: Reply, marks: Marks) -> None:
    body = marks.text().encode()
    await reply.raw(head(200, [("Content-Type", f"text/html; {marks.text()}")], len(body)) + body)


async def as_odd_envelope(asked: Asked, reply: Reply, marks: Marks) -> None:
    await reply.json({"jsonrpc": "2.0", "id": asked.message["id"], "result": {}, marks.text(): marks.text()})


async def as_other_answer(asked: Asked, reply: Reply, marks: Marks) -> None:
    await reply.json({"jsonrpc": "2.0", "id": marks.text(), "result": result(asked, marks)})


async def as_odd_session(asked: Asked, reply: Reply, marks: Marks) -> None:
    answer = {"jsonrpc": "2.0", "id": asked.message["id"], "result": result(asked, marks)}
    await reply.json(answer, headers=[("Mcp-Session-Id", f"no session {marks.text()}")])


async def as_bad_header(_asked: Asked, reply: Reply, marks: Marks) -> None:
    await reply.raw(f"HTTP/1.1 200 OK\r\n{marks.text()} : {marks.text()}\r\n\r\n".encode())


async def as_input_required(asked: Asked, reply: Reply, marks: Marks) -> None:
    asks = {"resultType": "input_required", "inputRequests": {marks.text(): {"message": marks.text()}}}
    await reply.json({"jsonrpc": "2.0", "id": asked.message["id"], "result": asks})


ANSWERED: Final = (as_json, as_events)
REFUSED: Final = (
    as_error, as_error_event, as_request, as_failure, as_redirect, as_no_json, as_other_type, as_odd_envelope,
    as_other_answer, as_odd_session, as_bad_header, as_input_required,
)  # fmt: skip


def _chunk(text: str) -> bytes:
    return f"{len(text.encode()):x}\r\n{text}\r\n".encode()


def scripted(say: Say, marks: Marks) -> Script:
    async def play(asked: Asked, reply: Reply) -> None:
        if "id" not in asked.message:
            await reply.empty(202)
            return
        if say not in ANSWERED and asked.message["method"] == "initialize":
            await as_json(asked, reply, marks)
            return
        await say(asked, reply, marks)

    return play


async def heard(at: OnRecord, era: str, method: str) -> Answer:
    """What the agent gets to see."""
    named = {"name": "get_invoice", "arguments": {}} if method == "tools/call" else {}
    params = {**named, "_meta": {"progressToken": _PROGRESS_TOKEN}}
    async with at.agent() as agent:
        if era == "modern":
            return await agent.ask(modern(method, params))
        if method == "initialize":
            return await agent.ask(legacy(method, INITIALIZE))
        return await agent.ask(legacy(method, params, session=await open_session(agent)))


async def assert_nothing_left(at: OnRecord, auditor: Auditor, marks: Marks, answer: Answer, log: str) -> None:
    await at.spans(len(at.gate.traces))
    told = [(repr(trace.records), repr(trace.evidence), repr(trace.answer)) for trace in at.gate.traces]
    kept = [path.read_bytes() for path in sorted(at.folder.rglob("*")) if path.is_file() and path.name != "lock"]
    content = [
        read(at.folder, path.stem, auditor.identities) for path in sorted((at.folder / "content").rglob("*.age"))
    ]
    assert marks.written
    assert marks.left_in(f"{answer.headers}") == []
    assert marks.left_in(answer.body) == []
    assert marks.left_in(repr(told)) == []
    assert marks.left_in(log) == []
    assert marks.left_in(at.collector.raw) == []
    assert marks.left_in(b"\n".join(kept)) == []
    assert marks.left_in(b"\n".join(content)) == []


_ASKED: Final = [
    ("modern", "server/discover"), ("modern", "tools/list"), ("modern", "tools/call"),
    ("legacy", "initialize"), ("legacy", "tools/list"), ("legacy", "tools/call"),
]  # fmt: skip


@pytest.mark.parametrize("say", ANSWERED)
@pytest.mark.parametrize(("era", "method"), _ASKED)
async def test_no_mark_of_an_answer_comes_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, say: Say, era: str, method: str
) -> None:
    auditor, marks = Auditor(), Marks()
    audit = f"folder: audit, record: full, recipients: [{auditor.recipient}]"
    with caplog.at_level(logging.DEBUG):
        async with on_record(tmp_path, scripted(say, marks), policy=POLICY, audit=audit) as at:
            answer = await heard(at, era, method)
            await assert_nothing_left(at, auditor, marks, answer, caplog.text)
    assert answer.status == 200
    # It is an answer, with what was not a mark.
    assert b'"result"' in answer.body
    assert b"[email]" in answer.body


@pytest.mark.parametrize("say", REFUSED)
@pytest.mark.parametrize("era", ["modern", "legacy"])
async def test_no_mark_of_what_is_no_answer_comes_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, say: Say, era: str
) -> None:
    auditor, marks = Auditor(), Marks()
    audit = f"folder: audit, record: full, recipients: [{auditor.recipient}]"
    with caplog.at_level(logging.DEBUG):
        async with on_record(tmp_path, scripted(say, marks), policy=POLICY, audit=audit) as at:
            answer = await heard(at, era, "tools/call")
            await assert_nothing_left(at, auditor, marks, answer, caplog.text)
    # A legacy client knows of no such results: to it this is one, without its marks.
    assert (b'"error"' in answer.body) == ((say, era) != (as_input_required, "legacy"))


async def test_the_marks_are_there_without_a_mask(tmp_path: Path) -> None:
    auditor, marks = Auditor(), Marks()
    audit = f"folder: audit, record: full, recipients: [{auditor.recipient}]"
    bare = POLICY.replace("    mask: [all]\n", "")
    async with on_record(tmp_path, scripted(as_events, marks), policy=bare, audit=audit) as at:
        answer = await heard(at, "modern", "tools/call")
        with pytest.raises(AssertionError):
            await assert_nothing_left(at, auditor, marks, answer, "")
    # All but what no agent sees in any case: headers, the stream's comment and id, and two notifications.
    assert len(marks.left_in(answer.body)) > len(marks.written) * 0.8
