"""With `record: full` all that passed is kept as it passed, where the gate can write and not read; else only digests."""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson
import pyrage  # type: ignore[import-untyped]
import pytest
import trio

from support.on_record import Record, on_record
from support.raw_agent import modern, modern_call
from support.upstream import Asked, Reply, answer_with, said

CALL = modern_call("refund", {"number": "INV-1", "note": "marker-in-the-arguments"})
ANSWER = answer_with({"content": [{"type": "text", "text": "marker-in-the-answer"}], "resultType": "complete"})
BY_GRANT = """
version: 1
trust_domains: [acme.test]
grants:
  - {id: look, workloads: ["spiffe://acme.test/ns/billing/**"], server: ledger, tools: [get_invoice]}
  - {id: pay, workloads: ["spiffe://acme.test/ns/billing/**"], server: ledger, tools: [refund], record: full}
  - {id: close, workloads: ["spiffe://acme.test/ns/billing/**"], server: ledger, tools: [close_month], record: none}
  - {id: all, workloads: ["spiffe://acme.test/ns/billing/**"], server: ledger, tools: ["close_*"], record: digest}
  - {id: list, workloads: ["spiffe://acme.test/ns/billing/**"], server: ledger, tools: [list_invoices], record: none}
"""


@dataclass(frozen=True)
class Reader:
    """An auditor with a key of their own, who reads with the age library alone."""

    identity: Any

    @property
    def audit(self) -> str:
        """The part of callgate.yaml that names them."""
        return f"folder: audit, recipients: [{self.identity.to_public()}]"

    def lines(self, folder: Path, digest: str) -> list[tuple[Record, bytes]]:
        """The lines of one object, read and as they stand there; the file must be the one that its name says."""
        file = (folder / "content" / digest[:2] / f"{digest}.age").read_bytes()
        assert sha256(file).hexdigest() == digest
        plaintext: bytes = pyrage.decrypt(file, [self.identity])
        return [(orjson.loads(line), line) for line in plaintext.splitlines()]

    def bodies(self, folder: Path, digest: str) -> list[bytes]:
        """The messages in it, byte for byte."""
        return [line.partition(b'"body":')[2].removesuffix(b"}") for _, line in self.lines(folder, digest)]


@pytest.fixture
def reader() -> Reader:
    return Reader(pyrage.x25519.Identity.generate())


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def assert_nowhere_in_clear(folder: Path, *words: bytes) -> None:
    for path in files_below(folder):
        assert not any(word in path.read_bytes() for word in words), path


@pytest.mark.parametrize("level", ["none", "digest", "full"])
async def test_how_much_is_kept_is_what_the_server_says(tmp_path: Path, reader: Reader, level: str) -> None:
    async with on_record(tmp_path, ANSWER, server={"record": level}, audit=reader.audit) as at:
        async with at.agent() as agent:
            answer = await agent.ask(CALL)
        ((intent, outcome),) = await at.calls(1)
        (asked,) = at.upstream.requests
        ((_, server),) = (await at.spans(1)).items()
    assert intent["record"] == server["callgate.record.level"] == level
    sent = {"sha256": sha256(asked.body).hexdigest(), "bytes": len(asked.body)}
    passed = {"sha256": sha256(answer.body + b"\n").hexdigest(), "bytes": len(answer.body), "events": 1}
    match level:
        case "none":
            # A digest of what can be guessed tells it.
            assert not {"request", "args"} & intent.keys()
            assert outcome["answer"] == {"bytes": len(answer.body), "events": 1}
        case "digest":
            assert (intent["request"], outcome["answer"]) == (sent, passed)
        case _:
            (kept,) = outcome["answer"].pop("objects")
            assert reader.bodies(at.folder, intent["request"].pop("object")) == [asked.body]
            assert reader.bodies(at.folder, kept) == [answer.body]
            assert (intent["request"], outcome["answer"]) == (sent, passed)
    assert len(files_below(at.folder / "content")) == (2 if level == "full" else 0)
    assert_nowhere_in_clear(at.folder, b"marker-in-the-arguments", b"marker-in-the-answer")


@pytest.mark.parametrize(
    ("tool", "level"),
    [("get_invoice", "digest"), ("refund", "full"), ("close_month", "digest"), ("list_invoices", "none")],
)
async def test_a_grant_says_otherwise_and_of_several_the_strongest(
    tmp_path: Path, reader: Reader, tool: str, level: str
) -> None:
    async with on_record(tmp_path, policy=BY_GRANT, server={"record": "digest"}, audit=reader.audit) as at:
        async with at.agent() as agent:
            assert (await agent.ask(modern_call(tool))).status == 200
        ((intent, outcome),) = await at.calls(1)
    assert intent["record"] == level
    assert ("objects" in outcome["answer"]) == (level == "full")
    assert ("sha256" in outcome["answer"]) == (level != "none")


async def test_the_default_is_digests(tmp_path: Path) -> None:
    async with on_record(tmp_path) as at:
        async with at.agent() as agent:
            await agent.ask(CALL)
        ((intent, _),) = await at.calls(1)
    assert intent["record"] == "digest"


def progress(step: int) -> Record:
    params = {"progressToken": 1, "progress": step, "message": "marker-in-an-event"}
    return {"jsonrpc": "2.0", "method": "notifications/progress", "params": params}


async def test_a_stream_is_kept_event_by_event_with_the_time_of_each(tmp_path: Path, reader: Reader) -> None:
    pause_s = 0.2

    async def stream(asked: Asked, reply: Reply) -> None:
        await reply.start_events()
        for step in (1, 2):
            await reply.event(progress(step))
            await trio.sleep(pause_s)
        await reply.event(said(asked, {"content": [], "resultType": "complete"}))
        await reply.end_events()

    async with on_record(tmp_path, stream, server={"record": "full"}, audit=reader.audit) as at:
        async with at.agent() as agent:
            params = {"name": "refund", "arguments": {}, "_meta": {"progressToken": 1}}
            answer = await agent.ask(modern("tools/call", params))
        ((_, outcome),) = await at.calls(1)
    (kept,) = outcome["answer"]["objects"]
    heard = [line.removeprefix(b"data: ") for line in answer.body.split(b"\n") if line.startswith(b"data: ")]
    assert reader.bodies(at.folder, kept) == heard
    lines = [line for line, _ in reader.lines(at.folder, kept)]
    assert [line["kind"] for line in lines] == ["event", "event", "answer"]
    first, second, third = (line["at_us"] for line in lines)
    # Timers round down by a millisecond or so.
    least_us = (pause_s - 0.02) * 1e6
    assert first >= 0
    assert second - first >= least_us
    assert third - second >= least_us
    assert third <= outcome["took_us"]
    assert_nowhere_in_clear(at.folder, b"marker-in-an-event")


async def test_an_error_in_place_of_an_answer_is_kept(tmp_path: Path, reader: Reader) -> None:
    async def fail(asked: Asked, reply: Reply) -> None:
        await reply.json({"jsonrpc": "2.0", "id": asked.message["id"], "error": {"code": -32603, "message": "no"}})

    async with on_record(tmp_path, fail, server={"record": "full"}, audit=reader.audit) as at:
        async with at.agent() as agent:
            answer = await agent.ask(CALL)
        ((_, outcome),) = await at.calls(1)
    ((line, _),) = reader.lines(at.folder, outcome["answer"]["objects"][0])
    assert (line["kind"], line["body"]) == ("error", answer.message)


async def test_what_was_asked_for_and_denied_is_kept_where_what_is_allowed_would_be(
    tmp_path: Path, reader: Reader
) -> None:
    asked_for = {"name": "wipe_ledger", "arguments": {"note": "marker-in-the-arguments"}}
    async with on_record(tmp_path, server={"record": "full"}, audit=reader.audit) as at:
        async with at.agent() as agent:
            assert (await agent.ask(modern("tools/call", asked_for))).reason == "denied"
        (refusal,) = await at.requests(1)
    (body,) = reader.bodies(at.folder, refusal["request"]["object"])
    kept = orjson.loads(body)
    assert (kept["method"], kept["params"]["name"]) == ("tools/call", "wipe_ledger")
    assert kept["params"]["arguments"] == asked_for["arguments"]
    assert refusal["request"]["sha256"] == sha256(body).hexdigest()
    assert refusal["record"] == "full"
    assert_nowhere_in_clear(at.folder, b"marker-in-the-arguments")


def refusing(level: str) -> str:
    """A policy whose denial and whose token that cannot be made are of tools that are to be recorded so."""
    head = "version: 1\ntrust_domains: [acme.test]\ndenials:\n  - {id: no, server: ledger, tools: [refund]}\ngrants:\n"
    us = "workloads: ['spiffe://acme.test/ns/billing/**'], server: ledger"
    # More scopes than any tool server takes as a header.
    scopes = [", ".join(f"s{grant}{number}".ljust(128, "x") for number in range(32)) for grant in range(3)]
    grants = [
        f"  - {{id: g{n}, {us}, tools: [close_month], scopes: [{each}], record: {level}}}\n"
        for n, each in enumerate(scopes)
    ]
    return f"{head}  - {{id: pay, {us}, tools: [refund], record: {level}}}\n{''.join(grants)}"


@pytest.mark.parametrize(("tool", "reason"), [("refund", "denied"), ("close_month", "mint_failed")])
@pytest.mark.parametrize(("server", "grant"), [("full", "none"), ("none", "full")])
async def test_a_refused_call_is_kept_as_the_grants_of_its_tool_say(
    tmp_path: Path, reader: Reader, tool: str, reason: str, server: str, grant: str
) -> None:
    options = {"policy": refusing(grant), "server": {"record": server}, "audit": reader.audit}
    async with on_record(tmp_path, **options) as at:  # type: ignore[arg-type]
        async with at.agent() as agent:
            assert (await agent.ask(modern_call(tool, {"note": "marker-in-the-arguments"}))).reason == reason
        (refusal,) = await at.requests(1)
    assert (refusal["reason"], refusal["record"]) == (reason, grant)
    if grant == "none":
        assert not {"request", "args"} & refusal.keys()
        assert files_below(at.folder / "content") == []
    else:
        (body,) = reader.bodies(at.folder, refusal["request"]["object"])
        assert b"marker-in-the-arguments" in body


async def test_the_gate_holds_no_key_that_reads_what_it_kept(tmp_path: Path, reader: Reader) -> None:
    """Whatever lies in the log's folder or beside it, taken for an identity, opens nothing."""
    async with on_record(tmp_path, server={"record": "full"}, audit=reader.audit) as at:
        async with at.agent() as agent:
            await agent.ask(CALL)
        ((intent, _),) = await at.calls(1)
    digest = intent["request"]["object"]
    file = (at.folder / "content" / digest[:2] / f"{digest}.age").read_bytes()
    assert reader.lines(at.folder, digest)
    for path in files_below(tmp_path):
        for identity in _identities_in(path.read_bytes()):
            with pytest.raises(pyrage.DecryptError):
                pyrage.decrypt(file, [identity])
    assert not any(b"AGE-SECRET-KEY" in path.read_bytes() for path in files_below(tmp_path))
    modes = {path.stat().st_mode & 0o777 for path in files_below(at.folder / "content")}
    assert modes == {0o600}


def _identities_in(content: bytes) -> list[Any]:
    try:
        return [pyrage.ssh.Identity.from_buffer(content)]
    except pyrage.IdentityError:
        return []


async def test_the_auditor_reads_it_by_the_command_line_and_nobody_else_does(tmp_path: Path, reader: Reader) -> None:
    keys: Mapping[str, str] = {"mine": str(reader.identity), "other": str(pyrage.x25519.Identity.generate())}
    for name in keys:
        (tmp_path / name).touch(mode=0o600)
    async with on_record(tmp_path, ANSWER, server={"record": "full"}, audit=reader.audit) as at:
        async with at.agent() as agent:
            await agent.ask(CALL)
        ((intent, _),) = await at.calls(1)
        for name, key in keys.items():
            (tmp_path / name).write_text(f"{key}\n")
        shown = {
            name: await at.callgate("session", "show", intent["session"], "--identity", str(tmp_path / name))
            for name in keys
        }
        without = await at.callgate("session", "show", intent["session"])
    assert "marker-in-the-arguments" in shown["mine"].stdout
    assert "marker-in-the-answer" in shown["mine"].stdout
    assert "marker" not in shown["other"].output + without.output
