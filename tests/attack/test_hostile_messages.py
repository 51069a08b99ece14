"""Every must-reject of tests/corpus/json and tests/corpus/mcp over mutual TLS to a running gate."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from callgate.errors import ANSWERS, Reason
from support.mcp_corpus import CORPUS, Vector, read_vectors
from support.raw_agent import MODERN, Answer, RawConnection, modern_call, open_session, request, transport_headers
from support.siege import Siege, siege

AUTHORITIES = "authorities: [gate.acme.test, gate]\n"
# What the attacker says next on the same connection, if that is still open.
NEXT = modern_call("get_invoice", {"number": "next"})
LEXICAL = frozenset({Reason.HTTP_MALFORMED, Reason.HTTP_HEADER, Reason.HTTP_TARGET})
JSON_REASONS = frozenset(reason for reason in Reason if reason.startswith("json_"))
CALL_HEADERS = transport_headers(MCP_Protocol_Version=MODERN, Mcp_Method="tools/call", Mcp_Name="get_invoice")


@dataclass(frozen=True)
class Attack:
    """What is sent, and the reasons and statuses of which the answer has one."""

    name: str
    content: bytes
    reasons: frozenset[Reason]
    statuses: frozenset[int]


async def carry_out(scene: Siege, attacks: Sequence[Attack]) -> None:
    """One connection each: refused once, with one trace; then closed, or the next request is served."""
    wrong: list[object] = []
    open_after = 0

    async def attack(item: Attack) -> None:
        nonlocal open_after
        async with scene.connected() as connection:
            answer = await connection.ask(item.content)
            if not refused(item, answer):
                wrong.append((item.name, answer))
            after = await after_refusal(connection, answer)
            traces = await scene.traces_when(connection, 1 + len(after))
        open_after += len(after)
        if [trace.reason for trace in traces] != [answer.reason, *[""] * len(after)]:
            wrong.append((item.name, [trace.path for trace in traces]))

    before = len(scene.traces_of_attackers())
    await scene.for_each(attacks, attack)
    assert wrong == []
    assert len(scene.traces_of_attackers()) == before + len(attacks) + open_after
    assert len(scene.reached()) == open_after
    assert all(asked.message["params"]["arguments"] == {"number": "next"} for asked in scene.reached())


def refused(item: Attack, answer: Answer) -> bool:
    """With a reason and a status that fit, and nothing told that helps an attacker."""
    if answer.reason not in item.reasons or answer.status not in item.statuses:
        return False
    expected = ANSWERS[Reason(answer.reason)]
    told = answer.message["error"]["data"].keys() - {"supported", "requested"}
    return (
        answer.code == expected.rpc_code
        and (answer.closes or not expected.closes)
        and told == {"reason", "decision_id", "trace_id"}
    )


async def after_refusal(connection: RawConnection, answer: Answer) -> list[Answer]:
    if answer.closes:
        assert await connection.until_closed() == []
        return []
    after = await connection.ask(NEXT)
    assert after.status == 200, after
    return [after]


def json_entries() -> list[tuple[str, bytes, Reason]]:
    entries: list[dict[str, Any]] = json.loads((CORPUS / "json" / "must_reject.json").read_text())
    return [(entry["name"], content_of(entry), Reason(entry["reason"])) for entry in entries]


def content_of(entry: dict[str, Any]) -> bytes:
    return bytes.fromhex(entry["hex"]) if "hex" in entry else str(entry["text"]).encode()


async def test_no_malformed_json_is_a_message(tmp_path: Path) -> None:
    attacks = [
        Attack(name, request(content, CALL_HEADERS), frozenset({reason}), frozenset({ANSWERS[reason].http_status}))
        for name, content, reason in json_entries()
    ]
    async with siege(tmp_path) as scene:
        await carry_out(scene, attacks)


async def test_no_malformed_json_hides_in_the_arguments_of_a_good_call(tmp_path: Path) -> None:
    before, after = modern_call("get_invoice", {"number": "HERE"}).partition(b"\r\n\r\n")[2].split(b'"HERE"')
    attacks = [
        Attack(name, request(before + content + after, CALL_HEADERS), JSON_REASONS, frozenset({400}))
        for name, content, _ in json_entries()
    ]
    async with siege(tmp_path) as scene:
        await carry_out(scene, attacks)


async def test_no_mcp_message_that_must_be_rejected_is_taken(tmp_path: Path) -> None:
    async with siege(tmp_path, more=AUTHORITIES) as scene:
        async with scene.connected() as connection:
            session = await open_session(connection)
        scene.upstream.requests.clear()

        await carry_out(scene, [attack_of(vector, session) for vector in sayable()])


def sayable() -> list[Vector]:
    """Without the few that HTTP cannot say: white space around a value is no part of it."""
    found = [
        v for v in read_vectors("must_reject.json") if all(value == value.strip(" \t") for _, value in v.raw.headers)
    ]
    assert len(found) > 400
    return found


def attack_of(vector: Vector, session: str) -> Attack:
    raw = vector.raw
    fields = [(name, session if value == "handle" else value) for name, value in raw.headers if name != "host"]
    body = raw.body if raw.method == "POST" else b""
    content = request(body, fields, method=raw.method, target="TARGET", host="gate")
    reasons = wire_reasons(vector)
    statuses = frozenset(status_of(reason, raw.body, legacy=legacy(vector)) for reason in reasons)
    return Attack(vector.name, content.replace(b"TARGET", raw.target.encode(), 1), reasons, statuses)


def wire_reasons(vector: Vector) -> frozenset[Reason]:
    """The corpus' own, but where HTTP's grammar is in the way before MCP is read at all."""
    head = [vector.raw.target, *(value for _, value in vector.raw.headers)]
    unwritable = any(not char.isprintable() and char != "\t" for char in "".join(head).replace("\u00a0", ""))
    if unwritable or not vector.raw.target.isascii() or vector.raw.target.startswith("//"):
        return LEXICAL
    if "content-type" in vector.raw.headers.repeated:
        return frozenset({Reason.HTTP_HEADER_REPEATED})
    return frozenset({Reason(vector.reason)})


def legacy(vector: Vector) -> bool:
    return MODERN not in "".join(value for _, value in vector.raw.headers)


def status_of(reason: Reason, body: bytes, *, legacy: bool) -> int:
    answer = ANSWERS[reason]
    if legacy and answer.legacy_http_status is not None and not is_notification(body):
        return answer.legacy_http_status
    return answer.http_status


def is_notification(body: bytes) -> bool:
    """2025-11-25: what the server does not accept of these "MUST" get "an HTTP error status code"."""
    try:
        message = json.loads(body)
    except ValueError:
        return False
    return type(message) is dict and "id" not in message


@pytest.mark.parametrize("size", [1 << 20, 10 << 20])
async def test_body_over_the_limit_is_refused_before_it_is_read(tmp_path: Path, size: int) -> None:
    async with siege(tmp_path, limits={"max_body_bytes": 1 << 19}) as scene:
        async with scene.connected() as connection:
            head = request(b"", CALL_HEADERS).replace(b"Content-Length: 0", b"Content-Length: %d" % size)
            answer = await connection.ask(head)
            assert (answer.status, answer.reason) == (413, Reason.HTTP_BODY_TOO_LARGE)
            assert await connection.until_closed() == []
        assert scene.reached() == []
