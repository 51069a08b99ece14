"""Every vector of tests/corpus/http1 over mutual TLS to a running gate, and the calls that hide behind them."""

from pathlib import Path
from typing import Any

import pytest

from callgate.errors import ANSWERS, Reason
from support.http1_vectors import raw, vectors
from support.raw_agent import HOST, Answer, RawConnection, modern_call, transport_headers
from support.siege import siege

Vector = dict[str, Any]
AUTHORITIES = "authorities: [gate.acme.test, 'gate.acme.test:8443', '[::1]:8443']\n"
# An honest call of the attacker's, which no vector may bring to the tool server.
CALL = modern_call("get_invoice", {"number": "smuggled"})
# What the requests of requests_accepted.json come to, whose framing is fine and whose content is nothing.
READABLE = {
    Reason.HTTP_CONTENT_TYPE,
    Reason.HTTP_METHOD,
    Reason.HTTP_NOT_FOUND,
    Reason.RPC_INVALID,
}


def path_of(reason: str) -> tuple[str, ...]:
    return ("accept=ok", "authenticate=ok", f"read=refused:{reason}", "respond=ok")


def is_refusal(answer: Answer, reason: str) -> bool:
    """One precise refusal, after which the gate closes; it says the reason and two ids, and nothing else."""
    expected = ANSWERS[Reason(reason)]
    told = answer.message["error"]["data"]
    precise = (answer.status, answer.code, answer.reason) == (expected.http_status, expected.rpc_code, reason)
    return precise and answer.closes and told.keys() == {"reason", "decision_id", "trace_id"}


async def say(connection: RawConnection, vector: Vector) -> list[Answer]:
    """The vector, and behind it an honest call, unless its point is that nothing comes any more."""
    at_eof = vector.get("at_eof", False)
    await connection.say(raw(vector["bytes"]) + (b"" if at_eof else CALL))
    before = [await connection.answer() for _ in range(vector.get("accepted_before", 0))]
    if at_eof:
        await connection.half_close()
    return [*filter(None, before), *await connection.until_closed()]


async def test_gate_refuses_every_vector_once_and_closes(tmp_path: Path) -> None:
    wrong: list[object] = []

    async def attack(vector: Vector) -> None:
        async with scene.connected() as connection:
            *before, last = await say(connection, vector)
            traces = await scene.traces_when(connection, len(before) + 1)
        if not is_refusal(last, vector["reason"]) or len(before) != vector.get("accepted_before", 0):
            wrong.append((vector["id"], [(answer.status, answer.reason) for answer in (*before, last)]))
        if traces[-1].path != path_of(vector["reason"]):
            wrong.append((vector["id"], [trace.path for trace in traces]))

    async with siege(tmp_path, more=AUTHORITIES) as scene:
        rejected = vectors("requests_rejected")
        await scene.for_each(rejected, attack)

        assert wrong == []
        assert scene.reached() == []
        assert len(scene.traces_of_attackers()) == sum(1 + vector.get("accepted_before", 0) for vector in rejected)


async def test_gate_answers_every_well_framed_request_and_stays_in_step(tmp_path: Path) -> None:
    wrong: list[object] = []
    total = 0

    async def attack(vector: Vector) -> None:
        expected = len(vector["requests"])
        async with scene.connected() as connection:
            await connection.say(raw(vector["bytes"]))
            answers = [await connection.answer() for _ in range(expected)]
            # A request behind it is read from its beginning, if any more is read.
            if not vector.get("closes"):
                answers.append(await connection.ask(CALL))
                await connection.half_close()
            left = await connection.until_closed()
        reasons = [answer.reason for answer in answers if answer is not None]
        good = reasons[expected:] == ([] if vector.get("closes") else [""])
        if not good or left or not READABLE.issuperset(reasons[:expected]):
            wrong.append((vector["id"], reasons, left))
        nonlocal total
        total += len(answers)

    async with siege(tmp_path, more=AUTHORITIES) as scene:
        accepted = vectors("requests_accepted")
        await scene.for_each(accepted, attack)

        assert wrong == []
        assert len(scene.reached()) == sum(not vector.get("closes") for vector in accepted)
        assert len(scene.traces_of_attackers()) == total


def chunk(content: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(content), content)


HEAD = f"POST /ledger/mcp HTTP/1.1\r\nHost: {HOST}\r\n".encode() + b"".join(
    f"{name}: {value}\r\n".encode() for name, value in transport_headers()
)
# Each reads as one request to one parser, and as two, the second of them CALL, to another.
SMUGGLED = {
    "counted and chunked": HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + CALL,
    "chunked and counted": HEAD
    + b"Transfer-Encoding: chunked\r\nContent-Length: %d\r\n\r\n" % (len(CALL) + 5)
    + b"0\r\n\r\n"
    + CALL,
    "two lengths": HEAD + b"Content-Length: 0\r\nContent-Length: %d\r\n\r\n" % len(CALL) + CALL,
    "two lengths in one": HEAD + b"Content-Length: 0, %d\r\n\r\n" % len(CALL) + CALL,
    "length with a plus": HEAD + b"Content-Length: +%d\r\n\r\n" % len(CALL) + CALL,
    "coding by a folded line": HEAD + b"Content-Length: 5\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n" + CALL,
    "space before the colon": HEAD + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + CALL,
    "unknown coding": HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + CALL,
    "coding twice": HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" + CALL,
    "underscore for a dash": HEAD + b"Content_Length: %d\r\n\r\n" % len(CALL) + CALL,
    "call in a chunk extension": HEAD + b"Transfer-Encoding: chunked\r\n\r\n2;a=\n" + chunk(CALL) + b"0\r\n\r\n",
    "call in a trailer": HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: " + CALL,
    "last chunk ended by LF": HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\n\n" + CALL,
    "chunk longer than it says": HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\n0\r\n\r\n" + CALL,
    "chunk size of many digits": HEAD + b"Transfer-Encoding: chunked\r\n\r\n1%s\r\n\r\n" % (b"0" * 16) + CALL,
    "body of a GET": f"GET /ledger/mcp HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {len(CALL)}\r\n\r\n".encode() + CALL,
    "upgrade": HEAD + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n" + CALL,
    "expectation": HEAD + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(CALL) + CALL,
    "empty line first": b"\r\n" + CALL,
    "bare CR in a value": HEAD + b"X: a\r\rPOST /ledger/mcp HTTP/1.1\r\n\r\n" + CALL,
    "NUL in a value": HEAD + b"X: a\0\r\n\r\n" + CALL,
    "older version": CALL.replace(b"HTTP/1.1", b"HTTP/1.0"),
    "absolute target": CALL.replace(b"/ledger/mcp", b"https://gate.acme.test/ledger/mcp"),
    "another host": CALL.replace(HOST.encode(), b"evil.test"),
    "two hosts": CALL.replace(b"\r\n", f"\r\nHost: {HOST}\r\n".encode(), 1),
}


@pytest.mark.parametrize("splitting", ["whole", "by halves"])
async def test_no_call_is_smuggled_behind_another_request(tmp_path: Path, splitting: str) -> None:
    wrong: list[object] = []

    async def attack(item: tuple[str, bytes]) -> None:
        name, content = item
        middle = len(content) // 2 if splitting == "by halves" else 0
        async with scene.connected() as connection:
            await connection.say(content[:middle])
            await connection.say(content[middle:])
            answers = await connection.until_closed()
        if len(answers) != 1 or not is_refusal(answers[0], answers[0].reason):
            wrong.append((name, answers))

    async with siege(tmp_path, more=AUTHORITIES) as scene:
        await scene.for_each(SMUGGLED.items(), attack)

        assert wrong == []
        assert scene.reached() == []


async def test_call_itself_would_have_reached_the_tool_server(tmp_path: Path) -> None:
    """Without which the tests above would show nothing."""
    async with siege(tmp_path, more=AUTHORITIES) as scene:
        async with scene.connected() as connection:
            assert (await connection.ask(CALL)).status == 200
        assert len(scene.reached()) == 1
