"""What is on record proves who did what, and gives away nothing that anybody could use: planted secrets are looked for.

A real `callgate serve`; every byte of its log's folder, of what it sends to a collector, and of what it prints.
"""

import json
import re
import time
from base64 import b16encode, b64encode, urlsafe_b64encode
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from signal import SIGTERM
from typing import Any
from urllib.parse import quote

import pytest
import trio
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from callgate.audit.content import read
from callgate.dev.workload_api import DevWorkloadApi
from callgate.identity.x509_svid import PrivateKey
from support.auditors import Auditor
from support.collector import Collector
from support.crashes import records_in
from support.desk import users_of
from support.gate import WORKLOADS, context_of, identity_of
from support.key_endpoint import KeyEndpoint
from support.raw_agent import INITIALIZE, Answer, RawAgent, legacy, modern, modern_call
from support.serve_process import ServeProcess, serving
from support.tls_agent import with_headers
from support.upstream import Asked, Reply, ScriptedServer, said, scripted_server
from support.user_tokens import claims, jwks_of, user_key, user_token

# A made-up one, with nothing in it that JSON, URLs or HTTP would write in another way.
SECRET = "sk-live-51hxqplanted7c1f"
PATIENCE_S = 30.0
ARGUMENTS = {"number": SECRET, "nested": {"list": ["x", SECRET], SECRET: 1}}
PROGRESS = {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": SECRET}}


def looks_of(secret: str | bytes) -> set[bytes]:
    """As what it might have been written down."""
    octets = secret if isinstance(secret, bytes) else secret.encode()
    # Base64 of a text that has it in the middle: what all three alignments have in common with it.
    inner = {b64encode(b"\0" * shift + octets)[4 if shift else 0 : -4] for shift in range(3)}
    return {
        octets,
        octets[::-1],
        b16encode(octets),
        b16encode(octets).lower(),
        urlsafe_b64encode(octets).rstrip(b"=")[:-2],
        quote(octets).encode(),
        *inner,
    }


async def tells_secrets(asked: Asked, reply: Reply) -> None:
    """A tool server whose answers hold the secret, whole, in events, as errors, and where it fails."""
    message = asked.message
    if "id" not in message:
        await reply.empty(202)
        return
    result = {"content": [{"type": "text", "text": SECRET}], "isError": False, "resultType": "complete", SECRET: SECRET}
    match message["params"].get("name"):
        case "list_invoices":
            await reply.events(PROGRESS, said(asked, result))
        case "refund":
            error = {"code": -32000, "message": SECRET, "data": {SECRET: SECRET}}
            await reply.json({"jsonrpc": "2.0", "id": message["id"], "error": error}, 200)
        case "close_month":
            headers = [("Set-Cookie", SECRET), ("WWW-Authenticate", SECRET)]
            await reply.json({"detail": [SECRET, asked.header("authorization")]}, 500, headers)
        case _ if message["method"] == "initialize":
            opened = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": {"name": SECRET}}
            headers = [("Mcp-Session-Id", SECRET)]
            await reply.json(said(asked, {**opened, "instructions": SECRET}), headers=headers)
        case _:
            await reply.json(said(asked, result), headers=[("X-Secret", SECRET)])


@dataclass
class Scene:
    """A gate in its own process, with users, and what it tells whom."""

    folder: Path
    gate: ServeProcess
    upstream: ScriptedServer
    collector: Collector
    api: DevWorkloadApi
    users: KeyEndpoint
    port: int = 0

    async def ask(self, content: bytes, who: str = "billing") -> Answer | None:
        """On a connection of its own, because some requests end theirs."""
        with trio.fail_after(PATIENCE_S):
            async with RawAgent(self.port, await context_of(self.api, who)).connected() as agent:
                await agent.say(content)
                return await agent.answer()

    async def stop(self) -> None:
        self.gate.process.send_signal(SIGTERM)
        assert await self.gate.end(PATIENCE_S) == 0

    @property
    def audit(self) -> Path:
        return self.folder / "audit"

    @property
    def files(self) -> dict[Path, bytes]:
        """All that is in the log's folder, but for the log's own key."""
        found = {path: path.read_bytes() for path in self.audit.rglob("*") if path.is_file()}
        del found[self.audit / "key.pem"]
        return found

    def shown(self) -> dict[str, bytes]:
        """All that the gate has told anybody but the agent and the tool server, by where."""
        everything = {str(path.relative_to(self.folder)): octets for path, octets in self.files.items()}
        names = "\n".join(str(path) for path in self.audit.rglob("*"))
        said = json.dumps(self.gate.lines).encode() + self.gate.output
        return everything | {"names of files": names.encode(), "output": said, "spans": self.collector.raw}

    def where(self, secret: str | bytes) -> list[str]:
        looks = looks_of(secret)
        return [where for where, octets in self.shown().items() if any(look in octets for look in looks)]


@asynccontextmanager
async def scene(folder: Path, monkeypatch: pytest.MonkeyPatch, audit: str = "") -> AsyncIterator[Scene]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with (
        Collector() as collector,
        DevWorkloadApi(folder / "spiffe", WORKLOADS, ttl_s=300, dns_names={"gate": ["localhost"]}) as api,
    ):
        async with KeyEndpoint.open(jwks_of(user_key("P-256"))) as users, scripted_server(tells_secrets) as upstream:
            more = f"{users_of(users)}telemetry: {{otlp: '{collector.url}'}}\n"
            async with serving(folder, api.endpoint("gate"), upstream.url, more, audit=audit) as gate:
                found = Scene(folder, gate, upstream, collector, api, users)
                found.port, _ = await gate.ready()
                yield found


def token_of(users: KeyEndpoint, **changes: object) -> str:
    now = int(time.time())
    told = {"iss": users.issuer, "sub": "alice", "exp": now + 600, "iat": now - 10, "jti": SECRET, "email": SECRET}
    return user_token(claims(**{**told, **changes}))


def rewritten(content: bytes, old: str, new: str | bytes, count: int = -1) -> bytes:
    """The same request with that in it replaced, and the length of its body as it then is."""
    octets = new if isinstance(new, bytes) else new.encode()
    head, _, body = content.partition(b"\r\n\r\n")
    head, body = (part.replace(old.encode(), octets, count) for part in (head, body))
    length = b"Content-Length: %d" % len(body)
    return re.sub(rb"Content-Length: \d+", length, head) + b"\r\n\r\n" + body


def bearer(token: str) -> tuple[str, str]:
    return ("Authorization", f"Bearer {token}")


HEADERS = (
    ("Cookie", f"session={SECRET}"),
    ("X-Api-Key", SECRET),
    ("Proxy-Authorization", f"Basic {SECRET}"),
    ("User-Agent", SECRET),
    ("Baggage", f"user={SECRET}"),
    ("X-Forwarded-For", SECRET),
)
HANDSHAKE = {**INITIALIZE, "clientInfo": {"name": SECRET, "version": SECRET, SECRET: SECRET}}
BODY = modern_call("get_invoice", ARGUMENTS)
# Where a caller that makes a mistake, or a tool that is asked in the wrong way, could have a secret.
HIDDEN = {
    "arguments": BODY,
    "arguments of a stream": modern_call("list_invoices", ARGUMENTS),
    "arguments, and an error": modern_call("refund", ARGUMENTS),
    "arguments, denied": modern_call("wipe_ledger", ARGUMENTS),
    "arguments, without a grant": modern_call("close_month", ARGUMENTS),
    "arguments of a server that is none": modern_call("get_invoice", ARGUMENTS, target="/nothing/mcp"),
    "headers": with_headers(BODY, *HEADERS),
    "a token that is none": with_headers(BODY, bearer(SECRET)),
    "a token of three parts": with_headers(BODY, bearer(f"{SECRET}.{SECRET}.{SECRET}")),
    "another scheme": with_headers(BODY, ("Authorization", f"Basic {SECRET}")),
    "two tokens": with_headers(BODY, bearer(SECRET), bearer(SECRET)),
    "client info": legacy("initialize", HANDSHAKE),
    "session": legacy("tools/list", session=SECRET),
    "session of odd characters": legacy("tools/list", session=f"{SECRET} {SECRET}"),
    "query": modern_call("get_invoice", target=f"/ledger/mcp?access_token={SECRET}"),
    "path": modern_call("get_invoice", target=f"/ledger/mcp/{SECRET}"),
    "server": modern_call("get_invoice", target=f"/{SECRET}/mcp/x"),
    "fragment": modern_call("get_invoice", target=f"/ledger/mcp#{SECRET}"),
    "user in the target": modern_call("get_invoice", target=f"http://{SECRET}@gate.acme.test/ledger/mcp"),
    "uri": modern("resources/read", {"uri": f"file:///{SECRET}"}),
    "value of an unknown member": modern("tools/call", {"name": "get_invoice", "arguments": {}, "token": SECRET}),
    "value of metadata": rewritten(modern_call("get_invoice"), '"raw"', f'"{SECRET}"'),
    "mirrored argument": with_headers(BODY, ("Mcp-Param-Number", f"{SECRET}!")),
    "mirrored name": rewritten(BODY, "Mcp-Name: get_invoice", f"Mcp-Name: {SECRET}"),
    "JSON that is broken": BODY[:-1] + b"]",
    "key twice": rewritten(BODY, '"number"', f'"{SECRET}": 1, "{SECRET}"'),
    "number": rewritten(BODY, f'"{SECRET}"', "1e999", 1),
    "not UTF-8": rewritten(BODY, SECRET, SECRET.encode() + b"\xff", 1),
    "control character": with_headers(BODY, ("Cookie", f"{SECRET}\x01")),
    "no colon": rewritten(BODY, "Accept:", f"Accept: */*\r\n{SECRET}\r\nX:"),
    "content encoding": with_headers(BODY, ("Content-Encoding", SECRET)),
    "media type": rewritten(BODY, "Content-Type: application/json", f"Content-Type: {SECRET}"),
    "accept": rewritten(BODY, "Accept: ", f"Accept: {SECRET}"),
    "cursor": modern("tools/list", {"cursor": SECRET}),
    "progress token": modern("tools/list", {"_meta": {"progressToken": SECRET}}),
    "a purpose that is none": modern("tools/list", {"_meta": {"callgate/purpose": SECRET + "\n"}}),
    "not HTTP": f"{SECRET}\r\n\r\n".encode(),
    "notification": modern("notifications/cancelled", {"requestId": 1, "reason": SECRET}, rpc_id=None),
}  # fmt: skip
# What names the request itself.  These are told of as they are: a log that did not name the tool would tell nothing.
NAMED = {
    "tool": modern_call(SECRET),
    "method": modern(SECRET),
    "id": modern_call("get_invoice", rpc_id=SECRET),
    "purpose": modern("tools/list", {"_meta": {"callgate/purpose": SECRET}}),
    "name of a member": modern("tools/list", {SECRET: 1}),
    "host": modern_call("get_invoice", host=SECRET),
    "origin": with_headers(modern_call("get_invoice"), ("Origin", f"https://{SECRET}")),
    "revision": rewritten(modern_call("get_invoice"), "2026-07-28", SECRET),
    "name of a parameter header": with_headers(BODY, (f"Mcp-Param-{SECRET}", "x")),
}
# The server stands in the path, and is one of the names.
NAMED["server"] = modern_call("get_invoice", target=f"/{SECRET}/mcp")
# W3C Trace Context: it is for tracing systems, and goes to them.
_PARENT = {"traceparent": f"00-{'1' * 32}-{'2' * 16}-01", "tracestate": f"x={SECRET}"}
NAMED["trace state"] = modern("tools/list", {"_meta": _PARENT})


async def test_arguments_answers_headers_and_handles_are_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scene(tmp_path, monkeypatch) as at:
        answers = {name: await at.ask(content) for name, content in HIDDEN.items()}
        for name in ("arguments", "arguments, denied", "headers"):
            await at.ask(HIDDEN[name], "stranger")
        await at.stop()
        heard = b"".join(each.raw for each in at.upstream.requests)
        found = at.where(SECRET)
        records = records_in(at.audit)
    # Calls went out, answers came back, and most of the others were refused: all of them are on record.
    assert SECRET.encode() in heard
    answered = answers["arguments"]
    assert answered is not None
    assert SECRET.encode() in answered.body
    assert sum(record["kind"] in {"intent", "refusal", "absorbed"} for record in records) == len(HIDDEN) + 3
    assert len({record["reason"] for record in records if record["kind"] == "refusal"}) > 15
    assert found == []


async def test_names_are_told_of_as_they_are_in_their_places_and_none_is_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scene(tmp_path, monkeypatch) as at:
        for number, content in enumerate(NAMED.values()):
            await at.ask(rewritten(content, SECRET, f"{SECRET}no{number}x"))
            await at.ask(rewritten(content, SECRET, "x" * 4000))
        await at.stop()
        records = [record for record in records_in(at.audit) if record["kind"] in {"intent", "refusal"}]
        shown = {name: fields_with(records, f"{SECRET}no{number}x") for number, name in enumerate(NAMED)}
        in_spans = {name for number, name in enumerate(NAMED) if f"{SECRET}no{number}x".encode() in at.collector.raw}
        output = json.dumps(at.gate.lines)
    assert len(records) == 2 * len(NAMED)
    assert shown == {
        "tool": {"tool"},
        "method": {"detail"},
        "id": {"rpc"},
        "purpose": {"purpose"},
        "name of a member": {"detail"},
        "host": {"detail"},
        "origin": {"detail"},
        "revision": {"detail"},
        "name of a parameter header": {"detail"},
        "server": {"server"},
        "trace state": set(),
    }
    assert in_spans == set(NAMED)
    assert SECRET not in output
    assert max(len(json.dumps(record)) for record in records) < 3000


def fields_with(records: list[dict[str, Any]], text: str) -> set[str]:
    return {name for record in records for name, value in record.items() if text.lower() in json.dumps(value).lower()}


async def test_tokens_and_keys_are_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with scene(tmp_path, monkeypatch) as at:
        good, late = token_of(at.users), token_of(at.users, exp=int(time.time()) - 600)
        forged = good[:-8] + "AAAAAAAA"
        for token in (good, late, forged):
            for call in (modern_call("get_invoice"), modern_call("wipe_ledger"), legacy("initialize", INITIALIZE)):
                await at.ask(with_headers(call, bearer(token)))
        async with identity_of(at.api, "gate") as identity:
            svid_key = identity.svid.key
        await at.stop()
        minted = [asked.header("authorization") or "" for asked in at.upstream.requests]
        secrets: list[str | bytes] = []
        for token in (good, late, forged, *(each.removeprefix("Bearer ") for each in minted)):
            secrets += [token, *token.split(".")[1:]]
        pem = (at.audit / "key.pem").read_bytes()
        secrets += [b"".join(pem.splitlines()[1:-1]), *_forms(svid_key)]
        found = {where for secret in secrets for where in at.where(secret)}
        records = records_in(at.audit)
        names = await trio.to_thread.run_sync(lambda: at.shown().keys())
    assert found == set()
    assert len(minted) == 2
    # Who it was may be known.
    assert [record["user"]["subject"] for record in records if record["kind"] == "intent"] == ["alice", "alice"]
    assert {"spans", "output", "names of files"} < set(names)


def _forms(key: PrivateKey) -> Sequence[bytes]:
    der = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return [der, der[-64:]]


async def test_with_everything_on_record_it_is_in_what_the_auditor_can_read_and_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    auditor = Auditor()
    async with scene(tmp_path, monkeypatch, f"record: full, recipients: [{auditor.recipient}]") as at:
        for name in ("arguments", "arguments of a stream", "arguments, denied", "arguments, and an error", "headers"):
            await at.ask(HIDDEN[name])
        await at.stop()
        found = at.where(SECRET)
        records = records_in(at.audit)
    assert found == []
    requests = [record["request"]["object"] for record in records if record["kind"] in {"intent", "refusal"}]
    answers = [each for record in records if record["kind"] == "outcome" for each in record["answer"]["objects"]]
    assert len(requests) == 5
    assert len(answers) == 4
    for digest in (*requests, *answers):
        assert SECRET.encode() in read(at.audit, digest, auditor.identities)
